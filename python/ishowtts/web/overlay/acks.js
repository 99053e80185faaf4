// Tells the server what was played. What could not be told is told when it can be reached again.

import { postJson, Refused } from "../shared/api.js";

const MOST_KEPT = 200;

export class Acks {
  #overlay;
  #queue = [];
  #sending = false;
  #url;

  constructor(url, overlay) {
    this.#url = url;
    this.#overlay = overlay;
  }

  tell(id, state) {
    this.#queue = [...this.#queue, { overlay: this.#overlay, id, state }].slice(-MOST_KEPT);
    this.flush();
  }

  /** In order, one at a time: started is never told after finished. */
  async flush() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#queue.length > 0) {
        await postJson(this.#url, this.#queue[0], { keepalive: true }).catch((error) => {
          // An answer is final, whatever it says; no answer is not.
          if (!(error instanceof Refused) || error.retryable) throw error;
        });
        this.#queue.shift();
      }
    } catch {
      // The stream comes back too, and flushes.
    } finally {
      this.#sending = false;
    }
  }
}
