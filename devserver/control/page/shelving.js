/* What keys and buttons do in the view Mods: search what can be had, answer agents, promote and drop versions. */

import { act } from "./acting.js";
import { now, set } from "./app.js";
import { ask } from "./ask.js";

let turn = 0;

const put = (change) => set({ shelf: { ...now().shelf, ...change } });

async function shelf(words = now().shelf?.words ?? "") {
  const mine = ++turn;
  put({ words });
  try {
    const [found, { asked }] = await Promise.all([ask("catalogue", { q: words }, 30_000), ask("asked")]);
    if (mine === turn) put({ ...found, asked, problem: "" });
  } catch (problem) {
    if (mine === turn) put({ problem: problem.message });
  }
}

async function shelfShow(name) {
  put({ chosen: name, facts: null });
  try {
    const facts = await ask("catalogue/show", { name }, 30_000);
    if (now().shelf.chosen === name) put({ facts });
  } catch (problem) {
    put({ facts: { problem: problem.message } });
  }
}

/** Brings the mod that is shown, for this run: what is brought has the digest that stands here. */
async function add({ name, version, sha256 }) {
  put({ adding: name });
  const added = await act(`add ${name}`, "add", { name, version, sha256 }, (answer) => answer.message);
  put({ adding: "", added: added && { ...added, name } });
}

export const shelving = {
  shelf, shelfShow, add,
  promote: (line) => act(`promote ${line.mod_id}`, "promote", { line: line.mod_id }),
  drop: (line) => act(`drop ${line.mod_id}`, "drop", { line: line.mod_id }),
  refuse: async (asked) => {
    await act("asked", "asked", { number: asked.number, answer: "no" }, () => `${asked.name}: no was told`);
    await shelf();
  },
};
