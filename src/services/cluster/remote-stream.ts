/** The values of a generator that runs on another node: asked for in batches, each acknowledged by asking for what comes behind it. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { quietly } from './bodies.ts';
import type { Head, Said } from './messages.ts';
import type { Source } from './run-stream.ts';
import { itemsIn, LOOK_MS, type TaskCall } from './task-call.ts';

export interface Pulled {
  readonly items: readonly unknown[];
  readonly done: boolean;
}

export class RemoteSource implements Source {
  readonly #decode: (item: Uint8Array) => unknown;
  readonly #call: TaskCall;
  readonly #silence: number;
  /** What was heard, and not looked at. */
  #heard: Promise<Said>;
  #came = 0;
  #over = false;

  private constructor(decode: (item: Uint8Array) => unknown, call: TaskCall, silence: number, first: Said) {
    this.#decode = decode;
    this.#call = call;
    this.#silence = silence;
    this.#heard = Promise.resolve(first);
  }

  /** Throws Unreachable, RunsFull: it did not begin there. */
  static async begin(
    decode: (item: Uint8Array) => unknown,
    call: TaskCall,
    head: Head,
    values: Uint8Array,
    silence: number,
  ): Promise<RemoteSource> {
    let first: Said;
    try {
      first = await call.begin(head, values, 0, call.clock.now() + silence);
    } catch (error) {
      // It may have begun.
      if (isTwzError(error, 'TimedOut')) await call.abandon();
      throw error;
    }
    return new RemoteSource(decode, call, silence, first);
  }

  async pull(): Promise<Pulled> {
    const { clock } = this.#call;
    const until = clock.now() + this.#silence;
    try {
      for (;;) {
        const said = await this.#heard;
        if (said.head['state'] === 'done') {
          this.#over = true;
          return { items: [], done: true };
        }
        const items = itemsIn(said);
        this.#came += items.length;
        if (items.length === 0 && clock.now() >= until)
          throw new TwzError('TimedOut', `a stream gave nothing for ${this.#silence} ms`, { ms: this.#silence });
        // The next ones come while these are looked at.
        const wait = Math.max(1, Math.min(LOOK_MS, until - clock.now()));
        this.#heard = quietly(this.#call.wait(this.#came, wait, clock.now() + this.#silence + LOOK_MS));
        if (items.length > 0) return { items: items.map((item) => this.#decode(item)), done: false };
      }
    } catch (error) {
      this.#over = true;
      if (isTwzError(error, 'TimedOut')) await this.#call.abandon();
      throw error;
    }
  }

  async end(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#call.abandon();
  }
}

/** One of which it is not known yet where it comes from. */
export class PlannedSource implements Source {
  readonly #begin: () => Promise<Source>;
  #source: Promise<Source> | undefined;

  constructor(begin: () => Promise<Source>) {
    this.#begin = begin;
  }

  async pull(): Promise<Pulled> {
    this.#source ??= this.#begin();
    return (await this.#source).pull();
  }

  async end(): Promise<void> {
    if (this.#source !== undefined) await (await this.#source).end();
  }
}
