/** T3, T15: invariant pointers, the foreign object table, and late binding. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorName } from '../src/abi/errors.ts';
import { FOT, FOT_MAX, KIND, META, PAGE, RIGHT } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import { array, link, objectOf, offsetOf, ref, same, struct, text, u32, type Infer, type Obj, type Space } from '../src/index.ts';
import { deriveId } from '../src/kernel/identity.ts';
import { applySection, forsakeReplica, sectionOf } from '../src/kernel/sections.ts';
import { run } from '../src/kernel/transaction.ts';
import { Ground, objectFile, onHosts, restamp, fails } from './hosts.ts';

const Node = struct('Node', {
  value: u32,
  name: text,
  thing: link,
  get next() {
    return ref(Node);
  },
  get other() {
    return ref(Node);
  },
});
type Node = Infer<typeof Node>;
const Table = struct('Table', { links: array(link, 1000) });

const fieldAt = (name: string): number => Node.layout.fields.find((field) => field.name === name)?.offset ?? -1;
const idOf = (node: Node): ObjectId => objectOf(node).id;
const make = (space: Space, count: number): Node[] =>
  space.relaxed(() => Array.from({ length: count }, (_, value) => space.create(Node, { value, name: `n${value}` })));

/** The stored pointer: FOT index and offset. */
function pointer(node: Node, field: string): { index: number; offset: number } {
  const word = new DataView(objectOf(node).bytes(offsetOf(node) + fieldAt(field), 8).buffer).getBigUint64(0, true);
  return { index: Number(word >> 40n), offset: Number(word & 0xffffffffffn) };
}
/** Stores a pointer as no accessor would. */
function plant(space: Space, node: Node, field: string, index: number, offset: number): void {
  const object = objectOf(node);
  space.relaxed(() => {
    const raw = object.raw(0);
    new DataView(raw.buffer, raw.byteOffset).setBigUint64(offsetOf(node) + fieldAt(field), (BigInt(index) << 40n) | BigInt(offset), true);
  });
  object.releaseRaw();
}

onHosts('T3: a pointer is 64 bits, index 24 and offset 40; 0 is null and index 0 the object itself', (ground) => {
  let space = ground.open();
  const [a, b, c] = make(space, 3) as [Node, Node, Node];
  const inner = space.relaxed(() => {
    const made = space.make(Node, a, { value: 10 });
    a.next = made;
    a.other = b;
    made.next = b;
    made.other = c;
    b.next = a;
    return made;
  });
  assert.deepEqual(pointer(a, 'next'), { index: 0, offset: offsetOf(inner) });
  assert.deepEqual(pointer(a, 'other'), { index: 1, offset: offsetOf(b) });
  assert.deepEqual(pointer(inner, 'next'), { index: 1, offset: offsetOf(b) }, 'one entry for one target');
  assert.deepEqual(pointer(inner, 'other'), { index: 2, offset: offsetOf(c) });
  assert.deepEqual(pointer(c, 'next'), { index: 0, offset: 0 });
  assert.deepEqual(
    objectOf(a)
      .fot()
      .map(({ index, id, count }) => [index, id, count]),
    [
      [1, idOf(b), 2],
      [2, idOf(c), 1],
    ],
  );
  const ids = [a, b, c].map((node) => idOf(node)) as [ObjectId, ObjectId, ObjectId];
  for (let round = 0; round < 3; round++) {
    const [a2, b2, c2] = ids.map((id) => space.get(id, Node)) as [Node, Node, Node];
    // First use, then cached; same object; and back.
    for (let again = 0; again < 2; again++) {
      assert.equal(a2.next?.value, 10);
      assert.ok(same(a2.other, b2));
      assert.ok(same(a2.next?.next ?? null, b2));
      assert.ok(same(a2.next?.other ?? null, c2));
      assert.equal(c2.next, null);
      assert.ok(same(b2.next?.next?.next ?? null, b2));
    }
    space = round === 0 ? ground.afterDeath(space) : ground.afterClose(space);
  }
});

