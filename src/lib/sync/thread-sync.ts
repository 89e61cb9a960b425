/**
 * threadSync: sleep on a set of words while each still has its value, and wake who sleeps on others, in one call. Words are of shared
 * objects, so sleepers and wakers may be threads or processes.
 *
 * Operations run in the order of the array. A sleep whose word does not have the value is `ready`. The thread sleeps only if there is a
 * sleep and none was ready; what was stored before a wake is seen by whoever it wakes. There are no full tables, so nobody is woken
 * for want of room in one.
 */
import { TwzError } from '../../abi/errors.ts';
import { WAIT_WORDS_MAX, checkWord, type Awakening, type SyncWords, type WordState } from '../../abi/sync.ts';
import { Obj } from '../object.ts';

/** A word to sleep on or to wake: of 32 bits, or of 64. */
export interface SyncWord {
  readonly words: SyncWords;
  readonly index: number;
  readonly bits: 32 | 64;
}

export type ThreadSyncOp =
  /** Sleeps while the word has the value; with `invert`, while it has another. */
  | { readonly sleep: SyncWord; readonly value: number | bigint; readonly invert?: boolean }
  /** Wakes up to `count` sleepers on the word; all by default. */
  | { readonly wake: SyncWord; readonly count?: number };

export interface ThreadSyncOptions {
  /** Milliseconds; Infinity by default. */
  readonly timeout?: number;
}

export interface ThreadSyncAsyncOptions extends ThreadSyncOptions {
  /** Ends the wait: the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ThreadSyncResult {
  /** `ready`: there was no reason to sleep. `woken`: slept, and was woken. `timedOut`: nobody came. */
  readonly outcome: 'ready' | 'woken' | 'timedOut';
  /** The sleep that ended the call, as its place among the operations; -1 for none. */
  readonly at: number;
  /** For each operation: of a sleep whether its word was ready, of a wake how many were woken. */
  readonly results: readonly (number | boolean)[];
}

/** The word at a byte offset of a shared object, or of a region of words. Throws NotShared, WordMisaligned, OutOfRange. */
export function word(where: Obj | SyncWords, offset: number, bits: 32 | 64 = 32): SyncWord {
  const words = where instanceof Obj ? where.sync() : where;
  if (offset % (bits / 8) !== 0)
    throw new TwzError('WordMisaligned', `a word of ${bits} bits cannot begin at offset ${offset}`, { offset, bits });
  const index = offset / 4;
  checkWord(words, index);
  if (bits === 64) checkWord(words, index + 1);
  return { words, index, bits };
}

interface Sleep {
  readonly op: number;
  readonly word: SyncWord;
  readonly value: number | bigint;
  readonly invert: boolean;
}

function load({ words, index, bits }: SyncWord): number | bigint {
  if (bits === 32) return Atomics.load(words.i32, index);
  return Atomics.load(new BigInt64Array(words.i32.buffer, words.i32.byteOffset + index * 4, 1), 0);
}

function valueFor({ bits }: SyncWord, value: number | bigint): number | bigint {
  if (bits === 64) return BigInt.asIntN(64, BigInt(value));
  const number = Number(value);
  if (!(Number.isInteger(number) && number >= -(2 ** 31) && number < 2 ** 32))
    throw new TwzError('OutOfRange', `a word of 32 bits never has the value ${value}`, { value: number });
  return number | 0;
}

/** Runs the operations. Gives the result where there is no sleep, and else what to sleep on. */
function begin(ops: readonly ThreadSyncOp[]): { result: ThreadSyncResult | undefined; sleeps: Sleep[]; results: (number | boolean)[] } {
  const sleeps: Sleep[] = [];
  const results: (number | boolean)[] = [];
  let first = -1;
  for (const op of ops) if (!('wake' in op)) valueFor(op.sleep, op.value);
  for (const [i, op] of ops.entries()) {
    if ('wake' in op) {
      results.push(op.wake.words.wake(op.wake.index, op.count));
      continue;
    }
    const value = valueFor(op.sleep, op.value);
    const invert = op.invert === true;
    checkWord(op.sleep.words, op.sleep.index);
    const ready = (load(op.sleep) === value) === invert;
    results.push(ready);
    if (ready && first < 0) first = i;
    sleeps.push({ op: i, word: op.sleep, value, invert });
  }
  const idle = first >= 0 || sleeps.length === 0;
  return { result: idle ? { outcome: 'ready', at: first, results } : undefined, sleeps, results };
}

