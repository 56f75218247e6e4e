/* Formats values as words. Pure: a test runs it without a page. */

export const joined = (parts) => parts.filter(Boolean).join(" · ");
export const count = (number, thing) => `${grouped(number)} ${thing}${number === 1 ? "" : "s"}`;
export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
export const listed = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0] ?? "");

/** A duration in the unit that leaves three digits; `us` are microseconds. */
export function took(us) {
  if (us === null || us === undefined) return "";
  const [size, unit] = us >= 59_950_000 ? [60e6, "min"] : us >= 999_500 ? [1e6, "s"] : us >= 99.5 ? [1e3, "ms"] : [1, "µs"];
  const value = us / size;
  return `${value >= 99.5 || unit === "µs" ? Math.round(value) : value >= 9.95 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
}

export const tookMs = (ms) => took(ms * 1000);

export function bytes(size) {
  if (size < 1000) return count(size, "byte");
  return size < 1e6 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1048576).toFixed(1)} MiB`;
}

export function lasted(seconds) {
  const unit = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[0])} ${unit[1]}` : `${Math.round(seconds)} s`;
}

const two = (number) => String(number).padStart(2, "0");

/** The time of day; `ms` since 1970, or what `Date` reads. */
export function clock(ms) {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export const clockMs = (ms) => `${clock(ms)}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;

export const placed = (error) => [error.file, error.line, error.column].filter((each) => each !== null && each !== undefined).join(":");
export const raised = (error) => (error.message ? `${error.kind}: ${error.message}` : error.kind);
export const shortly = (text, most = 160) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** An event's name in two parts: what is before its first dot, with it, and the rest, which tells more. */
export function parted(name) {
  const dot = name.indexOf(".");
  return dot < 0 ? ["", name] : [name.slice(0, dot + 1), name.slice(dot + 1)];
}

const SIGNS = { applied: "↻", skipped: "–", rolled_back: "✗", failed: "✗" };
const ACTIONS = { load: "+", unload: "−", reconfigure: "~", undo: "↶", redo: "↷" };

/** How an outcome stands before its words: one glyph, and how it is (good, warn, bad). */
export function signed(outcome) {
  if (outcome.status === "failed" || outcome.status === "rolled_back") return ["✗", "bad"];
  if (outcome.status === "skipped") return [SIGNS.skipped, "warn"];
  if (outcome.reason?.startsWith("undone")) return ["↶", "good"];
  return [ACTIONS[outcome.action] ?? SIGNS.applied, "good"];
}

/** What became of a mod, as the first words of its line. */
export function became(outcome) {
  const name = outcome.mod_id ?? "network.yaml", version = outcome.generation;
  if (outcome.status === "rolled_back" || outcome.status === "failed") {
    if (outcome.mod_id === null) return "network.yaml not applied, what ran before runs on";
    return version ? `${name} v${version + 1} did not load, v${version} keeps running` : `${name} did not load`;
  }
  if (outcome.status === "skipped") return name === "all" ? "nothing was done" : `${name} not ${{ load: "loaded", unload: "unloaded" }[outcome.action] ?? "reloaded"}`;
  if (outcome.action === "unload") return `${name} unloaded`;
  if (outcome.action === "reload" && version > 1) return `${name} v${version - 1} → v${version}`;
  return version ? `${name} v${version}` : `${name} ${outcome.action}`;
}

/** The rest of an outcome's line. */
export function details(outcome) {
  const { held, agents, error } = outcome;
  return joined([
    error ? placed(error) || raised(error) : outcome.duration_ms ? tookMs(outcome.duration_ms) : "",
    error && placed(error) ? shortly(raised(error)) : outcome.reason,
    error || outcome.reason?.includes(outcome.note) ? "" : outcome.note,
    agents && agents.connected !== null ? `${count(agents.connected, "agent")}, ${agents.dropped} dropped` : "",
    held && held.events ? `${count(held.events, "event")} held ${tookMs(held.longest_ms)}` : "",
  ]);
}

/** A payload or an answer as text: JSON with two spaces, or the text that it is. */
export const pretty = (value) => (typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value, null, 2) ?? "");