/** Pages where the chunks of a table begin; 0 for those that are not there yet. */
function chunksOf(object: Obj): number[] {
  const words = new DataView(object.bytes(META.fotChunks, 4 * FOT.chunks).buffer);
  return Array.from({ length: FOT.chunks }, (_, k) => words.getUint32(k * 4, true));
}

onHosts(
  'T3: a table of 100,000 entries (linux; elsewhere 10,000) is stored through, followed, reopened; its entries stay what and where they were',
  (ground) => {
    let space = ground.open({ segmentSize: 1 << 20 });
    const reals = make(space, 3);
    const first = space.relaxed(() => space.create(Table));
    const count = ground.name === 'linux' ? 100_000 : 10_000;
    // Those at this index and at its double are there.
    const step = 0.4 * count;
    const known = Math.floor(0.77777 * count);
    // Targets that are named but not there.
    const absent = (n: number): ObjectId => {
      const nonce = new Uint8Array(16);
      new DataView(nonce.buffer).setUint32(0, n, true);
      return deriveId(ground.host, nonce, new Uint8Array(16), 7, KIND.owned);
    };
    const { handle } = objectOf(first);
    // The first index of each chunk: 16 entries in the header, then 128, 256, 512 and so on.
    const starts = Array.from({ length: 10 }, (_, k) => FOT.embedded + FOT.chunk0 * (2 ** k - 1));
    let chunks = chunksOf(objectOf(first));
    assert.ok(chunks.every((page) => page === 0));
    space.relaxed(() => {
      for (let i = 1; i <= count; i++) {
        if (i % step === 0) first.links.set(i / step, objectOf(reals[i / step] as Node));
        else assert.equal(handle.refer(space.kernel.handle(absent(i))), i);
        if (!starts.includes(i)) continue;
        const now = chunksOf(objectOf(first));
        const k = starts.indexOf(i);
        assert.ok((now[k] ?? 0) > 0 && now.slice(k + 1).every((page) => page === 0), `entry ${i} is the first of chunk ${k}`);
        assert.deepEqual(now.slice(0, k), chunks.slice(0, k), 'what is there stays where it is');
        chunks = now;
      }
      first.links.set(0, objectOf(reals[0] as Node));
    });
    const id = objectOf(first).id;
    const samples = [1, ...starts.flatMap((start) => [start - 1, start, start + 1]), step - 1, 65_536, count - 1, count].filter(
      (i) => i <= count && i % step !== 0,
    );
    // Before the last round one in the middle goes.
    const middle = 5000;
    for (const round of ['at once', 'after death', 'after closing']) {
      if (round === 'after death') space = ground.afterDeath(space);
      if (round === 'after closing') space = ground.afterClose(space);
      const whole = round !== 'after closing';
      const table = space.get(id, Table);
      const object = objectOf(table);
      for (let again = 0; again < 2; again++)
        assert.deepEqual(
          [0, 1, 2, 3].map((i) => table.links.get(i)?.root(Node).value),
          [0, 1, 2, undefined],
          round,
        );
      assert.deepEqual(chunksOf(object), chunks, round);
      const entries = object.fot();
      assert.equal(entries.length, whole ? count + 1 : count, round);
      for (const i of samples) {
        const entry = entries[whole || i < middle ? i - 1 : i - 2];
        assert.deepEqual([entry?.index, entry?.id, entry?.count], [i, absent(i), 1], `${round}: entry ${i}`);
      }
      // An entry that is known is used again, one that is not comes at the end; one whose last pointer goes is the next to be taken.
      const next = whole ? count + 2 : middle;
      space.relaxed(() => {
        assert.equal(object.handle.refer(space.kernel.handle(absent(known))), known);
        assert.equal(object.handle.refer(space.kernel.handle(absent(count + 5))), next);
      });
      const now = object.fot();
      assert.deepEqual([now[known - 1]?.count, now[next - 1]?.id], [2, absent(count + 5)]);
      space.relaxed(() => {
        for (const index of [known, next]) object.handle.unrefer(index);
        if (round === 'after death') object.handle.unrefer(middle);
      });
    }
  },
);

