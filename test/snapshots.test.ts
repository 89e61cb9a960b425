/** T10: a snapshot shows one committed version of everything, until it is told to move on. */
import assert from 'node:assert/strict';
import type { ObjectId } from '../src/abi/id.ts';
import { bytes, closeCursor, cursor, link, objectOf, ref, struct, text, u32, type Infer, type Space } from '../src/index.ts';
import { onHosts, fails } from './hosts.ts';

const Account = struct('Account', {
  balance: u32,
  name: text,
  data: bytes,
  thing: link,
  get next() {
    return ref(Account);
  },
});
type Account = Infer<typeof Account>;

const make = (space: Space, count: number, balance = 100): Account[] =>
  space.relaxed(() => Array.from({ length: count }, (_, i) => space.create(Account, { balance, name: `account ${i}` })));

const idOf = (account: Account): ObjectId => objectOf(account).id;

onHosts('T10: a snapshot stands still while transactions, checkpoints and aborts go on, and moves when it is told to', (ground) => {
  const space = ground.open();
  const [a, b] = make(space, 2) as [Account, Account];
  space.relaxed(() => (a.next = b));
  const snapshot = space.snapshot();
  const early = snapshot.get(idOf(a), Account); // mapped before the changes
  const late = (): Account => snapshot.get(idOf(b), Account); // and after
  space.relaxed(() => {
    a.balance = 1;
    a.name = 'changed to something longer';
    b.balance = 2;
    a.next = null;
  });
  const frozen = (): void => {
    assert.deepEqual([early.balance, early.name, late().balance, early.next?.balance], [100, 'account 0', 100, 100]);
    fails('SnapshotReadOnly', () => space.relaxed(() => (early.balance = 5)));
  };
  frozen();
  space.checkpoint();
  frozen();
  space.relaxed(() => (b.balance = 3));
  assert.throws(
    () =>
      space.relaxed(() => {
        a.balance = 4;
        frozen();
        throw new Error('no');
      }),
    /no/,
  );
  space.checkpoint();
  frozen();
  snapshot.advance();
  assert.deepEqual([early.balance, early.name, late().balance, early.next], [1, 'changed to something longer', 3, null]);
  snapshot.close();
  fails('SnapshotClosed', () => snapshot.get(idOf(a), Account));
  fails('SnapshotClosed', () => early.balance);
  fails('SnapshotClosed', () => snapshot.advance());
});

for (const where of ['in the log only', 'in its file'] as const) {
  for (const size of [100, 150_000]) {
    onHosts(`T10: an object that is deleted afterwards is still there in the snapshot: ${size} bytes, ${where}`, (ground) => {
      const space = ground.open();
      const [a] = make(space, 1) as [Account];
      space.relaxed(() => (a.data = new Uint8Array(size).fill(5)));
      if (where === 'in its file') space.checkpoint();
      space.relaxed(() => (a.balance = 101));
      const id = idOf(a);
      const image = objectOf(a).export();
      const snapshot = space.snapshot();
      space.relaxed(() => {
        a.balance = 102;
        space.delete(a);
        // Not yet committed: the snapshot maps it only now.
        assert.equal(snapshot.get(id, Account).balance, 101);
      });
      const other = space.snapshot();
      fails('ObjectDeleted', () => other.get(id, Account));
      space.checkpoint();
      space.relaxed(() => (space.import(image).root(Account).balance = 7));
      space.checkpoint();
      const seen = snapshot.get(id, Account);
      assert.deepEqual([seen.balance, seen.data.length, seen.data[size - 1], seen.name], [101, size, 5, 'account 0']);
      snapshot.close();
      other.close();
      assert.equal(space.get(id, Account).balance, 7);
    });
  }
}

onHosts('T10: an object deleted and imported again before a checkpoint leaves the snapshot its own', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Account];
  space.relaxed(() => (a.data = new Uint8Array(300_000).fill(1)));
  space.checkpoint();
  const id = idOf(a);
  const image = objectOf(a).export();
  const snapshot = space.snapshot();
  const seen = snapshot.get(id, Account);
  space.relaxed(() => space.delete(a));
  space.relaxed(() => (space.import(image).root(Account).data = new Uint8Array(10).fill(2)));
  space.checkpoint();
  const { data } = seen;
  assert.ok(data.length === 300_000 && data.every((byte) => byte === 1));
});

onHosts('T10: objects made after the snapshot are not in it; what comes and goes meanwhile does not disturb', (ground) => {
  const space = ground.open();
  const snapshot = space.snapshot();
  const [a] = make(space, 1) as [Account];
  fails('ObjectMissing', () => snapshot.get(idOf(a), Account));
  space.relaxed(() => {
    const fleeting = space.create(Account);
    space.delete(fleeting);
    space.relaxed(() => fails('ObjectMissing', () => snapshot.get(idOf(space.create(Account)), Account)));
  });
  snapshot.advance();
  assert.equal(snapshot.get(idOf(a), Account).balance, 100);
});

