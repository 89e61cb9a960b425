/** T9: the allocator in an object: blocks, pages, what comes back, and what the object reports of it. */
import assert from 'node:assert/strict';
import { PAGE } from '../src/abi/format.ts';
import { onHosts } from './hosts.ts';

const LINUX = ['linux'] as const;

onHosts(
  'T9: allocateWithin gives 0, and no room, exactly where allocate would grow the object past the limit',
  (ground) => {
    const space = ground.open();
    space.relaxed(() => {
      const plain = space.createRaw(0).handle;
      const limited = space.createRaw(0).handle;
      // Past the embedded page map and its first chunks, which take pages of their own.
      for (const size of [16, 16, 2048, 2048, 2048, PAGE, 700 * PAGE, 8, 400 * PAGE, 5000 * PAGE, 48, 6000 * PAGE, PAGE]) {
        const before = limited.size;
        const at = plain.allocate(size);
        if (plain.size > before) {
          assert.equal(limited.allocateWithin(size, plain.size - 1), 0, `${size} bytes`);
          assert.equal(limited.size, before);
        }
        assert.equal(limited.allocateWithin(size, plain.size), at, `${size} bytes`);
        assert.equal(limited.size, plain.size);
      }
      assert.deepEqual(limited.u8.subarray(112, PAGE), plain.u8.subarray(112, PAGE));
    });
  },
  LINUX,
);
