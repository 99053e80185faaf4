// The server's stream of items: opened again, with growing pauses, whenever it ends.

import { ask } from "../shared/api.js";
import { eventsOf } from "../shared/events.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** Of a server that gives signs of life. */
const SILENCE_MS = 60_000;

/**
 * Calls `onEvent` with each object of docs/chat.md, `onLost` when the connection is gone or could not be made (with the
 * reason). Never returns.
 */
export async function listen(url, { onEvent, onLost }) {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    let reason = null;
    const abort = new AbortController();
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      const response = await ask(url, { signal: abort.signal, cache: "no-store" });
      for await (const event of eventsOf(response)) {
        // Only who has shown to send comments can be missed.
        if (event === null) alive();
        else {
          if (silence !== undefined) alive();
          if (event.type === "hello") pause = FIRST_PAUSE_MS;
          onEvent(event);
        }
      }
    } catch (error) {
      reason = error;
      abort.abort();
    }
    clearTimeout(silence);
    onLost(reason);
    // Not all overlays of a server that restarts come back at once.
    await new Promise((done) => setTimeout(done, pause * (0.5 + Math.random())));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}
