/* Asks the server's ring, not this tab's rows, once typing has paused. */

import { now, set } from "./app.js";
import { ask } from "./ask.js";
import { named } from "./store.js";

const SEARCH_MS = 250;
const MOST_FOUND = 500;
let asked = 0, typing = 0;

/** An answer that is still to come is looked at no more. */
export function forget() {
  asked += 1;
  clearTimeout(typing);
}

async function search(query) {
  const turn = ++asked, at = performance.now();
  if (!query.trim()) return set({ found: null, searchProblem: "" });
  try {
    const answer = await ask("search", { q: query, most: MOST_FOUND });
    const items = answer.rows.map((row) => named(now(), row)).sort((one, other) => other.number - one.number);
    if (turn === asked) set({ found: { ...answer, items, more: items.length >= MOST_FOUND, gone: answer.kept < now().next, ms: performance.now() - at }, searchProblem: "" });
  } catch (problem) {
    if (turn === asked) set({ found: { items: [], kept: 0, ms: 0 }, searchProblem: problem.message });
  }
  return undefined;
}

export function query(text) {
  set({ query: text, selected: null });
  clearTimeout(typing);
  typing = setTimeout(() => search(text), SEARCH_MS);
}
