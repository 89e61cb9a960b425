/** P3, T4: keys, contexts, capabilities and their kin are bytes as docs/formats/security.md says, and nothing else is taken for one. */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isTwzError, type ErrorName } from '../src/abi/errors.ts';
import {
  CAPABILITY,
  admits,
  decodeChain,
  decodeContext,
  decodeRevocation,
  decodeSigningKey,
  decodeStatement,
  decodeVerifyingKey,
  encodeContext,
  encodeStatement,
  isNarrower,
  type Gate,
} from '../src/abi/security-format.ts';
import { ed25519 } from '../src/host/ed25519.ts';
import { EXPIRES, GOLDEN_SECURITY, IDS, REVOKED, SEEDS } from './golden/security.ts';

const FILES = fileURLToPath(new URL('../../test/golden/security/', import.meta.url));
const golden = (name: string): Uint8Array => new Uint8Array(fs.readFileSync(`${FILES}${name}.bin`));
const isError =
  (name: ErrorName) =>
  (error: unknown): boolean =>
    isTwzError(error, name);

test('P3 format: what is written now is what the golden files hold, byte for byte', () => {
  for (const [name, bytes] of Object.entries(GOLDEN_SECURITY)) assert.deepEqual(bytes, golden(name), name);
  assert.equal(fs.readdirSync(FILES).length, Object.keys(GOLDEN_SECURITY).length);
});

test('P3 format: the golden bytes read by hand, from the page alone', () => {
  const bytes = golden('capability');
  const dv = new DataView(bytes.buffer);
  const hex = (at: number, length: number): string => Buffer.from(bytes.subarray(at, at + length)).toString('hex');
  assert.equal(Buffer.from(bytes.subarray(0, 4)).toString(), 'TWC1');
  assert.equal(dv.getUint32(4, true), 2);
  assert.deepEqual([hex(8, 16), hex(24, 16), hex(80, 16)], [IDS.target, IDS.accessor, IDS.issuer]);
  assert.equal(dv.getUint32(40, true), 7);
  assert.equal(dv.getBigUint64(56, true), 0n);
  // Node alone judges the signature, with the key from the other file.
  const key = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), golden('verifying-key').subarray(16, 48)]);
  const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
  assert.ok(verify(null, bytes.subarray(0, 96), publicKey, bytes.subarray(96)));
  assert.ok(!verify(null, bytes.subarray(0, 95), publicKey, bytes.subarray(96)));
});

test('P3 format: everything is read as it was written', () => {
  const capability = decodeStatement(golden('capability'));
  assert.deepEqual([capability.rights, capability.delegable, capability.gate, capability.expires], [7, true, undefined, Infinity]);
  const delegation = decodeStatement(golden('delegation'));
  assert.deepEqual(delegation.gate, { offset: 4096, length: 256, align: 16 });
  assert.deepEqual([delegation.expires, delegation.delegable, delegation.accessor], [EXPIRES, false, IDS.receiver]);
  const revocation = decodeRevocation(golden('revocation'));
  assert.deepEqual([revocation.time, revocation.key, revocation.target], [REVOKED, IDS.holder, IDS.target]);
  const context = decodeContext(golden('context'));
  assert.ok(typeof context !== 'string');
  assert.deepEqual(
    context.masks.map(({ target }) => target),
    [IDS.target, IDS.issuer],
  );
  assert.deepEqual(
    decodeChain(context.items[0] ?? new Uint8Array(0)).map(({ parent }) => parent !== undefined),
    [false, true],
  );
  assert.deepEqual(encodeContext(context, 512), golden('context'));
  assert.deepEqual(decodeVerifyingKey(golden('verifying-key')), ed25519.publicKey(SEEDS.issuer));
  assert.deepEqual(decodeSigningKey(golden('signing-key'))?.seed, SEEDS.issuer);
});

