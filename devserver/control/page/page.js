/* Shows what runs now, asked of the control API once a second. Whatever comes from there is put in as text, never as
   markup. The token stays in this tab: out of the address, and gone with the tab. */
"use strict";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const MOST_RECENT = 50;
const KEPT = "oa-dev token";
const HOW_TO_OPEN = "Press o in the terminal of oa-dev run, or run oa-dev open there.";
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

const state = { token: null, seen: 0, answered: null, timer: 0, turn: 0 };
const at = (id) => document.getElementById(id);

// Where the token comes from

async function admit() {
  const [kind, value] = location.hash.slice(1).split("=", 2);
  const given = (kind === "k" || kind === "t") && value ? decoded(value) : null;
  if (given !== null && given.includes("…")) {
    return say("alarm", `This address was shortened to show it. ${HOW_TO_OPEN}`);
  }
  if (given !== null) history.replaceState(null, "", location.pathname);
  if (!LOOPBACK.has(location.hostname) && location.protocol !== "https:") {
    sessionStorage.removeItem(KEPT);
    return say("alarm", "This address is not encrypted: open this page on the server's own machine, or through an SSH tunnel.");
  }
  if (given !== null) forget();
  try {
    state.token = given === null ? sessionStorage.getItem(KEPT) : kind === "k" ? given : await entered(given);
  } catch (problem) {
    return say("alarm", problem instanceof Refused ? `${problem.message}. ${HOW_TO_OPEN}` : gone());
  }
  if (!state.token) return say("alarm", `This page needs a key. ${HOW_TO_OPEN}`);
  sessionStorage.setItem(KEPT, state.token);
  return look();
}

