/** Objects that hold one record and nothing else: keys, contexts, revocations. The kernel reads them whatever the rights of who runs. */
import { TwzError } from '../../abi/errors.ts';
import { META, PAGE } from '../../abi/format.ts';
import { writeId, type ObjectId } from '../../abi/id.ts';
import type { Kernel } from '../kernel.ts';
import { createObject, forsake, type CreateOptions } from '../lifetime.ts';
import type { Handle } from '../object.ts';
import { enter } from '../transaction.ts';

/** Makes stores to an object part of the running transaction, without a question for rights. */
export function changing(h: Handle, change: () => void): void {
  const { kernel } = h;
  const { transaction } = kernel;
  if (transaction === undefined) throw new TwzError('NotInTransaction', `object ${h.id} was changed outside a transaction`, { id: h.id });
  h.reach();
  enter(kernel, transaction, h);
  const { cold } = h;
  h.cold = false;
  try {
    change();
  } finally {
    h.cold = cold;
  }
}

/** A new object with this record. `nonce`: of one whose ID follows from what it says. */
export function createRecord(
  kernel: Kernel,
  options: CreateOptions,
  bytes: Uint8Array,
  reserved = bytes.length,
  nonce?: Uint8Array,
): Handle {
  const h = createObject(kernel, options, nonce);
  try {
    const at = h.allocate(reserved);
    h.markRange(at, bytes.length);
    h.u8.set(bytes, at);
    h.setU32(META.root, at);
  } catch (error) {
    forsake(h);
    throw error;
  }
  return h;
}

/** A copy of `length` bytes of an object's record; undefined where it is no such object. */
export function recordOf(h: Handle, length: number): Uint8Array | undefined {
  h.reach();
  const at = h.dv.getUint32(META.root, true);
  return at < PAGE || at + length > h.size ? undefined : h.u8.slice(at, at + length);
}

/** The key that an object's header names, which is bound into its ID; undefined for none. */
export function keyOf(h: Handle): ObjectId | undefined {
  if (h.key === undefined) {
    h.reach();
    h.takeKey();
  }
  return h.key === '' ? undefined : h.key;
}

// --- parts ----------------------------------------------------------------------------------------------------------------------

/**
 * The nonce of an object that a collection goes on in: eight random bytes, and eight that follow from them and the collection's object. It is
 * bound into the part's ID, so whoever may write the part cannot make it one of another object.
 */
export function partNonce(kernel: Kernel, home: ObjectId, salt: Uint8Array = kernel.random(8)): Uint8Array {
  const input = new Uint8Array(24);
  input.set(salt.subarray(0, 8), 0);
  writeId(input, 8, home);
  const nonce = kernel.host.sha256(input).slice(0, 16);
  nonce.set(input.subarray(0, 8), 0);
  return nonce;
}

/** The object by whose rights this one is judged: that of the collection, for a part of one that has a key; else itself. */
export function judgedAs(h: Handle): Handle {
  if (keyOf(h) === undefined) return h;
  const { owner, kernel } = h;
  if (owner === undefined || !kernel.has(owner)) return h;
  const nonce = h.u8.subarray(META.nonce, META.nonce + 16);
  if (partNonce(kernel, owner, nonce).some((byte, i) => byte !== nonce[i])) return h;
  const home = h.snapshot === undefined ? kernel.handle(owner) : h.snapshot.handle(owner);
  home.reach();
  return keyOf(home) === h.key && home.owner === undefined ? home : h;
}
