/** Merges in a thread of their own, which is there from the first one on: merge code that does not end is ended with it. */
import { TwzError } from '../../abi/errors.ts';
import { Caller, makeLine, startColleague, type Colleague } from '../../host/colleagues.ts';
import type { Timer } from '../../host/host.ts';
import { Turns, type Clock } from './core.ts';
import { valueOf } from './contact.ts';
import { mergeFailed, type MergeWork } from './merge-work.ts';

export class MergingThread {
  readonly #clock: Clock;
  readonly #main: URL;
  readonly #turns = new Turns();
  #thread: { readonly colleague: Colleague; readonly caller: Caller } | undefined;
  /** Merges that were ended. */
  stopped = 0;

  /** `main`: the program of such a thread. */
  constructor(clock: Clock, main: URL) {
    this.#clock = clock;
    this.#main = main;
  }

  /** A merger (merge-work.ts). */
  merge(work: MergeWork, ms: number): Promise<Uint8Array> {
    return this.#turns.take('merge', async () => {
      const thread = (this.#thread ??= this.#start());
      let timer: Timer | undefined;
      let answer: unknown;
      try {
        await thread.colleague.ready;
        const over = new Promise<undefined>((resolve) => (timer = this.#clock.timer(ms, () => resolve(undefined))));
        answer = await Promise.race([thread.caller.ask(work), over]);
      } catch (cause) {
        await this.end();
        throw mergeFailed(work.id, cause);
      } finally {
        timer?.cancel();
      }
      if (answer !== undefined) return valueOf(answer) as Uint8Array;
      this.stopped++;
      await this.end();
      throw mergeFailed(work.id, new TwzError('TimedOut', `it had not ended after ${Math.round(ms)} ms`));
    });
  }

  #start(): { readonly colleague: Colleague; readonly caller: Caller } {
    const line = makeLine();
    return { colleague: startColleague(this.#main, 'merger', {}, [line.far]), caller: new Caller(line.near) };
  }

  async end(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    thread?.caller.close();
    await thread?.colleague.terminate();
  }
}
