/** Syscalls about the program itself: its end, its arguments, its streams, time and chance. */
import { PAGE } from '../../abi/format.ts';
import { SYSCALL_ABI } from '../../abi/syscalls.ts';
import { TwzError } from '../../abi/errors.ts';
import type { Caller } from '../caller.ts';
import { ProgramExit } from '../exit.ts';
import type { Handlers } from '../syscalls.ts';

const UTF8 = new TextEncoder();
/** Bytes of chance a call. */
const RANDOM_MAX = 1 << 20;

export function programCalls(caller: Caller): Handlers {
  const { host, arguments: given } = caller;
  return {
    null: () => 0,
    exit: (a) => {
      throw new ProgramExit(a.i32());
    },
    error: (a) => a.fill(a.buffer(), UTF8.encode(caller.lastError)),
    info: (a) => {
      const which = a.u32();
      const known = [SYSCALL_ABI, PAGE, caller.heap, host.processors, caller.thread][which];
      if (known === undefined) throw new TwzError('OutOfRange', `there is no information ${which}`, { which });
      return known;
    },
    write: (a) => {
      const stream = a.u32();
      const data = a.bytes();
      if (stream !== 1 && stream !== 2) throw new TwzError('InvalidArgument', `stream ${stream} cannot be written to`, { stream });
      caller.write(stream, data.slice());
      return data.length;
    },
    read: (a) => {
      const stream = a.u32();
      const into = a.buffer();
      if (stream !== 0) throw new TwzError('InvalidArgument', `stream ${stream} cannot be read from`, { stream });
      const data = caller.read(into.capacity);
      return a.fill(into, data.subarray(0, into.capacity));
    },
    clock: (a) => {
      const which = a.u32();
      if (which > 1) throw new TwzError('InvalidArgument', `there is no clock ${which}`, { which });
      return BigInt(Math.round((which === 0 ? host.now() : host.time()) * 1e6));
    },
    random: (a) => {
      const into = a.buffer();
      if (into.capacity > RANDOM_MAX)
        throw new TwzError('OutOfRange', `${into.capacity} random bytes; a call gives no more than ${RANDOM_MAX}`);
      return a.fill(into, host.random(into.capacity));
    },
    arguments: () => given.length,
    argument: (a) => {
      const index = a.u32();
      const into = a.buffer();
      const text = given[index];
      if (text === undefined) throw new TwzError('OutOfRange', `there is no argument ${index}`, { index });
      return a.fill(into, UTF8.encode(text));
    },
  };
}
