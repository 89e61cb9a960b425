/** P2, P3: capabilities, delegations and revocations. Each refusal stands beside what is accepted, and names its reason. */
import assert from 'node:assert/strict';
import { isTwzError, type ErrorName } from '../src/abi/errors.ts';
import { META } from '../src/abi/format.ts';
import { writeId } from '../src/abi/id.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { Capability, RIGHT, hashMap, objectOf, text, u32, type SigningKey } from '../src/index.ts';
import { securityOf } from '../src/kernel/security/authority.ts';
import { createRecord } from '../src/kernel/security/records.ts';
import { fails, objectFile, onHosts, restamp, thrown, type HostName } from './hosts.ts';
import { Secret, flipped, party, rightsIn, sealed, signed, smuggle, worldOf, type World } from './security-world.ts';

/** Where several can have one space open. */
const TWO: readonly HostName[] = ['linux', 'simulated'];
const { read, write, execute } = RIGHT;

/** The reason for which a context gives nothing by what was smuggled into it. */
function reasons(world: World, context: World['alice'], target = world.secret): string[] {
  const { contexts } = world.space.security.explain(target, read, [context.context]);
  return contexts.flatMap(({ items }) => items.map(({ verdict }) => ('reason' in verdict ? verdict.reason : 'good')));
}

onHosts('P2: rights are asked for at open and judged at access, by what holds then', (ground) => {
  let space = ground.open();
  const { issuer, secret, alice, bob } = worldOf(space);
  const security = space.security;
  security.grant({ target: secret, to: alice.context, rights: ['read'], by: issuer });
  space = ground.afterClose(space, { contexts: [alice.context] });
  const found = space.get(secret, Secret);
  assert.deepEqual([found.n, found.name], [7, 'treasure']);
  for (let again = 0; again < 2; again++) {
    const error = thrown(() => space.relaxed(() => (found.n = 8)));
    assert.ok(isTwzError(error, 'ObjectForbidden'));
    assert.deepEqual([error.context['missing'], error.context['rights']], ['write', read]);
    assert.match(error.message, /does not give the right to write/);
  }
  assert.equal(found.n, 7);
  // The same accessor, once the right is there.
  space.security.grant({ target: secret, to: alice.context, rights: write, by: issuer });
  space.relaxed(() => (found.n = 8));
  assert.equal(found.n, 8);
  // And by a context that has nothing: neither.
  space = ground.afterClose(space, { contexts: [bob.context] });
  fails('ObjectForbidden', () => space.get(secret, Secret));
  assert.equal(space.security.rights(secret, read), 0);
  // Without contexts the default rights say it, as ever.
  space = ground.afterClose(space);
  fails('ObjectForbidden', () => space.get(secret, Secret));
  assert.equal(space.security.rights(secret), 0);
});

onHosts('P2: attaching, activating and detaching change what the next access finds', (ground) => {
  const space = ground.open();
  const { issuer, secret, alice, bob } = worldOf(space);
  const { security } = space;
  security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  security.grant({ target: secret, to: bob.context, rights: read | write, by: issuer });
  fails('ObjectForbidden', () => space.get(secret, Secret));
  security.attach(alice.context);
  assert.equal(security.active, alice.context);
  const found = space.get(secret, Secret);
  fails('ObjectForbidden', () => space.relaxed(() => (found.n = 1)));
  // Another context is entered with its key, or the right to execute it; not for the asking.
  fails('ObjectForbidden', () => security.attach(bob.context));
  fails('ObjectForbidden', () => security.attach(bob.context, alice.key));
  security.attach(bob.context, bob.key);
  assert.equal(security.active, alice.context);
  // The switch: alice may not, bob may.
  space.relaxed(() => (found.n = 1));
  assert.equal(security.active, bob.context);
  security.activate(alice.context);
  security.detach(bob.context);
  fails('ObjectForbidden', () => space.relaxed(() => (found.n = 2)));
  assert.equal(found.n, 1);
  security.detach(alice.context);
  fails('ObjectForbidden', () => found.n);
  fails('ContextDetached', () => security.detach(alice.context));
  fails('ContextDetached', () => security.activate(alice.context));
  fails('ContextInvalid', () => security.attach(secret));
});

