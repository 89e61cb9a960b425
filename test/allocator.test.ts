/** T9: the allocator in an object: blocks, pages, what comes back, and what the object reports of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { META, PAGE, PAGE_KIND, SIZE_CLASSES } from '../src/abi/format.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { open, type Obj, type ObjectId, type Space } from '../src/index.ts';
import { pageEntry } from '../src/kernel/allocator.ts';
import { Handle } from '../src/kernel/object.ts';
import { checkSpace } from '../src/services/check.ts';
import { fails, onHosts, type Ground } from './hosts.ts';
import { amount } from './thorough.ts';

const LINUX = ['linux'] as const;
const SIMULATED = ['simulated'] as const;
const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const LARGEST = SIZE_CLASSES.at(-1) ?? 0;

/** What a block of `size` bytes takes. */
const taken = (size: number): number => (size > LARGEST ? Math.ceil(size / PAGE) * PAGE : (SIZE_CLASSES.find((c) => c >= size) ?? 0));

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const isFilled = (bytes: Uint8Array, at: number, length: number, fill: number): boolean =>
  isSame(bytes.subarray(at, at + length), new Uint8Array(length).fill(fill));

function sound(ground: { host: Ground['host']; directory: string }): void {
  const { findings } = checkSpace(ground.host, ground.directory);
  assert.deepEqual(
    findings.filter(({ severity, name }) => severity !== 'note' && name !== 'LogBroken'),
    [],
  );
}

// --- against a plain model ----------------------------------------------------------------------------------------------------

interface Block {
  readonly at: number;
  readonly size: number;
  readonly fill: number;
}

type Step =
  | { readonly kind: 'allocate'; readonly size: number; readonly count: number }
  | { readonly kind: 'free'; readonly share: number };
type Command =
  | { readonly kind: 'transaction'; readonly steps: readonly Step[]; readonly fail: boolean }
  | { readonly kind: 'close' | 'kill' | 'crash' | 'checkpoint' };

const sizes = fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: LARGEST }), fc.integer({ min: 1, max: 5 * PAGE }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('allocate' as const), size: sizes, count: fc.integer({ min: 1, max: 150 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('free' as const), share: fc.constantFrom(0.1, 0.5, 0.9, 1) }) },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('transaction' as const),
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
      fail: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'kill', 'crash', 'checkpoint') }) },
);

/** The object and what it must hold. */
class World {
  host = new SimulatedHost({ windowSize: 1 << 24 });
  readonly directory = '/space';
  space: Space;
  readonly id: ObjectId;
  blocks: Block[] = [];
  #turn = 0;

  constructor() {
    this.space = this.#open();
    this.id = this.space.relaxed(() => this.space.createRaw(0).id);
  }

