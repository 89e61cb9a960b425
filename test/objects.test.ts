/** T2, T4, T6, T7: what objects are, where their IDs come from, how they move, and how long they live. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { KIND, META, PAGE, RIGHT } from '../src/abi/format.ts';
import { isId, readId, type ObjectId } from '../src/abi/id.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PortableHost } from '../src/host/portable/portable.ts';
import { bytes, link, objectOf, ref, struct, text, u32, type Infer, type Space } from '../src/index.ts';
import { deriveId } from '../src/kernel/identity.ts';
import { Ground, objectFile, onHosts, restamp, fails } from './hosts.ts';

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

const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

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

// --- T2: identity -------------------------------------------------------------------------------------------------------------

/** By chance alone a few of as many would meet if they had 32 random bits. */
const EACH = 1_000_000;

test(`T2: ${EACH} IDs each from two nodes that know nothing of each other never meet`, () => {
  const none = new Uint8Array(16);
  // Half of an ID is enough to tell all of them apart.
  const halves = new BigUint64Array(2 * EACH);
  let at = 0;
  for (const host of [new LinuxHost(), new PortableHost()]) {
    for (let i = 0; i < EACH; i += 1000) {
      const nonces = host.random(16_000);
      for (let k = 0; k < 16_000; k += 16) {
        const id = deriveId(host, nonces.subarray(k, k + 16), none, 7, KIND.owned);
        if (k === 0) assert.ok(isId(id));
        halves[at++] = BigInt(`0x${id.slice(0, 16)}`);
      }
    }
  }
  halves.sort();
  let met = 0;
  for (let i = 1; i < halves.length; i++) if (halves[i] === halves[i - 1]) met++;
  assert.equal(met, 0);
});

test('T2: two spaces that were made apart become one: all objects of one enter the other, under their IDs, references and all', (t) => {
  const count = 400;
  const grounds = [new Ground('linux', t), new Ground('portable', t)] as const;
  const [here, there] = grounds.map((ground) => {
    const space = ground.open();
    const nodes = space.relaxed(() => Array.from({ length: count }, (_, value) => space.create(Node, { value, name: ground.name })));
    space.relaxed(() => nodes.forEach((node, i) => (node.next = nodes[(i + 1) % count] ?? null)));
    return { ground, space, ids: nodes.map((node) => objectOf(node).id) };
  }) as [{ ground: Ground; space: Space; ids: ObjectId[] }, { ground: Ground; space: Space; ids: ObjectId[] }];
  here.space.relaxed(() => {
    for (const id of there.ids) assert.equal(here.space.import(there.space.object(id).export()).id, id);
  });
  const space = here.ground.afterDeath(here.space);
  for (const { ground, ids } of [here, there]) {
    let node: Node | null = space.get(ids[0] as ObjectId, Node);
    for (let i = 0; i < 2 * count; i++) {
      assert.deepEqual([node?.value, node?.name, objectOf(node as Node).id], [i % count, ground.name, ids[i % count]]);
      node = node?.next ?? null;
    }
  }
});

test('T2: an ID binds nonce, key, rights and kind', () => {
  const host = new PortableHost();
  const nonce = host.random(16);
  const key = host.random(16);
  const id = deriveId(host, nonce, key, 5, KIND.owned);
  assert.equal(deriveId(host, nonce, key, 5, KIND.owned), id);
  const others = [
    deriveId(
      host,
      nonce.map((byte, i) => (i === 15 ? byte ^ 1 : byte)),
      key,
      5,
      KIND.owned,
    ),
    deriveId(
      host,
      nonce,
      key.map((byte, i) => (i === 0 ? byte ^ 128 : byte)),
      5,
      KIND.owned,
    ),
    deriveId(host, nonce, key, 7, KIND.owned),
    deriveId(host, nonce, key, 5, KIND.volatile),
  ];
  assert.equal(new Set([id, ...others]).size, 5);
});