onHosts('P2: an undetachable context stays, and nothing gets around it', (ground) => {
  const space = ground.open();
  const { issuer, secret, alice, bob } = worldOf(space);
  const { security } = space;
  const cage = security.createContext({ undetachable: true, globalMask: read });
  security.grant({ target: secret, to: cage, rights: read | write, by: issuer });
  security.grant({ target: secret, to: bob.context, rights: read | write, by: issuer });
  const open = sealed(space, issuer, 7);
  security.attach(alice.context);
  security.attach(bob.context, bob.key);
  const found = space.get(secret, Secret);
  space.relaxed(() => (found.n = 1));
  // Contexts without a key may be executed by default: this is how a program locks itself in.
  security.attach(cage);
  security.activate(cage);
  assert.equal(found.n, 1);
  fails('ObjectForbidden', () => space.relaxed(() => (found.n = 2)));
  // Its mask takes default rights, too.
  const free = space.get(open, Secret);
  assert.equal(free.n, 7);
  fails('ObjectForbidden', () => space.relaxed(() => (free.n = 2)));
  fails('ContextUndetachable', () => security.activate(bob.context));
  fails('ContextUndetachable', () => security.detach(cage));
  // What limits it cannot be lifted by who is in it.
  fails('ObjectForbidden', () => security.setGlobalMask(cage, 7));
  fails('ObjectForbidden', () => space.relaxed(() => space.delete(cage)));
  assert.equal(security.active, cage);
});

onHosts('P3: a capability is good as it was signed, and with any one bit turned over it is not', (ground) => {
  const world = worldOf(ground.open());
  const { space, issuer, secret, alice, bob } = world;
  const { security } = space;
  const direct = security.grant({ target: secret, to: alice.context, rights: read, by: issuer, delegable: true });
  const handed = security.delegate(direct, { to: bob.context, by: alice.key, expires: 2 ** 43 });
  assert.deepEqual([rightsIn(space, alice.context, secret), rightsIn(space, bob.context, secret)], [read, read]);
  const found = new Map<string, number>();
  for (const capability of [direct, handed]) {
    const length = capability.bytes().length;
    for (let at = 0; at < length; at++) {
      const bytes = flipped(capability, at, (at * 5 + (at >> 3)) % 8);
      const error = thrown(() => {
        const judged = Capability.from(bytes);
        // For whom or what it says it is, and for whom it was.
        if (judged.target === secret && judged.accessor === capability.accessor) security.verify(judged);
        else throw refusal(security, judged, capability);
      });
      assert.ok(isTwzError(error) && error.category === 'security', `byte ${at}: ${String(error)}`);
      found.set(error.name, (found.get(error.name) ?? 0) + 1);
    }
    for (const cut of [0, 1, length - 1, length + 1])
      fails('CapabilityMalformed', () => Capability.from(Uint8Array.from({ length: cut }, (_, i) => capability.bytes()[i] ?? 0)));
    security.verify(capability);
  }
  assert.ok((found.get('CapabilityForged') ?? 0) > 200, JSON.stringify([...found]));
  // Forged ones in a context give nothing, and do no harm to those beside them.
  for (const at of [40, 70, 100]) smuggle(space, bob.context, flipped(direct, at, 1));
  assert.equal(rightsIn(space, bob.context, secret), read);
});

/** The judge's word on bytes that claim another accessor or target than they were signed for. */
function refusal(security: World['space']['security'], judged: Capability, original: Capability): unknown {
  if (judged.target === original.target) return thrown(() => security.verify(judged));
  // The object that it names is not there.
  fails('ObjectMissing', () => security.verify(judged));
  return thrown(() => security.verify(new Capability([...judged.chain.slice(0, -1), { ...judged.statement, target: original.target }])));
}