onHosts(
  'T10: of() and references stay in the snapshot, late-bound ones too; a reference stored from it leads to the living object',
  (ground) => {
    const space = ground.open();
    const [a, b, c] = make(space, 3) as [Account, Account, Account];
    space.names.set('/b', b);
    space.relaxed(() => {
      a.next = space.late(Account, '/b');
      a.thing = objectOf(c);
    });
    const snapshot = space.snapshot();
    const seen = snapshot.of(a);
    space.relaxed(() => {
      b.balance = 1;
      c.balance = 2;
    });
    assert.deepEqual([seen.next?.balance, seen.thing?.root(Account).balance], [100, 100]);
    space.relaxed(() => (b.next = snapshot.get(idOf(c), Account)));
    assert.equal(b.next?.balance, 2);
    const copied = space.relaxed(() => space.copy(snapshot.get(idOf(c), Account)).root(Account));
    assert.equal(copied.balance, 100, 'a copy of the frozen version');
    space.checkpoint();
    assert.equal(space.relaxed(() => space.copy(snapshot.object(idOf(c))).root(Account)).balance, 100);
  },
);

onHosts('T10: several snapshots each show their own version', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Account];
  const id = idOf(a);
  const snapshots = Array.from({ length: 12 }, (_, i) => {
    space.relaxed(() => {
      a.balance = i;
      a.name = `version ${i} ${'x'.repeat(i * 30)}`;
    });
    if (i % 4 === 0) space.checkpoint();
    return space.snapshot();
  });
  space.relaxed(() => (a.data = new Uint8Array(200_000)));
  for (const i of [11, 0, 5, 3, 8, 1]) {
    const seen = snapshots[i]?.get(id, Account);
    assert.deepEqual([seen?.balance, seen?.name.length, seen?.data.length], [i, `version ${i} `.length + i * 30, 0]);
    space.relaxed(() => (a.balance += 1));
    space.checkpoint();
  }
  for (const snapshot of snapshots) snapshot.close();
});

onHosts('T10: a reader sees no torn state of objects that change together, whenever it looks', (ground) => {
  const space = ground.open({ segmentSize: 65536, checkpointBytes: 100_000 });
  const accounts = make(space, 30);
  const ids = accounts.map((account) => idOf(account));
  const total = 3000;
  const snapshot = space.snapshot();
  let random = 12345;
  const next = (below: number): number => (random = (Math.imul(random, 1103515245) + 12345) >>> 0) % below;
  const sum = (get: (id: ObjectId) => Account): number => ids.reduce((so, id) => so + get(id).balance, 0);
  for (let round = 0; round < 400; round++) {
    space.relaxed(() => {
      const [from, to] = [accounts[next(30)] as Account, accounts[next(30)] as Account];
      const amount = next(from.balance + 1);
      from.balance -= amount;
      // Half way through, the snapshot is whole.
      if (round % 10 === 0)
        assert.equal(
          sum((id) => snapshot.get(id, Account)),
          total,
        );
      to.balance += amount;
    });
    if (round % 7 === 0) {
      // A part is looked at now, the rest after further changes.
      for (const id of ids.slice(0, next(30))) assert.ok(snapshot.get(id, Account).balance >= 0);
    }
    if (round % 50 === 25) space.checkpoint();
    if (round % 20 === 19) {
      assert.equal(
        sum((id) => snapshot.get(id, Account)),
        total,
      );
      snapshot.advance();
    }
  }
  assert.equal(
    sum((id) => space.get(id, Account)),
    total,
  );
});

onHosts('T10: raw stores are in a snapshot once they are committed, and not before', (ground) => {
  const space = ground.open();
  const object = space.relaxed(() => space.createRaw(100_000));
  space.checkpoint();
  const raw = space.relaxed(() => object.raw());
  space.relaxed(() => (raw[50_000] = 1));
  const snapshot = space.snapshot();
  raw[50_000] = 2; // waits for the next transaction
  raw[60_000] = 3;
  const seen = snapshot.object(object.id);
  assert.deepEqual([seen.bytes(4096 + 50_000, 1)[0], seen.bytes(4096 + 60_000, 1)[0]], [1, 0]);
  space.relaxed(() => (raw[70_000] = 4));
  space.checkpoint();
  assert.deepEqual([seen.bytes(4096 + 50_000, 1)[0], seen.bytes(4096 + 70_000, 1)[0]], [1, 0]);
  snapshot.advance();
  assert.deepEqual([...snapshot.object(object.id).bytes(4096 + 50_000, 1), ...snapshot.object(object.id).bytes(4096 + 70_000, 1)], [2, 4]);
  fails('SnapshotReadOnly', () => space.relaxed(() => snapshot.object(object.id).raw()));
  fails('SnapshotReadOnly', () => space.relaxed(() => space.delete(snapshot.object(object.id))));
});

onHosts('T10: a cursor that stands in a snapshot keeps its version when the snapshot goes on', (ground) => {
  const space = ground.open();
  const [a] = make(space, 1) as [Account];
  const snapshot = space.snapshot();
  const standing = cursor(Account, snapshot.of(a));
  space.relaxed(() => (a.balance = 1));
  snapshot.advance();
  make(space, 20, 55);
  assert.equal(standing.balance, 100);
  closeCursor(standing);
  assert.equal(snapshot.of(a).balance, 1);
});
