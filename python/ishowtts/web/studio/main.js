// The studio at /: its views, its language, its colours, and how the server is.

import { startChat } from "./chat.js";
import { startDashboard } from "./dashboard.js";
import { described, element, problem } from "./page.js";
import { listEngines, listVoices, startSettings } from "./settings.js";
import { startSpeak } from "./speak.js";
import { startVoices } from "./voices.js";
import { takeLink } from "./token.js";
import { inWords, startWords, t } from "./words.js";

const READY_MS = 10_000;
const NOT_READY_MS = 1000;
const THEME = "ishowtts.theme";

const dark = matchMedia("(prefers-color-scheme: dark)");
let told = null;
let wasReady = false;

function showState() {
  const place = element("state");
  const broken = told?.engines?.some(({ state }) => state === "broken");
  place.dataset.state = told === null || broken ? "bad" : told.ready ? "good" : "waiting";
  place.textContent =
    told === null
      ? t("state.unreachable")
      : broken
        ? t("state.broken")
        : told.ready
          ? t("state.ready", { engines: told.engines.map(({ name }) => name).join(", ") })
          : t("state.loading");
}

async function watchState() {
  const response = await fetch("readyz", { cache: "no-store" }).catch(() => null);
  told = (await response?.json().catch(() => null)) ?? null;
  showState();
  // Engines' parameters are known once they are loaded.
  if (told?.ready && !wasReady) await lists();
  wasReady = told?.ready === true;
  setTimeout(watchState, wasReady ? READY_MS : NOT_READY_MS);
}

async function lists() {
  try {
    await Promise.all([listVoices(), listEngines()]);
  } catch (error) {
    problem(described(error));
  }
}

function startColours() {
  let asked = localStorage.getItem(THEME);
  const paint = () => {
    const theme = asked ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    element("theme").textContent = theme === "dark" ? "☀" : "☾";
    dispatchEvent(new Event("colours"));
  };
  dark.addEventListener("change", paint);
  element("theme").addEventListener("click", () => {
    asked = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem(THEME, asked);
    paint();
  });
  paint();
}

function startViews(views) {
  const show = () => {
    takeLink();
    const named = location.hash.slice(1);
    const name = Object.hasOwn(views, named) ? named : "speak";
    for (const link of document.querySelectorAll(".top nav a")) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    for (const [other, view] of Object.entries(views)) {
      element(`${other}-view`).hidden = other !== name;
      view.show?.(other === name);
    }
    if (name === "speak") element("text").focus();
  };
  addEventListener("hashchange", show);
  show();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // An anchor would choose a view.
  event.preventDefault();
  element("main").focus();
});
startColours();
await startWords(element("language"));
startSettings();
const views = { speak: startSpeak(), voices: startVoices(), chat: startChat(), dashboard: startDashboard() };
startViews(views);
inWords(showState);
lists();
watchState();
