/** Watching an object: as callbacks, or as something to iterate over. Changes that come faster than they are looked at are one. */
import type { TwzError } from '../abi/errors.ts';
import type { WatchEnd, Watcher } from '../kernel/watch.ts';
import { isAccessor } from '../lib/runtime.ts';

export interface WatchOptions<T, V> {
  /** What of it is watched: computed anew after each change, and told only if it is another. By default the whole, told at each change. */
  readonly of?: (target: T) => V;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

/** Would nobody see a difference? Accessors of the same place are the same; arrays and bytes are, if what they hold is. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (isAccessor(a) && isAccessor(b)) return a.$h === b.$h && a.$o === b.$o;
  const [one, other] = [listOf(a), listOf(b)];
  if (one === undefined || other === undefined || one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (!isSame(one[i], other[i])) return false;
  return true;
}

function listOf(value: unknown): ArrayLike<unknown> | undefined {
  return Array.isArray(value) || value instanceof Uint8Array ? value : undefined;
}

/** A value that a later change does not reach. */
function kept(value: unknown): unknown {
  return value instanceof Uint8Array ? value.slice() : value;
}

/** Something watches an object until it is closed, or the object or the space is gone. Close it, or let `using` do it. */
export class Watch<V> implements AsyncIterable<V>, Disposable {
  /** Resolves when nothing more will be told: `lost` where others' changes cannot be followed any more, and `error` says why. */
  readonly ended: Promise<WatchEnd>;
  /** LogCorrupt and the like, where others cannot be followed. An iteration throws it. */
  error: TwzError | undefined;
  readonly #target: unknown;
  readonly #of: ((target: never) => V) | undefined;
  readonly #listener: ((value: V) => unknown) | undefined;
  readonly #stop: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.close();
  #last: unknown;
  #news = false;
  #end: WatchEnd | undefined;
  #waiting: (() => void) | undefined;
  #resolve: (why: WatchEnd) => void = () => undefined;

  /** Use `space.watch`. */
  constructor(
    target: unknown,
    start: (watcher: Watcher) => () => void,
    { of, signal }: WatchOptions<never, V>,
    listener: ((value: V) => unknown) | undefined,
  ) {
    signal?.throwIfAborted();
    this.#target = target;
    this.#of = of;
    this.#listener = listener;
    this.#signal = signal;
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
    if (of !== undefined) this.#last = kept(this.#value());
    this.#stop = start({ changed: () => this.#changed(), ended: (why, error) => this.#finish(why, error) });
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  #value(): V {
    return this.#of === undefined ? (this.#target as V) : this.#of(this.#target as never);
  }

  #changed(): void {
    if (this.#listener === undefined) {
      this.#news = true;
      this.#waiting?.();
      return;
    }
    const told = this.#look();
    if (told !== undefined) this.#listener(told.value);
  }

  /** What is to be told now; undefined where it is what was told before. */
  #look(): { readonly value: V } | undefined {
    this.#news = false;
    const value = this.#value();
    if (this.#of === undefined) return { value };
    if (isSame(value, this.#last)) return undefined;
    this.#last = kept(value);
    return { value };
  }

  #finish(why: WatchEnd, error?: TwzError): void {
    if (this.#end !== undefined) return;
    this.#end = why;
    this.error = error;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#resolve(why);
    this.#waiting?.();
  }

  close(): void {
    if (this.#end !== undefined) return;
    this.#stop();
    this.#finish('closed');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The value after each change that comes while nobody looks, or the next one. Ends with the watch, and ends it. */
  async *[Symbol.asyncIterator](): AsyncGenerator<V, void, undefined> {
    try {
      for (;;) {
        while (!this.#news && this.#end === undefined) {
          await new Promise<void>((resolve) => (this.#waiting = resolve));
          this.#waiting = undefined;
        }
        if (this.#end !== undefined) {
          if (this.error !== undefined) throw this.error;
          return;
        }
        const told = this.#look();
        if (told !== undefined) yield told.value;
      }
    } finally {
      this.close();
    }
  }
}
