// With which voice and engine, and how: the settings beside the text.

import { getJson } from "../shared/api.js";
import { element } from "./page.js";
import { paramsOf } from "./params.js";
import { inWords, t } from "./words.js";

let engines = [];
let voices = [];
let params = () => ({});

const selected = (id) => element(id).value || null;

function showVoices() {
  const chosen = selected("voice");
  element("voice").replaceChildren(
    ...voices.map((voice) => {
      const name = voice.cloned ? `${voice.name} (${t("speak.cloned")})` : voice.name;
      const isChosen = chosen === null ? voice.is_default : voice.id === chosen;
      return new Option(name, voice.id, voice.is_default, isChosen);
    }),
  );
  aboutVoice();
}

function aboutVoice() {
  const voice = voices.find(({ id }) => id === element("voice").value);
  element("about-voice").textContent = [voice?.description, voice?.languages.join(", ")].filter(Boolean).join(" · ");
}

function showEngines() {
  const chosen = selected("engine");
  const options = engines.map(({ id, state }) => {
    const option = new Option(id, id, false, id === chosen);
    option.disabled = state === "broken";
    return option;
  });
  element("engine").replaceChildren(new Option(t("speak.engine_auto"), "", chosen === null, chosen === null), ...options);
  showParams();
}

/** Of the chosen engine; of the first one, if the server chooses. */
function showParams() {
  const chosen = engines.find(({ id }) => id === selected("engine"));
  const schema = (chosen ?? engines[0])?.params;
  element("about-engine").textContent =
    chosen?.device === undefined
      ? t("speak.engine_auto_about")
      : t("speak.engine_about", { device: chosen.device, rate: chosen.sample_rate_hz / 1000, licence: chosen.licence });
  const place = element("params-fields");
  // Parameters of one engine would be refused by another of the route.
  params = paramsOf(chosen === undefined && engines.length > 1 ? null : schema, place);
  element("params").hidden = place.childElementCount === 0;
}

export async function listVoices() {
  voices = (await getJson("v1/audio/voices")).voices.filter((voice) => !voice.alias_of);
  showVoices();
  return voices;
}

export async function listEngines() {
  engines = (await getJson("v1/models")).data.filter((model) => !model.alias_of);
  showEngines();
  return engines;
}

export function chooseVoice(id) {
  element("voice").value = id;
  aboutVoice();
}

/** The fields of a request, but for its text. */
export function fields() {
  const seed = element("seed").value;
  const chosen = params();
  return {
    voice: selected("voice"),
    engine: selected("engine"),
    speed: element("speed").valueAsNumber,
    ...(seed === "" ? {} : { seed: Number(seed) }),
    ...(Object.keys(chosen).length === 0 ? {} : { params: chosen }),
  };
}

export function startSettings() {
  element("voice").addEventListener("change", aboutVoice);
  element("engine").addEventListener("change", showParams);
  element("params-reset").addEventListener("click", showParams);
  const speed = () => (element("speed-shown").textContent = `${element("speed").valueAsNumber.toFixed(2)}×`);
  element("speed").addEventListener("input", speed);
  inWords(() => {
    showVoices();
    showEngines();
    speed();
  });
}

/** As they were for an entry of the history. */
export function restore({ voice, asked }) {
  if (voice && voices.some(({ id }) => id === voice)) chooseVoice(voice);
  if (asked?.engine !== undefined) {
    element("engine").value = asked.engine ?? "";
    showParams();
  }
  element("speed").value = asked?.speed ?? 1;
  element("speed").dispatchEvent(new Event("input"));
  element("seed").value = asked?.seed ?? "";
}
