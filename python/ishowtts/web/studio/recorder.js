// A recording from the microphone, as a WAV file: what a browser's recorder writes is its own choice.

import { wavOf } from "../shared/sound.js";

const LONGEST_MS = 30_000;
const LEVEL_MS = 60;

/** Mono, at its own rate, of any sound that the browser can read. */
async function asWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    const mono = new Float32Array(sound.length);
    for (let channel = 0; channel < sound.numberOfChannels; channel++) {
      sound.getChannelData(channel).forEach((sample, index) => (mono[index] += sample / sound.numberOfChannels));
    }
    return wavOf([mono], sound.sampleRate);
  } finally {
    await context.close();
  }
}

export class Recorder {
  #recorder = null;
  #starting = false;
  #tell;

  /** `tell`: { level(0 … 1, ms), ended(wav), failed(error) } */
  constructor(tell) {
    this.#tell = tell;
  }

  get running() {
    return this.#starting || this.#recorder !== null;
  }

  async start() {
    // Browsers hide the microphone from pages that are neither of this machine nor over https.
    if (navigator.mediaDevices === undefined) throw new Error("https");
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    // A second click while the browser asks for leave must not open the microphone twice.
    this.#starting = true;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } finally {
      this.#starting = false;
    }
    const recorder = new MediaRecorder(stream);
    const parts = [];
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const begun = performance.now();
    const meter = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const ms = performance.now() - begun;
      this.#tell.level(samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0), ms);
      if (ms > LONGEST_MS) this.stop();
    }, LEVEL_MS);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = async () => {
      clearInterval(meter);
      for (const track of stream.getTracks()) track.stop();
      await context.close();
      this.#recorder = null;
      try {
        this.#tell.ended(await asWav(new Blob(parts, { type: recorder.mimeType })));
      } catch (error) {
        this.#tell.failed(error);
      }
    };
    this.#recorder = recorder;
    recorder.start();
  }

  stop() {
    if (this.#recorder?.state === "recording") this.#recorder.stop();
  }
}
