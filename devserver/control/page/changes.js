/* The view Changes: one receipt a plan, newest first; the chosen one with why, phases, the code that changed, and what it
   did to answer times. */

import { html } from "./vendor-preact-htm.js";
import { Diff } from "./code.js";
import { Button, Empty, Name, Section } from "./parts.js";
import { everySecond, marksOf, Plot } from "./plots.js";
import { chosenOf } from "./looking.js";
import { pathOf } from "./paths.js";
import { Differences } from "./state.js";
import { Phases } from "./receipt.js";
import { wide } from "./part.js";
import { became, clock, clockMs, count, details, grouped, joined, listed, placed, raised, signed, took, tookMs } from "./words.js";

const AROUND_SECONDS = 60;
const MOST_PATHS = 3;

/** Why a process was replaced, in a few words: a person may have changed many files. */
const reasonsOf = ({ reasons }) => joined([reasons.slice(0, 2).join("; "), reasons.length > 2 && `${reasons.length - 2} more reasons`]);

/** Glyph, how it is, title and words of a change, which is a plan with its outcomes, a refusal or a restart. Pure. */
export function summary(change) {
  if (change.refused) return ["✗", "bad", "network.yaml not applied", change.refused.map((each) => joined([placed(each), raised(each)])).join("; ")];
  if (change.restarted) return ["⟳", change.success ? "good" : "bad", "restarted in place", joined([reasonsOf(change.restarted), `paused ${tookMs(change.restarted.pause_ms)}`])];
  const { outcomes } = change, bad = outcomes.filter((each) => each.error);
  const [first] = bad.length ? bad : outcomes;
  if (!first) return ["–", "warn", change.cause || "nothing to do", change.holds.map((each) => `${each.mod_id} waits: ${each.reason}`).join("; ")];
  const more = outcomes.length - 1, title = more > 2 ? `${became(first)} and ${more} more` : joined(outcomes.map(became));
  return [...signed(first), title, outcomes.length === 1 ? details({ ...first, agents: change.agents, held: change.held }) : joined([first.error ? raised(first.error) : first.reason, tookMs(change.duration_ms)])];
}

function Item({ change, pins, chosen, act }) {
  const [sign, kind, title, words] = summary(change);
  return html`<li><button type="button" class="change ${chosen ? "chosen" : ""}" aria-pressed=${chosen} title=${`change ${change.number}`} onClick=${act}>
    <span class="sign ${kind}" aria-hidden="true">${sign}</span><b><${Name} of=${title} /></b><span class="mono quiet when">${clock(change.time)}</span>
    <span class="rest ${kind === "bad" ? "bad" : "quiet"}"><${Name} of=${words} /></span>${pinsWords(pins)}</button></li>`;
}

function pinsWords(pins) {
  if (!pins?.length) return null;
  const differ = pins.filter((each) => each.result !== "same").length;
  return html`<span class="rest ${differ ? "warn" : "good"}">${pins.length} pinned: ${differ ? `${pins.length - differ} same, ${differ} ${differ === 1 ? "differs" : "differ"}` : "all the same"}</span>`;
}

function Around({ model, change }) {
  const mods = new Set((change.outcomes ?? []).map((each) => each.mod_id)), at = Date.parse(change.time) / 1000;
  const rows = everySecond(model.seconds, 600).filter(([second]) => Math.abs(second - at) <= AROUND_SECONDS);
  const named = (model.status?.mods ?? []).filter((each) => mods.has(each.mod_id)), xs = rows.map(([second]) => second);
  const lines = named.slice(0, 3).map(({ mod_id: mod }) => ({ name: mod, color: `--hue${model.status.mods.findIndex((each) => each.mod_id === mod) % 5}`, values: rows.map(([, each]) => each[mod]?.[3] ?? null) }));
  if (rows.length < 2 || !lines.length || !lines.some(({ values }) => values.some((each) => each !== null))) return null;
  const worst = (before) => Math.max(0, ...lines.flatMap(({ values }) => values.filter((value, place) => value !== null && (xs[place] < at) === before)));
  const told = `p95 of ${listed([...mods])}: at most ${took(worst(true))} before the swap, ${took(worst(false))} after it`;
  return html`<div class="card"><${Plot} title="p95 around the swap" lines=${lines} xs=${xs} words=${(value) => took(value)} marks=${marksOf(model.items)} told=${told} /></div>`;
}

