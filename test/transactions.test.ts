/** T8, T9: transactions are atomic over many objects, whoever stores: accessors, typed arrays, WebAssembly. */
import assert from 'node:assert/strict';
import { isTwzError } from '../src/abi/errors.ts';
import { PAGE } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import { array, bytes, f64, objectOf, optional, ref, same, struct, text, u16, u32, type Infer, type Space } from '../src/index.ts';
import { onHosts, thrown, fails } from './hosts.ts';

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

const idsOf = (cells: readonly Cell[]): ObjectId[] => cells.map((cell) => objectOf(cell).id);

// --- T8: atomic ---------------------------------------------------------------------------------------------------------------

onHosts('T8: a transaction over many objects, creations and deletions happens whole, and survives the death of the process', (ground) => {
  let space = ground.open();
  const ids = idsOf(make(space, 50));
  const made = space.relaxed(() => {
    ids.forEach((id, i) => (space.get(id, Cell).value = 1000 + i));
    for (const id of ids.slice(40)) space.delete(id);
    const fresh = space.create(Cell, { name: 'fresh' });
    fresh.next = space.get(ids[3] as ObjectId, Cell);
    space.get(ids[4] as ObjectId, Cell).next = fresh;
    return objectOf(fresh).id;
  });
  const check = (): void => {
    assert.deepEqual(
      ids.map((id) => space.has(id)),
      Array.from({ length: 50 }, (_, i) => i < 40),
    );
    assert.deepEqual(
      ids.slice(0, 40).map((id) => space.get(id, Cell).value),
      Array.from({ length: 40 }, (_, i) => 1000 + i),
    );
    assert.equal(space.get(made, Cell).next?.value, 1003);
    assert.ok(same(space.get(ids[4] as ObjectId, Cell).next, space.get(made, Cell)));
  };
  check();
  space = ground.afterDeath(space);
  assert.equal(space.stat().recovery.transactions, 2);
  check();
  space = ground.afterClose(space);
  assert.equal(space.stat().recovery.transactions, 0);
  check();
});

onHosts('T8: a thrown error undoes everything: fields, texts, references, memory, sizes, creations, deletions, names', (ground) => {
  let space = ground.open();
  const [a, b] = make(space, 2) as [Cell, Cell];
  space.relaxed(() => {
    a.next = b;
    a.data = new Uint8Array(500).fill(3);
    a.small = 9;
    space.names.set('/a', a);
  });
  const images = [a, b].map((cell) => objectOf(cell).export());
  const all = [...space.ids()].sort();
  for (let round = 0; round < 3; round++) {
    aborted(space, () => {
      a.value = 1;
      a.name = 'something much longer than before, in a block of another class';
      a.data = new Uint8Array(100_000).fill(7);
      a.small = undefined;
      a.row.set(2, 99);
      a.next = space.create(Cell, { name: 'new' });
      for (let i = 0; i < 500; i++) b.next = space.make(Cell, b, { value: i, name: `made ${i}` });
      space.delete(b);
      space.names.set('/b', a);
      space.names.remove('/a');
      assert.equal(a.value, 1);
      assert.equal(a.row.get(2), 99);
      assert.equal(a.small, undefined);
    });
    assert.deepEqual(
      [a, b].map((cell) => objectOf(cell).export()),
      images,
    );
    assert.deepEqual([...space.ids()].sort(), all);
    assert.deepEqual(
      space.names.list().map(({ name }) => name),
      ['a'],
    );
    if (round === 0) space.checkpoint();
  }
  space = ground.afterDeath(space);
  assert.deepEqual(
    idsOf([a, b]).map((id) => space.object(id).bytes(PAGE)),
    images.map((image) => image.slice(PAGE)),
  );
  assert.equal(space.stat().transactions.aborts, 0);
});

