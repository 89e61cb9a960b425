/** Ed25519 (RFC 8032), by Node's own cryptography. Keys are 32 bytes: the public one, and the seed that the private one follows from. */
import * as crypto from 'node:crypto';
import { TwzError } from '../abi/errors.ts';

export interface Ed25519 {
  /** The public key that belongs to a seed of 32 random bytes. */
  publicKey(seed: Uint8Array): Uint8Array;
  /** Signs with that seed's key: 64 bytes, the same for the same message. */
  signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array;
  /** False for whatever is not that key's signature of that message, and for a key that is none. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** PKCS#8 in PEM. */
  toPem(seed: Uint8Array): string;
  /** The seed of a private key in PKCS#8, in PEM. Throws KeyInvalid. */
  fromPem(pem: string): Uint8Array;
}

/** What stands before the 32 bytes in DER: PKCS#8 for a seed, SubjectPublicKeyInfo for a public key (RFC 8410). */
const SEED_PREFIX = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);
const PUBLIC_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0);

function der(prefix: Uint8Array, key: Uint8Array): Buffer {
  if (key.length !== 32) throw new TwzError('KeyInvalid', `an Ed25519 key has 32 bytes, not ${key.length}`, { length: key.length });
  return Buffer.concat([prefix, key]);
}

function privateKey(seed: Uint8Array): crypto.KeyObject {
  return crypto.createPrivateKey({ key: der(SEED_PREFIX, seed), format: 'der', type: 'pkcs8' });
}

/** Those used lately: reading one takes as long as a fifth of a verification. */
const known = new Map<string, crypto.KeyObject>();
const KNOWN_MAX = 1024;

function publicKeyObject(key: Uint8Array): crypto.KeyObject {
  const name = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
  let object = known.get(name);
  if (object !== undefined) return object;
  object = crypto.createPublicKey({ key: der(PUBLIC_PREFIX, key), format: 'der', type: 'spki' });
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(name, object);
  return object;
}

export const ed25519: Ed25519 = {
  publicKey: (seed) => new Uint8Array(crypto.createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' }).subarray(-32)),
  signer: (seed) => {
    const key = privateKey(seed);
    return (message) => new Uint8Array(crypto.sign(null, message, key));
  },
  verify: (key, message, signature) => key.length === 32 && crypto.verify(null, message, publicKeyObject(key), signature),
  toPem: (seed) => privateKey(seed).export({ format: 'pem', type: 'pkcs8' }).toString(),
  fromPem: (pem) => {
    let key: crypto.KeyObject;
    try {
      key = crypto.createPrivateKey(pem);
    } catch (cause) {
      throw new TwzError('KeyInvalid', 'the text is no private key in PEM', {}, cause);
    }
    if (key.asymmetricKeyType !== 'ed25519')
      throw new TwzError('KeyInvalid', `the key is of type ${key.asymmetricKeyType}; expected ed25519`, { type: key.asymmetricKeyType });
    return new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }).subarray(-32));
  },
};
