// Speech from the server: events as they come, and their sound to hear and to keep.

/** What the server said against a request, in words for a person. */
export class Refused extends Error {
  constructor(error, status) {
    super(error?.message ?? `The server answered with status ${status}.`);
    this.code = error?.code ?? "unknown";
    this.retryable = status === 429 || status === 503;
  }
}

/** Yields the events of `POST /v1/tts` (docs/http.md). Throws Refused, also for what fails midway. */
export async function* speak(fields, signal) {
  const response = await fetch("v1/tts", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...fields, format: "pcm", stream_format: "jsonl" }),
    signal,
  });
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Refused(told?.error, response.status);
  }
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

/** base64 of 16-bit samples to -1 … 1. */
export function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, index) => view.getInt16(2 * index, true) / 32768);
}

/** A mono 16-bit WAV file of pieces of samples. */
export function wavOf(pieces, rate) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const letters = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(at, Math.round(sample * 32768), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
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
