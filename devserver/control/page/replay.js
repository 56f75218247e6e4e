/* The view Replay: events that are run again after each save, and what they do otherwise than was accepted. */

import { html } from "./vendor-preact-htm.js";
import { Button, Empty, Json, Name, Section } from "./parts.js";
import { namesOf, Run } from "./run.js";
import { Session, Sessions } from "./session.js";
import { Differences } from "./state.js";
import { count, joined, listed, pretty, took } from "./words.js";

const SIGNS = { same: ["=", "good"], differs: ["≠", "warn"], fixed: ["✓", "good"], unsteady: ["≈", "quiet"], cannot: ["✗", "bad"] };
const known = (pin) => SIGNS[pin.last?.result] ?? ["·", "quiet"];

/** What a pin came to, in a few words. */
function lastWords(pin) {
  const { last } = pin;
  if (!last) return "not run since it was pinned";
  if (last.result === "differs") return `${last.differences.length} ${last.differences.length === 1 ? "place differs" : "places differ"}`;
  if (last.result === "unsteady") return `unsteady: both results on the same code, ${pin.flips} times`;
  return { same: "the same", fixed: `fixed: ${last.why}`, cannot: last.why }[last.result] ?? last.why;
}

function Item({ pin, chosen, act }) {
  const [sign, kind] = known(pin);
  return html`<li><button type="button" class="change ${chosen ? "chosen" : ""}" aria-pressed=${chosen} title=${`oa-dev pins ${pin.name}`} onClick=${act}><span class="sign ${kind}" aria-hidden="true">${sign}</span>
    <b class="mono"><${Name} of=${pin.event_name} /></b><span class="quiet when">${pin.number ? `#${pin.number}` : ""}</span><span class="rest ${kind}"><${Name} of=${lastWords(pin)} /></span></button></li>`;
}

/** How long it takes now beside before. A ratio is told where every run of one side took longer than those of the other. */
function paceWords({ before, now }) {
  const [one, other] = [before, now].map((runs) => Math.max(1, runs[Math.floor(runs.length / 2)])), times = `${took(one)} before, ${took(other)} now`;
  const isApart = before[0] > now.at(-1) || now[0] > before.at(-1), ratio = Math.max(one, other) / Math.min(one, other);
  return isApart && ratio >= 1.2 ? `${ratio.toFixed(1)}× ${other > one ? "slower" : "faster"} (${times})` : `takes as long, as far as ${now.length} runs can tell (${times})`;
}

/** What came of an event that was run again, in the right column. Nothing of it was delivered. */
export function Replayed({ replayed, doings }) {
  if (replayed.problem) return html`<article class="part"><h2>Replay</h2><p class="bad"><${Name} of=${replayed.problem} /></p></article>`;
  if (!replayed.runs) return html`<article class="part"><h2>Replay</h2><p class="quiet">Running it again; nothing is delivered …</p></article>`;
  return html`<article aria-label="Replay"><div class="part"><h2 class="mono"><${Name} of=${replayed.event_name} /></h2><p class="quiet small">${joined([replayed.number && `#${replayed.number}`, "run again; nothing was delivered, nothing is kept"])}</p>
      <div class="acts"><${Button} words="Back to the event" command="back (Esc)" act=${() => doings.replayedNo()} /></div></div>
    ${replayed.differences && html`<${Section} title="Differs"><${Differences} rows=${replayed.differences} words="Both do the same." />${replayed.took_us && html`<p class="quiet small">${paceWords(replayed.took_us)}</p>`}<//>`}
    ${replayed.runs.map((run) => html`<${Run} run=${run} />`)}</article>`;
}

function Chosen({ pin, doings }) {
  const { last } = pin, states = Object.entries(pin.state).map(([mod, state]) => (state.lost ? `${mod}: until this run ends (${state.lost})` : `${mod} (${count(state.keys, "key")})`));
  return html`<article class="chosen-change scroll" tabindex="0" aria-label="Pin"><h2 class="mono"><${Name} of=${pin.event_name} /></h2>
    <p class="quiet small"><${Name} of=${joined([pin.name, pin.number && `#${pin.number}`, `accepted on ${listed(namesOf(pin.generations))}`, states.length && `state of ${listed(states)}`])} /></p>
    <div class="acts">${last?.result === "differs" && html`<${Button} words="Accept as right" does="accept" about=${pin.name} kind="main" act=${() => doings.accept()} />`}
      <${Button} words="Run on both" does="both" about=${`${pin.name} --on both`} act=${() => doings.both()} /><${Button} words="Save as test" command=${`oa-dev test ${pin.name}`} act=${() => doings.keep({ name: pin.name })} />
      <${Button} words="Remove" command=${`oa-dev pins remove ${pin.name}`} act=${() => doings.unpin(pin)} /></div>
    <p class=${known(pin)[1]}><${Name} of=${lastWords(pin)} /></p>
    ${last?.differences.length > 0 && html`<${Differences} rows=${last.differences} act=${(path) => html`<button type="button" class="link ignore" title=${`oa-dev pins ignore ${pin.name} '${path}'`} aria-label=${`Ignore ${path}`} onClick=${() => doings.ignore(pin, path)}>ignore</button>`} />`}
    ${pin.noise.length + pin.ignore.length > 0 && html`<p class="quiet small"><${Name} of=${joined([pin.noise.length && `Differs from run to run, not compared: ${pin.noise.join(", ")}`, pin.ignore.length && `Ignored: ${pin.ignore.join(", ")}`])} /></p>`}
    <${Section} title="Accepted"><${Json} text=${pretty(pin.accepted.data ?? pin.accepted.message)} /><//></article>`;
}

export const chosenPin = (model) => model.pins?.pins.find((pin) => pin.name === model.pinned) ?? model.pins?.pins[0] ?? null;

export function View({ model, doings }) {
  if (!model.pins) return html`<${Empty} why="Asking for the pins …" />`;
  const { pins, off, problems } = model.pins, { session } = model, chosen = session ? null : chosenPin(model);
  const notes = [off && `replay is off: ${off}; key p in the terminal tries again`, ...problems].filter(Boolean);
  return html`<div class="changes"><div class="receipts scroll" tabindex="0" role="region" aria-label="Pins and sessions">${notes.map((words) => html`<p class="warn small pad">${words}</p>`)}
      <ul aria-label="Pins">${pins.map((pin) => html`<${Item} key=${pin.name} pin=${pin} chosen=${pin === chosen} act=${() => doings.choosePin(pin)} />`)}</ul><${Sessions} model=${model} /></div>
    ${session ? html`<${Session} session=${session} mods=${model.status?.mods ?? []} />` : chosen ? html`<${Chosen} pin=${chosen} doings=${doings} />`
      : html`<${Empty} why="Nothing is pinned. Choose an event and press P: it is run again after each save, and told where it does something else." what="oa-dev pin NUMBER" />`}</div>`;
}
