/* One run of an event: its answer, who would be told, what it changed, what was refused. Nothing of it was delivered. */

import { html } from "./vendor-preact-htm.js";
import { Json, Name, Section } from "./parts.js";
import { joined, listed, pretty, took } from "./words.js";

export const namesOf = (generations) => Object.entries(generations).map(([mod, version]) => `${mod} v${version}`);

function Told({ told }) {
  const names = Object.entries(told);
  return names.length ? html`<ul class="plain small">${names.map(([agent, events]) => html`<li><${Name} of=${agent} /> <span class="quiet">${listed(events)}</span></li>`)}</ul>` : html`<p class="quiet small">no agent is told</p>`;
}

export function Run({ run }) {
  if (run.cannot) return html`<${Section} title=${run.on}><p class="bad"><${Name} of=${run.cannot} /></p><//>`;
  const { seen } = run, title = namesOf(seen.generations).join(", ") || run.on;
  const changed = Object.entries(seen.changed).flatMap(([mod, rows]) => rows.map((row) => `${mod}: ${row.steps.join(".")} ${row.kind}`));
  return html`<${Section} title=${title} aside=${joined([seen.success ? "success" : "no success", took(seen.took_us)])}>
    ${seen.message && html`<p><${Name} of=${seen.message} /></p>`}${seen.data !== null && html`<${Json} text=${pretty(seen.data)} />`}
    ${seen.raised.map((each) => html`<p class="bad"><${Name} of=${`${each.mod_id} raised ${each.kind}: ${each.message} at ${each.file}:${each.line}`} /></p>`)}
    <${Told} told=${seen.told} />${changed.length > 0 && html`<ul class="plain small mono">${changed.map((words) => html`<li><bdi>${words}</bdi></li>`)}</ul>`}
    ${[...seen.refused.map((each) => `refused: ${each}`), ...seen.notes].map((words) => html`<p class="warn small"><bdi>${words}</bdi></p>`)}
    ${seen.printed && html`<pre class="trace" tabindex="0">${seen.printed}</pre>`}<//>`;
}
