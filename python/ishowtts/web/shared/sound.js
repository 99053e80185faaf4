// Sound as numbers: what the server's base64 holds, and files of it.

/** base64 of 16-bit samples to -1 … 1. */
export function samplesOf(base64) {
  const text = atob(base64);
  const samples = new Float32Array(text.length >> 1);
  for (let index = 0; index < samples.length; index++) {
    const value = text.charCodeAt(2 * index) | (text.charCodeAt(2 * index + 1) << 8);
    samples[index] = (value > 32767 ? value - 65536 : value) / 32768;
  }
  return samples;
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
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(sample * 32768))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

/** The samples of a WAV file that wavOf made. */
export async function samplesOfWav(blob) {
  const view = new DataView(await blob.arrayBuffer());
  const samples = new Float32Array((view.byteLength - 44) >> 1);
  for (let index = 0; index < samples.length; index++) samples[index] = view.getInt16(44 + 2 * index, true) / 32768;
  return { samples, rate: view.getUint32(24, true) };
}
