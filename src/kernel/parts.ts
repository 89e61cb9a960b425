/**
 * Parts: the objects in which an object's collections go on. They belong to it alone, and its FOT says which they are; each may have parts of
 * its own. What happens to an object as a whole happens to them: copies and sealed ones get parts of their own, and references among all
 * these objects lead to their counterparts.
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, FOT_FLAG, KIND, META } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { fotEntries, idsWith, redirect, settleCounts } from './fot.ts';
import { copyObject, forsake, importObject, sealObject, verifyFile, type CreateOptions } from './lifetime.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

/** The object, its parts, and theirs. What the running transaction took out of it is none of it any more. */
export function wholeOf(h: Handle): Handle[] {
  const whole = [h];
  for (const each of whole) {
    if (each.cold) each.warm();
    for (const id of idsWith(each, FOT_FLAG.part)) whole.push(h.snapshot === undefined ? h.kernel.open(id) : h.snapshot.handle(id));
  }
  return whole;
}

/** Keys of collections hold IDs: where one names an object of these, it would be another in the copy. */
function demandOtherKeys(whole: readonly Handle[], ids: ReadonlySet<ObjectId>): void {
  for (const [i, h] of whole.entries()) {
    const named = i > 0 && (h.flags & FLAG.ownKeys) !== 0 ? h.id : idsWith(h, FOT_FLAG.key).find((id) => ids.has(id));
    if (named === undefined) continue;
    const [home] = whole;
    throw new TwzError(
      'NotSupported',
      `object ${home?.id}: keys of a collection name its part ${named}, which is another in a copy; make one by \`space.create(Type, old)\``,
      { id: home?.id, part: named },
    );
  }
}

/** A new object with the same content, parts and all. */
export function copyWhole(from: Handle, options: CreateOptions): Handle {
  const { kernel } = from;
  const whole = wholeOf(from);
  if (whole.length === 1) return copyObject(kernel, from, options);
  const copies = new Map<ObjectId, Handle>();
  for (const each of whole) settleCounts(each);
  demandOtherKeys(whole, new Set(whole.map(({ id }) => id)));
  try {
    for (const each of whole) copies.set(each.id, copyObject(kernel, each, each === from ? options : { ...options, counted: true }));
    for (const copy of copies.values()) redirect(copy, copy.u8, copies);
    for (const copy of copies.values()) for (const part of idsWith(copy, FOT_FLAG.part)) kernel.open(part).belongTo(copy);
    return copies.get(from.id) as Handle;
  } catch (error) {
    for (const copy of copies.values()) forsake(copy);
    throw error;
  }
}

/** The parts first, each before those that refer to it: an ID is a hash of the content, and that has the IDs of what it refers to. */
function inOrder(whole: readonly Handle[]): Handle[] {
  const byId = new Map(whole.map((h) => [h.id, h]));
  const order: Handle[] = [];
  const done = new Map<Handle, boolean>();
  const visit = (h: Handle): void => {
    const state = done.get(h);
    if (state === true) return;
    if (state === false)
      throw new TwzError(
        'NotSupported',
        `object ${whole[0]?.id}: its parts refer to each other in a circle by way of ${h.id}, and none can be sealed before the other`,
        { id: whole[0]?.id, part: h.id },
      );
    done.set(h, false);
    for (const { id } of fotEntries(h)) {
      const target = id === undefined ? undefined : byId.get(id);
      if (target !== undefined) visit(target);
    }
    done.set(h, true);
    order.push(h);
  };
  for (const h of whole) visit(h);
  return order;
}

/** An immutable object with the content that `from` has now, its parts sealed as well. */
export function sealWhole(from: Handle): Handle {
  const { kernel } = from;
  if (from.cold) from.warm();
  if (from.kind === KIND.immutable) return from;
  const whole = wholeOf(from);
  if (whole.length === 1) return sealObject(kernel, from);
  for (const each of whole) settleCounts(each);
  demandOtherKeys(whole, new Set(whole.map(({ id }) => id)));
  const sealed = new Map<ObjectId, Handle>();
  const made: Handle[] = [];
  try {
    for (const each of inOrder(whole)) sealed.set(each.id, sealObject(kernel, each, { part: each !== from, to: sealed, made }));
    return sealed.get(from.id) as Handle;
  } catch (error) {
    for (const each of made) forsake(each);
    throw error;
  }
}

/** Length of the object file that begins at `at`; all the rest where it does not say so. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const rest = bytes.length - at;
  if (rest < META.size + 4) return rest;
  const size = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(META.size, true);
  return size > 0 && size <= rest ? size : rest;
}

/** Enters an object file and those of its parts behind it, all or nothing. A sealed part may be there already: then it is the same. */
export function importWhole(kernel: Kernel, bytes: Uint8Array): Handle {
  const files: Uint8Array[] = [];
  for (let at = 0; at < bytes.length || files.length === 0;) {
    const length = lengthAt(bytes, at);
    const file = bytes.subarray(at, at + length);
    at += length;
    const shared = files.length > 0 && file[META.kind] === KIND.immutable && kernel.has(readId(file, META.id));
    if (!shared) files.push(file);
  }
  // All are looked at before one is entered.
  if (files.length > 1) for (const file of files) verifyFile(kernel, file);
  const made: Handle[] = [];
  try {
    for (const file of files) made.push(importObject(kernel, file));
    return made[0] as Handle;
  } catch (error) {
    for (const each of made) forsake(each);
    throw error;
  }
}