/** The words of 32 bits that stand for the sleeps, or the sleep that has become ready. Sleeps by word are told in `owners`. */
function statesOf(sleeps: readonly Sleep[], owners: Sleep[]): WordState[] | Sleep {
  const states: WordState[] = [];
  owners.length = 0;
  for (const sleep of sleeps) {
    const { words, index, bits } = sleep.word;
    const now = load(sleep.word);
    if ((now === sleep.value) === sleep.invert) return sleep;
    // The low half first: who changes either half wakes on that one, and it is slept on before the other is compared.
    const halves = typeof now === 'number' ? [now] : [Number(BigInt.asIntN(32, now)), Number(BigInt.asIntN(32, now >> 32n))];
    for (let half = 0; half < bits / 32; half++) {
      states.push({ words, index: index + half, value: halves[half] as number });
      owners.push(sleep);
    }
  }
  if (states.length > WAIT_WORDS_MAX)
    throw new TwzError('OutOfRange', `sleeps on ${states.length} words of 32 bits; the limit is ${WAIT_WORDS_MAX}`, {
      count: states.length,
    });
  return states;
}

/** The result of one wait, or undefined where it must be gone on with: an inverted word has another wrong value, whoever woke it. */
function ended({ why, at }: Awakening, owners: readonly Sleep[], results: (number | boolean)[]): ThreadSyncResult | undefined {
  if (why === 'timedOut') return { outcome: 'timedOut', at: -1, results };
  const sleep = owners[at] as Sleep;
  if (sleep.invert && load(sleep.word) !== sleep.value) return undefined;
  results[sleep.op] = true;
  return { outcome: why === 'woken' ? 'woken' : 'ready', at: sleep.op, results };
}

/** Blocks the thread: for workers, and for programs that have nothing else to do. */
export function threadSync(ops: readonly ThreadSyncOp[], options: ThreadSyncOptions = {}): ThreadSyncResult {
  const { result, sleeps, results } = begin(ops);
  if (result !== undefined) return result;
  const words = wordsFor(sleeps);
  const { timeout = Infinity } = options;
  const deadline = words.threads.now() + timeout;
  const owners: Sleep[] = [];
  for (let left = timeout; ; left = Math.max(0, deadline - words.threads.now())) {
    const states = statesOf(sleeps, owners);
    if (!Array.isArray(states)) return readyBy(states, results);
    const done = ended(words.waitAny(states, left), owners, results);
    if (done !== undefined) return done;
  }
}

/** The same as a promise: the event loop goes on meanwhile. */
export async function threadSyncAsync(ops: readonly ThreadSyncOp[], options: ThreadSyncAsyncOptions = {}): Promise<ThreadSyncResult> {
  options.signal?.throwIfAborted();
  const { result, sleeps, results } = begin(ops);
  if (result !== undefined) return result;
  const words = wordsFor(sleeps);
  const { timeout = Infinity, signal } = options;
  const deadline = words.threads.now() + timeout;
  const owners: Sleep[] = [];
  for (let left = timeout; ; left = Math.max(0, deadline - words.threads.now())) {
    const states = statesOf(sleeps, owners);
    if (!Array.isArray(states)) return readyBy(states, results);
    const done = ended(await words.waitAnyAsync(states, left, signal), owners, results);
    if (done !== undefined) return done;
  }
}

function readyBy(sleep: Sleep, results: (number | boolean)[]): ThreadSyncResult {
  results[sleep.op] = true;
  return { outcome: 'ready', at: sleep.op, results };
}

function wordsFor(sleeps: readonly Sleep[]): SyncWords {
  return (sleeps[0] as Sleep).word.words;
}
