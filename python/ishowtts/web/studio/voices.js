// The voices there are, and one's own: a file or a recording becomes a voice.

import { ask, getJson, Refused } from "../shared/api.js";
import { attempt, button, described, element, make, problem, refill, twice } from "./page.js";
import { Recorder } from "./recorder.js";
import { chooseVoice, listEngines, listVoices } from "./settings.js";
import { inWords, t } from "./words.js";

let recorded = null;
let listening = null;
let sent = null;

/** With all that is known of them; older servers tell less. */
async function all() {
  try {
    return (await getJson("v1/voices")).voices;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return listVoices();
    throw error;
  }
}

async function listen(voice) {
  listening?.pause();
  const response = await ask(`v1/voices/${encodeURIComponent(voice.id)}/preview`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  });
  listening = new Audio(URL.createObjectURL(await response.blob()));
  listening.onended = () => URL.revokeObjectURL(listening.src);
  await listening.play();
}

function card(voice) {
  const named = (label) => ({ ariaLabel: `${label}: ${voice.name}` });
  const badges = [voice.is_default && "voices.default", voice.cloned && "speak.cloned", voice.origin === "user" && "voices.yours"];
  const use = () => {
    chooseVoice(voice.id);
    location.hash = "#speak";
  };
  const remove = async () => {
    await ask(`v1/voices/${encodeURIComponent(voice.id)}`, { method: "DELETE" });
    await show();
  };
  const actions = [
    button(t("voices.use"), use, named(t("voices.use"))),
    button(t("voices.listen"), () => attempt(() => listen(voice)), named(t("voices.listen"))),
  ];
  if (voice.origin === "user") {
    const ask = (event) => twice(event.target, t("voices.remove_sure"), () => attempt(remove));
    actions.push(button(t("voices.remove"), ask, { ...named(t("voices.remove")), className: "small danger" }));
  }
  return make("li", { id: `voice-${voice.id}` },
    make("strong", {}, voice.name),
    ...badges.filter(Boolean).map((key) => make("span", { className: "badge accent" }, t(key))),
    make("span", { className: "quiet grow" }, [voice.description, voice.languages.join(", ") || t("voices.any_language"), voice.licence].filter(Boolean).join(" · ")),
    make("span", { className: "actions" }, ...actions));
}

async function show() {
  const [voices, engines] = await Promise.all([all(), listEngines(), listVoices()]);
  refill(element("voices"), voices, (voice) => [voice, document.documentElement.lang], card);
  element("voice-cannot").hidden = engines.some(({ clones_voices: clones }) => clones);
  const tags = new Set(engines.flatMap(({ languages }) => languages ?? []));
  element("voice-languages").replaceChildren(...[...tags].sort().map((tag) => new Option(tag, tag)));
}

function heard(wav) {
  recorded = wav;
  const preview = element("voice-preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.hidden = wav === null;
  if (wav === null) preview.removeAttribute("src");
  else preview.src = URL.createObjectURL(wav);
}

function showRecording(running) {
  element("record").setAttribute("aria-pressed", String(running));
  element("record").textContent = t(running ? "voices.record_stop" : "voices.record");
  if (!running) element("record-level").firstElementChild.style.transform = "scaleX(0)";
}

const recorder = new Recorder({
  level(level, ms) {
    element("record-level").firstElementChild.style.transform = `scaleX(${Math.min(level, 1)})`;
    element("record-time").textContent = `${(ms / 1000).toFixed(1)} s`;
  },
  ended(wav) {
    showRecording(false);
    element("voice-file").value = "";
    heard(wav);
  },
  failed(error) {
    showRecording(false);
    problem(t("problem.microphone", { message: error.message }));
  },
});

async function record() {
  problem("");
  if (recorder.running) {
    recorder.stop();
    return;
  }
  try {
    await recorder.start();
    showRecording(true);
  } catch (error) {
    problem(t("problem.microphone", { message: error.message }));
  }
}

/** Of letters that ids may have: “Giọng của tôi” is giong-cua-toi. 小明 has none of them. Never a shipped voice's. */
async function idOf(name) {
  const latin = name.normalize("NFD").replace(/\p{M}/gu, "").replace(/[đĐ]/g, "d").toLowerCase();
  const id = latin.replace(/[^a-z0-9_]+/g, "-").replace(/^[-_]+/, "").slice(0, 64).replace(/-+$/, "");
  const shipped = new Set((await all()).filter(({ origin }) => origin !== "user").map((voice) => voice.id));
  if (id === "") return `voice-${Date.now().toString(36)}`;
  for (let count = 1; ; count++) {
    const free = count === 1 ? id : `${id.slice(0, 60)}-${count}`;
    if (!shipped.has(free)) return free;
  }
}

async function send() {
  const told = element("voice-told");
  const file = element("voice-file").files[0] ?? recorded;
  if (!file) {
    told.replaceChildren(make("p", { className: "problem" }, t("voices.no_clip")));
    return;
  }
  const form = new FormData();
  form.append("audio", file, file.name ?? "recording.wav");
  for (const name of ["name", "text", "language"]) {
    const value = element(`voice-${name}`).value.trim();
    if (value !== "") form.append(name, value);
  }
  element("voice-send").disabled = true;
  told.replaceChildren(make("p", { className: "quiet" }, t("voices.sending")));
  try {
    form.append("id", await idOf(element("voice-name").value));
    const answer = await ask("v1/voices", { method: "POST", body: form });
    sent = { ...(await answer.json()), listened: !form.has("text") };
    element("voice-form").reset();
    heard(null);
    element("record-time").textContent = "";
    await show();
    tellSent();
  } catch (error) {
    told.replaceChildren(make("p", { className: "problem" }, described(error)));
  } finally {
    element("voice-send").disabled = false;
  }
}

function tellSent() {
  if (sent === null) return;
  const { voice, clip, warnings, listened } = sent;
  const added = t("voices.added", { name: voice.name, seconds: clip?.duration_s.toFixed(1) ?? "–", db: clip?.snr_db.toFixed(0) ?? "–" });
  element("voice-told").replaceChildren(
    make("p", { className: "good" }, added),
    ...(listened && voice.reference_text ? [make("p", { className: "note" }, t("voices.heard", { text: voice.reference_text }))] : []),
    ...warnings.map(({ message }) => make("p", { className: "note" }, message)),
  );
}

export function startVoices() {
  let visible = false;
  element("record").addEventListener("click", record);
  element("voice-file").addEventListener("change", () => heard(element("voice-file").files[0] ?? null));
  element("voice-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  inWords(() => {
    showRecording(recorder.running);
    tellSent();
    if (visible) attempt(show);
  });
  return {
    show(yes) {
      visible = yes;
      if (yes) attempt(show);
      else recorder.stop();
    },
  };
}