onHosts('T3: a full table is a typed error and changes nothing', (ground) => {
  let space = ground.open();
  const [a, b] = make(space, 2) as [Node, Node];
  space.close();
  const file = objectFile(space, idOf2(a));
  const image = ground.readFile(file);
  new DataView(image.buffer).setUint32(META.fotCount, FOT_MAX, true);
  ground.writeFile(file, restamp(image));
  space = ground.open();
  const node = space.get(idOf2(a), Node);
  const before = objectOf(node).export();
  fails('FotFull', () => space.relaxed(() => (node.next = space.get(idOf2(b), Node))));
  space.relaxed(() => {
    fails('FotFull', () => (node.next = space.get(idOf2(b), Node)));
    fails('FotFull', () => (node.thing = space.object(idOf2(b))));
    fails('FotFull', () => (node.next = space.late(Node, '/x')));
  });
  assert.equal(node.next, null);
  assert.deepEqual(objectOf(node).bytes(PAGE), before.slice(PAGE));
});

/** An accessor tells its object without touching it: also when the space is closed. */
const idOf2 = (node: Node): ObjectId => objectOf(node).id;

onHosts('T3: a target that is missing, deleted, corrupt, forged or of another type is a typed error that says which', (ground) => {
  let space = ground.open();
  const [from, missing, deleted, corrupt, forged] = make(space, 5) as [Node, Node, Node, Node, Node];
  const foreign = space.relaxed(() => space.create(Table));
  const ids = [from, missing, deleted, corrupt, forged].map((node) => idOf(node)) as [ObjectId, ObjectId, ObjectId, ObjectId, ObjectId];
  const point = (to: Node): Node => space.relaxed(() => (space.get(ids[0], Node).next = to));
  const images = new Map<ObjectId, Uint8Array>();
  space.checkpoint();
  for (const id of ids) images.set(id, ground.readFile(objectFile(space, id)));
  const cases: readonly (readonly [ErrorName, 1 | 2 | 3 | 4, (file: string, image: Uint8Array) => void])[] = [
    ['ObjectMissing', 1, (file) => ground.host.remove(file)],
    ['ObjectDeleted', 2, () => undefined],
    ['ObjectCorrupt', 3, (file, image) => ground.writeFile(file, image.with(META.pageHint, 77))],
    ['ObjectForged', 4, (file, image) => ground.writeFile(file, restamp(image.with(META.rights, 1)))],
    ['ObjectCorrupt', 3, (file, image) => ground.writeFile(file, image.subarray(0, 4096))],
    ['ObjectCorrupt', 3, (file, image) => ground.writeFile(file, image.subarray(0, 6000))],
    ['ObjectCorrupt', 3, (file) => ground.writeFile(file, new Uint8Array(8192))],
    ['ObjectVersion', 3, (file, image) => ground.writeFile(file, restamp(image.with(META.format, 9)))],
  ];
  for (const [name, index, damage] of cases) {
    const id = ids[index];
    const image = images.get(id) as Uint8Array;
    point(space.get(id, Node));
    if (name === 'ObjectDeleted') space.relaxed(() => space.delete(id));
    space.close();
    damage(objectFile(space, id), image);
    space = ground.open();
    const node = space.get(ids[0], Node);
    fails(name, () => node.next);
    fails(name, () => node.next);
    // It says so without harm to anything else, and can be overwritten.
    space.relaxed(() => (node.value += 1));
    space.relaxed(() => (node.next = null));
    assert.equal(node.next, null);
    if (name !== 'ObjectDeleted') {
      space.close();
      ground.writeFile(objectFile(space, id), image);
      space = ground.open();
    }
  }
  const node = space.get(ids[0], Node);
  space.relaxed(() => space.names.set('/foreign', space.object(objectOf(foreign).id)));
  space.relaxed(() => (node.next = space.late(Node, '/foreign')));
  fails('TypeMismatch', () => node.next);
});