onHosts('T2: a header with other rights, key, nonce or kind is refused as forged, its checksum notwithstanding', (ground) => {
  let space = ground.open();
  const id = objectOf(space.relaxed(() => space.create(Node, { value: 5 }, { rights: RIGHT.read | RIGHT.write }))).id;
  space.close();
  const file = objectFile(space, id);
  const good = ground.readFile(file);
  for (const at of [META.rights, META.kind, META.key, META.nonce, META.id]) {
    const forged = good.slice();
    forged[at] = (forged[at] ?? 0) ^ 4;
    ground.writeFile(file, restamp(forged));
    space = ground.open();
    fails('ObjectForged', () => space.get(id, Node));
    fails('ObjectForged', () => space.object(id).bytes());
    space.close();
  }
  ground.writeFile(file, good);
  space = ground.open();
  assert.equal(space.get(id, Node).value, 5);
});

onHosts("T2: a file under another object's name, and an immutable object with other content, are refused", (ground) => {
  let space = ground.open();
  const [a, b, sealed] = space.relaxed(() => {
    const first = space.create(Node, { value: 1 });
    return [objectOf(first).id, objectOf(space.create(Node, { value: 2 })).id, space.seal(first)];
  });
  space.close();
  ground.writeFile(objectFile(space, a), ground.readFile(objectFile(space, b)));
  const changed = ground.readFile(objectFile(space, sealed));
  changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
  ground.writeFile(objectFile(space, sealed), changed);
  space = ground.open();
  fails('ObjectForged', () => space.get(a, Node));
  fails('ObjectForged', () => space.get(sealed, Node));
  assert.equal(space.get(b, Node).value, 2);
});

onHosts('T2: a forged import never becomes part of the space, even if its refusal is caught', (ground) => {
  const space = ground.open();
  const before = space.relaxed(() => space.create(Node, { value: 1 }));
  const image = objectOf(before).export();
  const id = readId(image, META.id);
  space.relaxed(() => space.delete(before));
  image[META.rights] = RIGHT.read;
  space.relaxed(() => fails('ObjectForged', () => space.import(restamp(image))));
  assert.equal(space.has(id), false);
  image[META.rights] = 7;
  assert.equal(space.relaxed(() => space.import(restamp(image))).root(Node).value, 1);
  fails('ObjectExists', () => space.relaxed(() => space.import(image)));
  fails('ObjectCorrupt', () => space.relaxed(() => space.import(image.subarray(0, 5000))));
});

onHosts('T2: rights in the ID hold: no writing without the right to write', (ground) => {
  let space = ground.open();
  const id = objectOf(space.relaxed(() => space.create(Node, { value: 1, name: 'fixed' }, { rights: RIGHT.read }))).id;
  for (let round = 0; round < 2; round++) {
    const node = space.get(id, Node);
    fails('ObjectForbidden', () => space.relaxed(() => (node.value = 2)));
    fails('ObjectForbidden', () => space.relaxed(() => (node.name = 'other')));
    fails('ObjectForbidden', () => space.relaxed(() => space.make(Node, node)));
    fails('ObjectForbidden', () => space.relaxed(() => objectOf(node).raw()));
    assert.equal(objectOf(node).rights, RIGHT.read);
    assert.equal(node.value, 1);
    space = ground.afterClose(space);
  }
});

// --- T4: movable byte for byte ------------------------------------------------------------------------------------------------

onHosts('T4: an object goes from A to B to C, hashes equal, and is walked on each at another base', (ground) => {
  const count = 400;
  const a = ground.open();
  const first = list(a, count);
  const other = a.relaxed(() => a.create(Node, { value: 77, name: 'other' }));
  a.relaxed(() => (first.thing = objectOf(other)));
  const id = objectOf(first).id;
  const image = objectOf(first).export();
  a.checkpoint();
  assert.equal(sha(ground.readFile(objectFile(a, id))), sha(image), 'the file is what export gives');
  const bases = new Set([objectOf(first).handle.u8.byteOffset]);
  let carried = image;
  for (const name of ['b', 'c']) {
    let space = ground.open({}, `${ground.directory}-${name}`);
    // Something else lies where it lay before.
    space.relaxed(() => Array.from({ length: name === 'b' ? 3 : 9 }, () => space.createRaw(100_000)));
    const here = space.relaxed(() => space.import(carried));
    assert.equal(here.id, id);
    assert.deepEqual(walk(here.root(Node)), expected(count));
    fails('ObjectMissing', () => here.root(Node).thing);
    space.relaxed(() => space.import(objectOf(other).export()));
    assert.equal(here.root(Node).thing?.root(Node).value, 77);
    bases.add(here.handle.u8.byteOffset);
    space = ground.afterClose(space);
    assert.deepEqual(walk(space.get(id, Node)), expected(count));
    carried = ground.readFile(objectFile(space, id));
    assert.equal(sha(carried.slice(PAGE)), sha(image.slice(PAGE)), 'nothing was fixed up');
    assert.equal(readId(carried, META.id), id);
  }
  assert.equal(bases.size, 3);
});

