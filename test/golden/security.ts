/** What the golden files of security hold: the same keys, IDs, nonces and times, always. */
import { createHash } from 'node:crypto';
import { foldId, parseId } from '../../src/abi/id.ts';
import {
  encodeChain,
  encodeContext,
  encodeRevocation,
  encodeSigningKey,
  encodeStatement,
  encodeVerifyingKey,
  signatureAt,
} from '../../src/abi/security-format.ts';
import { ed25519 } from '../../src/host/ed25519.ts';

const run = (from: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => from + i);
const idOf = (digit: string): ReturnType<typeof parseId> => parseId(digit.repeat(32));

export const SEEDS = { issuer: run(0, 32), holder: run(32, 32) };
export const IDS = {
  target: idOf('1'),
  accessor: idOf('2'),
  receiver: idOf('3'),
  issuer: idOf('a'),
  holder: idOf('b'),
};
export const EXPIRES = 2_000_000_000_000;
export const REVOKED = 1_900_000_000_000;

const capability = encodeStatement(
  {
    target: IDS.target,
    accessor: IDS.accessor,
    rights: 7,
    gate: undefined,
    expires: Infinity,
    delegable: true,
    nonce: run(64, 16),
    key: IDS.issuer,
  },
  undefined,
  ed25519.signer(SEEDS.issuer),
);

const delegation = encodeStatement(
  {
    target: IDS.target,
    accessor: IDS.receiver,
    rights: 4,
    gate: { offset: 4096, length: 256, align: 16 },
    expires: EXPIRES,
    delegable: false,
    nonce: run(80, 16),
    key: IDS.holder,
  },
  foldId(
    createHash('sha256')
      .update(capability.bytes.subarray(0, signatureAt(capability.bytes)))
      .digest(),
  ),
  ed25519.signer(SEEDS.holder),
);

const revocation = encodeRevocation(
  {
    target: IDS.target,
    statement: foldId(
      createHash('sha256')
        .update(delegation.bytes.subarray(0, signatureAt(delegation.bytes)))
        .digest(),
    ),
    time: REVOKED,
    key: IDS.holder,
  },
  ed25519.signer(SEEDS.holder),
);

const context = encodeContext(
  {
    flags: 1,
    globalMask: 5,
    masks: [
      { target: IDS.target, rights: 4, override: 0 },
      { target: IDS.issuer, rights: 3, override: 2 },
    ],
    items: [encodeChain([capability, delegation])],
  },
  512,
);

/** By the names of the files. */
export const GOLDEN_SECURITY: Readonly<Record<string, Uint8Array>> = {
  'verifying-key': encodeVerifyingKey(ed25519.publicKey(SEEDS.issuer)),
  'signing-key': encodeSigningKey(IDS.issuer, SEEDS.issuer),
  capability: capability.bytes,
  delegation: delegation.bytes,
  revocation: revocation.bytes,
  context,
};
