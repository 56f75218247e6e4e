/* A part of the page whose file is asked for when it is first drawn: what most tabs show comes first. */

import { html } from "./vendor-preact-htm.js";
import { set } from "./app.js";
import { Empty } from "./parts.js";

/** Whether there is room for a right column; where there is none, what a view would show there stands below it. */
export const wide = matchMedia("(min-width: 1080px)");
wide.addEventListener("change", () => set({}));

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
  return part.isQuiet ? null : html`<${Empty} why="Loading …" />`;
}
