/**
 * Keys as objects.
 *
 * A verifying key is an immutable object: its ID is the hash of its content, so an ID that names a key can mean no other key. Who puts that
 * ID into the header of an object binds the key into that object's ID in turn. The same key has the same ID in every space.
 *
 * A private key is the seed of 32 bytes. It lies in an object without default rights, under its own verifying key; or in a PEM file.
 */
import { TwzError } from '../../abi/errors.ts';
import { KIND, RIGHT } from '../../abi/format.ts';
import {
  SIGNING_KEY,
  VERIFYING_KEY,
  decodeSigningKey,
  decodeVerifyingKey,
  encodeSigningKey,
  encodeVerifyingKey,
} from '../../abi/security-format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import type { Kernel } from '../kernel.ts';
import { forsake, sealObject } from '../lifetime.ts';
import type { Handle } from '../object.ts';
import { createRecord, recordOf } from './records.ts';

/** A private key, in memory. Whoever holds it signs with it; it does not print. */
export class SigningKey {
  /** The verifying-key object that belongs to it. */
  readonly id: ObjectId;
  readonly #host: Host;
  readonly #seed: Uint8Array;
  #sign: ((message: Uint8Array) => Uint8Array) | undefined;

  constructor(host: Host, id: ObjectId, seed: Uint8Array) {
    this.#host = host;
    this.id = id;
    this.#seed = seed;
  }

  sign(message: Uint8Array): Uint8Array {
    this.#sign ??= this.#host.ed25519.signer(this.#seed);
    return this.#sign(message);
  }

  /** The private key as text, PKCS#8 in PEM: as dangerous as the key. */
  toPem(): string {
    return this.#host.ed25519.toPem(this.#seed);
  }

  /** An object that holds it, without default rights: who may read it is said by capabilities, which this key signs. */
  store(kernel: Kernel): Handle {
    return createRecord(kernel, { rights: 0, key: this.id }, encodeSigningKey(this.id, this.#seed));
  }
}

/** The key that belongs to a seed; a new one where none is given. Its verifying-key object is made where it is missing. Inside a transaction. */
export function createKey(kernel: Kernel, seed: Uint8Array = kernel.host.random(32)): SigningKey {
  const draft = createRecord(kernel, { rights: RIGHT.read }, encodeVerifyingKey(kernel.host.ed25519.publicKey(seed)));
  const { id } = sealObject(kernel, draft);
  forsake(draft);
  return new SigningKey(kernel.host, id, seed);
}

/** The 32 bytes of a verifying key, or why there are none. */
export function verifyingKey(kernel: Kernel, id: ObjectId): Uint8Array | undefined {
  if (!kernel.has(id)) return undefined;
  const h = kernel.handle(id);
  const record = recordOf(h, VERIFYING_KEY.size);
  return h.kind === KIND.immutable && record !== undefined ? decodeVerifyingKey(record) : undefined;
}

/** The key that a signing-key object holds. The caller has been judged. Throws KeyInvalid. */
export function signingKey(h: Handle): SigningKey {
  const record = recordOf(h, SIGNING_KEY.size);
  const key = record === undefined ? undefined : decodeSigningKey(record);
  if (key === undefined) throw new TwzError('KeyInvalid', `object ${h.id} holds no private key`, { id: h.id });
  const expected = verifyingKey(h.kernel, key.verifying);
  const own = h.kernel.host.ed25519.publicKey(key.seed);
  if (expected === undefined || own.some((byte, i) => byte !== expected[i]))
    throw new TwzError('KeyInvalid', `the private key in object ${h.id} does not belong to ${key.verifying}`, {
      id: h.id,
      key: key.verifying,
    });
  return new SigningKey(h.kernel.host, key.verifying, key.seed);
}
