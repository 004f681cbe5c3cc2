// A page of a shop, as far as the test needs one. It plays a visit in two loads and reports what it saw.
import { Client, IndexedDBStore } from "../dist/index.js";

const post = (path, body) => fetch(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
const log = (...args) => post("/log", args.map(String).join(" "));
const report = JSON.parse(sessionStorage.getItem("report") ?? "{}");

const messages = [];
let shown;
const first = new Promise((done) => (shown = done));

const open = () =>
  Client.open({
    url: document.body.dataset.url,
    app: "shop",
    device: "web-1",
    store: new IndexedDBStore(),
    onMessage(m) {
      if (document.hidden) return false; // let the push service tell
      const banner = document.createElement("button");
      banner.textContent = `${m.title} ${m.body}`;
      banner.onclick = () => client.receipt({ mid: m.mid, k: m.k, ev: "opened" });
      document.body.append(banner);
      messages.push({ mid: m.mid, title: m.title, body: m.body, k: m.k });
      shown({ m, banner });
      return true;
    },
    onRefused: (r) => (report.refused ??= []).push(r),
  });

/** Away: everything waits. */
async function away() {
  await post("/cable/down", "");
  const c = await open();
  await c.register({ platform: "web", token: "endpoint", locale: "en", consent: { location: true, push: true } });
  const now = Date.now();
  await c.ping({ at: now - 120_000, lat: 50.47, lon: 30.5234, accuracy: 8 });
  await c.ping({ at: now - 60_000, lat: 50.4502, lon: 30.5235, accuracy: 8 });
  await c.event("view", { item: "x & y" });
  report.offline = c.stats();
  sessionStorage.setItem("report", JSON.stringify(report));
  location.search = "?back"; // the page goes without a word to the client
}

let client;

/** Back, in another load of the page. */
async function back() {
  client = await open();
  report.reloaded = client.stats().queued;
  await post("/cable/up", "");
  await client.flush();
  const { m, banner } = await first;
  await banner.onclick(); // the person taps it
  await client.receipt({ mid: m.mid, k: "forged", ev: "dismissed" });
  await client.flush();

  // The connection is lost and comes back while the page is open.
  await post("/cable/down", "");
  while (client.stats().connected) await new Promise((r) => setTimeout(r, 10));
  await client.receipt({ mid: m.mid, k: m.k, ev: "action", action: "route" });
  await post("/cable/up", "");
  await client.flush();

  // The till, which is another device, enters the code.
  const till = await Client.open({ url: document.body.dataset.url, app: "shop", device: "till-1" });
  await till.event("purchase", { code: m.body.replace("Your code is ", "").toLowerCase(), value: 1200.5, currency: "UAH" }, "till-7");
  await till.flush();
  await till.close();

  report.near = (await client.nearest(50.4501, 30.5234)).fences.map((f) => f.id);
  report.nowhere = await client.nearest(91, 0).catch((err) => err.message);
  report.messages = messages;
  report.showAgain = await client.show({ mid: m.mid, k: m.k });
  report.stats = client.stats();
  await client.close();
  const store = new IndexedDBStore();
  report.stored = (await store.load()).items.length;
  await post("/report", report);
}

addEventListener("error", (e) => log("error", e.message));
(location.search === "?back" ? back() : away()).catch((err) => post("/report", { error: `${err}\n${err.stack}` }));
