const count = v => Math.round(v).toLocaleString("en").replaceAll(",", "\u202f");
const words = s => s.replaceAll("_", " ");
const stamp = ms => new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC";
const wide = () => Math.max(300, Math.min(1040, main.clientWidth - 76));
const held = h => Object.entries(h || {}).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([k, v]) => words(k) + " " + count(v)).join(", ");
const label = f => f.name && f.name !== f.fence ? `${f.name} (${f.fence})` : f.fence || "(none)";

// byHour draws the pushes of each hour, and beside them those that were really sent.
function byHour(c) {
  const W = wide(), H = 190, L = 46, B = 26, T = 10, most = Math.max(1, ...c.hours, ...(c.past ? c.past.hours : [])), step = (W - L) / 24;
  const y = v => T + (H - T - B) * (1 - v / most), s = el("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "pushes by hour"}), tick = Math.max(1, nice(most / 4));
  for (let v = 0; v <= most; v += tick) s.append(el("line", {class: "gridline", x1: L, x2: W, y1: y(v), y2: y(v)}), el("text", {x: L - 8, y: y(v) + 4, "text-anchor": "end"}, count(v)));
  const bars = c.past ? [["really", c.past.hours, 0], ["backtest", c.hours, 1]] : [["backtest", c.hours, 1]], w = (step - 4) / bars.length;
  for (let h = 0; h < 24; h++) {
    if (h % (W < 560 ? 4 : 2) === 0) s.append(el("text", {x: L + (h + .5) * step, y: H - 8, "text-anchor": "middle"}, String(h)));
    bars.forEach(([name, v, n], i) => { if (v[h]) s.append(el("rect", {x: L + h * step + 2 + i * w, width: Math.max(1, w - 1), y: y(v[h]), height: H - B - y(v[h]), rx: 2, fill: color(n)}, el("title", {}, `${h}:00  ${name} ${v[h]}`))); });
  }
  s.append(el("line", {class: "axis", x1: L, x2: W, y1: H - B, y2: H - B}));
  return panel("By hour", "Pushes by the hour of the entry, on the stores' clocks.", legend(bars.map(([name, , n]) => ({name, color: color(n), points: [0]}))), s);
}
// byFence is a table of fences; an hour is as dark as it is busy.
function byFence(c) {
  if (!c.fences.length) return null;
  const rows = c.fences.slice(0, 200), hours = [...Array(24).keys()].filter(h => rows.some(f => f.hours[h])), most = Math.max(1, ...rows.flatMap(f => f.hours));
  const head = ["fence", "push"].concat(c.past ? ["really", "only then", "only now"] : [], ["held"], hours.map(h => h + ":00"));
  const t = table(head, rows.map(f => [label(f), count(f.pushes)].concat(f.past ? [count(f.past.really), count(f.past.only_before), count(f.past.only_now)] : [], [count(f.asked - f.pushes)], hours.map(h => f.hours[h] ? count(f.hours[h]) : ""))));
  [...t.querySelectorAll("tr")].slice(1).forEach((tr, i) => {
    const first = tr.children.length - hours.length;
    tr.children[first - 1].title = held(rows[i].held);
    hours.forEach((h, k) => { if (rows[i].hours[h]) tr.children[first + k].style.background = `color-mix(in srgb, ${color(1)} ${Math.round(8 + 52 * rows[i].hours[h] / most)}%, transparent)`; });
  });
  return panel("By fence and hour", (c.fences.length > rows.length ? `The ${rows.length} busiest of ${count(c.fences.length)} fences. ` : "") + (c.past ? "Only then: pushed by the gateway, not by these drafts. Only now: the other way round." : ""), t);
}
function draw() {
  main.replaceChildren();
  const B = data;
  main.append(el("h1", {}, "Backtest"), el("p", {}, `${count(B.positions)} positions of ${count(B.devices)} devices, ${B.log ? "the gateway's input log" : "a trace"} of ${B.log ? stamp(B.received_from) : stamp(B.from)} to ${B.log ? stamp(B.received_to) : stamp(B.to)}, against ${count(B.fences)} fences. ${count(B.entries)} entries. Nothing was sent.`));
  for (const c of B.campaigns) {
    const card = (k, v, n) => el("div", {class: "card"}, el("div", {class: "k"}, k), el("div", {class: "v"}, count(v)), el("div", {class: "n"}, n));
    main.append(el("h1", {class: "part"}, c.campaign), el("section", {class: "panel"}, el("div", {class: "cards", style: "margin-top:0"},
      card("would be pushed", c.pushes, `to ${count(c.people)} people`), card("held", c.asked - c.pushes, `of ${count(c.asked)} asked`),
      ...(c.past ? [card("really pushed", c.past.really, `${count(c.past.both)} of them the same`), card("only then", c.past.only_before, "not by these drafts"), card("only now", c.past.only_now, "not by the gateway")] : []))));
    const why = Object.entries(c.held || {}).sort((a, b) => b[1] - a[1]);
    main.append(...[c.pushes || c.past && c.past.really ? byHour(c) : null, why.length ? panel("Held", "Each transition that the campaign was asked about is a push or is held for one reason.", table(["reason", "times"], why.map(([k, v]) => [words(k), count(v)]))) : null, byFence(c)].filter(Boolean));
  }
  if (B.campaigns.length > 1) main.append(panel("Overlap", null, el("p", {class: "verdict"}, `${count(B.overlaps)} people would get pushes of more than one campaign on one day.`)));
}
draw();
let drawn = main.clientWidth;
addEventListener("resize", () => { if (main.clientWidth !== drawn) { drawn = main.clientWidth; draw(); } });
