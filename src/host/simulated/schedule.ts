/** Virtual time: what would happen by itself on a machine happens here when `step` says so, in an order that the seed gives. */
import type { Timer } from '../host.ts';

interface Event {
  readonly due: number;
  readonly order: number;
  readonly fire: () => void;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Schedule {
  #events: Event[] = [];
  #order = 0;
  /** Milliseconds. */
  now = 0;

  /** Calls `fire` in `ms` of virtual time. */
  at(ms: number, fire: () => void): Timer {
    const event = { due: this.now + ms, order: this.#order++, fire };
    this.#events.push(event);
    return { cancel: () => this.#take(event) };
  }

  #take(event: Event): void {
    const index = this.#events.indexOf(event);
    if (index >= 0) this.#events.splice(index, 1);
  }

  get pending(): number {
    return this.#events.length;
  }

  /** The next event, and all that it resolves. False where there is none, or none within `ms`. */
  async step(ms = Infinity): Promise<boolean> {
    await turn();
    let next: Event | undefined;
    for (const event of this.#events)
      if (next === undefined || event.due < next.due || (event.due === next.due && event.order < next.order)) next = event;
    if (next === undefined || next.due > this.now + ms) return false;
    this.#take(next);
    this.now = Math.max(this.now, next.due);
    next.fire();
    await turn();
    return true;
  }

  clear(): void {
    this.#events = [];
  }
}