// --- T6: copies ---------------------------------------------------------------------------------------------------------------

for (const [kind, count] of [
  ['small', 10],
  ['large', 3000],
] as const) {
  onHosts(`T6: a copy of a ${kind} object and the object itself know nothing of each other's changes`, (ground) => {
    let space = ground.open();
    const original = list(space, count);
    space.checkpoint();
    // Changes that are only in the log, and changes of this very transaction, belong to the copy as well.
    space.relaxed(() => (original.name = 'in the log'));
    const copied = space.relaxed(() => {
      original.value = 1000;
      return space.copy(original).root(Node);
    });
    assert.equal(copied.name, 'in the log');
    assert.equal(copied.value, 1000);
    assert.deepEqual(walk(copied).slice(1), expected(count).slice(1));
    assert.notEqual(objectOf(copied).id, objectOf(original).id);
    space.relaxed(() => {
      copied.value = 1;
      original.value = 2;
      for (let node: Node | null = copied; node !== null; node = node.next) node.name = 'copied';
    });
    const third = space.relaxed(() => space.copy(copied).root(Node));
    space.relaxed(() => (third.value = 3));
    const ids = [original, copied, third].map((node) => objectOf(node).id);
    const check = (): void => {
      const [one, two, three] = ids.map((id) => space.get(id, Node));
      assert.deepEqual([one?.value, two?.value, three?.value], [2, 1, 3]);
      assert.deepEqual(one && walk(one).slice(1), expected(count).slice(1));
      assert.ok(two && three && [two, three].every((root) => walk(root).every((line) => line.includes('copied'))));
    };
    check();
    space = ground.afterDeath(space);
    check();
    space = ground.afterClose(space);
    check();
    space.relaxed(() => space.delete(ids[0] as ObjectId));
    assert.equal(space.get(ids[1] ?? ('' as ObjectId), Node).value, 1);
  });
}

onHosts('T6: a copy of an aborted transaction never was, and a copy made in the transaction that made the original is whole', (ground) => {
  let space = ground.open();
  const original = list(space, 5);
  const count = [...space.ids()].length;
  assert.throws(
    () =>
      space.relaxed(() => {
        space.copy(original);
        throw new Error('no');
      }),
    /no/,
  );
  assert.equal([...space.ids()].length, count);
  const id = space.relaxed(() => {
    const made = space.create(Node, { value: 9, name: 'made' });
    made.next = space.make(Node, made, { value: 10 });
    made.thing = objectOf(original);
    return space.copy(space.copy(made)).id;
  });
  space = ground.afterDeath(space);
  const copied = space.get(id, Node);
  assert.deepEqual([copied.value, copied.name, copied.next?.value, copied.thing?.root(Node).name], [9, 'made', 10, 'node 0']);
});

onHosts('T6: a copy has its own count of pointers', (ground) => {
  const space = ground.open();
  const target = space.relaxed(() => space.create(Node, { value: 3 }));
  const copied = space.relaxed(() => {
    const made = space.create(Node);
    made.next = target;
    made.thing = objectOf(target);
    return space.copy(made).root(Node);
  });
  space.relaxed(() => (copied.next = null));
  assert.equal(copied.thing?.root(Node).value, 3);
  assert.deepEqual(
    objectOf(copied)
      .fot()
      .map((entry) => entry.count),
    [1],
  );
});

