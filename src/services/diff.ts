/** Diff: what two spaces, or two states of one, have that the other has not; of objects in both, the fields that differ. */
import { META, PAGE } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { Host } from '../host/host.ts';
import type { Space } from '../space.ts';
import { ObjectImage } from './check/object-image.ts';
import { namesOf, sameContent } from './dump.ts';
import { ValueWriter, hexOf } from './dump/values.ts';
import { schemaOf } from './show.ts';

export interface FieldDiff {
  /** `name`, `friend.age`: references within the object are followed. */
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

export function diffSpaces(a: Space, b: Space, progress?: (done: number, total: number) => void): SpaceDiff {
  const { host } = a.kernel;
  const idsA = [...a.ids()].sort();
  const idsB = new Set(b.ids());
  const onlyA: ObjectId[] = [];
  const changed: ObjectDiff[] = [];
  let same = 0;
  for (const [i, id] of idsA.entries()) {
    progress?.(i + 1, idsA.length);
    if (!idsB.delete(id)) {
      onlyA.push(id);
      continue;
    }
    const bytesA = a.object(id).image();
    const bytesB = b.object(id).image();
    if (sameContent(bytesA, bytesB)) same++;
    else changed.push(diffObject(host, bytesA, bytesB));
  }
  return { onlyA, onlyB: [...idsB].sort(), changed, same, names: diffNames(a, b) };
}

function diffObject(host: Host, a: Uint8Array, b: Uint8Array): ObjectDiff {
  const imageA = new ObjectImage(a);
  const imageB = new ObjectImage(b);
  const fieldsA = fieldsOf(host, imageA);
  const fieldsB = fieldsOf(host, imageB);
  const fields: FieldDiff[] = [];
  for (const [field, value] of fieldsA) if (fieldsB.get(field) !== value) fields.push({ field, a: value, b: fieldsB.get(field) });
  for (const [field, value] of fieldsB) if (!fieldsA.has(field)) fields.push({ field, a: undefined, b: value });
  let bytes = Math.abs(a.length - b.length);
  let first = -1;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] === b[i] || (i >= META.version && i < META.version + 8) || (i >= META.checksum && i < META.checksum + 4)) continue;
    bytes++;
    if (first < 0) first = i;
  }
  const schema = schemaOf(imageA);
  return {
    id: imageA.id,
    type: typeof schema === 'string' ? undefined : schema.root,
    fields,
    bytes,
    first: first < 0 ? Math.min(a.length, b.length) : first,
  };
}

/** Every typed value that can be reached from the root within the object, by the way that leads to it. */
export function fieldsOf(host: Host, image: ObjectImage): Map<string, string> {
  const fields = new Map<string, string>();
  const schema = schemaOf(image);
  const root = image.u32(META.root);
  if (typeof schema === 'string' || root === 0) return fields;
  const entries = new Map<string, number>();
  for (const { id, index } of image.fotEntries()) if (id !== undefined && !entries.has(id)) entries.set(id, index);
  const writer = new ValueWriter(image, schema, entries, new Uint8Array(image.bytes.length));
  const paths = new Map<string, string>();
  const todo: { at: number; type: string; path: string }[] = [{ at: root, type: schema.root, path: '' }];
  const flatten = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) {
      fields.set(path, JSON.stringify(value));
      return;
    }
    if (Array.isArray(value)) {
      for (const [i, item] of (value as readonly unknown[]).entries()) flatten(item, `${path}[${i}]`);
      return;
    }
    const [name = '', ...others] = Object.keys(value);
    const inner = (value as Readonly<Record<string, unknown>>)[name];
    if (others.length === 0 && name === '$ref' && typeof inner === 'string' && inner.startsWith('#') && inner !== '#') {
      const next = writer.reached.shift();
      if (next === undefined) return;
      const key = `${next.at} ${next.type}`;
      fields.set(path, `→ ${paths.get(key) ?? path}`);
      if (paths.has(key)) return;
      paths.set(key, path);
      todo.push({ ...next, path });
    } else if (others.length === 0 && name === '$block' && Array.isArray(inner)) {
      const [offset, length] = inner as readonly number[];
      const bytes = image.bytes.slice(offset, (offset ?? 0) + (length ?? 0));
      fields.set(path, `${length} bytes, SHA-256 ${hexOf(host.sha256(bytes)).slice(0, 16)}…`);
    } else if (name.startsWith('$')) fields.set(path, JSON.stringify(value));
    else for (const [field, item] of Object.entries(value)) flatten(item, path === '' ? field : `${path}.${field}`);
  };
  paths.set(`${root} ${schema.root}`, '(root)');
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const struct = schema.types.get(next.type);
    if (struct === undefined || next.at < PAGE || next.at + struct.size > image.size) continue;
    writer.reached.length = 0;
    flatten(writer.struct(next.at, struct), next.path);
  }
  return fields;
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
