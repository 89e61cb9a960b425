/** Syscalls about threads of a program: sleeping on words and waking who sleeps. */
import { TwzError } from '../../abi/errors.ts';
import { Region } from '../../host/futex.ts';
import { threadSync, word, type ThreadSyncOp } from '../../lib/sync/thread-sync.ts';
import type { Caller } from '../caller.ts';
import type { Handlers } from '../syscalls.ts';

const OPERATION_BYTES = 24;
const OPERATIONS_MAX = 1024;
const SLEEP = 0;
const WAKE = 1;
/** Milliseconds of one sleep: in between is looked whether the program's time is over. */
const SLICE_MS = 20;
const NANOS_A_MS = 1e6;

export function threadCalls(caller: Caller): Handlers {
  const { memory, host } = caller;
  let all: Region | undefined;
  const wordAt = (address: number): ReturnType<typeof word> => {
    if (address % 4 !== 0) throw new TwzError('WordMisaligned', `a word of 32 bits cannot begin at ${address}`, { at: address });
    memory.bytes(address, 4, 'read');
    all ??= new Region(host.futex, new Uint8Array(caller.buffer));
    return word(all, address);
  };

  return {
    thread_sync: (a) => {
      const at = a.u32();
      const count = a.u32();
      const timeout = a.i64();
      if (count > OPERATIONS_MAX) throw new TwzError('OutOfRange', `${count} operations; at most ${OPERATIONS_MAX} are allowed`, { count });
      const given = memory.view(at, count * OPERATION_BYTES, 'write');
      const ops: ThreadSyncOp[] = [];
      for (let i = 0; i < count; i++) {
        const from = i * OPERATION_BYTES;
        const place = wordAt(given.getUint32(from, true));
        const what = given.getUint32(from + 4, true);
        const value = Number(given.getBigInt64(from + 8, true));
        if (what === SLEEP) ops.push({ sleep: place, value: value | 0 });
        else if (what === WAKE) ops.push({ wake: place, count: Math.max(0, value) });
        else throw new TwzError('InvalidArgument', `operation ${i} is ${what}; there are 0 (sleep) and 1 (wake)`, { operation: i });
      }
      const end = timeout < 0n ? Infinity : host.now() + Number(timeout) / NANOS_A_MS;
      let first: readonly (number | boolean)[] | undefined;
      for (let left = ops; ; left = ops.filter((op) => 'sleep' in op)) {
        const { outcome, results } = threadSync(left, { timeout: Math.max(0, Math.min(SLICE_MS, end - host.now())) });
        first ??= results;
        if (outcome === 'timedOut' && host.now() < end) {
          caller.rest();
          continue;
        }
        const put = memory.view(at, count * OPERATION_BYTES, 'write');
        let ready = 0;
        const said = left === ops ? results : first;
        for (const [i, result] of said.entries()) {
          put.setBigInt64(i * OPERATION_BYTES + 16, BigInt(Number(result)), true);
          if (Number(result) > 0) ready++;
        }
        if (outcome === 'timedOut' && ready === 0) throw new TwzError('WaitTimeout', 'nobody came before the time was over');
        return ready;
      }
    },
  };
}
