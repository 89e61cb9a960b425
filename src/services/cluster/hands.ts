/** Threads that a node's agent starts to run functions in, and what they say to it. */
import { TwzError } from '../../abi/errors.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import { clock } from '../../host/clock.ts';
import { makeLine, startColleague, type Asked, type Colleague, type Line } from '../../host/colleagues.ts';
import type { Timer } from '../../host/host.ts';
import { fromThread, heard } from './messages.ts';
import { HEAP_MIN, noMemory, type Hand, type HandKind, type Work, type Worked } from './tasks.ts';

export interface HandStart {
  readonly directory: string;
  /** Name and ID of the node. */
  readonly name: string;
  readonly contexts: readonly string[];
  /** There is a bound on what comes from other nodes. */
  readonly isBounded: boolean;
  readonly prefetch: boolean;
  readonly patience: number;
}

/** What such a thread asks beside what all threads ask. */
export type HandQuestion =
  | { readonly do: 'work' }
  | { readonly do: 'yielded'; readonly item: Uint8Array }
  | { readonly do: 'worked'; readonly gave: Uint8Array; readonly stored: readonly string[]; readonly spans: unknown }
  | { readonly do: 'failed'; readonly error: Uint8Array };

const END_MS = 2000;

interface UnderWay {
  readonly emit: (item: Uint8Array) => Promise<boolean>;
  readonly resolve: (worked: Worked) => void;
  readonly reject: (error: unknown) => void;
}

export class ThreadHand implements Hand {
  readonly #thread: Colleague;
  readonly #kind: HandKind;
  #next: Work | undefined;
  #waiting: ((work: Work | undefined) => void) | undefined;
  #doing: UnderWay | undefined;
  #ended = false;

  private constructor(thread: Colleague, kind: HandKind) {
    this.#thread = thread;
    this.#kind = kind;
    void thread.ended.then(() => this.#gone());
  }

  /** `answer`: of what all threads ask. */
  static async start(
    main: URL,
    start: HandStart,
    kind: HandKind,
    answer: (line: Line, own: (what: Asked) => Promise<unknown> | undefined) => void,
  ): Promise<ThreadHand> {
    if (kind.heapBytes !== undefined && kind.heapBytes < HEAP_MIN)
      throw new TwzError('InvalidArgument', `limits.heapBytes: ${kind.heapBytes} is less than ${HEAP_MIN}`);
    const line = makeLine();
    // It asks once it is ready.
    answer(line.far, (what) => hand.answer(what as HandQuestion));
    const thread = startColleague(main, 'task', { ...start, contexts: kind.contexts }, [line.near], kind.heapBytes);
    const hand = new ThreadHand(thread, kind);
    try {
      await thread.ready;
    } catch (error) {
      throw fromThread(error);
    }
    return hand;
  }

  do(work: Work, emit: UnderWay['emit']): Promise<Worked> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#why());
        return;
      }
      this.#doing = { emit, resolve, reject };
      if (this.#waiting === undefined) this.#next = work;
      else this.#waiting(work);
      this.#waiting = undefined;
    });
  }

  answer(what: HandQuestion): Promise<unknown> | undefined {
    switch (what.do) {
      case 'work':
        return new Promise((resolve) => {
          if (this.#next === undefined) this.#waiting = resolve;
          else resolve(this.#next);
          this.#next = undefined;
        });
      case 'yielded':
        return this.#doing?.emit(what.item) ?? Promise.resolve(false);
      case 'worked': {
        const { gave, stored, spans } = what;
        this.#doing?.resolve({ gave, stored: stored.filter((id): id is ObjectId => isId(id)), spans });
        this.#doing = undefined;
        return Promise.resolve(true);
      }
      case 'failed':
        try {
          heard(what.error);
        } catch (error) {
          this.#doing?.reject(error);
        }
        this.#doing = undefined;
        return Promise.resolve(true);
      default:
        return undefined;
    }
  }

  #gone(): void {
    this.#ended = true;
    this.#doing?.reject(this.#why());
    this.#doing = undefined;
  }

  #why(): TwzError {
    const { failure } = this.#thread;
    if (failure === 'memory') return noMemory(this.#kind.heapBytes);
    return new TwzError(
      'RunLost',
      failure === undefined ? 'the thread of a run has ended' : `the thread of a run ended: ${failure.message}`,
    );
  }

  async kill(): Promise<void> {
    // One that does nothing closes its space.
    if (this.#waiting !== undefined) {
      this.#waiting(undefined);
      let timer: Timer | undefined;
      await Promise.race([this.#thread.ended, new Promise<void>((resolve) => (timer = clock.timer(END_MS, resolve)))]);
      timer?.cancel();
    }
    await this.#thread.terminate();
  }
}