onHosts('T8: what an aborted transaction used is as good as new for the next one', (ground) => {
  let space = ground.open();
  const [a] = make(space, 1) as [Cell];
  aborted(space, () => {
    for (let i = 0; i < 300; i++) space.make(Cell, a, { name: `x ${i}`, data: new Uint8Array(3000).fill(0xff) });
  });
  const id = objectOf(a).id;
  space.relaxed(() => {
    // Memory that is handed out is zero, whatever lay there a moment ago.
    for (let i = 0; i < 300; i++) {
      const made = space.make(Cell, a);
      assert.deepEqual(
        [made.value, made.name, made.data.length, made.small, made.next, ...made.row.toArray()],
        [0, '', 0, undefined, null, 0, 0, 0, 0, 0, 0],
      );
    }
    const block = objectOf(a).allocate(100_000);
    assert.ok(
      objectOf(a)
        .bytes(block, 100_000)
        .every((byte) => byte === 0),
    );
  });
  const image = objectOf(a).bytes(PAGE);
  space = ground.afterDeath(space);
  assert.deepEqual(space.object(id).bytes(PAGE), image);
});

onHosts('T8: an accessor that an aborted transaction made says so', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  let made: Cell | undefined;
  aborted(space, () => (made = space.create(Cell)));
  fails('StaleReference', () => made?.value);
  fails('StaleReference', () => space.relaxed(() => (a.next = made ?? null)));
  assert.equal(a.next, null);
});

onHosts('T8: a nested transaction is part of the outer one, and its failure dooms it', (ground) => {
  const space = ground.open();
  const [a, b] = make(space, 2) as [Cell, Cell];
  const result = space.relaxed(() => {
    a.value = 10;
    const inner = space.relaxed(() => {
      b.value = 20;
      return space.relaxed(() => a.value + b.value);
    });
    return inner + 1;
  });
  assert.equal(result, 31);
  aborted(space, () => space.relaxed(() => (a.value = 11)));
  assert.deepEqual([a.value, b.value], [10, 20]);
  assert.throws(
    () =>
      space.relaxed(() => {
        a.value = 12;
        // Caught, and yet the outer one cannot go on as if nothing had been.
        thrown(() =>
          space.relaxed(() => {
            b.value = 21;
            throw new Stop();
          }),
        );
        b.value = 22;
      }),
    Stop,
  );
  assert.deepEqual([a.value, b.value], [10, 20]);
  assert.equal(
    space.relaxed(() => (a.value = 13)),
    13,
  );
});

onHosts('T8: a durable transaction inside another is as durable, and as aborted, as that one', async (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  const promises: Promise<number>[] = [];
  space.relaxed(() => {
    promises.push(space.durable(() => (a.value = 5)));
  });
  assert.deepEqual(await ground.until(Promise.all(promises)), [5]);
  assert.equal(space.stat().log.synced, space.stat().log.end);
  let refused: Promise<number> | undefined;
  aborted(space, () => {
    refused = space.durable(() => (a.value = 6));
    refused.catch(() => undefined);
  });
  // Another abort before the first is looked at.
  aborted(space, () => (a.value = 7));
  assert.ok(refused !== undefined);
  await assert.rejects(ground.until(refused));
  assert.equal(a.value, 5);
});

