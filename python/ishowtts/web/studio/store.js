// What was spoken before, in this browser's IndexedDB: the newest are kept, in number and in bytes.

const NAME = "ishowtts";
const STORE = "history";
export const MOST_ENTRIES = 50;
export const MOST_BYTES = 100 * 1024 * 1024;

const settled = (request) =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });

function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  return settled(request);
}

/** Private windows of some browsers have no IndexedDB: then it lasts as long as the page. */
class InMemory {
  #entries = [];
  #next = 1;
  all = async () => [...this.#entries];
  add = async (entry) => void this.#entries.push({ ...entry, id: this.#next++ });
  remove = async (id) => void (this.#entries = this.#entries.filter((entry) => entry.id !== id));
  clear = async () => void (this.#entries = []);
}

class OnDisk {
  #database;
  constructor(database) {
    this.#database = database;
  }
  #in(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
  all = () => settled(this.#in("readonly").getAll());
  add = (entry) => settled(this.#in("readwrite").add(entry));
  remove = (id) => settled(this.#in("readwrite").delete(id));
  clear = () => settled(this.#in("readwrite").clear());
}

export class History {
  #place;

  constructor() {
    this.#place = open().then((database) => new OnDisk(database), () => new InMemory());
  }

  /** The newest first. */
  async all() {
    return (await (await this.#place).all()).reverse();
  }

  /** `entry`: text, wav (a Blob) and whatever else is to be kept. */
  async add(entry) {
    const place = await this.#place;
    await place.add(entry);
    let bytes = 0;
    let count = 0;
    for (const { id, wav } of await this.all()) {
      bytes += wav.size;
      count += 1;
      // The newest one is kept, however long it is.
      if (count > 1 && (count > MOST_ENTRIES || bytes > MOST_BYTES)) await place.remove(id);
    }
  }

  async remove(id) {
    await (await this.#place).remove(id);
  }

  async clear() {
    await (await this.#place).clear();
  }
}
