/**
 * Diff: what two spaces, or two states of one, have that the other has not; of objects in both, the fields that differ. Collections are
 * compared by what is in them, wherever it lies: the objects that they go on in are part of the one that has them.
 */
import { META } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { Space } from '../space.ts';
import { ObjectImage } from './check/object-image.ts';
import { fieldsOf } from './diff/fields.ts';
import { namesOf, sameContent } from './dump.ts';
import { partsOf } from './reach.ts';
import { schemaOf } from './show.ts';

export interface FieldDiff {
  /** `name`, `friend.age`, `people["Ann"].age`, `words[3]`: references within the object are followed. */
  readonly field: string;
  /** JSON as in a dump; undefined where there is no such field. */
  readonly a: string | undefined;
  readonly b: string | undefined;
}

export interface ObjectDiff {
  readonly id: ObjectId;
  readonly type: string | undefined;
  readonly fields: readonly FieldDiff[];
  /** Bytes that differ, all in all, and where the first is. */
  readonly bytes: number;
  readonly first: number;
  /** Parts of its collections that differ, or are in one of the two alone; their bytes are counted. */
  readonly parts: number;
}

export interface NameDiff {
  readonly name: string;
  readonly a: string | undefined;
  readonly b: string | undefined;
}

export interface SpaceDiff {
  readonly onlyA: readonly ObjectId[];
  readonly onlyB: readonly ObjectId[];
  readonly changed: readonly ObjectDiff[];
  readonly same: number;
  readonly names: readonly NameDiff[];
}

/** Which objects belong to which, in one space. */
class Wholes {
  readonly #parts = new Map<ObjectId, readonly ObjectId[]>();
  readonly all = new Set<ObjectId>();

  constructor(space: Space, ids: Iterable<ObjectId>) {
    for (const id of ids) {
      const parts = partsOf(space, id);
      if (parts.length > 0) this.#parts.set(id, parts);
      for (const part of parts) this.all.add(part);
    }
  }

  /** The parts of an object, and theirs. */
  of(id: ObjectId): ReadonlySet<ObjectId> {
    const found = new Set(this.#parts.get(id));
    for (const part of found) for (const each of this.#parts.get(part) ?? []) found.add(each);
    return found;
  }
}

export function diffSpaces(a: Space, b: Space, progress?: (done: number, total: number) => void): SpaceDiff {
  const idsA = [...a.ids()].sort();
  const onlyA = new Set<ObjectId>();
  const onlyB = new Set(b.ids());
  const [inA, inB] = [new Wholes(a, idsA), new Wholes(b, onlyB)];
  const both: ObjectId[] = [];
  const differ = new Set<ObjectId>();
  for (const [i, id] of idsA.entries()) {
    progress?.(i + 1, idsA.length);
    if (!onlyB.delete(id)) onlyA.add(id);
    else {
      both.push(id);
      if (!sameContent(a.object(id).image(), b.object(id).image())) differ.add(id);
    }
  }
  const changed: ObjectDiff[] = [];
  const told = new Set<ObjectId>();
  const tell = (id: ObjectId): void => {
    const parts = [...new Set([...inA.of(id), ...inB.of(id)])].filter((part) => differ.has(part) || onlyA.has(part) || onlyB.has(part));
    if (!differ.has(id) && parts.length === 0) return;
    changed.push(diffObject(a, b, id, parts));
    for (const each of [id, ...parts]) {
      told.add(each);
      for (const set of [onlyA, onlyB, differ]) set.delete(each);
    }
  };
  // What differs in a part is a difference of the object that it belongs to, if that is in both.
  for (const id of both) if (!inA.all.has(id) && !inB.all.has(id)) tell(id);
  for (const id of [...differ]) tell(id);
  changed.sort((one, other) => (one.id < other.id ? -1 : 1));
  const same = both.filter((id) => !told.has(id)).length;
  return { onlyA: [...onlyA].sort(), onlyB: [...onlyB].sort(), changed, same, names: diffNames(a, b) };
}

function imageIn(space: Space, id: ObjectId): ObjectImage | undefined {
  return space.has(id) ? new ObjectImage(space.object(id).image()) : undefined;
}

function diffObject(a: Space, b: Space, id: ObjectId, parts: readonly ObjectId[]): ObjectDiff {
  const { host } = a.kernel;
  const [imageA, imageB] = [imageIn(a, id), imageIn(b, id)];
  const fieldsIn = (space: Space, image: ObjectImage | undefined): ReadonlyMap<string, string> =>
    image === undefined ? new Map() : fieldsOf(host, image, (part) => imageIn(space, part));
  const [inA, inB] = [fieldsIn(a, imageA), fieldsIn(b, imageB)];
  const fields: FieldDiff[] = [];
  for (const [field, value] of inA) if (inB.get(field) !== value) fields.push({ field, a: value, b: inB.get(field) });
  for (const [field, value] of inB) if (!inA.has(field)) fields.push({ field, a: undefined, b: value });
  const { bytes: atHome, first } = diffBytes(imageA, imageB);
  let bytes = atHome;
  for (const part of parts) bytes += diffBytes(imageIn(a, part), imageIn(b, part)).bytes;
  const schema = imageA === undefined ? '' : schemaOf(imageA);
  return { id, type: typeof schema === 'string' ? undefined : schema.root, fields, bytes, first, parts: parts.length };
}

function diffBytes(imageA: ObjectImage | undefined, imageB: ObjectImage | undefined): { bytes: number; first: number } {
  const a = imageA?.bytes ?? new Uint8Array(0);
  const b = imageB?.bytes ?? new Uint8Array(0);
  let bytes = Math.abs(a.length - b.length);
  let first = -1;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] === b[i] || (i >= META.version && i < META.version + 8) || (i >= META.checksum && i < META.checksum + 4)) continue;
    bytes++;
    if (first < 0) first = i;
  }
  return { bytes, first: first < 0 ? Math.min(a.length, b.length) : first };
}

function diffNames(a: Space, b: Space): NameDiff[] {
  const read = (space: Space): Map<string, string> =>
    new Map(
      namesOf(space).map(({ name, kind, id, to, owns }) => [
        name,
        `${kind === 'link' ? `link to ${to}` : `${kind} ${id}`}${owns === true && kind === 'object' ? ', owned' : ''}`,
      ]),
    );
  const namesA = read(a);
  const namesB = read(b);
  return [...new Set([...namesA.keys(), ...namesB.keys()])]
    .sort()
    .map((name) => ({ name, a: namesA.get(name), b: namesB.get(name) }))
    .filter((each) => each.a !== each.b);
}