onHosts('P3: a stolen capability, one for another object and one by another key give nothing', (ground) => {
  const world = worldOf(ground.open());
  const { space, issuer, secret, alice, bob, carol } = world;
  const { security } = space;
  const other = sealed(space, issuer);
  const plain = space.relaxed(() => space.createRaw(16, { rights: 0 }).id);
  const good = security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer });
  assert.equal(rightsIn(space, alice.context, secret), read | write);
  // Stolen: the bytes in another's context.
  smuggle(space, bob.context, good.chain);
  assert.deepEqual([rightsIn(space, bob.context, secret), reasons(world, bob)], [0, ['CapabilityAccessor']]);
  // For another object: it gives rights to neither.
  assert.equal(rightsIn(space, alice.context, other), 0);
  // By another key, and by one that says that it is the right one.
  fails('CapabilityKey', () => security.grant({ target: secret, to: bob.context, rights: read, by: alice.key }));
  smuggle(space, carol.context, [signed(space, alice.key, undefined, { target: secret, accessor: carol.context })]);
  smuggle(space, carol.context, [signed(space, alice.key, undefined, { target: secret, accessor: carol.context, key: issuer.id })]);
  assert.deepEqual([rightsIn(space, carol.context, secret), reasons(world, carol)], [0, ['CapabilityKey', 'CapabilityForged']]);
  // Nothing can be signed for an object without a key.
  fails('CapabilityKey', () => security.grant({ target: plain, to: alice.context, rights: read, by: issuer }));
  assert.equal(security.grant({ target: other, to: alice.context, rights: read, by: issuer }).target, other);
});

onHosts('P3: the key of an object and its rights are bound into its ID', (ground) => {
  let space = ground.open();
  const { issuer, secret, alice } = worldOf(space);
  space.security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  space.close();
  const file = objectFile(space, secret);
  const good = ground.readFile(file);
  const forged = good.slice();
  writeId(forged, META.key, alice.key.id);
  ground.writeFile(file, restamp(forged));
  space = ground.open({ contexts: [alice.context] });
  fails('ObjectForged', () => space.get(secret, Secret));
  space.close();
  ground.writeFile(file, good);
  space = ground.open({ contexts: [alice.context] });
  assert.equal(space.get(secret, Secret).n, 7);
});

onHosts(
  'P3: a capability expires, for who holds an accessor as well',
  async (ground) => {
    assert.ok(ground.host instanceof SimulatedHost);
    const { host } = ground;
    const space = ground.open();
    const { issuer, secret, alice, bob } = worldOf(space);
    const now = host.time();
    const brief = space.security.grant({
      target: secret,
      to: alice.context,
      rights: read,
      by: issuer,
      expires: now + 60_000,
      delegable: true,
    });
    const handed = space.security.delegate(brief, { to: bob.context, by: alice.key });
    assert.equal(handed.expires, now + 60_000);
    space.security.attach(alice.context);
    const found = space.get(secret, Secret);
    await host.elapse(30_000);
    assert.equal(found.n, 7);
    assert.equal(rightsIn(space, bob.context, secret), read);
    const { epoch } = space.kernel.authority ?? { epoch: -1 };
    await host.elapse(30_001);
    fails('ObjectForbidden', () => found.n);
    fails('CapabilityExpired', () => space.security.verify(brief));
    fails('CapabilityExpired', () => space.security.verify(handed));
    assert.equal(rightsIn(space, bob.context, secret), 0);
    assert.ok((space.kernel.authority?.epoch ?? 0) > epoch);
    fails('CapabilityExpired', () => space.security.grant({ target: secret, to: alice.context, rights: read, by: issuer, expires: now }));
  },
  ['simulated'],
);

