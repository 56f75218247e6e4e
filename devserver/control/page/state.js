/* The view State: what a mod keeps, one level at a time, and what has changed since it was looked at. */

import { html } from "./vendor-preact-htm.js";
import { Button, Empty, Name } from "./parts.js";
import { pathOf } from "./paths.js";
import { grouped, pretty, shortly } from "./words.js";

const size = (row) => (row.of === undefined ? "" : `${grouped(row.of)} ${row.of === 1 ? "entry" : "entries"}`);

/** A value in the form that the server gives values which JSON has no form for, as text. */
function valueWords(value) {
  if (value && typeof value === "object" && "$" in value) return `${value.cls ?? value.$} ${shortly(JSON.stringify(value.of ?? ""), 200)}`;
  return pretty(value);
}

function Entry({ row, steps, looked, doings, mod }) {
  const inner = [...steps, row.key], path = pathOf(inner), level = looked.open[path], isOpen = level !== undefined;
  if (row.of === undefined) return html`<li role="treeitem" aria-selected="false"><span class="key mono"><${Name} of=${row.key} /></span>${" "}<span class="mono"><${Name} of=${shortly(valueWords(row.value), 400)} /></span> <span class="quiet small">${row.type}</span></li>`;
  return html`<li role="treeitem" aria-expanded=${isOpen} aria-selected="false"><button type="button" class="link mono" title=${`look into ${path}`} onClick=${() => doings.lookInto(path)}>${isOpen ? "▾" : "▸"} <${Name} of=${row.key} /></button>${" "}
    <span class="quiet small">${row.type}, ${size(row)}</span>${isOpen && html`<${Level} level=${level} steps=${inner} looked=${looked} doings=${doings} mod=${mod} />`}</li>`;
}

export function Level({ level, steps, looked, doings, mod }) {
  if (level.problem) return html`<p class="bad small">${level.problem}</p>`;
  if ("value" in level) return html`<p class="mono"><${Name} of=${valueWords(level.value)} /></p>`;
  const rest = level.of - level.items.length;
  return html`<ul role=${steps.length ? "group" : "tree"} aria-label=${steps.length ? undefined : `State of ${mod}`} class="tree">${level.items.map((row) => html`<${Entry} key=${row.key} row=${row} steps=${steps} looked=${looked} doings=${doings} mod=${mod} />`)}
    ${rest > 0 && html`<li class="quiet small" role="treeitem" aria-selected="false">${grouped(rest)} more are not shown</li>`}</ul>`;
}

const SIGNS = { added: "+", removed: "−", changed: "~" };

/** Differences as lines: what was, and what is. */
export function Differences({ rows, words, act }) {
  if (!rows.length) return html`<p class="quiet">${words ?? "Nothing is different."}</p>`;
  return html`<div class="diff" role="region" tabindex="0" aria-label="Differences">${rows.map(({ path, before, after, kind }) => html`<div class="line hunk">${SIGNS[kind]} <bdi>${path}</bdi>${act?.(path)}</div>
    ${kind !== "added" && html`<div class="line minus"><span class="sign">−</span><code><bdi>${shortly(valueWords(before), 500)}</bdi></code></div>`}${kind !== "removed" && html`<div class="line plus"><span class="sign">+</span><code><bdi>${shortly(valueWords(after), 500)}</bdi></code></div>`}`)}</div>`;
}

export function View({ model, doings }) {
  const mods = model.status?.mods ?? [], looked = model.looked, mod = looked?.mod;
  if (!mods.length) return html`<${Empty} why="No mod is loaded, so there is no state." />`;
  return html`<div class="state"><div class="bar"><label>Mod <select onChange=${(event) => doings.lookAt(event.target.value)}>${!mod && html`<option value="">choose one</option>`}${mods.map((each) => html`<option value=${each.mod_id} selected=${each.mod_id === mod}>${each.mod_id} v${each.generation}</option>`)}</select></label>
      ${mod && html`<${Button} words="Since I looked" command="look at what has changed since it was looked at" act=${() => doings.lookSince("look")} />
      <${Button} words="Since the last swap" command="look at what has changed since before the last reload" act=${() => doings.lookSince("swap")} /><${Button} words="Look again" command="look again" act=${() => doings.lookAt(mod)} />
      <${Button} words="Undo" does="undo" about=${mod} act=${() => doings.undo_mod(mod)} />`}</div>
    <div class="pad scroll" tabindex="0" role="region" aria-label="State">
      ${!mod && html`<${Empty} why="Choose a mod, and what it keeps is here." />`}
      ${looked?.differences && html`<h3>${looked.since === "swap" ? "Since before the last reload" : "Since it was looked at"}</h3><${Differences} rows=${looked.differences.map((each) => ({ ...each, path: pathOf(each.steps) }))} words="Nothing has changed since." />`}
      ${looked?.root?.lost?.length > 0 && html`<p class="warn small">${looked.root.lost.join("; ")}</p>`}
      ${looked?.root && (looked.root.items?.length === 0 ? html`<${Empty} why=${`${mod} keeps nothing in self.state.`} />` : html`<${Level} level=${looked.root} steps=${[]} looked=${looked} doings=${doings} mod=${mod} />`)}
    </div></div>`;
}
