// Plays items one behind the other without a gap, on the clock of the AudioContext: never on a timer, which a browser
// slows down where nobody looks.

import { Track } from "./track.js";

/** Items whose speech is fetched at a time: the one that sounds, and the next ones. */
const AHEAD = 3;
/** From the decision to the first sample: what a computer under load needs to have it ready. */
const LEAD_S = 0.03;
/** Long enough for no click, short enough to be silence at once. */
const FADE_S = 0.008;

export class Player {
  /** Of the sound before it is muted: a silent overlay shows a level too. */
  analyser;
  #entries = [];
  #context;
  #volume;
  #output;
  #tell;
  #held = false;

  /** `tell`: { started(item), finished(item), failed(item, error) } */
  constructor(context, tell) {
    this.#context = context;
    this.#tell = tell;
    this.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0.6 });
    this.#volume = new GainNode(context);
    this.#output = new GainNode(context, { gain: 0 });
    this.#volume.connect(this.analyser).connect(this.#output).connect(context.destination);
  }

  has(id) {
    return this.#entries.some(({ item }) => item.id === id);
  }

  get waiting() {
    return this.#entries.length;
  }

  /** What sounds now: { item, captions, heardMs }. */
  get now() {
    const [entry] = this.#entries;
    if (entry?.started !== true) return null;
    const { currentTime, outputLatency = 0 } = this.#context;
    const until = Math.min(currentTime - outputLatency, entry.end);
    return {
      item: entry.item,
      captions: entry.track.captions,
      heardMs: Math.max(0, until - entry.from - entry.dry) * 1000,
    };
  }

  add(item) {
    const entry = { item, track: null, gain: null, sources: new Set(), next: 0, from: 0, end: 0, dry: 0, started: false };
    this.#entries.push(entry);
    this.#pump();
  }

  /** Silence, if it sounds; else it never will. */
  drop(id) {
    const index = this.#entries.findIndex(({ item }) => item.id === id);
    if (index < 0) return;
    this.#take(index, 1);
  }

  /** Only what sounds stays. */
  dropWaiting() {
    const first = this.#entries[0]?.started === true ? 1 : 0;
    this.#take(first, this.#entries.length - first);
  }

  dropAll() {
    this.#take(0, this.#entries.length);
  }

  /** What sounds is said to its end, then nothing until `held` is false. */
  hold(held) {
    this.#held = held;
    if (held) this.#unschedule(this.#entries[0]?.started === true ? 1 : 0);
    this.#pump();
  }

  /** Says it again from its beginning: so far nobody has heard it. */
  restart() {
    this.#unschedule(0);
    this.#pump();
  }

  mute(yes) {
    this.#output.gain.setTargetAtTime(yes ? 0 : 1, this.#context.currentTime, FADE_S / 2);
  }

  set volume(volume) {
    this.#volume.gain.setTargetAtTime(Math.min(Math.max(volume, 0), 1), this.#context.currentTime, FADE_S);
  }

  #take(index, count) {
    const first = this.#entries[index];
    this.#unschedule(index);
    for (const entry of this.#entries.splice(index, count)) entry.track?.drop();
    if (first !== undefined) this.#pump();
  }

  #pump() {
    for (const entry of this.#entries.slice(0, AHEAD)) this.#fetch(entry);
    let at = 0;
    for (let index = 0; index < this.#entries.length; index++) {
      const entry = this.#entries[index];
      if (this.#held && !entry.started) return;
      if (entry.track === null) return;
      if (entry.track.failed !== null && entry.sources.size === 0) {
        this.#fail(entry, index);
        return;
      }
      this.#schedule(entry, index, at);
      if (!entry.track.complete) return;
      if (entry.sources.size === 0) {
        if (index === 0) this.#finish(entry);
        return;
      }
      at = entry.end;
    }
  }

  #fetch(entry) {
    if (entry.track !== null) return;
    const changed = () => this.#pump();
    const restarted = () => this.#unschedule(this.#entries.indexOf(entry));
    entry.track = new Track(entry.item.speech_url.replace(/^\//, ""), this.#context, { changed, restarted });
    entry.track.load();
  }

  #schedule(entry, index, after) {
    const { buffers } = entry.track;
    const soon = this.#context.currentTime + LEAD_S;
    while (entry.next < buffers.length) {
      const buffer = buffers[entry.next++];
      if (entry.gain === null) {
        entry.gain = new GainNode(this.#context);
        entry.gain.connect(this.#volume);
        entry.from = entry.end = Math.max(after, soon);
        entry.dry = 0;
      } else if (entry.end < this.#context.currentTime) {
        // It ran dry: what comes is later by as much.
        entry.dry += soon - entry.end;
        entry.end = soon;
      }
      const source = new AudioBufferSourceNode(this.#context, { buffer });
      source.connect(entry.gain);
      source.onended = () => {
        entry.sources.delete(source);
        source.disconnect();
        this.#ended(entry);
      };
      source.start(entry.end);
      entry.sources.add(source);
      entry.end += buffer.duration;
    }
    if (index === 0) this.#start(entry);
  }

  #start(entry) {
    if (entry.started || entry.gain === null) return;
    entry.started = true;
    this.#tell.started(entry.item);
  }

  #ended(entry) {
    if (entry.sources.size > 0 || this.#entries[0] !== entry) return;
    if (entry.track.failed !== null) this.#fail(entry, 0);
    else if (entry.track.complete && entry.next === entry.track.buffers.length) this.#finish(entry);
  }

  #finish(entry) {
    this.#entries.shift();
    entry.gain?.disconnect();
    this.#tell.finished(entry.item);
    if (this.#entries.length > 0 && !(this.#held && !this.#entries[0].started)) this.#start(this.#entries[0]);
    this.#pump();
  }

  #fail(entry, index) {
    this.#take(index, 1);
    this.#tell.failed(entry.item, entry.track.failed);
  }

  /** From this entry on nothing is planned or sounds any more; what is fetched stays. */
  #unschedule(index) {
    for (const entry of this.#entries.slice(Math.max(index, 0))) {
      const { gain, sources } = entry;
      const now = this.#context.currentTime;
      const running = this.#context.state === "running";
      if (running) gain?.gain.setTargetAtTime(0, now, FADE_S / 3);
      else gain?.disconnect();
      for (const source of sources) {
        source.onended = null;
        source.stop(now + FADE_S);
      }
      if (running && gain !== null) setTimeout(() => gain.disconnect(), 100);
      Object.assign(entry, { gain: null, sources: new Set(), next: 0, started: false });
    }
  }
}
