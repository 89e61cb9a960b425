/**
 * The primes below a million, counted by three supervised processes over one shared board. Now and then one of them is killed: it is started
 * again, and another takes over what it was at. Argument: directory (default ./space).
 */
import { open, supervise } from '../../src/index.ts';
import { Board, Count } from './primes.ts';

const WORKERS = 3;
const PIECES = 400;
const SIZE = 2500;
/** Pieces after which a worker is killed. */
const KILL_EVERY = 120;

const space = open(process.argv[2] ?? './space');
const count = space.relaxed(() => {
  const board = space.create(Board, { pieces: PIECES, size: SIZE }, { kind: 'shared' });
  board.claims = space.object(board).allocate(PIECES * 4);
  return space.create(Count, { board });
});

const supervisor = supervise(
  space,
  Array.from({ length: WORKERS }, (_, i) => ({
    name: `worker ${i}`,
    module: new URL('./primes.js', import.meta.url),
    argument: count,
    as: 'process' as const,
  })),
  { backoff: { first: 1 }, restartsMax: 100 },
);

let kills = 0;
const killing = setInterval(() => {
  if (count.found.size >= (kills + 1) * KILL_EVERY) supervisor.children[kills++ % WORKERS]?.kill();
}, 5);
// Who has come to its end well is not started again: when all have, so has the supervisor.
await supervisor.ended;
clearInterval(killing);
space.refresh();

let primes = 0;
for (const each of count.found.values()) primes += each;
console.log(`${supervisor.state.restarts} times a worker was killed, and started again`);
console.log(`${count.found.size} pieces of ${PIECES} counted: ${primes} primes below ${PIECES * SIZE}`);
space.close();