onHosts('T3: a planted pointer to nowhere is a typed error, never a wild access', (ground) => {
  const space = ground.open();
  const [a, b] = make(space, 2) as [Node, Node];
  space.relaxed(() => (a.other = b));
  const { size } = objectOf(a);
  const into = (index: number, offset: number): void => plant(space, a, 'next', index, offset);
  for (const index of [0, 1]) {
    for (const offset of [1, 8, PAGE - 8, PAGE + 1, PAGE + 4, size - 8, size, size + PAGE, 2 ** 31, 2 ** 32, 2 ** 39 + PAGE, 2 ** 40 - 8]) {
      into(index, offset);
      fails('PointerCorrupt', () => a.next);
      fails('PointerCorrupt', () => a.next);
    }
  }
  for (const index of [2, 15, 16, 17, 5000, FOT_MAX - 1]) {
    into(index, PAGE);
    fails('FotCorrupt', () => a.next);
    plant(space, a, 'thing', index, 0);
    fails('FotCorrupt', () => a.thing);
  }
  into(0, 0);
  plant(space, a, 'thing', 0, 0);
  assert.deepEqual([a.next, a.thing, a.other?.value], [null, null, 1]);
  // A text that lies outside.
  const object = objectOf(a);
  space.relaxed(() => {
    const raw = object.raw(0);
    new DataView(raw.buffer, raw.byteOffset).setUint32(offsetOf(a) + fieldAt('name') + 4, 2 ** 31, true);
  });
  fails('PointerCorrupt', () => a.name);
});

onHosts('T3: what is not a reference of that kind or of this space is refused', (ground) => {
  const space = ground.open();
  const elsewhere = ground.open({}, `${ground.directory}-other`);
  const [a] = make(space, 1) as [Node];
  const [foreign] = make(elsewhere, 1) as [Node];
  const table = space.relaxed(() => space.create(Table));
  space.relaxed(() => {
    fails('WrongSpace', () => (a.next = foreign));
    fails('WrongSpace', () => (a.thing = objectOf(foreign)));
    fails('WrongSpace', () => space.delete(foreign));
    fails('ValueMismatch', () => Reflect.set(a, 'next', table));
    fails('ValueMismatch', () => Reflect.set(a, 'next', objectOf(a)));
    fails('ValueMismatch', () => Reflect.set(a, 'thing', 5));
    a.thing = objectOf(a);
  });
  assert.equal(a.next, null);
  assert.equal(a.thing?.id, idOf(a));
});

onHosts('T3: rights are judged at the store, not when the reference is made or read', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Node];
  const readOnly = space.relaxed(() => space.create(Node, { value: 5 }, { rights: RIGHT.read }));
  space.relaxed(() => (a.next = readOnly));
  assert.equal(a.next?.value, 5);
  fails('ObjectForbidden', () =>
    space.relaxed(() => {
      if (a.next !== null) a.next.value = 6;
    }),
  );
  assert.equal(readOnly.value, 5);
});

onHosts('T3: a target that may not be read is forbidden, not missing and not corrupt, however one comes to it', (ground) => {
  let space = ground.open();
  const id = idOf(make(space, 1)[0] as Node);
  for (const rights of [0, RIGHT.write, RIGHT.execute]) {
    const closed = space.relaxed(() => {
      const made = space.create(Node, { value: 5 }, { rights });
      const holder = space.get(id, Node);
      holder.next = made;
      holder.thing = objectOf(made);
      space.names.set('/closed', made, { replace: true });
      holder.other = space.late(Node, '/closed');
      return idOf(made);
    });
    for (const round of ['at once', 'after death', 'after closing']) {
      if (round === 'after death') space = ground.afterDeath(space);
      if (round === 'after closing') space = ground.afterClose(space);
      const node = space.get(id, Node);
      for (let again = 0; again < 2; again++) {
        fails('ObjectForbidden', () => node.next);
        fails('ObjectForbidden', () => node.other);
        fails('ObjectForbidden', () => space.get(closed, Node));
        fails('ObjectForbidden', () => space.names.get('/closed', Node));
        // That it is there may be known, and what it is; not what it holds.
        const object = node.thing as Obj;
        assert.deepEqual([object.id, object.kind, object.rights, space.has(closed)], [closed, 'owned', rights, true]);
        const reads: readonly (() => unknown)[] = [
          () => object.bytes(),
          () => object.raw(),
          () => object.export(),
          () => object.root(Node),
          () => object.schema,
        ];
        for (const read of reads) fails('ObjectForbidden', () => space.relaxed(read));
        fails('ObjectForbidden', () => space.relaxed(() => space.copy(closed)));
        fails('ObjectForbidden', () => space.relaxed(() => space.seal(closed)));
      }
      const snapshot = space.snapshot();
      fails('ObjectForbidden', () => snapshot.get(closed, Node));
      fails('ObjectForbidden', () => snapshot.of(node).next);
      snapshot.close();
    }
    // Letting go of it needs no right to read it.
    const node = space.get(id, Node);
    space.relaxed(() => assert.equal(space.delete(closed), 'deleted'));
    fails('ObjectDeleted', () => node.next);
    space.relaxed(() => (node.next = node.other = null));
  }
});

