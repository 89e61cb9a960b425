/** Places in a region of address space: first fit, whole pages. */
import { PAGE } from '../abi/format.ts';

export class Places {
  /** Free ranges, [from, to), by address. */
  #free: { from: number; to: number }[];

  constructor(from: number, to: number) {
    this.#free = [{ from, to }];
  }

  /** Undefined where there is none left. */
  take(length: number): number | undefined {
    for (const [i, range] of this.#free.entries()) {
      if (range.to - range.from < length) continue;
      const at = range.from;
      range.from += length;
      if (range.from === range.to) this.#free.splice(i, 1);
      return at;
    }
    return undefined;
  }

  give(at: number, length: number): void {
    const to = at + length;
    let i = this.#free.findIndex(({ from }) => from >= at);
    if (i < 0) i = this.#free.length;
    const before = this.#free[i - 1];
    const after = this.#free[i];
    if (before?.to === at) {
      before.to = after?.from === to ? after.to : to;
      if (after?.from === to) this.#free.splice(i, 1);
    } else if (after?.from === to) after.from = at;
    else this.#free.splice(i, 0, { from: at, to });
  }
}

/** As much as a mapping takes: whole pages. */
export function pagesOf(length: number): number {
  return Math.ceil(length / PAGE) * PAGE;
}
