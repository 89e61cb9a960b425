/** T8: transactions that a process died in the middle of leave frames in the log, and the next process goes on from where they begin. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { bytes, objectOf, open, struct, u32, type Space } from '../src/index.ts';

const Note = struct('UnfinishedNote', { number: u32, body: bytes });
const DIRECTORY = '/space';
/** More than the log's tail holds, so that the first frames are in the segment long before the last. */
const LARGE = 150_000;

const openOn = (host: SimulatedHost): Space => open(DIRECTORY, { host, segmentSize: 65536 });

test('T8: what a process died in the middle of does not hide what the next one commits', (t) => {
  const host = new SimulatedHost({ windowSize: 1 << 22 });
  const space = openOn(host);
  const note = space.relaxed(() => space.create(Note, { number: 1 }));
  const { id } = objectOf(note);
  const deaths: { readonly call: string; readonly machine: SimulatedHost }[] = [];
  host.onPoint = (_, call) => deaths.push({ call, machine: host.kill() });
  space.relaxed(() => {
    note.number = 2;
    note.body = new Uint8Array(LARGE).fill(7);
  });
  host.onPoint = undefined;
  assert.ok(deaths.length > 2);
  for (const { call, machine } of deaths) {
    const second = openOn(machine);
    const found = second.get(id, Note);
    assert.deepEqual([found.number, found.body.length], [1, 0], call);
    second.relaxed(() => (found.number = 3));
    // It dies, too, before any of this is in a segment.
    const third = openOn(machine.kill());
    assert.equal(third.get(id, Note).number, 3, `after ${call}`);
    third.relaxed(() => (third.get(id, Note).number = 4));
    third.sync();
    assert.equal(openOn(hostOf(third).crash({ mode: 'lose' })).get(id, Note).number, 4);
  }
  t.diagnostic(`${deaths.length} deaths in the middle of a transaction`);
});

function hostOf(space: Space): SimulatedHost {
  const { host } = space.kernel;
  assert.ok(host instanceof SimulatedHost);
  return host;
}
