import { type ConnectionOptions, type NatsConnection, type Subscription, wsconnect } from "@nats-io/nats-core";
import { backoff, type Class, type Limits, maxBackoff, parseMessage, parseReply, Queue } from "./queue.js";
import { maxShown, MemoryStore, type Store } from "./store.js";
import type { Device, Message, Nearby, Ping, Push, Receipt, Refusal } from "./types.js";

export interface Config {
  /** ws:// or wss://, the gateway's nats.websocket. */
  url: string;
  /** 1 to 64 of A-Z a-z 0-9 _ - each. */
  app: string;
  device: string;
  /** Of the gateway (nats.token_file), if it asks for one. */
  token?: string;
  /** Default: nothing outlives the page. */
  store?: Store;
  limits?: Limits;
  /**
   * Shows a message to the person and says whether it was shown. With false, the gateway sends it through the push
   * service instead; it waits about two seconds, so show first and load images later.
   */
  onMessage?: (m: Message) => boolean | Promise<boolean>;
  /** Hears of what the gateway has refused for good: a fault of the caller. */
  onRefused?: (r: Refusal, subject: string) => void;
  /** How long an answer is waited for, ms. Default 5,000. */
  timeoutMs?: number;
  /** Another way to connect, such as @nats-io/transport-node's connect. Default: WebSocket. */
  connect?: (o: ConnectionOptions) => Promise<NatsConnection>;
}

/** Counts since open; queued is of this moment. */
export interface Stats {
  queued: number;
  /** Too old, no room, or positions that the person does not want to be sent. */
  dropped: number;
  /** By the gateway, for good. */
  refused: number;
  connected: boolean;
}

