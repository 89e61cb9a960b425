/**
 * Programs of a few threads over rings, for the explorer; and rings with a bug each, made from the built ones by changing a line: a step
 * of the protocol that can be left out without the explorer's noticing is a step that it does not test.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { SyncWords } from '../src/abi/sync.ts';
import type * as LayoutCode from '../src/lib/rings/layout.ts';
import type * as RecordsCode from '../src/lib/rings/records.ts';
import type * as RingCode from '../src/lib/rings/ring.ts';
import type * as SidesCode from '../src/lib/rings/sides.ts';
import type { Program } from '../src/testing/explorer/explore.ts';
import { PLAIN } from './plain.ts';

export interface Code {
  readonly layout: typeof LayoutCode;
  readonly records: typeof RecordsCode;
  readonly ring: typeof RingCode;
  readonly sides: typeof SidesCode;
}

/** The rings as they were built below `src`. */
export async function codeIn(src: string): Promise<Code> {
  const load = (name: string): Promise<unknown> => import(pathToFileURL(join(src, 'lib/rings', name)).href);
  return {
    layout: (await load('layout.js')) as typeof LayoutCode,
    records: (await load('records.js')) as typeof RecordsCode,
    ring: (await load('ring.js')) as typeof RingCode,
    sides: (await load('sides.js')) as typeof SidesCode,
  };
}

export const BUILT: string = fileURLToPath(PLAIN);

type Kind = 'spsc' | 'mpsc' | 'spmc' | 'mpmc';
type Producer = SidesCode.Producer<Uint8Array>;
type Consumer = SidesCode.Consumer<Uint8Array>;
type Received = readonly number[];

interface Cast {
  readonly kind: Kind;
  readonly producers: readonly ((producer: Producer, words: SyncWords) => Received)[];
  readonly consumers: readonly ((consumer: Consumer, words: SyncWords) => Received)[];
  readonly check: (received: readonly (Received | undefined)[], died: number | undefined) => void;
  /** Threads, producers first. */
  readonly mortal?: readonly number[];
  readonly variable?: boolean;
}

const ensure = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(what);
};

const RECORD = 8;

/** Everyone is entered before the threads begin, in words 2 and on where there may be many. */
function programOf(code: Code, cast: Cast): Program<Received> {
  const { records, ring, sides, layout } = code;
  const record = cast.variable === true ? records.variableBytes(RECORD) : records.fixedBytes(RECORD);
  const mortal = cast.mortal !== undefined;
  const options = { spin: 0, patience: mortal ? 1 : Number.POSITIVE_INFINITY };
  const { kind, producers, consumers } = cast;
  const shape = layout.shapeOf(0, kind, record, 2, 6);
  const alone = (role: 'producer' | 'consumer'): boolean => kind === 'spsc' || (role === 'producer' ? kind === 'spmc' : kind === 'mpsc');
  const entry = (role: 'producer' | 'consumer', i: number): number =>
    alone(role) ? (role === 'producer' ? 0 : 1) : 2 + i + (role === 'consumer' ? producers.length : 0);
  return {
    bytes: 4096,
    prepare: (words) => {
      ring.createRing(words, 0, { kind, record, records: 2, peers: 6 });
      const put = (role: 'producer' | 'consumer', i: number, thread: number): void => {
        words.i32[layout.WORD.peers + entry(role, i)] = thread | layout.ROLE[role];
      };
      for (const i of producers.keys()) put('producer', i, i + 1);
      for (const i of consumers.keys()) put('consumer', i, producers.length + i + 1);
    },
    threads: [
      ...producers.map(
        (act, i) => (words: SyncWords) => act(new sides.Producer({ words, shape, record }, entry('producer', i), options), words),
      ),
      ...consumers.map(
        (act, i) => (words: SyncWords) => act(new sides.Consumer({ words, shape, record }, entry('consumer', i), options), words),
      ),
    ],
    ...(cast.mortal === undefined ? {} : { mortal: cast.mortal }),
    check: ({ results, died }) => cast.check(results, died),
  };
}

const put = (producer: Producer, words: SyncWords, value: number, length = RECORD): void => {
  words.i32[producer.claim(length) >>> 2] = value;
  producer.commit();
};

