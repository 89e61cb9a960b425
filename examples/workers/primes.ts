/** What the workers do, and what they share: pieces of a range, each counted by one of them. */
import { hashMap, ref, struct, u32, type Infer, type ThreadSelf } from '../../src/index.ts';

/** In shared memory, seen by all workers at once: who counts which piece. */
export const Board = struct('Board', {
  pieces: u32,
  size: u32,
  /** Offset of a word for each piece: 0 nobody, a thread's number, or DONE. */
  claims: u32,
});
export type Board = Infer<typeof Board>;

/** What must not be lost: the primes in each piece. */
export const Count = struct('Count', { board: ref(Board), found: hashMap(u32, u32) });
export const DONE = -1;

function primesIn(from: number, to: number): number {
  let primes = 0;
  next: for (let n = Math.max(2, from); n < to; n++) {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) continue next;
    primes++;
  }
  return primes;
}

/** Takes piece after piece, and those of workers that died, until all are counted. */
export async function main(thread: ThreadSelf): Promise<void> {
  const { board, found } = thread.argument(Count);
  if (board === null) throw new Error('there is no board');
  const { pieces, size, claims } = board;
  const { i32, threads } = thread.space.object(board).sync();
  for (let left = true; left && !thread.stopping;) {
    left = false;
    for (let piece = 0; piece < pieces; piece++) {
      const at = (claims >>> 2) + piece;
      const holder = Atomics.load(i32, at);
      if (holder === DONE) continue;
      left = true;
      if (holder !== 0 && threads.lives(holder)) continue;
      if (Atomics.compareExchange(i32, at, holder, threads.self) !== holder) continue;
      const primes = primesIn(piece * size, (piece + 1) * size);
      // Killed between these two it is counted again, and gives the same.
      thread.space.relaxed(() => void found.set(piece, primes));
      Atomics.store(i32, at, DONE);
      thread.point();
    }
    // Let others be heard: those that ask it to stop, and what they have committed.
    await new Promise(setImmediate);
  }
}
