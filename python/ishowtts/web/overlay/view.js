// What people see: a card with who says what, the words that sound now, and how loud it is. All of chat is text to it.

import { Reading } from "../shared/reading.js";
import { Aligner } from "./align.js";

const BARS = 24;
/** The card stays that long when nothing comes after it. */
const LINGER_MS = 900;
/** Others are named by whoever sends their messages: "constructor" would be found in an object. */
const PLATFORMS = new Map([["twitch", "Twitch"], ["youtube", "YouTube"], ["bilibili", "Bilibili"]]);

const element = (id) => document.getElementById(id);

export class View {
  #analyser;
  #reading = null;
  #aligner = null;
  #shown = 0;
  #bars;
  #levels;
  #hiding;

  constructor(analyser) {
    this.#analyser = analyser;
    this.#levels = new Uint8Array(analyser.frequencyBinCount);
    this.#bars = Array.from({ length: BARS }, () => document.createElement("i"));
    element("meter").append(...this.#bars);
  }

  show(item) {
    clearTimeout(this.#hiding);
    const card = element("card");
    element("name").textContent = item.user;
    const platform = element("platform");
    platform.textContent = PLATFORMS.get(item.platform) ?? "";
    platform.hidden = platform.textContent === "";
    const paid = element("paid");
    paid.textContent = item.paid ? `${item.paid.amount} ${item.paid.currency}` : "";
    paid.hidden = !item.paid;
    card.dataset.platform = item.platform;
    card.dataset.masked = String(item.masked === true);
    card.dataset.priority = item.priority;
    element("text").scrollTop = 0;
    this.#reading = new Reading(element("text"), item.text);
    this.#aligner = new Aligner(item.text);
    this.#shown = 0;
    card.classList.remove("leaving", "entering");
    card.hidden = false;
    // Read, so that the animation of coming in begins again.
    void card.offsetWidth;
    card.classList.add("entering");
  }

  hide() {
    this.#reading?.end();
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => {
      element("card").classList.add("leaving");
      this.#hiding = setTimeout(() => {
        element("card").hidden = true;
        this.#reading = null;
      }, LINGER_MS / 3);
    }, LINGER_MS);
  }

  /** At once: what was taken back is not to be read either. */
  clear() {
    clearTimeout(this.#hiding);
    element("card").hidden = true;
    element("text").replaceChildren();
    this.#reading = null;
  }

  /** Once for each frame. */
  draw(now) {
    if (element("card").hidden) return;
    if (now !== null && this.#reading !== null) {
      for (; this.#shown < now.captions.length; this.#shown++) {
        const caption = this.#aligner.place(now.captions[this.#shown]);
        if (caption !== null) this.#reading.add(caption);
      }
      if (this.#reading.mark(now.heardMs)) this.#follow();
    }
    this.#analyser.getByteFrequencyData(this.#levels);
    // Speech is in the lower bins.
    const step = Math.max(1, Math.floor((this.#levels.length * 0.36) / BARS));
    this.#bars.forEach((bar, index) => {
      const loudest = Math.max(...this.#levels.subarray(index * step + 1, (index + 1) * step + 1));
      bar.style.transform = `scaleY(${(0.08 + 0.92 * (loudest / 255) ** 1.6).toFixed(3)})`;
    });
  }

  /** Keeps the line that sounds in sight. */
  #follow() {
    const text = element("text");
    const now = text.querySelector(".now");
    if (now === null) return;
    const place = now.offsetTop - text.offsetTop;
    const outside = place + now.offsetHeight > text.scrollTop + text.clientHeight || place < text.scrollTop;
    if (outside) text.scrollTop = place;
  }
}
