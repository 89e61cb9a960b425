/** P3, T13: what one process revokes or takes away, no other goes by any more; and what a shared object or a collection is, is judged alike. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { RIGHT, hashMap, objectOf, struct, text, u32 } from '../src/index.ts';
import type { Authority } from '../src/kernel/security/authority.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { fails, onHosts } from './hosts.ts';
import { Neighbour } from './neighbour.ts';
import { Secret, worldOf } from './security-world.ts';

const { read, write } = RIGHT;

const unlimited: Authority = { rightsTo: () => 7, epoch: 0, look: () => undefined };

onHosts(
  'P3: a revocation is seen by another process at its next judgement, cached verdicts and kept accessors included',
  async (ground, t) => {
    const { space, issuer, secret, alice, bob } = worldOf(ground.open());
    const { security } = space;
    const direct = security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer, delegable: true });
    security.delegate(direct, { to: bob.context, rights: read, by: alice.key });
    const [a, b] = [alice, bob].map(() => new Neighbour(t, ground.directory, 'security-neighbour.js')) as [Neighbour, Neighbour];
    assert.equal(await a.does('open', alice.context), alice.context);
    assert.equal(await b.does('open', bob.context), bob.context);
    assert.deepEqual([await a.does('keep', secret), await b.does('keep', secret)], [7, 7]);
    assert.deepEqual([await a.does('write', secret, 8), await b.does('write', secret, 9)], [8, 'ObjectForbidden write']);
    assert.deepEqual([await a.does('again'), await b.does('again')], [8, 8]);
    const epoch = Number(await b.does('epoch'));
    security.revoke(direct, issuer);
    assert.deepEqual([await a.does('read', secret), await b.does('read', secret)], ['ObjectForbidden read', 'ObjectForbidden read']);
    assert.deepEqual([await a.does('again'), await b.does('again')], ['ObjectForbidden read', 'ObjectForbidden read']);
    assert.ok(Number(await b.does('epoch')) > epoch);
    // And what is given anew is seen as well.
    security.grant({ target: secret, to: bob.context, rights: read, by: issuer });
    assert.deepEqual([await a.does('read', secret), await b.does('again')], ['ObjectForbidden read', 8]);
    assert.deepEqual([await a.does('close'), await b.does('close')], ['closed', 'closed']);
  },
  ['linux'],
);

onHosts(
  'P3: a transaction that is under way in another process is judged by what was revoked meanwhile',
  async (ground, t) => {
    const { space, issuer, secret, alice } = worldOf(ground.open());
    const { security } = space;
    const grant = { target: secret, to: alice.context, rights: read | write, by: issuer };
    const first = security.grant(grant);
    security.grant({ ...grant, rights: read });
    const neighbour = new Neighbour(t, ground.directory, 'security-neighbour.js');
    await neighbour.does('open', alice.context);
    const go = `${ground.directory}/../go`;
    for (const revoked of [false, true]) {
      assert.equal(await neighbour.does('dwell', secret, go), 'inside');
      if (revoked) security.revoke(first, issuer);
      fs.writeFileSync(go, '');
      // Its second try sees the revocation, and is refused.
      assert.deepEqual(await neighbour.hears(), revoked ? ['ObjectForbidden write', 2] : [8, 1]);
      fs.rmSync(go);
    }
    assert.equal(await neighbour.does('read', secret), 8);
  },
  ['linux'],
);

onHosts(
  'P2: stores to shared memory are judged when it is mapped, and again when rights change',
  (ground) => {
    const keeper = ground.open();
    const { issuer, alice } = worldOf(keeper);
    const Board = struct('Board', { n: u32 });
    const id = keeper.relaxed(() => objectOf(keeper.create(Board, { n: 1 }, { kind: 'shared', rights: 0, key: issuer.id })).id);
    keeper.security.grant({ target: id, to: alice.context, rights: read, by: issuer });
    const user = ground.open({ contexts: [alice.context] }, keeper.directory);
    const board = user.get(id, Board);
    assert.equal(board.n, 1);
    fails('ObjectForbidden', () => user.relaxed(() => (board.n = 2)));
    const more = keeper.security.grant({ target: id, to: alice.context, rights: write, by: issuer });
    user.refresh();
    board.n = 3;
    assert.equal(board.n, 3);
    keeper.security.revoke(more, issuer);
    user.refresh();
    fails('ObjectForbidden', () => user.relaxed(() => (board.n = 4)));
    assert.equal(board.n, 3);
  },
  ['linux'],
);

onHosts(
  'P3: a collection that has grown into parts is judged as one, and its parts as parts of no other',
  (ground, t) => {
    // So that a small collection grows into other objects.
    const limits = { ...POOL_LIMITS };
    Object.assign(POOL_LIMITS, { home: 1 << 15, member: 1 << 18 });
    t.after(() => void Object.assign(POOL_LIMITS, limits));
    const keeper = ground.open();
    const { issuer, alice, bob } = worldOf(keeper);
    const Shelf = hashMap(text, text);
    const id = keeper.relaxed(() => {
      const shelf = keeper.create(Shelf, undefined, { rights: 0, key: issuer.id });
      for (let i = 0; i < 3000; i++) shelf.set(`key ${i}`, 'x'.repeat(600));
      return objectOf(shelf).id;
    });
    const parts = keeper.kernel.open(id).parts();
    assert.ok(parts.length > 0, 'it has parts');
    keeper.security.grant({ target: id, to: alice.context, rights: read | write, by: issuer });
    const user = ground.open({ contexts: [alice.context] }, keeper.directory);
    const shelf = user.get(id, Shelf);
    assert.equal([...shelf.values()].length, 3000);
    user.relaxed(() => shelf.set('key 2999', 'y'));
    const other = ground.open({ contexts: [bob.context] }, keeper.directory);
    for (const part of parts) {
      assert.equal(user.security.rights(part.id, read), read | write);
      assert.equal(other.security.rights(part.id, read), 0);
      fails('ObjectForbidden', () => other.object(part.id).bytes());
    }
    fails('ObjectForbidden', () => other.get(id, Shelf));
    // A part that says that it is of another object, with the same key: the other's rights are none to it.
    const [part] = parts;
    assert.ok(part !== undefined);
    const own = keeper.relaxed(() => keeper.create(Shelf, undefined, { rights: 0, key: issuer.id }));
    keeper.security.grant({ target: objectOf(own).id, to: bob.context, rights: read | write, by: issuer });
    keeper.kernel.authority = unlimited;
    keeper.relaxed(() => part.belongTo(objectOf(own).handle));
    keeper.kernel.authority = undefined;
    other.refresh();
    assert.equal(other.security.rights(objectOf(own).id, read), read | write);
    assert.equal(other.security.rights(part.id, read), 0);
    // By default rights alone, parts of what has no key are as they were.
    assert.equal(keeper.relaxed(() => keeper.create(Secret, { n: 1 })).n, 1);
  },
  ['linux'],
);
