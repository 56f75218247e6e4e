/* Commands of the control API. What is about one mod has the generation that this page showed: a tab that has not seen a
   swap undoes nothing. */

import { now, say } from "./app.js";
import { command, Declined, Refused } from "./ask.js";
import { look } from "./looking.js";
import { became, count, details, joined } from "./words.js";

/** Carries out a command and tells what became of it in one sentence. */
export async function act(what, path, values, words) {
  try {
    const answer = await command(path, values);
    const told = (answer.outcomes ?? []).map((each) => joined([became(each), details(each)])).join("; ");
    say(answer.success === false ? "bad" : "good", words?.(answer) ?? `${what}: ${told || (answer.holds ?? []).map((each) => each.reason).join("; ") || "nothing to do"}`);
    return answer;
  } catch (problem) {
    say("bad", `${what}: ${problem instanceof Declined || problem instanceof Refused ? problem.message : "the server does not answer"}`);
    return null;
  } finally {
    look();
  }
}

export const about = (mod) => ({ mods: [mod], generation: now().status?.mods.find((each) => each.mod_id === mod)?.generation });
const savesWords = (answer) => joined([answer.paused ? "saves wait" : "saves are applied", answer.waiting.length && `${count(answer.waiting.length, "file")} waiting`, answer.done.length && `${count(answer.done.length, "plan")} carried out`]);
export const saves = (what) => act(`saves: ${what}`, "saves", { do: what }, savesWords);
