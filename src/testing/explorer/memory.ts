/**
 * Memory as an explored program sees it: arrays whose plain accesses are seen, and an `Atomics` for them. Everything is passed on to a
 * `Stepper`, which decides when it happens.
 */
import type { SyncWords, Wait } from '../../abi/sync.ts';

export type AtomicKind = 'load' | 'store' | 'add' | 'sub' | 'and' | 'or' | 'xor' | 'exchange' | 'compareExchange';

export interface Stepper {
  /** An atomic access: a point where another thread may go on first. Returns what the word held, or for `store` the value. */
  atomic(kind: AtomicKind, index: number, value: number, expected: number): number;
  wait(index: number, value: number, timeout: number): Wait;
  wake(index: number, count: number): number;
  /** A plain access to bytes [at, at + length): not such a point, but checked for races. */
  /** The thread that runs. */
  readonly current: number;
  lives(thread: number): boolean;
  plain<T>(write: boolean, at: number, length: number, access: () => T): T;
}

const INDEX = /^\d+$/;

function proxied<A extends Int32Array | Uint8Array>(array: A, base: number, stepper: Stepper): A {
  const width = array.BYTES_PER_ELEMENT;
  const methods: Readonly<Record<string, unknown>> = {
    set: (source: ArrayLike<number>, offset = 0): void => {
      const values = Array.from(source);
      stepper.plain(true, base + offset * width, values.length * width, () => array.set(values, offset));
    },
    fill: (value: number, start = 0, end = array.length): A => {
      stepper.plain(true, base + start * width, (end - start) * width, () => array.fill(value, start, end));
      return proxied(array, base, stepper);
    },
    slice: (start = 0, end = array.length) =>
      stepper.plain(false, base + start * width, (end - start) * width, () => array.slice(start, end)),
    subarray: (start = 0, end = array.length) => proxied(array.subarray(start, end), base + start * width, stepper),
  };
  return new Proxy(array, {
    get: (target, name) => {
      if (typeof name === 'string' && INDEX.test(name))
        return stepper.plain(false, base + Number(name) * width, width, () => target[Number(name)]);
      if (typeof name === 'string' && name in methods) return methods[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, name, value: unknown) => {
      if (typeof name !== 'string' || !INDEX.test(name)) return false;
      stepper.plain(true, base + Number(name) * width, width, () => {
        target[Number(name)] = Number(value);
      });
      return true;
    },
  });
}

const WIDTHS: Readonly<Record<string, number>> = { Int8: 1, Uint8: 1, Int16: 2, Uint16: 2, Int32: 4, Uint32: 4, Float32: 4 };

function proxiedView(view: DataView, stepper: Stepper): DataView {
  return new Proxy(view, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      const width = WIDTHS[name.slice(3)] ?? 8;
      return (at: number, ...rest: readonly unknown[]): unknown =>
        stepper.plain(name.startsWith('set'), at, width, () => Reflect.apply(value, target, [at, ...rest]));
    },
  });
}

function refuse(what: string): never {
  throw new Error(`an explored thread ${what}`);
}

/** Words where nobody else is: before the threads run, and after. */
export function quietWords(buffer: ArrayBuffer): SyncWords {
  return {
    i32: new Int32Array(buffer),
    u8: new Uint8Array(buffer),
    dv: new DataView(buffer),
    wait: () => 'changed',
    waitAsync: () => Promise.resolve('changed'),
    wake: () => 0,
    waitAny: () => ({ why: 'changed', at: 0 }),
    waitAnyAsync: () => Promise.resolve({ why: 'changed', at: 0 }),
    threads: { self: 0x3fffffff, of: () => 0, ending: () => undefined, lives: () => true, show: String, now: () => 0 },
  };
}

export interface ExploredMemory {
  readonly words: SyncWords;
  /** Stands for the global `Atomics` while threads run; other arrays than the explored memory's get the real one. */
  readonly atomics: typeof Atomics;
}

export function exploredMemory(buffer: ArrayBuffer, stepper: Stepper, real: typeof Atomics): ExploredMemory {
  const i32 = proxied(new Int32Array(buffer), 0, stepper);
  const one =
    (kind: AtomicKind) =>
    (array: Int32Array, index: number, value = 0): number =>
      array === i32 ? stepper.atomic(kind, index, value | 0, 0) : Number(Reflect.apply(real[kind], real, [array, index, value]));
  const atomics: typeof Atomics = Object.assign(Object.create(real), {
    load: one('load'),
    store: one('store'),
    add: one('add'),
    sub: one('sub'),
    and: one('and'),
    or: one('or'),
    xor: one('xor'),
    exchange: one('exchange'),
    compareExchange: (array: Int32Array, index: number, expected: number, value: number): number =>
      array === i32
        ? stepper.atomic('compareExchange', index, value | 0, expected | 0)
        : real.compareExchange(array, index, expected, value),
  });
  const words: SyncWords = {
    i32,
    u8: proxied(new Uint8Array(buffer), 0, stepper),
    dv: proxiedView(new DataView(buffer), stepper),
    wait: (index, value, timeout = Number.POSITIVE_INFINITY) => stepper.wait(index, value, timeout),
    waitAsync: () => Promise.reject(new Error('an explored thread runs without promises')),
    wake: (index, count = Number.POSITIVE_INFINITY) => stepper.wake(index, count),
    waitAny: () => refuse('waits on one word at a time'),
    waitAnyAsync: () => Promise.reject(new Error('an explored thread runs without promises')),
    threads: {
      get self() {
        return stepper.current + 1;
      },
      of: () => 0,
      ending: () => undefined,
      lives: (thread) => stepper.lives(thread - 1),
      show: (thread) => `thread ${thread - 1}`,
      now: () => 0,
    },
  };
  return { words, atomics };
}
