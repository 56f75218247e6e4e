/* The way of an event: as a bar in its row, and as a waterfall below each other. */

import { html } from "./vendor-preact-htm.js";
import { hue, Name } from "./parts.js";
import { count, parted, took } from "./words.js";

const [PASSED, ANSWERED, RAISED, GIVEN_UP, GONE] = [0, 1, 2, 3, 4];
const SAID = ["passed", "answered", "raised", "given up", "gone", "turned away"];
const STEPS = [1, 2, 5];
const LEAST_PERCENT = 1.5;

/** A visit as an object, its times in µs from the beginning of its event. */
export function visitOf(row, [mod, generation, at, held, lasted, said]) {
  return { mod, generation, held, lasted, said, from: Math.max(0, at - row.at_us - (generation ? held : 0)), at: at - row.at_us };
}

export const visits = (row) => row.way.map((visit) => visitOf(row, visit));

/** The mod that decided an event's answer, and its version; null where none did. */
export function answeredBy(row) {
  const last = row.way.findLast((visit) => visit[5] !== PASSED);
  return last ? { mod: last[0], generation: last[1], said: last[5] } : null;
}

/** What the bars of a list are drawn against, in µs: 1, 2 or 5 of a unit, so that nine of ten rows fit. It moves in
    steps, and seldom. */
export function scaleOf(items) {
  const tooks = items.filter((each) => each.kind === "event").map((each) => each.took_us).sort((one, other) => one - other);
  const most = Math.max(100, tooks[Math.floor(tooks.length * 0.9)] ?? 0), unit = 10 ** Math.floor(Math.log10(most));
  return (STEPS.find((each) => each * unit >= most) ?? 10) * unit;
}

const percent = (part, whole) => Math.min(100, Math.max(0, (part / whole) * 100));

function Piece({ from, lasted, scale, kind }) {
  const left = Math.min(percent(from, scale), 100 - LEAST_PERCENT);
  return html`<i class="piece ${kind}" style=${{ left: `${left}%`, width: `${Math.max(LEAST_PERCENT, Math.min(100 - left, percent(lasted, scale)))}%` }}></i>`;
}

const bad = (said) => (said === RAISED || said === GIVEN_UP || said === GONE ? "raised" : "");

const drawn = (visit, scale, mods) => [
  visit.held > 0 && html`<${Piece} from=${visit.from} lasted=${visit.held} scale=${scale} kind="held" />`,
  visit.generation > 0 && html`<${Piece} from=${visit.at} lasted=${visit.lasted} scale=${scale} kind=${`${hue(mods, visit.mod)} ${bad(visit.said)}`} />`,
];

/** The way as one bar. What it says stands in the row beside it. */
export function Bar({ row, scale, mods }) {
  const whole = Math.max(scale, row.took_us);
  return html`<span class="way" aria-hidden="true">${visits(row).map((visit) => drawn(visit, whole, mods))}</span>`;
}

function Line({ words, indented, children, end, how }) {
  return html`<li class=${indented ? "child" : ""}><span class="what"><${Name} of=${words} /></span><span class="way">${children}</span><span class="num">${end}</span><span class="how">${how}</span></li>`;
}

function visitLines(visit, whole, mods) {
  const [held, own] = drawn(visit, whole, mods);
  return [
    held && html`<${Line} words=${`gate of ${visit.mod}`} end=${took(visit.held)} how=${visit.generation ? "" : SAID[visit.said]}>${held}<//>`,
    own && html`<${Line} words=${`${visit.mod} v${visit.generation}`} end=${took(visit.lasted)} how=${SAID[visit.said]}>${own}<//>`,
  ];
}

function childLine(row, child, whole, open) {
  const from = child.at_us - row.at_us;
  return html`<li class="child"><button type="button" class="what link" title=${`oa-dev events '#${child.number}'`} onClick=${() => open(child.number)}>↳ <${Name} of=${parted(child.event_name)[1]} /></button>
    <span class="way"><${Piece} from=${from} lasted=${child.took_us} scale=${whole} kind="sent" /></span><span class="num">${took(child.took_us)}</span><span class="how"></span></li>`;
}

const nameOf = (delivery) => delivery.agent ?? delivery.agent_id;

/** Who got it, in a few words, and who has read it. */
function toldLine(deliveries) {
  if (!deliveries?.length) return null;
  const names = deliveries.slice(0, 3).map(nameOf), rest = deliveries.length - names.length;
  const read = deliveries.filter((each) => each.read_us !== undefined && each.read_us !== null);
  const how = read.length ? `${read.length === deliveries.length ? "read" : `${read.length} read`}, ${took(Math.max(...read.map((each) => each.read_us)))}` : "waiting";
  return html`<${Line} indented words=${`↳ ${names.join(", ")}${rest ? ` and ${rest} more` : ""}`} end=${`${deliveries.length} told`} how=${how} />`;
}

export function Waterfall({ row, children, deliveries, mods, open }) {
  const whole = Math.max(row.took_us, 1);
  const isEmpty = !row.way.length && !children.length && !deliveries?.length;
  return html`<ol class="waterfall">${visits(row).map((visit) => visitLines(visit, whole, mods))}
    ${children.map((child) => childLine(row, child, whole, open))}${toldLine(deliveries)}
    ${isEmpty && html`<li class="quiet">No mod hears ${row.event_name}, and it went to no agent.</li>`}</ol>`;
}

export const toldWords = (row) => (row.to.length ? `delivered to ${count(row.to.reduce((sum, each) => sum + (typeof each === "number" ? each : 1), 0), "agent")}` : "");
export { ANSWERED, RAISED };
