/** Where structs were, and where they are now: within an object, and from one to another. */
import type { Handle } from '../../kernel/object.ts';

export interface Spot {
  readonly h: Handle;
  readonly at: number;
}

const OFFSETS = 2 ** 32;

/** Places are kept by the name that a struct has now. What was moved twice is found where it came to last. */
export class Moves {
  readonly #handles: Handle[] = [];
  readonly #numbers = new Map<Handle, number>();
  /** By name, object and offset: the number of an object and an offset there. */
  readonly #places = new Map<string, Map<Handle, Map<number, number>>>();

  note(name: string, from: Handle, at: number, to: Handle, toAt: number): void {
    if (from === to && at === toAt) return;
    let number = this.#numbers.get(to);
    if (number === undefined) {
      number = this.#handles.push(to) - 1;
      this.#numbers.set(to, number);
    }
    let ofName = this.#places.get(name);
    if (ofName === undefined) this.#places.set(name, (ofName = new Map()));
    let ofObject = ofName.get(from);
    if (ofObject === undefined) ofName.set(from, (ofObject = new Map()));
    ofObject.set(at, number * OFFSETS + toAt);
  }

  find(name: string, h: Handle, at: number): Spot | undefined {
    const ofName = this.#places.get(name);
    let found: Spot | undefined;
    for (let place = ofName?.get(h)?.get(at); place !== undefined;) {
      found = { h: this.#handles[Math.floor(place / OFFSETS)] as Handle, at: place % OFFSETS };
      place = ofName?.get(found.h)?.get(found.at);
    }
    return found;
  }

  get any(): boolean {
    return this.#places.size > 0;
  }

  /** Those within one object. */
  *within(h: Handle): Generator<{ readonly name: string; readonly from: number; readonly to: number }> {
    for (const [name, objects] of this.#places) {
      for (const from of objects.get(h)?.keys() ?? []) {
        const now = this.find(name, h, from);
        if (now?.h === h) yield { name, from, to: now.at };
      }
    }
  }
}
