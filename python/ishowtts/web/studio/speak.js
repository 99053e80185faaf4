// Type, hear it while it is made, see what is spoken, keep it.

import { Reading } from "../shared/reading.js";
import { samplesOf, wavOf } from "../shared/sound.js";
import { Player, speak } from "../shared/speech.js";
import { drawSpectrogram, drawWaveform } from "./draw.js";
import { startHistory } from "./history.js";
import { described, element, problem } from "./page.js";
import { fields, restore } from "./settings.js";
import { inWords, t } from "./words.js";

/** While it comes the picture grows: often enough to look alive. */
const DRAW_MS = 150;

const form = element("form");
const player = new Player();
let abort = null;
let last = null;
let history;

function busy(yes) {
  element("stop").disabled = !yes;
  form.setAttribute("aria-busy", String(yes));
  element("said").dataset.playing = String(yes);
}

function joined(pieces) {
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function draw(speech) {
  if (element("waveform").clientWidth === 0) return;
  const samples = joined(speech.pieces);
  drawWaveform(element("waveform"), samples);
  drawSpectrogram(element("spectrogram"), samples, speech.rate);
}

function forget() {
  const link = element("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
  link.hidden = true;
  element("replay").hidden = true;
  element("figures").textContent = "";
}

/** Marks what sounds until it has all been heard. */
function follow(speech) {
  const step = () => {
    if (abort !== speech.abort) return;
    const ms = player.heardMs;
    speech.reading.mark(ms);
    const share = speech.ms > 0 ? Math.min(ms / speech.ms, 1) : 0;
    element("progress").value = share;
    element("cursor").style.left = `${100 * share}%`;
    if (speech.pieces.length !== speech.drawn && (speech.ended || performance.now() - speech.drawnAt > DRAW_MS)) {
      speech.drawn = speech.pieces.length;
      speech.drawnAt = performance.now();
      draw(speech);
    }
    if (speech.ended && !player.playing) {
      speech.reading.end();
      element("progress").value = 1;
      busy(false);
      return;
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function begun(text) {
  abort?.abort();
  const speech = { abort: new AbortController(), text, pieces: [], rate: 0, ms: 0, ended: false, drawn: 0, drawnAt: 0 };
  abort = speech.abort;
  problem("");
  speech.reading = new Reading(element("reading"), text);
  element("said").hidden = false;
  element("progress").value = 0;
  busy(true);
  return speech;
}

async function say() {
  const text = element("text").value;
  const speech = begun(text);
  forget();
  const asked = performance.now();
  try {
    await player.open();
    follow(speech);
    speech.asked = fields();
    for await (const event of speak({ text, ...speech.asked }, speech.abort.signal)) {
      if (event.type === "start") Object.assign(speech, { rate: event.sample_rate_hz, told: event });
      if (event.type === "caption") {
        speech.reading.add(event);
        (speech.captions ??= []).push(event);
      }
      if (event.type === "audio") {
        const samples = samplesOf(event.audio);
        if (speech.pieces.length === 0) speech.firstMs = performance.now() - asked;
        speech.pieces.push(samples);
        speech.ms += (samples.length * 1000) / speech.rate;
        player.add(samples, speech.rate);
      }
    }
    keep(speech);
    speech.ended = true;
  } catch (error) {
    if (abort !== speech.abort || speech.abort.signal.aborted) return;
    abort = null;
    player.stop();
    speech.reading.end();
    busy(false);
    problem(described(error));
  }
}

function keep(speech) {
  last = speech;
  const wav = wavOf(speech.pieces, speech.rate);
  const link = element("download");
  link.href = URL.createObjectURL(wav);
  link.download = "speech.wav";
  link.hidden = false;
  element("replay").hidden = false;
  figures();
  const { told, asked, text } = speech;
  history.keep({ text, wav, at: Date.now(), seconds: speech.ms / 1000, voice: told.voice, engine: told.engine, asked }).catch(
    (error) => console.warn(`The history cannot be written: ${error.message}`),
  );
}

function figures() {
  if (last === null || element("download").hidden) return;
  const { ms, firstMs } = last;
  element("figures").textContent = t("speak.figures", { seconds: (ms / 1000).toFixed(1), ms: Math.round(firstMs) });
}

async function replay() {
  const { captions = [], ...was } = last;
  const speech = Object.assign(begun(was.text), { pieces: was.pieces, rate: was.rate, ms: was.ms, ended: true });
  for (const caption of captions) speech.reading.add(caption);
  await player.open();
  for (const piece of speech.pieces) player.add(piece, speech.rate);
  follow(speech);
}

function stop() {
  abort?.abort();
  abort = null;
  player.stop();
  busy(false);
}

export function startSpeak() {
  history = startHistory((entry) => {
    element("text").value = entry.text;
    restore(entry);
    count();
    element("text").focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say();
  });
  element("stop").addEventListener("click", () => {
    stop();
    element("speak").focus();
  });
  element("replay").addEventListener("click", replay);
  element("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element("stop").disabled) stop();
  });
  const graphemes = new Intl.Segmenter();
  const count = () => {
    const length = [...graphemes.segment(element("text").value)].length;
    element("count").textContent = t("speak.count", { count: length.toLocaleString() });
  };
  element("text").addEventListener("input", count);
  inWords(() => {
    count();
    figures();
  });
  // What is not seen has no size to be drawn in.
  const redraw = () => last !== null && draw(last);
  addEventListener("colours", redraw);
  addEventListener("resize", redraw);
  return {
    show(yes) {
      if (!yes) return;
      redraw();
      history.show();
    },
  };
}