function Outcome({ outcome, alone }) {
  const [sign, kind] = signed(outcome), { error, holders } = outcome;
  const title = alone ? null : html`<span class="sign ${kind}" aria-hidden="true">${sign}</span> <b><${Name} of=${became(outcome)} /></b>${" "}`;
  const words = error ? placed(error) : details({ ...outcome, agents: null, held: null, duration_ms: alone ? 0 : outcome.duration_ms });
  return html`<li>${title}<span class="quiet"><${Name} of=${joined([outcome.phase && outcome.status !== "applied" && `in ${outcome.phase}`, words])} /></span>
    ${error && html`<p class="bad"><${Name} of=${raised(error)} /></p>`}${(holders ?? []).map((each) => html`<p class="warn small">old code of ${each.module} v${each.generation} is held by ${each.what}</p>`)}</li>`;
}

function Code({ detail }) {
  if (!detail) return null;
  if (!detail.diff) return html`<p class="quiet small">The code of this change is not kept any more.</p>`;
  if (!detail.diff.length) return html`<p class="quiet small">No source changed.</p>`;
  return detail.diff.map(({ path, added, removed, text }) => (text ? html`<${Diff} text=${text} label=${`What changed in ${path}`} />`
    : html`<p class="quiet small"><span class="mono">${path}</span> +${grouped(added)} −${grouped(removed)} lines: too large to show</p>`));
}

function Chosen({ model, change, doings }) {
  const detail = model.change?.number === change.number ? model.change : null, [, kind, title] = summary(change);
  const applied = (change.outcomes ?? []).filter((each) => each.status === "applied");
  const facts = change.restarted ? [reasonsOf(change.restarted), `paused ${tookMs(change.restarted.pause_ms)}`] : [tookMs(change.duration_ms ?? 0), change.held?.events ? `${count(change.held.events, "event")} held ${tookMs(change.held.longest_ms)}` : "no event held",
    change.agents ? `${count(change.agents.connected, "agent")}, ${change.agents.dropped} dropped` : ""];
  return html`<article class="chosen-change scroll" tabindex="0" aria-label="Change">
    <div class="acts end">${applied.length === 1 && html`<${Button} words="Undo" does="undo" about=${applied[0].mod_id} act=${() => doings.undo_mod(applied[0].mod_id)} />`}
      ${applied.length > 1 && html`<${Button} words="Undo" does="undo" act=${() => doings.undo()} />`}</div>
    <h2 class=${kind === "bad" ? "bad" : ""}><${Name} of=${title} /></h2><p class="quiet small">${joined([clockMs(Date.parse(change.time)), change.cause])}</p>
    ${detail?.phases?.length > 0 && html`<${Phases} phases=${detail.phases} />`}
    <p class="facts-line">${facts.filter(Boolean).map((each) => html`<span>${each}</span>`)}</p>
    <ul class="plain outcomes">${(change.outcomes ?? []).map((each) => html`<${Outcome} outcome=${each} alone=${change.outcomes.length === 1} />`)}</ul>
    ${(change.holds ?? []).map((each) => html`<p class="warn small"><${Name} of=${`${each.mod_id} waits: ${each.reason}`} /></p>`)}
    ${change.outcomes && html`<${Code} detail=${detail} />`}<${Around} model=${model} change=${change} />
    ${!wide.matches && aside(model, doings)}</article>`;
}

export function View({ model, doings }) {
  if (!model.changes.length) return html`<${Empty} why="Nothing was reloaded yet. Save a mod, and its receipt is here." what="oa-dev reload" />`;
  const chosen = chosenOf(model);
  return html`<div class="changes"><ul class="receipts scroll" aria-label="Changes, newest first">${model.changes.map((change) => html`<${Item} key=${change.number} change=${change} pins=${pinsOf(model.facts, change)} chosen=${change === chosen} act=${() => doings.choose(change)} />`)}</ul>
    <${Chosen} model=${model} change=${chosen} doings=${doings} /></div>`;
}

