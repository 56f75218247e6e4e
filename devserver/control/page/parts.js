/* Small parts that many views draw: a button with its command, a key, JSON in colours, a view that is empty. */

import { html } from "./vendor-preact-htm.js";
import { commandOf, keyOf } from "./keys.js";

/** A button that does what a command does; its title is that command. */
export function Button({ act, command, does, words, kind = "", about = "", disabled = false }) {
  const typed = command ?? `oa-dev ${about ? `${commandOf(does).replace(/ [A-Z].*/, "")} ${about}` : commandOf(does)}`;
  return html`<button type="button" class=${kind} title=${typed} onClick=${act} disabled=${disabled}
    >${words}${does && html` <kbd aria-hidden="true">${keyOf(does)}</kbd>`}</button>`;
}

/** What a view says where it has nothing to show: why, and what to do. */
export const Empty = ({ why, what }) => html`<div class="empty"><p>${why}</p>${what && html`<p class="mono quiet">${what}</p>`}</div>`;

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function* pieces(text) {
  let from = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > from) yield ["", text.slice(from, found.index)];
    if (found[1] !== undefined) {
      yield [found[2] ? "key" : "string", found[1]];
      if (found[2]) yield ["", found[2]];
    } else {
      yield [found[3] ? "word" : "number", found[0]];
    }
    from = found.index + found[0].length;
  }
  if (from < text.length) yield ["", text.slice(from)];
}

/** JSON in colours: text in elements, never markup. */
export function Json({ text, most = 20_000 }) {
  const shown = text.length > most ? text.slice(0, most) : text;
  const rest = text.length - shown.length;
  return html`<pre class="json" tabindex="0">${[...pieces(shown)].map(([kind, words]) => (kind ? html`<span class=${kind}>${words}</span>` : words))}${
    rest > 0 ? `\n… ${rest} more characters` : ""}</pre>`;
}

/** A part of the right column, with its heading and what stands at the end of that line. */
export const Section = ({ title, aside, children }) => html`<section class="part">
  <h3>${title}${aside && html`<span class="aside">${aside}</span>`}</h3>${children}</section>`;

/** Names that came from others, kept from turning the text around them. */
export const Name = ({ of }) => html`<bdi>${of}</bdi>`;

/** The class of the hue of a mod: five of them, told apart by place and name too. */
export const hue = (mods, mod) => `hue${Math.max(0, mods.findIndex((each) => each.mod_id === mod)) % 5}`;
