/* What keys and buttons do with replay and states: events are run again, pinned, accepted; states are looked at. */

import { act } from "./acting.js";
import { now, say, set } from "./app.js";
import { ask, command } from "./ask.js";

const chosen = () => (now().session ? null : now().pins?.pins.find((pin) => pin.name === now().pinned) ?? now().pins?.pins[0] ?? null);
const isReplay = () => now().view === "replay";

/** What is chosen, as the server names it: a pin in the view Replay, else an event. */
function what() {
  const { selected } = now();
  if (isReplay()) return chosen() ? { name: chosen().name } : null;
  return typeof selected === "number" ? { number: selected } : null;
}

const none = () => say("warn", isReplay() ? "no pin is chosen" : "choose an event first (j, k)");

export async function pins() {
  try {
    set({ pins: await ask("pins") });
  } catch (problem) {
    set({ pins: { pins: [], off: problem.message, problems: [] } });
  }
}

async function run(on) {
  const asked = what();
  if (!asked) return none();
  set({ replayed: {} });
  try {
    set({ replayed: await command("replay", { ...asked, on }) });
  } catch (problem) {
    set({ replayed: { problem: problem.message } });
  }
  return undefined;
}

async function about(does, path, values, words) {
  const answer = await act(does, path, values, words);
  await pins();
  return answer;
}

async function pin() {
  const asked = what();
  if (!asked?.number) return none();
  const made = await about("pin", "pins", asked, (answer) => `pinned ${answer.event_name} (#${answer.number}) as ${answer.name}`);
  if (made) set({ pinned: made.name });
  return undefined;
}

const accept = () => (isReplay() && chosen() ? about("accept", "pins/accept", { name: chosen().name }, (answer) => `${answer.name} is right as it is now`) : none());

async function level(path, since) {
  const { mod } = now().looked;
  try {
    return await ask("state", { mod, path, since });
  } catch (problem) {
    return { problem: problem.message };
  }
}

async function lookAt(mod) {
  set({ looked: { mod, open: {} } });
  const root = await level("");
  if (now().looked.mod === mod) set({ looked: { mod, open: {}, root } });
}

/** Opens an entry of the state that `now()[key]` shows, or closes it; `level(path)` asks for what is in it. */
export async function unfold(key, path, level) {
  const { open: { [path]: known, ...open }, ...tree } = now()[key];
  if (known) return set({ [key]: { ...tree, open } });
  const found = await level(path), then = now()[key];
  if (then?.root === tree.root) set({ [key]: { ...then, open: { ...then.open, [path]: found } } });
  return undefined;
}

async function lookSince(since) {
  const { differences, problem } = await level("", since);
  if (problem) say("bad", problem);
  else set({ looked: { ...now().looked, differences, since } });
}

async function stateSince(mod) {
  set({ across: { mod } });
  try {
    const { differences } = await ask("state", { mod, path: "", since: "swap" });
    set({ across: { mod, differences } });
  } catch (problem) {
    set({ across: { mod, problem: problem.message } });
  }
}

export const replaying = {
  replay: () => run("now"), both: () => run("both"), pin, accept, lookAt, lookInto: (path) => unfold("looked", path, level), lookSince, stateSince, pins,
  replayedNo: () => set({ replayed: null }), choosePin: (each) => set({ pinned: each.name, session: null, replayed: null }),
  keep: (asked) => act("test", "test", asked.name ? { name: asked.name } : { number: asked.number }, (answer) => `wrote ${answer.path}`),
  ignore: (each, path) => about("ignore", "pins/ignore", { name: each.name, path }, () => `${path} is compared no more`),
  unpin: (each) => about("remove", "pins/remove", { name: each.name }, () => `${each.name} is no pin any more`),
  showPin: (name) => { set({ view: "replay", pinned: name, session: null, sheet: "", sending: null, replayed: null }); pins(); },
  differences: () => set({ view: "replay", sheet: "", sending: null }),
};
