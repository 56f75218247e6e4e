/* The view Logs: lines of the mods and of the server, the latest last, by mod and level. */

import { html, useLayoutEffect, useRef } from "./vendor-preact-htm.js";
import { Empty, Name } from "./parts.js";
import { clockMs, grouped } from "./words.js";

const LEVELS = ["debug", "info", "warning", "error"];
const MOST_DRAWN = 300;
const rank = (level) => Math.max(0, LEVELS.indexOf(level === "critical" ? "error" : level));

/** The lines that a choice lets through. Pure. */
export const through = (logs, { mod, level }) => logs.filter((line) => (!mod || line[3] === mod) && rank(line[2]) >= rank(level));

function Line({ line, doings }) {
  const [, at, level, mod, event, text] = line;
  return html`<li class=${level}><span class="mono quiet">${clockMs(at * 1000)}</span>${" "}<span class="level">${level}</span>${" "}<b><${Name} of=${mod ?? "oa-dev"} /></b>${" "}
    <span class="text"><${Name} of=${String(text).replace(/^\r/, "")} /></span>${event ? html`<button type="button" class="link mono" title=${`oa-dev events '#${event}'`} onClick=${() => doings.show(event)}>#${event}</button>` : ""}</li>`;
}

export function View({ model, doings }) {
  const box = useRef(null), chosen = model.logsOf ?? { mod: "", level: "info" };
  const lines = through(model.logs, chosen), shown = lines.slice(-MOST_DRAWN), mods = [...new Set(model.logs.map((line) => line[3]).filter(Boolean))].sort();
  const isAtEnd = !box.current || box.current.scrollHeight - box.current.scrollTop - box.current.clientHeight < 40;
  useLayoutEffect(() => { if (isAtEnd && box.current) box.current.scrollTop = box.current.scrollHeight; }, [model.logs, chosen]);
  return html`<div class="logs"><div class="bar">
      <label>Mod <select onChange=${(event) => doings.logsOf({ ...chosen, mod: event.target.value })}><option value="">all</option>${mods.map((mod) => html`<option value=${mod} selected=${mod === chosen.mod}>${mod}</option>`)}</select></label>
      <label>From level <select onChange=${(event) => doings.logsOf({ ...chosen, level: event.target.value })}>${LEVELS.map((level) => html`<option value=${level} selected=${level === chosen.level}>${level}</option>`)}</select></label>
      <span class="quiet small">${grouped(shown.length)} of ${grouped(model.logs.length)} lines${model.logs.length > lines.length ? `; ${grouped(model.logs.length - lines.length)} are hidden by this choice` : ""}</span></div>
    ${shown.length ? html`<ul class="loglines scroll" ref=${box} tabindex="0" aria-label="Log, latest last">${shown.map((line) => html`<${Line} key=${line[0]} line=${line} doings=${doings} />`)}</ul>`
      : html`<${Empty} why=${model.logs.length ? "No line is of that mod and level." : "Nothing was logged yet: a mod logs with self.log, or with logging."} what="oa-dev log debug shows more" />`}</div>`;
}
