/* The view Plan: what is on disk against what runs, with reasons. */

import { html } from "./vendor-preact-htm.js";
import { Button, Empty, Name } from "./parts.js";
import { joined, placed, raised } from "./words.js";

const Step = ({ step, kind }) => html`<li class=${kind}><b>${step.action}</b> <${Name} of=${step.mod_id} /> <span class="quiet"><${Name} of=${joined([step.reason, step.way === "restart" && "by a restart in place"])} /></span></li>`;

function One({ plan }) {
  return html`<section class="card"><h3><${Name} of=${plan.cause} /></h3><ul class="plain">
    ${plan.steps.map((step) => html`<${Step} step=${step} kind="" />`)}
    ${plan.holds.map((hold) => html`<${Step} step=${{ ...hold, action: `${hold.action} waits` }} kind="warn" />`)}
    ${plan.not_applied.map((each) => html`<li class="warn"><b class="mono">${each.setting}</b> runs with ${String(each.running)}, network.yaml says ${String(each.wanted)}</li>`)}
    ${plan.restart && html`<li class="warn">a restart in place: <${Name} of=${joined([...plan.restart.reasons, plan.restart.waits])} /></li>`}</ul></section>`;
}

const isEmpty = (plan) => !plan.steps.length && !plan.holds.length && !plan.not_applied.length && !plan.restart;

export function View({ model, doings }) {
  const found = model.plan;
  if (!found) return html`<${Empty} why="Asking what applying everything on disk would lead to …" />`;
  const plans = found.plans.filter((plan) => !isEmpty(plan)), waiting = model.status?.waiting ?? [];
  return html`<div class="pad scroll" tabindex="0" role="region" aria-label="Plan">
    <div class="acts">${waiting.length > 0 && html`<${Button} words=${`Apply ${waiting.join(", ")}`} does="apply" kind="main" act=${() => doings.apply()} />`}
      <${Button} words="Ask again" command="oa-dev plan" act=${() => doings.plan()} /></div>
    ${found.problems.map((error) => html`<section class="card bad"><h3>network.yaml cannot be used</h3><p><${Name} of=${raised(error)} /></p><p class="mono small">${placed(error)}</p></section>`)}
    ${plans.map((plan) => html`<${One} plan=${plan} />`)}
    ${!plans.length && !found.problems.length && html`<${Empty} why="What is on disk is what runs: there is nothing to do." what="oa-dev plan" />`}</div>`;
}
