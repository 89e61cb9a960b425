/**
 * Words that several threads and processes see at once: what threadSync, locks and queues are made of. A region of memory, mapped from
 * the same file by everyone who takes part, or the same buffer; a word is named by its index there (byte offset / 4).
 *
 * Rules for who sleeps and who wakes:
 * - Change the word first (Atomics), then wake. A sleeper whose word no longer has the value that it named does not sleep.
 * - `woken` says that somebody woke this word, not that it has changed: look again.
 */
import { TwzError } from './errors.ts';

/** Why a wait came back. `changed`: the word did not have the value, so there was no sleep. */
export type Wait = 'woken' | 'changed' | 'timedOut';

/** Sleep while the word has this value. */
export interface WordState {
  readonly words: SyncWords;
  readonly index: number;
  readonly value: number;
}

/** How a wait on several words ended; `at` says by which of them, -1 for none. */
export interface Awakening {
  readonly why: Wait;
  readonly at: number;
}

export interface SyncWords {
  /** The whole region as words, for Atomics. Empty once the region is gone. */
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly dv: DataView;
  /** Sleeps while i32[index] === value. Blocks the thread. `timeout` in milliseconds; Infinity by default. */
  wait(index: number, value: number, timeout?: number): Wait;
  /** The same as a promise; the event loop goes on. Rejects with the signal's reason where that aborts it. */
  waitAsync(index: number, value: number, timeout?: number, signal?: AbortSignal): Promise<Wait>;
  /** Wakes up to `count` sleepers on that word, in this and other processes; all of them by default. Returns how many. */
  wake(index: number, count?: number): number;
  /** Sleeps while every one of up to 127 words has its value. They may be of several regions of this host. */
  waitAny(states: readonly WordState[], timeout?: number): Awakening;
  waitAnyAsync(states: readonly WordState[], timeout?: number, signal?: AbortSignal): Promise<Awakening>;
  readonly threads: Threads;
}

/** Who is who among the threads that share words. A thread is a number from 1 to THREAD_MASK, alike in all processes. */
export interface Threads {
  /** The calling thread. */
  readonly self: number;
  /** The first thread of a process, 0 where there is none. */
  of(pid: number): number;
  /** False only where that thread has certainly ended. */
  lives(thread: number): boolean;
  /** How a thread ended that is not cleared away yet, as wait(2) tells it: the signal, and above 8 bits the code. Undefined where that is gone. */
  ending(thread: number): number | undefined;
  /** For people: "process 17" or "thread 19 of process 17", and whether it is stopped. */
  show(thread: number): string;
  /** Milliseconds, monotonic. */
  now(): number;
}

/** The bits of a word that a thread's number takes. The others are free for who owns the word. */
export const THREAD_MASK = 0x3fffffff;

/** Words that one wait can sleep on. */
export const WAIT_WORDS_MAX = 127;

/** Throws OutOfRange where there is no such word. */
export function checkWord(words: Pick<SyncWords, 'i32'>, index: number): void {
  const { length } = words.i32;
  if (index >= 0 && index < length && Number.isInteger(index)) return;
  if (length === 0) throw new TwzError('StaleReference', 'the shared words are gone: their object was unmapped or the space closed');
  throw new TwzError('OutOfRange', `there is no word ${index}; the region has ${length}`, { index, length });
}

/** Throws InvalidArgument unless it is a number of milliseconds or Infinity. */
export function checkTimeout(timeout: number): void {
  if (!(timeout >= 0))
    throw new TwzError('InvalidArgument', `a timeout of ${timeout}; expected milliseconds from 0, or Infinity`, { timeout });
}