/** Submits values, and leaves. */
const submits =
  (...values: number[]) =>
  (producer: Producer, words: SyncWords): Received => {
    for (const [i, value] of values.entries()) put(producer, words, value, i === 0 ? 4 : RECORD);
    return [];
  };

const fixed =
  (...values: number[]) =>
  (producer: Producer, words: SyncWords): Received => {
    for (const value of values) put(producer, words, value);
    return [];
  };

/** Receives so many, fewer at the end of the queue. */
const receives =
  (count: number) =>
  (consumer: Consumer, words: SyncWords): Received => {
    const got: number[] = [];
    while (got.length < count) {
      const at = consumer.take();
      if (at < 0) break;
      got.push(words.i32[at >>> 2] ?? -1);
      consumer.release();
    }
    return got;
  };

const untilAlone =
  (act: (consumer: Consumer, words: SyncWords, got: number[]) => void) =>
  (consumer: Consumer, words: SyncWords): Received => {
    const got: number[] = [];
    try {
      act(consumer, words, got);
    } catch (error) {
      if (!(error instanceof Error && error.name === 'PeerGone')) throw error;
    }
    return got;
  };

const sorted = (lists: readonly (Received | undefined)[]): string =>
  lists
    .flatMap((list) => list ?? [])
    .toSorted((a, b) => a - b)
    .join();

const exactly =
  (...values: number[]) =>
  (received: readonly (Received | undefined)[]): void =>
    ensure(sorted(received) === values.join(), `received ${JSON.stringify(received)}`);

/** What threads do, by name. */
export const CASTS: Readonly<Record<string, Cast>> = {
  'one producer, one consumer, 2 records': {
    kind: 'spsc',
    producers: [fixed(1, 2)],
    consumers: [receives(2)],
    check: (received) => ensure(received[1]?.join() === '1,2', `received ${JSON.stringify(received)}`),
  },
  'one producer, one consumer, 3 records through room for 2': {
    kind: 'spsc',
    producers: [fixed(1, 2, 3)],
    consumers: [receives(3)],
    check: (received) => ensure(received[1]?.join() === '1,2,3', `received ${JSON.stringify(received)}`),
  },
  'one producer, one consumer, 2 records of different lengths': {
    kind: 'spsc',
    variable: true,
    producers: [submits(1, 2)],
    consumers: [receives(2)],
    check: (received) => ensure(received[1]?.join() === '1,2', `received ${JSON.stringify(received)}`),
  },
  'slots, one and one, 2 records': {
    kind: 'mpmc',
    producers: [fixed(1, 2)],
    consumers: [receives(2)],
    check: (received) => ensure(received[1]?.join() === '1,2', `received ${JSON.stringify(received)}`),
  },
  'slots, one and one, 3 records through room for 2': {
    kind: 'mpmc',
    producers: [fixed(1, 2, 3)],
    consumers: [receives(3)],
    check: (received) => ensure(received[1]?.join() === '1,2,3', `received ${JSON.stringify(received)}`),
  },
  'two producers, one consumer, a record each': {
    kind: 'mpsc',
    producers: [fixed(1), fixed(2)],
    consumers: [receives(2)],
    check: exactly(1, 2),
  },
  'one producer, two consumers, a record each': {
    kind: 'spmc',
    producers: [fixed(1, 2)],
    consumers: [receives(1), receives(1)],
    check: exactly(1, 2),
  },
  'two producers, two consumers, a record each': {
    kind: 'mpmc',
    producers: [fixed(1), fixed(2)],
    consumers: [receives(1), receives(1)],
    check: exactly(1, 2),
  },
  'the end of a queue': {
    kind: 'spsc',
    producers: [
      (producer, words) => {
        put(producer, words, 1);
        producer.close();
        return [];
      },
    ],
    consumers: [receives(9)],
    check: exactly(1),
  },
  'a producer dies beside another': {
    kind: 'mpsc',
    mortal: [0],
    producers: [
      (producer, words) => {
        put(producer, words, 1);
        producer.leave();
        return [];
      },
      (producer, words) => {
        put(producer, words, 2);
        producer.leave();
        return [];
      },
    ],
    consumers: [
      untilAlone((consumer, words, got) => {
        while (got.length < 2) {
          const at = consumer.take();
          got.push(words.i32[at >>> 2] ?? -1);
          consumer.release();
        }
      }),
    ],
    check: (received, died) => {
      const got = sorted(received);
      ensure(got === '1,2' || (died === 0 && got === '2'), `received ${got}, died ${died}`);
    },
  },
  'the only producer dies': {
    kind: 'spsc',
    mortal: [0],
    producers: [fixed(1)],
    consumers: [
      untilAlone((consumer, words, got) => {
        const at = consumer.take();
        got.push(words.i32[at >>> 2] ?? -1);
        consumer.release();
      }),
    ],
    check: (received, died) => ensure(sorted(received) === '1' || died === 0, `received ${sorted(received)}, died ${died}`),
  },
  'a consumer dies with a record, and its slot is wanted': {
    kind: 'mpmc',
    mortal: [1],
    producers: [
      (producer, words) => {
        for (const value of [1, 2, 3]) put(producer, words, value);
        producer.close();
        return [];
      },
    ],
    consumers: [receives(1), receives(9)],
    check: (received, died) => {
      const got = sorted(received);
      ensure(
        died === undefined ? got === '1,2,3' : received[2] !== undefined && new Set(received[2]).size === received[2].length,
        `received ${JSON.stringify(received)}, died ${died}`,
      );
      ensure(died === undefined || (received[2]?.length ?? 0) >= 2, `too few were received: ${JSON.stringify(received)}`);
    },
  },
};

