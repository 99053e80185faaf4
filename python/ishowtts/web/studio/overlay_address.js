// The address that OBS is given: the server tells it, with the token; how it looks is chosen here.

import { attempt, element } from "./page.js";
import { inWords, t } from "./words.js";

const THEMES = ["card", "light", "bubble", "bar", "neon", "plain"];
let told = null;

function address() {
  if (told === null) return "";
  const url = new URL(told.replace(/^\//, ""), document.baseURI);
  const theme = element("overlay-theme").value;
  if (theme !== THEMES[0]) url.searchParams.set("theme", theme);
  url.hash = "";
  return url.href;
}

function show() {
  element("overlay-url").value = address();
  element("overlay-open").href = address();
}

export function showOverlay(state) {
  if (state.overlay_url === told) return;
  told = state.overlay_url ?? null;
  show();
}

export function startOverlay() {
  const select = element("overlay-theme");
  select.replaceChildren(...THEMES.map((theme) => new Option(theme, theme)));
  select.addEventListener("change", show);
  const copy = element("overlay-copy");
  copy.addEventListener("click", () =>
    attempt(async () => {
      await navigator.clipboard.writeText(address());
      copy.textContent = t("chat.copied");
      setTimeout(() => (copy.textContent = t("chat.copy")), 2000);
    }),
  );
  inWords(show);
}
