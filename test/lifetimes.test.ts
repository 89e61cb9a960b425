/** T6, T7: how long objects live: deletion, ties, reclaim, volatile objects. */
import assert from 'node:assert/strict';
import { type ObjectId } from '../src/abi/id.ts';
import { bytes, hashMap, link, objectOf, ref, struct, text, u32, type Infer, type Obj, type Space } from '../src/index.ts';
import { objectFile, onHosts, fails } from './hosts.ts';

const Node = struct('Node', {
  value: u32,
  name: text,
  data: bytes,
  thing: link,
  get next() {
    return ref(Node);
  },
});
type Node = Infer<typeof Node>;

/** A list of nodes in one object: values 0 to count - 1. */
function list(space: Space, count: number, options: Parameters<Space['create']>[2] = {}): Node {
  return space.relaxed(() => {
    const first = space.create(Node, { value: 0, name: 'node 0' }, options);
    let last = first;
    for (let i = 1; i < count; i++)
      last = last.next = space.make(Node, first, { value: i, name: `node ${i}`, data: new Uint8Array(i % 50).fill(i) });
    return first;
  });
}

function walk(first: Node): string[] {
  const seen: string[] = [];
  for (let node: Node | null = first; node !== null; node = node.next) seen.push(`${node.value} ${node.name} ${node.data.length}`);
  return seen;
}

