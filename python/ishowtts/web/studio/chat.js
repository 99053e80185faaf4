// The chat's queue while it runs: what plays, what waits, what a person has to decide, and who is connected.

import { getJson, postJson, Refused } from "../shared/api.js";
import { startChatTest } from "./chat_test.js";
import { showConnections, startConnections } from "./connections.js";
import { showOverlay, startOverlay } from "./overlay_address.js";
import { attempt, button, element, make, refill, twice } from "./page.js";
import { inWords, t } from "./words.js";

const PERIOD_MS = 700;
const MOST_SHOWN = 60;

let state = null;
let queue = null;
let timer = null;
let visible = false;
let sliding = false;

const control = (verb, body) =>
  attempt(async () => {
    await postJson(`v1/chat/${verb}`, body);
    await read();
  });

function message(item, ...actions) {
  const paid = item.paid ? make("span", { className: "badge paid" }, `${item.paid.amount} ${item.paid.currency}`) : null;
  const shown = item.text || item.speech || "";
  const about = [item.platform, item.voice, item.priority === "everyone" ? "" : item.priority].filter(Boolean).join(" · ");
  return make("li", { className: "message" },
    make("span", { className: "grow", dir: "auto" }, make("strong", {}, item.user), make("span", {}, shown)),
    paid,
    make("span", { className: "quiet" }, about),
    make("span", { className: "actions" }, ...actions));
}

const about = (label, item) => ({ ariaLabel: `${label}: ${item.user}` });

function waiting(item) {
  const mute = t("chat.mute", { user: item.user });
  // Without an id of the platform the name has to do.
  const id = item.user_id?.startsWith("name:") ? {} : { user_id: item.user_id };
  return message(item,
    button(t("chat.remove"), () => control("skip", { id: item.id }), about(t("chat.remove"), item)),
    button("🔇", () => control("mute-user", { platform: item.platform, user: item.user, ...id }), { ariaLabel: mute, title: mute }));
}

function held(item) {
  const line = message(item,
    button(t("chat.approve"), () => control("approve", { id: item.id }), about(t("chat.approve"), item)),
    button(t("chat.reject"), () => control("reject", { id: item.id }), about(t("chat.reject"), item)));
  line.append(make("span", { className: "quiet why" }, item.reason ?? ""));
  return line;
}

function past(item) {
  const line = message(item);
  const outcome = make("span", { className: "badge" }, item.state ?? t("chat.refused"));
  line.querySelector(".actions").append(outcome);
  if (item.reason) line.append(make("span", { className: "quiet why" }, [item.rule, item.reason].filter(Boolean).join(": ")));
  return line;
}

const nothing = () => make("li", { className: "quiet" }, t("chat.nothing"));

function list(id, items, makeOne) {
  const some = items.slice(0, MOST_SHOWN);
  const key = (item) => [item?.id, item?.message_id, item?.state, item?.text, item?.reason, document.documentElement.lang];
  refill(element(id), some.length === 0 ? [null] : some, key, (item) => (item === null ? nothing() : makeOne(item)));
}

function showQueue() {
  if (queue === null) return;
  list("chat-playing", queue.playing, (item) => message(item));
  list("chat-held", queue.held, held);
  list("chat-waiting", queue.waiting, waiting);
  const refused = element("chat-refused").checked ? queue.refused : [];
  const when = (item) => item.at_unix_s ?? item.arrived_unix_s ?? 0;
  const before = [...queue.ended, ...refused].sort((one, other) => when(other) - when(one));
  list("chat-past", before, past);
  element("chat-held-count").textContent = queue.held.length || "";
  element("chat-waiting-count").textContent = queue.waiting.length || "";
}

function showState() {
  element("chat-none").hidden = state !== null;
  element("chat-live").hidden = state === null;
  if (state === null) return;
  const pause = element("chat-pause");
  pause.setAttribute("aria-pressed", String(state.paused));
  pause.textContent = t(state.paused ? "chat.resume" : "chat.pause");
  const enabled = state.enabled !== false;
  element("chat-enabled").setAttribute("aria-pressed", String(enabled));
  element("chat-enabled").textContent = t(enabled ? "chat.taking" : "chat.take");
  if (!sliding) element("chat-volume").value = state.volume;
  element("chat-volume-shown").textContent = `${Math.round(100 * element("chat-volume").value)} %`;
  showConnections(state);
  showOverlay(state);
}

async function read() {
  try {
    [state, queue] = await Promise.all([getJson("v1/chat/state"), getJson("v1/chat/queue")]);
  } catch (error) {
    // A server without chat has no such path; one that cannot be reached shows what it last said.
    if (!(error instanceof Refused)) return;
    state = null;
    element("chat-none").textContent = error.status === 404 ? t("chat.none") : error.message;
  }
  showState();
  showQueue();
}

async function watch() {
  await read();
  if (visible) timer = setTimeout(watch, PERIOD_MS);
}

export function startChat() {
  element("chat-pause").addEventListener("click", () => control(state.paused ? "resume" : "pause"));
  element("chat-enabled").addEventListener("click", () => control(state.enabled === false ? "start" : "stop"));
  element("chat-skip").addEventListener("click", () => control("skip"));
  element("chat-clear").addEventListener("click", (event) => twice(event.target, t("chat.clear_sure"), () => control("clear")));
  const volume = element("chat-volume");
  volume.addEventListener("input", () => {
    sliding = true;
    element("chat-volume-shown").textContent = `${Math.round(100 * volume.value)} %`;
  });
  volume.addEventListener("change", async () => {
    await control("volume", { volume: volume.valueAsNumber });
    sliding = false;
  });
  element("chat-refused").addEventListener("change", showQueue);
  startOverlay();
  startConnections(control);
  startChatTest(read);
  inWords(() => {
    showState();
    showQueue();
  });
  return {
    show(yes) {
      visible = yes;
      clearTimeout(timer);
      if (yes) watch();
    },
  };
}
