/** T8: stores that no accessor sees, by typed arrays and WebAssembly, are part of the transaction. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { PAGE } from '../src/abi/format.ts';
import type { WasmMemory } from '../src/host/wasm-memory.ts';
import {
  array,
  bytes,
  f64,
  objectOf,
  offsetOf,
  optional,
  ref,
  struct,
  text,
  u16,
  u32,
  type Infer,
  type Obj,
  type Space,
} from '../src/index.ts';
import { onHosts, type Ground, fails } from './hosts.ts';

const Cell = struct('Cell', {
  value: u32,
  name: text,
  data: bytes,
  small: optional(u16),
  row: array(f64, 6),
  get next() {
    return ref(Cell);
  },
});
type Cell = Infer<typeof Cell>;

class Stop extends Error {}

/** Runs a transaction that is thrown out of at its end. */
function aborted(space: Space, body: () => void): void {
  assert.throws(
    () =>
      space.relaxed(() => {
        body();
        throw new Stop();
      }),
    Stop,
  );
}

function make(space: Space, count: number): Cell[] {
  return space.relaxed(() =>
    Array.from({ length: count }, (_, value) => space.create(Cell, { value, name: `cell ${value}`, row: [1, 2, 3, 4, 5, 6] })),
  );
}

// --- raw stores ---------------------------------------------------------------------------------------------------------------

/** One byte of WebAssembly a line: a module that exports `set(address, value)`, i32.store8, and `copy(to, from, length)`. */
const MODULE = Uint8Array.from(
  [
    [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version
    [0x01, 0x0c, 0x02, 0x60, 0x02, 0x7f, 0x7f, 0x00, 0x60, 0x03, 0x7f, 0x7f, 0x7f, 0x00], // types (i32, i32), (i32, i32, i32)
    [0x02, 0x0b, 0x01, 0x01, 0x6d, 0x01, 0x6d, 0x02, 0x03, 0x01, 0x80, 0x80, 0x04], // import m.m: shared memory, 1 to 65536 pages
    [0x03, 0x03, 0x02, 0x00, 0x01], // two functions
    [0x07, 0x0e, 0x02, 0x03, 0x73, 0x65, 0x74, 0x00, 0x00, 0x04, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x01], // exports
    [0x0a, 0x18, 0x02],
    [0x09, 0x00, 0x20, 0x00, 0x20, 0x01, 0x3a, 0x00, 0x00, 0x0b], // i32.store8
    [0x0c, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfc, 0x0a, 0x00, 0x00, 0x0b], // memory.copy
  ].flat(),
);

interface Program {
  set(address: number, value: number): void;
  copy(to: number, from: number, length: number): void;
}

interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: Program };
}

function program(memory: WasmMemory | { readonly buffer: ArrayBufferLike }): Program {
  const { Module, Instance } = Reflect.get(globalThis, 'WebAssembly') as WebAssemblyApi;
  return new Instance(new Module(MODULE), { m: { m: memory } }).exports;
}

/** A raw object of `size` bytes, in its file unless it is to be fresh. */
function rawObject(space: Space, size: number, inFile: boolean): Obj {
  const object = space.relaxed(() => {
    const made = space.createRaw(size);
    return made;
  });
  if (inFile) space.checkpoint();
  return object;
}

