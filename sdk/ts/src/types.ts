/** One position. Degrees WGS84, metres, milliseconds. */
export interface Ping {
  /** When it was measured, Unix ms; default now. */
  at?: number;
  lat: number;
  lon: number;
  /** Radius of 68 % in metres; absent: unknown. */
  accuracy?: number;
  /** Metres a second; absent: unknown. */
  speed?: number;
  /** See docs/protocol.md, Sources; default "stream". */
  source?: "stream" | "foreground" | "significant";
}

/** What an app says of itself. What is absent stays as it was, null forgets. */
export interface Device {
  user?: string | null;
  platform?: "ios" | "android" | "web" | "hms" | null;
  token?: string | null;
  env?: "prod" | "sandbox" | null;
  locale?: string | null;
  zone?: string | null;
  tags?: Record<string, unknown> | null;
  /** Of the person rather than the device; see Client.setTags. */
  user_tags?: Record<string, unknown> | null;
  /**
   * What the person has agreed to. With location false the client drops the positions that wait and sends none, and the gateway
   * erases where the device has been, until it is true, or null: nothing said is allowed.
   */
  consent?: { location?: boolean | null; push?: boolean | null } | null;
  sdk?: string | null;
  os?: string | null;
}

/** Names a message, as it came with the push (its object g) or on down: what receipts are made of. */
export interface Push {
  mid: string;
  k: string;
}

/** What became of a push. */
export interface Receipt extends Push {
  ev: "delivered" | "displayed" | "opened" | "action" | "dismissed" | "converted";
  /** When, Unix ms; default now. */
  at?: number;
  /** Tells several of one ev apart, such as two orders. */
  ref?: string;
  /** Which button. */
  action?: string;
  /** Of a conversion, in whole units of currency (ISO 4217). */
  value?: number;
  currency?: string;
}

/** What the gateway says to a device that is connected, on down.<app>.<device>. */
export interface Message extends Push {
  type: "push";
  v: number;
  campaign?: string;
  fence?: string;
  /** Show nothing; do what data asks for. */
  silent?: boolean;
  title?: string;
  subtitle?: string;
  body?: string;
  image?: string;
  link?: string;
  sound: string;
  thread?: string;
  category?: string;
  data?: Record<string, string>;
  collapse: string;
  /** Unix ms; absent: now or never. */
  expires?: number;
}

/** Why the gateway will never take something: a fault of the caller. Codes are those of docs/protocol.md. */
export interface Refusal {
  code: string;
  reason: string;
  index?: number;
}

/** The fences that are nearest to a place, the nearest first. */
export interface Nearby {
  fences: NearFence[];
  /** No fence that is not in the list is nearer, in metres. Absent: all are in it. */
  others_m?: number;
  /** Of the gateway's fences. */
  revision: string;
}

/** A fence as the phone's own system watches it: a circle. */
export interface NearFence {
  id: string;
  name?: string;
  lat: number;
  lon: number;
  radius_m: number;
  /** Of the circle; negative inside. */
  distance_m: number;
  /** The circle is drawn around a polygon. On entering it send a position, and no transition. */
  around?: boolean;
}
