/**
 * Words that several threads and processes see at once: what threadSync, locks and queues are made of. A region of memory, mapped from
 * the same file by everyone who takes part, or the same buffer; a word is named by its index there (byte offset / 4).
 *
 * Rules for who sleeps and who wakes:
 * - Change the word first (Atomics), then wake. A sleeper whose word no longer has the value that it named does not sleep.
 * - `woken` says that somebody woke this word, not that it has changed: look again.
 */

/** Why a wait came back. `changed`: the word did not have the value, so there was no sleep. */
export type Wait = 'woken' | 'changed' | 'timedOut';

export interface SyncWords {
  /** The whole region as words, for Atomics. */
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly dv: DataView;
  /** Sleeps while i32[index] === value. Blocks the thread. `timeout` in milliseconds; Infinity by default. */
  wait(index: number, value: number, timeout?: number): Wait;
  /** The same as a promise; the event loop goes on. Rejects with the signal's reason where that aborts it. */
  waitAsync(index: number, value: number, timeout?: number, signal?: AbortSignal): Promise<Wait>;
  /** Wakes up to `count` sleepers on that word, in this and other processes; all of them by default. Returns how many. */
  wake(index: number, count?: number): number;
}
