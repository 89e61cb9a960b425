/** T14: what threads are sent: messages, references, records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fails, rejects } from './hosts.ts';
import { scene } from './threads-scene.ts';
import { NOTES, Task } from './threads-work.ts';

for (const [as, what] of [
  ['thread', 'messages'],
  ['process', 'messages'],
  ['thread', 'messages, blocking'],
] as const) {
  test(`T14 a ${as} gets ${what}: bytes, values, and references to objects`, async (t) => {
    const { space, task, start, until } = scene(t, what);
    const thread = start({ as });
    const other = space.relaxed(() => space.create(Task, { n: 77 }));
    thread.send(Uint8Array.of(1, 2, 3));
    thread.send({ any: ['value', 1.5] });
    thread.send(space.object(other));
    await thread.sendAsync(other);
    const told = 'bytes 1 2 3;{"any":["value",1.5]};object with 77;object with 77;';
    await until(() => task.told === told);
    fails('OutOfRange', () => thread.send(new Uint8Array(1024)));
    fails('ValueMismatch', () => thread.send(() => 0));
    await until(() => thread.status === 'sleeping');
    // What was there before it was asked to stop still arrives.
    thread.send('last');
    thread.requestStop();
    assert.equal((await thread.waitAsync()).code, 10);
    space.refresh();
    assert.equal(task.told, `${told}"last";`);
    fails('ThreadEnded', () => thread.send('more'));
    await rejects('ThreadEnded', thread.sendAsync('more'));
    fails('ThreadEnded', () => thread.post(1));
  });
}

test('T14 a mailbox that is full: who sends is told, or waits; nobody waits for a thread that is dead', async (t) => {
  const { start, until, task } = scene(t, 'wait');
  const thread = start({ as: 'process', mailbox: { records: 2, longest: 40 } });
  await until(() => task.told !== '');
  thread.send('a');
  thread.send('b');
  fails('QueueFull', () => thread.send('c'));
  await rejects('QueueTimedOut', thread.sendAsync('c', { timeout: 5 }));
  const sending = thread.sendAsync('c');
  thread.kill();
  await rejects('ThreadEnded', sending);
});

test('T14 a mailbox of records that the program chooses', async (t) => {
  const { start } = scene(t, 'notes');
  const thread = start({ as: 'thread', mailbox: { record: NOTES, records: 8 } });
  const producer = thread.mailbox(NOTES).producer();
  for (let n = 1; n <= 100; n++) await producer.submitAsync({ n, by: 1 });
  producer.close();
  assert.equal((await thread.waitAsync()).code, 5050);
  fails('QueueInvalid', () => start({ mailbox: { record: NOTES } }).send('no message'));
});