// --- T15: late binding --------------------------------------------------------------------------------------------------------

onHosts('T15: one retargeted FOT entry, and all pointers through it follow; an abort takes it back', (ground) => {
  let space = ground.open();
  const [a, b, c] = make(space, 3) as [Node, Node, Node];
  const inner = space.relaxed(() => {
    const made = space.make(Node, a);
    a.next = b;
    made.next = b;
    made.thing = objectOf(b);
    a.other = made;
    return made;
  });
  const ids = [a, b, c].map((node) => idOf(node)) as [ObjectId, ObjectId, ObjectId];
  const values = (): unknown[] => [a.next?.value, inner.next?.value, inner.thing?.root(Node).value];
  assert.deepEqual(values(), [1, 1, 1]);
  assert.throws(
    () =>
      space.relaxed(() => {
        objectOf(a).retarget(1, objectOf(c));
        assert.deepEqual(values(), [2, 2, 2]);
        throw new Error('no');
      }),
    /no/,
  );
  assert.deepEqual(values(), [1, 1, 1]);
  space.relaxed(() => objectOf(a).retarget(1, objectOf(c)));
  assert.deepEqual(values(), [2, 2, 2]);
  fails('FotCorrupt', () => space.relaxed(() => objectOf(a).retarget(2, objectOf(c))));
  space = ground.afterDeath(space);
  const again = space.get(ids[0], Node);
  assert.deepEqual([again.next?.value, again.other?.next?.value, again.other?.thing?.id], [2, 2, ids[2]]);
  // A new pointer to the old target gets an entry of its own.
  space.relaxed(() => (again.next = space.get(ids[1], Node)));
  assert.deepEqual([again.next?.value, again.other?.next?.value], [1, 2]);
});

onHosts('T15: a late-bound reference follows its name, from object to object and across reopening', (ground) => {
  let space = ground.open();
  const [a, b, c] = make(space, 3) as [Node, Node, Node];
  const ids = [a, b, c].map((node) => idOf(node)) as [ObjectId, ObjectId, ObjectId];
  space.relaxed(() => {
    a.next = space.late(Node, '/current');
    a.other = space.late(Node, '/current');
    const stored = space.late(Node, '/current');
    Reflect.set(a, 'thing', stored);
  });
  fails('NameUnresolved', () => a.next);
  assert.equal(objectOf(a).fot().length, 1, 'one entry for one name');
  space.names.set('/current', b);
  assert.deepEqual([a.next?.value, a.other?.value, a.thing?.id], [1, 1, ids[1]]);
  space.names.set('/current', c, { replace: true });
  assert.deepEqual([a.next?.value, a.other?.value, a.thing?.id], [2, 2, ids[2]]);
  space = ground.afterDeath(space);
  const again = space.get(ids[0], Node);
  assert.equal(again.next?.value, 2);
  assert.deepEqual(
    objectOf(again)
      .fot()
      .map(({ path, count, id }) => [path, count, id]),
    [['/current', 3, undefined]],
  );
  space.names.rename('/current', '/past');
  fails('NameUnresolved', () => again.next);
  space.names.link('/current', '/past');
  assert.equal(again.next?.value, 2);
  space.relaxed(() => space.delete(ids[2]));
  fails('ObjectDeleted', () => again.next);
  // The entry can be bound for good; then it goes with its pointers.
  space.relaxed(() => objectOf(again).retarget(1, space.object(ids[1])));
  assert.deepEqual([again.next?.value, again.other?.value], [1, 1]);
  space.relaxed(() => {
    again.next = again.other = null;
    again.thing = null;
  });
  assert.deepEqual(objectOf(again).fot(), []);
});

