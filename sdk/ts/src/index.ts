export * from "./types.js";
export { Client, type Config, type Stats } from "./client.js";
export { type Class, type Item, type Limits, Queue } from "./queue.js";
export { IndexedDBStore, type KeyValue, LocalStorageStore, MemoryStore, type State, type Store } from "./store.js";