function decoded(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

async function entered(ticket) {
  const body = JSON.stringify({ ticket });
  return (await asked("enter", { method: "POST", body, headers: { "Content-Type": "application/json" } })).token;
}

function forget() {
  sessionStorage.removeItem(KEPT);
  Object.assign(state, { token: null, seen: 0, answered: null });
  at("recent-rows").replaceChildren();
}

// Asking

class Refused extends Error {}

async function asked(path, options) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(path, { credentials: "omit", redirect: "error", signal, ...options });
  if (answer.status === 401) throw new Refused((await answer.json()).message);
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

const read = (path) => asked(path, { headers: { Authorization: `Bearer ${state.token}` } });

async function look() {
  const turn = ++state.turn;
  clearTimeout(state.timer);
  try {
    const now = await read("status");
    if (now.reload_number > state.seen) await hear();
    if (turn === state.turn) show(now);
  } catch (problem) {
    if (turn !== state.turn) return;
    if (problem instanceof Refused) {
      forget();
      at("main").classList.add("old");
      return say("alarm", `The server was started anew and this key is of an earlier run. ${HOW_TO_OPEN}`);
    }
    say("alarm", gone());
  }
  if (turn === state.turn && !document.hidden) state.timer = setTimeout(look, EVERY_MS);
}

async function hear() {
  const { next, reloads } = await read(`reloads?after=${state.seen}&seconds=0`);
  const first = state.seen === 0;
  state.seen = next;
  const rows = at("recent-rows");
  for (const each of reloads) rows.prepend(...told(each));
  while (rows.children.length > MOST_RECENT) rows.lastChild.remove();
  if (!first && rows.firstChild) put(at("news"), rows.firstChild.textContent);
}

function gone() {
  at("main").classList.add("old");
  const since = state.answered ? ` What is below was so at ${clock(state.answered)}.` : "";
  return `The server does not answer.${since} Asking again every second.`;
}

// Showing

function show(now) {
  state.answered = Date.now();
  at("main").classList.remove("old");
  say("good", now.paused ? "Running; saves wait." : "Running.");
  document.title = `${now.name} · oa-dev`;
  put(at("name"), now.name);
  put(at("facts"), joined([
    now.url, `up ${lasted(now.uptime_s)}`, count(now.events, "event"), count(now.reloads, "reload"), `${now.failed} failed`,
  ]));
  const mods = [...now.mods, ...now.down];
  rows("mod-rows", mods, (each) => each.mod_path, modRow, fillMod);
  at("no-mods").hidden = mods.length > 0;
  rows("agent-rows", now.agents, (each) => each.agent_id, () => made("li"), fillAgent);
  at("no-agents").hidden = now.agents.length > 0;
  at("no-recent").hidden = at("recent-rows").children.length > 0;
  rows("alarms", alarms(now), (each) => each, () => made("p", "alarm"), put);
}

function alarms(now) {
  const refused = now.refused.map((each) => `${placed(each) || "network.yaml"} not applied: ${each.message}`);
  const waiting = now.waiting.length ? [`Saved and not applied yet: ${now.waiting.join(", ")}. Space or oa-dev apply applies it.`] : [];
  const needed = now.restart ? [`A restart is needed: ${now.restart.reasons.join("; ")} · ${now.restart.waits}`] : [];
  return [...refused, ...waiting, ...needed];
}

const KINDS = { applied: "good", skipped: "warn" };
const COLUMNS = ["Mod", "State", "Since", "Path", "Events", "Last outcome"];

function modRow() {
  const row = made("tr");
  for (const label of COLUMNS) {
    const cell = made(label === "Mod" ? "th" : "td");
    cell.dataset.label = label;
    row.append(cell);
  }
  row.firstChild.scope = "row";
  row.firstChild.append(made("strong"), " ", made("span", "quiet"));
  row.lastChild.append(made("div"), made("div", "error"), made("div", "error"));
  return row;
}

function fillMod(row, mod) {
  const [name, status, since, path, events, outcome] = row.children;
  put(name.firstChild, mod.mod_id);
  put(name.lastChild, mod.generation ? `v${mod.generation}` : "");
  row.title = mod.description;
  const but = mod.failed && mod.generation ? ", saved code failed" : mod.raised ? ", a handler failed"
    : (mod.newer_on_disk || []).length ? `, ${mod.newer_on_disk.join(", ")} on disk differs` : "";
  put(status, mod.state + but);
  status.className = mod.failed ? "bad" : mod.raised ? "warn" : mod.state === "live" ? "good" : "warn";
  put(since, mod.loaded_at ? clock(mod.loaded_at) : "–");
  put(path, mod.mod_path);
  put(events, joined([
    `${mod.handled} handled`, some(mod.errors, "failed"), some(mod.in_flight, "in flight"), some(mod.held_now, "held now"),
  ]));
  const [last, failed, raised] = outcome.children;
  put(last, mod.outcome ? became(mod.outcome) : "–");
  put(failed, mod.failed ? worded(mod.failed) : "");
  put(raised, mod.raised ? `${worded(mod.raised)} · on ${mod.raised.event_name}${times(mod.raised.times)}` : "");
}

function fillAgent(item, agent) {
  put(item, `${agent.agent_id} (${agent.connected === false ? "known, not connected" : agent.transport})`);
}

function told(plan) {
  const when = clock(plan.time);
  if (plan.refused) return plan.refused.map((each) => line("bad", `${when} network.yaml not applied · ${worded(each)}`));
  if (plan.restarted) return [line(plan.success ? "good" : "bad", `${when} ${restarted(plan.restarted)}`)];
  const held = plan.held.events ? `, ${count(plan.held.events, "event")} held ${took(plan.held.longest_ms)}` : "";
  const fared = `${count(plan.agents.connected, "agent")}, ${plan.agents.dropped} dropped${held}`;
  return plan.outcomes.map((each) => line(
    KINDS[each.status] ?? "bad",
    joined([`${when} ${each.mod_id}${each.generation ? ` v${each.generation}` : ""}`, became(each), fared, each.error && worded(each.error)]),
  )).reverse();
}

function restarted(done) {
  const fared = `${count(done.connections.kept, "connection")} kept, ${done.agents.dropped} agents dropped`;
  const failed = done.failed.length ? `did not come up: ${done.failed.join(", ")}` : "";
  return joined(["restarted in place", done.reasons.join("; "), `paused ${took(done.pause_ms)}`, fared, failed]);
}

function line(kind, text) {
  const item = made("li", kind);
  item.append(text);
  return item;
}

function became(outcome) {
  const done = outcome.status === "applied" ? "" : ` in ${outcome.phase}`;
  const what = `${outcome.action} ${outcome.status.replace("_", " ")}${done}`;
  return joined([what, took(outcome.duration_ms), outcome.reason, outcome.note]);
}

// Words

const worded = (error) => joined([error.message ? `${error.kind}: ${error.message}` : error.kind, placed(error)]);
const placed = (error) => [error.file, error.line, error.column].filter((each) => each !== null).join(":");
const joined = (parts) => parts.filter(Boolean).join(" · ");
const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
const some = (number, what) => (number ? `${number} ${what}` : "");
const times = (number) => (number > 1 ? ` · ×${number}` : "");
const took = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 1 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`);
const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

function lasted(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => seconds >= size);
  return units ? `${Math.round(seconds / units[0])} ${units[1]}` : `${Math.round(seconds)} s`;
}

// The page: what has not changed is left alone, so that focus, selection and screen readers stay where they are

function made(tag, kind = "") {
  const node = document.createElement(tag);
  node.className = kind;
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function say(kind, text) {
  at("state").className = kind;
  put(at("state"), text);
}

const known = new Map();

function rows(id, values, keyOf, make, fill) {
  const parent = at(id), before = known.get(id) ?? new Map(), after = new Map();
  for (const each of values) {
    const node = before.get(keyOf(each)) ?? make();
    fill(node, each);
    after.set(keyOf(each), node);
  }
  for (const [key, node] of before) if (!after.has(key)) node.remove();
  [...after.values()].forEach((node, number) => {
    if (parent.children[number] !== node) parent.insertBefore(node, parent.children[number] ?? null);
  });
  known.set(id, after);
}

async function restart() {
  const headers = { Authorization: `Bearer ${state.token}`, "Content-Type": "application/json" };
  try {
    const plan = await asked("restart", { method: "POST", headers, body: "{}" });
    say(plan.restart.waits ? "alarm" : "good", plan.restart.waits ? `Not restarted: ${plan.restart.waits}` : "Restarting in place …");
  } catch (problem) {
    say("alarm", `Not restarted: ${problem.message}`);
  }
}

at("restart").addEventListener("click", restart);
addEventListener("hashchange", admit);
document.addEventListener("visibilitychange", () => { if (!document.hidden && state.token) look(); });
admit();
