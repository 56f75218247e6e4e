/* Lets this tab in: a token, or a ticket that is exchanged for it, comes in the fragment of the address, which no
   browser sends anywhere. */

import { command, hasToken, Refused, useToken } from "./ask.js";

export const HOW_TO_OPEN = "Press o in the terminal of oa-dev run, or run oa-dev open there.";
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

const plain = (value) => {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
};

/** Why this tab may not ask, in a sentence; "" where it may. */
export async function admit() {
  const [kind, value] = location.hash.slice(1).split("=", 2);
  const given = (kind === "k" || kind === "t") && value ? plain(value) : null;
  if (given?.includes("…")) return `This address was shortened to show it. ${HOW_TO_OPEN}`;
  if (given !== null) history.replaceState(null, "", location.pathname);
  if (!LOOPBACK.has(location.hostname) && location.protocol !== "https:") {
    useToken(null);
    return "This address is not encrypted: open this page on the server's own machine, or through an SSH tunnel.";
  }
  if (kind === "k" && given !== null) useToken(given);
  if (kind === "t" && given !== null) {
    try {
      useToken((await command("enter", { ticket: given })).token);
    } catch (problem) {
      if (problem instanceof Refused) return hasToken() ? "" : `${problem.message}. ${HOW_TO_OPEN}`;
      return "The server does not answer. Reload this page once it runs.";
    }
  }
  return hasToken() ? "" : `This page needs a key. ${HOW_TO_OPEN}`;
}
