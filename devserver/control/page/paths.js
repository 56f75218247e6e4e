/* Paths into values, as the server writes and reads them: pages.home.versions[3], and ["a key"] for other keys. Pure. */

const PLAIN = /^[A-Za-z0-9_-]+$/;

const step = (each, place) => (typeof each === "number" ? `[${each}]` : PLAIN.test(each) ? `${place ? "." : ""}${each}` : `["${each.replace(/[\\"]/g, "\\$&")}"]`);

export const pathOf = (steps) => steps.map(step).join("");