onHosts('T8: an asynchronous function is refused, and nothing of it happens, nested or not', async (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  const later = async (): Promise<void> => {
    a.value = 77;
    await Promise.resolve();
    a.value = 78;
  };
  fails('TransactionAsync', () => space.relaxed(later));
  assert.equal(a.value, 0);
  fails('TransactionAsync', () =>
    space.relaxed(() => {
      a.name = 'x';
      void space.relaxed(later);
    }),
  );
  assert.deepEqual([a.value, a.name], [0, 'cell 0']);
  const refused = space.durable(later);
  await assert.rejects(refused, (error) => isTwzError(error, 'TransactionAsync'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(a.value, 0);
});

onHosts('T8: outside a transaction no store of any kind is taken', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  const stores: Record<string, () => unknown> = {
    number: () => (a.value = 1),
    text: () => (a.name = 'x'),
    bytes: () => (a.data = new Uint8Array(3)),
    optional: () => (a.small = 3),
    'absent optional': () => (a.small = undefined),
    element: () => a.row.set(0, 1),
    array: () => Reflect.set(a, 'row', [1, 2]),
    reference: () => (a.next = a),
    null: () => (a.next = null),
    make: () => space.make(Cell, a),
    free: () => space.free(a),
    create: () => space.create(Cell),
    createRaw: () => space.createRaw(10),
    copy: () => space.copy(a),
    seal: () => space.seal(a),
    delete: () => space.delete(a),
    tie: () => space.tie(a, a),
    raw: () => objectOf(a).raw(),
    allocate: () => objectOf(a).allocate(8),
    import: () => space.import(objectOf(a).export()),
  };
  const image = objectOf(a).export();
  for (const [what, store] of Object.entries(stores)) {
    const error = thrown(store);
    assert.ok(isTwzError(error, what === 'tie' ? undefined : 'NotInTransaction'), `${what}: ${String(error)}`);
  }
  assert.deepEqual(objectOf(a).export(), image);
  for (const idle of [() => space.close(), () => space.checkpoint(), () => space.sync(), () => space.snapshot()]) {
    fails('TransactionNested', () => space.relaxed(idle));
  }
  assert.equal(a.value, 0);
});

onHosts('T8: a refused value changes nothing, and the transaction can go on', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  space.relaxed(() => {
    fails('OutOfRange', () => (a.value = -1));
    fails('OutOfRange', () => (a.small = 70_000));
    fails('ValueMismatch', () => Reflect.set(a, 'name', 5));
    fails('ValueMismatch', () => Reflect.set(a, 'next', {}));
    fails('OutOfRange', () => a.row.set(6, 1));
    const count = [...space.ids()].length;
    fails('OutOfRange', () => space.create(Cell, { name: 'half', value: -1 }));
    assert.equal([...space.ids()].length, count);
    a.name = 'went on';
  });
  assert.deepEqual([a.value, a.small, a.name, a.next, a.row.get(5)], [0, undefined, 'went on', null, 6]);
});

onHosts('T8: an error message of the log comes before any effect; a transaction of many frames is one transaction', (ground) => {
  let space = ground.open({ segmentSize: 65536, checkpointBytes: 256 << 20 });
  // Every byte differs from the one before it: the log needs all the room that was reckoned with.
  const blob = (seed: number): Uint8Array => {
    const bytes = new Uint8Array(700_000);
    for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((((i * 2654435761) >>> 13) + seed) % 255);
    return bytes;
  };
  const a = space.relaxed(() => space.create(Cell, { data: blob(0) }));
  const id = objectOf(a).id;
  for (let round = 1; round < 12; round++) space.relaxed(() => (a.data = blob(round)));
  aborted(space, () => (a.data = blob(99)));
  space = ground.afterDeath(space);
  assert.equal(space.stat().recovery.transactions, 12);
  assert.ok(Buffer.from(space.get(id, Cell).data).equals(blob(11)));
});

onHosts('T8: a transaction that changed nothing is none', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  const { version } = objectOf(a);
  const { end } = space.stat().log;
  space.relaxed(() => undefined);
  space.relaxed(() => {
    a.value = 0;
    a.name = 'cell 0';
  });
  space.relaxed(() => {
    a.value = 1;
    a.value = 0;
  });
  assert.deepEqual([objectOf(a).version, space.stat().log.end], [version, end]);
  space.relaxed(() => (a.value = 1));
  assert.equal(objectOf(a).version, version + 1);
});

// --- T8: durability -----------------------------------------------------------------------------------------------------------

onHosts('T8: durable resolves once the log is synced; many in flight share syncs', async (ground) => {
  const space = ground.open();
  const cells = make(space, 64);
  await ground.until(space.durable(() => ((cells[0] as Cell).value = 7)));
  assert.equal(space.stat().log.synced, space.stat().log.end);
  const { syncs } = space.stat().log;
  const order: number[] = [];
  await ground.until(Promise.all(cells.map((cell, i) => space.durable(() => (cell.value = 100 + i)).then(() => order.push(i)))));
  assert.deepEqual(
    order,
    cells.map((_, i) => i),
  );
  assert.equal(space.stat().log.synced, space.stat().log.end);
  assert.ok(space.stat().log.syncs - syncs <= 8, `${space.stat().log.syncs - syncs} syncs for 64 transactions`);
  space.relaxed(() => ((cells[0] as Cell).value = 8));
  await ground.until(space.syncAsync());
  assert.equal(space.stat().log.synced, space.stat().log.end);
  space.relaxed(() => ((cells[0] as Cell).value = 9));
  space.sync();
  assert.equal(space.stat().log.synced, space.stat().log.end);
});

