/* A recorded session in the view Replay: its events on a slider, and the state of any mod after each of them. The server
   runs the session again up to there, on the code of now. */

import { html, useEffect } from "./vendor-preact-htm.js";
import { now, set } from "./app.js";
import { ask } from "./ask.js";
import { Button, Empty, Json, Name, Section } from "./parts.js";
import { unfold } from "./replaying.js";
import { Run } from "./run.js";
import { Level } from "./state.js";
import { count, grouped, joined, pretty } from "./words.js";

const PATIENCE_MS = 70_000;

async function listed() {
  const { sessions } = await ask("sessions").catch(() => ({ sessions: [] }));
  set({ sessions });
}

async function level(path) {
  const { name, events, at, mod } = now().session;
  try {
    return await ask("session/state", { name, number: events[at][0], mod, path }, PATIENCE_MS);
  } catch (problem) {
    return { problem: problem.message };
  }
}

/** Shows what is after the event at this place; the latest that was asked for counts. */
async function goTo(at, mod = now().session.mod) {
  const session = { ...now().session, at, mod, open: {}, root: null };
  set({ session });
  const root = await level("");
  if (now().session === session) set({ session: { ...session, root } });
}

async function open(name) {
  set({ session: { name }, replayed: null });
  try {
    set({ session: await ask("session", { name }) });
  } catch (problem) {
    return set({ session: { name, problem: problem.message } });
  }
  const last = now().session.events.length - 1;
  return last < 0 ? undefined : goTo(last, now().status?.mods[0]?.mod_id ?? "");
}

/** The list of sessions, below that of pins. */
export function Sessions({ model }) {
  useEffect(() => { listed(); }, []);
  const { sessions = [], session } = model;
  if (!sessions.length) return null;
  return html`<h2 class="pad">Sessions</h2><ul aria-label="Sessions">${sessions.map((name) => html`<li key=${name}><button type="button" class="change ${session?.name === name ? "chosen" : ""}" aria-pressed=${session?.name === name} title=${`oa-dev replay .oa-dev/sessions/${name}`} onClick=${() => open(name)}><span class="sign quiet" aria-hidden="true">≡</span><b class="mono"><${Name} of=${name} /></b></button></li>`)}</ul>`;
}

const TREE = { lookInto: (path) => unfold("session", path, level) };

function After({ session, mods }) {
  const { root, mod } = session, choices = mods.map((each) => each.mod_id);
  return html`<${Section} title="State after it" aside="as the code of now makes it">
    <label>Mod <select onChange=${(event) => goTo(session.at, event.target.value)}>${choices.map((each) => html`<option value=${each} selected=${each === mod}>${each}</option>`)}</select></label>
    ${root.problem ? html`<p class="bad"><${Name} of=${root.problem} /></p>` : !root.items ? html`<p class="quiet">${mod} does not run in it.</p>` : !root.items.length ? html`<p class="quiet">${mod} keeps nothing in self.state.</p>` : html`<${Level} level=${root} steps=${[]} looked=${session} doings=${TREE} mod=${mod} />`}<//>`;
}

function Moment({ session: { root } }) {
  const { seen, recorded } = root;
  return html`<${Run} run=${seen.cannot ? { on: "Now", cannot: seen.cannot } : { on: "Now", seen }} />
    <${Section} title="As recorded" aside=${recorded.success ? "success" : "no success"}>${recorded.message && html`<p><${Name} of=${recorded.message} /></p>`}${recorded.data !== null && html`<${Json} text=${pretty(recorded.data)} />`}<//>`;
}

export function Session({ session, mods }) {
  const { name, events, notes, of, at, root, problem } = session;
  if (problem) return html`<${Empty} why=${problem} />`;
  if (!events) return html`<${Empty} why="Reading the session …" />`;
  if (!events.length) return html`<${Empty} why="It has no event that could be run again." />`;
  const [number, event, source, isRight] = events[at] ?? events.at(-1), last = events.length - 1, typed = `oa-dev replay .oa-dev/sessions/${name} --at ${number}`;
  return html`<article class="chosen-change scroll" tabindex="0" aria-label="Session"><h2 class="mono"><${Name} of=${name} /></h2>
    <p class="quiet small"><${Name} of=${joined([count(of, "event"), of > events.length && `the first ${grouped(events.length)} are here`, ...notes])} /></p>
    <div class="slider"><${Button} words="‹" command=${typed} disabled=${at <= 0} act=${() => goTo(at - 1)} />
      <input type="range" min="0" max=${last} value=${at} aria-label="Event of the session" aria-valuetext=${`#${number} ${event}`} title=${typed} onInput=${({ target }) => set({ session: { ...now().session, at: Number(target.value), root: null } })} onChange=${({ target }) => goTo(Number(target.value))} />
      <${Button} words="›" command=${typed} disabled=${at >= last} act=${() => goTo(at + 1)} /></div>
    <p><b class="mono">#${number} <${Name} of=${event} /></b> <span class=${isRight ? "quiet" : "bad"}><${Name} of=${joined([source ?? "", `${grouped(at + 1)} of ${grouped(events.length)}`, !isRight && "no success"])} /></span></p>
    ${root ? html`<${After} session=${session} mods=${mods} />${!root.problem && html`<${Moment} session=${session} />`}` : html`<p class="quiet">Running it again up to here; nothing is delivered …</p>`}</article>`;
}