const expected = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i} node ${i} ${i % 50}`);

// --- T6: deletion -------------------------------------------------------------------------------------------------------------

onHosts('T6: what was deleted says so, after a crash and after a checkpoint; what never was is missing', (ground) => {
  let space = ground.open();
  const [a, b] = [list(space, 3), list(space, 3)];
  const [idA, idB] = [objectOf(a).id, objectOf(b).id];
  space.relaxed(() => (b.thing = objectOf(a)));
  space.checkpoint();
  space.relaxed(() => assert.equal(space.delete(a), 'deleted'));
  for (let round = 0; round < 4; round++) {
    assert.equal(space.has(idA), false);
    assert.ok(![...space.ids()].includes(idA));
    fails('ObjectDeleted', () => space.get(idA, Node));
    fails('ObjectDeleted', () => space.get(idB, Node).thing);
    assert.equal(space.get(idB, Node).value, 0);
    space = round === 0 ? ground.afterDeath(space) : ground.afterClose(space);
  }
  fails('ObjectMissing', () => space.get('0123456789abcdef0123456789abcdef' as ObjectId, Node));
  fails('InvalidArgument', () => space.get('none' as ObjectId, Node));
});

onHosts('T6: within a transaction a deleted object is gone, and an abort brings it back as it was', (ground) => {
  const space = ground.open();
  const a = list(space, 3);
  const id = objectOf(a).id;
  assert.throws(
    () =>
      space.relaxed(() => {
        a.value = 55;
        space.delete(a);
        assert.equal(space.has(id), false);
        fails('ObjectDeleted', () => a.value);
        fails('ObjectDeleted', () => (a.value = 1));
        fails('ObjectDeleted', () => space.delete(a));
        throw new Error('no');
      }),
    /no/,
  );
  assert.deepEqual(walk(a), expected(3));
  const made = space.relaxed(() => {
    const short = space.create(Node);
    space.delete(short);
    return objectOf(short).id;
  });
  assert.equal(space.has(made), false);
  const image = objectOf(a).export();
  fails('ObjectDeleted', () =>
    space.relaxed(() => {
      space.delete(a);
      space.import(image);
    }),
  );
  assert.deepEqual(walk(a), expected(3));
});

onHosts('T6: an object deleted and imported again is the new one, and its table of references starts anew', (ground) => {
  let space = ground.open();
  const other = list(space, 1);
  const a = list(space, 3);
  const id = objectOf(a).id;
  const image = objectOf(a).export();
  space.checkpoint();
  space.relaxed(() => {
    a.thing = objectOf(other);
    space.delete(a);
  });
  const again = space.relaxed(() => space.import(image)).root(Node);
  assert.equal(again.thing, null);
  space.relaxed(() => (again.thing = objectOf(other)));
  assert.deepEqual(
    objectOf(again)
      .fot()
      .map((entry) => entry.count),
    [1],
  );
  space = ground.afterDeath(space);
  assert.deepEqual(walk(space.get(id, Node)), expected(3));
  assert.equal(space.get(id, Node).thing?.id, objectOf(space.get(id, Node).thing?.root(Node) ?? {}).id);
  space = ground.afterClose(space);
  assert.deepEqual(walk(space.get(id, Node)), expected(3));
});

// --- T6: ties -----------------------------------------------------------------------------------------------------------------

onHosts('T6: a tie keeps a deleted object as long as the other lives, across reopening', (ground) => {
  let space = ground.open();
  const [kept, owner] = space.relaxed(() => [objectOf(list(space, 3)).id, objectOf(list(space, 1)).id]);
  space.relaxed(() => space.tie(kept, owner));
  assert.deepEqual(space.ties(kept), [owner]);
  assert.equal(
    space.relaxed(() => space.delete(kept)),
    'kept',
  );
  assert.equal(
    space.relaxed(() => space.delete(kept)),
    'kept',
  );
  for (let round = 0; round < 3; round++) {
    assert.deepEqual(walk(space.get(kept, Node)), expected(3));
    assert.deepEqual(space.ties(kept), [owner]);
    space = round === 0 ? ground.afterDeath(space) : ground.afterClose(space);
  }
  assert.equal(
    space.relaxed(() => space.delete(owner)),
    'deleted',
  );
  assert.equal(space.has(kept), false);
  fails('ObjectDeleted', () => ground.afterClose(space).get(kept, Node));
});

onHosts('T6: a tie can be undone; if nothing else keeps the object, it goes', (ground) => {
  let space = ground.open();
  const [a, b, c, d] = space.relaxed(() => Array.from({ length: 4 }, () => objectOf(space.create(Node)).id)) as [
    ObjectId,
    ObjectId,
    ObjectId,
    ObjectId,
  ];
  space.relaxed(() => {
    space.tie(a, b);
    space.tie(a, c);
    space.tie(d, b);
  });
  space.relaxed(() => space.untie(d, b));
  space = ground.afterDeath(space);
  assert.deepEqual(space.ties(d), []);
  assert.equal(
    space.relaxed(() => space.delete(d)),
    'deleted',
  );
  assert.equal(
    space.relaxed(() => space.delete(a)),
    'kept',
  );
  space.relaxed(() => space.untie(a, b));
  assert.ok(space.has(a));
  assert.throws(
    () =>
      space.relaxed(() => {
        space.untie(a, c);
        assert.ok(!space.has(a));
        throw new Error('no');
      }),
    /no/,
  );
  assert.ok(space.has(a));
  assert.deepEqual(space.ties(a), [c]);
  space.relaxed(() => space.untie(a, c));
  assert.ok(!space.has(a));
});

onHosts('T6: chains of ties fall from their end, and deleted objects that only keep each other go', (ground) => {
  const space = ground.open();
  const ids = space.relaxed(() => Array.from({ length: 6 }, () => objectOf(space.create(Node)).id));
  const at = (i: number): ObjectId => ids[i] as ObjectId;
  space.relaxed(() => {
    for (let i = 0; i < 4; i++) space.tie(at(i), at(i + 1));
  });
  for (const i of [0, 1, 2, 3])
    assert.equal(
      space.relaxed(() => space.delete(at(i))),
      'kept',
    );
  assert.ok(ids.every((id) => space.has(id)));
  space.relaxed(() => space.delete(at(4)));
  assert.deepEqual(
    ids.map((id) => space.has(id)),
    [false, false, false, false, false, true],
  );
  const [x, y, z] = space.relaxed(() => Array.from({ length: 3 }, () => objectOf(space.create(Node)).id)) as [ObjectId, ObjectId, ObjectId];
  space.relaxed(() => {
    space.tie(x, y);
    space.tie(y, z);
    space.tie(z, x);
  });
  assert.equal(
    space.relaxed(() => space.delete(x)),
    'kept',
  );
  assert.equal(
    space.relaxed(() => space.delete(y)),
    'kept',
  );
  assert.equal(
    space.relaxed(() => space.delete(z)),
    'deleted',
  );
  assert.deepEqual(
    [x, y, z].map((id) => space.has(id)),
    [false, false, false],
  );
  fails('InvalidArgument', () => space.relaxed(() => space.tie(at(5), at(5))));
});

onHosts('T6: more ties than there is room for are refused, with nothing changed', (ground) => {
  const space = ground.open();
  const a = list(space, 1);
  const others = space.relaxed(() => Array.from({ length: 14 }, () => objectOf(space.create(Node)).id));
  space.relaxed(() => {
    for (const id of others.slice(0, 13)) space.tie(a, id);
    space.tie(a, others[0] as ObjectId);
    fails('OutOfRange', () => space.tie(a, others[13] as ObjectId));
  });
  assert.deepEqual(space.ties(a), others.slice(0, 13));
});

// --- T6: reclaim --------------------------------------------------------------------------------------------------------------

onHosts('T6: reclaim deletes counted objects that nothing reaches, cycles too, and no other', (ground) => {
  let space = ground.open();
  const made = space.relaxed(() => {
    const counted = (value: number): Node => space.create(Node, { value }, { counted: true });
    const root = space.create(Node, { value: 0 });
    const [a, b, c, d, e, f, g] = [1, 2, 3, 4, 5, 6, 7].map((value) => counted(value)) as [Node, Node, Node, Node, Node, Node, Node];
    root.thing = objectOf(a);
    a.thing = objectOf(b);
    b.thing = objectOf(a); // a cycle that is reached
    c.thing = objectOf(d);
    d.thing = objectOf(c); // one that is not
    space.tie(e, a); // lives because a lives
    space.tie(f, c); // goes because c goes
    g.thing = objectOf(g);
    space.names.set('/named', root);
    return { root, a, b, c, d, e, f, g };
  });
  const ids = Object.fromEntries(Object.entries(made).map(([name, node]) => [name, objectOf(node).id]));
  space = ground.afterDeath(space);
  const gone = (names: readonly string[]): ObjectId[] => names.map((name) => ids[name] as ObjectId).sort();
  const { deleted } = space.reclaim();
  assert.deepEqual([...deleted].sort(), gone(['c', 'd', 'f', 'g']));
  for (const [name, id] of Object.entries(ids)) assert.equal(space.has(id), !['c', 'd', 'f', 'g'].includes(name), name);
  space.relaxed(() => (space.get(ids['root'] as ObjectId, Node).thing = null));
  assert.deepEqual([...space.reclaim().deleted].sort(), gone(['a', 'b', 'e']));
  space = ground.afterDeath(space);
  assert.deepEqual(space.reclaim().deleted, []);
  assert.ok(space.has(ids['root'] as ObjectId));
});

onHosts('T6: reclaim and deletion read more objects than are in memory at once', (ground) => {
  const space = ground.open({ segmentSize: 65536, mappedMax: 1 << 19 });
  const ids: ObjectId[] = [];
  let last: Obj | null = null;
  for (let i = 0; i < 100; i++) {
    const thing: Obj | null = i < 50 ? last : null;
    last = space.relaxed(() => objectOf(space.create(Node, { value: i, thing }, { counted: true })));
    ids.push(last.id);
  }
  const first = space.relaxed(() => space.create(Node, { thing: space.object(ids[49] as ObjectId) }));
  for (const id of ids.slice(50, 53)) space.relaxed(() => space.tie(id, objectOf(first)));
  space.checkpoint();
  assert.deepEqual([...space.reclaim().deleted].sort(), ids.slice(53).sort());
  assert.ok(space.stat().mapped.evictions > 0);
});

onHosts('T6: an FOT entry goes with its last pointer and is used again', (ground) => {
  let space = ground.open();
  const targets = space.relaxed(() => Array.from({ length: 40 }, (_, value) => space.create(Node, { value })));
  const from = list(space, 41);
  const nodes: Node[] = [];
  for (let node: Node | null = from; node !== null; node = node.next) nodes.push(node);
  const fot = (): { index: number; count: number }[] =>
    objectOf(from)
      .fot()
      .map(({ index, count }) => ({ index, count }));
  space.relaxed(() => targets.forEach((target, i) => ((nodes[i] as Node).thing = objectOf(target))));
  space.relaxed(() => ((nodes[40] as Node).thing = objectOf(targets[0] as Node)));
  assert.deepEqual(
    fot(),
    Array.from({ length: 40 }, (_, i) => ({ index: i + 1, count: i === 0 ? 2 : 1 })),
  );
  space.relaxed(() => {
    (nodes[0] as Node).thing = null; // one of two
    (nodes[7] as Node).thing = null;
    space.free(nodes[40] as Node); // gives its pointer back
    (nodes[39] as Node).next = null;
  });
  assert.deepEqual(
    fot()
      .map(({ index }) => index)
      .filter((index) => index === 1 || index === 8),
    [],
  );
  assert.throws(
    () =>
      space.relaxed(() => {
        for (const node of nodes.slice(0, 40)) node.thing = null;
        throw new Error('no');
      }),
    /no/,
  );
  assert.equal(fot().length, 38);
  space = ground.afterDeath(space);
  const again = space.get(objectOf(from).id, Node);
  const more = space.relaxed(() => [list(space, 1), list(space, 1), list(space, 1)]);
  space.relaxed(() => {
    again.thing = objectOf(more[0] as Node);
    const second = again.next as Node;
    second.thing = objectOf(more[1] as Node);
    second.next = null;
  });
  const entries = objectOf(again).fot();
  assert.ok(
    entries.every(({ index }) => index <= 40),
    'freed indices are used before new ones',
  );
  assert.equal(again.thing?.id, objectOf(more[0] as Node).id);
});

// --- T7: volatile -------------------------------------------------------------------------------------------------------------

onHosts(
  "T7: a volatile object has the same interface, costs no log and vanishes with the space's holder; a persistent one stays",
  (ground) => {
    let space = ground.open();
    const persistent = list(space, 2);
    const before = space.stat().log.appended;
    const fleeting = list(space, 300, { kind: 'volatile' });
    assert.equal(objectOf(fleeting).kind, 'volatile');
    assert.throws(
      () =>
        space.relaxed(() => {
          fleeting.value = 9;
          fleeting.next = null;
          throw new Error('no');
        }),
      /no/,
    );
    assert.deepEqual(walk(fleeting), expected(300));
    space.relaxed(() => (fleeting.thing = objectOf(persistent)));
    assert.equal(fleeting.thing?.root(Node).name, 'node 0');
    assert.equal(space.stat().log.appended, before, 'nothing of it in the log');
    space.relaxed(() => (persistent.thing = objectOf(fleeting)));
    assert.equal(persistent.thing?.root(Node).name, 'node 0');
    const [kept, gone] = [objectOf(persistent).id, objectOf(fleeting).id];
    space.checkpoint();
    assert.equal(ground.host.exists(objectFile(space, gone)), false);
    for (const how of ['death', 'close'] as const) {
      space = how === 'death' ? ground.afterDeath(space) : ground.afterClose(space);
      assert.equal(space.has(gone), false);
      assert.deepEqual(walk(space.get(kept, Node)), expected(2));
      fails('ObjectMissing', () => space.get(kept, Node).thing);
    }
  },
);

onHosts('T7: a volatile object that is tied goes with what it is tied to', (ground) => {
  const space = ground.open();
  const [fleeting, owner] = space.relaxed(() => [space.create(Node, {}, { kind: 'volatile' }), space.create(Node)]) as [Node, Node];
  const fleetingObject: Obj = objectOf(fleeting);
  space.relaxed(() => space.tie(fleeting, owner));
  assert.equal(
    space.relaxed(() => space.delete(fleeting)),
    'kept',
  );
  assert.equal(fleeting.value, 0);
  space.relaxed(() => space.delete(owner));
  assert.equal(space.has(fleetingObject.id), false);
});

onHosts('T7: a persistent copy of a volatile object stays, a volatile copy of a persistent one does not', (ground) => {
  let space = ground.open();
  const fleeting = list(space, 20, { kind: 'volatile' });
  const persistent = list(space, 20);
  const [stays, goes] = space.relaxed(() => [space.copy(fleeting).id, space.copy(persistent, { kind: 'volatile' }).id]) as [
    ObjectId,
    ObjectId,
  ];
  assert.deepEqual(walk(space.get(goes, Node)), expected(20));
  space = ground.afterDeath(space);
  assert.deepEqual(walk(space.get(stays, Node)), expected(20));
  assert.equal(space.has(goes), false);
});

onHosts('T6: a deleted collection that a tie keeps is whole', (ground) => {
  const space = ground.open();
  const Ages = hashMap(text, u32);
  const [ages, house] = space.relaxed(() => [space.create(Ages, [['Ann', 30]]), space.create(Node)] as const);
  space.relaxed(() => space.tie(ages, house));
  assert.equal(
    space.relaxed(() => space.delete(ages)),
    'kept',
  );
  assert.deepEqual([...ages], [['Ann', 30]]);
  assert.equal(
    space.relaxed(() => space.delete(house)),
    'deleted',
  );
  fails('ObjectDeleted', () => ages.size);
});
