/* The views as one table. A view's files are asked for when it is first opened. */

import { Events } from "./events.js";

const differing = (model) => {
  const number = model.pins?.pins.filter((pin) => pin.last?.result === "differs").length ?? 0;
  return number ? `${number} ${number === 1 ? "differs" : "differ"}` : "";
};

const VIEWS = [
  { name: "events", words: "Events", draw: Events },
  { name: "changes", words: "Changes", load: () => import("./changes.js"), count: (model) => model.changes.length },
  { name: "state", words: "State", isLong: true, load: () => import("./state.js") },
  { name: "replay", words: "Replay", load: () => import("./replay.js"), mark: (model) => differing(model) },
  { name: "logs", words: "Logs", isLong: true, load: () => import("./logs.js") },
  { name: "plan", words: "Plan", isLong: true, load: () => import("./plan.js") },
  { name: "mods", words: "Mods", isLong: true, load: () => import("./mods.js") },
];

const HOSTS = { name: "hosts", words: "Hosts", isLong: true, load: () => import("./hosts.js"), count: (model) => model.hosts.hosts.length };

/** The views that there are: that of hosts in a network of several. */
export const viewsOf = (model) => (model.hosts ? [...VIEWS, HOSTS] : VIEWS);

/** Parts that are no view of their own. */
export const PARTS = {
  replayed: { load: () => import("./replay.js").then(({ Replayed }) => ({ View: Replayed })) },
  detail: { load: () => import("./detail.js") },
  send: { load: () => import("./send.js") },
  help: { load: () => import("./help.js") },
};