onHosts('P3: handed on it is narrowed and no more; wider, deeper or without leave it is refused', (ground) => {
  const world = worldOf(ground.open());
  const { space, issuer, secret, alice, bob, carol } = world;
  const { security } = space;
  const expires = 2 ** 43;
  const direct = security.grant({ target: secret, to: alice.context, rights: 7, by: issuer, delegable: true, expires });
  const narrow = security.delegate(direct, { to: bob.context, rights: read, by: alice.key, expires: expires - 1 });
  assert.deepEqual([rightsIn(space, bob.context, secret), narrow.expires, narrow.depth], [read, expires - 1, 1]);
  // Bob got it without leave to hand it on.
  fails('DelegationForbidden', () => security.delegate(narrow, { to: carol.context, by: bob.key }));
  const link = (by: SigningKey, parent: Capability, grant: object): void =>
    smuggle(space, carol.context, [
      ...parent.chain,
      signed(space, by, parent.statement, { target: secret, accessor: carol.context, rights: read, expires: 1, ...grant }),
    ]);
  const chained = security.delegate(direct, { to: bob.context, rights: read | execute, by: alice.key, delegable: true });
  fails('CapabilityWidened', () => security.delegate(chained, { to: carol.context, rights: 7, by: bob.key }));
  fails('CapabilityWidened', () => security.delegate(chained, { to: carol.context, expires: Infinity, by: bob.key }));
  fails('CapabilityKey', () => security.delegate(chained, { to: carol.context, by: alice.key }));
  link(bob.key, narrow, { expires: 2 ** 42 });
  link(bob.key, chained, { rights: 7, expires });
  link(bob.key, chained, { expires: Infinity });
  link(alice.key, chained, { expires });
  link(alice.key, chained, { expires, key: bob.key.id });
  link(alice.key, direct, { expires, target: alice.context });
  smuggle(space, carol.context, [
    ...direct.chain,
    signed(space, alice.key, narrow.statement, { target: secret, accessor: carol.context, expires }),
  ]);
  const wrong: ErrorName[] = [
    'DelegationForbidden',
    'CapabilityWidened',
    'CapabilityWidened',
    'CapabilityKey',
    'CapabilityForged',
    'CapabilityTarget',
    'DelegationBroken',
  ];
  assert.deepEqual(reasons(world, carol), wrong);
  assert.equal(rightsIn(space, carol.context, secret), 0);
  // The right one, last, is found among them.
  security.delegate(chained, { to: carol.context, by: bob.key });
  assert.equal(rightsIn(space, carol.context, secret), read | execute);
});

onHosts(
  'P3: a chain has eight delegations, and not nine',
  (ground) => {
    const world = worldOf(ground.open());
    const { space, issuer, secret, alice } = world;
    const { security } = space;
    let last = security.grant({ target: secret, to: alice.context, rights: read, by: issuer, delegable: true });
    let holder = alice;
    for (let depth = 1; depth <= 8; depth++) {
      const next = party(space);
      last = security.delegate(last, { to: next.context, by: holder.key, delegable: true });
      assert.equal(rightsIn(space, next.context, secret), read, `depth ${depth}`);
      holder = next;
    }
    const next = party(space);
    fails('DelegationDepth', () => security.delegate(last, { to: next.context, by: holder.key }));
    const ninth = signed(space, holder.key, last.statement, { target: secret, accessor: next.context });
    fails('DelegationDepth', () => security.verify(new Capability([...last.chain, ninth])));
    fails('DelegationDepth', () => Capability.from(new Capability([...last.chain, ninth]).bytes()));
  },
  ['linux'],
);

onHosts('P3: through a gate means nowhere else, and a gate can only be narrowed', (ground) => {
  const { space, issuer, secret, alice, bob } = worldOf(ground.open());
  const { security } = space;
  const gate = { offset: 4096, length: 64, align: 16 };
  const entry = security.grant({ target: secret, to: alice.context, rights: execute, gate, by: issuer, delegable: true });
  const at = (party: typeof alice, offset?: number): number => rightsIn(space, party.context, secret, offset);
  assert.deepEqual(
    [4096, 4112, 4144].map((offset) => at(alice, offset)),
    [execute, execute, execute],
  );
  assert.deepEqual(
    [4095, 4097, 4160, 0].map((offset) => at(alice, offset)),
    [0, 0, 0, 0],
  );
  assert.equal(at(alice), 0, 'without an entry');
  security.delegate(entry, { to: bob.context, gate: { offset: 4112, length: 1, align: 1 }, by: alice.key });
  assert.deepEqual(
    [4112, 4096, 4128].map((offset) => at(bob, offset)),
    [execute, 0, 0],
  );
  for (const wider of [
    { offset: 4096, length: 65, align: 16 },
    { ...gate, align: 8 },
    { ...gate, offset: 4104 },
  ])
    fails('CapabilityWidened', () => security.delegate(entry, { to: bob.context, gate: wider, by: alice.key }));
  fails('InvalidArgument', () => security.grant({ target: secret, to: bob.context, rights: read | execute, gate, by: issuer }));
});