test('P3 format: cut short, longer, or with a field that has no meaning, it is none', () => {
  for (const name of ['capability', 'delegation']) {
    const good = golden(name);
    decodeStatement(good);
    for (let length = 0; length < good.length; length++)
      assert.throws(() => decodeStatement(good.subarray(0, length)), isError('CapabilityMalformed'), `${name} of ${length}`);
    assert.throws(() => decodeStatement(Uint8Array.of(...good, 0)), isError('CapabilityMalformed'));
  }
  const spoiled = (name: string, at: number, value: number): Uint8Array => {
    const bytes = golden(name);
    new DataView(bytes.buffer).setUint32(at, value, true);
    return bytes;
  };
  // Magic, flags, rights, a gate that the flags deny, a time past all numbers.
  for (const [at, value] of [
    [0, 1],
    [4, 6],
    [40, 0],
    [40, 8],
    [44, 1],
    [52, 1],
    [60, 0xffffffff],
  ] as const)
    assert.throws(() => decodeStatement(spoiled('capability', at, value)), isError('CapabilityMalformed'), `${at} ${value}`);
  // Rights besides entering, an empty gate, one without alignment, one past the largest object.
  for (const [at, value] of [
    [40, 5],
    [48, 0],
    [52, 0],
    [48, 2 ** 31],
  ] as const)
    assert.throws(() => decodeStatement(spoiled('delegation', at, value)), isError('CapabilityMalformed'), `${at} ${value}`);
  assert.throws(() => decodeRevocation(spoiled('revocation', 4, 1)), isError('CapabilityMalformed'));
  assert.throws(() => decodeRevocation(golden('capability')), isError('CapabilityMalformed'));
  assert.throws(() => decodeChain(golden('delegation')), isError('CapabilityMalformed'));
  const chain = Uint8Array.of(...golden('capability'), ...golden('delegation'));
  assert.equal(decodeChain(chain).length, 2);
  assert.throws(() => decodeChain(chain.subarray(0, chain.length - 1)), isError('CapabilityMalformed'));
  assert.throws(
    () => decodeChain(Uint8Array.of(...golden('capability'), ...Array.from({ length: 9 }, () => [...golden('delegation')]).flat())),
    isError('DelegationDepth'),
  );
  // 0x00 seed and key of other kinds.
  assert.equal(decodeVerifyingKey(golden('signing-key')), undefined);
  assert.equal(decodeSigningKey(golden('verifying-key')), undefined);
});

test('P3 format: a damaged context is one or says why not, and never throws', () => {
  const good = golden('context');
  let none = 0;
  for (let at = 0; at < good.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bytes = good.slice();
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      if (typeof decodeContext(bytes) === 'string') none++;
    }
    assert.equal(typeof decodeContext(good.subarray(0, at)), 'string');
  }
  assert.ok(none > 100, `${none} damaged contexts were found to be damaged`);
});

test('P3 format: gates admit what they say, and are narrower exactly where they admit no more', () => {
  const gates: Gate[] = [];
  for (const offset of [0, 2, 4, 6])
    for (const length of [1, 3, 5, 8]) for (const align of [1, 2, 3, 4, 8]) gates.push({ offset, length, align });
  const entries = (gate: Gate): number[] => Array.from({ length: 24 }, (_, i) => i).filter((i) => admits(gate, i));
  assert.deepEqual(entries({ offset: 4, length: 8, align: 4 }), [4, 8]);
  let narrower = 0;
  for (const a of gates)
    for (const b of gates) {
      const within = entries(a).every((entry) => admits(b, entry));
      assert.equal(isNarrower(a, b), within, `${JSON.stringify(a)} in ${JSON.stringify(b)}`);
      if (within) narrower++;
    }
  assert.ok(narrower > gates.length);
});

test('P3 format: what cannot be said is refused before it is signed', () => {
  const grant = {
    target: IDS.target,
    accessor: IDS.accessor,
    rights: 4,
    gate: undefined,
    expires: Infinity,
    delegable: false,
    nonce: new Uint8Array(16),
    key: IDS.issuer,
  };
  const sign = ed25519.signer(SEEDS.issuer);
  assert.equal(encodeStatement(grant, undefined, sign).bytes.length, CAPABILITY.size);
  const gate = { offset: 0, length: 16, align: 1 };
  for (const wrong of [
    { ...grant, rights: 0 },
    { ...grant, rights: 8 },
    { ...grant, rights: 1.5 },
    { ...grant, rights: 5, gate },
    { ...grant, gate: { ...gate, length: 0 } },
    { ...grant, gate: { ...gate, align: 0.5 } },
    { ...grant, expires: 0 },
    { ...grant, expires: Number.NaN },
    { ...grant, nonce: new Uint8Array(15) },
  ])
    assert.throws(() => encodeStatement(wrong, undefined, sign), isError('InvalidArgument'));
});
