// The page at /: type, hear it while it is made, see what is spoken, keep it.

import { Reading } from "./reading.js";
import { Player, Refused, samplesOf, speak, wavOf } from "./speech.js";

const element = (id) => document.getElementById(id);
const form = element("form");
const player = new Player();
let abort = null;

async function listVoices() {
  const response = await fetch("v1/audio/voices");
  if (!response.ok) throw new Error(`status ${response.status}`);
  const { voices } = await response.json();
  element("voice").replaceChildren(
    ...voices
      .filter((voice) => !voice.alias_of)
      .map((voice) => {
        const name = voice.description ? `${voice.name}: ${voice.description}` : voice.name;
        return new Option(name, voice.id, voice.is_default, voice.is_default);
      }),
  );
}

async function showState() {
  const response = await fetch("readyz").catch(() => null);
  const told = await response?.json().catch(() => null);
  const engines = told?.engines ?? [];
  element("state").textContent = response?.ok
    ? `Ready: ${engines.map((engine) => engine.name).join(", ")}`
    : response
      ? "The engine is still loading …"
      : "The server cannot be reached.";
  if (!response?.ok) setTimeout(showState, 1000);
}

function problem(message) {
  const place = element("problem");
  place.textContent = message;
  place.hidden = message === "";
}

function inWords(error) {
  if (error instanceof Refused) return error.retryable ? `${error.message} Try again in a moment.` : error.message;
  if (error instanceof TypeError) return "The server cannot be reached. Is it still running?";
  return `Something went wrong in this page: ${error.message}`;
}

function busy(yes) {
  element("stop").disabled = !yes;
  form.setAttribute("aria-busy", String(yes));
}

function forget() {
  const link = element("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
  link.hidden = true;
  element("figures").textContent = "";
}

/** Marks what sounds until it has all been heard. */
function follow(reading, speech) {
  const step = () => {
    if (abort !== speech.abort) return;
    const ms = player.heardMs;
    reading.mark(ms);
    element("progress").value = speech.ms > 0 ? ms / speech.ms : 0;
    if (speech.ended && !player.playing) {
      reading.end();
      element("progress").value = 1;
      busy(false);
      return;
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

async function say() {
  abort?.abort();
  const speech = { abort: new AbortController(), pieces: [], rate: 0, ms: 0, ended: false };
  abort = speech.abort;
  problem("");
  forget();
  const text = element("text").value;
  const reading = new Reading(element("reading"), text);
  element("said").hidden = false;
  element("progress").value = 0;
  busy(true);
  const asked = performance.now();
  try {
    await player.open();
    follow(reading, speech);
    const fields = { text, voice: element("voice").value || null, speed: Number(element("speed").value) };
    for await (const event of speak(fields, speech.abort.signal)) {
      if (event.type === "start") speech.rate = event.sample_rate_hz;
      if (event.type === "caption") reading.add(event);
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
    reading.end();
    busy(false);
    problem(inWords(error));
  }
}

function keep(speech) {
  const link = element("download");
  link.href = URL.createObjectURL(wavOf(speech.pieces, speech.rate));
  link.download = "speech.wav";
  link.hidden = false;
  const seconds = (speech.ms / 1000).toFixed(1);
  element("figures").textContent = `${seconds} s of speech, first sound after ${Math.round(speech.firstMs)} ms`;
}

function stop() {
  abort?.abort();
  abort = null;
  player.stop();
  busy(false);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
element("stop").addEventListener("click", () => {
  stop();
  element("speak").focus();
});
element("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !element("stop").disabled) stop();
});
element("speed").addEventListener("input", (event) => {
  element("speed-shown").textContent = `${Number(event.target.value).toFixed(1)}×`;
});

showState();
listVoices().catch((error) => problem(`The voices cannot be listed (${error.message}).`));
