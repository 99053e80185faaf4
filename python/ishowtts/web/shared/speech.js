// Speech from the server as it is made, and what plays it.

import { ask, Refused } from "./api.js";

/** Yields the events of `POST /v1/tts` (docs/http.md). Throws Refused, also for what fails midway. */
export async function* speak(fields, signal) {
  const response = await ask("v1/tts", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...fields, format: "pcm", stream_format: "jsonl" }),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.type === "error") throw new Refused(event.error, 200);
      ended ||= event.type === "done";
      yield event;
    }
  }
  if (!ended) throw new Refused({ message: "The connection broke off before the end.", code: "broken_off" }, 200);
}

/** Plays pieces one after the other without a gap, each as soon as it is there. */
export class Player {
  #context = null;
  #end = 0;
  #skipped = 0;
  #started = 0;
  #sources = new Set();

  /** To be called in the click or key press that asks for sound: browsers allow it only there. */
  async open() {
    this.#context ??= new AudioContext();
    await this.#context.resume();
    this.stop();
  }

  add(samples, rate) {
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    const now = this.#context.currentTime + 0.02;
    if (this.#sources.size === 0 && this.#end === 0) {
      this.#started = this.#end = now;
    } else if (this.#end < now) {
      // It ran dry: what comes is later by as much.
      this.#skipped += now - this.#end;
      this.#end = now;
    }
    source.start(this.#end);
    this.#end += buffer.duration;
    this.#sources.add(source);
    source.onended = () => this.#sources.delete(source);
  }

  /** ms of the speech that have been heard. */
  get heardMs() {
    if (this.#end === 0) return 0;
    const until = Math.min(this.#context.currentTime, this.#end);
    return Math.max(0, until - this.#started - this.#skipped) * 1000;
  }

  get playing() {
    return this.#sources.size > 0;
  }

  stop() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
    }
    this.#sources.clear();
    this.#end = this.#started = this.#skipped = 0;
  }
}