  #open(): Space {
    return open(this.directory, { host: this.host, segmentSize: 1 << 18 });
  }

  get object(): Obj {
    return this.space.object(this.id);
  }

  run(each: Command): void {
    switch (each.kind) {
      case 'transaction':
        this.#transaction(each.steps, each.fail);
        return;
      case 'checkpoint':
        this.space.checkpoint();
        return;
      case 'close':
        this.space.close();
        break;
      case 'kill':
        this.host = this.host.kill();
        break;
      case 'crash':
        this.space.sync();
        this.host = this.host.crash({ mode: 'random', seed: ++this.#turn });
    }
    this.space = this.#open();
  }

  #transaction(steps: readonly Step[], fail: boolean): void {
    const { object } = this;
    const before = object.bytes(META.classes);
    const kept = this.blocks.slice();
    const version = object.version;
    try {
      this.space.relaxed(() => {
        for (const each of steps) this.#step(object, each);
        if (fail) throw new Error('on purpose');
      });
    } catch (error) {
      assert.ok(error instanceof Error && error.message === 'on purpose', String(error));
      this.blocks = kept;
      assert.ok(isSame(object.bytes(META.classes), before), 'an abort puts every byte back');
      assert.equal(object.version, version);
    }
  }

  #step(object: Obj, each: Step): void {
    if (each.kind === 'free') {
      // Scattered, and the same in each run.
      const going = new Set(this.blocks.filter((_, i) => (i * 7919) % 10 < each.share * 10));
      for (const { at } of going) object.free(at);
      this.blocks = this.blocks.filter((block) => !going.has(block));
      return;
    }
    for (let i = 0; i < each.count; i++) {
      const at = object.allocate(each.size);
      const room = taken(each.size);
      if (each.size >= 16) assert.equal(at % 16, 0);
      assert.ok(isFilled(object.handle.u8, at, room, 0), 'a block is handed out zeroed');
      const fill = ++this.#turn & 0xff;
      object.handle.markRange(at, room);
      object.handle.u8.fill(fill, at, at + room);
      this.blocks.push({ at, size: each.size, fill });
    }
  }

  check(): void {
    const { object } = this;
    const bytes = object.bytes();
    let used = 0;
    for (const { at, size, fill } of this.blocks) {
      used += taken(size);
      assert.ok(isFilled(bytes, at, taken(size), fill), `the block of ${size} bytes at ${at} holds what was stored`);
    }
    const usage = object.usage();
    assert.equal(usage.used - (usage.pages.metadata + usage.pages.tables) * PAGE, used, 'nothing leaks, nothing is given twice');
    assert.equal(usage.size, object.size);
    assert.equal(usage.pages.total * PAGE, usage.size);
    const { metadata, small, large, tables, free } = usage.pages;
    assert.equal(metadata + small + large + tables + free, usage.pages.total);
    assert.ok(usage.used + usage.free <= usage.size);
  }
}

test(`T9: any sequence of allocations, releases, aborts and deaths leaves what a plain model says; seed ${SEED}`, () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 4, maxLength: 25 }), (commands) => {
      const world = new World();
      for (const each of commands) {
        world.run(each);
        world.check();
      }
      world.space.close();
      sound(world);
      world.host.discard();
    }),
    { seed: SEED, numRuns: Number(process.env['FC_RUNS'] ?? amount(6, 15)), includeErrorInReport: true, endOnFailure: true },
  );
});

// --- coming back --------------------------------------------------------------------------------------------------------------

onHosts(
  'T9: an object whose blocks change size for ever stays as large as it was; pages of one size become pages of another',
  (ground) => {
    let space = ground.open();
    const id = space.relaxed(() => space.createRaw(0).id);
    let largest = 0;
    for (let round = 0; round < 60; round++) {
      const size = [24, 700, 48, 2000, 9000, 130, 1300][round % 7] ?? 8;
      const object = space.object(id);
      const at = space.relaxed(() => Array.from({ length: Math.floor(200_000 / size) }, () => object.allocate(size)));
      space.relaxed(() => {
        for (const each of at) object.free(each);
      });
      largest = Math.max(largest, object.size);
      if (round % 9 === 8) space = round % 2 === 0 ? ground.afterClose(space) : ground.afterDeath(space);
    }
    // 200,000 bytes at a time, and the parts of pages that no whole block fits into.
    assert.ok(largest < 2.2 * 200_000, `${largest} bytes`);
    space.close();
    sound(ground);
  },
  SIMULATED,
);

onHosts(
  'T9: a page with one block in use stays; it comes back with that block',
  (ground) => {
    const space = ground.open();
    space.relaxed(() => {
      const object = space.createRaw(0);
      const at = Array.from({ length: 1024 }, () => object.allocate(64));
      const { size } = object;
      const [kept, ...others] = at;
      assert.ok(kept !== undefined);
      object.handle.markRange(kept, 64);
      object.handle.u8.fill(7, kept, kept + 64);
      for (const each of others) object.free(each);
      assert.equal(object.usage().pages.small, 16, 'nobody has asked for pages yet');
      for (let i = 0; i < 14; i++) object.allocate(LARGEST + 1);
      assert.equal(object.size, size, 'the pages that were given back');
      assert.equal(object.usage().pages.small, 1);
      assert.ok(isFilled(object.bytes(), kept, 64, 7));
      object.free(kept);
      // The free list goes on through the blocks that stayed.
      const again = new Set(Array.from({ length: 64 }, () => object.allocate(64)));
      assert.equal(again.size, 64);
      assert.equal(object.usage().pages.small, 1);
    });
    space.close();
    sound(ground);
  },
  SIMULATED,
);

