// The chats that are listened to, and the overlays that are open: each with how it is.

import { button, element, make, refill } from "./page.js";
import { t } from "./words.js";

const MOODS = { connected: "good", failed: "bad" };
let control;

function rows({ connections = [], overlays = [] }) {
  const chats = connections.map(({ platform, channel, state, detail }) => ({
    name: `${platform} · ${channel}`,
    mood: MOODS[state] ?? "waiting",
    words: [t(`chat.connection_${state}`), detail].filter(Boolean).join(": "),
    stop: { platform, channel },
  }));
  const open = overlays
    .filter(({ may_speak: may }) => may)
    .map(({ overlay, speaking, answers }) => ({
      name: t("chat.overlay_item", { name: overlay?.slice(0, 12) ?? "" }),
      mood: answers === false ? "bad" : speaking ? "good" : "waiting",
      words: t(answers === false ? "chat.does_not_answer" : speaking ? "chat.speaks" : "chat.silent"),
    }));
  const silent = { name: t("chat.no_overlay"), mood: "waiting", words: "" };
  return [...chats, ...(overlays.some(({ speaking }) => speaking) ? open : [...open, silent])];
}

function line({ name, mood, words, stop }) {
  const pill = words === "" ? null : make("span", { className: "pill" }, words);
  if (pill !== null) pill.dataset.state = mood;
  const label = t("chat.disconnect", { name });
  const end = stop && button("✕", () => control("stop", stop), { ariaLabel: label, title: label });
  return make("li", {}, make("span", { className: "grow" }, name), pill, end ?? null);
}

export function showConnections(state) {
  refill(element("chat-connections"), rows(state), (row) => row, line);
}

/** `ask(verb, body)` does what the buttons say. */
export function startConnections(ask) {
  control = ask;
  const channel = element("listen-channel");
  const listen = async () => {
    if (channel.value.trim() === "") {
      channel.focus();
      return;
    }
    await control("start", { platform: element("listen-platform").value, channel: channel.value.trim() });
    channel.value = "";
  };
  element("listen").addEventListener("click", listen);
  channel.addEventListener("keydown", (event) => {
    if (event.key === "Enter") listen();
  });
}