export function program(code: Code, name: string): Program<Received> {
  const cast = CASTS[name];
  if (cast === undefined) throw new Error(`no such program: ${name}`);
  return programOf(code, cast);
}

// --- bugs -------------------------------------------------------------------------------------------------------------------

export interface Mutant {
  readonly name: string;
  /** Below src/lib/rings. */
  readonly file: string;
  /** Found exactly once in the built file, but for spaces. */
  readonly from: string;
  readonly to: string;
  /** The program that finds it. */
  readonly found: string;
  readonly preemptions?: number;
}

const ONE = 'one producer, one consumer, 2 records';
const ROOM = 'one producer, one consumer, 3 records through room for 2';
const SLOTS = 'slots, one and one, 2 records';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'does not look again before it sleeps',
    file: 'sides.js',
    from: 'at = this.attempt(length); if (at >= 0) return at; // Closed',
    to: '// Closed',
    found: ONE,
  },
  {
    name: 'looks before it takes the ticket',
    file: 'sides.js',
    from: 'bell = this.#lieDown(bell); at = this.attempt(length); if (at >= 0) return at;',
    to: 'at = this.attempt(length); if (at >= 0) return at; bell = this.#lieDown(bell);',
    found: ONE,
  },
  {
    name: 'notes the bell after it took the ticket',
    file: 'sides.js',
    from: 'if (rung !== bell) Atomics.add(this.i32, this.#tickets, 1); return rung;',
    to: 'if (rung !== bell) Atomics.add(this.i32, this.#tickets, 1); return Atomics.load(this.i32, this.#tickets + 1);',
    found: ONE,
  },
  {
    name: 'wakes without changing the bell',
    file: 'bell.js',
    from: 'Atomics.add(i32, tickets + 1, 1); words.wake(tickets + 1, count);',
    to: 'words.wake(tickets + 1, count);',
    found: ONE,
  },
  { name: 'changes the bell and wakes nobody', file: 'bell.js', from: 'words.wake(tickets + 1, count);', to: '', found: ONE },
  {
    name: 'looks for sleepers before it publishes',
    file: 'plain.js',
    from: 'Atomics.store(this.#i32, this.#tail, this.#next); if (Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, 1);',
    to: 'if (Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, 1); Atomics.store(this.#i32, this.#tail, this.#next);',
    found: ONE,
  },
  {
    name: 'does not wake a producer that waits for room',
    file: 'plain.js',
    from: 'if (Atomics.load(this.#i32, this.#waiters) !== 0) ring(this.#words, this.#waiters, 1);',
    to: '',
    found: ROOM,
  },
  {
    name: 'claims one more than there is room for',
    file: 'plain.js',
    from: 'this.#seen = Atomics.load(this.#i32, this.#head); if (((next - this.#seen) | 0) >= this.#capacity)',
    to: 'this.#seen = Atomics.load(this.#i32, this.#head); if (((next - this.#seen) | 0) > this.#capacity)',
    found: ROOM,
  },
  {
    name: 'publishes a slot before it is filled',
    file: 'slots.js',
    from: 'this.#last = at; i32[at + 1] = length;',
    to: 'this.#last = at; this.publish(); i32[at + 1] = length;',
    found: SLOTS,
  },
  {
    name: 'takes a slot without comparing',
    file: 'slots.js',
    from: 'if (Atomics.compareExchange(i32, at, found, lap | this.#mine) !== found) continue;',
    to: 'Atomics.store(i32, at, lap | this.#mine);',
    found: 'one producer, two consumers, a record each',
    preemptions: 1,
  },
  {
    name: 'claims a slot without comparing',
    file: 'slots.js',
    from: 'if (Atomics.compareExchange(i32, at, lap, lap | this.#mine) !== lap) continue;',
    to: 'Atomics.store(i32, at, lap | this.#mine);',
    found: 'two producers, one consumer, a record each',
    preemptions: 1,
  },
  {
    name: 'gives a slot back for the same lap',
    file: 'slots.js',
    from: 'this.#slots.next(Atomics.load(this.#i32, at)) | FREE',
    to: 'lapOf(Atomics.load(this.#i32, at)) | FREE',
    found: 'slots, one and one, 3 records through room for 2',
    preemptions: 1,
  },
  {
    name: 'leaves what a dead producer claimed',
    file: 'slots.js',
    from: 'state === CLAIMED ? lapOf(held) | (VOID << 2) | FILLED :',
    to: '',
    found: 'a producer dies beside another',
    preemptions: 0,
  },
  {
    name: 'leaves what a dead consumer had taken',
    file: 'slots.js',
    from: 'state === TAKEN ? slots.next(held) : held',
    to: 'held',
    found: 'a consumer dies with a record, and its slot is wanted',
    preemptions: 0,
  },
  {
    name: 'does not help a tail that a dead producer left behind',
    file: 'slots.js',
    from: 'Atomics.compareExchange(i32, this.#tail, tail, (tail + 1) | 0); // Of the lap before',
    to: 'return -1; // Of the lap before',
    found: 'a producer dies beside another',
    preemptions: 0,
  },
  {
    name: 'does not tell of a dead producer',
    file: 'sides.js',
    from: 'if (alone) throw this.#gone();',
    to: '',
    found: 'the only producer dies',
    preemptions: 0,
  },
  {
    name: 'closes without waking',
    file: 'sides.js',
    from: 'ringAll(this.words, this.shape.word + WORD.sleepers);',
    to: '',
    found: 'the end of a queue',
  },
];

