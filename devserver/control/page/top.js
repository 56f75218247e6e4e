/* The first line: is the server there, how much happens, and what acts on all mods. */

import { html } from "./vendor-preact-htm.js";
import { worst } from "./alarm.js";
import { Button, Name } from "./parts.js";
import { rate } from "./store.js";
import { grouped, took } from "./words.js";

const GLYPHS = { good: "●", warn: "▲", bad: "✗", gone: "○" };

/** How it stands in one word: what the first line says before anything else. */
export function standing(model, at) {
  const alarm = worst(model, at);
  if (model.link === "asking") return ["gone", "asking the server …"];
  if (!alarm) return ["good", "live"];
  const words = { refused: "no key", gone: "stopped", "saved code does not run": "saved code does not run", "network.yaml": "network.yaml is not applied", blocked: "blocked", "a handler raises": "a handler raises", "a restart waits": "restart needed", "saves wait": "saves wait", "older code runs": "older code runs" };
  return [alarm.kind, words[alarm.state]];
}

function Fact({ number, words }) {
  return number === null || number === undefined ? null : html`<span class="fact"><b>${typeof number === "number" ? grouped(number) : number}</b> ${words}</span>`;
}

export function Top({ model, doings }) {
  const at = Date.now(), [kind, words] = standing(model, at), { status } = model, pace = rate(model, at);
  return html`<header class="top">
    <h1><span class="brand">oa</span>-dev</h1>
    <strong class="network"><${Name} of=${status?.name ?? ""} /></strong>
    <span class="mono quiet host">${location.host}</span>
    <p class="standing ${kind}" role="status" aria-live="polite"><span aria-hidden="true">${GLYPHS[kind]}</span> ${words}</p>
    <span class="facts"><${Fact} number=${pace && Math.round(pace.rate)} words="events/s" />
      <${Fact} number=${pace?.p95 && took(pace.p95)} words="p95" />
      <${Fact} number=${status?.reloads} words=${status?.reloads === 1 ? "reload" : "reloads"} />
      <${Fact} number=${status?.failed} words="failed" />
      ${model.skipped > 0 && html`<${Fact} number=${model.skipped} words="not shown" />`}</span>
    <span class="acts">
      ${model.recording && html`<${Button} words=${html`<span class="bad" aria-hidden="true">●</span> Recording`} command="oa-dev record stop · ${model.recording}" act=${() => doings.record("stop")} />`}
      <${Button} words="Search" does="search" act=${() => doings.search()} />
      <${Button} words=${status?.paused ? "Resume saves" : "Pause saves"} does="pause" kind="wide-only" act=${() => doings.pause()} />
      <${Button} words="Reload all" does="reload" kind="wide-only" act=${() => doings.reload()} />
      <${Button} words=${{ "": "Theme: system", light: "Theme: light", dark: "Theme: dark" }[model.theme ?? ""]} command="light, dark, or as the system has it" kind="theme" act=${() => doings.theme()} />
    </span>
    ${model.told && html`<p class="told ${model.told.kind}"><${Name} of=${model.told.text} /></p>`}
  </header>`;
}

/** What the tab is called: the worst thing first there too. */
export function titleOf(model) {
  const [kind, words] = standing(model, Date.now()), name = model.status?.name ?? "";
  return [kind === "good" ? "" : words, name, "oa-dev"].filter(Boolean).join(" · ");
}
