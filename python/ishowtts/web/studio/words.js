// What stands on the page, in the language that was chosen.

import { chooseLanguage, chosenLanguage, dictionary, LANGUAGES } from "../shared/words.js";

let words = {};
const followers = new Set();

/** The words of a key, with {names} replaced. */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
}

/** A rule of docs/chat-rules.md: as the settings call it, and in words. */
export function ruleName(rule) {
  const named = words[`rule.${rule}`];
  return named === undefined || named === rule ? rule : `${rule} (${named})`;
}

/** Called now and whenever the language changes. */
export function inWords(show) {
  followers.add(show);
  show();
}

function translate() {
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.ariaLabel = t(element.dataset.tLabel);
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
  for (const show of followers) show();
}

async function use(language) {
  words = await dictionary(language);
  document.documentElement.lang = language;
  translate();
}

export async function startWords(select) {
  const language = chosenLanguage();
  select.replaceChildren(...Object.entries(LANGUAGES).map(([tag, name]) => new Option(name, tag)));
  for (const option of select.options) option.lang = option.value;
  select.value = language;
  select.addEventListener("change", () => {
    chooseLanguage(select.value);
    use(select.value);
  });
  await use(language);
}
