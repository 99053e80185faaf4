// The speech of one item: fetched ahead of its time, kept until it has sounded.

import { ask, Refused } from "../shared/api.js";
import { eventsOf } from "../shared/events.js";
import { samplesOf } from "../shared/sound.js";

const MOST_TRIES = 4;
const FIRST_PAUSE_MS = 300;
const STALL_MS = 30_000;

export class Track {
  buffers = [];
  captions = [];
  complete = false;
  /** The reason, if there is nothing to wait for any more. */
  failed = null;
  #abort = new AbortController();
  #context;
  #changed;
  #restarted;
  #url;

  /** `changed`: there is more of it, or no more. `restarted`: what was there is void, it comes from its beginning. */
  constructor(url, context, { changed, restarted }) {
    this.#url = url;
    this.#context = context;
    this.#changed = changed;
    this.#restarted = restarted;
  }

  async load() {
    let tried = 1;
    while (!this.#abort.signal.aborted) {
      try {
        await this.#fetch();
        this.complete = true;
        this.#changed();
        return;
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        // A server that has no room yet says when to come again, and stops an item that it cannot speak.
        const busy = error instanceof Refused && error.retryable;
        const again = busy || !(error instanceof Refused) || error.code === "broken_off";
        if (!again || (!busy && tried === MOST_TRIES)) {
          this.failed = error;
          this.#changed();
          return;
        }
        this.#forget();
        const pause = error.retryAfterMs ?? FIRST_PAUSE_MS * 2 ** tried;
        if (!busy) tried++;
        await new Promise((done) => setTimeout(done, pause));
      }
    }
  }

  drop() {
    this.#abort.abort();
    this.buffers = [];
  }

  #forget() {
    if (this.buffers.length === 0) return;
    this.buffers = [];
    this.captions = [];
    this.#restarted();
  }

  async #fetch() {
    const stalled = new AbortController();
    const stop = () => stalled.abort();
    this.#abort.signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, STALL_MS);
    try {
      const response = await ask(this.#url, { signal: stalled.signal, cache: "no-store" });
      let rate = 0;
      for await (const event of eventsOf(response)) {
        clearTimeout(timer);
        timer = setTimeout(stop, STALL_MS);
        if (event?.type === "error") throw new Refused(event.error, 200);
        if (event?.type === "done") return;
        if (event?.type === "start") rate = event.sample_rate_hz;
        if (event?.type === "caption") this.captions.push(event);
        if (event?.type === "audio") this.#add(samplesOf(event.audio), rate);
        if (event?.type === "caption" || event?.type === "audio") this.#changed();
      }
      throw new Refused({ code: "broken_off", message: "The speech broke off." }, 200);
    } finally {
      clearTimeout(timer);
      this.#abort.signal.removeEventListener("abort", stop);
    }
  }

  #add(samples, rate) {
    if (samples.length === 0) return;
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    this.buffers.push(buffer);
  }
}
