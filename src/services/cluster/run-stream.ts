/** Streams of results as who asked for one has them: an async iterable, whether the generator runs here or on another node. */
import type { RunStream } from '../mobility.ts';

/** Where the values come from. */
export interface Source {
  /** More of them; none where there are none yet. `done`: these were the last. Rejects with what ended it. */
  pull(): Promise<{ readonly items: readonly unknown[]; readonly done: boolean }>;
  /** Nobody wants more. */
  end(): Promise<void>;
}

const OVER: IteratorResult<never, void> = { done: true, value: undefined };

export class ResultStream<T> implements RunStream<T> {
  readonly #source: Source;
  #items: readonly unknown[] = [];
  #taken = 0;
  #last = false;
  #over = false;
  #turn: Promise<unknown> = Promise.resolve();
  #leave: () => void = () => undefined;
  readonly #left = new Promise<void>((resolve) => (this.#leave = resolve));

  constructor(source: Source) {
    this.#source = source;
  }

  next(): Promise<IteratorResult<T, void>> {
    const mine = this.#turn.then(() => this.#next());
    this.#turn = mine.then(undefined, (error: unknown) => error);
    return mine;
  }

  async #next(): Promise<IteratorResult<T, void>> {
    for (;;) {
      if (this.#over) return OVER;
      if (this.#taken < this.#items.length) return { done: false, value: this.#items[this.#taken++] as T };
      if (this.#last) {
        this.#over = true;
        return OVER;
      }
      try {
        const came = await Promise.race([this.#source.pull(), this.#left]);
        if (came === undefined) return OVER;
        this.#items = came.items;
        this.#taken = 0;
        this.#last = came.done;
      } catch (error) {
        this.#over = true;
        throw error;
      }
    }
  }

  /** What comes after is dropped, and the generator ended: it runs its `finally`. */
  async return(): Promise<IteratorResult<T, void>> {
    if (this.#over) return OVER;
    this.#over = true;
    this.#leave();
    await this.#source.end();
    return OVER;
  }

  async throw(error: unknown): Promise<IteratorResult<T, void>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
