// Controls for the parameters of an engine, made of its JSON Schema.

import { make } from "./page.js";
import { t } from "./words.js";

/** nfe_steps → Nfe steps. Names are the engines' own: they are looked up in documentation. */
const titled = (name, schema) => schema.title ?? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** The one simple schema of a property that may be several things: the numeric one, a choice, what is first. */
function simple(schema) {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices === undefined) return schema;
  const best = choices.find(isNumber) ?? choices.find(({ type }) => type !== "null") ?? choices[0];
  return { ...schema, ...best };
}

const typesOf = ({ type }) => (Array.isArray(type) ? type : [type]);
const isNumber = (schema) => typesOf(schema).some((type) => type === "integer" || type === "number");
const isWhole = (schema) => typesOf(schema).includes("integer") && !typesOf(schema).includes("number");
const isRange = (schema) => isNumber(schema) && schema.minimum !== undefined && schema.maximum !== undefined;

function stepOf(schema) {
  if (schema.multipleOf !== undefined) return schema.multipleOf;
  if (isWhole(schema)) return 1;
  const span = (schema.maximum ?? 1) - (schema.minimum ?? 0);
  return 10 ** Math.floor(Math.log10(span / 50));
}

function control(name, schema, changed) {
  const id = `param-${name}`;
  const start = schema.default;
  const label = make("label", { htmlFor: id, title: schema.description ?? "" }, titled(name, schema));
  const field = make("div", { className: "field" }, label);
  if (typesOf(schema).includes("boolean") && start !== undefined) {
    const box = make("input", { id, type: "checkbox", checked: start, onchange: () => changed(box.checked) });
    label.prepend(box);
    field.classList.add("check-field");
  } else if (schema.enum !== undefined || typesOf(schema).includes("boolean")) {
    const named = { true: t("params.yes"), false: t("params.no") };
    // Of a schema without a default only the engine knows what it does unasked.
    const values = [...(start === undefined ? [undefined] : []), ...(schema.enum ?? [true, false])];
    const select = make("select", { id, onchange: () => changed(values[select.selectedIndex]) });
    select.append(...values.map((value) => new Option(value === undefined ? t("params.unset") : (named[value] ?? String(value)))));
    select.selectedIndex = values.indexOf(start);
    field.append(select);
  } else if (isRange(schema)) {
    const shown = make("output", {}, start === undefined || start === null ? "–" : String(start));
    shown.htmlFor.add(id);
    const { minimum: min, maximum: max } = schema;
    const slider = make("input", { id, type: "range" });
    Object.assign(slider, { min, max, step: stepOf(schema), value: typeof start === "number" ? start : (min + max) / 2 });
    slider.addEventListener("input", () => {
      shown.textContent = slider.value;
      changed(slider.valueAsNumber);
    });
    label.append(shown);
    field.append(slider);
  } else if (isNumber(schema)) {
    const input = make("input", { id, type: "number", value: start ?? "", step: isWhole(schema) ? 1 : "any" });
    if (schema.minimum !== undefined) input.min = schema.minimum;
    if (schema.maximum !== undefined) input.max = schema.maximum;
    input.addEventListener("input", () => changed(input.value === "" ? undefined : input.valueAsNumber));
    field.append(input);
  } else if (typesOf(schema).includes("array") || typesOf(schema).includes("object")) {
    return null;
  } else {
    const input = make("input", { id, type: "text", value: start ?? "", maxLength: schema.maxLength ?? 10_000 });
    input.addEventListener("input", () => changed(input.value === "" ? undefined : input.value));
    field.append(input);
  }
  if (schema.description) field.append(make("p", { className: "quiet" }, schema.description));
  return field;
}

/** Fills `place`; returns a function that gives the parameters that were changed. */
export function paramsOf(schema, place) {
  const values = {};
  const fields = Object.entries(schema?.properties ?? {}).map(([name, property]) => {
    const changed = (value) => {
      if (value === undefined || value === property.default) delete values[name];
      else values[name] = value;
    };
    return control(name, simple(property), changed);
  });
  place.replaceChildren(...fields.filter((field) => field !== null));
  return () => ({ ...values });
}
