/* Plots over one time axis, the same as the list's: answer times of mods, events a second, and a mark for each swap. */

import { html, useEffect, useRef } from "./vendor-preact-htm.js";
import { clock, took } from "./words.js";

const TALL = 88;
const SECONDS = 120;
const SHORTEST = 30;
const MOST_MODS = 3;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let library = null;

/** Brings the library with the first plot: until then it lies in a template, from which a browser loads nothing. */
function brought() {
  library ??= new Promise((done) => {
    const kept = document.importNode(document.getElementById("uplot").content, true);
    kept.querySelector("script").addEventListener("load", done);
    document.head.append(kept);
  });
  return library;
}

/** Draws a line for each swap, with the words of its mod where they end before the next line. */
function marked(marks) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.setLineDash([4, 3]);
    ctx.font = `${Math.round(10 * devicePixelRatio)}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    const edge = bbox.left + bbox.width, gap = 3 * devicePixelRatio;
    const lines = marks().map((mark) => ({ ...mark, x: Math.round(plot.valToPos(mark.at, "x", true)) })).filter(({ x }) => x >= bbox.left && x <= edge);
    lines.forEach(({ x, kind, words }, place) => {
      ctx.fillStyle = ctx.strokeStyle = css(`--${kind}`);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (x + gap + ctx.measureText(words).width < (lines[place + 1]?.x ?? edge)) ctx.fillText(words, x + gap, bbox.top);
    });
    ctx.restore();
  };
}

function axis(values, more = {}) {
  return { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif", values, ...more };
}

/** The places of values without a neighbour: a line needs two, so these are points. */
const alone = ({ data }, series) => data[series].flatMap((value, place, all) => (value !== null && all[place - 1] == null && all[place + 1] == null ? [place] : []));

function optionsOf(lines, width, words, marks) {
  const times = (_, splits) => splits.map((each) => clock(each * 1000));
  return {
    width, height: TALL, legend: { show: false }, cursor: { show: false }, pxAlign: 1,
    hooks: { draw: [marked(marks)] }, scales: { x: { time: true, range: (_, low, high) => [Math.min(low, high - SHORTEST), high] }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
    axes: [axis(times, { size: 22, space: 90 }), axis((_, splits) => splits.map(words), { size: 58, space: 24 })],
    series: [{}, ...lines.map(({ color }) => ({ stroke: css(color), width: 1.5, points: { show: true, size: 3, fill: css(color), filter: alone }, spanGaps: false }))],
  };
}

/** Arguments: `lines` [{name, color, values}], `xs` seconds, `words(value)`, `marks` [{at, kind}], `title`. */
export function Plot({ title, lines, xs, words, marks, told }) {
  const box = useRef(null), plot = useRef(null), latest = useRef(marks);
  latest.current = marks;
  const form = lines.map(({ name }) => name).join("\n");
  const make = () => {
    plot.current?.destroy();
    const wide = globalThis.uPlot ? box.current.clientWidth : 0;
    plot.current = wide > 80 ? new uPlot(optionsOf(lines, wide, words, () => latest.current), data(xs, lines), box.current) : null;
  };
  useEffect(() => { if (!globalThis.uPlot) brought().then(() => box.current && make()); }, []);
  useEffect(() => {
    const watch = new ResizeObserver(make), dark = matchMedia("(prefers-color-scheme: dark)");
    watch.observe(box.current);
    dark.addEventListener("change", make);
    addEventListener("themechange", make);
    return () => {
      watch.disconnect();
      dark.removeEventListener("change", make);
      removeEventListener("themechange", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [form]);
  useEffect(() => { plot.current ? plot.current.setData(data(xs, lines)) : make(); }, [xs, marks.length]);
  return html`<figure><figcaption><h3>${title}</h3>${lines.map(({ name, color }) => html`<span class="legend"><i class="line ${color.slice(2)}"></i><bdi>${name}</bdi></span>`)}</figcaption>
    <div class="plot" ref=${box} role="img" aria-label=${told}></div></figure>`;
}

const data = (xs, lines) => [xs, ...lines.map(({ values }) => values)];

/** The swaps of a state, as marks of a plot. */
export const marksOf = (items) => items.filter((each) => each.kind === "swap" && each.fact.status !== "skipped").map(({ at, fact }) => {
  const isGood = fact.status === "applied" || fact.type === "restart";
  return { at: at / 1000, kind: isGood ? "good" : "bad", words: fact.type === "restart" ? "restart" : `${fact.mod_id ?? "network.yaml"} ${isGood ? `v${fact.generation}` : "✗"}` };
});

/** Every second from the first to the last, so that a second without events is drawn as such. */
export function everySecond(seconds, most) {
  const known = new Map(seconds), last = seconds.at(-1)?.[0] ?? 0;
  const first = Math.max(seconds[0]?.[0] ?? 0, last - most);
  return Array.from({ length: seconds.length ? last - first + 1 : 0 }, (_, place) => [first + place, known.get(first + place) ?? {}]);
}

function busiest(seconds, mods) {
  const sums = new Map();
  for (const [, each] of seconds) for (const [mod, row] of Object.entries(each)) if (mod) sums.set(mod, (sums.get(mod) ?? 0) + row[2] * row[0]);
  const first = [...sums].sort((one, other) => other[1] - one[1]).slice(0, MOST_MODS).map(([mod]) => mod);
  return mods.filter((mod) => first.includes(mod.mod_id));
}

let kept = { seconds: null };

/** The numbers of both plots, made once for each second that came. */
function figures(model) {
  const mods = model.status?.mods ?? [];
  if (kept.seconds === model.seconds && kept.mods === mods) return kept;
  const rows = everySecond(model.seconds, SECONDS), xs = rows.map(([second]) => second);
  const p95 = busiest(rows, mods).map(({ mod_id: mod }) => ({ name: mod, color: `--hue${mods.findIndex((each) => each.mod_id === mod) % 5}`, values: rows.map(([, each]) => (each[mod] ? each[mod][3] : null)) }));
  const sums = (place) => rows.map(([, each]) => each[""]?.[place] ?? 0);
  kept = { seconds: model.seconds, mods, xs, p95, paces: [{ name: "events", color: "--accent", values: sums(0) }, { name: "failed", color: "--bad", values: sums(1) }] };
  return kept;
}

export function View({ model }) {
  const { xs, p95, paces } = figures(model), marks = marksOf(model.items);
  const worst = Math.max(0, ...p95.flatMap(({ values }) => values.map((each) => each ?? 0)));
  return html`<div class="plots"><${Plot} title="Answer time, p95" lines=${p95} xs=${xs} words=${(value) => took(value)} marks=${marks} told=${`Answer time of ${p95.map(({ name }) => name).join(", ")}; at most ${took(worst)} in two minutes`} />
    <${Plot} title="Events a second" lines=${paces} xs=${xs} words=${(value) => String(Math.round(value))} marks=${marks} told=${`At most ${Math.max(0, ...paces[0].values)} events a second in two minutes`} /></div>`;
}
