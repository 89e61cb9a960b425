/** P3, T2: contexts that hold anything, and grants of transactions that were undone. SEED=… replays a run. */
import assert from 'node:assert/strict';
import { META } from '../src/abi/format.ts';
import { Random } from '../src/host/simulated/random.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { RIGHT, open, parseId } from '../src/index.ts';
import { ContextAuthority, securityOf } from '../src/kernel/security/authority.ts';
import { changing } from '../src/kernel/security/records.ts';
import { fails, onHosts, thrown } from './hosts.ts';
import { worldOf } from './security-world.ts';

const { read, write } = RIGHT;
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = 400;

onHosts('P3: what an aborted transaction granted was never granted', (ground) => {
  const { space, issuer, secret, alice } = worldOf(ground.open());
  const authority = new ContextAuthority(space.kernel, [alice.context]);
  const rights = (): number => authority.rightsTo(space.kernel.handle(secret), read);
  const error = thrown(() =>
    space.relaxed(() => {
      space.security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
      assert.equal(rights(), read);
      throw new Error('no');
    }),
  );
  assert.equal(String(error), 'Error: no');
  assert.equal(rights(), 0);
  space.security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  assert.equal(rights(), read);
});

onHosts(
  'P3: a context with any bytes in it gives no more than its capabilities do, and harms nobody',
  (ground, t) => {
    t.diagnostic(`SEED=${SEED}`);
    const random = new Random(SEED);
    const { space, issuer, secret, alice, bob } = worldOf(ground.open());
    const direct = space.security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer, delegable: true });
    space.security.delegate(direct, { to: bob.context, rights: read, by: alice.key });
    space.security.setMask(bob.context, secret, { rights: 7 }, bob.key);
    const context = space.kernel.handle(bob.context);
    const target = space.kernel.handle(secret);
    const authority = new ContextAuthority(space.kernel, [bob.context]);
    const damage = (): void => {
      const at = context.dv.getUint32(META.root, true);
      for (let n = 1 + random.below(3); n > 0; n--) {
        const where = at + random.below(420);
        context.mark(where);
        context.u8[where] = random.below(256);
      }
    };
    let still = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const error = thrown(() =>
        space.relaxed(() => {
          changing(context, damage);
          securityOf(space.kernel).changed(bob.context);
          const rights = authority.rightsTo(target, read);
          assert.equal(rights & ~read, 0);
          if (rights === read) still++;
          authority.explain(target);
          throw new Error('undone');
        }),
      );
      assert.equal(String(error), 'Error: undone', `SEED=${SEED} round ${round}`);
    }
    t.diagnostic(`${still} of ${ROUNDS} still gave what they did`);
    assert.ok(still > 0 && still < ROUNDS / 2);
    assert.equal(authority.rightsTo(target, read), read);
  },
  ['linux'],
);

onHosts(
  'P3: a revocation that has returned outlives a power failure, and the capability beside it does, too',
  (ground) => {
    assert.ok(ground.host instanceof SimulatedHost);
    for (const mode of ['lose', 'random', 'keep'] as const) {
      const directory = `${ground.directory}-${mode}`;
      const { space, issuer, secret, alice } = worldOf(ground.open({}, directory));
      const grant = { target: secret, to: alice.context, rights: read, by: issuer };
      const [gone, kept] = [space.security.grant(grant), space.security.grant({ ...grant, rights: write })];
      space.sync();
      // The directory that the space is in is not the space's.
      for (const above of ['/', '/tmp']) ground.host.syncDirectory(above);
      space.security.revoke(gone, issuer);
      const machine = ground.host.crash({ mode, seed: SEED });
      const after = open(directory, { host: machine, segmentSize: 1 << 20, create: false });
      fails('CapabilityRevoked', () => after.security.verify(gone));
      after.security.verify(kept);
      assert.equal(after.security.explain(secret, write, [alice.context]).missing, 0);
      after.close();
    }
  },
  ['simulated'],
);

onHosts('P2: a space is not opened by contexts that are none, and is free afterwards', (ground) => {
  const space = ground.open();
  const { secret, alice } = worldOf(space);
  space.close();
  for (const wrong of [secret, parseId('5'.repeat(32))]) fails('ContextInvalid', () => ground.open({ contexts: [alice.context, wrong] }));
  const again = ground.open({ contexts: [alice.context] });
  assert.deepEqual([again.security.active, again.security.contexts], [alice.context, [alice.context]]);
});
