/* Asks the server: a question, a command, and the feed that is held until there is something. A tab that nobody sees
   does not ask. The token stays in this tab: in no address, and gone with the tab. */

const PATIENCE_MS = 10_000;
const HOLD_SECONDS = 20;
const AGAIN_MS = 1000;
const KEPT = "oa-dev token";

export class Refused extends Error {}
/** The server answered, and will not do it; `code` is for programs. */
export class Declined extends Error {
  constructor(status, values) {
    super(values.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = values.code ?? "";
  }
}

let token = sessionStorage.getItem(KEPT);

export const hasToken = () => Boolean(token);

export function useToken(value) {
  token = value;
  if (value) sessionStorage.setItem(KEPT, value);
  else sessionStorage.removeItem(KEPT);
}

async function fetched(path, options, patience, until) {
  const inTime = AbortSignal.timeout(patience), signal = until ? AbortSignal.any([inTime, until]) : inTime;
  const answer = await fetch(path, { credentials: "omit", redirect: "error", signal, ...options });
  const values = await answer.json();
  if (answer.status === 401) throw new Refused(values.message);
  if (!answer.ok) throw new Declined(answer.status, values);
  return values;
}

const bearer = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** The answer to a question. Throws Refused, Declined, or what fetch throws where the server is gone or `until` ends
    the question. */
export function ask(path, query = {}, patience = PATIENCE_MS, until = null) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const asked = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  return fetched(asked, { headers: bearer() }, patience, until);
}

/** What became of a command. */
export function command(path, values = {}) {
  const headers = { ...bearer(), "Content-Type": "application/json" };
  return fetched(path, { method: "POST", headers, body: JSON.stringify(values) }, 120_000);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Resolves when the tab is seen: with true if it was hidden. */
function seen() {
  if (!document.hidden) return Promise.resolve(false);
  return new Promise((done) => {
    const hear = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", hear);
      done(true);
    };
    document.addEventListener("visibilitychange", hear);
  });
}

let held = new AbortController();
document.addEventListener("visibilitychange", () => { if (document.hidden) held.abort(); });

/** Asks the feed again and again. `from()` is what is known; `hear(answer, woke)` takes what came; `fail(problem)`
    says whether to ask again. The question under way ends when the tab is hidden. */
export async function follow(from, hear, fail) {
  for (let woke = false; ; ) {
    woke = (await seen()) || woke;
    held = new AbortController();
    try {
      const answer = await ask("feed", { ...from(woke), seconds: HOLD_SECONDS }, (HOLD_SECONDS + 10) * 1000, held.signal);
      await hear(answer, woke);
      woke = false;
    } catch (problem) {
      if (held.signal.aborted) continue;
      if (!(await fail(problem))) return;
      await pause(AGAIN_MS);
    }
  }
}