const LARGE = 200_000;
for (const size of [9000, LARGE]) {
  for (const inFile of [true, false]) {
    const kind = `${size === LARGE ? 'large' : 'small'}, ${inFile ? 'in its file' : 'in the log only'}`;
    onHosts(`T8: typed-array and WebAssembly stores are committed, aborted and recovered like any other: ${kind}`, (ground) => {
      let space = ground.open();
      const object = rawObject(space, size, inFile);
      const base = object.rootOffset;
      const last = base + size - 1;
      const state = (): number[] => [...object.bytes(base, 4), ...object.bytes(base + 5000, 2), object.bytes(last, 1)[0] ?? -1];
      space.relaxed(() => {
        const raw = object.raw(0);
        raw[base] = 1;
        raw[base + 5000] = 2;
        raw[last] = 3;
      });
      assert.deepEqual(state(), [1, 0, 0, 0, 2, 0, 3]);
      aborted(space, () => {
        const raw = object.raw(0);
        raw[base] = 11;
        raw[base + 1] = 12;
        raw[base + 5001] = 13;
        raw[last] = 14;
        assert.deepEqual(state(), [11, 12, 0, 0, 2, 13, 14]);
      });
      assert.deepEqual(state(), [1, 0, 0, 0, 2, 0, 3]);
      if (ground.host.openWindow().memory !== undefined) {
        const { memory, address } = space.relaxed(() => object.wasm());
        const wasm = program(memory);
        space.relaxed(() => {
          wasm.set(address + base + 2, 21);
          wasm.copy(address + base + 5001, address + base, 1);
        });
        assert.deepEqual(state(), [1, 0, 21, 0, 2, 1, 3]);
        aborted(space, () => {
          wasm.set(address + base + 3, 31);
          wasm.copy(address + base + 5000, address + base, 100);
          wasm.set(address + last, 32);
        });
        assert.deepEqual(state(), [1, 0, 21, 0, 2, 1, 3]);
      } else {
        space.relaxed(() => {
          const raw = object.raw(0);
          raw[base + 2] = 21;
          raw[base + 5001] = 1;
        });
      }
      // A checkpoint in between writes the committed bytes, not the others.
      const loose = space.relaxed(() => object.raw(0));
      loose[base + 3] = 99;
      space.checkpoint();
      const { id } = object;
      space = ground.afterDeath(space);
      const again = space.object(id);
      assert.deepEqual([...again.bytes(base, 4), ...again.bytes(base + 5000, 2), again.bytes(last, 1)[0]], [1, 0, 21, 0, 2, 1, 3]);
      space.relaxed(() => (again.raw(0)[base] = 41));
      again.releaseRaw();
      space.relaxed(() => again.allocate(100));
      space.checkpoint();
      assert.deepEqual([...again.bytes(base, 4)], [41, 0, 21, 0]);
      assert.equal(ground.afterDeath(space).object(id).bytes(base, 1)[0], 41);
    });
  }
}

function mixed(ground: Ground, inFile: boolean): void {
  let space = ground.open();
  const [cell] = make(space, 1) as [Cell];
  const object = objectOf(cell);
  if (inFile) space.checkpoint();
  const at = offsetOf(cell); // value u32, then 4 bytes of text reference
  const row = at + (Cell.layout.fields.find(({ name }) => name === 'row')?.offset ?? 0);
  const f = (raw: Uint8Array, index: number, value: number): void =>
    new DataView(raw.buffer, raw.byteOffset).setFloat64(row + index * 8, value, true);
  // Accessor before, raw in the middle, accessor after, on the same lines; the first raw view is taken with stores already made.
  space.relaxed(() => {
    cell.value = 10;
    cell.row.set(0, 100);
    const raw = object.raw(0);
    f(raw, 1, 200);
    cell.row.set(2, 300);
    f(raw, 0, 101);
    cell.value = 11;
  });
  const state = (of: Cell): number[] => [of.value, ...of.row.toArray()];
  assert.deepEqual(state(cell), [11, 101, 200, 300, 4, 5, 6]);
  const raw = space.relaxed(() => object.raw(0));
  for (const order of ['raw first', 'accessor first', 'raw only'] as const) {
    aborted(space, () => {
      if (order !== 'accessor first') f(raw, 3, -1);
      if (order !== 'raw only') {
        cell.value = 55;
        cell.row.set(3, -2);
        cell.name = 'cell X';
      }
      f(raw, 4, -3);
      f(raw, 0, -4);
    });
    assert.deepEqual(state(cell), [11, 101, 200, 300, 4, 5, 6], order);
    assert.equal(cell.name, 'cell 0');
  }
  // A store outside a transaction joins the next that commits, and goes with one that aborts.
  f(raw, 5, 600);
  space.relaxed(() => (cell.value = 12));
  f(raw, 4, 500);
  aborted(space, () => (cell.value = 13));
  assert.deepEqual(state(cell), [12, 101, 200, 300, 4, 5, 600]);
  // Accessor stores before the raw ones in a later transaction, and the other way round.
  space.relaxed(() => {
    cell.row.set(5, 601);
    f(raw, 4, 501);
  });
  space.relaxed(() => {
    f(raw, 4, 502);
    cell.row.set(5, 602);
  });
  const { id } = object;
  f(raw, 3, -9);
  object.releaseRaw();
  object.releaseRaw();
  assert.deepEqual(state(cell), [12, 101, 200, 300, 4, 502, 602], 'what no transaction took is dropped with the view');
  space.relaxed(() => (cell.value = 14));
  space = ground.afterDeath(space);
  assert.deepEqual(state(space.get(id, Cell)), [14, 101, 200, 300, 4, 502, 602]);
}

