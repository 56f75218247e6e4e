/* All keys, printed from their table, each with its command. */

import { html, useEffect, useRef } from "./vendor-preact-htm.js";
import { KEYS, shownKey } from "./keys.js";
import { Button } from "./parts.js";

const Row = ({ shown, words, command }) => html`<tr><th scope="row"><kbd>${shown}</kbd></th><td>${words}</td><td class="mono quiet">${command}</td></tr>`;

export function View({ views, doings }) {
  const box = useRef(null);
  useEffect(() => box.current.showModal(), []);
  return html`<dialog class="help" ref=${box} aria-labelledby="help-title" onClose=${() => doings.help(false)}>
    <h2 id="help-title">Keys</h2><p class="quiet small">In a text field only Esc and Ctrl-Enter work.</p>
    <table><tbody>${views.map(({ words }, place) => html`<${Row} shown=${place + 1} words=${words} command="" />`)}
      ${KEYS.map((each) => html`<${Row} shown=${shownKey(each)} words=${each.words} command=${each.command && `oa-dev ${each.command}`} />`)}</tbody></table>
    <div class="acts end"><${Button} words="Close" command="close (Esc)" act=${() => doings.help(false)} /></div></dialog>`;
}
