// Who this overlay is and what it has finished. Both outlive a reload and a restart of OBS, as far as its storage does.

const NAMES = "ishowtts.overlay.names";
const FINISHED = "ishowtts.overlay.finished";
const MOST_NAMES = 8;
const MOST_FINISHED = 2000;

function read(key) {
  try {
    const list = JSON.parse(localStorage.getItem(key));
    return Array.isArray(list) ? list.filter((entry) => typeof entry === "string") : [];
  } catch {
    return [];
  }
}

function write(key, list) {
  try {
    localStorage.setItem(key, JSON.stringify(list));
  } catch {
    // Full or forbidden: then only this page remembers.
  }
}

/** A page that is loaded again may ask before the lock of what it was is free. */
const RELOAD_MS = 1000;

/** Held until the page goes. False: another page has it. */
function taken(name, patience) {
  return new Promise((answer) => {
    const held = (lock) => {
      answer(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    };
    const abort = new AbortController();
    if (patience > 0) setTimeout(() => abort.abort(), patience);
    const options = patience > 0 ? { signal: abort.signal } : { ifAvailable: true };
    navigator.locks.request(`ishowtts.overlay.${name}`, options, held).catch(() => answer(false));
  });
}

// crypto.randomUUID is there for pages over https and of localhost only.
function newName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name of this overlay's own: the one it had, unless a second overlay of the same browser has that now. */
export async function ownName() {
  const own = sessionStorage.getItem(NAMES);
  if (navigator.locks === undefined) return own ?? keep(newName());
  if (own !== null && (await taken(own, RELOAD_MS))) return own;
  for (const name of read(NAMES)) if (await taken(name, 0)) return keep(name);
  const name = newName();
  await taken(name, 0);
  write(NAMES, [...read(NAMES), name].slice(-MOST_NAMES));
  return keep(name);
}

function keep(name) {
  sessionStorage.setItem(NAMES, name);
  return name;
}

/** The items that sounded to their end here, or in another overlay of the same browser. */
export class Finished {
  has(id) {
    return read(FINISHED).includes(id);
  }

  add(id) {
    if (!this.has(id)) write(FINISHED, [...read(FINISHED), id].slice(-MOST_FINISHED));
  }
}
