/** A port between threads, as declarations name it: who uses this package need not have Node's types. It is a MessagePort of Node. */
export interface ThreadPort {
  ref(): void;
  unref(): void;
  start(): void;
  close(): void;
}
