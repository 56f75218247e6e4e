/* Sends an event, or one that came before with changes: which events there are, and what their payload takes, comes from
   the handlers of the mods that run. */

import { html, useEffect, useRef, useState } from "./vendor-preact-htm.js";
import { Button, Json, Name, Section } from "./parts.js";
import { pretty } from "./words.js";

/** Every event name that a mod hears by its name, with who hears it and what it takes. Pure. */
export function heard(mods) {
  const found = new Map();
  for (const mod of mods) for (const handler of mod.handlers) for (const name of handler.events) if (!name.includes("*")) found.set(name, { mod: mod.mod_id, ...handler });
  return found;
}

const DEFAULTS = { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} };

const referred = (schema, root) => (schema?.$ref ? schema.$ref.split("/").slice(1).reduce((part, key) => part?.[key], root) : schema);

/** A payload to begin with: what a schema requires, with its defaults. Pure. */
export function example(schema, root = schema, depth = 0) {
  const form = referred(schema, root) ?? {};
  if ("default" in form) return form.default;
  if (form.enum) return form.enum[0];
  if (form.anyOf) return example(form.anyOf[0], root, depth);
  if (form.type !== "object" || depth > 4) return DEFAULTS[form.type] ?? null;
  const wanted = form.required ?? [];
  return Object.fromEntries(wanted.map((key) => [key, example(form.properties?.[key], root, depth + 1)]));
}

const typeOf = (schema, root) => {
  const form = referred(schema, root) ?? {};
  return form.anyOf ? form.anyOf.map((each) => typeOf(each, root)).join(" or ") : form.type ?? "anything";
};

function Takes({ handler }) {
  const schema = handler.payload, wanted = new Set(schema?.required ?? []);
  if (!schema) return html`<p class="quiet small">${handler.mod} declares no payload for it: anything is taken.</p>`;
  return html`<ul class="plain small">${Object.entries(schema.properties ?? {}).map(([key, form]) => html`<li><code>${key}</code> <span class="quiet">${typeOf(form, schema)}${wanted.has(key) ? "" : ", may be left out"}${form.description ? `: ${form.description}` : ""}</span></li>`)}</ul>`;
}

/** Why a payload cannot be sent, "" where it can. */
export function problemOf(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? "" : "a payload is a JSON object: {…}";
  } catch (problem) {
    return problem.message;
  }
}

const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

export function View({ model, doings }) {
  const first = useRef(null), given = model.sending;
  const [name, setName] = useState(given.event_name ?? ""), [payload, setPayload] = useState(pretty(given.payload ?? {}));
  const [to, setTo] = useState(given.destination ?? ""), [as, setAs] = useState("");
  const names = heard(model.handlers ?? []), handler = names.get(name), problem = problemOf(payload);
  useEffect(() => first.current.focus(), []);
  const choose = (value) => {
    setName(value);
    const known = names.get(value);
    if (known?.payload && (payload === "{}" || payload === pretty(example(names.get(name)?.payload)))) setPayload(pretty(example(known.payload)));
  };
  const act = () => !problem && name && doings.sent({ event_name: name, payload: JSON.parse(payload), destination_id: to, source_id: as });
  const compact = problem ? "{…}" : JSON.stringify(JSON.parse(payload));
  const typed = `oa-dev send ${name || "EVENT_NAME"} --payload ${shellQuoted(compact)}${to ? ` --to ${to}` : ""}${as ? ` --as ${as}` : ""}`;
  return html`<form class="part send" onSubmit=${(event) => { event.preventDefault(); act(); }} onKeyDown=${(event) => event.ctrlKey && event.key === "Enter" && act()} aria-label="Send an event">
    <h2>${given.number ? `Edit #${given.number} and send it` : "Send an event"}</h2>
    <label>Event<input ref=${first} class="mono" list="heard" value=${name} onInput=${(event) => choose(event.target.value)} spellcheck="false" autocomplete="off" /></label>
    <datalist id="heard">${[...names.keys()].sort().map((each) => html`<option value=${each}></option>`)}</datalist>
    ${handler ? html`<p class="quiet small">${handler.mod}: <${Name} of=${handler.description} /></p><${Takes} handler=${handler} />`
      : name && html`<p class="quiet small">No mod hears it by this name; one with a pattern may.</p>`}
    <label>Payload<textarea class="mono" rows="9" value=${payload} onInput=${(event) => setPayload(event.target.value)} spellcheck="false"></textarea></label>
    ${problem && html`<p class="bad small">${problem}</p>`}
    <div class="two"><label>To<input class="mono" value=${to} onInput=${(event) => setTo(event.target.value)} placeholder="the network" /></label>
      <label>As<input class="mono" value=${as} onInput=${(event) => setAs(event.target.value)} placeholder="yourself" list="agents" /></label></div>
    <datalist id="agents">${(model.status?.agents ?? []).map((each) => html`<option value=${each.agent_id}></option>`)}</datalist>
    <div class="acts"><${Button} words="Send" command=${typed} kind="main" act=${act} disabled=${Boolean(problem) || !name} />
      <${Button} words="Close" command="close (Esc)" act=${() => doings.back()} /></div>
    <p class="mono small quiet typed">${typed}</p>
    ${model.answer && html`<${Section} title="Answer" aside=${html`<span class=${model.answer.success ? "good" : "bad"}>${model.answer.success ? "success" : "no success"}</span>`}>
      ${model.answer.message && html`<p><${Name} of=${model.answer.message} /></p>`}${model.answer.data !== undefined && model.answer.data !== null && html`<${Json} text=${pretty(model.answer.data)} />`}<//>`}
  </form>`;
}
