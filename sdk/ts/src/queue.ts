import type { Message, Refusal } from "./types.js";

/** What a device sends; the first token of the subject. */
export type Class = "ping" | "event" | "device" | "receipt";

/** One thing in the outbox. Ids sort in the order of adding, and those of two pages never meet. */
export interface Item {
  id: string;
  class: Class;
  /** When it was added, Unix ms. */
  at: number;
  /** JSON. */
  payload: string;
}

/** Bounds of the outbox. */
export interface Limits {
  /** How many things wait at most; the oldest ping goes first, without pings the oldest of the rest. Default 10,000. */
  items?: number;
  /** After how long a ping is not worth sending. Default 24 h. */
  pingAgeMs?: number;
  /** The same for everything else. Default 7 days, as long as the gateway keeps a push. */
  ageMs?: number;
}

// Limits of the protocol.
const maxPings = 1000;
const maxBatch = 256 * 1024;
const maxPayload = 16 * 1024;

/** Waiting after a request without an answer: a second, doubled up to five minutes. */
export const maxBackoff = 5 * 60_000;
export const backoff = (fails: number): number => Math.min(1000 * 2 ** Math.min(fails, 10), maxBackoff);

const bytes = (text: string): number => new TextEncoder().encode(text).length;

/** What a payload says about the use of positions; undefined: nothing. What says nothing any more, with null, allows it. */
function locationConsent(cls: Class, payload: string): boolean | undefined {
  if (cls !== "device") return undefined;
  const { consent } = JSON.parse(payload) as { consent?: { location?: boolean | null } | null };
  if (consent === undefined || (consent !== null && consent.location === undefined)) return undefined;
  return consent?.location !== false;
}

/** The outbox without disk, network and clock: what is sent next, and what an answer means. */
export class Queue {
  dropped = 0;
  refused = 0;
  #limits: Required<Limits>;
  #sent: string[] = []; // ids of the request that has no answer yet
  #fails = 0; // in a row
  #serial = 0;
  #instance = Math.random().toString(36).slice(2, 10);
  /** The person does not want to be located: no position is kept or sent. */
  withdrawn = false;

  constructor(
    private app: string,
    private device: string,
    limits: Limits = {},
    public items: Item[] = [],
  ) {
    this.#limits = { items: 10_000, pingAgeMs: 24 * 3600_000, ageMs: 7 * 24 * 3600_000, ...limits };
    this.items.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const it of this.items) this.withdrawn = !(locationConsent(it.class, it.payload) ?? !this.withdrawn);
  }

  /**
   * Appends a payload. gone are the ids of what had to make room for it: of a registration that withdraws the consent to
   * positions, all of these. From then on a ping is not added, and item is null, until a registration gives it again.
   */
  add(cls: Class, payload: string, now: number): { item: Item | null; gone: string[] } {
    if (bytes(payload) > maxPayload) throw new RangeError("footfall: payload is over 16 KiB");
    if (cls === "ping" && this.withdrawn) {
      this.dropped++;
      return { item: null, gone: [] };
    }
    const gone: string[] = [];
    const allowed = locationConsent(cls, payload);
    if (allowed !== undefined) this.withdrawn = !allowed;
    if (allowed === false) {
      gone.push(...this.items.filter((it) => it.class === "ping").map((it) => it.id));
      this.items = this.items.filter((it) => it.class !== "ping");
    }
    // A clock that is set back must not put what is new before what is old.
    const at = Math.max(now, Number(this.items.at(-1)?.id.slice(0, 15) ?? 0));
    const id = `${String(at).padStart(15, "0")}-${String(this.#serial++).padStart(9, "0")}-${this.#instance}`;
    const item = { id, class: cls, at: now, payload };
    this.items.push(item);
    while (this.items.length > this.#limits.items) {
      const oldest = Math.max(0, this.items.findIndex((it) => it.class === "ping"));
      gone.push(...this.items.splice(oldest, 1).map((it) => it.id));
    }
    this.dropped += gone.length;
    return { item, gone };
  }

  /** Removes what is too old to be sent. */
  expire(now: number): string[] {
    const old = (it: Item) => now - it.at > (it.class === "ping" ? this.#limits.pingAgeMs : this.#limits.ageMs);
    const gone = this.items.filter(old).map((it) => it.id);
    if (gone.length > 0) this.items = this.items.filter((it) => !old(it));
    this.dropped += gone.length;
    return gone;
  }

  /** What to send next: the pings at the head in one array, or the one thing that is no ping; null when there is nothing. */
  request(): { subject: string; payload: string } | null {
    this.#sent = [];
    const head = this.items[0];
    if (!head) return null;
    const subject = `${head.class}.${this.app}.${this.device}`;
    if (head.class !== "ping") {
      this.#sent.push(head.id);
      return { subject, payload: head.payload };
    }
    const pings: string[] = [];
    let size = 1;
    for (const it of this.items) {
      const more = bytes(it.payload) + 1;
      if (it.class !== "ping" || pings.length === maxPings || size + more > maxBatch) break;
      pings.push(it.payload);
      this.#sent.push(it.id);
      size += more;
    }
    return { subject, payload: `[${pings.join(",")}]` };
  }

  /**
   * Applies the gateway's answer, null for none in time. gone are the ids that are done with, wait is how long to send
   * nothing, in ms. random is in [0, 1).
   */
  answer(text: string | null, random: number): { gone: string[]; wait: number; refusal?: Refusal } {
    const r = parseReply(text);
    if (!r) {
      const wait = backoff(this.#fails++);
      return { gone: [], wait: wait + (random * wait) / 2 };
    }
    this.#fails = 0;
    if (r.busy) {
      const wait = Math.min(Math.max(r.retry_ms ?? 0, 1), maxBackoff);
      return { gone: [], wait: wait + (random * wait) / 2 };
    }
    const gone = this.#sent;
    this.#sent = [];
    if (r.error) this.refused += r.error.index === undefined ? gone.length : Math.max(r.refused ?? 0, 1);
    const done = new Set(gone);
    this.items = this.items.filter((it) => !done.has(it.id));
    return { gone, wait: 0, ...(r.error && { refusal: r.error }) };
  }
}

export interface Reply {
  ok?: boolean;
  busy?: boolean;
  retry_ms?: number;
  error?: Refusal;
  refused?: number;
}

/** Reads what the gateway answers; null for none, and for what is none. */
export function parseReply(text: string | null): Reply | null {
  if (text === null) return null;
  try {
    const r = JSON.parse(text) as Reply;
    return r && (r.ok || r.busy || r.error) ? r : null;
  } catch {
    return null;
  }
}

/** Reads a message; null for what a client of this version does not answer. */
export function parseMessage(text: string): Message | null {
  try {
    const m = JSON.parse(text) as Message;
    return m && m.type === "push" && m.v >= 1 && typeof m.mid === "string" && m.mid !== "" ? m : null;
  } catch {
    return null;
  }
}
