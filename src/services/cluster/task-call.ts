/** A run with a thread of its own, as who asked for it has it: what is asked again until there is an answer, or nobody to give one. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { Clock } from './core.ts';
import { hear, heard, numberIn, say, strange, type Head, type Said } from './messages.ts';
import { lost } from './tasks.ts';

/** An answer is waited for so much longer than the node was told to wait. */
const GRACE_MS = 1000;
const AGAIN_MS = 100;
/** A node that is there may be busy, or just about to be connected again. */
export const LOOK_MS = 1000;

export interface TaskParts {
  /** ID of this node. */
  readonly id: string;
  readonly clock: Clock;
  readonly agent: {
    /** Says something to this node's own runs. */
    task(bytes: Uint8Array): Promise<Uint8Array>;
    nodes(): Promise<readonly { readonly id: string }[]>;
  };
  readonly request: (subject: string, bytes: Uint8Array, ms: number) => Promise<Uint8Array>;
}

export class TaskCall {
  readonly #parts: TaskParts;
  readonly place: string;
  readonly activation: string;
  readonly clock: Clock;
  #asked = false;
  /** It was begun, and has failed: what was thrown is what it failed by. */
  failed = false;

  /** `asked`: somebody has begun it already. */
  constructor(parts: TaskParts, place: string, activation: string, asked = false) {
    this.#parts = parts;
    this.clock = parts.clock;
    this.place = place;
    this.activation = activation;
    this.#asked = asked;
  }

  /** Throws Unreachable where it was not begun there, RunsFull; RunLost; what it failed by. `until`: when TimedOut is thrown. */
  begin(head: Head, values: Uint8Array, wait: number, until: number): Promise<Said> {
    return this.#send({ after: 0, wait, ...head, do: 'begin' }, values, wait, until);
  }

  /** How it goes: at once if there is something to say, else after `wait` milliseconds. */
  wait(after: number, wait: number, until: number): Promise<Said> {
    return this.#send({ do: 'wait', after, wait }, undefined, wait, until);
  }

  async stop(ms: number): Promise<void> {
    await this.#send({ do: 'stop' }, undefined, ms, this.clock.now() + ms);
  }

  /** Ends it, where that can be; who cannot hear of it ends it by its own clock. */
  async abandon(): Promise<void> {
    try {
      await this.stop(LOOK_MS);
    } catch (error) {
      if (!isTwzError(error)) throw error;
    }
  }

  async #send(head: Head, body: Uint8Array | undefined, wait: number, until: number): Promise<Said> {
    for (;;) {
      const left = until - this.clock.now();
      if (left < 1) throw new TwzError('TimedOut', `run ${this.activation} was not over at its deadline`, { activation: this.activation });
      let bytes: Uint8Array;
      try {
        bytes = await this.#ask(say({ ...head, activation: this.activation }, body), Math.min(left, wait + GRACE_MS));
      } catch (error) {
        if (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'TimedOut') && !isTwzError(error, 'EngineLost')) throw error;
        if (!this.#asked && !isTwzError(error, 'TimedOut')) throw error;
        this.#asked = true;
        if (!isTwzError(error, 'EngineLost')) await this.#demandThere();
        await new Promise<void>((resolve) => this.clock.timer(Math.min(AGAIN_MS, left), resolve));
        continue;
      }
      this.#asked = true;
      this.failed = hear(bytes).head['state'] === 'failed';
      return heard(bytes);
    }
  }

  #ask(bytes: Uint8Array, ms: number): Promise<Uint8Array> {
    const { id, agent, request } = this.#parts;
    return this.place === id ? agent.task(bytes) : request(`task.${this.place}`, bytes, ms);
  }

  async #demandThere(): Promise<void> {
    const nodes = await this.#parts.agent.nodes();
    if (this.place !== this.#parts.id && !nodes.some(({ id }) => id === this.place))
      throw lost(this.activation, `node ${this.place}, where it ran, is gone`);
  }
}

/** The values in an answer. Throws EngineCorrupt. */
export function itemsIn({ head, body }: Said): Uint8Array[] {
  const { sizes } = head;
  if (sizes === undefined) return [];
  if (!Array.isArray(sizes)) throw strange('"sizes" is no list');
  let at = 0;
  const items = sizes.map((size: unknown) => {
    const from = at;
    at += typeof size === 'number' && Number.isInteger(size) && size >= 0 ? size : NaN;
    return body.subarray(from, at);
  });
  if (at !== body.length) throw strange('"sizes" are not those of its values');
  return items;
}

export function ranIn({ head }: Said): number {
  return numberIn(head, 'ms');
}
