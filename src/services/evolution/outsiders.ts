/**
 * Outsiders: pointers of other objects that lead into one whose collections go to other objects. Nobody knows all pointers to an object;
 * but a FOT entry counts those that go through it, and where as many were found as it counts, all were found.
 */
import { FLAG } from '../../abi/format.ts';
import { isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { fotEntries } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import { objectIds } from '../../kernel/reclaim.ts';
import type { ObjectSchema } from '../check/schema.ts';
import { isNamespace } from '../naming.ts';
import { leadsOn, Survey, type FarPointer, type TypedPointer } from './survey.ts';

/** All pointers that go out of the objects of one home, by the object that they lie in and its entries. Undefined where they cannot be told. */
export function pointersOf(
  home: Handle,
  schema: ObjectSchema,
): ReadonlyMap<Handle, ReadonlyMap<number, readonly FarPointer[]>> | undefined {
  let far: readonly FarPointer[];
  try {
    const { far: found } = new Survey(home, schema, ({ value }) => (value !== undefined && leadsOn(value, schema) ? 'still' : 'skip'));
    far = found;
  } catch (error) {
    if (isTwzError(error, 'PointerCorrupt')) return undefined;
    throw error;
  }
  const all = new Map<Handle, Map<number, FarPointer[]>>();
  for (const pointer of far) {
    let ofObject = all.get(pointer.h);
    if (ofObject === undefined) all.set(pointer.h, (ofObject = new Map()));
    const through = ofObject.get(pointer.index);
    if (through === undefined) ofObject.set(pointer.index, [pointer]);
    else through.push(pointer);
  }
  return all;
}

/** The object whose types are those of `h`: it itself, or the one whose collection goes on in it. */
export function homeOf(h: Handle): Handle {
  const { owner } = h;
  return owner === undefined || !h.kernel.has(owner) ? h : homeOf(h.kernel.open(owner));
}

/**
 * Typed pointers of other objects to `own` and to `going`, what its collections lie in. Refuses where one may lead to a place that nobody
 * can correct, unless what is not seen is said to be of no interest.
 */
export function outsiders(
  own: Handle,
  going: ReadonlyMap<Handle, number>,
  schemaOf: (h: Handle) => ObjectSchema | undefined,
  leaveUnseen: boolean,
  refuse: (reason: string) => never,
): TypedPointer[] {
  if (going.size === 0) return [];
  const { kernel } = own;
  const targets = new Set<ObjectId>([own.id, ...Array.from(going.keys(), ({ id }) => id)]);
  const found: TypedPointer[] = [];
  const surveys = new Map<Handle, ReturnType<typeof pointersOf>>();
  for (const id of [...objectIds(kernel)]) {
    const h = kernel.open(id);
    if (h === own || going.has(h)) continue;
    const entries = [...fotEntries(h)].filter((entry) => entry.id !== undefined && targets.has(entry.id) && entry.count > 0);
    if (entries.length === 0 || isNamespace(h)) continue;
    const home = homeOf(h);
    // Its own, and what was filled for it: those are corrected with it.
    if (home === own) continue;
    if (home.cold) home.warm();
    const schema = (h.flags & FLAG.raw) === 0 ? schemaOf(home) : undefined;
    if (schema !== undefined && !surveys.has(home)) surveys.set(home, pointersOf(home, schema));
    const pointers = surveys.get(home)?.get(h);
    for (const { index, count, id: target } of entries) {
      const through = schema === undefined ? [] : (pointers?.get(index) ?? []);
      const links = target === own.id ? 0 : through.filter(({ type }) => type === undefined).length;
      if (!leaveUnseen && (through.length !== count || links > 0))
        refuse(
          `object ${h.id} refers to it in ways that cannot be followed (${through.length - links} of ${count} references are known), and its collection must go to other objects`,
        );
      for (const { at, type } of through) if (type !== undefined) found.push({ h, at, type });
    }
  }
  return found;
}
