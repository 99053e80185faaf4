// The list of what was spoken before: to hear, keep, and use again.

import { samplesOfWav } from "../shared/sound.js";
import { drawWaveform } from "./draw.js";
import { attempt, button, element, make, twice } from "./page.js";
import { History } from "./store.js";
import { inWords, t } from "./words.js";

const history = new History();
let playing = null;

function silence() {
  playing?.audio.pause();
  if (playing !== null) {
    URL.revokeObjectURL(playing.audio.src);
    playing.place.textContent = t("history.play");
  }
  playing = null;
}

function toggle(entry, place) {
  const same = playing?.id === entry.id;
  silence();
  if (same) return;
  const audio = new Audio(URL.createObjectURL(entry.wav));
  audio.onended = silence;
  playing = { id: entry.id, audio, place };
  place.textContent = t("history.stop");
  audio.play();
}

/** A link that is made when it is wanted: the sound is not held for it. */
function download(entry) {
  const url = URL.createObjectURL(entry.wav);
  make("a", { href: url, download: `speech-${entry.id}.wav` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function row(entry, use) {
  const canvas = make("canvas", { ariaHidden: "true" });
  const when = new Date(entry.at).toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
  const about = [entry.voice, entry.engine, `${entry.seconds.toFixed(1)} s`, when].filter(Boolean).join(" · ");
  const play = button(t("history.play"), () => toggle(entry, play));
  const remove = async () => {
    if (playing?.id === entry.id) silence();
    await history.remove(entry.id);
    await show(use);
    element("history-title").scrollIntoView({ block: "nearest" });
  };
  const named = (key) => ({ ariaLabel: `${t(key)}: ${entry.text.slice(0, 60)}`, title: t(key) });
  const actions = make("div", { className: "actions" }, play,
    button("↺", () => use(entry), named("history.use")),
    button("⤓", () => download(entry), named("history.download")),
    button("✕", () => attempt(remove), named("history.remove")));
  const text = make("span", { className: "line", dir: "auto" }, entry.text);
  const line = make("li", {}, canvas, make("div", { className: "grow" }, text, make("span", { className: "quiet" }, about)), actions);
  samplesOfWav(entry.wav).then(({ samples }) => drawWaveform(canvas, samples));
  return line;
}

async function show(use) {
  const entries = await history.all();
  element("history").replaceChildren(...entries.map((entry) => row(entry, use)));
  element("history-none").hidden = entries.length > 0;
  element("history-clear").hidden = entries.length === 0;
}

/** `use` is given the entry whose text and settings are wanted again. */
export function startHistory(use) {
  inWords(() => attempt(() => show(use)));
  element("history-clear").addEventListener("click", (event) => {
    const clear = async () => {
      silence();
      await history.clear();
      await show(use);
    };
    twice(event.target, t("history.clear"), () => attempt(clear));
  });
  addEventListener("colours", () => attempt(() => show(use)));
  return {
    async keep(entry) {
      await history.add(entry);
      await show(use);
    },
    show: () => attempt(() => show(use)),
  };
}
