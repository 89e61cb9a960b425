/** A source of pages in a thread of its own: of made-up objects, or of object files in memory that it shares; it misbehaves when it is told to. */
import { Worker, isMainThread, parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { TwzError } from '../src/abi/errors.ts';
import { META } from '../src/abi/format.ts';
import { readId } from '../src/abi/id.ts';
import { servePages, type PageRequest, type PageSource, type PageSourceEnd } from '../src/host/pages.ts';
import type { PagedFacts } from '../src/kernel/paged.ts';

export const MODE = {
  answer: 0,
  /** Says nothing at all. */
  silent: 1,
  refuse: 2,
  /** Gives less than was asked for. */
  short: 3,
  /** Stands still until the mode is another one. */
  hold: 4,
  /** Throws what is no error of ours. */
  throw: 5,
  /** Its check refuses what came. */
  forged: 6,
} as const;
export type Mode = keyof typeof MODE;

/** The word at `at` of a made-up object. */
export function madeUp(object: string, at: number): number {
  return (Math.imul(at + 1, 0x9e3779b1) ^ object.length) | 0;
}

export interface Exported {
  /** By object, or by object and version. In shared memory: threads have it without a copy. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The object first, then its parts. */
  readonly facts: readonly PagedFacts[];
}

/** Object files, one behind the other, as `Obj.export` gives them. */
export function exported(...exports: readonly Uint8Array[]): Exported {
  const files = new Map<string, Uint8Array>();
  const facts: PagedFacts[] = [];
  for (const bytes of exports) {
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    const view = new DataView(shared.buffer);
    for (let at = 0; at < bytes.length;) {
      const size = view.getUint32(at + META.size, true);
      const id = readId(shared, at + META.id);
      files.set(id, shared.subarray(at, at + size));
      facts.push({ id, size, version: Number(view.getBigUint64(at + META.version, true)) });
      at += size;
    }
  }
  return { files, facts };
}

interface SourceData {
  readonly end: PageSourceEnd;
  readonly control: Int32Array;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** Words of the control: the mode, questions that came, bytes that were asked for. */
const CONTROL = { mode: 0, questions: 1, bytes: 2 } as const;

export class TestSource {
  readonly source: PageSource;
  readonly #control = new Int32Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;

  private constructor(source: PageSource, end: PageSourceEnd, files: ReadonlyMap<string, Uint8Array>) {
    this.source = source;
    const data: SourceData = { end, control: this.#control, files };
    this.#worker = new Worker(new URL(import.meta.url), { workerData: { pagingSource: data }, transferList: [end.port as MessagePort] });
  }

  /** Resolves when it answers. */
  static async start(
    { source, end }: { readonly source: PageSource; readonly end: PageSourceEnd },
    files: ReadonlyMap<string, Uint8Array> = new Map(),
  ): Promise<TestSource> {
    const made = new TestSource(source, end, files);
    await new Promise((resolve) => made.#worker.once('message', resolve));
    return made;
  }

  set mode(mode: Mode) {
    Atomics.store(this.#control, CONTROL.mode, MODE[mode]);
    Atomics.notify(this.#control, CONTROL.mode);
  }

  get questions(): number {
    return Atomics.load(this.#control, CONTROL.questions);
  }

  get bytes(): number {
    return Atomics.load(this.#control, CONTROL.bytes);
  }

  /** Returns when so many questions have come. */
  asked(count: number): void {
    for (let seen = this.questions; seen < count; seen = this.questions) Atomics.wait(this.#control, CONTROL.questions, seen);
  }

  async stop(): Promise<void> {
    this.mode = 'answer';
    await this.#worker.terminate();
  }
}

function run({ end, control, files }: SourceData): void {
  const bytesOf = ({ object, version, offset, length }: PageRequest): Uint8Array => {
    const file = files.get(`${object} ${version}`) ?? files.get(object);
    if (file !== undefined) return file.slice(offset, offset + length);
    const words = new Int32Array(length / 4);
    for (let i = 0; i < words.length; i++) words[i] = madeUp(object, offset + i * 4);
    return new Uint8Array(words.buffer);
  };
  const serve = (request: PageRequest): Uint8Array | Promise<Uint8Array> => {
    Atomics.add(control, CONTROL.bytes, request.length);
    Atomics.add(control, CONTROL.questions, 1);
    Atomics.notify(control, CONTROL.questions);
    while (Atomics.load(control, CONTROL.mode) === MODE.hold) Atomics.wait(control, CONTROL.mode, MODE.hold);
    switch (Atomics.load(control, CONTROL.mode)) {
      case MODE.silent:
        return new Promise<Uint8Array>(() => undefined);
      case MODE.refuse:
        throw new TwzError('Unreachable', 'nobody has the object');
      case MODE.short:
        return bytesOf(request).slice(4);
      case MODE.throw:
        throw new Error('a mistake');
      default:
        return bytesOf(request);
    }
  };
  servePages(end, serve, () => {
    if (Atomics.load(control, CONTROL.mode) === MODE.forged) throw new TwzError('ObjectForged', 'the chunk has another hash');
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  parentPort?.postMessage('ready');
}

if (!isMainThread && workerData !== null && 'pagingSource' in workerData) run(workerData.pagingSource);
