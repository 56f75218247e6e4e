/* A receipt: what became of a save, in the words of the terminal; and the bar of its phases. */

import { html } from "./vendor-preact-htm.js";
import { Name } from "./parts.js";
import { became, clock, count, details, joined, signed, tookMs } from "./words.js";

const HELD = new Set(["gate", "drain", "hand over", "initialize", "commit"]);
const CHARACTER_PERCENT = 1.3;

/** The phases as stretches: those in which events were held are one, since that is what an agent could notice. */
export function stretches(phases) {
  const found = [];
  for (const [name, ms] of phases) {
    const kind = HELD.has(name) ? "held" : name;
    const last = found.at(-1);
    if (last?.kind === kind) Object.assign(last, { ms: last.ms + ms, names: [...last.names, name] });
    else found.push({ kind, ms, names: [name] });
  }
  return found;
}

export function Phases({ phases }) {
  const found = stretches(phases), whole = found.reduce((sum, each) => sum + each.ms, 0) || 1;
  const words = found.map(({ kind, ms, names }) => `${kind === "held" ? `events held (${names.join(", ")})` : kind} ${tookMs(ms)}`).join(", ");
  return html`<div class="phases" role="img" aria-label=${words} title=${words}>${found.map(({ kind, ms }) => {
    const part = (ms / whole) * 100, words = `${kind === "held" ? "events held" : kind} ${ms.toFixed(1)}`;
    return html`<span class="phase ${kind.replace(" ", "-")}" style=${{ flexGrow: Math.max(part, 1) }}>${part > words.length * CHARACTER_PERCENT ? words : ""}</span>`;
  })}</div>`;
}

/** What a restart in place came to. */
export function restartDetails(fact) {
  return joined([fact.reasons.join("; "), `paused ${tookMs(fact.pause_ms)}`, `${count(fact.connections.kept, "connection")} kept`, `${fact.agents.dropped} agents dropped`, fact.failed.length && `did not come up: ${fact.failed.join(", ")}`]);
}

/** One fact as a receipt: glyph, title, time, and its words below. */
export function Receipt({ fact, at }) {
  const isRestart = fact.type === "restart";
  const [sign, kind] = isRestart ? ["⟳", fact.failed.length ? "bad" : "good"] : signed(fact);
  return html`<div class="receipt ${kind}"><p><span class="sign" aria-hidden="true">${sign}</span> <b><${Name} of=${isRestart ? "restarted in place" : became(fact)} /></b><span class="mono quiet when">${clock(at)}</span></p>
    <p class="quiet small"><${Name} of=${isRestart ? restartDetails(fact) : details(fact)} /></p></div>`;
}