/** What the pins came to after a change, by the latest fact about it. */
const pinsOf = (facts, change) => facts.findLast((each) => each.type === "replayed" && each.change === change.number)?.pins;

const RESULTS = { same: ["=", "good", "the same"], differs: ["≠", "warn", "differs"], fixed: ["✓", "good", "fixed"], unsteady: ["≈", "quiet", "unsteady"], cannot: ["✗", "bad", "cannot be replayed"] };

function pathsWords(differences) {
  const more = differences.length - MOST_PATHS, named = differences.slice(0, MOST_PATHS).map(({ path }) => path);
  return listed(more > 0 ? [...named, `${more} more`] : named);
}

function Pinned({ pins, doings }) {
  const rest = (pin) => pin.why || pathsWords(pin.differences) || RESULTS[pin.result][2];
  return html`<${Section} title="Pinned" aside=${`${pins.length} replayed`}><ul class="plain">${pins.map((pin) => html`<li><button type="button" class="link" title=${`oa-dev pins show ${pin.name}`} onClick=${() => doings.showPin(pin.name)}><span class=${RESULTS[pin.result][1]} aria-hidden="true">${RESULTS[pin.result][0]}</span> <b class="mono">${pin.number ? `#${pin.number} ` : ""}<${Name} of=${pin.event_name} /></b></button>
    <p class="quiet small"><${Name} of=${rest(pin)} /></p></li>`)}</ul><//>`;
}

const shapeWords = ({ before, after }) => [before ?? "nothing", after ?? "nothing"].map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(" → ");

const MET = { answer: "read", sends: "received", takes: "sent" };

function Contract({ contract: { lost, changed } }) {
  return html`<${Section} title="Contract"><ul class="plain">
    ${lost.map((each) => html`<li><span class="bad" aria-hidden="true">!</span> <b class="mono"><${Name} of=${each.event_name} /></b><p class="quiet small"><${Name} of=${joined(["no mod handles it any more", each.seen && `${count(each.seen, "event")} came lately`, each.senders?.length && listed(each.senders)])} /></p></li>`)}
    ${changed.map((each) => html`<li><span class="warn" aria-hidden="true">~</span> <b class="mono"><${Name} of=${joined([each.event_name, [each.part, each.path].filter(Boolean).join(".")])} /></b><p class="quiet small"><${Name} of=${joined([shapeWords(each), each.agents?.length && `${MET[each.part]} by ${listed(each.agents)}`])} /></p></li>`)}</ul><//>`;
}

/** Whether what an outcome brought is what runs: of that the state before is known. */
const isLatest = (model, outcome) => model.status?.mods.some((mod) => mod.mod_id === outcome.mod_id && mod.generation === outcome.generation);

function Across({ mod, model, doings }) {
  const found = model.across?.mod === mod ? model.across : null;
  return html`<${Section} title=${`State of ${mod}`} aside="across the swap">
    ${found?.problem && html`<p class="quiet small"><${Name} of=${found.problem} /></p>`}${found?.differences && html`<${Differences} rows=${found.differences.map((each) => ({ ...each, path: pathOf(each.steps) }))} words="Nothing of it has changed since before the swap." />`}
    <div class="acts"><${Button} words=${found ? "Compare again" : "Compare with before"} command="look at what has changed since before the last reload" act=${() => doings.stateSince(mod)} /></div><//>`;
}

/** The right column: what pins, the contract and the state say of the chosen change. */
export function aside(model, doings) {
  const chosen = chosenOf(model), detail = model.change?.number === chosen?.number ? model.change : null;
  const pins = (chosen && pinsOf(model.facts, chosen)) ?? detail?.pins, contract = detail?.contract;
  const mod = chosen?.outcomes?.find((each) => each.status === "applied" && each.action === "reload" && isLatest(model, each))?.mod_id;
  if (!pins?.length && !contract && !mod) return null;
  return html`<div>${pins?.length > 0 && html`<${Pinned} pins=${pins} doings=${doings} />`}${contract && html`<${Contract} contract=${contract} />`}${mod && html`<${Across} mod=${mod} model=${model} doings=${doings} />`}</div>`;
}
