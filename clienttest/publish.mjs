// An app as its authors would write it: register, send positions, listen to what the gateway makes of them.
// Usage: node publish.mjs NATS-URL NOW-MS. Prints one JSON object with every answer and event it got.
import { connect } from "@nats-io/transport-node";

const [url, now] = [process.argv[2], Number(process.argv[3])];
const minute = 60_000;
const far = { lat: 50.4601, lon: 30.5234 }; // 1.1 km north of the store
const door = { lat: 50.4502, lon: 30.5235 };

const nc = await connect({ servers: url, name: "clienttest", maxReconnectAttempts: 0 });
const saw = { answers: {}, events: [] };

// What the gateway publishes, until everything that this app causes has been told.
const events = nc.subscribe("ev.>");
const wanted = new Set([
  "ev.shop.enter.k01",
  "ev.shop.push.welcome.accepted",
  "ev.shop.exit.k01",
  "ev.shop.enter.k02",
  "ev.shop.push.welcome.held",
]);
const heard = (async () => {
  for await (const m of events) {
    saw.events.push({ subject: m.subject, id: m.headers?.get("Nats-Msg-Id") ?? "", data: m.json() });
    wanted.delete(m.subject);
    if (wanted.size === 0) return;
  }
})();
await nc.flush();

const ask = async (name, subject, payload) => {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  saw.answers[name] = (await nc.request(subject, text, { timeout: 10_000 })).json();
};

await ask("device", "device.shop.node-1", {
  platform: "ios",
  token: "ab".repeat(32),
  locale: "en",
  consent: { location: true, push: true },
});

// One object, then an array: nine steps towards the store, the tenth inside.
await ask("one", "ping.shop.node-1", { t: now - 20 * minute, ...far, acc: 10 });
const walk = Array.from({ length: 10 }, (_, i) => ({
  t: now - 2 * minute - (9 - i) * 30_000,
  lat: far.lat + ((door.lat - far.lat) * i) / 9,
  lon: far.lon + ((door.lon - far.lon) * i) / 9,
  acc: 8,
}));
await ask("ten", "ping.shop.node-1", walk);

// What is refused, and in which words.
await ask("notJSON", "ping.shop.node-1", '{"t":1,"lat":');
await ask("noLon", "ping.shop.node-1", { t: now, lat: 50.45 });
await ask("mixed", "ping.shop.node-1", [
  { t: now - 110_000, ...door, acc: 8 },
  { t: now - 109_000, lat: 91, lon: 30.5, acc: 8 },
]);
await ask("badSubject", "ping.shop.node+1", { t: now, ...door });

// Plain publishes, at most once: the phone leaves, and goes into the other store.
nc.publish("ping.shop.node-1", JSON.stringify({ t: now - 80_000, lat: 50.455, lon: 30.5234, acc: 8 }));
nc.publish("ping.shop.node-1", JSON.stringify({ t: now - 30_000, lat: 50.442, lon: 30.5206, acc: 8 }));
await nc.flush();

const timer = setTimeout(() => events.unsubscribe(), 20_000);
await heard;
clearTimeout(timer);
saw.missing = [...wanted];
await nc.close();
console.log(JSON.stringify(saw));