onHosts('T8: transactions go on while a checkpoint is under way, and all of them are kept', async (ground) => {
  let space = ground.open({ segmentSize: 65536, checkpointBytes: 60_000 });
  const cells = make(space, 40);
  const ids = idsOf(cells);
  let number = 0;
  // On a busy machine the background takes its time: go on until it was there twice.
  for (let round = 0; round < 80 || (round < 5000 && space.stat().log.checkpoints < 3); round++) {
    await ground.until(
      space.durable(() => {
        for (const cell of cells) {
          cell.value = ++number;
          cell.name = `cell ${number}`;
        }
      }),
    );
    if (round === 30) space.checkpoint();
    if (round % 9 === 0) space.relaxed(() => space.delete(space.create(Cell)));
  }
  assert.ok(space.stat().log.checkpoints > 2, 'several checkpoints');
  for (const again of [ground.afterDeath, ground.afterClose]) {
    space = again.call(ground, space);
    assert.deepEqual(
      ids.map((id) => space.get(id, Cell).value),
      ids.map((_, i) => number - ids.length + i + 1),
    );
    assert.deepEqual(
      ids.map((id) => space.get(id, Cell).name),
      ids.map((_, i) => `cell ${number - ids.length + i + 1}`),
    );
  }
});

onHosts('T8: a program that never lets the event loop turn uses its log segments again', (ground) => {
  const space = ground.open({ segmentSize: 65536, checkpointBytes: 200_000 });
  const [a] = make(space, 1) as [Cell];
  for (let i = 0; i < 1500; i++) space.relaxed(() => (a.data = new Uint8Array(2000).fill(i)));
  const files = ground.host.list(`${space.directory}/log`);
  assert.ok(files.length < 30, `${files.length} files`);
  assert.ok(space.stat().log.appended > 2_500_000);
  const id = objectOf(a).id;
  assert.equal(ground.afterDeath(space).get(id, Cell).data[5], 1499 & 255);
});

// --- T9: allocation -----------------------------------------------------------------------------------------------------------

onHosts('T9: memory is allocated, filled and published in one step, or not at all', (ground) => {
  let space = ground.open();
  const [head] = make(space, 1) as [Cell];
  const id = objectOf(head).id;
  const chain = (cell: Cell): string[] => {
    const names: string[] = [];
    for (let at: Cell | null = cell; at !== null; at = at.next) names.push(at.name);
    return names;
  };
  for (let i = 0; i < 30; i++) {
    const push = (): void => {
      const made = space.make(Cell, head, { name: `pushed ${i}`, data: new Uint8Array(i * 37) });
      made.next = head.next;
      head.next = made;
    };
    if (i % 3 === 2) aborted(space, push);
    else space.relaxed(push);
  }
  const expected = [
    'cell 0',
    ...Array.from({ length: 30 }, (_, i) => 29 - i)
      .filter((i) => i % 3 !== 2)
      .map((i) => `pushed ${i}`),
  ];
  assert.deepEqual(chain(head), expected);
  const { size } = objectOf(head);
  // Popping and pushing the same again needs no more room.
  for (let round = 0; round < 20; round++) {
    const popped: { name: string; data: Uint8Array }[] = [];
    space.relaxed(() => {
      for (let at = head.next; at !== null; at = head.next) {
        popped.push({ name: at.name, data: at.data });
        head.next = at.next;
        space.free(at);
      }
    });
    assert.deepEqual(chain(head), ['cell 0']);
    space.relaxed(() => {
      for (const init of popped.reverse()) {
        const made = space.make(Cell, head, init);
        made.next = head.next;
        head.next = made;
      }
    });
  }
  assert.equal(objectOf(head).size, size);
  space = ground.afterDeath(space);
  assert.deepEqual(chain(space.get(id, Cell)), expected);
});

onHosts('T9: freeing what is no block is refused', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Cell];
  const object = objectOf(a);
  const at = space.relaxed(() => object.allocate(100));
  space.relaxed(() => {
    for (const wrong of [0, 8, PAGE - 16, at + 8, object.size, object.size + PAGE, 2 ** 31])
      fails('PointerCorrupt', () => object.free(wrong));
    object.free(at);
  });
});