onHosts(
  'T9: what was released before the object was opened counts as well',
  (ground) => {
    let space = ground.open();
    const id = space.relaxed(() => {
      const object = space.createRaw(0);
      const at = Array.from({ length: 640 }, () => object.allocate(64));
      for (const each of at) object.free(each);
      return object.id;
    });
    const { size } = space.object(id);
    space = ground.afterClose(space);
    space.relaxed(() => space.object(id).allocate(8 * PAGE));
    assert.equal(space.object(id).size, size);
    space.close();
    sound(ground);
  },
  SIMULATED,
);

onHosts(
  'T9: free pages are found first fit, and in runs, whatever was searched for before',
  (ground) => {
    const space = ground.open();
    fc.assert(
      fc.property(fc.array(fc.record({ pages: fc.integer({ min: 1, max: 80 }), free: fc.nat(99) }), { maxLength: 120 }), (steps) => {
        space.relaxed(() => {
          const object = space.createRaw(0);
          const h = object.handle;
          assert.ok(h instanceof Handle);
          const held: { at: number; pages: number }[] = [];
          for (const { pages, free } of steps) {
            if (free > 55 && held.length > 0) {
              const [gone] = held.splice(free % held.length, 1);
              if (gone !== undefined) object.free(gone.at);
              continue;
            }
            const before = h.size / PAGE;
            let expected = 0;
            for (let page = 1, run = 0; page < before && expected === 0; page++) {
              run = pageEntry(h, page) === PAGE_KIND.free ? run + 1 : 0;
              if (run === pages) expected = page - pages + 1;
            }
            const at = object.allocate(Math.max(pages * PAGE, LARGEST + 1));
            if (expected === 0) assert.ok(at >= before * PAGE, 'no run is large enough: at the end');
            else assert.equal(at, expected * PAGE, 'the first run that is large enough');
            held.push({ at, pages });
          }
        });
      }),
      { seed: SEED, numRuns: 60, includeErrorInReport: true, endOnFailure: true },
    );
  },
  LINUX,
);

// --- refusals -----------------------------------------------------------------------------------------------------------------

onHosts(
  'T9: a block that is released twice, or was never handed out, is refused, and nothing has changed',
  (ground) => {
    const space = ground.open();
    const id = space.relaxed(() => space.createRaw(0).id);
    const object = space.object(id);
    const refused = (at: number): void => {
      const before = object.bytes(META.classes);
      fails('PointerCorrupt', () => space.relaxed(() => object.free(at)));
      assert.ok(isSame(object.bytes(META.classes), before));
    };
    for (const size of [8, 24, 64, 1360, 2048, 5000]) {
      const [first, second] = space.relaxed(() => [object.allocate(size), object.allocate(size)]);
      assert.ok(first !== undefined && second !== undefined);
      space.relaxed(() => object.free(first));
      refused(first);
      // Not only the one that was released last.
      space.relaxed(() => object.free(second));
      refused(first);
      refused(first + 4);
      refused(second + 1);
    }
    const last = space.relaxed(() => object.allocate(320));
    refused(last + 320);
    // 1360 goes three times into a page, and 16 bytes are left over.
    const three = space.relaxed(() => [object.allocate(1360), object.allocate(1360), object.allocate(1360)]);
    const end = Math.max(...three);
    refused(Math.floor(end / PAGE) * PAGE + 4080);
    // The mark of a free block in a block that is in use, by chance or by ill will.
    space.relaxed(() => {
      const at = object.allocate(64);
      object.free(at);
      const mark = object.handle.dv.getUint32(at + 4, true);
      assert.notEqual(mark, 0);
      assert.equal(object.allocate(64), at);
      object.handle.dv.setUint32(at + 4, mark, true);
      object.free(at);
    });
    space.close();
    sound(ground);
  },
  SIMULATED,
);

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
