// Small things that all views need: elements, what went wrong, questions that are asked twice.

import { Refused } from "../shared/api.js";
import { t } from "./words.js";

export const element = (id) => document.getElementById(id);

/** A new element; children that are strings become text, never markup. */
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function button(label, onclick, properties = {}) {
  return make("button", { type: "button", className: "small", onclick, ...properties }, label);
}

export function problem(message) {
  const place = element("problem");
  place.textContent = message;
  place.hidden = message === "";
}

export function described(error) {
  if (error instanceof Refused) return error.retryable ? t("problem.retry", { message: error.message }) : error.message;
  if (error instanceof TypeError) return t("problem.unreachable");
  return t("problem.page", { message: error.message });
}

/** Runs what a click asked for; what goes wrong is told. */
export async function attempt(work) {
  problem("");
  try {
    return await work();
  } catch (error) {
    problem(described(error));
    return undefined;
  }
}

/** What cannot be undone happens on the second click. */
export function twice(place, question, work) {
  const label = place.textContent;
  const calm = () => {
    place.classList.remove("sure");
    place.textContent = label;
  };
  if (place.classList.contains("sure")) {
    calm();
    work();
    return;
  }
  place.classList.add("sure");
  place.textContent = question;
  setTimeout(calm, 4000);
}

/** Replaces the children of a list only where something changed, so that nothing that has the focus goes away. */
export function refill(list, entries, keyOf, makeOne) {
  const key = JSON.stringify(entries.map(keyOf));
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...entries.map(makeOne));
}

/** A canvas as sharp as its screen: its context and its size in CSS pixels. */
export function sharp(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
