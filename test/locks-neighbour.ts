/** A process of its own in a space that others have open: `locks-neighbour.js DIRECTORY`. It does with the board what its parent says. */
import { open, type ObjectId } from '../src/index.ts';
import { LockBoard, LockHolder } from './locks-types.ts';

const space = open(process.argv[2] ?? '');

export type Say =
  | { readonly say: 'count'; readonly holder: ObjectId; readonly rounds: number }
  | { readonly say: 'make'; readonly holder: ObjectId };

process.on('message', (order: Say) => {
  const holder = space.get(order.holder, LockHolder);
  if (order.say === 'make') {
    space.relaxed(() => (holder.board = space.create(LockBoard, { total: 70 }, { kind: 'shared' })));
  } else {
    const { board } = holder;
    if (board === null) throw new Error('no board');
    const { lock, counter } = board;
    for (let i = 0; i < order.rounds; i++) {
      using _ = lock.lockSync();
      board.total++;
      counter.add(1);
    }
  }
  process.send?.('done');
});
process.send?.('ready');
