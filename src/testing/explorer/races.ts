/**
 * Vector clocks: which step comes before which. Once by what steps have to do with each other (to know which orders differ), once by
 * what the language promises (a load that reads from a store comes after it), to find plain accesses that nothing orders.
 */
export type Clock = readonly number[];

export function join(a: Clock, b: Clock | undefined): Clock {
  return b === undefined ? a : a.map((time, i) => Math.max(time, b[i] ?? 0));
}

interface Accesses {
  /** By thread: when it last read the word plainly, stored to it plainly, read or stored atomically. 0: never. */
  readonly reads: number[];
  readonly writes: number[];
  readonly atomicReads: number[];
  readonly atomicWrites: number[];
}

export class Races {
  readonly #threads: number;
  /** What each thread knows of the others. */
  readonly #clocks: Clock[];
  /** What a word's last store published. */
  readonly #published = new Map<number, Clock>();
  readonly #accesses = new Map<number, Accesses>();

  constructor(threads: number) {
    this.#threads = threads;
    this.#clocks = Array.from({ length: threads }, (_, thread) => Array.from({ length: threads }, (_, i) => (i === thread ? 1 : 0)));
  }

  #of(word: number): Accesses {
    let found = this.#accesses.get(word);
    if (found === undefined) {
      const none = (): number[] => Array.from({ length: this.#threads }, () => 0);
      found = { reads: none(), writes: none(), atomicReads: none(), atomicWrites: none() };
      this.#accesses.set(word, found);
    }
    return found;
  }

  clock(thread: number): Clock {
    return this.#clocks[thread] ?? [];
  }

  /** Another thread whose access is not ordered before this one. */
  #unordered(thread: number, times: readonly number[]): number | undefined {
    const clock = this.clock(thread);
    const other = times.findIndex((time, i) => i !== thread && time > (clock[i] ?? 0));
    return other < 0 ? undefined : other;
  }

  #now(thread: number): number {
    return this.clock(thread)[thread] ?? 0;
  }

  /** Returns the thread that this access races with. */
  plain(thread: number, word: number, write: boolean): number | undefined {
    const seen = this.#of(word);
    const races =
      this.#unordered(thread, seen.writes) ??
      this.#unordered(thread, seen.atomicWrites) ??
      (write ? (this.#unordered(thread, seen.reads) ?? this.#unordered(thread, seen.atomicReads)) : undefined);
    (write ? seen.writes : seen.reads)[thread] = this.#now(thread);
    return races;
  }

  atomic(thread: number, word: number, read: boolean, write: boolean): number | undefined {
    if (read) this.#clocks[thread] = join(this.clock(thread), this.#published.get(word));
    const seen = this.#of(word);
    const races = this.#unordered(thread, seen.writes) ?? (write ? this.#unordered(thread, seen.reads) : undefined);
    if (read) seen.atomicReads[thread] = this.#now(thread);
    if (write) {
      seen.atomicWrites[thread] = this.#now(thread);
      // A store that replaces publishes what its thread knows; one that also reads keeps what was published before.
      this.#published.set(word, this.clock(thread));
    }
    this.#tick(thread);
    return races;
  }

  /** `from` woke `to`: what it did comes before what `to` does next. */
  woke(from: number, to: number): void {
    this.#clocks[to] = join(this.clock(to), this.clock(from));
    this.#tick(from);
  }

  /** Death is seen by who asks for it. */
  saw(thread: number, dead: number): void {
    this.#clocks[thread] = join(this.clock(thread), this.clock(dead));
  }

  #tick(thread: number): void {
    this.#clocks[thread] = this.clock(thread).map((time, i) => (i === thread ? time + 1 : time));
  }
}
