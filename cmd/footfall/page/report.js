const R = data.report, says = data.stages;
const count = v => Math.round(v).toLocaleString("en").replaceAll(",", "\u202f");
const pct = (part, whole, d = 1) => whole ? (100 * part / whole).toFixed(d) + " %" : "–";
const sum = o => Object.values(o || {}).reduce((a, b) => a + b, 0);
const words = s => s.replaceAll("_", " ");
const wide = () => Math.max(300, Math.min(1040, main.clientWidth - 76));
const stageColor = {entered: 0, claimed: 1, sent: 1, accepted: 1, delivered: 2, opened: 3, converted: 4};
function span(ms) {
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(ms < 10000 ? 1 : 0) + " s";
  if (ms < 3600000) return +(ms / 60000).toFixed(ms < 600000 ? 1 : 0) + " min";
  return +(ms / 3600000).toFixed(1) + " h";
}
const points = v => (100 * v).toFixed(2);
const times = v => v >= 10 ? Math.round(v) + "×" : v.toFixed(2) + "×";

// bars draws one row for each [name, value, text, color]; a figure stands in its bar when that is long enough.
function bars(rows) {
  const most = Math.max(1, ...rows.map(r => r[1]));
  return el("div", {class: "bars"}, ...rows.flatMap(([name, v, text, c]) => {
    const share = v / most;
    const fig = el("div", {class: "fig" + (share > .45 ? " in" : "")}, el("b", {}, count(v)), text ? el("span", {}, text) : null);
    if (share <= .45) fig.style.left = `calc(${(100 * share).toFixed(2)}% + 8px)`;
    return [el("div", {class: "name"}, name), el("div", {class: "track"}, el("div", {class: "fill", style: `width:${(100 * share).toFixed(2)}%;background:${color(c)}`}), fig)];
  }));
}
function funnel(t) {
  const d = t.devices || {}, several = d.meant > t.claimed
    ? ` The pushes went to ${count(d.meant)} devices: ${count(d.accepted)} accepted, ${count(d.delivered)} delivered, ${count(d.opened)} opened.` : "";
  return panel("Funnel", `${count(t.people)} people came, a push was accepted for ${count(t.reached)} of them.${several}`, bars([
    ["entered", t.entered, "", 0],
    ["claimed", t.claimed, pct(t.claimed, t.entered) + " of entered", 1],
    ["sent", t.sent, pct(t.sent, t.claimed) + " of claimed", 1],
    ["accepted", t.accepted, pct(t.accepted, t.claimed) + " of claimed", 1],
    ["delivered", t.delivered, pct(t.delivered, t.accepted) + " of accepted", 2],
    ["opened", t.opened, `${pct(t.opened, t.accepted)} of accepted, ${pct(t.opened, t.delivered)} of delivered`, 3],
    ["converted", t.converted, `${pct(t.converted, t.claimed)} of claimed, ${pct(t.converted, t.opened, 2)} of opened`, 4]]));
}
// stack draws parts of a whole: [name, value, color].
function stack(parts) {
  const whole = parts.reduce((a, p) => a + p[1], 0);
  return [el("div", {class: "stack"}, ...parts.map(([name, v, c]) => el("div", {style: `width:${100 * v / whole}%;background:${color(c)}`, title: `${name} ${count(v)}`}))),
    el("div", {class: "keys"}, ...parts.map(([name, v, c]) => el("span", {}, el("i", {style: `background:${color(c)}`}), `${name} ${count(v)} (${pct(v, whole)})`)))];
}
function outcomes(t) {
  const order = ["converted", "opened", "delivered", "accepted", "owed", "failed", "dead", "expired", "suppressed", "cancelled", "held"], c = [4, 3, 2, 1, 6, 5, 5, 5, 5, 5, 0];
  const parts = order.map((name, i) => [name === "owed" ? "on its way" : name, (t.outcomes || {})[name] || 0, c[i]]).filter(p => p[1]);
  const held = Object.entries(t.held || {}).sort((a, b) => b[1] - a[1]);
  return panel("Every entry, once", `Each of the ${count(t.entered)} entries stands under the furthest thing that is known of it.`, ...stack(parts),
    held.length ? el("p", {class: "note"}, "Held: " + held.map(([k, v]) => words(k) + " " + count(v)).join(", ") + ".") : null);
}
function byDay(c) {
  if (c.by_day.length < 2) return null;
  const day = k => Date.parse(k) / 864e5, x = c.by_day.map(g => day(g.key)), by = Object.fromEntries(c.by_day.map(g => [day(g.key), g]));
  const from = day(R.from), to = day(R.to), all = [];
  for (let d = from; d <= to; d++) all.push(d);
  const step = Math.max(1, Math.ceil(all.length / Math.max(2, wide() / 110)));
  const name = v => new Date(Math.round(v) * 864e5).toISOString().slice(5, 10);
  const line = (what, n) => ({name: what, color: color(n), points: all.map(d => [d, by[d] ? by[d][what] : 0])});
  return panel("By day", "On the stores' clocks.", chart({label: "by day", width: wide(), height: 230, y: count, xname: name, xticks: all.filter((_, i) => i % step === 0).map(d => [d, name(d)]),
    series: [line("entered", 0), line("accepted", 1), line("opened", 3), line("converted", 4)]}));
}
function byHour(c) {
  const by = Object.fromEntries(c.by_hour.map(g => [+g.key, g])), W = wide(), H = 190, L = 46, B = 26, T = 10;
  if (!c.by_hour.length) return null;
  const most = Math.max(1, ...c.by_hour.map(g => g.entered)), step = (W - L) / 24, y = v => T + (H - T - B) * (1 - v / most);
  const s = el("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "by hour"});
  const tick = Math.max(1, nice(most / 4));
  for (let v = 0; v <= most; v += tick) s.append(el("line", {class: "gridline", x1: L, x2: W, y1: y(v), y2: y(v)}), el("text", {x: L - 8, y: y(v) + 4, "text-anchor": "end"}, count(v)));
  for (let h = 0; h < 24; h++) {
    const g = by[h];
    if (h % (W < 560 ? 4 : 2) === 0) s.append(el("text", {x: L + (h + .5) * step, y: H - 8, "text-anchor": "middle"}, String(h)));
    if (g) [["entered", 0, 1], ["accepted", 1, 1], ["opened", 3, 1], ["converted", 4, 1]].forEach(([k, n]) => {
      if (g[k]) s.append(el("rect", {x: L + h * step + 2, width: Math.max(1, step - 4), y: y(g[k]), height: H - B - y(g[k]), rx: 2, fill: color(n)}, el("title", {}, `${h}:00  ${k} ${g[k]}`)));
    });
  }
  s.append(el("line", {class: "axis", x1: L, x2: W, y1: H - B, y2: H - B}));
  return panel("By hour", "When people came, on the stores' clocks. Each bar holds the next: of those who came, who was pushed to, who opened, who converted.",
    legend([["entered", 0], ["accepted", 1], ["opened", 3], ["converted", 4]].map(([name, n]) => ({name, color: color(n), points: [0]}))), s);
}
// whereWhen is a table of fences by hours; a cell is as dark as it is busy.
function whereWhen(c) {
  const rows = (c.where_when || []).slice(0, 40), of = h => h.entered || 0;
  if (rows.length < 2) return null;
  const hours = [...Array(24).keys()].filter(h => rows.some(r => of(r.hours[h]))), from = Math.min(...hours), to = Math.max(...hours);
  const most = Math.max(...rows.flatMap(r => r.hours.map(of))), shown = [...Array(to - from + 1).keys()].map(i => i + from);
  const t = table(["fence", "all day", ...shown.map(String)], rows.map(r => [r.fence || "(none)", count(r.hours.reduce((a, h) => a + of(h), 0)), ...shown.map(h => of(r.hours[h]) ? count(of(r.hours[h])) : "")]));
  [...t.querySelectorAll("tr")].slice(1).forEach((tr, i) => shown.forEach((h, k) => {
    const n = rows[i].hours[h], td = tr.children[k + 2];
    if (!td || !of(n)) return;
    td.style.background = `color-mix(in srgb, ${color(0)} ${Math.round(8 + 52 * of(n) / most)}%, transparent)`;
    td.title = `${rows[i].fence} ${h}:00  entered ${of(n)}, accepted ${n.accepted || 0}, opened ${n.opened || 0}, converted ${n.converted || 0}`;
  }));
  return panel("Where and when", "Entries by fence and by the hour of the store's day" + (c.where_when.length > rows.length ? `; the ${rows.length} busiest of ${c.where_when.length} fences.` : "."), t);
}
function groups(title, what, list) {
  if (!list.length || list.length === 1 && !list[0].key) return null;
  return panel(title, null, table([what, "people", "entered", "held", "claimed", "accepted", "delivered", "opened", "of accepted", "converted", "of claimed"],
    list.map(g => [g.key || "(none)", count(g.people), count(g.entered), count(sum(g.held)), count(g.claimed), count(g.accepted), count(g.delivered), count(g.opened), pct(g.opened, g.accepted), count(g.converted), pct(g.converted, g.claimed)])));
}
function leave(t, n) { t.querySelectorAll(`td:nth-child(${n}), th:nth-child(${n})`).forEach(c => c.classList.add("words")); return t; }
function rates(c) {
  return panel("Rates", "Each with both of its numbers.", leave(table(["rate", "", "of", "", "what is divided by what"],
    c.rates.concat(c.cohort).map(k => [k.name, count(k.part), count(k.whole), k.whole ? (100 * k.rate).toFixed(2) + " %" : "–", k.says])), 5));
}
function credit(c) {
  return panel("Conversions", `"${R.goal}" within ${span(R.within_ms)} after a push, on these days. The models answer different questions; none is the truth.`,
    leave(table(["credited", "conversions", "people", "value", "to"], c.attribution.map(k => [words(k.model), count(k.conversions), count(k.people),
      Object.entries(k.value || {}).map(([cur, v]) => count(v) + " " + cur).join(", ") || "–", k.says])), 5));
}
function lift(c) {
  const l = c.lift;
  if (!l) return null;
  const rows = [["notified", l.notified], ["held out", l.holdout]].map(([n, a]) => [n, count(a.converted), count(a.people), a.people ? (100 * a.rate).toFixed(2) + " %" : "–"]);
  const verdict = !l.enough ? l.why[0].toUpperCase() + l.why.slice(1) + "."
    : l.diff_low <= 0 && l.diff_high >= 0 ? "No effect is shown: the interval of the difference includes none."
    : `The push makes a difference of ${points(l.diff)} points (95 % interval ${points(l.diff_low)} to ${points(l.diff_high)})` + (l.ratio ? `: ${times(l.ratio)} as many (${times(l.ratio_low)} to ${times(l.ratio_high)}).` : ".");
  const kids = [el("p", {class: "verdict"}, verdict)];
  if (l.enough) {
    const W = wide(), H = 64, lo = Math.min(0, l.diff_low), hi = Math.max(0, l.diff_high), pad = (hi - lo) * .12 || .01, X = v => 20 + (W - 40) * (v - lo + pad) / (hi - lo + 2 * pad);
    const tick = nice((hi - lo) / 5), s = el("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "difference and its interval"});
    for (let v = Math.ceil((lo - pad) / tick) * tick; v <= hi + pad; v += tick) s.append(el("line", {class: "gridline", x1: X(v), x2: X(v), y1: 4, y2: 40}), el("text", {x: X(v), y: 56, "text-anchor": "middle"}, (100 * v).toFixed(tick < .01 ? 1 : 0) + " pt"));
    s.append(el("line", {x1: X(0), x2: X(0), y1: 2, y2: 42, stroke: "var(--soft)", "stroke-dasharray": "3 3"}),
      el("line", {x1: X(l.diff_low), x2: X(l.diff_high), y1: 22, y2: 22, stroke: color(4), "stroke-width": 3, "stroke-linecap": "round"}),
      el("circle", {cx: X(l.diff), cy: 22, r: 6, fill: color(4)}));
    kids.push(s);
  }
  kids.push(table(["", "converted", "people", "rate"], rows), el("p", {class: "note"},
    `People with "${R.goal}" within ${span(R.within_ms)} of their first entry, by events of their own; whoever was drawn counts, whatever became of the push. Intervals of 95 %: difference by Newcombe's hybrid score method, ratio by its logarithm (Katz). Groups of this size show a difference of ${points(l.detectable)} points four times out of five.`));
  return panel("Against the holdout", null, ...kids);
}
function lateness(c) {
  const list = c.lateness || [];
  if (!list.length) return null;
  const late = list.reduce((a, k) => a + k.late, 0), by = says.map((s, i) => [s.name, list.reduce((a, k) => a + k.late_by[i], 0), [3, 1, 6, 5, 4, 2][i]]).filter(p => p[1]);
  const both = t => t.count ? span(t.p50) + " / " + span(t.p90) : "–";
  return panel("How late, and whose delay", "From the position that caused the push until the last that is known of it: median and 90 of 100.",
    table(["positions", "phones", "pushes", ...says.map(s => s.name), "in all", "slowest"], list.map(k => [words(k.source), k.platform || "–", count(k.pushes), ...k.stages.map(both), both(k.total), span(k.total.max)])),
    late ? el("p", {class: "note"}, `${count(late)} took longer than ${span(R.late_ms)}. Most of the time of each went to:`) : el("p", {class: "note"}, `None took longer than ${span(R.late_ms)}.`),
    ...(late ? stack(by) : []),
    el("p", {class: "note"}, says.map(s => s.name + ": " + s.says).join(". ") + "."));
}
function forecasts(c) {
  const list = c.forecasts || [], n = v => count(Math.round(v));
  if (!list.length) return null;
  return panel("Forecasts", "What was expected to be claimed before the days began, and what was; the interval holds it 95 times out of 100 if the days were like those before.",
    table(["made", "for", "expected", "from", "to", "claimed", "off by", "interval"], list.map(f => [new Date(f.made_at).toISOString().slice(0, 16).replace("T", " ") + " UTC",
      f.from === f.to ? f.from : `${f.from} to ${f.to}`, n(f.mean), n(Math.floor(f.low)), n(Math.ceil(f.high)), f.claimed === undefined ? "not over" : count(f.claimed),
      f.claimed ? (f.error < 0 ? "−" : "+") + Math.abs(100 * f.error).toFixed(1) + " %" : "–", f.claimed === undefined ? "" : f.inside ? "inside" : "outside"])));
}
function vouchers(c) {
  const list = c.vouchers || [];
  if (!list.length) return null;
  return panel("Vouchers", "As the pools are now, and since they were made. Put in is the sum of issued, issued by others, redeemed unissued, left and expired.",
    table(["pool", "issued", "redeemed", "of issued", "with a purchase", "by others", "unissued", "left", "expired", "put in", "ends"],
      list.map(v => [v.pool, count(v.issued), count(v.redeemed), pct(v.redeemed, v.issued), count(v.purchases), count(v.others), count(v.ungiven), count(v.left), count(v.expired), count(v.put_in),
        v.expires ? new Date(v.expires).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "no end"])));
}
function growth() {
  const g = R.growth;
  if (!g) return null;
  const x = g.days.map(d => Date.parse(d.day) / 864e5), name = v => new Date(Math.round(v) * 864e5).toISOString().slice(5, 10), left = {};
  g.days.forEach(d => Object.entries(d.left || {}).forEach(([k, v]) => left[k] = (left[k] || 0) + v));
  const step = Math.max(1, Math.ceil(x.length / Math.max(2, wide() / 110)));
  return panel("Subscribers", "Devices that can be pushed to; days in UTC.",
    table(["at the beginning", "joined", "left", "at the end", ""], [[count(g.start), count(g.days.reduce((a, d) => a + d.joined, 0)), count(sum(left)), count(g.end), g.start ? (g.end / g.start).toFixed(2) + "×" : "–"]]),
    Object.keys(left).length ? el("p", {class: "note"}, "Left: " + Object.entries(left).map(([k, v]) => words(k) + " " + count(v)).join(", ") + ".") : null,
    x.length > 1 ? chart({label: "subscribers", width: wide(), height: 200, y: count, xname: name, xticks: x.filter((_, i) => i % step === 0).map(d => [d, name(d)]), series: [{name: "subscribers", color: color(1), points: g.days.map((d, i) => [x[i], d.end])}]}) : null);
}
function cards(t) {
  const card = (k, v, n) => el("div", {class: "card"}, el("div", {class: "k"}, k), el("div", {class: "v"}, v), el("div", {class: "n"}, n));
  return el("section", {class: "panel"}, el("div", {class: "cards", style: "margin-top:0"},
    card("people came", count(t.people), count(t.entered) + " entries"), card("notified", count(t.reached), "people"),
    card("opened", count(t.opened), pct(t.opened, t.accepted) + " of accepted"), card("converted", count(t.converted), pct(t.converted, t.claimed) + " of claimed")));
}
function draw() {
  const days = R.from === R.to ? R.from : `${R.from} to ${R.to}`, all = !R.campaign;
  main.replaceChildren(el("h1", {}, all ? "Footfall: all campaigns" : "Footfall: " + R.campaign),
    el("p", {class: "sub"}, `${days}, on the stores' clocks · made ${new Date(R.made_at).toISOString().slice(0, 16).replace("T", " ")} UTC`));
  if (all) main.append(el("section", {class: "panel"}, el("div", {class: "cards", style: "margin-top:0"},
    el("div", {class: "card"}, el("div", {class: "k"}, "transitions"), el("div", {class: "v"}, count(R.transitions || 0))),
    el("div", {class: "card"}, el("div", {class: "k"}, "without a campaign"), el("div", {class: "v"}, count(R.no_campaign || 0))),
    el("div", {class: "card"}, el("div", {class: "k"}, "campaigns"), el("div", {class: "v"}, count(R.campaigns.length))))));
  if (!R.campaigns.length) main.append(el("p", {class: "none"}, "No campaign was asked about anything on these days."));
  for (const c of R.campaigns) {
    if (all) main.append(el("h1", {class: "part"}, c.campaign));
    main.append(...[cards(c.total), funnel(c.total), outcomes(c.total), byDay(c), byHour(c), groups("By fence", "fence", c.by_fence), whereWhen(c), groups("By variant", "variant", c.by_variant), credit(c), lift(c), rates(c), forecasts(c), vouchers(c), lateness(c)].filter(Boolean));
  }
  const g = growth();
  if (g) main.append(g);
}
draw();
let drawn = main.clientWidth;
addEventListener("resize", () => { if (main.clientWidth !== drawn) { drawn = main.clientWidth; draw(); } });
