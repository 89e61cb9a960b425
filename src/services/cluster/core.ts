/** What the parts of a node have in common. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Timer } from '../../host/host.ts';
import type { Space } from '../../space.ts';
import type { Engine } from './engine.ts';
import type { FamilyTable } from './families.ts';
import type { Said } from './messages.ts';

/** Time as a node knows it: that of the host, or a simulation's. */
export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  timer(ms: number, callback: () => void): Timer;
}

export interface Core {
  /** ID of this node: that of its space. */
  readonly id: string;
  readonly space: Space;
  readonly engine: Engine;
  readonly table: FamilyTable;
  readonly clock: Clock;
  /** One thing that nodes ask of each other. Throws what the other node threw; Unreachable, TimedOut. */
  call(node: string, head: Readonly<Record<string, unknown>>, deadline: number, body?: Uint8Array): Promise<Said>;
  /** Does something once what is waited for may have come. */
  pause(ms: number): Promise<void>;
}

/** Milliseconds that are left; throws TimedOut where there are none. */
export function left(core: Pick<Core, 'clock'>, deadline: number, what: string): number {
  const ms = deadline - core.clock.now();
  if (ms <= 0) throw new TwzError('TimedOut', `${what}: the deadline is over`);
  return ms;
}

export function deleted(id: ObjectId): TwzError {
  return new TwzError('ObjectDeleted', `object ${id} was deleted`, { id });
}

/** One after the other, for each key. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Somebody has a turn, or waits for one. */
  taken(key: string): boolean {
    return this.#last.has(key);
  }

  take<T>(key: string, body: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(body, body);
    const over = (): void => {
      if (this.#last.get(key) === quiet) this.#last.delete(key);
    };
    const quiet = mine.then(over, over);
    this.#last.set(key, quiet);
    return mine;
  }
}