onHosts('P3: revoked is revoked at once, with all that was handed on, and for nobody else', (ground) => {
  const world = worldOf(ground.open());
  const { space, issuer, secret, alice, bob, carol } = world;
  const { security } = space;
  const direct = security.grant({ target: secret, to: alice.context, rights: read, by: issuer, delegable: true });
  const beside = security.grant({ target: secret, to: alice.context, rights: write, by: issuer });
  const toBob = security.delegate(direct, { to: bob.context, by: alice.key, delegable: true });
  const toCarol = security.delegate(toBob, { to: carol.context, by: bob.key });
  const all = (): number[] => [alice, bob, carol].map(({ context }) => rightsIn(space, context, secret));
  assert.deepEqual(all(), [read | write, read, read]);
  // Who did not sign cannot revoke.
  fails('CapabilityKey', () => security.revoke(direct, bob.key));
  fails('CapabilityKey', () => security.revoke(toBob, carol.key));
  assert.deepEqual(all(), [read | write, read, read]);
  // Who signed before may: alice ends what bob handed on.
  security.revoke(toCarol, alice.key);
  assert.deepEqual(all(), [read | write, read, 0]);
  security.revoke(direct, issuer);
  security.revoke(direct, issuer);
  assert.deepEqual(all(), [write, 0, 0]);
  for (const gone of [direct, toBob, toCarol]) fails('CapabilityRevoked', () => security.verify(gone));
  security.verify(beside);
  // For ever: it cannot be put back, and another is another.
  fails('CapabilityRevoked', () => security.insert(direct));
  security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  assert.deepEqual(all(), [read | write, 0, 0]);
  fails('TransactionNested', () => space.relaxed(() => security.revoke(beside, issuer)));
  // After death of the process, too.
  const after = ground.afterDeath(space);
  fails('CapabilityRevoked', () => after.security.verify(direct));
  assert.equal(rightsIn(after, alice.context, secret), read | write);
});

onHosts('P3: what lies where a revocation would, and is not signed, revokes nothing', (ground) => {
  const { space, issuer, secret, alice } = worldOf(ground.open());
  const { security, kernel } = space;
  const { judge } = securityOf(kernel);
  const good = security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  const name = judge.nameOf(good.statement);
  const nonce = new Uint8Array(16);
  writeId(nonce, 0, name);
  // By whoever can make an object with that ID: with bytes that somebody else signed, and with none.
  const forged = judge.signRevocation({ ...good.statement, key: issuer.id }, alice.key).bytes;
  writeId(forged, 48, issuer.id);
  fails('CapabilityForged', () =>
    space.relaxed(() => judge.revoke({ target: secret, statement: name, time: 1, key: issuer.id, bytes: forged })),
  );
  space.relaxed(() => createRecord(kernel, { rights: read, key: issuer.id }, forged, forged.length, nonce));
  assert.ok(space.has(judge.revocationId(name, issuer.id)));
  security.verify(good);
  assert.equal(rightsIn(space, alice.context, secret), read);
});

onHosts(
  'P3: accessors that were judged before are barred by a revocation, a mask and a detach',
  (ground) => {
    const keeper = ground.open();
    const { issuer, secret, alice } = worldOf(keeper);
    const capability = keeper.security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer });
    const user = ground.open({ contexts: [alice.context] }, keeper.directory);
    const found = user.get(secret, Secret);
    user.relaxed(() => (found.n = 1));
    keeper.security.setMask(alice.context, secret, { rights: read }, alice.key);
    assert.equal(found.n, 1);
    fails('ObjectForbidden', () => user.relaxed(() => (found.n = 2)));
    keeper.security.clearMask(alice.context, secret, alice.key);
    user.relaxed(() => (found.n = 2));
    keeper.security.revoke(capability, issuer);
    // A transaction begins by taking note of what others did; so does every call of the space.
    fails('ObjectForbidden', () => user.relaxed(() => (found.n = 3)));
    fails('ObjectForbidden', () => found.n);
    fails('ObjectForbidden', () => user.get(secret, Secret));
    keeper.security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
    user.refresh();
    assert.equal(found.n, 2);
  },
  ['linux'],
);

