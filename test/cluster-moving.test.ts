/** G2: what moves between nodes, and by which bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { open, struct, u32, vec } from '../src/index.ts';

const Numbers = struct('Numbers', { values: vec(u32) });

test('G2 whoever taps the log is told of each transaction once, where segments are used again and have old bytes behind their last frame', () => {
  const space = open('/space', { host: new SimulatedHost(), segmentSize: 1 << 17, checkpointBytes: 1 << 18 });
  const numbers = space.relaxed(() => space.create(Numbers));
  const { kernel } = space;
  const told: { sections: number; lsn: number }[] = [];
  let sections = 0;
  kernel.tap = {
    section: (_id, words, at, end) => {
      assert.ok(end > at && end <= words.length);
      sections++;
    },
    committed: (lsn) => void told.push({ sections: sections, lsn }),
  };
  for (let i = 0; i < 300; i++) {
    sections = 0;
    const length = 100 + ((i * 7919) % 9000);
    space.relaxed(() => (numbers.values.clear(), numbers.values.extend(new Uint32Array(length).fill(i + 1))));
    assert.equal(told.length, i + 1);
    const last = told[i];
    assert.ok(last !== undefined && last.lsn === kernel.log.end && last.sections > 0 && last.sections <= 4, JSON.stringify(last));
  }
  kernel.tap = undefined;
  space.close();
});
