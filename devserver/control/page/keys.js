/* The keys as one table; help is printed from it. `command` is what does the same in a terminal ("" where none does). */

import { now } from "./app.js";

export const KEYS = [
  { key: "j", does: "down", words: "next row", command: "" },
  { key: "k", does: "up", words: "row before", command: "" },
  { key: "Enter", does: "open", words: "open the row", command: "" },
  { key: "Escape", shown: "Esc", does: "back", words: "back, and follow again", command: "" },
  { key: "]", does: "newer_swap", words: "next swap", command: "" },
  { key: "[", does: "older_swap", words: "swap before", command: "" },
  { key: "/", does: "search", words: "search events", command: "events PATTERN" },
  { key: "n", does: "send", words: "send an event", command: "send EVENT_NAME" },
  { key: "p", does: "replay", words: "replay the event", command: "replay NUMBER" },
  { key: "P", does: "pin", words: "pin the event", command: "pin NUMBER" },
  { key: "a", does: "both", words: "run it on both generations", command: "replay NUMBER --on both" },
  { key: "y", does: "accept", words: "accept what a pin does now", command: "pins accept NAME" },
  { key: "d", does: "differences", words: "differences", command: "pins" },
  { key: "r", does: "reload", words: "reload all", command: "reload" },
  { key: "R", does: "restart", words: "restart in place", command: "restart" },
  { key: "z", does: "undo", words: "undo reload", command: "undo" },
  { key: "Z", does: "redo", words: "redo", command: "redo" },
  { key: "s", does: "pause", words: "pause saves", command: "pause" },
  { key: " ", shown: "space", does: "apply", words: "apply saves", command: "apply" },
  { key: "t", does: "trace", words: "full trace", command: "trace" },
  { key: "e", does: "edit", words: "open the error in the editor", command: "edit" },
  { key: "?", does: "help", words: "all keys", command: "--help" },
];

export const shownKey = (each) => each.shown ?? each.key;
export const keyOf = (does) => shownKey(KEYS.find((each) => each.does === does));
export const commandOf = (does) => KEYS.find((each) => each.does === does).command;

const isField = (node) => node instanceof HTMLElement && (node.matches("input, textarea, select") || node.isContentEditable);
const isButton = (node) => node instanceof HTMLElement && node.matches("button, a, summary");

/** What a pressed key does by the table, "view:N" for a digit of a view, or null. */
export function meant(event, views) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  if (isField(event.target)) return event.key === "Escape" ? "back" : null;
  if (isButton(event.target) && (event.key === "Enter" || event.key === " ")) return null;
  if (/^[1-9]$/.test(event.key) && Number(event.key) <= views.length) return `view:${views[Number(event.key) - 1].name}`;
  return KEYS.find((each) => each.key === event.key)?.does ?? null;
}

/** Lets keys do what `doings` has for their names; `views()` are those that there are. */
export function listen(doings, views) {
  document.addEventListener("keydown", (event) => {
    const does = meant(event, views());
    if (does === null || (now().help && !["back", "help"].includes(does))) return;
    const [name, view] = does.split(":");
    if (!doings[name]) return;
    event.preventDefault();
    doings[name](view);
  });
}
