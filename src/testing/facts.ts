/** The types that simulated programs use, and the words in which the contents of a space are written down. */
import {
  array,
  bool,
  bytes,
  f32,
  f64,
  i16,
  i8,
  isTwzError,
  link,
  objectOf,
  offsetOf,
  oneOf,
  optional,
  ref,
  struct,
  text,
  u16,
  u32,
  u64,
  type Infer,
  type NameEntry,
  type Obj,
  type ObjectId,
  type Space,
} from '../index.ts';
import { crc32c } from '../abi/crc32c.ts';
import { wellKnownId } from '../kernel/lifetime.ts';

export const Place = struct('SimPlace', { x: f64, y: f32 });

export const Item = struct('SimItem', {
  tag: u32,
  note: text,
  get next() {
    return ref(Item);
  },
});
export type Item = Infer<typeof Item>;

export const MOODS = ['calm', 'angry', 'curious'] as const;

export const Doc = struct('SimDoc', {
  title: text,
  body: bytes,
  count: u32,
  weight: f64,
  level: i8,
  ok: bool,
  mood: oneOf(...MOODS),
  born: optional(u16),
  grid: array(i16, 5),
  place: Place,
  big: u64,
  /** A list in this object. */
  head: ref(Item),
  /** An item of this or another document. */
  pick: ref(Item),
  /** The root of another document, or of this one; or a name. */
  get peer() {
    return ref(Doc);
  },
  any: link,
});
export type Doc = Infer<typeof Doc>;

export interface DocFacts {
  readonly id: ObjectId;
  readonly ties: readonly ObjectId[];
  readonly immutable: boolean;
  readonly title: string;
  /** As `briefBytes` puts it. */
  readonly body: string;
  readonly count: number;
  readonly weight: number;
  readonly level: number;
  readonly ok: boolean;
  readonly mood: string;
  readonly born: number | undefined;
  readonly grid: readonly number[];
  readonly x: number;
  readonly y: number;
  readonly big: number;
  readonly items: readonly string[];
  readonly pick: string;
  readonly peer: string;
  readonly any: string;
}

export function docLine(f: DocFacts): string {
  const values = [brief(f.title), f.body, f.count, f.weight, f.level, f.ok, f.mood, f.born ?? null, f.grid, f.x, f.y, f.big];
  return `doc ${f.id}${f.immutable ? ' immutable' : ''} ties ${f.ties.join(',')} ${JSON.stringify(values)} items ${f.items.join(' ')} pick ${f.pick} peer ${f.peer} any ${f.any}`;
}

export function itemWord(offset: number, tag: number, note: string): string {
  return `${offset}:${tag}:${brief(note)}`;
}

export function rawLine(f: { readonly id: ObjectId; readonly ties: readonly ObjectId[]; readonly content: string }): string {
  return `raw ${f.id} ties ${f.ties.join(',')} ${JSON.stringify(f.content)}`;
}

export function nameLine(path: string, entry: Omit<NameEntry, 'name' | 'id' | 'owns' | 'target'> & Partial<NameEntry>): string {
  if (entry.kind === 'object') return `name ${path} ${entry.owns === true ? 'owns ' : ''}${entry.id}`;
  return entry.kind === 'namespace' ? `name ${path} namespace` : `name ${path} link ${entry.target}`;
}

const SHORT = 24;

/** A text as it is, or its length and checksum. */
function brief(content: string): string {
  if (content.length <= SHORT) return content;
  let hash = 0x811c9dc5;
  for (let i = 0; i < content.length; i++) hash = Math.imul(hash ^ content.charCodeAt(i), 0x01000193);
  return `${content.length} characters, ${(hash >>> 0).toString(16)}`;
}

