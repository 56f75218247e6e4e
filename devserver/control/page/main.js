/* Puts the page together: lets the tab in, follows the feed, draws what is known, listens to keys. */

import { html, render, useMemo } from "./vendor-preact-htm.js";
import { admit, HOW_TO_OPEN } from "./admit.js";
import { Alarm } from "./alarm.js";
import { drawWith, now, set } from "./app.js";
import { ask, Declined, follow, Refused, useToken } from "./ask.js";
import { choose, doings } from "./doings.js";
import { keyOf, listOf } from "./events.js";
import { listen } from "./keys.js";
import { look, lookSoon } from "./looking.js";
import { Part, wide } from "./part.js";
import { Button } from "./parts.js";
import { Rail } from "./rail.js";
import { fed } from "./store.js";
import { titleOf, Top } from "./top.js";
import { PARTS, viewsOf } from "./views.js";

const MOST_ROWS = 100;
const MOST_AFTER_SLEEP = 500;
const SETTLE_MS = 6000;

function asideOf(model) {
  if (model.sending) return html`<${Part} part=${PARTS.send} key=${model.sending.number} model=${model} doings=${doings} />`;
  if (model.replayed) return html`<${Part} part=${PARTS.replayed} replayed=${model.replayed} doings=${doings} />`;
  if (model.trace) return html`<section class="part"><h2>Full trace</h2><pre class="trace" tabindex="0">${model.trace}</pre></section>`;
  const views = viewsOf(model), view = views.find((each) => each.name === model.view) ?? views[0];
  if (view.name !== "events") return (wide.matches && view.aside?.(model, doings)) || null;
  const item = listOf(model).find((each) => keyOf(each) === model.selected) ?? (model.detail?.number === model.selected ? model.detail.row : null);
  return item ? html`<${Part} part=${PARTS.detail} model=${model} item=${item} doings=${doings} />` : null;
}

const Tab = ({ view, model }) => html`<button type="button" role="tab" id=${`tab-${view.name}`} class=${view.isLong ? "wide-only" : ""} aria-selected=${model.view === view.name && !model.sheet} aria-controls="view" title=${`view ${view.words}`} onClick=${() => doings.view(view.name)}
  >${view.words}${view.count?.(model) ? html` <span class="chip">${view.count(model)}</span>` : ""}${view.mark?.(model) ? html` <span class="chip warn">${view.mark(model)}</span>` : ""}</button>`;

const NarrowTab = ({ name, words, model }) => html`<button type="button" role="tab" class="narrow-only" id=${`tab-${name}`} aria-selected=${model.sheet === name} aria-controls=${name} title=${`view ${words}`} onClick=${() => doings.sheet(name)}>${words}</button>`;

/** What a narrow page has no tab and no line for. */
function More({ model }) {
  return html`<div class="more narrow-only" id="more" role="tabpanel" aria-labelledby="tab-more">
    ${viewsOf(model).filter(({ isLong }) => isLong).map(({ name, words }) => html`<${Button} words=${name === "mods" ? "Mods that can be had" : words} command=${`view ${words}`} act=${() => doings.view(name)} />`)}
    <${Button} words=${model.status?.paused ? "Resume saves" : "Pause saves"} does="pause" act=${() => doings.pause()} />
    <${Button} words="Reload all" does="reload" act=${() => doings.reload()} /><${Button} words="Undo" does="undo" act=${() => doings.undo()} /></div>`;
}

