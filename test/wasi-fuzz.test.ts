/** T21: calls of WASI with random and boundary arguments. The seed is printed; `npm run wasi:grind` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WASI_CALLS } from '../src/runtime/wasi/wasi.ts';
import { FuzzFailure, fuzzWasi, type Sabotage } from '../src/testing/wasi-fuzz.ts';
import { Ground, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

/** Nothing that these give is ever a socket, and nothing comes back from the last one. */
const NEVER = ['proc_exit', 'sock_accept', 'sock_recv', 'sock_send', 'sock_shutdown'];

test('T21: thousands of calls with hostile arguments end with error numbers, within the program, and leave a sound space', (t) => {
  const seed = Math.trunc(Date.now() / 1000) % 1_000_000;
  const ground = new Ground('linux', t);
  const { calls, succeeded, errors } = fuzzWasi(ground.host, ground.directory, seed, amount(2500, 6000));
  t.diagnostic(`seed ${seed}: ${calls} calls, ${succeeded.size} of ${WASI_CALLS.size} went well, ${errors.size} error numbers`);
  // What a seed cannot do without is asked of a fixed one, below.
  assert.ok(succeeded.size >= amount(15, 20) && errors.size >= 8, 'the fuzz must get somewhere');
});

test('T21: a fixed seed reaches every call that can go well', (t) => {
  const ground = new Ground('simulated', t);
  const { succeeded } = fuzzWasi(ground.host, ground.directory, 5, 8000);
  assert.deepEqual(
    [...WASI_CALLS.keys()].filter((name) => !succeeded.has(name)),
    NEVER,
  );
});

const CANARIES: Readonly<Record<string, Sabotage>> = {
  'a number that is none': (imports) => {
    imports['sched_yield'] = () => 9999;
  },
  'an exception': (imports) => {
    imports['fd_tell'] = () => {
      throw new RangeError('out of bounds');
    };
  },
  'a byte behind what may be written': (imports, memory) => {
    const call = imports['clock_res_get'];
    imports['clock_res_get'] = (...args) => {
      const errno = call?.(...args);
      const at = Number(args[1]) + 8;
      if (errno === 0 && at < memory.length) memory[at] = ~(memory[at] ?? 0);
      return errno;
    };
  },
  'what lies outside': (imports, memory) => {
    const call = imports['random_get'];
    imports['random_get'] = (...args) => {
      const errno = call?.(...args);
      const secret = new TextEncoder().encode('nobody who is in there may see this');
      if (errno === 0 && Number(args[1]) > 64) memory.set(secret, Number(args[0]) >>> 0);
      return errno;
    };
  },
  'a socket made of anything': (imports) => {
    imports['args_get'] = () => 'yes';
  },
};

for (const [what, sabotage] of Object.entries(CANARIES)) {
  test(`T21: the fuzz finds ${what}`, (t) => {
    const ground = new Ground('simulated', t);
    const error = thrown(() => fuzzWasi(ground.host, ground.directory, 5, 4000, { sabotage }));
    assert.ok(error instanceof FuzzFailure, String(error));
  });
}
