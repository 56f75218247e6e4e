/* The view Events: what happened, newest first; swaps are rows of the same list. */

import { html } from "./vendor-preact-htm.js";
import { now } from "./app.js";
import { List } from "./list.js";
import { Part } from "./part.js";
import { Button, Empty, Name } from "./parts.js";
import { restartDetails } from "./receipt.js";
import { shown } from "./store.js";
import { answeredBy, Bar, scaleOf, toldWords } from "./way.js";
import { became, clockMs, count, details, grouped, joined, parted, shortly, signed, took, tookMs } from "./words.js";

const TALL = 27;
const TALL_NARROW = 46;
export const NARROW = "(max-width: 639.9px)";
const narrow = matchMedia(NARROW);
const PLOTS = { isQuiet: true, load: () => import("./plots.js") };

/** What the list shows: what was found, what is held still, or what comes. */
export function listOf(model) {
  if (model.found) return model.found.items;
  return shown(model.still ?? model.items);
}

export const keyOf = (item) => item.key ?? item.number;
export const placeOf = (items, selected) => (selected === null ? -1 : items.findIndex((each) => keyOf(each) === selected));

function answerOf(row) {
  if (!row.ok) return ["bad", shortly(row.said || "failed", 80)];
  const by = answeredBy(row);
  return by ? ["", `${by.mod} v${by.generation}`] : ["quiet", toldWords(row) || shortly(row.said, 80) || "heard by no mod"];
}

const wayOf = (row) => (row.destination ? `${row.source ?? "–"} → ${row.destination}` : row.source ?? "–");

function EventRow({ row, scale, mods }) {
  const [before, rest] = parted(row.event_name), [kind, answer] = answerOf(row);
  return html`<span class="time mono">${clockMs(row.at)}</span><span class="number mono">${row.number}</span>
    <span class="name ${row.parent ? "child" : ""}"><bdi>${row.parent ? "└ " : ""}<span class="quiet">${before}</span><b>${rest}</b></bdi></span>
    <span class="from"><${Name} of=${wayOf(row)} /></span><${Bar} row=${row} scale=${scale} mods=${mods} />
    <span class="answer ${kind}"><${Name} of=${answer} /></span><span class="took num">${took(row.took_us)}</span>`;
}

function SwapRow({ fact }) {
  const [sign, kind, title, words] = fact.type === "restart"
    ? ["⟳", fact.failed.length ? "bad" : "good", "restarted in place", restartDetails(fact)]
    : [...signed(fact), became(fact), details(fact)];
  return html`<span class="swap-words ${kind}"><span class="sign" aria-hidden="true">${sign}</span> <b><${Name} of=${title} /></b>${" "}<span class="rest"><${Name} of=${words} /></span></span>`;
}

const GapRow = ({ gap }) => html`<span class="swap-words">${count(gap.missed, "event")} came while this tab slept; the latest ${grouped(gap.here)} are here, search finds the others</span>`;

function drawRow(scale, mods) {
  return (item) => (item.kind === "event" ? html`<${EventRow} row=${item} scale=${scale} mods=${mods} />`
    : item.kind === "gap" ? html`<${GapRow} gap=${item} />` : html`<${SwapRow} fact=${item.fact} />`);
}

/** How many came since the list is held still. */
function news(model) {
  const last = model.still?.at(-1)?.at ?? 0;
  return model.still ? model.items.length - 1 - model.items.findLastIndex((each) => each.at <= last) : 0;
}

function Filter({ model, doings }) {
  const came = news(model), { found } = model;
  const words = found
    ? joined([`${grouped(found.items.length)}${found.more ? "+" : ""} of ${grouped(found.kept)} kept events`, tookMs(found.ms), found.gone && "older ones are gone"])
    : joined([`${grouped(model.items.filter((each) => each.kind === "event").length)} here`, model.hosts && "of this host alone; oa-dev events shows those of all"]);
  return html`<div class="bar">
    <input type="search" id="search" class="mono" placeholder="wiki.*  mod:messaging  from:ana  failed  >5ms  #1287" aria-label="Search events" title="oa-dev events" spellcheck="false"
      value=${model.query} onInput=${(event) => doings.query(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && doings.down()} />
    ${found || model.still
      ? html`<${Button} words=${came ? `${grouped(came)} new ↑` : "follow"} command="follow again (Esc)" act=${() => doings.back()} />` : html`<span class="chip following">following</span>`}
    <span class="quiet small">${words}</span>
    <${Button} words="Send event" does="send" act=${() => doings.send()} /></div>`;
}

function none(model) {
  if (model.query) return html`<${Empty} why=${model.searchProblem || `No kept event matches ${model.query}.`} what="Esc shows all of them again." />`;
  if (model.link === "asking") return html`<${Empty} why="Asking the server …" />`;
  return html`<${Empty} why="No event has come yet. Press n, or:" what=${`oa-dev send ${model.example || "EVENT_NAME"} --payload '{…}'`} />`;
}

export function Events({ model, doings }) {
  const items = listOf(model), mods = model.status?.mods ?? [], scale = scaleOf(items.slice(0, 200));
  const tall = narrow.matches ? TALL_NARROW : TALL;
  return html`<div class="events"><${Filter} model=${model} doings=${doings} />
    <div class="head" aria-hidden="true"><span>time</span><span>#</span><span>event</span><span>from → to</span><span>way, ${took(scale)}</span><span>answer</span><span class="num">took</span></div>
    <div class="rows" onClick=${(event) => pressed(event, items, doings)}>${items.length
      ? html`<${List} id="events" items=${items} tall=${tall} chosen=${placeOf(items, model.selected)} draw=${drawRow(scale, mods)} label="Events, newest first" onScroll=${(top) => doings.scrolled(top)} />`
      : none(model)}</div>
    ${model.seconds.length > 1 && html`<${Part} part=${PLOTS} model=${model} />`}</div>`;
}

/** One listener for all rows: the row that was pressed is known by its place. */
function pressed(event, items, doings) {
  const row = event.target.closest?.("[role=option]");
  if (row && now().view === "events") doings.select(items[Number(row.id.split("-").at(-1))]);
}
