/* The views as one table. A view's files are asked for when it is first opened: what most tabs show comes first. */

import { html } from "./vendor-preact-htm.js";
import { set } from "./app.js";
import { Events } from "./events.js";
import { Empty } from "./parts.js";

export const VIEWS = [
  { name: "events", words: "Events", draw: Events },
  { name: "changes", words: "Changes", load: () => import("./changes.js"), count: (model) => model.changes.length },
  { name: "logs", words: "Logs", load: () => import("./logs.js") },
  { name: "plan", words: "Plan", load: () => import("./plan.js") },
];

/** Parts that are no view of their own. */
export const PARTS = {
  detail: { load: () => import("./detail.js") },
  send: { load: () => import("./send.js") },
  help: { load: () => import("./help.js") },
};

function loaded(part) {
  part.loading ??= part.load().then((found) => {
    Object.assign(part, { draw: found.View, aside: found.aside });
    set({});
  }, () => { part.loading = null; });
}

/** Draws a part; what is not here yet is asked for. */
export function Part({ part, ...given }) {
  if (part.draw) return html`<${part.draw} ...${given} />`;
  loaded(part);
  return html`<${Empty} why="Loading …" />`;
}
