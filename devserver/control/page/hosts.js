/* The view Hosts: the hosts of one network, what runs on each, and the engine between them. */

import { html } from "./vendor-preact-htm.js";
import { Name } from "./parts.js";
import { joined, lasted, listed, tookMs } from "./words.js";

/** How a host is, in a few words: here, so far away, or silent. Pure. */
export function stateOf(host) {
  if (host.here) return ["live", "here"];
  if (host.state === "away") return ["gone", `silent for ${lasted(host.silent_s)}`];
  return ["live", host.away_ms === null ? "there" : `${tookMs(host.away_ms)} away`];
}

function Row({ host }) {
  const [dot, words] = stateOf(host), mods = host.mods.map((mod) => `${mod.mod_id}${mod.generation ? ` v${mod.generation}` : ""}`);
  return html`<tr><th scope="row"><i class="dot ${dot}" aria-hidden="true"></i> <${Name} of=${host.host} /></th><td class=${dot === "gone" ? "warn" : ""}>${joined([words, host.author && "author"])}</td>
    <td><${Name} of=${mods.length ? listed(mods) : "no mod"} /></td><td>${joined([`${host.connected} connected`, host.agents > host.connected && `${host.agents - host.connected} known`, host.waiting && `${host.waiting} waiting`])}</td>
    <td class="num">${host.up_s === null ? "" : lasted(host.up_s)}</td><td class="mono"><bdi>${host.url}</bdi></td></tr>`;
}

export function View({ model }) {
  const { hosts, engine } = model.hosts;
  return html`<div class="pad scroll" tabindex="0" role="region" aria-label="Hosts"><table class="hosts"><thead><tr><th>host</th><th>state</th><th>mods</th><th>agents</th><th class="num">up</th><th>address</th></tr></thead>
      <tbody>${hosts.map((host) => html`<${Row} key=${host.host} host=${host} />`)}</tbody></table>
    <p class="quiet small">${joined([`Engine ${engine.url}`, engine.version && `nats-server ${engine.version}`, engine.started_here && "started here", !engine.connected && "not connected", engine.held && `${engine.held} held`, engine.unknown && `${engine.unknown} without a reply`])}</p>
    <p class="mono small quiet">oa-dev hosts</p></div>`;
}
