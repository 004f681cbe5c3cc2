const data = JSON.parse(document.getElementById("data").textContent);
const svgSpace = document.getElementById("space").namespaceURI;
const main = document.getElementById("main"), tip = document.getElementById("tip");
function el(tag, attrs, ...kids) {
  const svg = /^(svg|g|path|line|rect|text|circle|title)$/.test(tag);
  const e = svg ? document.createElementNS(svgSpace, tag) : document.createElement(tag);
  for (const k in attrs || {}) if (attrs[k] !== null) e.setAttribute(k, attrs[k]);
  e.append(...kids.filter(k => k !== null && k !== undefined));
  return e;
}
const num = v => Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en").replaceAll(",", "\u202f") : String(Math.round(v * 10) / 10);
const share = v => (100 * v).toFixed(v < 0.1 ? 1 : 0) + " %";
const color = i => `var(--s${i})`;
const panel = (title, text, ...kids) => el("section", {class: "panel"}, el("h2", {}, title), text ? el("p", {}, text) : null, ...kids);
// A chart with a linear or logarithmic y axis. series: {name, color, dash, points: [[x, y]...]}.
function chart(o) {
  const W = o.width || 520, H = o.height || 230, L = 58, Rm = 14, T = 10, B = 30;
  const all = o.series.flatMap(s => s.points);
  if (!all.length) return el("p", {class: "none"}, "Not measured.");
  let x0 = o.x0 ?? Math.min(...all.map(p => p[0])), x1 = o.x1 ?? Math.max(...all.map(p => p[0]));
  if (x1 <= x0) x1 = x0 + 1;
  const ys = all.map(p => p[1]).filter(v => !o.log || v > 0);
  let y0 = o.log ? Math.min(...ys) : 0, y1 = Math.max(...ys, o.atLeast || 0) || 1;
  if (o.log) { y0 = 10 ** Math.floor(Math.log10(y0)); y1 = 10 ** Math.ceil(Math.log10(y1 * 1.0001)); } else y1 *= 1.08;
  const X = v => L + (W - L - Rm) * (v - x0) / (x1 - x0);
  const Y = v => o.log ? T + (H - T - B) * (1 - Math.log10(Math.max(v, y0) / y0) / Math.log10(y1 / y0)) : T + (H - T - B) * (1 - (v - y0) / (y1 - y0));
  const s = el("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": o.label});
  const ticks = [];
  if (o.log) for (let d = y0; d <= y1 * 1.001; d *= 10) ticks.push(d);
  else { const step = nice(y1 / 4); for (let d = 0; d <= y1; d += step) ticks.push(d); }
  for (const d of ticks) s.append(el("line", {class: "gridline", x1: L, x2: W - Rm, y1: Y(d), y2: Y(d)}), el("text", {x: L - 8, y: Y(d) + 4, "text-anchor": "end"}, (o.y || num)(d)));
  for (const [v, text] of o.xticks || timeTicks(x0, x1)) s.append(el("line", {class: "gridline", x1: X(v), x2: X(v), y1: T, y2: H - B}), el("text", {x: X(v), y: H - B + 17, "text-anchor": "middle"}, text));
  s.append(el("line", {class: "axis", x1: L, x2: W - Rm, y1: H - B, y2: H - B}));
  for (const m of o.marks || []) if (m.y <= y1 && m.y >= y0) s.append(el("line", {x1: L, x2: W - Rm, y1: Y(m.y), y2: Y(m.y), stroke: "var(--bad)", "stroke-dasharray": "2 4"}), el("text", {x: W - Rm, y: Y(m.y) - 5, "text-anchor": "end"}, m.text));
  for (const r of o.series) {
    const pts = r.points.filter(p => !o.log || p[1] > 0);
    if (pts.length) s.append(el("path", {d: pts.map((p, i) => (i ? "L" : "M") + X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1)).join(""), fill: "none", stroke: r.color, "stroke-width": r.thin ? 1.2 : 2, "stroke-linejoin": "round", "stroke-dasharray": r.dash ? "5 4" : null}));
    if (pts.length === 1) s.append(el("circle", {cx: X(pts[0][0]), cy: Y(pts[0][1]), r: 3, fill: r.color}));
  }
  const hair = el("line", {class: "axis", y1: T, y2: H - B, visibility: "hidden"});
  s.append(hair);
  s.addEventListener("pointermove", ev => {
    const box = s.getBoundingClientRect(), x = x0 + ((ev.clientX - box.left) / box.width * W - L) / (W - L - Rm) * (x1 - x0);
    if (x < x0 || x > x1) return leave();
    hair.setAttribute("x1", X(x)); hair.setAttribute("x2", X(x)); hair.setAttribute("visibility", "visible");
    tip.textContent = [(o.xname || (v => v.toFixed(0) + " s"))(x), ...o.series.filter(r => r.points.length).map(r => {
      let best = r.points[0];
      for (const p of r.points) if (Math.abs(p[0] - x) < Math.abs(best[0] - x)) best = p;
      return r.name + "  " + (o.y || num)(best[1]);
    })].join("\n");
    tip.style.display = "block";
    tip.style.left = Math.min(ev.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = ev.clientY + 14 + "px";
  });
  const leave = () => { hair.setAttribute("visibility", "hidden"); tip.style.display = "none"; };
  s.addEventListener("pointerleave", leave);
  return el("div", {}, o.nolegend ? null : legend(o.series), s);
}
function legend(series) {
  const seen = new Set();
  return el("div", {class: "legend"}, ...series.filter(r => r.points.length && !seen.has(r.name) && seen.add(r.name)).map(r => el("span", {}, el("i", {style: `border-color:${r.color}`, class: r.dash ? "dash" : ""}), r.name)));
}
function nice(v) { const p = 10 ** Math.floor(Math.log10(v)), m = v / p; return (m > 5 ? 10 : m > 2 ? 5 : m > 1 ? 2 : 1) * p; }
function timeTicks(a, b) { const step = nice((b - a) / 6), out = []; for (let v = Math.ceil(a / step) * step; v <= b; v += step) out.push([v, v + " s"]); return out; }
function table(head, rows) {
  return el("div", {class: "wide"}, el("table", {}, el("tr", {}, ...head.map(h => el("th", {}, h))), ...rows.map(r => el("tr", {}, ...r.map(c => el("td", {}, String(c)))))));
}
