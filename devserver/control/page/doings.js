/* What keys and buttons do, by name. */

import { drawNow, now, say, set } from "./app.js";
import { about, act, saves } from "./acting.js";
import { alarmError } from "./alarm.js";
import { ask } from "./ask.js";
import { keyOf, listOf, placeOf } from "./events.js";
import { chosenOf } from "./looking.js";
import { forget, query } from "./searching.js";
import { replaying } from "./replaying.js";
import { shelving } from "./shelving.js";
import { send, sent } from "./sending.js";
import { named } from "./store.js";
import { placed } from "./words.js";

const THEMES = ["", "light", "dark"];

/** Opens an event in the right column; `number` may be of one that this tab does not have. */
async function open(number) {
  set({ selected: number, sending: null, replayed: null, still: now().still ?? now().items });
  try {
    const event = await ask("event", { number });
    const form = now(), row = named(form, event.row);
    set({ detail: { ...event, number, row, children: (event.children ?? []).map((each) => named(form, each)) } });
  } catch (problem) {
    set({ detail: { number, problem } });
  }
}

function select(item) {
  if (!item || item.kind === "gap") return;
  if (item.kind === "event") open(item.number);
  else set({ selected: keyOf(item), sending: null, replayed: null, still: now().still ?? now().items });
}

function step(by, wanted = () => true) {
  if (now().view === "changes") return stepChange(by);
  const items = listOf(now()), from = placeOf(items, now().selected);
  for (let at = from + by; at >= 0 && at < items.length; at += by) if (wanted(items[at])) return select(items[at]);
  return undefined;
}

function stepChange(by) {
  const { changes } = now(), at = changes.indexOf(chosenOf(now())) + by;
  if (changes[at]) choose(changes[at]);
}

export async function choose(change) {
  set({ changed: change.number });
  try {
    const detail = await ask("change", { number: change.number });
    if (now().changed === change.number) set({ change: { ...detail, number: change.number } });
  } catch (problem) {
    set({ change: { number: change.number, problem } });
  }
}

function back() {
  const { sending, help } = now();
  document.activeElement?.blur?.();
  if (help) return set({ help: false });
  if (sending) return set({ sending: null, answer: null });
  if (now().replayed) return set({ replayed: null });
  forget();
  return set({ selected: null, still: null, query: "", found: null, detail: null, told: null });
}

function edit() {
  const error = alarmError(now()), link = now().status?.editor_link;
  if (!error?.file) return say("warn", "no error with a place is there to open");
  if (!link) return say("warn", `${placed(error)}: oa-dev edit opens it; a page can where dev.editor is code, cursor, zed, windsurf or idea`);
  const path = error.file.startsWith("/") ? error.file : `${link.root}/${error.file}`, parts = { path: path.split("/").map(encodeURIComponent).join("/"), line: error.line ?? 1, column: error.column ?? 1 };
  return location.assign(link.pattern.replace(/\{(\w+)\}/g, (_, name) => parts[name]));
}

function theme() {
  const next = THEMES[(THEMES.indexOf(now().theme ?? "") + 1) % THEMES.length];
  sessionStorage.setItem("oa-dev theme", next);
  document.documentElement.dataset.theme = next;
  set({ theme: next });
  dispatchEvent(new Event("themechange"));
}

async function plan() {
  set({ plan: null });
  try {
    set({ plan: await ask("plan", {}, 60_000) });
  } catch (problem) {
    set({ plan: { plans: [], problems: [{ kind: "cannot be told", message: problem.message, file: null }] } });
  }
}

function view(name) {
  set({ view: name, sheet: "", sending: null, replayed: null });
  if (name === "plan") plan();
  if (name === "mods") shelving.shelf();
  if (name === "replay") replaying.pins();
  if (name === "changes" && chosenOf(now())) choose(chosenOf(now()));
}

const isSwap = (item) => item.kind === "swap";

export const doings = {
  ...replaying, ...shelving,
  select, choose, query, back, send, sent, edit, theme, plan, view, show: open, step,
  down: () => step(1), up: () => step(-1), newer_swap: () => step(-1, isSwap), older_swap: () => step(1, isSwap),
  open: () => { if (now().selected === null) step(1); },
  search: () => { view("events"); drawNow(); document.getElementById("search")?.focus(); },
  only: (mod) => { view("events"); query(now().query === `mod:${mod.mod_id}` ? "" : `mod:${mod.mod_id}`); },
  scrolled: (top) => { if (top > 0 && !now().still && !now().found) set({ still: now().items }); else if (top === 0 && now().still && now().selected === null) set({ still: null }); },
  sheet: (name) => set({ sheet: name, selected: null, sending: null }),
  logsOf: (chosen) => set({ logsOf: chosen }),
  reload: () => act("reload", "reload"), reload_mod: (mod) => act(`reload ${mod.mod_id}`, "reload", { mods: [mod.mod_path] }),
  restart: () => act("restart", "restart", {}, (answer) => (answer.restart?.waits ? `not restarted: ${answer.restart.waits}` : "restarting in place …")),
  undo: () => act("undo", "undo"), undo_mod: (mod) => act(`undo ${mod}`, "undo", about(mod)), redo: () => act("redo", "redo"),
  pause: () => saves(now().status?.paused ? "resume" : "pause"), apply: () => saves("apply"),
  record: (what) => act(`record ${what}`, "record", { do: what }, (answer) => (answer.recording ? `recording into ${answer.recording}` : "the session is written: oa-dev replay FILE runs it again")),
  sorted: (by) => { sessionStorage.setItem("oa-dev sort", by); set({ sort: by }); },
  trace: () => set({ trace: now().trace ? null : now().status?.last_error?.trace || "there is no error" }),
  help: (on) => set({ help: on ?? !now().help }),
};
