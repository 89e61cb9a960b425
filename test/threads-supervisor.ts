/** A program that supervises: `threads-supervisor.js DIRECTORY`. It is told to stop, or killed. */
import { open, supervise } from '../src/index.ts';
import { Task } from './threads-work.ts';

const space = open(process.argv[2] ?? '');
const module = new URL('./threads-work.js', import.meta.url);
const argument = space.relaxed(() => space.create(Task, { what: 'spin' }));
const supervisor = supervise(
  space,
  [
    { name: 'process', module, argument, as: 'process', within: 1 },
    { name: 'thread', module, argument, as: 'thread', within: 1 },
  ],
  { name: 'staff' },
);
process.once('message', () => {
  void supervisor.stop().then(() => {
    space.close();
    process.disconnect();
  });
});