function Page({ model }) {
  const views = viewsOf(model), view = views.find((each) => each.name === model.view) ?? views[0], aside = asideOf(model);
  // What it shows moves once a second, events four times.
  const { status, seconds, sort, query, hosts, agents: { dropped } } = model, second = Math.floor(Date.now() / 1000);
  const rail = useMemo(() => html`<${Rail} model=${{ ...model, views: views.length }} doings=${doings} />`, [status, seconds, sort, query, hosts, dropped, second]);
  return html`<a class="skip" href="#view">Skip to the view</a>
    <${Top} model=${model} doings=${doings} /><${Alarm} model=${model} doings=${doings} />
    <div class="body ${model.link === "live" ? "" : "old"} ${aside ? "has-aside" : ""} ${model.sheet ? `${model.sheet}-view` : ""}">
      ${rail}
      <main><div class="tabs" role="tablist" aria-label="Views">${views.map((each) => html`<${Tab} view=${each} model=${model} />`)}
        <${NarrowTab} name="rail" words="Mods" model=${model} /><${NarrowTab} name="more" words="More" model=${model} /></div>
        <div class="view" id="view" role="tabpanel" aria-labelledby=${`tab-${view.name}`} tabindex="-1"><${Part} key=${view.name} part=${view} model=${model} doings=${doings} /></div></main>
      ${model.sheet === "more" && html`<${More} model=${model} />`}
      ${aside && html`<aside class="aside-column" aria-label="What is chosen"><button type="button" class="back" title="back (Esc)" onClick=${doings.back}>← back</button>${aside}</aside>`}
    </div>${model.help && html`<${Part} part=${PARTS.help} views=${views} doings=${doings} />`}`;
}

// Following

const from = () => {
  const { columns, next, fact, log, second } = now();
  return { after: columns ? next : null, facts: fact, logs: log, second, most: MOST_ROWS };
};

/** What an answer of the feed has no room for, at the beginning and after a sleep. */
async function caughtUp(answer) {
  if (answer.skipped === 0) return answer;
  const { rows } = await ask("search", { q: "", most: MOST_AFTER_SLEEP });
  const here = new Set(answer.rows.map(([number]) => number)), news = rows.slice(0, answer.skipped + here.size).filter(([number]) => !here.has(number));
  return { ...answer, rows: [...news.reverse(), ...answer.rows], skipped: answer.skipped - news.length };
}

let settling = 0;

async function hear(given, woke) {
  const before = now(), answer = woke || !before.columns ? await caughtUp(given) : given;
  set({ ...fed(before, answer, woke, Date.now()), problem: "" });
  const news = answer.mods !== before.revision || answer.facts.length > 0 || answer.agents.n !== before.agents.n;
  set({ revision: answer.mods });
  if (news) await look();
  if (answer.facts.some((fact) => fact.type === "contract") && now().changed) choose({ number: now().changed });
  if (!before.columns || answer.facts.some((fact) => fact.type === "replayed")) await doings.pins();
  else if (answer.rows.length) lookSoon();
  if (now().view === "changes" && !now().changed && now().changes.length) choose(now().changes[0]);
  // What is told of the last seconds goes on when nothing comes any more.
  clearTimeout(settling);
  settling = setTimeout(() => document.hidden || set({}), SETTLE_MS);
}

async function fail(problem) {
  if (problem instanceof Refused) {
    useToken(null);
    set({ link: "refused", problem: `This key is of an earlier run of the server. ${HOW_TO_OPEN}` });
    return false;
  }
  if (problem instanceof Declined) set({ told: { kind: "bad", text: problem.message } });
  else if (now().link !== "gone") set({ link: "gone", since: Date.now() });
  return true;
}

async function begin() {
  const problem = await admit();
  if (problem) return set({ link: "refused", problem });
  set({ link: now().next ? now().link : "asking", problem: "" });
  return follow(from, hear, fail);
}

const theme = sessionStorage.getItem("oa-dev theme") ?? "";
document.documentElement.dataset.theme = theme;
set({ theme, sort: sessionStorage.getItem("oa-dev sort") ?? "", changes: [], selected: null, query: "", found: null, still: null, detail: null, sheet: "" });
drawWith((model) => {
  render(html`<${Page} model=${model} />`, document.getElementById("page"));
  const title = titleOf(model);
  if (document.title !== title) document.title = title;
});
listen(doings, () => viewsOf(now()));
addEventListener("hashchange", () => { if (/^#[kt]=/.test(location.hash)) location.reload(); });
begin();