onHosts("T15: a resolver of the program's own decides, and its absence is a typed error", (ground) => {
  let space = ground.open();
  const [a, b, c] = make(space, 3) as [Node, Node, Node];
  const ids = [a, b, c].map((node) => idOf(node)) as [ObjectId, ObjectId, ObjectId];
  const asked: string[] = [];
  let choice = 1;
  const register = (): void =>
    space.resolver('by number', (path, from) => {
      asked.push(`${path} for ${from}`);
      return path === 'none' ? undefined : ids[choice as 1];
    });
  register();
  space.relaxed(() => {
    a.next = space.late(Node, 'the best', 'by number');
    a.other = space.late(Node, 'none', 'by number');
  });
  assert.equal(a.next?.value, 1);
  choice = 2;
  assert.equal(a.next?.value, 2);
  fails('NameUnresolved', () => a.other);
  assert.deepEqual(asked, [`the best for ${ids[0]}`, `the best for ${ids[0]}`, `none for ${ids[0]}`]);
  space = ground.afterClose(space);
  fails('ResolverMissing', () => space.get(ids[0], Node).next);
  register();
  assert.equal(space.get(ids[0], Node).next?.value, 2);
  choice = 7;
  fails('NameUnresolved', () => space.get(ids[0], Node).next);
});

test('T3: a wide graph is walked by references alone, whatever order the objects are opened in', (t) => {
  const ground = new Ground('linux', t);
  let space = ground.open();
  const count = 300;
  const nodes = make(space, count);
  space.relaxed(() =>
    nodes.forEach((node, i) => {
      node.next = nodes[(i * 7 + 1) % count] as Node;
      node.other = nodes[(i * 13 + 5) % count] as Node;
    }),
  );
  const start = idOf(nodes[0] as Node);
  space = ground.afterDeath(space, { objectsMax: 20, mappedMax: 1 << 21 });
  const seen = new Set<number>();
  const todo = [space.get(start, Node)];
  for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
    const { value } = node;
    if (seen.has(value)) continue;
    seen.add(value);
    assert.equal(node.next?.value, (value * 7 + 1) % count);
    for (const to of [node.next, node.other]) if (to !== null) todo.push(to);
  }
  const reachable = new Set<number>();
  const line = [0];
  for (let i = line.pop(); i !== undefined; i = line.pop()) {
    if (reachable.has(i)) continue;
    reachable.add(i);
    line.push((i * 7 + 1) % count, (i * 13 + 5) % count);
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [...reachable].sort((a, b) => a - b),
  );
});

onHosts('T3: what a reference led to when it was followed is forgotten where it leads elsewhere by the time its object came', (ground) => {
  const space = ground.open();
  const { kernel } = space;
  const [from, first, second] = make(space, 3) as [Node, Node, Node];
  space.relaxed(() => (from.next = first));
  const before = pointer(from, 'next');
  const id = idOf(first);
  const section = sectionOf(kernel.open(id));
  run(kernel, () => forsakeReplica(kernel, kernel.open(id)));
  let brought = 0;
  kernel.afar = {
    reached: () => assert.fail('nothing is reclaimed'),
    bring: (wanted) => {
      brought++;
      space.relaxed(() => (from.next = null));
      space.relaxed(() => (from.next = second));
      // As where another process has done that.
      kernel.open(idOf(from)).fot = [];
      run(kernel, () => applySection(kernel, section));
      return wanted === id;
    },
    own: () => assert.fail('nobody stores'),
  };
  assert.equal(from.next?.value, 1);
  assert.equal(brought, 1);
  assert.deepEqual(pointer(from, 'next'), before, 'the entry is used again');
  assert.equal(from.next?.value, 2);
  space.close();
});
