/* Shows a unified diff as code: numbers of lines, Python in colours, and within a line what changed of it. */

import { html } from "./vendor-preact-htm.js";

const WORDS = "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield case";
const KEYWORDS = new Set(WORDS.split(" "));
const TOKEN = /(#.*$)|((?:\b[rbfu]{1,2})?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|"""|'''))|(@[\w.]+)|(\b\d[\w.]*)|(\b[A-Za-z_]\w*\b)/g;
const KINDS = ["", "comment", "string", "decorator", "number", "word"];

/** A line of Python in pieces, each with its kind. Pure. */
export function* tokens(text) {
  let from = 0;
  for (const found of text.matchAll(TOKEN)) {
    const kind = found.findIndex((each, place) => place > 0 && each !== undefined);
    if (kind === 5 && !KEYWORDS.has(found[0])) continue;
    if (found.index > from) yield ["", text.slice(from, found.index)];
    yield [KINDS[kind], found[0]];
    from = found.index + found[0].length;
  }
  if (from < text.length) yield ["", text.slice(from)];
}

/** The lines of a unified diff: kind (file, hunk, same, minus, plus), numbers before and after, text. Pure. */
export function linesOf(diff) {
  const lines = [];
  let before = 0, after = 0;
  for (const text of diff.split("\n")) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/.exec(text);
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[2])];
      lines.push({ kind: "hunk", text: hunk[3].trim() });
    } else if (text.startsWith("--- ") && !before) {
      continue;
    } else if (text.startsWith("--- ") || text.startsWith("+++ ")) {
      if (text.startsWith("+++ ")) lines.push({ kind: "file", text: text.slice(4).replace(/^b\//, "").split("\t")[0] });
      before = 0;
    } else if (before || after) {
      if (text.startsWith("-")) lines.push({ kind: "minus", before: before++, text: text.slice(1) });
      else if (text.startsWith("+")) lines.push({ kind: "plus", after: after++, text: text.slice(1) });
      else if (text.startsWith(" ")) lines.push({ kind: "same", before: before++, after: after++, text: text.slice(1) });
    }
  }
  return paired(lines);
}

/** Where lines take the place of as many others, each pair gets the stretch that differs. */
function paired(lines) {
  for (let at = 0; at < lines.length; ) {
    const minus = run(lines, at, "minus"), plus = run(lines, at + minus, "plus");
    for (let each = 0; minus === plus && each < minus; each += 1) differ(lines[at + each], lines[at + minus + each]);
    at += Math.max(1, minus + plus);
  }
  return lines;
}

const run = (lines, from, kind) => {
  let until = from;
  while (lines[until]?.kind === kind) until += 1;
  return until - from;
};

function differ(one, other) {
  const most = Math.min(one.text.length, other.text.length);
  let start = 0, end = 0;
  while (start < most && one.text[start] === other.text[start]) start += 1;
  while (end < most - start && one.text.at(-1 - end) === other.text.at(-1 - end)) end += 1;
  if (start + end < most * 0.3) return;
  one.mark = [start, one.text.length - end];
  other.mark = [start, other.text.length - end];
}

const colored = (text) => [...tokens(text)].map(([kind, words]) => (kind ? html`<span class=${kind}>${words}</span>` : words));

function Text({ text, mark }) {
  if (!mark || mark[0] === mark[1]) return colored(text);
  return [colored(text.slice(0, mark[0])), html`<mark>${text.slice(...mark)}</mark>`, colored(text.slice(mark[1]))];
}

const SIGN = { plus: "+", minus: "−" };

export function Diff({ text, label }) {
  const lines = linesOf(text);
  return html`<div class="diff" role="region" tabindex="0" aria-label=${label}>${lines.map((each) => (each.kind === "file" || each.kind === "hunk"
    ? html`<div class="line ${each.kind}"><bdi>${each.text || "⋯"}</bdi></div>`
    : html`<div class="line ${each.kind}"><span class="at">${each.before ?? ""}</span><span class="at">${each.after ?? ""}</span><span class="sign">${SIGN[each.kind] ?? " "}</span><code><${Text} ...${each} /></code></div>`))}</div>`;
}
