// The chat's queue while it runs: what plays, what waits, what a person has to decide, and who is connected.

import { getJson, postJson, Refused } from "../shared/api.js";
import { startChatTest } from "./chat_test.js";
import { showConnections, startConnections } from "./connections.js";
import { showOverlay, startOverlay } from "./overlay_address.js";
import { attempt, button, element, make, refill, twice } from "./page.js";
import { askForToken, startToken } from "./token.js";
import { inWords, ruleName, t } from "./words.js";

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
  const priority = item.priority === undefined || item.priority === "everyone" ? "" : t(`chat.priority_${item.priority}`);
  const about = [item.platform, item.voice, priority].filter(Boolean).join(" · ");
  const masked = item.masked ? make("span", { className: "badge", title: t("chat.masked_why") }, t("chat.masked")) : null;
  // A long name is only cut.
  const renamed = item.shown_user !== undefined && !item.user.replace(/^@/, "").startsWith(item.shown_user);
  const as = renamed ? make("span", { className: "badge" }, t("chat.shown_as", { name: item.shown_user })) : null;
  return make("li", { className: "message" },
    make("span", { className: "grow", dir: "auto" }, make("strong", {}, item.user), make("span", {}, shown)),
    masked,
    as,
    paid,
    make("span", { className: "quiet" }, about),
    make("span", { className: "actions" }, ...actions));
}

const about = (label, item) => ({ ariaLabel: `${label}: ${item.user}` });

/** Whoever is muted already needs no button for it. */
function mute(item) {
  const label = t("chat.mute", { user: item.user });
  // Without an id of the platform the name has to do.
  const id = item.user_id?.startsWith("name:") ? {} : { user_id: item.user_id };
  const ask = () => control("mute-user", { platform: item.platform, user: item.user, ...id });
  return button("🔇", ask, { ariaLabel: label, title: label });
}

function waiting(item) {
  return message(item,
    button(t("chat.remove"), () => control("skip", { id: item.id }), about(t("chat.remove"), item)),
    mute(item));
}

function held(item) {
  const line = message(item,
    button(t("chat.approve"), () => control("approve", { id: item.id }), about(t("chat.approve"), item)),
    button(t("chat.reject"), () => control("reject", { id: item.id }), about(t("chat.reject"), item)),
    mute(item));
  line.append(why(item));
  return line;
}

/** Which rule, in the page's words; and why, in the server's. */
function why({ rule, reason }) {
  return make("span", { className: "quiet why" }, [rule && ruleName(rule), reason].filter(Boolean).join(": "));
}

function past(item) {
  const line = item.rule === "muted" ? message(item) : message(item, mute(item));
  const outcome = make("span", { className: "badge" }, item.state ? t(`chat.state_${item.state}`) : t("chat.refused"));
  line.querySelector(".actions").append(outcome);
  // Which rule let it in says nothing of how it ended.
  if (item.reason) line.append(why(item.state ? { reason: item.reason } : item));
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
  list("chat-playing", queue.playing, (item) => message(item, mute(item)));
  list("chat-held", queue.held, held);
  list("chat-waiting", queue.waiting, waiting);
  const refused = element("chat-refused").checked ? queue.refused : [];
  const when = (item) => item.at_unix_s ?? item.arrived_unix_s ?? 0;
  const before = [...queue.ended, ...refused].sort((one, other) => when(other) - when(one));
  list("chat-past", before, past);
  element("chat-held-count").textContent = queue.held.length || "";
  element("chat-waiting-count").textContent = queue.waiting.length || "";
}

function unmuted({ platform, user }) {
  const label = t("chat.unmute", { user });
  const ask = () => control("mute-user", { platform, user, muted: false });
  return make("li", {}, make("span", { className: "grow", dir: "auto" }, user), make("span", { className: "quiet" }, platform),
    button("✕", ask, { ariaLabel: label, title: label }));
}

/** The same person may be muted by name and by id. */
function showMuted() {
  const people = new Map(state.muted.map((one) => [`${one.platform} ${one.user.toLowerCase()}`, one]));
  element("chat-muted-panel").hidden = people.size === 0;
  refill(element("chat-muted"), [...people.values()], (one) => [one, document.documentElement.lang], unmuted);
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
  showMuted();
  showConnections(state);
  showOverlay(state);
}

async function read() {
  try {
    [state, queue] = await Promise.all([getJson("v1/chat/state"), getJson("v1/chat/queue")]);
    askForToken(false);
  } catch (error) {
    // A server without chat has no such path; one that cannot be reached shows what it last said.
    if (!(error instanceof Refused)) return;
    state = null;
    const needed = t(error.code === "token_invalid" ? "chat.token_wrong" : "chat.token_needed");
    const told = { 401: needed, 404: t("chat.none") };
    element("chat-none").textContent = told[error.status] ?? error.message;
    askForToken(error.status === 401);
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
  startToken(read);
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