onHosts(
  'P3: references that were followed before, snapshots and collections are barred as well',
  (ground) => {
    const keeper = ground.open();
    const { issuer, secret, alice, bob } = worldOf(keeper);
    const { security } = keeper;
    const Shelf = hashMap(text, u32);
    const shelf = keeper.relaxed(() => objectOf(keeper.create(Shelf, new Map([['a', 1]]), { rights: 0, key: issuer.id })).id);
    const holder = keeper.relaxed(() => {
      const made = keeper.create(Secret, { n: 1 });
      keeper.names.set('/holder', made);
      return objectOf(made).id;
    });
    const both = [secret, shelf].map((target) =>
      security.grant({ target, to: alice.context, rights: read | write, by: issuer, delegable: true }),
    );
    security.grant({ target: shelf, to: bob.context, rights: read | write, by: issuer });
    const other = ground.open({ contexts: [bob.context] }, keeper.directory);
    const user = ground.open({ contexts: [alice.context] }, keeper.directory);
    const found = user.get(holder, Secret);
    const sealedOne = user.get(secret, Secret);
    user.relaxed(() => (found.next = sealedOne));
    const map = user.get(shelf, Shelf);
    const snapshot = user.snapshot();
    const then = snapshot.get(secret, Secret);
    for (let again = 0; again < 3; again++) assert.deepEqual([found.next?.n, map.get('a'), then.n], [7, 1, 7]);
    for (const capability of both) security.revoke(capability, issuer);
    user.refresh();
    for (const use of [
      () => found.next?.n,
      () => sealedOne.n,
      () => map.get('a'),
      () => [...map],
      () => map.size,
      () => then.n,
      () => snapshot.get(secret, Secret),
      () => user.relaxed(() => map.set('b', 2)),
      () => user.relaxed(() => user.make(Secret, sealedOne)),
      () => user.relaxed(() => user.copy(secret)),
      () => user.relaxed(() => user.seal(secret)),
      () => user.object(secret).export(),
    ])
      fails('ObjectForbidden', use);
    // Another grows it meanwhile, so that it comes to lie elsewhere here: it stays barred.
    const theirs = other.get(shelf, Shelf);
    other.relaxed(() => {
      for (let i = 0; i < 2000; i++) theirs.set(`key ${i}`, i);
    });
    user.refresh();
    fails('ObjectForbidden', () => map.get('key 5'));
    assert.equal(user.object(shelf).version, other.object(shelf).version);
    assert.equal(found.n, 1);
    snapshot.close();
  },
  ['linux'],
);

onHosts('P3: a private key in an object is for who may read it', (ground) => {
  let space = ground.open();
  const { issuer, secret, alice, bob } = worldOf(space);
  const stored = space.security.storeKey(issuer, [alice.context]);
  const pem = issuer.toPem();
  assert.match(pem, /^-----BEGIN PRIVATE KEY-----/);
  fails('ObjectForbidden', () => space.security.openKey(stored));
  space = ground.afterClose(space, { contexts: [bob.context] });
  fails('ObjectForbidden', () => space.security.openKey(stored));
  fails('ObjectForbidden', () => space.object(stored).bytes());
  space = ground.afterClose(space, { contexts: [alice.context] });
  const key = space.security.openKey(stored);
  assert.equal(key.id, issuer.id);
  space.security.grant({ target: secret, to: alice.context, rights: read, by: key });
  assert.equal(space.get(secret, Secret).n, 7);
  // The same key from its text has the same ID; what is none is refused.
  assert.equal(space.security.importKey(pem).id, issuer.id);
  fails('KeyInvalid', () => space.security.importKey('nothing'));
  fails('KeyInvalid', () => space.security.importKey(pem.replace(/\n.{16}/, '\n')));
  fails('KeyInvalid', () => space.security.openKey(secret));
  assert.doesNotMatch(JSON.stringify(issuer), /[A-Za-z0-9+/]{40}/);
});