const validToken = (s: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(s);

/**
 * One device. What is given to it goes into its outbox, which the Store keeps over a reload, and from there to the
 * gateway as a request that is repeated until it is answered. The gateway recognises a repeat, so everything has its
 * effect once.
 */
export class Client {
  #nc: NatsConnection | null = null;
  #connected = false;
  #closed = false;
  #wake: () => void = () => {};
  #drained: (() => void)[] = [];
  #presenting: Promise<unknown> = Promise.resolve(); // messages are presented one after the other
  #sending: Promise<void>;
  // That the gateway is to be told that this device is there. It is kept apart from the outbox: it is about now, is told anew with
  // each connection, and must not hold up what waits.
  #here = { owed: false, nextAt: 0, fails: 0 };

  private constructor(
    private cfg: Config,
    private store: Store,
    private queue: Queue,
    private shown: string[],
    private now: () => number = Date.now,
  ) {
    this.#sending = cfg.url ? this.#send() : Promise.resolve();
    if (cfg.url) void this.#connect();
  }

  /** Makes a client and begins to send what its store holds. It does not wait for a connection. */
  static async open(cfg: Config): Promise<Client> {
    if (!validToken(cfg.app) || !validToken(cfg.device)) {
      throw new RangeError(`footfall: app "${cfg.app}" and device "${cfg.device}" must be 1 to 64 of A-Z a-z 0-9 _ -`);
    }
    if (!cfg.url) throw new RangeError("footfall: url is missing");
    return Client.offline(cfg);
  }

  /** A client that never connects when cfg has no url: for tests. */
  static async offline(cfg: Config, now?: () => number): Promise<Client> {
    const store = cfg.store ?? new MemoryStore();
    const state = await store.load();
    return new Client(cfg, store, new Queue(cfg.app, cfg.device, cfg.limits, state.items), state.shown, now);
  }

  /**
   * Queues a position. Done when the store has it. While the consent to positions is withdrawn (consent.location false) it does
   * nothing, and counts it as dropped.
   */
  async ping(p: Ping): Promise<void> {
    await this.#add("ping", { t: p.at ?? this.now(), lat: p.lat, lon: p.lon, acc: p.accuracy, spd: p.speed, src: p.source });
  }

  /** Queues what the app says of itself. Call it at every start: it costs little. */
  async register(d: Device): Promise<void> {
    await this.#add("device", d);
  }

  /**
   * Queues tags of the person who is signed in: they hold on all their devices. A tag that is null is removed. While nobody
   * is signed in they are kept for the device, and go to the person who signs in next.
   */
  async setTags(tags: Record<string, unknown>): Promise<void> {
    await this.register({ user_tags: tags });
  }

  /** Queues what the customer did. It has an id, such as the order's, so that it counts once however often it is sent. */
  async event(name: string, props?: Record<string, unknown>, id: string = randomID()): Promise<void> {
    await this.#add("event", { name, t: this.now(), id, props });
  }

  /**
   * Queues that the person has opened the app, by its icon or otherwise: pushes before it count as seen, and the next badge
   * begins anew. Clear the number on the icon, which only the app can do, and call it whenever the app comes to the front.
   */
  async appOpened(): Promise<void> {
    const t = this.now();
    await this.#add("event", { name: "app_open", t, id: `open-${t}` });
  }

  /**
   * Tells the gateway that onMessage can show messages now: what waits for this device comes at once. A client does so by itself
   * whenever it connects; call it when the person can see messages again after onMessage has said false, or appOpened, which has
   * the same effect. It does not wait, and without a connection there is nothing to do.
   */
  here(): void {
    if (this.cfg.onMessage) this.#here = { owed: true, nextAt: 0, fails: 0 };
    this.#wake();
  }

  /** Queues what became of a push. */
  async receipt(r: Receipt): Promise<void> {
    const { mid, k, ev, at, ref, action, value, currency } = r;
    await this.#add("receipt", { mid, k, ev, t: at ?? this.now(), ref, action, value, currency });
  }

  /**
   * Decides about a push that came another way, through a push service: whether to show it, and remembers that it was.
   * A message that was shown already, in whatever way, is not shown again.
   */
  async show(p: Push): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.shown.includes(p.mid)) return false;
      await this.#remember(p.mid);
      return true;
    });
  }

  /**
   * Asks which fences are nearest to a place, for the phone's own system to watch: up to n of them, 1 to 100. It needs a
   * connection, and nothing of it is stored. Ask again before having gone others_m, and when the revision of a later answer is
   * another one.
   */
  async nearest(lat: number, lon: number, n = 20): Promise<Nearby> {
    if (this.queue.withdrawn) throw new Error("footfall: the consent to positions is withdrawn");
    if (!this.#connected) throw new Error("footfall: not connected");
    const m = await this.#nc!.request(`near.${this.cfg.app}.${this.cfg.device}`, JSON.stringify({ lat, lon, n }), {
      timeout: this.cfg.timeoutMs ?? 5000,
    });
    const { ok, error, ...nearby } = m.json<Nearby & { ok: boolean; error?: Refusal }>();
    if (!ok) throw new Error(`footfall: the gateway refused: ${error?.code}: ${error?.reason}`);
    return nearby;
  }

  stats(): Stats {
    return { queued: this.queue.items.length, dropped: this.queue.dropped, refused: this.queue.refused, connected: this.#connected };
  }

  /** Waits until the outbox is empty. */
  async flush(): Promise<void> {
    while (this.queue.items.length > 0) await new Promise<void>((done) => this.#drained.push(done));
  }

  /** Stops sending. What waits is sent after the next open with the same store. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#nc?.close();
    await this.#sending;
    await this.store.close();
  }

  async #add(cls: Class, payload: object): Promise<void> {
    const { item, gone } = this.queue.add(cls, JSON.stringify(payload), this.now());
    if (item === null) return;
    await this.store.put(item);
    if (gone.length > 0) await this.store.delete(gone);
    this.#wake();
  }

  async #connect(): Promise<void> {
    const { url, app, device, token } = this.cfg;
    try {
      const nc = await (this.cfg.connect ?? wsconnect)({
        servers: url,
        name: "footfall-sdk-ts",
        inboxPrefix: `_INBOX.${app}.${device}`, // where devices are confined to subjects of their own
        maxReconnectAttempts: -1,
        waitOnFirstConnect: true,
        reconnectTimeWait: 1000,
        reconnectJitter: 1000,
        ignoreClusterUpdates: true, // the address given is the one that is reachable from here
        ...(token !== undefined && { token }),
      });
      if (this.#closed) return void (await nc.close());
      this.#nc = nc;
      this.#connected = true;
      if (this.cfg.onMessage) void this.#listen(nc.subscribe(`down.${app}.${device}`));
      this.here();
      for await (const s of nc.status()) {
        if (s.type === "disconnect" || s.type === "close") this.#connected = false;
        if (s.type === "reconnect") {
          this.#connected = true;
          this.here();
        }
      }
    } catch (err) {
      console.error("footfall: the gateway lets this client not in", err);
    }
    this.#connected = false;
  }

  /** Works off the outbox, one request at a time, so that the gateway sees one device's things in their order. */
  async #send(): Promise<void> {
    while (!this.#closed) {
      await this.#forget(this.queue.expire(this.now()));
      if (this.#closed) return; // while the store was busy; nobody would wake us any more
      const again = await this.#greet();
      if (this.#closed) return;
      const request = this.#connected ? this.queue.request() : null;
      if (!request) {
        await new Promise<void>((wake) => {
          const timer = again < Infinity ? setTimeout(wake, again) : undefined;
          this.#wake = () => {
            clearTimeout(timer);
            wake();
          };
        });
        continue;
      }
      let text: string | null = null;
      try {
        const m = await this.#nc!.request(request.subject, request.payload, { timeout: this.cfg.timeoutMs ?? 5000 });
        text = m.string();
      } catch {
        // No answer: the same again, later.
      }
      const { gone, wait, refusal } = this.queue.answer(text, Math.random());
      await this.#forget(gone);
      if (refusal) this.cfg.onRefused?.(refusal, request.subject);
      if (wait > 0 && !this.#closed) await this.#pause(wait);
    }
  }

  /** Tells the gateway that this device is there, if that is owed, and returns in how many ms that is to be tried again. */
  async #greet(): Promise<number> {
    const was = this.#here;
    if (!was.owed || !this.#connected) return Infinity; // the next connection owes it
    const now = performance.now();
    if (now < was.nextAt) return was.nextAt - now;
    let text: string | null = null;
    try {
      const m = await this.#nc!.request(`here.${this.cfg.app}.${this.cfg.device}`, "", { timeout: this.cfg.timeoutMs ?? 5000 });
      text = m.string();
    } catch {
      // No answer: again, later.
    }
    const r = parseReply(text);
    if (this.#here !== was) return 0; // owed anew meanwhile
    if (r && !r.busy) {
      was.owed = false;
      return Infinity;
    }
    let wait = Math.max(backoff(was.fails++), Math.min(r?.retry_ms ?? 0, maxBackoff));
    wait += (Math.random() * wait) / 2;
    was.nextAt = now + wait;
    return wait;
  }

  /** Waits, unless the client is closed or the connection comes back meanwhile. */
  #pause(ms: number): Promise<void> {
    const away = !this.#connected;
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#wake = () => {
        if (!this.#closed && !(away && this.#connected)) return;
        clearTimeout(timer);
        done();
      };
    });
  }

  async #forget(gone: string[]): Promise<void> {
    if (gone.length === 0) return;
    try {
      await this.store.delete(gone);
    } catch (err) {
      console.warn("footfall: the outbox could not be written", err); // sent again after a reload, which has no effect
    }
    if (this.queue.items.length === 0) for (const done of this.#drained.splice(0)) done();
  }

  async #listen(sub: Subscription): Promise<void> {
    for await (const m of sub) {
      const answer = await this.present(m.string());
      if (answer !== null) m.respond(JSON.stringify(answer));
    }
  }

  /** Handles a message on down: shows it once, remembers that, reports it, and returns the answer; null for none. */
  async present(text: string): Promise<{ ok: boolean; error?: string } | null> {
    const msg = parseMessage(text);
    if (!msg) return null; // of a later version: not ours to answer
    return this.#inTurn(async () => {
      if (this.shown.includes(msg.mid)) return { ok: true }; // our answer was lost
      if (msg.expires !== undefined && this.now() >= msg.expires) return { ok: false, error: "expired" };
      let shown = false;
      try {
        shown = (await this.cfg.onMessage?.(msg)) ?? false;
      } catch (err) {
        console.error("footfall: onMessage", err);
      }
      if (!shown) return { ok: false, error: "not_shown" };
      await this.#remember(msg.mid);
      await this.receipt({ mid: msg.mid, k: msg.k, ev: "delivered" });
      if (!msg.silent) await this.receipt({ mid: msg.mid, k: msg.k, ev: "displayed" });
      return { ok: true };
    });
  }

  async #remember(mid: string): Promise<void> {
    this.shown = [...this.shown, mid].slice(-maxShown);
    await this.store.putShown(mid);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#presenting.then(work);
    this.#presenting = turn.catch(() => {});
    return turn;
  }
}

/** 128 random bits; crypto.randomUUID is there only in secure contexts. */
function randomID(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
