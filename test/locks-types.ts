/** What the processes of the locks' tests share. */
import { counter, mutex, ref, struct, u32 } from '../src/index.ts';

export const LockBoard = struct('LockBoard', { lock: mutex, counter, total: u32 });
export const LockHolder = struct('LockHolder', {
  get board() {
    return ref(LockBoard);
  },
});
