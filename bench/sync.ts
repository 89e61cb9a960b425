/**
 * What threads and processes pay for waiting for each other: a mutex that nobody else wants, and a question and its answer between two
 * processes, by looking all the time and by sleeping in the system.
 *
 * The C program does the same on the same words with the same system call. The raw loop is JavaScript on the mapped words without any of
 * this package's code in the loop.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Mutex, sharedWords, type SyncWords } from '../src/index.ts';
import { compile } from './c.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, nanoseconds, timeEach } from './harness.ts';
import { ANSWERED, ASKED, SYNC_CHILD, awaitChange, mapWords, tell } from './sync-child.ts';

/** One side of a round trip, in this process. */
type Ask = (words: SyncWords, round: number, spins: number) => void;

const ours: Ask = (words, round, spins) => {
  tell(words, ASKED, round, spins);
  awaitChange(words, ANSWERED, round - 1, spins);
};

const raw: Ask = ({ i32 }, round) => {
  Atomics.store(i32, ASKED, round);
  while (Atomics.load(i32, ANSWERED) === round - 1);
};

/** Nanoseconds a round trip. The first round waits until the other process is there. */
function roundTrip(context: Context, name: string, rounds: number, spins: number, ask: Ask): Side {
  let words: SyncWords | undefined;
  const measure = async (): Promise<number> => {
    words ??= mapWords(context.directory);
    words.i32.fill(0);
    const child = spawn(process.execPath, [SYNC_CHILD, context.directory, String(rounds), String(spins)], { stdio: 'inherit' });
    const ended = once(child, 'exit');
    // The process is started by the event loop, which the rounds would hold up.
    await once(child, 'spawn');
    ask(words, 1, spins);
    const start = nanoseconds();
    for (let i = 2; i <= rounds; i++) ask(words, i, spins);
    const took = nanoseconds() - start;
    await ended;
    return took / (rounds - 1);
  };
  return { name, measure };
}

function inC(context: Context, name: string, rounds: number, spins: number): Side | Absent {
  const program = compile(context.directory, 'futex', { source: 'futex.c' });
  if (!('run' in program)) return { name, absent: program.absent };
  return { name, measure: () => program.run([`${context.directory}/c-words`, rounds, spins])[0] ?? Number.NaN };
}

function uncontended(context: Context): Side {
  const lock = new Mutex(sharedWords(new SharedArrayBuffer(4096)), 64);
  const count = context.size(5_000_000, 20_000);
  return {
    name: 'mutex, nobody else wants it',
    measure: () =>
      timeEach(count, () => {
        for (let i = 0; i < count; i++) {
          lock.lockSync();
          lock.unlock();
        }
      }),
  };
}

async function run(context: Context): Promise<void> {
  const bare = new Int32Array(new SharedArrayBuffer(4096));
  const count = context.size(5_000_000, 20_000);
  await compare(context, 'sync', {
    name: 'mutex: lock and unlock',
    unit: 'ns',
    better: 'lower',
    ours: uncontended(context),
    limit: 100,
    peers: [
      {
        reference: true,
        side: {
          name: 'two compare-and-exchanges',
          measure: () =>
            timeEach(count, () => {
              for (let i = 0; i < count; i++) {
                Atomics.compareExchange(bare, 5, 0, 7);
                Atomics.compareExchange(bare, 5, 7, 0);
              }
            }),
        },
      },
    ],
  });
  const looking = context.size(400_000, 500);
  await compare(context, 'sync', {
    name: 'round trip between processes, looking',
    unit: 'ns',
    better: 'lower',
    ours: roundTrip(context, 'words', looking, -1, ours),
    peers: [
      { side: roundTrip(context, 'a raw loop in Node', looking, -1, raw), target: 1.5, reference: true },
      { side: inC(context, 'C', looking, -1), reference: true },
    ],
  });
  const sleeping = context.size(20_000, 100);
  await compare(context, 'sync', {
    name: 'round trip between processes, sleeping',
    unit: 'ns',
    better: 'lower',
    ours: roundTrip(context, 'words', sleeping, 0, ours),
    peers: [{ side: inC(context, 'C and futex(2)', sleeping, 0), target: 1.2, reference: true }],
  });
}

export const sync: Benchmark = { name: 'sync', about: 'a mutex, and questions and answers between two processes', run };
