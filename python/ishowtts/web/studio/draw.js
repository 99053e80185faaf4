// Pictures of sound: the waveform and the spectrogram.

import { colour, sharp } from "./page.js";

const FFT_SIZE = 512;
const FLOOR_DB = -78;
const CEILING_DB = -8;
/** Speech has little above. */
const HIGHEST_HZ = 8000;

/** Lowest and highest sample of each of `count` parts. */
function extremes(samples, count) {
  const found = new Float32Array(2 * count);
  for (let index = 0; index < count; index++) {
    const from = Math.floor((index * samples.length) / count);
    const to = Math.max(from + 1, Math.floor(((index + 1) * samples.length) / count));
    let low = 0;
    let high = 0;
    for (let at = from; at < to && at < samples.length; at++) {
      if (samples[at] < low) low = samples[at];
      if (samples[at] > high) high = samples[at];
    }
    found[2 * index] = low;
    found[2 * index + 1] = high;
  }
  return found;
}

/** `share`: of the width, where the sound is longer than what is there by now. */
export function drawWaveform(canvas, samples, share = 1) {
  const { context, width, height } = sharp(canvas);
  const bars = Math.max(1, Math.floor((width * share) / 3));
  const found = extremes(samples, bars);
  const loudest = Math.max(0.05, found.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
  context.fillStyle = colour("wave");
  for (let index = 0; index < bars; index++) {
    const top = (found[2 * index + 1] / loudest) * (height / 2 - 3);
    const bottom = (-found[2 * index] / loudest) * (height / 2 - 3);
    context.beginPath();
    context.roundRect(index * 3, height / 2 - Math.max(top, 0.75), 2, Math.max(top + bottom, 1.5), 1);
    context.fill();
  }
}

/** In place, radix 2: real and imaginary parts. */
function transform(real, imaginary) {
  const size = real.length;
  for (let index = 1, other = 0; index < size; index++) {
    let bit = size >> 1;
    for (; other & bit; bit >>= 1) other ^= bit;
    other ^= bit;
    if (index < other) {
      [real[index], real[other]] = [real[other], real[index]];
      [imaginary[index], imaginary[other]] = [imaginary[other], imaginary[index]];
    }
  }
  for (let length = 2; length <= size; length <<= 1) {
    const angle = (-2 * Math.PI) / length;
    for (let from = 0; from < size; from += length) {
      for (let index = 0; index < length / 2; index++) {
        const one = from + index;
        const two = one + length / 2;
        const cos = Math.cos(angle * index);
        const sin = Math.sin(angle * index);
        const r = real[two] * cos - imaginary[two] * sin;
        const i = real[two] * sin + imaginary[two] * cos;
        real[two] = real[one] - r;
        imaginary[two] = imaginary[one] - i;
        real[one] += r;
        imaginary[one] += i;
      }
    }
  }
}

/** Level in dB of full scale of each bin at one place. */
export function spectrumAt(samples, at) {
  const real = new Float32Array(FFT_SIZE);
  const imaginary = new Float32Array(FFT_SIZE);
  for (let index = 0; index < FFT_SIZE; index++) {
    const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / (FFT_SIZE - 1));
    real[index] = (samples[at + index] ?? 0) * hann;
  }
  transform(real, imaginary);
  const half = FFT_SIZE / 2;
  const amplitude = (index) => Math.hypot(real[index], imaginary[index]) / (half / 2);
  return Float32Array.from({ length: half }, (_, index) => 20 * Math.log10(amplitude(index) + 1e-9));
}

/** Black, violet, orange, light: equal steps of level are equal steps of lightness. */
const STOPS = [[5, 3, 15], [74, 18, 112], [180, 54, 108], [249, 142, 82], [252, 244, 190]];

function shade(level) {
  const place = Math.min(Math.max(level, 0), 1) * (STOPS.length - 1);
  const index = Math.min(Math.floor(place), STOPS.length - 2);
  const part = place - index;
  return STOPS[index].map((from, channel) => from + (STOPS[index + 1][channel] - from) * part);
}

export function drawSpectrogram(canvas, samples, rate, share = 1) {
  const { width, height } = sharp(canvas);
  const context = canvas.getContext("2d");
  const columns = Math.max(1, Math.floor((width * share) / 2));
  const bins = Math.min(FFT_SIZE / 2, Math.ceil((HIGHEST_HZ / rate) * FFT_SIZE));
  const image = new ImageData(columns, bins);
  for (let column = 0; column < columns; column++) {
    const centre = Math.floor(((column + 0.5) * samples.length) / columns);
    const levels = spectrumAt(samples, Math.max(0, centre - FFT_SIZE / 2));
    for (let bin = 0; bin < bins; bin++) {
      const [red, green, blue] = shade((levels[bin] - FLOOR_DB) / (CEILING_DB - FLOOR_DB));
      image.data.set([red, green, blue, 255], 4 * ((bins - 1 - bin) * columns + column));
    }
  }
  const small = new OffscreenCanvas(columns, bins);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, width * share, height);
}

/** A line of values under a soft ground. */
export function drawLine(canvas, values) {
  const { context, width, height } = sharp(canvas);
  if (values.length < 2) return;
  const most = Math.max(...values, 1e-9) * 1.15;
  const x = (index) => (index * width) / (values.length - 1);
  const y = (value) => height - 2 - (value / most) * (height - 6);
  context.beginPath();
  values.forEach((value, index) => context.lineTo(x(index), y(value)));
  context.strokeStyle = colour("wave");
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(0, height);
  context.globalAlpha = 0.14;
  context.fillStyle = colour("wave");
  context.fill();
}
