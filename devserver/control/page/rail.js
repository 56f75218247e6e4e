/* The left column: each mod with the pips of its generations, and the agents. A thousand mods are shown by their rate. */

import { html } from "./vendor-preact-htm.js";
import { hue, Name } from "./parts.js";
import { pace } from "./store.js";
import { joined, took } from "./words.js";

const MOST_MODS = 60;
const MOST_AGENTS = 60;
const MOST_PIPS = 4;

/** The latest generations of a mod: gone, lingering, live, and the one that did not load. */
function pipsOf(mod, lingers) {
  const lingering = new Set(lingers);
  const first = Math.max(1, mod.generation - MOST_PIPS + 2);
  const pips = [];
  for (let each = first; each < mod.generation; each += 1) pips.push([lingering.has(each) ? "lingers" : "gone", each]);
  if (mod.generation) pips.push([mod.state !== "live" ? "waits" : mod.raised || mod.out ? "raises" : "live", mod.generation]);
  if (mod.failed) pips.push(["failed", mod.generation + 1]);
  return pips;
}

const PIP_WORDS = { gone: "is gone", lingers: "lingers", live: "runs", raises: "runs, and raises", waits: "waits", failed: "did not load" };

function Pips({ mod, lingers }) {
  const pips = pipsOf(mod, lingers), words = pips.map(([kind, version]) => `v${version} ${PIP_WORDS[kind]}`).join(", ");
  return html`<span class="pips" role="img" aria-label=${words} title=${words}>${pips.map(([kind]) => html`<i class="pip ${kind}"></i>`)}</span>`;
}

function stateOf(mod, paced) {
  if (mod.failed) return ["bad", mod.generation ? "saved code does not load" : "did not load"];
  if (mod.out) return ["warn", `gets no events: ${mod.out.split(" · ")[0]}`];
  if (mod.raised) return ["warn", `raised on ${mod.raised.event_name}${mod.raised.times > 1 ? ` ×${mod.raised.times}` : ""}`];
  if (mod.generation === 0) return ["warn", mod.outcome?.reason || mod.state];
  if (mod.newer_on_disk?.length) return ["warn", `${mod.newer_on_disk.join(", ")} on disk differs`];
  if (mod.state === "away") return ["warn", `${mod.host} is away`];
  if (mod.state !== "live") return ["warn", mod.state];
  if (mod.host) return ["", `on ${mod.host}`];
  if (paced?.rate) return ["", joined([`${paced.rate < 10 ? paced.rate.toFixed(1) : Math.round(paced.rate)}/s`, `p95 ${took(paced.p95)}`, paced.failed && `${paced.failed} failed`])];
  return ["", mod.handled || paced?.known ? "idle" : "not asked yet"];
}

/** Of a version beside a mod, or of the mod beside it: who gets it. */
function lineWords(mod) {
  if (!mod.label || mod.out) return "";
  return mod.line_of ? mod.gets : `${Math.round(mod.share * 100)} % of agents`;
}

function Mod({ mod, mods, lingers, paced, chosen, act }) {
  const [kind, words] = stateOf(mod, paced);
  return html`<li class=${mod.line_of ? "version" : ""}><button type="button" class="mod ${chosen ? "chosen" : ""}" title=${`oa-dev events 'mod:${mod.mod_id}' · ${mod.mod_path}`} aria-pressed=${chosen} onClick=${act}>
    <i class="square ${hue(mods, mod.mod_id)}"></i>
    <span class="mod-name"><b><${Name} of=${mod.line_of ? `@${mod.label}` : mod.mod_id} /></b>${mod.generation ? ` v${mod.generation}` : ""}${mod.lines?.length ? html` <span class="chip">main</span>` : ""}</span>
    <${Pips} mod=${mod} lingers=${lingers} /><span class="mod-state ${kind}"><${Name} of=${joined([words, lineWords(mod)])} /></span></button></li>`;
}

function Agent({ agent }) {
  const connected = agent.connected !== false;
  return html`<li class="agent"><i class="dot ${connected ? "live" : "gone"}" role="img" aria-label=${connected ? "connected" : "known, not connected"}></i>
    <span><${Name} of=${agent.agent_id} /></span>${agent.waiting ? html`<span class="chip">${agent.waiting} waiting</span>` : ""}
    <span class="chip">${connected ? agent.transport : "away"}</span></li>`;
}

