/* Asks what runs, where the feed says that it changed, and for the receipts of changes; of a thousand mods the rows that
   are new. One question at a time. */

import { now, set } from "./app.js";
import { ask, Declined } from "./ask.js";

const MOST_CHANGES = 200;
const AGAIN_MS = 3000;
let looking = null, isDue = false, again = 0;

/** The mods after an answer: those of which something changed, in the order of all. Pure. */
export function ordered(before, answer) {
  const known = new Map([...before, ...answer.mods].map((mod) => [mod.mod_id, mod]));
  return answer.order.map((id) => known.get(id)).filter(Boolean);
}

/** The hosts of the network; null where it has one, which is asked once. */
async function hostsNow() {
  if (now().hosts === null) return null;
  try {
    const answer = await ask("hosts");
    return answer.hosts ? answer : null;
  } catch (problem) {
    if (problem instanceof Declined || problem instanceof SyntaxError) return null;
    throw problem;
  }
}

async function asking() {
  do {
    isDue = false;
    const { status: before, changes, known } = now();
    const [values, mods, { reloads }, hosts] = await Promise.all([
      ask("status", { mods: "no" }), ask("mods", { since: known ?? 0 }), ask("reloads", { after: changes[0]?.number ?? 0, seconds: 0 }), hostsNow()]);
    const status = { ...values, mods: ordered(before?.mods ?? [], mods), down: mods.down };
    set({ hosts, status, known: mods.revision, changes: [...reloads.toReversed(), ...now().changes].slice(0, MOST_CHANGES) });
  } while (isDue);
}

/** Asks again; what is asked meanwhile is asked once more afterwards. A server that is gone is the feed's to tell. */
export function look() {
  isDue = true;
  clearTimeout(again);
  again = 0;
  looking ??= asking().catch((problem) => {
    if (problem instanceof Declined) set({ told: { kind: "bad", text: problem.message } });
  }).finally(() => { looking = null; });
  return looking;
}

/** Asks again in a while: events come, so that what waits for agents and what lingers is another. */
export function lookSoon() {
  again ||= setTimeout(() => { if (!document.hidden) look(); }, AGAIN_MS);
}

/** The change that is shown: the one that was chosen, else the latest. */
export const chosenOf = (model) => model.changes.find((each) => each.number === model.changed) ?? model.changes[0] ?? null;
