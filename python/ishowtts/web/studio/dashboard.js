// How the server does, drawn from /metrics: figures of the last minute, and lines of the last minutes.

import { ask, getJson } from "../shared/api.js";
import { drawLine } from "./draw.js";
import { element, make, refill } from "./page.js";
import { grown, parse, quantile, sum } from "./prometheus.js";
import { inWords, t } from "./words.js";

const PERIOD_MS = 2000;
/** Figures are of the last minute, lines of the last five. */
const WINDOW = 30;
const KEPT = 150;

const readings = [];
const lines = {};
let models = [];
let timer = null;

/** A server that is not ready yet says so with a 503. */
const failed = ({ status, route }) => Number(status) >= 500 && route !== "/readyz";
const one = (value, digits = 0) => (value === null ? "–" : value.toFixed(digits));

/** value, unit and more of each tile; `line` is what its chart goes on with. */
function figures() {
  const { samples: now, at } = readings.at(-1);
  const before = readings.at(-1 - WINDOW) ?? readings[0];
  const then = readings.length > 1 ? before.samples : null;
  const minutes = Math.max((at - before.at) / 60_000, 1e-9);
  const share = (name) => quantile(then, now, "ishowtts_speech_ttfa_ms", name) ?? quantile(null, now, "ishowtts_speech_ttfa_ms", name);
  const worked = grown(then, now, "ishowtts_step_ms_total") || sum(now, "ishowtts_step_ms_total");
  const made = grown(then, now, "ishowtts_step_audio_ms_total") || sum(now, "ishowtts_step_audio_ms_total");
  const factor = made > 0 ? worked / made : null;
  const ttfa = share(0.5);
  const perMinute = then === null ? null : grown(then, now, "ishowtts_http_requests_total") / minutes;
  const cpu = then === null ? null : (100 * grown(then, now, "process_cpu_seconds_total")) / (minutes * 60);
  const queue = sum(now, "ishowtts_queue_requests");
  const memory = sum(now, "process_resident_memory_bytes") / 1e6;
  const more = (key, values) => t(`dashboard.${key}_more`, values);
  const none = t("dashboard.none");
  return {
    ttfa: { value: one(ttfa), line: ttfa, more: ttfa === null ? none : more("ttfa", { p95: one(share(0.95)) }) },
    rtf: { value: factor ? one(1 / factor, 1) : "–", line: factor && 1 / factor, more: factor ? more("rtf", { factor: one(factor, 3) }) : none },
    queue: {
      value: one(queue),
      line: queue,
      more: more("queue", {
        seconds: one(sum(now, "ishowtts_queue_speech_seconds"), 1),
        slots: one(sum(now, "ishowtts_slots_in_use")),
      }),
    },
    memory: { value: one(memory), line: memory, more: cpu === null ? "" : more("memory", { cpu: one(cpu) }) },
    requests: {
      value: one(perMinute),
      line: perMinute,
      more: more("requests", {
        flight: one(sum(now, "ishowtts_speech_in_flight")),
        errors: one(sum(now, "ishowtts_http_requests_total", failed)),
      }),
    },
  };
}

function tile(name) {
  const title = make("h2", {});
  const value = make("p", { className: "value", id: `tile-${name}` });
  const more = make("p", { className: "quiet" });
  const canvas = make("canvas", { role: "img" });
  const place = make("section", { className: "panel tile" }, title, value, more, canvas);
  return { place, title, value, more, canvas };
}

const tiles = Object.fromEntries(["ttfa", "rtf", "queue", "memory", "requests"].map((name) => [name, tile(name)]));

function draw() {
  if (readings.length === 0 || timer === null) return;
  for (const [name, { value, more }] of Object.entries(figures())) {
    const place = tiles[name];
    place.title.textContent = t(`dashboard.${name}`);
    place.value.replaceChildren(value, " ", make("small", {}, t(`dashboard.${name}_unit`)));
    place.more.textContent = more;
    place.canvas.ariaLabel = t("dashboard.chart", { name: t(`dashboard.${name}`) });
    drawLine(place.canvas, (lines[name] ?? []).filter((entry) => entry !== null));
  }
  drawEngines();
}

function drawEngines() {
  const { samples } = readings.at(-1);
  const heads = ["engine", "state", "device", "languages", "licence", "spoken"].map((key) => t(`dashboard.${key}`));
  refill(element("engines").tHead, [heads], (row) => row, (row) => make("tr", {}, ...row.map((head) => make("th", { scope: "col" }, head))));
  const rows = models.map((model) => {
    const said = ({ engine, outcome }) => engine === model.id && outcome === "spoken";
    const languages = model.languages ?? [];
    const some = languages.length > 8 ? `${languages.slice(0, 8).join(", ")} … (${languages.length})` : languages.join(", ");
    return [model.id, model.problem ?? model.state, model.device ?? "", some, model.licence ?? "", sum(samples, "ishowtts_segments_total", said)];
  });
  refill(element("engines").tBodies[0], rows, (row) => row, (row) => make("tr", {}, ...row.map((cell) => make("td", {}, String(cell)))));
}

async function read() {
  try {
    const samples = parse(await (await ask("metrics", { cache: "no-store" })).text());
    readings.push({ samples, at: performance.now() });
    if (readings.length > KEPT) readings.shift();
    for (const [name, { line }] of Object.entries(figures())) {
      lines[name] = [...(lines[name] ?? []), line].slice(-KEPT);
    }
    if (models.length === 0) models = (await getJson("v1/models")).data.filter((model) => !model.alias_of);
    draw();
  } catch {
    // The pill at the top tells that the server cannot be reached.
    models = [];
  }
}

export function startDashboard() {
  element("tiles").append(...Object.values(tiles).map(({ place }) => place));
  inWords(draw);
  addEventListener("colours", draw);
  addEventListener("resize", draw);
  return {
    show(yes) {
      clearInterval(timer);
      timer = yes ? setInterval(read, PERIOD_MS) : null;
      if (yes) read();
    },
  };
}
