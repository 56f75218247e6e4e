/* Opens the form that sends an event, and sends what it says. */

import { act } from "./acting.js";
import { now, say, set } from "./app.js";
import { ask } from "./ask.js";

export async function send(row) {
  const { selected, detail } = now();
  const from = row ?? (detail?.number === selected ? detail.row : null);
  set({ sending: from ? { number: from.number, event_name: from.event_name, payload: detail?.payload ?? from.payload ?? {}, destination: from.destination ?? "" } : {}, answer: null, view: "events" });
  try {
    set({ handlers: (await ask("handlers")).mods });
  } catch (problem) {
    say("bad", `handlers: ${problem.message}`);
  }
}

export async function sent(values) {
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
  const answer = await act(`send ${values.event_name}`, "send", given, (said) => `sent ${said.event_name}: ${said.success ? "success" : said.message || "no success"}`);
  if (answer) set({ answer });
}
