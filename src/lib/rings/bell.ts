/**
 * Sleeping and waking without a system call while nobody sleeps. Two words: tickets, and behind it the bell.
 *
 * To sleep:  b = bell; tickets += 1; look again for what is waited for; sleep while bell = b.
 * To wake:   make it so; if tickets is not 0: take one; bell += 1; wake one sleeper.
 *
 * Invariants, which the explorer in testing/ checks for programs of a few threads:
 * 1. Tickets are at least as many as threads that sleep, or are about to with the bell's value of now. Each ring takes one ticket, and
 *    takes away at least one such thread: it wakes one, or those that are about to sleep find another bell.
 * 2. A ticket is never given back, only taken by a ring: one that is left over costs one needless wake later, or is used again for
 *    the next sleep if the bell has not changed since. Who dies asleep leaves a ticket, not a wrong count.
 * 3. A ring takes its ticket before it changes the bell. So while the bell has the value that a sleeper noted, its ticket is there,
 *    or the ring that took it will still change the bell.
 */
import type { SyncWords } from '../../abi/sync.ts';

/** Wakes up to `count` of those who sleep. Call it where tickets are not 0. */
export function ring(words: SyncWords, tickets: number, count: number): void {
  const { i32 } = words;
  for (;;) {
    const sleepers = Atomics.load(i32, tickets);
    if (sleepers === 0) return;
    if (Atomics.compareExchange(i32, tickets, sleepers, Math.max(0, sleepers - count)) === sleepers) break;
  }
  Atomics.add(i32, tickets + 1, 1);
  words.wake(tickets + 1, count);
}

/** Wakes everyone. */
export function ringAll(words: SyncWords, tickets: number): void {
  Atomics.add(words.i32, tickets + 1, 1);
  words.wake(tickets + 1);
}
