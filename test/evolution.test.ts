/** T11: schema evolution. Old data meets newer code and the reverse, for each kind of change: it works, or is refused by name. */
import assert from 'node:assert/strict';
import { META } from '../src/abi/format.ts';
import {
  array,
  assign,
  bigU64,
  bool,
  bytes,
  f64,
  i16,
  i64,
  i8,
  isTwzError,
  link,
  migration,
  objectOf,
  offsetOf,
  oneOf,
  optional,
  ref,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
  type Infer,
  type ObjectId,
  type Struct,
} from '../src/index.ts';
import { blocksInUse, message, problems } from './evolved.ts';
import { fails, onHosts } from './hosts.ts';

onHosts('T11: fields are added, removed, renamed and widened; old data is read by the new type, and the reverse is refused', (ground) => {
  const V1 = struct('Person', {
    name: text,
    age: u8,
    delta: i8,
    big: u32,
    flag: bool,
    mood: oneOf('calm', 'angry'),
    score: u16,
    note: text,
    blob: bytes,
    gone: link,
    row: array(u8, 3),
    maybe: optional(u8),
  });
  const V2 = struct(
    'Person',
    {
      email: text,
      age: u32,
      delta: i64,
      big: u64,
      flag: u8,
      mood: oneOf('sad', 'calm', 'angry'),
      score: optional(f64),
      fullName: text,
      row: array(i16, 5),
      maybe: optional(u32),
      born: u16,
    },
    { version: 2 },
  );
  migration(V1, V2, { renamed: { fullName: 'name' }, defaults: { email: 'nobody', born: 1970 } });
  let space = ground.open();
  const [id, other] = space.relaxed(() => {
    const target = space.create(V1, { name: 'target' });
    const person = space.create(V1, {
      name: 'Ann',
      age: 200,
      delta: -5,
      big: 4_000_000_000,
      flag: true,
      mood: 'angry',
      score: 65_535,
      note: 'to be dropped, and long enough for a block',
      blob: new Uint8Array(100),
      gone: objectOf(target),
      row: [1, 2, 255],
      maybe: 9,
    });
    return [objectOf(person).id, objectOf(target).id];
  });
  assert.equal(blocksInUse(space.object(id)), 5);
  space = ground.afterDeath(space);
  const person = space.get(id, V2);
  const { email, age, delta, big, flag, mood, score, fullName, maybe, born } = person;
  assert.deepEqual(
    { email, age, delta, big, flag, mood, score, fullName, maybe, born, row: [...person.row] },
    {
      email: 'nobody',
      age: 200,
      delta: -5,
      big: 4_000_000_000,
      flag: 1,
      mood: 'angry',
      score: 65_535,
      fullName: 'Ann',
      maybe: 9,
      born: 1970,
      row: [1, 2, 255, 0, 0],
    },
  );
  // Root, name, email, schema; no note, no bytes, and nothing refers to the other any more. The root has moved: its old place and the list.
  assert.equal(blocksInUse(objectOf(person)), 4 + 2);
  assert.deepEqual(objectOf(person).fot(), []);
  space.relaxed(() => (person.age = 70_000));
  space = ground.afterClose(space);
  assert.equal(space.get(id, V2).age, 70_000);
  // The reverse, and both versions are named.
  fails('TypeNewer', () => space.get(id, V1));
  assert.match(
    message(() => space.get(id, V1)),
    /Person version 2.*Person version 1/,
  );
  assert.equal(space.get(other, V1).name, 'target');
  assert.deepEqual({ ...space.migrate(V2), refused: [] }, { objects: 2, migrated: 1, settled: 2, refused: [] });
  assert.equal(blocksInUse(space.object(id)), 4);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: a migration is code that the type names; chains of them run one after the other', (ground) => {
  const V1 = struct('Person', {
    name: text,
    age: u8,
    get friend() {
      return ref(V1);
    },
  });
  const V2 = struct(
    'Person',
    {
      first: text,
      last: text,
      age: u8,
      get friend() {
        return ref(V2);
      },
    },
    { version: 2 },
  );
  const V3 = struct(
    'Person',
    {
      last: text,
      first: text,
      born: u16,
      friendsName: text,
      get friend() {
        return ref(V3);
      },
    },
    { version: 3 },
  );
  migration(V1, V2, {
    migrate(old, fresh) {
      const [first = '', last = ''] = old.name.split(' ');
      fresh.first = first;
      // The old data is there as it was, wherever one looks.
      fresh.last = old.friend === null ? last : `${last} (with ${old.friend.name})`;
    },
  });
  migration(V2, V3, {
    migrate(old, fresh) {
      const born: number = 2026 - old.age;
      fresh.born = born;
      fresh.friendsName = fresh.last;
    },
  });
  let space = ground.open();
  const id = space.relaxed(() => {
    const ann = space.create(V1, { name: 'Ann Lee', age: 30 });
    const bob = space.make(V1, ann, { name: 'Bob Ray', age: 40, friend: ann });
    ann.friend = bob;
    return objectOf(ann).id;
  });
  const before = blocksInUse(space.object(id));
  space = ground.afterDeath(space);
  const ann: Infer<typeof V3> = space.get(id, V3);
  assert.deepEqual([ann.first, ann.last, ann.born, ann.friendsName], ['Ann', 'Lee (with Bob Ray)', 1996, 'Lee (with Bob Ray)']);
  assert.deepEqual([ann.friend?.first, ann.friend?.last, ann.friend?.born], ['Bob', 'Ray (with Ann Lee)', 1986]);
  assert.equal(offsetOf(ann.friend?.friend ?? {}), offsetOf(ann));
  // Two texts more each; the two structs have moved and left their places taken, and the list of those.
  assert.equal(blocksInUse(objectOf(ann)), before + 4 + 3);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: what cannot be carried over is refused, and the message names the field and how to write it', (ground) => {
  const V1 = struct('Thing', { size: u32, name: text });
  const Narrow = struct('Thing', { size: u16, name: text }, { version: 2 });
  const Meaning = struct('Thing', { size: u32, name: text }, { version: 2 });
  const Same = struct('Thing', { size: u64, name: text });
  const Text = struct('Thing', { size: text, name: text }, { version: 2 });
  let space = ground.open();
  const id = space.relaxed(() => objectOf(space.create(V1, { size: 7, name: 'x' })).id);
  space = ground.afterDeath(space);
  const image = space.object(id).export();
  const refused = <F>(type: Struct<F>, pattern: RegExp): void => {
    fails('TypeMismatch', () => space.get(id, type));
    assert.match(
      message(() => space.get(id, type)),
      pattern,
    );
  };
  refused(Narrow, /Thing\.size cannot be carried over from u32 to u16.*migration\(.*fresh\.size = /);
  refused(Text, /Thing\.size cannot be carried over from u32 to text/);
  refused(Meaning, /another meaning.*migration\(/);
  refused(Same, /raise the version/);
  assert.deepEqual(space.object(id).export(), image);
  // What the code throws undoes the migration.
  migration(V1, Narrow, {
    migrate(old, fresh) {
      if (old.size > 5) throw new RangeError('too big');
      fresh.size = old.size;
    },
  });
  const Next = struct('Thing', { size: u16, name: text }, { version: 2 });
  migration(V1, Next, { migrate: (old, fresh) => (fresh.size = old.size % 5) });
  space.relaxed(() => (space.get(id, V1).size = 6));
  assert.throws(() => space.get(id, struct('Thing', { size: u8 }, { version: 2 })), /cannot be carried over/);
  assert.equal(space.get(id, V1).size, 6);
  assert.equal(space.get(id, Next).size, 1);
  fails('TypeInvalid', () => migration(Next, V1));
  fails('TypeInvalid', () => migration(V1, Next));
});

onHosts('T11: references from other objects to what has moved stay valid: to the root, to the middle, to what lies inline', (ground) => {
  const Point1 = struct('Point', { x: u32, y: u32 });
  const Node1 = struct('Node', {
    at: Point1,
    value: u32,
    get next() {
      return ref(Node1);
    },
  });
  const Point = struct('Point', { x: f64, y: f64, z: f64 }, { version: 2 });
  const Node = struct(
    'Node',
    {
      label: text,
      at: Point,
      value: f64,
      get next() {
        return ref(Node);
      },
    },
    { version: 2 },
  );
  const Holder1 = struct('Holder', {
    root: ref(Node1),
    middle: ref(Node1),
    point: ref(Point1),
    whole: link,
    several: array(ref(Node1), 2),
  });
  const Holder = struct('Holder', { root: ref(Node), middle: ref(Node), point: ref(Point), whole: link, several: array(ref(Node), 2) });
  let space = ground.open();
  const [list, holder] = space.relaxed(() => {
    const first = space.create(Node1, { at: { x: 1, y: 2 }, value: 1 });
    const second = space.make(Node1, first, { at: { x: 3, y: 4 }, value: 2 });
    first.next = second;
    second.next = first;
    const made = space.create(Holder1, { root: first, middle: second, point: second.at, whole: objectOf(first), several: [second, first] });
    return [objectOf(first).id, objectOf(made).id];
  });
  const look = (how: string): void => {
    const held = space.get(holder, Holder);
    // By the middle first: nobody has opened the list's root.
    for (let i = 0; i < 2; i++) {
      assert.deepEqual([held.middle?.value, held.middle?.at.x, held.middle?.at.z, held.middle?.label], [2, 3, 0, ''], how);
      assert.deepEqual([held.point?.x, held.point?.y, held.point?.z], [3, 4, 0], how);
      assert.deepEqual([held.root?.value, held.root?.at.y, held.root?.next?.value, held.root?.next?.next?.at.x], [1, 2, 2, 1], how);
      assert.deepEqual(
        held.several.toArray().map((node) => node?.value),
        [2, 1],
        how,
      );
      assert.equal(held.whole?.id, list, how);
      assert.equal(offsetOf(held.root ?? {}), space.object(list).rootOffset, how);
    }
  };
  space = ground.afterDeath(space);
  look('after the death of the old program');
  space = ground.afterClose(space);
  look('opened again');
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
  // A third version moves them once more.
  space = ground.open();
  const Node3 = struct(
    'Node',
    {
      more: array(bigU64, 8),
      at: Point,
      value: f64,
      get next() {
        return ref(Node3);
      },
    },
    { version: 3 },
  );
  const Holder3 = struct('Holder', { root: ref(Node3), middle: ref(Node3), point: ref(Point), whole: link, several: array(ref(Node3), 2) });
  const held = space.get(holder, Holder3);
  assert.deepEqual(
    [held.point?.x, held.middle?.at.x, held.root?.at.x, held.root?.next?.value, held.several.get(0)?.value],
    [3, 3, 1, 2, 2],
  );
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: migrating all objects at once corrects references, gives everything back, and says what it could not do', (ground) => {
  const V1 = struct('Item', {
    name: text,
    n: u32,
    get next() {
      return ref(V1);
    },
  });
  const V2 = struct(
    'Item',
    {
      name: text,
      n: u64,
      tags: array(u32, 20),
      get next() {
        return ref(V2);
      },
    },
    { version: 2 },
  );
  let space = ground.open();
  const make = (): ObjectId[] =>
    space.relaxed(() => {
      const items: Infer<typeof V1>[] = [];
      for (let i = 0; i < 20; i++) {
        const item = space.create(V1, { name: `item ${i}`, n: i });
        const inner = space.make(V1, item, { name: 'inner', n: 100 + i, next: item });
        item.next = inner;
        // Every second leads on to the middle of the one before.
        if (i % 2 === 1) inner.next = items[i - 1]?.next ?? null;
        items.push(item);
        space.names.set(`/items-${i}`, item);
      }
      return items.map((item) => objectOf(item).id);
    });
  const ids = make();
  const [lone, far, ...fixed] = space.relaxed(() => {
    // A block that only another object leads to, and one that cannot be changed.
    const lone = space.create(V1, { name: 'lone' });
    const far = space.create(V1, { name: 'far', next: space.make(V1, lone, { name: 'reached from afar' }) });
    return [
      objectOf(lone).id,
      objectOf(far).id,
      space.seal(far),
      objectOf(space.create(V1, { name: 'read-only' }, { rights: 1 })).id,
    ] as const;
  });
  const before = ids.map((id) => blocksInUse(space.object(id)));
  space = ground.afterDeath(space);
  let calls = 0;
  const { objects, migrated, settled, refused } = space.migrate(V2, {
    progress: (done, total) => {
      calls++;
      assert.ok(done <= total);
    },
  });
  assert.ok(calls >= objects);
  assert.deepEqual([objects, migrated], [24, 21]);
  assert.deepEqual(
    Object.fromEntries(refused.map(({ id, error }) => [id, error.name])),
    Object.fromEntries([[lone, 'TypeMismatch'], ...fixed.map((id) => [id, 'TypeOutdated'])]),
  );
  assert.match(String(refused.find(({ id }) => id === lone)?.error), /2 of its blocks are not reached.*unreached: 'leave'/);
  assert.equal(settled, 21);
  assert.deepEqual(
    ids.map((id) => blocksInUse(space.object(id))),
    before,
  );
  assert.ok(ids.every((id) => space.object(id).handle.dv.getUint32(META.forwards, true) === 0));
  const look = (): void => {
    for (const [i, id] of ids.entries()) {
      const item = space.get(id, V2);
      const inner = item.next;
      assert.deepEqual(
        [item.name, item.n, inner?.name, inner?.n, [...item.tags].join('')],
        [`item ${i}`, i, 'inner', 100 + i, '0'.repeat(20)],
      );
      assert.deepEqual([inner?.next?.name, inner?.next?.n], i % 2 === 1 ? ['inner', 99 + i] : [`item ${i}`, i]);
      assert.equal(space.names.get(`/items-${i}`, V2).n, i);
    }
  };
  look();
  assert.deepEqual(space.migrate(V2).migrated, 0);
  // What is refused when it is opened is refused where a reference leads to it, by name.
  fails('TypeMismatch', () => space.get(far, V2).next?.n);
  space = ground.afterClose(space);
  look();
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts(
  'T11: snapshots, immutable objects and objects without the right to write are refused by name, and copies are migrated',
  (ground) => {
    const V1 = struct('Doc', { title: text });
    const V2 = struct('Doc', { title: text, pages: u32 }, { version: 2 });
    let space = ground.open();
    const [id, sealed, guarded] = space.relaxed(() => {
      const doc = space.create(V1, { title: 'one' });
      return [objectOf(doc).id, space.seal(doc), objectOf(space.create(V1, { title: 'guarded' }, { rights: 1 })).id] as const;
    });
    space = ground.afterDeath(space);
    const snapshot = space.snapshot();
    fails('TypeOutdated', () => snapshot.get(id, V2));
    fails('TypeOutdated', () => space.get(sealed, V2));
    fails('TypeOutdated', () => space.get(guarded, V2));
    assert.match(
      message(() => snapshot.get(id, V2)),
      /Doc version 1.*Doc version 2.*advance/,
    );
    assert.equal(space.get(guarded, V1).title, 'guarded');
    assert.deepEqual([space.get(id, V2).title, space.get(id, V2).pages], ['one', 0]);
    // The snapshot goes on showing what was, to who knows it.
    assert.equal(snapshot.get(id, V1).title, 'one');
    fails('TypeOutdated', () => snapshot.get(id, V2));
    snapshot.advance();
    assert.equal(snapshot.get(id, V2).pages, 0);
    snapshot.close();
    const copy = space.relaxed(() => space.copy(sealed).root(V2));
    assert.deepEqual([copy.title, copy.pages], ['one', 0]);
  },
);

onHosts('T11: older code reads and writes newer data whose root only grew at its end; where that would harm, it is refused', (ground) => {
  const V1 = struct('Account', { owner: text, cents: u32 });
  const V2 = struct('Account', { owner: text, cents: u32, limit: u32 }, { version: 2 });
  const Moved = struct('Account', { limit: u32, owner: text, cents: u32 }, { version: 2 });
  const List1 = struct('Cell', {
    n: u32,
    get next() {
      return ref(List1);
    },
  });
  const List2 = struct(
    'Cell',
    {
      n: u32,
      get next() {
        return ref(List2);
      },
      more: u32,
    },
    { version: 2 },
  );
  let space = ground.open();
  const [grown, moved, list] = space.relaxed(() => [
    objectOf(space.create(V2, { owner: 'Ann', cents: 5, limit: 9 })).id,
    objectOf(space.create(Moved, { owner: 'Ann', cents: 5, limit: 9 })).id,
    objectOf(space.create(List2, { n: 1 })).id,
  ]);
  space = ground.afterDeath(space);
  const account = space.get(grown, V1);
  space.relaxed(() => (account.cents += account.owner.length));
  fails('TypeNewer', () => space.get(moved, V1));
  // It could make cells that are too small for the newer program.
  fails('TypeNewer', () => space.get(list, List1));
  assert.match(
    message(() => space.get(list, List1)),
    /Cell version 2.*Cell version 1/,
  );
  space = ground.afterDeath(space);
  assert.deepEqual([space.get(grown, V2).cents, space.get(grown, V2).limit], [8, 9]);
});

onHosts('T11: a struct that is only referred to is compared, too, and an aborted transaction undoes the migration in it', (ground) => {
  const Street1 = struct('Street', { name: text });
  const Person1 = struct('Person', { street: ref(Street1) });
  const Street2 = struct('Street', { zip: u32, name: text }, { version: 2 });
  const Person2 = struct('Person', { street: ref(Street2) });
  const Silent = struct('Person', { street: ref(struct('Street', { zip: u32, name: text })) });
  let space = ground.open();
  const id = space.relaxed(() => {
    const person = space.create(Person1);
    person.street = space.make(Street1, person, { name: 'High Street' });
    return objectOf(person).id;
  });
  space = ground.afterDeath(space);
  // The same fingerprint: only the schema text tells.
  assert.deepEqual(Person1.layout.fingerprint, Silent.layout.fingerprint);
  fails('TypeMismatch', () => space.get(id, Silent));
  const image = space.object(id).export();
  assert.throws(
    () =>
      space.relaxed(() => {
        const person = space.get(id, Person2);
        if (person.street !== null) person.street.zip = 4711;
        assert.equal(person.street?.name, 'High Street');
        throw new RangeError('never mind');
      }),
    RangeError,
  );
  assert.deepEqual(space.object(id).export(), image);
  assert.equal(space.get(id, Person1).street?.name, 'High Street');
  assert.deepEqual([space.get(id, Person2).street?.name, space.get(id, Person2).street?.zip], ['High Street', 0]);
  fails('TypeNewer', () => space.get(id, Person1));
});

onHosts('T11: migration code reads other objects by their new type, and never one of the two as the other', (ground) => {
  const V1 = struct('Person', {
    name: text,
    get friend() {
      return ref(V1);
    },
  });
  const V2 = struct(
    'Person',
    {
      name: text,
      friends: text,
      seen: oneOf('nothing', 'old', 'migrated', 'itself'),
      get friend() {
        return ref(V2);
      },
    },
    { version: 2 },
  );
  migration(V1, V2, {
    migrate(old, fresh) {
      try {
        fresh.seen = old.friend?.friend === null ? 'nothing' : 'old';
      } catch (error) {
        if (!isTwzError(error, 'TypeNewer')) throw error;
        fresh.seen = 'migrated';
      }
      try {
        fresh.friends = fresh.friend?.name ?? '';
      } catch (error) {
        if (!isTwzError(error, 'TypeOutdated')) throw error;
        fresh.friends = 'in a circle';
      }
    },
  });
  let space = ground.open();
  const ids = space.relaxed(() => {
    const [a, b, c] = [space.create(V1, { name: 'a' }), space.create(V1, { name: 'b' }), space.create(V1, { name: 'c' })];
    a.friend = b;
    b.friend = a;
    c.friend = a;
    return [a, b, c].map((each) => objectOf(each).id);
  });
  space = ground.afterDeath(space);
  const look = (): unknown[] =>
    ids.map((id) => {
      const { name, friends, seen, friend } = space.get(id, V2);
      return [name, friends, seen, friend?.name];
    });
  const expected = [
    ['a', 'b', 'old', 'b'],
    ['b', 'in a circle', 'old', 'a'],
    ['c', 'a', 'migrated', 'a'],
  ];
  assert.deepEqual(look(), expected);
  space = ground.afterDeath(space);
  assert.deepEqual(look(), expected);
});

onHosts(
  'T11: structs of other names: one that was renamed, one that is in no version any more, one inline in another that grows',
  (ground) => {
    const Where1 = struct('Where', { zip: u32 });
    const Gone = struct('Gone', { what: text });
    const Firm1 = struct('Company', {
      at: Where1,
      others: array(Where1, 2),
      gone: ref(Gone),
      back: ref(Where1),
      maybe: optional(Where1),
      tag: optional(text),
    });
    const Where2 = struct('Place', { zip: u32, street: text }, { version: 2 });
    const Firm2 = struct(
      'Firm',
      { at: Where2, others: array(Where2, 3), back: ref(Where2), maybe: optional(Where2), tag: optional(text) },
      { version: 2 },
    );
    migration(Where1, Where2, { defaults: { street: 'unknown' } });
    migration(Firm1, Firm2);
    let space = ground.open();
    const id = space.relaxed(() => {
      const firm = space.create(Firm1, { at: { zip: 1 }, others: [{ zip: 2 }, { zip: 3 }], tag: 'kept' });
      firm.gone = space.make(Gone, firm, { what: 'left' });
      firm.back = firm.others.get(1);
      assign(firm, { maybe: { zip: 4 } });
      return objectOf(firm).id;
    });
    space = ground.afterDeath(space);
    const firm = space.get(id, Firm2);
    assert.deepEqual(
      [firm.at, ...firm.others, firm.maybe, firm.back].map((place) => [place?.zip, place?.street]),
      [
        [1, 'unknown'],
        [2, 'unknown'],
        [3, 'unknown'],
        [0, ''],
        [4, 'unknown'],
        [3, 'unknown'],
      ],
    );
    assert.equal(firm.tag, 'kept');
    assert.equal(offsetOf(firm.back ?? {}), offsetOf(firm.others.get(1)));
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

onHosts('T11: a migration that declares its predecessor wrongly is refused, and a snapshot does not show a migrated place', (ground) => {
  const Street1 = struct('Street', { name: text });
  const Street2 = struct('Street', { zip: u32, name: text }, { version: 2 });
  const V1 = struct('Person', { name: text, street: ref(Street1) });
  // As one writes it who forgot that the street was another one then.
  const Wrong = struct('Person', { name: text, street: ref(Street2) });
  const V2 = struct('Person', { street: ref(Street2), name: text, road: text }, { version: 2 });
  migration(Wrong, V2, { migrate: (old, fresh) => (fresh.road = old.street?.name ?? '') });
  let space = ground.open();
  const id = space.relaxed(() => {
    const person = space.create(V1, { name: 'Ann' });
    person.street = space.make(Street1, person, { name: 'High Street' });
    return objectOf(person).id;
  });
  space = ground.afterDeath(space);
  fails('TypeMismatch', () => space.get(id, V2));
  assert.match(
    message(() => space.get(id, V2)),
    /Street version 2 where version 1 is stored/,
  );
  const Right = struct('Person', { street: ref(Street2), name: text, road: text }, { version: 2 });
  migration(V1, Right, { migrate: (old, fresh) => (fresh.road = old.street?.name ?? '') });
  const snapshot = space.snapshot();
  const person = space.get(id, Right);
  assert.deepEqual([person.road, person.street?.name, person.street?.zip], ['High Street', 'High Street', 0]);
  fails('TypeOutdated', () => snapshot.of(person));
  snapshot.advance();
  assert.equal(snapshot.of(person).road, 'High Street');
  snapshot.close();
});