onHosts('T6: raw stores of the transaction belong to a copy made after them', (ground) => {
  const space = ground.open();
  const raw = space.relaxed(() => space.createRaw(20_000));
  space.checkpoint();
  const copied = space.relaxed(() => {
    raw.raw()[12_000] = 9;
    return space.copy(raw);
  });
  assert.equal(copied.bytes(PAGE + 12_000, 1)[0], 9);
  fails('InvalidArgument', () => space.relaxed(() => space.copy(raw, { kind: 'immutable' })));
});

// --- T6: sealed objects -------------------------------------------------------------------------------------------------------

onHosts('T6: the same content sealed gives the same object, other content another', (ground) => {
  let space = ground.open();
  const [a, b] = [list(space, 30), list(space, 30)];
  const seal = (node: object): ObjectId => space.relaxed(() => space.seal(node));
  const first = seal(a);
  assert.equal(seal(a), first);
  assert.equal(seal(b), first, 'made apart, but equal');
  assert.equal(seal(first), first);
  space.relaxed(() => (b.value = 1));
  assert.notEqual(seal(b), first);
  space.relaxed(() => (b.value = 0));
  space.checkpoint();
  assert.equal(seal(b), first);
  // In another space, too.
  const elsewhere = ground.open({}, `${ground.directory}-other`);
  assert.equal(
    elsewhere.relaxed(() => elsewhere.seal(list(elsewhere, 30))),
    first,
  );
  space = ground.afterClose(space);
  assert.equal(space.object(first).kind, 'immutable');
  assert.deepEqual(walk(space.get(first, Node)), expected(30));
});

onHosts('T6: a sealed object cannot be changed, not even by the transaction that sealed or imported it', (ground) => {
  let space = ground.open();
  const a = list(space, 3);
  const id = space.relaxed(() => {
    const sealed = space.seal(a);
    const node = space.get(sealed, Node);
    fails('ObjectImmutable', () => (node.value = 7));
    fails('ObjectImmutable', () => (node.value = 8));
    fails('ObjectImmutable', () => (node.name = 'x'));
    fails('ObjectImmutable', () => objectOf(node).raw());
    fails('ObjectImmutable', () => space.make(Node, node));
    fails('ObjectImmutable', () => space.tie(node, a));
    return sealed;
  });
  const image = space.object(id).export();
  space = ground.afterDeath(space);
  assert.equal(space.get(id, Node).value, 0);
  fails('ObjectImmutable', () => space.relaxed(() => (space.get(id, Node).value = 7)));
  space = ground.afterClose(space);
  assert.equal(space.get(id, Node).name, 'node 0');
  const elsewhere = ground.open({}, `${ground.directory}-other`);
  elsewhere.relaxed(() => {
    const node = elsewhere.import(image).root(Node);
    fails('ObjectImmutable', () => (node.value = 7));
  });
  assert.deepEqual(walk(elsewhere.get(id, Node)), expected(3));
  const copied = elsewhere.relaxed(() => elsewhere.copy(id).root(Node));
  elsewhere.relaxed(() => (copied.value = 7));
  assert.equal(copied.value, 7);
});

onHosts('T6: a sealed object that is deleted and sealed again in one transaction is there, whether it commits or not', (ground) => {
  const space = ground.open();
  const a = list(space, 3);
  const id = space.relaxed(() => space.seal(a));
  assert.throws(
    () =>
      space.relaxed(() => {
        space.delete(id);
        assert.equal(space.seal(a), id);
        throw new Error('no');
      }),
    /no/,
  );
  assert.deepEqual(walk(space.get(id, Node)), expected(3));
  space.relaxed(() => {
    space.delete(id);
    assert.equal(space.seal(a), id);
  });
  assert.deepEqual(walk(space.get(id, Node)), expected(3));
  space.relaxed(() => space.delete(id));
  assert.equal(space.has(id), false);
  assert.equal(
    space.relaxed(() => space.seal(a)),
    id,
  );
  assert.deepEqual(walk(ground.afterDeath(space).get(id, Node)), expected(3));
});