/** Bytes in words: all of them, or their number and checksum. */
export function briefBytes(content: Uint8Array): string {
  if (content.length <= SHORT) return [...content].join(' ');
  let hash = 0x811c9dc5;
  const padded = new Uint8Array((content.length + 3) & ~3);
  padded.set(content);
  for (const word of new Int32Array(padded.buffer)) {
    hash = Math.imul(hash ^ word, 0x01000193);
    // What is multiplied only wanders upwards.
    hash ^= hash >>> 15;
  }
  return `${content.length} bytes, ${(hash >>> 0).toString(16)}`;
}

/** Where a reference leads, or why it does not. */
function lead<T extends object>(read: () => T | null, say: (target: T) => string): string {
  try {
    const target = read();
    return target === null ? 'null' : say(target);
  } catch (error) {
    if (isTwzError(error, 'ObjectDeleted')) return `ObjectDeleted ${error.context['id']}`;
    if (isTwzError(error, 'NameUnresolved') || isTwzError(error, 'TypeMismatch')) return error.name;
    throw error;
  }
}

const idOf = (accessor: object): string => objectOf(accessor).id;

function observeDoc(space: Space, obj: Obj): string {
  const doc = obj.root(Doc);
  const items: string[] = [];
  for (let item = doc.head; item !== null; item = item.next) items.push(itemWord(offsetOf(item), item.tag, item.note));
  return docLine({
    id: obj.id,
    ties: space.ties(obj),
    immutable: obj.kind === 'immutable',
    title: doc.title,
    body: briefBytes(doc.body),
    count: doc.count,
    weight: doc.weight,
    level: doc.level,
    ok: doc.ok,
    mood: doc.mood,
    born: doc.born,
    grid: doc.grid.toArray(),
    x: doc.place.x,
    y: doc.place.y,
    big: doc.big,
    items,
    pick: lead(
      () => doc.pick,
      (item) => `${idOf(item)}+${offsetOf(item)}`,
    ),
    peer: lead(() => doc.peer, idOf),
    any: lead(
      () => doc.any,
      (target) => target.id,
    ),
  });
}

/** Content length of a raw object: stored by the workload in the object's first 4 bytes. */
export const RAW_HEADER = 4;

function observeRaw(space: Space, obj: Obj): string {
  const at = obj.rootOffset;
  const length = new DataView(obj.bytes(at, RAW_HEADER).buffer).getUint32(0, true);
  return rawLine({ id: obj.id, ties: space.ties(obj), content: briefBytes(obj.bytes(at + RAW_HEADER, length)) });
}

/** What kind of object an ID was created as. */
export type Universe = ReadonlyMap<ObjectId, 'doc' | 'raw'>;

/** The whole space, line by line, read through the public API only. */
export function observe(space: Space, universe: Universe): string[] {
  const internal = new Set<ObjectId>([wellKnownId(space.kernel, 1), wellKnownId(space.kernel, 2)]);
  const names: string[] = [];
  const walk = (path: string): void => {
    for (const entry of space.names.list(path === '' ? '/' : path)) {
      const full = `${path}/${entry.name}`;
      names.push(nameLine(full, entry));
      if (entry.kind !== 'namespace') continue;
      if (entry.id !== undefined) internal.add(entry.id);
      walk(full);
    }
  };
  walk('');
  const lines: string[] = [];
  for (const id of space.ids()) {
    if (internal.has(id)) continue;
    const kind = universe.get(id);
    if (kind === 'doc') lines.push(observeDoc(space, space.object(id)));
    else if (kind === 'raw') lines.push(observeRaw(space, space.object(id)));
    else lines.push(`alien ${id}`);
  }
  return [...lines.sort(), ...names];
}

/** A checksum of every byte of every object, as a checkpoint would write it. */
export function imageOf(space: Space): string {
  const sums: string[] = [];
  for (const id of space.ids()) {
    const bytes = space.object(id).image();
    sums.push(`${id} ${crc32c(new Int32Array(bytes.buffer), 0, bytes.length >> 2, 0)}`);
  }
  return sums.sort().join('\n');
}
