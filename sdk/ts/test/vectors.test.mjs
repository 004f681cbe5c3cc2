// The rules that every client shares: docs/protocol/outbox-vectors.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client, LocalStorageStore, Queue } from "../dist/index.js";

const file = process.env.FOOTFALL_VECTORS ?? new URL("../../../docs/protocol/outbox-vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8"));

for (const c of vectors.outbox) {
  test(`outbox: ${c.name}`, () => {
    const l = c.limits ?? {};
    const limits = Object.fromEntries(
      [["items", l.items], ["pingAgeMs", l.ping_age_ms], ["ageMs", l.age_ms]].filter(([, v]) => v !== undefined),
    );
    const q = new Queue("shop", "d1", limits);
    for (let i = 0; i < (c.repeat?.times ?? 0); i++) q.add(c.repeat.class, JSON.stringify(c.repeat.payload), 0);
    for (const [i, s] of c.steps.entries()) {
      let wait = 0;
      if (s.add) q.add(s.add.class, JSON.stringify(s.add.payload), s.add.at ?? 0);
      if (s.send !== undefined) {
        const got = q.request();
        if (s.send?.pings) {
          assert.equal(got.subject, s.send.subject);
          assert.equal(JSON.parse(got.payload).length, s.send.pings);
          assert.ok(new TextEncoder().encode(got.payload).length <= 256 * 1024);
        } else {
          assert.deepEqual(got, s.send, `step ${i}`);
        }
      }
      const random = 0.999;
      if (s.answer !== undefined) wait = q.answer(s.answer, random).wait;
      if (s.now !== undefined) q.expire(s.now);
      for (const name of ["dropped", "refused"]) {
        if (s.expect?.[name] !== undefined) assert.equal(q[name], s.expect[name], `step ${i}: ${name}`);
      }
      if (s.expect?.queued !== undefined) assert.equal(q.items.length, s.expect.queued, `step ${i}: queued`);
      if (s.expect?.wait_ms) {
        const [low, high] = s.expect.wait_ms;
        assert.ok(Math.abs(wait - (low + (high - low) * random)) < 1, `step ${i}: waits ${wait}, want ${low} to ${high}`);
      }
    }
  });
}

for (const v of vectors.messages) {
  test(`message: ${v.name}`, async () => {
    const store = new LocalStorageStore(new Bag());
    for (const mid of v.before ?? []) await store.putShown(mid);
    const c = await Client.offline({ url: "", app: "shop", device: "d1", store, onMessage: () => v.shown }, () => v.now);
    const answer = await c.present(v.payload);
    assert.equal(answer && JSON.stringify(answer), v.answer);
    const receipts = (await store.load()).items.map((it) => JSON.parse(it.payload));
    assert.deepEqual(receipts.map((r) => r.ev), v.receipts);
    for (const r of receipts) assert.deepEqual([r.mid, r.k], [JSON.parse(v.payload).mid, JSON.parse(v.payload).k]);
    if (v.answer !== null) assert.equal(await c.show({ mid: JSON.parse(v.payload).mid, k: "k" }), v.answer !== '{"ok":true}');
  });
}

test("an outbox in localStorage survives a reload, in order", async () => {
  const bag = new Bag();
  const first = await Client.offline({ url: "", app: "shop", device: "d1", store: new LocalStorageStore(bag) });
  for (let i = 0; i < 12; i++) await first.event(`e${i}`);
  const again = new LocalStorageStore(bag);
  const q = new Queue("shop", "d1", {}, (await again.load()).items);
  q.add("event", '{"name":"last"}', 0); // the clock was set back
  const names = q.items.map((it) => JSON.parse(it.payload).name);
  assert.deepEqual(names, [...Array.from({ length: 12 }, (_, i) => `e${i}`), "last"]);
  assert.equal(new Set(q.items.map((it) => it.id)).size, 13);
});

/** Bag is as much of localStorage as the store needs. */
class Bag {
  #m = new Map();
  get length() { return this.#m.size; }
  key(i) { return [...this.#m.keys()][i] ?? null; }
  getItem(k) { return this.#m.get(k) ?? null; }
  setItem(k, v) { this.#m.set(k, v); }
  removeItem(k) { this.#m.delete(k); }
}

for (const c of vectors.tags) {
  test(`tags: ${c.name}`, async () => {
    const client = await Client.offline({ url: "", app: "shop", device: "d1" });
    await client.setTags(c.set);
    assert.deepEqual(client.queue.request(), { subject: c.subject, payload: c.payload });
  });
}

for (const c of vectors.opens) {
  test(`the app is opened: ${c.name}`, async () => {
    const client = await Client.offline({ url: "", app: "shop", device: "d1" }, () => c.now);
    await client.appOpened();
    assert.deepEqual(client.queue.request(), { subject: c.subject, payload: c.payload });
  });
}