for (const inFile of [true, false]) {
  onHosts(
    `T8: raw and accessor stores on the same line, in any order, with aborts (${inFile ? 'in its file' : 'in the log only'})`,
    (ground) => mixed(ground, inFile),
  );
}

onHosts('T8: raw stores into memory that the aborted transaction had taken leave nothing behind', (ground) => {
  let space = ground.open();
  const cell = space.relaxed(() => space.create(Cell, {}, { reserve: 1 << 20 }));
  const object = objectOf(cell);
  space.checkpoint();
  space.relaxed(() => object.raw());
  aborted(space, () => {
    const at = object.allocate(30_000);
    object.raw(0).fill(0xee, at, at + 30_000);
  });
  space.relaxed(() => {
    const at = object.allocate(30_000);
    assert.ok(object.bytes(at, 30_000).every((byte) => byte === 0));
  });
  const { id } = object;
  const image = object.bytes(PAGE);
  space = ground.afterDeath(space);
  assert.deepEqual(space.object(id).bytes(PAGE), image);
});

onHosts('T8: an object with raw views stays where it is: growth that must move it is refused, and the old value stays', (ground) => {
  const space = ground.open();
  const [cell] = make(space, 1) as [Cell];
  const object = objectOf(cell);
  const raw = space.relaxed(() => object.raw(0));
  space.relaxed(() => {
    fails('ObjectPinned', () => (cell.data = new Uint8Array(1 << 20)));
    fails('ObjectPinned', () => (cell.name = 'x'.repeat(1 << 20)));
    fails('ObjectPinned', () => space.delete(cell));
    cell.value = 3;
  });
  assert.deepEqual([cell.data.length, cell.name, cell.value], [0, 'cell 0', 3]);
  assert.equal(raw[offsetOf(cell)], 3);
  object.releaseRaw();
  space.relaxed(() => (cell.data = new Uint8Array(1 << 20).fill(1)));
  assert.equal(cell.data.length, 1 << 20);
});

onHosts('T8: raw views are counted: the last one let go of ends them, and not within a transaction', (ground) => {
  const space = ground.open();
  const [cell] = make(space, 1) as [Cell];
  const object = objectOf(cell);
  space.relaxed(() => object.raw());
  space.relaxed(() => object.raw());
  object.releaseRaw();
  fails('TransactionNested', () => space.relaxed(() => object.releaseRaw()));
  space.relaxed(() => fails('ObjectPinned', () => space.delete(cell)));
  object.releaseRaw();
  object.releaseRaw();
  space.relaxed(() => space.delete(cell));
});

onHosts('T8: after the death of a process between two raw transactions the file has neither half', (ground) => {
  // The file is written with the committed bytes of a page whose image has others.
  const space = ground.open();
  const object = rawObject(space, LARGE, true);
  const base = object.rootOffset;
  const raw = space.relaxed(() => object.raw(0));
  for (let i = 0; i < 10; i++) {
    space.relaxed(() => (raw[base + i * 4096] = i + 1));
    raw[base + i * 4096 + 1] = 0xff;
    if (i % 3 === 0) space.checkpoint();
    aborted(space, () => (raw[base + i * 4096 + 2] = 0xfe));
  }
  const { id } = object;
  const again = ground.afterDeath(space).object(id);
  for (let i = 0; i < 10; i++) assert.deepEqual([...again.bytes(base + i * 4096, 3)], [i + 1, 0, 0]);
  assert.ok(ground.name === 'simulated' || fs.existsSync(ground.directory));
});
