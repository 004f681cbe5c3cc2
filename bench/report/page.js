const runs = data;
const stages = runs.stages, results = runs.results, R = results[results.length - 1];
const two = results.length > 1, names = ["A", "B"];

function us(v) {
  if (!v) return "0";
  if (v < 1000) return v.toFixed(v < 10 ? 1 : 0) + " µs";
  if (v < 1e6) return (v / 1000).toFixed(v < 1e4 ? 2 : v < 1e5 ? 1 : 0) + " ms";
  return (v / 1e6).toFixed(2) + " s";
}

// The share not exceeded, so that each nine takes the same room.
const nines = q => q >= 1 ? null : -Math.log10(1 - q);
function curve(l) {
  if (!l || !l.curve) return [];
  const end = nines(1 - 1 / l.count) || 0;
  return l.curve.filter(p => p[0] > 0).map(([q, v]) => [Math.min(nines(q) ?? end, end), v]).filter((p, i, a) => !i || p[0] > a[i - 1][0] || p[1] > a[i - 1][1]);
}
function percentiles() {
  const box = el("div", {}), raw = el("input", {type: "checkbox"});
  const max = Math.max(1, ...results.flatMap(r => Object.values(r.stages).map(l => nines(1 - 1 / l.count) || 0)));
  const ticks = [[0, "0"], [nines(.5), "50 %"], [1, "90 %"], [2, "99 %"], [3, "99.9 %"], [4, "99.99 %"], [5, "99.999 %"]].filter(t => t[0] <= max + .01);
  function draw() {
    const series = [];
    results.forEach((r, n) => stages.forEach((s, i) => {
      if (!r.stages[s.name] || two && !["claim", "accept", "ack"].includes(s.name)) return;
      series.push({name: (two ? names[n] + " " : "") + s.name, color: color(i), dash: two && n === 0, points: curve(r.stages[s.name])});
      if (raw.checked && r.raw[s.name]) series.push({name: s.name + ", from the actual send", color: color(i), thin: true, dash: true, points: curve(r.raw[s.name])});
    }));
    box.replaceChildren(chart({label: "latency by percentile", width: 1040, height: 330, log: true, x0: 0, x1: max, xticks: ticks, y: us, series, xname: x => "up to " + (100 * (1 - 10 ** -x)).toFixed(Math.max(0, Math.ceil(x) )) + " % of all"}));
  }
  raw.addEventListener("change", draw);
  draw();
  return panel("Latency by percentile", "From the planned send time of the message until each stage; each further nine takes the same room.",
    two ? null : el("div", {class: "legend"}, el("label", {}, raw, "also from the actual send time (what a tester sees who forgets the wait)")), box);
}
function latencyTable() {
  const rows = [];
  stages.forEach(s => results.forEach((r, n) => {
    const l = r.stages[s.name];
    if (l) rows.push([(two ? names[n] + " " : "") + s.name, two ? "" : s.meaning, us(l.p50_us), us(l.p90_us), us(l.p99_us), us(l.p999_us), us(l.max_us), num(l.count)]);
  }));
  const t = table(["stage", "reached when", "p50", "p90", "p99", "p99.9", "max", "count"], rows);
  t.querySelectorAll("td:nth-child(2), th:nth-child(2)").forEach(c => c.style.cssText = "text-align:left;color:var(--soft);white-space:normal");
  return panel("Stages", null, t);
}
function parts() {
  const list = R.parts || [];
  if (!list.length) return null;
  const W = 1040, row = 26, L = 150, shown = [["p50", "p50_us"], ["p90", "p90_us"], ["p99", "p99_us"]];
  const max = Math.max(...list.map(p => p.time.p99_us));
  const s = el("svg", {viewBox: `0 0 ${W} ${list.length * row + 6}`, role: "img", "aria-label": "time of each part"});
  list.forEach((p, i) => {
    const y = i * row + 4, scale = v => (W - L - 260) * v / max;
    s.append(el("text", {class: "ink", x: 0, y: y + 14}, p.name));
    [[.22, p.time.p99_us], [.5, p.time.p90_us], [1, p.time.p50_us]].forEach(([o, v]) => s.append(el("rect", {x: L, y: y + 3, width: Math.max(1, scale(v)), height: 14, rx: 2, fill: color(i), opacity: o})));
    s.append(el("text", {x: L + scale(p.time.p99_us) + 10, y: y + 14}, shown.map(([n, k]) => n + " " + us(p.time[k])).join("   ")));
  });
  return panel("Where the time goes", "What each part of the way takes by itself: the full bar is the median, the paler ones p90 and p99.", s);
}
function heat() {
  const t = R.timeline || [], rows = 25;
  if (!t.some(s => s.heat)) return null;
  const per = Math.ceil(t.length / 120), cols = [];
  for (let i = 0; i < t.length; i += per) {
    const sum = new Array(rows).fill(0);
    t.slice(i, i + per).forEach(s => (s.heat || []).forEach((n, j) => sum[j] += n));
    cols.push(sum);
  }
  const used = cols.flatMap(c => c.flatMap((n, j) => n ? [j] : [])), lo = Math.max(0, Math.min(...used) - 1), hi = Math.min(rows - 1, Math.max(...used) + 1);
  const W = 1040, H = 230, L = 58, B = 30, T = 8, w = (W - L - 14) / cols.length, h = (H - T - B) / (hi - lo + 1);
  const s = el("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "latency over time"});
  const most = Math.max(...cols.flat());
  cols.forEach((c, i) => c.forEach((n, j) => {
    if (n) s.append(el("rect", {x: L + i * w, y: T + (hi - j) * h, width: w + .3, height: h + .3, fill: `rgba(var(--heat), ${(.12 + .88 * Math.sqrt(n / most)).toFixed(2)})`},
      el("title", {}, `${i * per}–${(i + 1) * per} s, ${us(10 * 10 ** (j / 4))}–${us(10 * 10 ** ((j + 1) / 4))}: ${n} entries`)));
  }));
  for (let j = lo; j <= hi; j++) if (j % 4 === 0) s.append(el("text", {x: L - 8, y: T + (hi - j + 1) * h + 4, "text-anchor": "end"}, us(10 * 10 ** (j / 4))), el("line", {class: "gridline", x1: L, x2: W - 14, y1: T + (hi - j + 1) * h, y2: T + (hi - j + 1) * h}));
  for (const [v, text] of timeTicks(0, t.length)) s.append(el("text", {x: L + v / per * w, y: H - B + 17, "text-anchor": "middle"}, text));
  return panel("Claim latency over time", "Each column is " + (per === 1 ? "a second" : per + " seconds") + ", darker where more entries were as fast.", s);
}
function over(title, text, series, o) {
  return panel(title, text, chart({label: title, series: series.map((s, i) => ({name: s[0], color: color(s[2] ?? i + 1), dash: s[3], points: (R.timeline || []).map(x => [x.t, x[s[1]]]).filter(p => p[1] > 0 || !(o || {}).log)})), ...o}));
}
function verdict(r, n) {
  const c = r.correctness, w = el("div", {class: "verdict"}, two ? el("strong", {}, names[n]) : null, el("span", {class: "badge " + r.verdict}, r.verdict),
    el("span", {class: c.judged && r.correct ? "VALID" : "INVALID"}, !c.judged ? "correctness not judged: " + c.why : r.correct ? "every entry and push as expected" : "entries or pushes are not as expected"));
  if (two) w.append(el("span", {}, r.started + (r.commit ? ", " + r.commit.slice(0, 12) : "")));
  const list = [...(r.reasons || []), ...(r.notes || [])];
  if (list.length) w.append(el("ul", {}, ...list.map(x => el("li", {}, x))));
  return w;
}
function cards() {
  const c = R.correctness, out = [], add = (k, v, n) => out.push(el("div", {class: "card"}, el("div", {class: "k"}, k), el("div", {class: "v"}, v), el("div", {class: "n"}, n)));
  if (R.verdict === "VALID") {
    for (const [s, text] of [["claim", "ping → durable claim"], ["accept", "ping → push accepted"], ["ack", "ping → ok"]])
      if (R.stages[s]) add(text, us(R.stages[s].p50_us), "median; p99 " + us(R.stages[s].p99_us));
  }
  add("pings a second", num(R.load.achieved_rate), share(R.load.achieved_share) + " of the plan in time");
  for (const [k, t] of [["entries", c.enters], ["pushes", c.pushes]]) add(k, num(t.got) + " of " + num(t.expected), `lost ${t.lost}, extra ${t.extra}, duplicate ${t.duplicate}`);
  if (R.gateway.rss_mb) add("gateway", num(R.gateway.rss_mb) + " MB", share(R.gateway.cpu_share) + " of all cores");
  return el("div", {class: "cards"}, ...out);
}
const cfg = R.config;
main.append(el("h1", {}, "Footfall bench: " + (two ? "two runs" : cfg.profile)),
  el("p", {class: "sub"}, [R.started, R.commit && "commit " + R.commit.slice(0, 12), `${R.machine.cores} × ${R.machine.cpu || R.machine.arch}`, R.machine.go, R.machine.file_system, R.machine.sync_p50_us && "synced write " + us(R.machine.sync_p50_us) + ", p99 " + us(R.machine.sync_p99_us)].filter(Boolean).join(" · ")));
main.append(el("section", {class: "panel"}, ...results.map(verdict), two ? null : cards()));
main.append(percentiles(), latencyTable());
if (!two) {
  const more = [parts(), heat()].filter(Boolean);
  main.append(...more);
  const lag = R.generator.limits ? [{y: R.generator.limits.lag_p99_us, text: "limit of p99"}] : [];
  main.append(el("div", {class: "grid"},
    over("Rate", "Pings a second.", [["planned", "offered", 5, true], ["sent", "sent", 1], ["taken by the gateway", "collected", 2]]),
    over("Lag of the generator", "From a message's planned time until it was on its way.", [["p50", "lag_p50", 2], ["p99", "lag_p99", 3], ["max", "lag_max", 5, true]], {log: true, y: us, marks: lag}),
    over("Memory", "Megabytes.", [["gateway, resident", "gateway_mb", 1], ["generator, heap", "heap_mb", 5]]),
    over("Processor", "Cores in use.", [["gateway", "gateway_cpu", 1], ["generator", "cpu", 5]]),
    over("Claim and push", "Latency by second.", [["claim p50", "claim_p50", 3], ["claim p99", "claim_p99", 3, true], ["accept p50", "accept_p50", 4], ["accept p99", "accept_p99", 4, true]], {log: true, y: us}),
    over("Garbage collection of the generator", "Longest pause in each second, in milliseconds.", [["pause", "gc_ms", 5]], {atLeast: .1, y: v => v.toFixed(2)})));
}
const wrong = results.flatMap(r => ["enters", "exits", "pushes"].flatMap(k => r.correctness[k].examples || []));
main.append(panel("Correctness", "What had to come, by a geometry of the generator's own, and what came.",
  table(["", "expected", "got", "lost", "extra", "duplicate"], results.flatMap((r, n) => ["enters", "exits", "pushes"].map(k => { const t = r.correctness[k]; return [(two ? names[n] + " " : "") + ({enters: "entries"}[k] || k), num(t.expected), num(t.got), t.lost, t.extra, t.duplicate]; }))),
  wrong.length ? el("pre", {}, wrong.join("\n")) : null));
main.append(panel("Configuration", null, el("pre", {}, results.map(r => JSON.stringify(r.config)).join("\n\n"))));
