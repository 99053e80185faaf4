// Where the words that are said stand in the text that is shown: what is said may be another text (“Ann says …”).

/** Code points of a caption's own words that may be passed over to find the next one. */
const MOST_SKIPPED = 200;

export class Aligner {
  #chars;
  #from = 0;

  constructor(text) {
    this.#chars = Array.from(text);
  }

  /** The caption with places in the shown text, or null if nothing of it is there. */
  place(caption) {
    if (this.#isAt(caption.start_char, caption)) {
      this.#from = caption.end_char;
      return caption;
    }
    const parts = caption.words.length > 0 ? caption.words : [caption];
    const found = [];
    for (const part of parts) {
      const start = this.#find(part.text);
      if (start < 0) continue;
      this.#from = start + Array.from(part.text).length;
      found.push({ ...part, start_char: start, end_char: this.#from });
    }
    if (found.length === 0) return null;
    return { ...caption, start_char: found[0].start_char, end_char: found.at(-1).end_char, words: found };
  }

  #isAt(start, { text }) {
    return this.#chars.slice(start, start + Array.from(text).length).join("") === text && start >= this.#from;
  }

  #find(text) {
    const window = this.#chars.slice(this.#from, this.#from + MOST_SKIPPED);
    const index = window.join("").indexOf(text);
    return index < 0 ? -1 : this.#from + Array.from(window.join("").slice(0, index)).length;
  }
}
