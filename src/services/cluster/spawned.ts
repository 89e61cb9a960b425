/** What was spawned, as programs hold it: nothing is asked of its node but when somebody wants to know. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { Space } from '../../space.ts';
import type { Spawned, SpawnStatus } from '../mobility.ts';
import { quietly } from './bodies.ts';
import { LOOK_MS, ranIn, type TaskCall } from './task-call.ts';
import { decodeValues } from './values.ts';

/** A node that answers is asked how it is for so long, one that ends what it does for so long. */
const ANSWER_MS = 5000;
const FOR_EVER = 2 ** 31;

export class SpawnedThere<R> implements Spawned<R> {
  readonly id: string;
  readonly #space: Space;
  readonly #call: Promise<TaskCall>;
  #began: TaskCall | undefined;
  #failed: 'failed' | 'lost' | undefined;
  #result: Promise<R> | undefined;

  constructor(space: Space, id: string, call: Promise<TaskCall>) {
    this.id = id;
    this.#space = space;
    this.#call = quietly(this.#begin(call));
  }

  async #begin(call: Promise<TaskCall>): Promise<TaskCall> {
    try {
      return (this.#began = await call);
    } catch (error) {
      this.#failed = isTwzError(error, 'RunLost') ? 'lost' : 'failed';
      throw error;
    }
  }

  get result(): Promise<R> {
    this.#result ??= this.#wait();
    return this.#result;
  }

  async #wait(): Promise<R> {
    const call = await this.#call;
    for (;;) {
      const said = await call.wait(0, LOOK_MS, call.clock.now() + FOR_EVER);
      if (said.head['state'] !== 'done') continue;
      this.#space.refresh();
      return decodeValues(this.#space, said.body) as R;
    }
  }

  async status(): Promise<SpawnStatus> {
    // One that could not begin says why to who waits for its result.
    if (this.#began === undefined) return { state: this.#failed ?? 'beginning', node: undefined, ms: 0 };
    const { place: node } = this.#began;
    try {
      const said = await this.#began.wait(0, 0, this.#began.clock.now() + ANSWER_MS);
      return { state: said.head['state'] === 'done' ? 'done' : 'running', node, ms: ranIn(said) };
    } catch (error) {
      if (!(error instanceof TwzError)) throw error;
      return { state: isTwzError(error, 'RunLost') ? 'lost' : 'failed', node, ms: NaN };
    }
  }

  async stop(): Promise<void> {
    const call = await this.#call;
    try {
      await call.stop(ANSWER_MS);
    } catch (error) {
      // It has ended with its node.
      if (!isTwzError(error, 'RunLost') && !isTwzError(error, 'Unreachable')) throw error;
    }
  }
}
