/* Holds the model of the page and draws it: one object, replaced and never changed in place, drawn once a frame. */

import { fresh } from "./store.js";

let model = { ...fresh(), view: "events" };
let draw = () => {};
let due = false;

export const now = () => model;

/** Replaces parts of the model; what is drawn follows with the next frame. */
export function set(change) {
  model = { ...model, ...change };
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw(model);
  });
}

/** Draws at once what follows with the next frame: what is typed next must find its field. */
export const drawNow = () => draw(model);

export function drawWith(drawing) {
  draw = drawing;
  set({});
}

/** Shows one sentence under the first line; the next one, or Esc, takes its place. */
export const say = (kind, text) => set({ told: text ? { kind, text } : null });
