/* The view Mods: versions that serve beside a mod, what agents have asked for, and the mods that can be had. One is added
   here for this run alone, after a person has read what it needs and touches; only commands write files. */

import { html } from "./vendor-preact-htm.js";
import { Button, Empty, Name, Section } from "./parts.js";
import { bytes, count, grouped, joined, listed } from "./words.js";

function Version({ line, doings }) {
  return html`<li class="card"><b><${Name} of=${line.mod_id} /></b> v${line.generation} <span class="quiet">${joined([line.out ? `gets no events: ${line.out}` : line.gets, line.shadow && "a shadow: nothing of it leaves", line.line_state && `state ${line.line_state}`])}</span>
    <div class="acts"><${Button} words="Promote" command=${`oa-dev promote ${line.mod_id}`} act=${() => doings.promote(line)} /><${Button} words="Drop" command=${`oa-dev drop ${line.mod_id}`} act=${() => doings.drop(line)} /></div></li>`;
}

function Asked({ asked, doings }) {
  return html`<li class="card"><b><${Name} of=${asked.agent_id ?? asked.agent ?? ""} /></b> asks for <b class="mono"><${Name} of=${joined([asked.name, asked.version])} /></b> <span class="quiet"><${Name} of=${asked.why ?? ""} /></span>
    <p class="mono small">oa-dev add ${asked.name} · oa-dev asked ${asked.number} yes</p><div class="acts"><${Button} words="No" command=${`oa-dev asked ${asked.number} no`} act=${() => doings.refuse(asked)} /></div></li>`;
}

function Row({ row, chosen, act }) {
  return html`<li><button type="button" class="change ${chosen ? "chosen" : ""}" aria-pressed=${chosen} title=${`oa-dev show ${row.name}`} onClick=${act}><span class="sign" aria-hidden="true"></span><b class="mono"><${Name} of=${row.name} /></b><span class="quiet when">${row.version ?? ""}</span>
    <span class="rest quiet"><${Name} of=${joined([row.summary, row.catalogue])} /></span>${row.blocked && html`<span class="rest bad">blocked: <${Name} of=${row.blocked} /></span>`}</button></li>`;
}

const Words = ({ title, words }) => (words?.length ? html`<${Section} title=${title}><ul class="plain mono small">${words.map((each) => html`<li><bdi>${each}</bdi></li>`)}</ul><//>` : null);
const touched = (touches) => (Array.isArray(touches) ? touches : Object.entries(touches ?? {}).map(([kind, places]) => `${kind}: ${[places].flat().join(", ")}`));

/** The button, and behind it what keeps the mod. */
function Add({ facts, shelf, doings }) {
  if (shelf.added?.name === facts.name) return html`<p>It runs until this server ends. To keep it: <code>oa-dev add ${facts.name}</code>, or in network.yaml</p><pre class="small">${shelf.added.entry}</pre>`;
  if (facts.blocked || !facts.sha256) return null;
  return html`<div class="acts"><${Button} words="Add for this run" command=${`oa-dev add ${facts.name}`} disabled=${shelf.adding === facts.name} act=${() => doings.add(facts)} /></div>`;
}

function Shown({ facts, shelf, doings }) {
  if (!facts) return null;
  if (facts.problem) return html`<p class="bad pad"><${Name} of=${facts.problem} /></p>`;
  return html`<article class="chosen-change scroll" tabindex="0" aria-label="Mod"><h2 class="mono"><${Name} of=${joined([facts.name, facts.version])} /></h2><p><${Name} of=${facts.summary} /></p>
    <p class="quiet small"><${Name} of=${joined([facts.license, facts.homepage, facts.lines && `${grouped(facts.lines)} lines in ${count(facts.files, "file")}`, facts.size && bytes(facts.size), `read from its ${facts.read_from}`])} /></p>
    ${facts.blocked && html`<p class="bad">blocked: <${Name} of=${facts.blocked} /></p>`}${facts.replaced_by && html`<p class="warn">replaced by <${Name} of=${facts.replaced_by} /></p>`}
    <p class="mono small">oa-dev add ${facts.name}</p><${Words} title="Answers" words=${facts.answers} /><${Words} title="Needs" words=${facts.requires} /><${Words} title="Touches" words=${touched(facts.touches)} />
    ${facts.sha256 && html`<p class="quiet small mono">sha256 ${facts.sha256.slice(0, 16)}…</p>`}<${Add} facts=${facts} shelf=${shelf} doings=${doings} /></article>`;
}

export function View({ model, doings }) {
  const lines = (model.status?.mods ?? []).filter((mod) => mod.line_of), shelf = model.shelf ?? {}, asked = shelf.asked ?? [];
  return html`<div class="shelf"><div class="bar"><input type="search" class="mono" aria-label="Search mods that can be had" title="oa-dev search" placeholder="search mods" value=${shelf.words ?? ""} onInput=${(event) => doings.shelf(event.target.value)} spellcheck="false" />
      ${shelf.mods && html`<span class="quiet small">${joined([`${shelf.found} of ${count(shelf.of, "mod")}`, shelf.catalogues.length && `in ${listed(shelf.catalogues)}`])}</span>`}</div>
    ${(lines.length > 0 || asked.length > 0) && html`<ul class="pad">${lines.map((line) => html`<${Version} key=${line.mod_id} line=${line} doings=${doings} />`)}${asked.map((each) => html`<${Asked} key=${each.number} asked=${each} doings=${doings} />`)}</ul>`}
    ${[shelf.problem, ...(shelf.problems ?? [])].filter(Boolean).map((words) => html`<p class="warn small pad"><bdi>${words}</bdi></p>`)}
    ${shelf.mods?.length ? html`<div class="changes"><ul class="receipts scroll" aria-label="Mods that can be had">${shelf.mods.map((row) => html`<${Row} key=${row.name} row=${row} chosen=${row.name === shelf.chosen} act=${() => doings.shelfShow(row.name)} />`)}</ul><${Shown} facts=${shelf.facts} shelf=${shelf} doings=${doings} /></div>`
      : shelf.mods && html`<${Empty} why=${shelf.words ? `No mod in the catalogues has all of these words: ${shelf.words}.` : "The catalogues list no mod."} what="oa-dev search" />`}</div>`;
}