const SORTS = {
  rate: (mod, pace) => pace?.rate ?? 0,
  p95: (mod, pace) => pace?.p95 ?? 0,
  errors: (mod) => (mod.failed ? 1e9 : 0) + (mod.raised ? 1e8 : 0) + (mod.errors ?? 0),
};

const Host = ({ host }) => html`<li class="agent"><i class="dot ${host.state === "away" ? "gone" : "live"}" role="img" aria-label=${host.state}></i>
  <span><${Name} of=${host.host} /></span><span class="chip">${host.here ? "here" : host.state === "away" ? "silent" : host.away_ms === null ? "there" : took(host.away_ms * 1000)}</span></li>`;

/** Versions beside a mod stand below it. Mods stand as they are asked, or by what is chosen, the most first; where there
    are many, by their rate, below those that need a person. */
function ordered(mods, paced, sort) {
  const mains = mods.filter((mod) => !mod.line_of), isLong = mods.length > MOST_MODS;
  const by = SORTS[sort] ?? (isLong && ((mod, pace) => SORTS.errors(mod) + SORTS.rate(mod, pace)));
  if (by) mains.sort((one, other) => by(other, paced.get(other.mod_id)) - by(one, paced.get(one.mod_id)));
  const lines = mods.filter((mod) => mod.line_of);
  return mains.slice(0, MOST_MODS).flatMap((main) => [main, ...lines.filter((line) => line.line_of === main.mod_id)]);
}

export function Rail({ model, doings }) {
  const { status } = model;
  const mods = status?.mods ?? [], down = status?.down ?? [], agents = status?.agents ?? [];
  const paced = new Map(mods.map((mod) => [mod.mod_id, pace(model.seconds, mod.mod_id, Math.floor(Date.now() / 1000))]));
  const shown = ordered([...mods, ...down], paced, model.sort), hidden = mods.length + down.length - shown.length;
  const here = agents.filter((each) => each.connected !== false), away = agents.length - here.length;
  return html`<nav class="rail" id="rail" aria-label="Mods and agents">
    <h2>Mods <span class="quiet">${joined([`${mods.length} loaded`, down.length && `${down.length} down`])}</span></h2>
    ${mods.length > 1 && html`<label class="small quiet sort">Sort <select onChange=${(event) => doings.sorted(event.target.value)}>${[["", "as asked"], ["rate", "by rate"], ["p95", "by p95"], ["errors", "by errors"]].map(([by, words]) => html`<option value=${by} selected=${by === model.sort}>${words}</option>`)}</select></label>`}
    ${mods.length + down.length === 0 && status && html`<p class="quiet small">No mod is loaded. List one in network.yaml and save it.</p>`}
    <ul>${shown.map((mod) => html`<${Mod} key=${mod.mod_path} mod=${mod} mods=${mods} lingers=${status.lingering?.[mod.mod_id] ?? []} paced=${paced.get(mod.mod_id)} chosen=${model.query === `mod:${mod.mod_id}`} act=${() => doings.only(mod)} />`)}</ul>
    ${hidden > 0 && html`<p class="quiet small">${hidden} more; search finds their events</p>`}
    <h2>Agents <span class="quiet">${joined([`${here.length} connected`, `${model.agents.dropped} dropped`, away && `${away} known`])}</span></h2>
    ${agents.length === 0 && status && html`<p class="quiet small">No agent is connected.</p>`}
    <ul>${agents.slice(0, MOST_AGENTS).map((agent) => html`<${Agent} key=${agent.agent_id} agent=${agent} />`)}</ul>
    ${agents.length > MOST_AGENTS && html`<p class="quiet small">${agents.length - MOST_AGENTS} more</p>`}
    ${model.hosts && html`<h2>Hosts <span class="quiet">${model.hosts.hosts.length}</span></h2><ul>${model.hosts.hosts.map((host) => html`<${Host} key=${host.host} host=${host} />`)}</ul>`}
    <p class="quiet small keys-hint"><kbd>j</kbd> <kbd>k</kbd> move <kbd>1</kbd>–<kbd>${model.views}</kbd> views<br /><kbd>?</kbd> all keys</p>
  </nav>`;
}
