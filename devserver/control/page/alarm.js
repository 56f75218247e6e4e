/* Says the worst thing first. `worst` is pure: the state of the page in, one alarm out. The table is in the order of
   what a person must know: is the server there, does the saved code run, does it work, does something wait. */

import { html } from "./vendor-preact-htm.js";
import { Button, Name } from "./parts.js";
import { clock, joined, listed, placed, raised } from "./words.js";

const none = { failed: [], raised: [], older: [] }, found = new WeakMap();

/** The mods of a status that need a person: looked for once, however often it is drawn. */
function troubled(status) {
  if (!status) return none;
  if (!found.has(status)) {
    const mods = [...status.mods, ...status.down];
    found.set(status, { failed: mods.filter((mod) => mod.failed), raised: mods.filter((mod) => mod.raised), older: mods.filter((mod) => mod.newer_on_disk?.length > 0) });
  }
  return found.get(status);
}

const more = (mods, words) => (mods.length > 1 ? `; ${words} too: ${listed(mods.slice(1).map((each) => each.mod_id))}` : "");

function failed(mods) {
  const [mod] = mods;
  const title = mod.generation
    ? `${mod.mod_id} v${mod.generation + 1} did not load, v${mod.generation} keeps running`
    : `${mod.mod_id} did not load, nothing of it runs`;
  return { kind: "bad", title: title + more(mods, "did not load"), error: mod.failed, mod, next: "the next save tries again", acts: ["edit", "trace", "again"] };
}

function refused(status) {
  const [error, ...others] = status.refused;
  const rest = others.length ? `, and ${others.length} more` : "";
  return { kind: "bad", title: `network.yaml is not applied${rest}, what ran before runs on`, error, next: "the next save tries again", acts: ["edit"] };
}

function blocked(fact) {
  const place = fact.file ? ` at ${fact.file}:${fact.line}` : "";
  return { kind: "warn", title: `${fact.mod_id} blocks the mods' thread, ${fact.seconds.toFixed(1)} s${place}`, text: "No mod answers meanwhile; agents stay connected.", acts: [] };
}

function erring(mods) {
  const [mod] = mods, { times, event_name: name } = mod.raised;
  const often = times > 1 ? `, ${times} times` : "";
  return { kind: "warn", title: `${mod.mod_id} v${mod.generation} raised on ${name}${often}${more(mods, "a handler raised")}`, error: mod.raised, mod, next: mod.out ? "it gets no events any more" : `v${mod.generation} stays`, acts: ["edit", "trace"] };
}

function older(mods) {
  const [mod] = mods;
  return { kind: "warn", title: `${mod.mod_id} v${mod.generation} is not what is on disk: ${mod.newer_on_disk.join(", ")} differs${more(mods, "so are")}`, text: "It was undone, or waits; a reload brings what is on disk.", mod, acts: ["again"] };
}

const TABLE = [
  ["refused", (s) => s.link === "refused", (s) => ({ kind: "gone", title: s.problem, acts: [] })],
  ["gone", (s) => s.link === "gone", (s) => ({ kind: "gone", title: `stopped ${clock(s.since)}, asking again`, text: "What is below was so then.", acts: [] })],
  ["saved code does not run", (s) => troubled(s.status).failed.length > 0, (s) => failed(troubled(s.status).failed)],
  ["network.yaml", (s) => s.status?.refused.length > 0, (s) => refused(s.status)],
  ["blocked", (s, at) => Boolean(blocking(s, at)), (s, at) => blocked(blocking(s, at))],
  ["a handler raises", (s) => troubled(s.status).raised.length > 0, (s) => erring(troubled(s.status).raised)],
  ["a restart waits", (s) => Boolean(s.status?.restart), (s) => ({ kind: "warn", title: "a restart in place is needed", text: joined([...s.status.restart.reasons, s.status.restart.waits]), acts: ["restart"] })],
  ["older code runs", (s) => troubled(s.status).older.length > 0 && !s.status.paused && !s.status.waiting.length, (s) => older(troubled(s.status).older)],
  ["saves wait", (s) => s.status?.paused || s.status?.waiting.length > 0, (s) => ({ kind: "warn", title: "saves wait", text: s.status.waiting.length ? `saved and not applied yet: ${s.status.waiting.join(", ")}` : "nothing was saved since", acts: s.status.waiting.length ? ["apply", "resume"] : ["resume"] })],
];

const BLOCKED_MS = 10_000;
const blocking = (state, at) => state.facts.findLast((each) => each.about === "blocked" && at - Date.parse(each.time) < BLOCKED_MS);

/** The worst thing, or null where all that was saved runs. */
export function worst(state, at) {
  const row = TABLE.find(([, holds]) => holds(state, at));
  return row ? { state: row[0], ...row[2](state, at) } : null;
}

/** The error that is told now, if the worst thing is one. */
export const alarmError = (state) => worst(state, Date.now())?.error ?? null;

function Excerpt({ error }) {
  const lines = error?.excerpt ?? [];
  if (!lines.length) return null;
  const wide = (error.end_column ?? error.column + 1) - error.column;
  const carets = error.column ? " ".repeat(error.column - 1) + "^".repeat(Math.max(1, Math.min(80, wide))) : "";
  return html`<pre class="excerpt" tabindex="0" aria-label="source">${lines.map(([number, text]) => html`<span class=${number === error.line ? "here" : ""}>${
    number === error.line ? "❱" : " "} ${String(number).padStart(4)} │ ${text}${"\n"}</span>${number === error.line && carets && html`<span class="bad">${"       │ "}${carets}${"\n"}</span>`}`)}</pre>`;
}

const WORDS = {
  edit: ["Open in editor", "edit"], trace: ["Trace", "trace"], restart: ["Restart in place", "restart"], apply: ["Apply", "apply"], resume: ["Resume saves", "pause"],
};

export function Alarm({ model, doings }) {
  const alarm = worst(model, Date.now());
  if (!alarm) return null;
  const { error, mod } = alarm;
  return html`<section class="alarm ${alarm.kind}" aria-label="What needs you">
    <div class="alarm-words"><p class="title"><${Name} of=${alarm.title} /></p>
      ${error && html`<p><${Name} of=${raised(error)} /></p>`}${alarm.text && html`<p><${Name} of=${alarm.text} /></p>`}
      ${error && html`<p class="mono small">${joined([placed(error), error.function && error.function !== "<module>" && `in ${error.function}`, error.time && clock(error.time), alarm.next])}</p>`}
      ${error?.hint && html`<p class="small">${error.hint}</p>`}</div>
    <${Excerpt} error=${error} />
    <div class="acts">${alarm.acts.map((each) => (each === "again"
      ? html`<${Button} words=${alarm.error ? "Try again" : "Reload"} command="oa-dev reload ${mod.mod_id}" act=${() => doings.reload_mod(mod)} />`
      : html`<${Button} words=${WORDS[each][0]} does=${WORDS[each][1]} act=${() => doings[WORDS[each][1]]()} />`))}</div>
  </section>`;
}
