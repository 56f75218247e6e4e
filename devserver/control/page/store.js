/* Keeps what the server told: rows of events and swaps on one time axis, sums per second, facts and log lines, each with
   a bound. Pure: takes a state and an answer, gives the next state. */

export const MOST_ITEMS = 2000;
export const MOST_SECONDS = 600;
export const MOST_LINES = 1000;
const MOST_FACTS = 300;
const MEASURED = 5;
const ALL = "";

export const fresh = () => ({
  columns: null, zero: 0, next: 0, fact: 0, log: 0, second: 0, revision: null,
  items: [], skipped: 0, seconds: [], facts: [], logs: [], agents: { n: 0, dropped: 0 }, recording: null,
  status: null, link: "asking", since: null, problem: "", told: null,
});

/** A row of the feed as an object, by the names of its columns; `at`: milliseconds since 1970. */
export function named({ columns, zero }, row) {
  const found = { kind: "event" };
  columns.forEach((name, place) => { found[name] = row[place]; });
  found.at = zero * 1000 + found.at_us / 1000;
  return found;
}

const KINDS = { outcome: "swap", restart: "swap" };
const later = (one, other) => one.at - other.at || (one.number ?? 0) - (other.number ?? 0);

/** A fact that stands in the list of events, as an item of it. */
function itemOf(fact) {
  return { kind: KINDS[fact.type], at: Date.parse(fact.time), key: `fact-${fact.n}`, fact };
}

/** Both in the order of time; nearly always what is new belongs at the end. */
export function merged(items, fresh) {
  if (!fresh.length) return items;
  const added = [...fresh].sort(later);
  const first = added[0];
  let cut = items.length;
  while (cut > 0 && later(items[cut - 1], first) > 0) cut -= 1;
  const tail = [...items.slice(cut), ...added].sort(later);
  return [...items.slice(0, cut), ...tail].slice(-MOST_ITEMS);
}

function summed(before, seconds) {
  if (!seconds.length) return before;
  const first = seconds[0][0];
  return [...before.filter(([second]) => second < first), ...seconds].slice(-MOST_SECONDS);
}

/** Logs, where a line that only redraws the one before it takes its place. */
function lined(before, lines) {
  const kept = [...before];
  for (const line of lines) {
    const last = kept.at(-1), text = String(line[5]);
    if (text.startsWith("\r") && last && last[3] === line[3]) kept.pop();
    kept.push(line);
  }
  return kept.slice(-MOST_LINES);
}

/** The state after an answer of the feed. `woke`: this tab slept, so what was left out is told as a gap. */
export function fed(state, answer, woke, at) {
  const form = { columns: answer.columns ?? state.columns ?? [], zero: answer.zero ?? state.zero };
  const rows = answer.rows.map((row) => named(form, row));
  const marks = answer.facts.filter((fact) => KINDS[fact.type]).map(itemOf);
  const gap = answer.skipped && woke && state.columns
    ? [{ kind: "gap", at: (rows[0]?.at ?? at) - 0.001, key: `gap-${answer.next}`, missed: answer.skipped, here: rows.length }] : [];
  return {
    ...state, ...form, next: answer.next, link: "live", since: null,
    items: merged(state.items, [...rows, ...marks, ...gap]),
    skipped: state.skipped + (woke || !state.columns ? 0 : answer.skipped),
    seconds: summed(state.seconds, answer.seconds), second: answer.seconds.at(-1)?.[0] ?? state.second,
    facts: [...state.facts, ...answer.facts].slice(-MOST_FACTS), fact: answer.facts.at(-1)?.n ?? state.fact,
    logs: lined(state.logs, answer.logs), log: answer.logs.at(-1)?.[0] ?? state.log,
    agents: answer.agents, recording: answer.recording ?? null,
  };
}

const between = (seconds, from, until) => seconds.filter(([second]) => second >= from && second < until);

/** Of all events in the last whole seconds: how many a second, how many of them failed, and the worst p95 in µs; null
    where nothing is known. */
export const rate = (state, at) => (state.columns ? pace(state.seconds, ALL, Math.floor(at / 1000)) : null);

/** The same of the events that came to one mod, in the seconds before `until`. */
export function pace(seconds, mod, until) {
  const rows = between(seconds, until - MEASURED, until).map(([, mods]) => mods[mod]).filter(Boolean);
  const sum = (place) => rows.reduce((total, row) => total + row[place], 0);
  return { known: seconds.some(([, mods]) => mods[mod]), rate: sum(0) / MEASURED, failed: sum(1), p95: rows.length ? Math.max(...rows.map((row) => row[3])) : null };
}

/** The events and swaps as the list shows them: newest first, what is `seen` in place of what came since. */
export const shown = (items) => items.toReversed();
