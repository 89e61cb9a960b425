/**
 * Windows and slots: where objects lie in address space.
 *
 * A slot is a power of two of bytes in one window, found by the buddy method, so an object can grow inside its slot without moving.
 *
 * Invariants: a free slot reads as zero; slots never overlap; a slot is aligned to its size.
 */
import { TwzError, assert } from '../abi/errors.ts';
import type { Host, Window } from '../host/host.ts';

/** Smallest slot, as a power of two: 16 KiB. */
const MIN_ORDER = 14;

export interface Slot {
  readonly window: Window;
  readonly at: number;
  readonly order: number;
  /** It is an object's. */
  readonly counted: boolean;
}

class Buddy {
  readonly window: Window;
  readonly #free: Set<number>[] = [];
  readonly #top: number;

  constructor(window: Window) {
    this.window = window;
    this.#top = Math.log2(window.size);
    for (let order = 0; order <= this.#top; order++) this.#free.push(new Set());
    this.#list(this.#top).add(0);
  }

  #list(order: number): Set<number> {
    const list = this.#free[order];
    assert(list !== undefined, `no slots of order ${order}`);
    return list;
  }

  take(order: number): number | undefined {
    for (let from = order; from <= this.#top; from++) {
      const list = this.#list(from);
      const at = list.values().next().value;
      if (at === undefined) continue;
      list.delete(at);
      for (let split = from; split > order; split--) this.#list(split - 1).add(at + 2 ** (split - 1));
      return at;
    }
    return undefined;
  }

  give(at: number, order: number): void {
    while (order < this.#top) {
      const size = 2 ** order;
      const buddy = Math.floor(at / size) % 2 === 0 ? at + size : at - size;
      if (!this.#list(order).delete(buddy)) break;
      at = Math.min(at, buddy);
      order++;
    }
    this.#list(order).add(at);
  }
}

function orderOf(length: number): number {
  return Math.max(MIN_ORDER, Math.ceil(Math.log2(length)));
}

export class Windows {
  readonly #host: Host;
  readonly #buddies: Buddy[] = [];
  readonly #max: number;
  /** Windows that were opened by `takeApart`. */
  #apart = 0;
  /** Bytes of slots that objects have. */
  used = 0;

  /** At most `max` windows are opened. */
  constructor(host: Host, max: number) {
    this.#host = host;
    this.#max = max;
  }

  /** A slot for `length` bytes of an object, or undefined when the windows are full and something must be evicted first. */
  take(length: number): Slot | undefined {
    return this.#take(length, true);
  }

  /** A slot for what the kernel keeps mapped for itself. */
  takeOwn(length: number): Slot | undefined {
    return this.#take(length, false);
  }

  #take(length: number, counted: boolean): Slot | undefined {
    const order = orderOf(length);
    for (;;) {
      for (const buddy of this.#buddies) {
        const at = buddy.take(order);
        if (at === undefined) continue;
        if (counted) this.used += 2 ** order;
        return { window: buddy.window, at, order, counted };
      }
      if (this.#buddies.length - this.#apart >= this.#max) return undefined;
      const window = this.#host.openWindow();
      if (window.size < 2 ** order)
        throw new TwzError('ObjectTooLarge', `an object of ${length} bytes does not fit a window of ${window.size}`, { length });
      this.#buddies.push(new Buddy(window));
    }
  }

  /** A slot at address 0 of a window that is opened for it, if windows are as large as that. Does not count as one of `max`. */
  takeApart(length: number): Slot | undefined {
    const order = orderOf(length);
    const window = this.#host.openWindow();
    if (window.size < 2 ** order) return undefined;
    const buddy = new Buddy(window);
    this.#apart++;
    this.#buddies.push(buddy);
    const at = buddy.take(order);
    assert(at === 0, 'the first slot of a window is not at its start');
    return { window, at, order, counted: false };
  }

  /** A slot for `length` bytes of an object in this very window, or undefined where that is full. */
  takeIn(window: Window, length: number): Slot | undefined {
    const order = orderOf(length);
    const at = this.#buddies.find((buddy) => buddy.window === window)?.take(order);
    if (at === undefined) return undefined;
    this.used += 2 ** order;
    return { window, at, order, counted: true };
  }

  /** Gives a slot back; what was there is gone. `mapped`: it may show a file. */
  give(slot: Slot, mapped: boolean): void {
    slot.window.clear(slot.at, 2 ** slot.order, mapped);
    for (const buddy of this.#buddies) {
      if (buddy.window !== slot.window) continue;
      buddy.give(slot.at, slot.order);
      if (slot.counted) this.used -= 2 ** slot.order;
      return;
    }
    assert(false, 'slot of an unknown window');
  }

  close(): void {
    for (const buddy of this.#buddies) buddy.window.close();
    this.#buddies.length = 0;
    this.used = 0;
  }
}