onHosts('P3: a context is changed by who may write it or has its key; a deleted or damaged one gives nothing', (ground) => {
  const world = worldOf(ground.open());
  const { space, issuer, secret, alice, bob } = world;
  const { security } = space;
  const capability = security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  const open = sealed(space, issuer, 7);
  fails('ObjectForbidden', () => security.setGlobalMask(alice.context, write));
  fails('ObjectForbidden', () => security.setMask(alice.context, secret, { rights: 0 }, bob.key));
  fails('ObjectForbidden', () => security.remove(alice.context, capability));
  assert.equal(rightsIn(space, alice.context, secret), read);
  security.setGlobalMask(alice.context, ['write'], alice.key);
  assert.deepEqual([rightsIn(space, alice.context, secret), rightsIn(space, alice.context, open)], [0, write]);
  security.setMask(alice.context, secret, { rights: read, override: read }, alice.key);
  assert.equal(rightsIn(space, alice.context, secret), read);
  const facts = security.context(alice.context);
  assert.deepEqual([facts.globalMask, facts.masks.length, facts.capabilities.length, facts.key], [write, 1, 1, alice.key.id]);
  security.remove(alice.context, capability, alice.key);
  assert.equal(rightsIn(space, alice.context, secret), 0);
  security.insert(capability);
  assert.equal(rightsIn(space, alice.context, secret), read);
  fails('ContextInvalid', () => security.context(open));
  fails('InvalidArgument', () => security.setGlobalMask(alice.context, 8, alice.key));
  // Its mask kept writing away from what everyone may write; without it nothing is known, and nothing given.
  security.attach(alice.context);
  assert.equal(security.rights(open), write);
  const { authority } = space.kernel;
  space.kernel.authority = undefined;
  space.relaxed(() => space.delete(alice.context));
  space.kernel.authority = authority;
  assert.equal(security.rights(open), 0);
  security.detach(alice.context);
});

onHosts(
  'P6: A passes on a reference that A may not read, and B reads it',
  (ground) => {
    const keeper = ground.open();
    const { issuer, secret, alice, bob } = worldOf(keeper);
    keeper.security.grant({ target: secret, to: bob.context, rights: read, by: issuer });
    const { drawer, letter } = keeper.relaxed(() => {
      const made = { drawer: keeper.create(Secret, { n: 1 }), letter: keeper.create(Secret, { n: 2 }) };
      made.drawer.seen = keeper.object(secret);
      keeper.names.set('/drawer', made.drawer);
      keeper.names.set('/letter', made.letter);
      return made;
    });
    assert.ok(drawer.n + letter.n === 3);
    const a = ground.open({ contexts: [alice.context] }, keeper.directory);
    const b = ground.open({ contexts: [bob.context] }, keeper.directory);
    const reference = a.names.get('/drawer', Secret).seen;
    assert.equal(reference?.id, secret);
    fails('ObjectForbidden', () => reference?.root(Secret));
    fails('ObjectForbidden', () => reference?.bytes());
    a.relaxed(() => (a.names.get('/letter', Secret).seen = reference));
    const received = b.names.get('/letter', Secret).seen;
    assert.equal(received?.root(Secret).name, 'treasure');
    // To have the reference gave A nothing.
    fails('ObjectForbidden', () => a.names.get('/letter', Secret).seen?.root(Secret));
  },
  ['linux'],
);

onHosts(
  'P3: deleting takes the right to write, where rights are judged',
  (ground) => {
    let space = ground.open();
    const { issuer, secret, alice, bob } = worldOf(space);
    space.security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
    space.security.grant({ target: secret, to: bob.context, rights: read | write, by: issuer });
    space = ground.afterClose(space, { contexts: [alice.context] });
    fails('ObjectForbidden', () => space.relaxed(() => space.delete(secret)));
    assert.equal(space.get(secret, Secret).n, 7);
    space = ground.afterClose(space, { contexts: [bob.context] });
    space.relaxed(() => assert.equal(space.delete(secret), 'deleted'));
    fails('ObjectDeleted', () => space.get(secret, Secret));
  },
  TWO,
);
