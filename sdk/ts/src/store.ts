import type { Item } from "./queue.js";

/** What a Store has kept: items in any order, and the mids of messages that were shown, oldest first. */
export interface State {
  items: Item[];
  shown: string[];
}

/**
 * Keeps an outbox over a reload. When put is done, closing the page must not lose the item; one that comes back after
 * delete is sent again, which has no effect.
 */
export interface Store {
  load(): Promise<State>;
  put(item: Item): Promise<void>;
  delete(ids: string[]): Promise<void>;
  putShown(mid: string): Promise<void>;
  close(): Promise<void>;
}

/** How many mids are remembered as shown. */
export const maxShown = 1000;

/** Nothing outlives the page. */
export class MemoryStore implements Store {
  async load(): Promise<State> {
    return { items: [], shown: [] };
  }
  async put(): Promise<void> {}
  async delete(): Promise<void> {}
  async putShown(): Promise<void> {}
  async close(): Promise<void> {}
}

/** In the browser's database. The choice for a page. */
export class IndexedDBStore implements Store {
  #db: Promise<IDBDatabase>;

  constructor(name = "footfall") {
    this.#db = new Promise((resolve, reject) => {
      const open = indexedDB.open(name, 1);
      open.onupgradeneeded = () => {
        open.result.createObjectStore("items", { keyPath: "id" });
        open.result.createObjectStore("shown", { autoIncrement: true });
      };
      open.onsuccess = () => resolve(open.result);
      open.onerror = () => reject(open.error);
      open.onblocked = () => reject(new Error("footfall: another page holds an older version of the outbox"));
    });
    this.#db.catch(() => {}); // told by the first use
  }

  async #run<T>(stores: string[], mode: IDBTransactionMode, work: (tx: IDBTransaction) => IDBRequest<T> | void): Promise<T | undefined> {
    const tx = (await this.#db).transaction(stores, mode, { durability: "strict" });
    const request = work(tx);
    return new Promise((resolve, reject) => {
      tx.oncomplete = () => resolve(request ? request.result : undefined);
      tx.onabort = () => reject(tx.error);
    });
  }

  async load(): Promise<State> {
    const items = (await this.#run<Item[]>(["items"], "readonly", (tx) => tx.objectStore("items").getAll())) ?? [];
    const shown = (await this.#run<string[]>(["shown"], "readonly", (tx) => tx.objectStore("shown").getAll())) ?? [];
    return { items, shown };
  }

  async put(item: Item): Promise<void> {
    await this.#run(["items"], "readwrite", (tx) => void tx.objectStore("items").put(item));
  }

  async delete(ids: string[]): Promise<void> {
    await this.#run(["items"], "readwrite", (tx) => {
      for (const id of ids) tx.objectStore("items").delete(id);
    });
  }

  async putShown(mid: string): Promise<void> {
    await this.#run(["shown"], "readwrite", (tx) => {
      const shown = tx.objectStore("shown");
      shown.put(mid).onsuccess = function () {
        shown.delete(IDBKeyRange.upperBound(Number(this.result) - maxShown));
      };
    });
  }

  async close(): Promise<void> {
    (await this.#db).close();
  }
}

/** What LocalStorageStore needs of window.localStorage. */
export interface KeyValue {
  readonly length: number;
  key(i: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** In localStorage, or in anything that looks like it: for web views without IndexedDB. About 5 MB in all. */
export class LocalStorageStore implements Store {
  constructor(
    private kv: KeyValue = localStorage,
    private prefix = "footfall.",
  ) {}

  async load(): Promise<State> {
    const items: Item[] = [];
    for (let i = 0; i < this.kv.length; i++) {
      const key = this.kv.key(i);
      if (key?.startsWith(this.prefix + "item.")) items.push(JSON.parse(this.kv.getItem(key)!) as Item);
    }
    return { items, shown: this.#shown() };
  }

  #shown(): string[] {
    return JSON.parse(this.kv.getItem(this.prefix + "shown") ?? "[]") as string[];
  }

  async put(item: Item): Promise<void> {
    this.kv.setItem(`${this.prefix}item.${item.id}`, JSON.stringify(item));
  }

  async delete(ids: string[]): Promise<void> {
    for (const id of ids) this.kv.removeItem(`${this.prefix}item.${id}`);
  }

  async putShown(mid: string): Promise<void> {
    this.kv.setItem(this.prefix + "shown", JSON.stringify([...this.#shown(), mid].slice(-maxShown)));
  }

  async close(): Promise<void> {}
}
