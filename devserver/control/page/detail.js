/* The right column of Events: one event with its way, payload, answer, deliveries and log, or one swap. */

import { html } from "./vendor-preact-htm.js";
import { Button, Json, Name, Section } from "./parts.js";
import { Receipt } from "./receipt.js";
import { answeredBy, Waterfall } from "./way.js";
import { bytes, clockMs, joined, placed, pretty, raised, took } from "./words.js";

const size = (value) => new TextEncoder().encode(JSON.stringify(value) ?? "").length;

function whereabouts(row) {
  const by = answeredBy(row);
  return joined([`#${row.number}`, clockMs(row.at), `${row.source ?? "–"} → ${row.destination ?? "network"}`, by ? `answered by ${by.mod} v${by.generation}` : "", row.parent ? `sent on behalf of #${row.parent}` : ""]);
}

function Payload({ row, event }) {
  const value = event?.payload ?? row.payload;
  if (value === null) return html`<${Section} title="Payload"><p class="quiet">not recorded: secrets travel in system.* events</p><//>`;
  return html`<${Section} title="Payload" aside=${bytes(size(value))}>
    ${typeof value === "string" && row.payload === value ? html`<p class="quiet">${value}, too large to keep</p>` : html`<${Json} text=${pretty(value)} />`}<//>`;
}

function Answer({ row, event }) {
  const answer = event?.answer, message = answer?.message ?? row.said, data = answer?.data;
  return html`<${Section} title="Answer" aside=${html`<span class=${row.ok ? "good" : "bad"}>${row.ok ? "success" : "no success"}</span>`}>
    ${message && html`<p><${Name} of=${message} /></p>`}
    ${data !== null && data !== undefined ? html`<${Json} text=${pretty(data)} />` : !message && html`<p class="quiet">nothing but that</p>`}<//>`;
}

export function Excerpt({ error }) {
  if (!error.excerpt?.length) return null;
  return html`<pre class="excerpt" tabindex="0">${error.excerpt.map(([number, text]) => html`<span class=${number === error.line ? "here" : ""}>${number === error.line ? "❱" : " "} ${String(number).padStart(4)} │ ${text}${"\n"}</span>`)}</pre>`;
}

function Failure({ error }) {
  return html`<${Section} title="Raised" aside=${error.mod_id}><p class="bad"><${Name} of=${raised(error)} /></p>
    ${placed(error) && html`<p class="mono small">${placed(error)}</p>`}<${Excerpt} error=${error} />
    ${error.trace && html`<details><summary>Full trace</summary><pre class="trace" tabindex="0">${error.trace}</pre></details>`}<//>`;
}

const Logs = ({ lines }) => html`<${Section} title="Logged meanwhile"><ul class="loglines">${lines.map(([, at, level, mod, , text]) => html`<li class=${level}><span class="mono quiet">${clockMs(at * 1000)}</span> ${mod} <${Name} of=${text} /></li>`)}</ul><//>`;

function problemWords(problem) {
  return problem.code === "not_kept" || problem.status === 404 ? "The server keeps this event no more; the row is what is left." : problem.message;
}

function EventDetail({ model, row, doings }) {
  const event = model.detail?.number === row.number ? model.detail : null;
  const errors = event?.errors ?? (event?.error ? [event.error] : []);
  return html`<article aria-label=${`Event ${row.number}`}>
    <div class="part"><h2 class="mono"><${Name} of=${row.event_name} /></h2><p class="quiet small"><${Name} of=${whereabouts(row)} /></p>
      <div class="acts"><${Button} words="Edit and send" does="send" about=${row.event_name} act=${() => doings.send(row)} />
        <${Button} words="Replay" does="replay" about=${row.number} kind="main" act=${() => doings.replay()} />
        <${Button} words="Pin" does="pin" about=${row.number} act=${() => doings.pin()} />
        <${Button} words="Run on both" does="both" about=${`${row.number} --on both`} act=${() => doings.both()} />
        <${Button} words="Save as test" command=${`oa-dev test ${row.number}`} act=${() => doings.keep({ number: row.number })} /></div>
      ${event?.problem && html`<p class="quiet">${problemWords(event.problem)}</p>`}</div>
    <${Section} title="Way" aside=${`${took(row.took_us)} in all`}>
      <${Waterfall} row=${row} children=${event?.children ?? []} deliveries=${event?.deliveries} mods=${model.status?.mods ?? []} open=${(number) => doings.show(number)} /><//>
    ${errors.map((error) => html`<${Failure} error=${error} />`)}
    <${Payload} row=${row} event=${event} /><${Answer} row=${row} event=${event} />
    ${event?.logs?.length > 0 && html`<${Logs} lines=${event.logs} />`}
  </article>`;
}

function SwapDetail({ model, item, doings }) {
  return html`<article class="part" aria-label="Change"><${Receipt} fact=${item.fact} at=${item.at} />
    <div class="acts"><${Button} words="Show the change" command="oa-dev status" act=${() => doings.view("changes")} />
      ${item.fact.mod_id && item.fact.status === "applied" && html`<${Button} words="Undo" does="undo" about=${item.fact.mod_id} act=${() => doings.undo_mod(item.fact.mod_id)} />`}</div></article>`;
}

export const View = ({ model, item, doings }) => (item.kind === "event" ? html`<${EventDetail} model=${model} row=${item} doings=${doings} />` : html`<${SwapDetail} model=${model} item=${item} doings=${doings} />`);
