// The overlay: what the chat's queue says to play is played, shown and acknowledged (docs/chat.md).

import { chosenLanguage, dictionary } from "../shared/words.js";
import { Acks } from "./acks.js";
import { Finished, ownName } from "./identity.js";
import { applyLook } from "./look.js";
import { Player } from "./player.js";
import { listen } from "./stream.js";
import { View } from "./view.js";

/** What is wrong with the set-up is told to those who set it up, not to their viewers all evening. */
const NOTICE_MS = 15_000;

/** Without a connection for longer, another overlay may speak: this one falls silent. A server may say otherwise. */
const GRACE_MS = 2000;

const query = new URLSearchParams(location.search);
/** Where the server asks for no token, the address needs none; a wrong one is refused there as well. */
const access = query.get("token") ? { token: query.get("token") } : {};
const finished = new Finished();
const context = new AudioContext();
let speaking = false;

function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = false;
  setTimeout(() => (place.hidden = true), NOTICE_MS);
}

/** OBS lets sound be from the start; browsers want a click first. */
async function unlocked(words) {
  const running = () => context.state === "running";
  await Promise.race([context.resume(), new Promise((done) => setTimeout(done, 300))]);
  if (running()) return;
  const button = document.getElementById("unlock");
  button.textContent = words["overlay.unlock"];
  button.hidden = false;
  await new Promise((done) => {
    const anywhere = async () => {
      await context.resume();
      done();
    };
    addEventListener("pointerdown", anywhere, { once: true });
    addEventListener("keydown", anywhere, { once: true });
    // Or something else did: a setting of the browser, a gesture before.
    context.addEventListener("statechange", () => running() && done());
  });
  button.hidden = true;
}

function begin(overlay, words) {
  const acks = new Acks(`v1/chat/ack?${new URLSearchParams(access)}`, overlay);
  const player = new Player(context, {
    started(item) {
      view.show(item);
      if (speaking) acks.tell(item.id, "started");
    },
    finished(item) {
      if (speaking) {
        finished.add(item.id);
        acks.tell(item.id, "finished");
      }
      view.hide();
    },
    failed(item, error) {
      console.warn(`Item ${item.id} was not spoken: ${error.message}`);
      if (speaking) acks.tell(item.id, "failed");
      if (player.now === null) view.hide();
    },
  });
  const view = new View(player.analyser);

  const speak = (yes) => {
    if (yes && !speaking) player.restart();
    speaking = yes;
    player.mute(!yes);
    document.documentElement.dataset.speaking = String(yes);
  };
  let silence;
  let grace = GRACE_MS;
  const pause = (yes) => (yes ? context.suspend() : context.resume());
  const on = {
    hello(event) {
      clearTimeout(silence);
      silence = undefined;
      grace = event.grace_ms ?? grace;
      const playing = player.now?.item.id;
      if (playing !== undefined && event.items?.includes(playing) === false) {
        // Taken back while nothing could be heard of it.
        view.clear();
        player.drop(playing);
      }
      // All that is not finished comes again, in the order that counts now.
      player.dropWaiting();
      player.hold(false);
      player.volume = event.volume ?? 1;
      speak(event.speaking);
      pause(event.paused);
      acks.flush();
    },
    role: (event) => speak(event.speaking),
    item(event) {
      if (player.has(event.id)) return;
      if (finished.has(event.id)) {
        if (speaking) acks.tell(event.id, "finished");
        return;
      }
      player.add(event);
    },
    stop(event) {
      if (player.now?.item.id === event.id) view.clear();
      player.drop(event.id);
    },
    // Of the overlay that speaks: a silent one keeps step.
    progress(event) {
      if (speaking || event.state === "started") return;
      if (player.now?.item.id === event.id) view.hide();
      player.drop(event.id);
    },
    pause: () => pause(true),
    resume: () => pause(false),
    volume: (event) => (player.volume = event.volume),
  };

  const frame = () => {
    view.draw(player.now);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);

  let told = false;
  listen(`v1/chat/stream?${new URLSearchParams({ ...access, overlay })}`, {
    onEvent: (event) => on[event.type]?.(event),
    onLost(error) {
      // What is taken back now is not heard of here: nothing new sounds until the server can say so.
      player.hold(true);
      silence ??= setTimeout(() => {
        speak(false);
        player.dropAll();
        view.clear();
      }, grace);
      if (told || (error?.status !== 401 && error?.status !== 403)) return;
      told = true;
      notice(words["overlay.refused"]);
    },
  });
}

applyLook(query);
const words = await dictionary(chosenLanguage(query.get("lang")));
await unlocked(words);
begin(query.get("overlay") ?? (await ownName()), words);