/** The rings with a mutant's change, in a directory of their own; `dispose` removes it. */
export async function mutated(mutant: Mutant): Promise<{ code: Code; dispose: () => void }> {
  const directory = mkdtempSync(join(tmpdir(), 'twz-rings-'));
  const dispose = (): void => rmSync(directory, { recursive: true, force: true });
  for (const layer of ['abi', 'lib']) cpSync(join(BUILT, layer), join(directory, layer), { recursive: true });
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  const file = join(directory, 'lib/rings', mutant.file);
  const squeeze = (text: string): string => text.replaceAll(/\s+/g, ' ');
  // Comments end with their lines: they are kept apart by a mark.
  const text = readFileSync(file, 'utf8').replaceAll(/\/\/(.*)$/gm, '/*//$1*/');
  const built = squeeze(text);
  const from = squeeze(mutant.from).replace(/\/\/ (.*)$/, '/*// $1');
  const to = squeeze(mutant.to).replace(/\/\/ (.*)$/, '/*// $1');
  if (built.split(from).length !== 2) {
    dispose();
    throw new Error(`${mutant.name}: found ${built.split(from).length - 1} times in ${mutant.file}: ${mutant.from}`);
  }
  writeFileSync(
    file,
    built.replace(from, () => to),
  );
  return { code: await codeIn(directory), dispose };
}
