// The text that is being spoken, with what sounds now marked.

/** Shows `text` in `place` and marks by captions, whose characters are code points. */
export class Reading {
  #spans = [];
  #chars;
  #place;
  #covered = 0;
  #now = null;

  constructor(place, text) {
    this.#place = place;
    this.#chars = Array.from(text);
    place.replaceChildren(document.createTextNode(text));
  }

  add(caption) {
    const parts = caption.words.length > 0 ? caption.words : [caption];
    if (this.#covered === 0) this.#place.replaceChildren();
    else this.#place.lastChild?.remove();
    for (const part of parts) {
      const start = Math.max(part.start_char, this.#covered);
      if (part.end_char <= start) continue;
      this.#text(this.#covered, start);
      const span = document.createElement("span");
      span.textContent = this.#chars.slice(start, part.end_char).join("");
      this.#place.append(span);
      this.#spans.push({ span, start_ms: part.start_ms, end_ms: part.end_ms });
      this.#covered = part.end_char;
    }
    // The rest, taken away again by the next caption.
    this.#place.append(document.createTextNode(this.#chars.slice(this.#covered).join("")));
  }

  #text(from, to) {
    if (to > from) this.#place.append(document.createTextNode(this.#chars.slice(from, to).join("")));
  }

  /** Whether another part is marked now than before. */
  mark(ms) {
    const now = this.#spans.findLast(({ start_ms }) => start_ms <= ms)?.span ?? null;
    if (now === this.#now) return false;
    this.#now?.classList.remove("now");
    for (const { span, start_ms } of this.#spans) span.classList.toggle("said", start_ms <= ms && span !== now);
    now?.classList.add("now");
    this.#now = now;
    return true;
  }

  end() {
    this.#now?.classList.remove("now");
    for (const { span } of this.#spans) span.classList.remove("said");
    this.#now = null;
  }
}
