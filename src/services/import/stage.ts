/**
 * The stage: objects of an import while it runs, under the name /imports/.NAME.part. They are ordinary objects, filled by ordinary
 * transactions of some hundred records each; nobody sees them until the stage is renamed. A stage that a dead process left behind is
 * removed when the next import begins.
 *
 * References are not stored yet: records, and the places of their references, go to the sorter as entries of eight words:
 *
 *   hash 0-3 | kind, collection, source | object | offset | line
 */
import { META } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { objectOf } from '../../lib/cursor.ts';
import { accessorAt } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { keyText, type Value } from './convert.ts';
import type { CollectionLayout, FieldLayout } from './layout.ts';
import type { SipHash } from './siphash.ts';
import type { Sorter } from './sorter.ts';

export const ENTRY = { width: 8, tag: 4, object: 5, offset: 6, line: 7 } as const;
/** In the tag: a reference, not a record. Records sort first. */
export const REFERENCE = 2 ** 31;
const SOURCES = 2 ** 23;
export const SOURCES_MAX = SOURCES - 1;

export function tagOf(reference: boolean, collection: number, source: number): number {
  return (reference ? REFERENCE : 0) + collection * SOURCES + source;
}

export function collectionOf(tag: number): number {
  return Math.floor((tag % REFERENCE) / SOURCES);
}

export function sourceOf(tag: number): number {
  return tag % SOURCES;
}

/** An object of data or of index, in the order in which they were begun: its position is its number in entries. */
export interface StagePart {
  readonly handle: ObjectHandle;
  readonly collection: number;
  readonly purpose: 'data' | 'index';
  count: number;
  /** Index: hash of the first entry. */
  high: number;
  low: number;
}

/** A record that fits its collection. */
export interface Converted {
  readonly collection: number;
  readonly values: readonly Value[];
  readonly source: number;
  readonly line: number;
}

interface Filling {
  part: StagePart | undefined;
  number: number;
  /** The slab that takes the next record. */
  slab: number;
  used: number;
  made: number;
  records: number;
  references: number;
}

/** Stores a pointer in the same object where nothing is stored yet. */
function point(h: ObjectHandle, at: number, to: number): void {
  h.mark(at);
  h.dv.setUint32(at, to, true);
  h.dv.setUint32(at + 4, 0, true);
}

function isSet(h: ObjectHandle, at: number): boolean {
  return h.dv.getUint32(at, true) !== 0;
}

export class Stage {
  readonly space: Space;
  readonly path: string;
  readonly layouts: readonly CollectionLayout[];
  readonly parts: StagePart[] = [];
  readonly #objectBytes: number;
  readonly #filling: Filling[];
  readonly #hash: SipHash;
  readonly #sorter: Sorter;
  /** Where the record that was removed last lay. */
  #removing: { readonly part: StagePart | undefined; slab: number } = { part: undefined, slab: 0 };

  constructor(space: Space, path: string, layouts: readonly CollectionLayout[], objectBytes: number, hash: SipHash, sorter: Sorter) {
    this.space = space;
    this.path = path;
    this.layouts = layouts;
    this.#objectBytes = objectBytes;
    this.#hash = hash;
    this.#sorter = sorter;
    this.#filling = layouts.map(() => ({ part: undefined, number: 0, slab: 0, used: 0, made: 0, records: 0, references: 0 }));
    space.relaxed(() => {
      space.names.mkns(path);
      for (const { collection } of layouts) space.names.mkns(`${path}/${collection.name}`);
    });
  }

  records(collection: number): number {
    return this.#filling[collection]?.records ?? 0;
  }

  references(collection: number): number {
    return this.#filling[collection]?.references ?? 0;
  }

  layout(collection: number): CollectionLayout {
    return this.layouts[collection] as CollectionLayout;
  }

  /** A new object of the stage. Inside a transaction. */
  add(root: object, collection: number, purpose: 'data' | 'index', number: number): StagePart {
    const { name } = this.layout(collection).collection;
    this.space.names.set(`${this.path}/${name}/${purpose}-${String(number).padStart(4, '0')}`, root, { owns: true });
    const part: StagePart = { handle: objectOf(root).handle, collection, purpose, count: 0, high: 0, low: 0 };
    this.parts.push(part);
    return part;
  }

  /** Stores records as one transaction. */
  store(records: readonly Converted[]): void {
    if (records.length === 0) return;
    this.space.relaxed(() => {
      for (const record of records) this.#store(record);
      for (const { part } of this.#filling) {
        if (part === undefined) continue;
        const { handle: h } = part;
        if (h.cold) h.warm();
        const at = h.dv.getUint32(META.root, true) + this.layout(part.collection).countAt;
        if (h.dv.getUint32(at, true) === part.count) continue;
        h.mark(at);
        h.dv.setUint32(at, part.count, true);
      }
    });
  }

  #store(record: Converted): void {
    const { collection, values } = record;
    const layout = this.layout(collection);
    const filling = this.#filling[collection] as Filling;
    const part = this.#room(filling, layout, collection, values);
    const h = part.handle;
    const at = this.#slot(filling, layout, part);
    const accessor: object = accessorAt(layout.record, h, at);
    for (let i = 0; i < values.length; i++) {
      const field = layout.fields[i] as FieldLayout;
      const value = values[i];
      if (value === undefined) continue;
      if (field.cell !== undefined) this.#list(filling, field, at + field.offset, value as readonly (string | number | boolean)[], record);
      else if (field.target === -1) Reflect.set(accessor, field.field.name, value);
      else this.#refer(filling, field.target, value, at + field.offset, record);
      if (field.field.name === layout.keyField) this.#entry(false, collection, value, filling.number, at, record);
    }
  }

  /** The object that takes the record: a new one where the last is full. */
  #room(filling: Filling, layout: CollectionLayout, collection: number, values: readonly Value[]): StagePart {
    let bytes = layout.slab.layout.size;
    for (const value of values) {
      if (typeof value === 'string') bytes += value.length + 16;
      else if (typeof value === 'object') for (const item of value) bytes += 32 + (typeof item === 'string' ? item.length : 0);
    }
    const { part } = filling;
    // The kernel may have unmapped it since the last transaction.
    if (part?.handle.cold === true) part.handle.warm();
    if (part !== undefined && part.handle.size + bytes <= this.#objectBytes) return part;
    const root = this.space.create(layout.part, {}, { reserve: this.#objectBytes });
    filling.number = this.parts.length;
    filling.part = this.add(root, collection, 'data', filling.made++);
    filling.slab = 0;
    return filling.part;
  }

  /** Where the next record of the part lies. */
  #slot(filling: Filling, layout: CollectionLayout, part: StagePart): number {
    const h = part.handle;
    const { size } = layout.record.layout;
    if (filling.slab === 0 || filling.used === layout.slabRecords) {
      const slab = h.allocate(layout.slab.layout.size);
      const before = filling.slab === 0 ? h.dv.getUint32(META.root, true) + layout.slabsAt : filling.slab + layout.nextAt;
      point(h, before, slab);
      filling.slab = slab;
      filling.used = 0;
    }
    const { slab } = filling;
    const at = slab + layout.recordsAt + filling.used * size;
    filling.used++;
    h.mark(slab + layout.usedAt);
    h.dv.setUint32(slab + layout.usedAt, filling.used, true);
    part.count++;
    filling.records++;
    return at;
  }

  #list(filling: Filling, field: FieldLayout, from: number, items: readonly (string | number | boolean)[], record: Converted): void {
    const { cell } = field;
    const h = filling.part?.handle;
    if (cell === undefined || h === undefined) return;
    let link = from;
    for (const item of items) {
      const at = h.allocate(cell.layout.size);
      point(h, link, at);
      link = at + (cell.layout.fields[1]?.offset ?? 0);
      if (field.target === -1) Reflect.set(accessorAt(cell, h, at), 'value', item);
      else this.#refer(filling, field.target, item, at, record);
    }
  }

  #refer(filling: Filling, target: number, key: Value, at: number, record: Converted): void {
    filling.references++;
    this.#entry(true, target, key, filling.number, at, record);
  }

  #entry(reference: boolean, collection: number, key: Value, object: number, offset: number, record: Converted): void {
    const hash = this.#hash.ofText(collection, keyText(key));
    const { words, at } = this.#sorter.next();
    words[at] = hash[0] as number;
    words[at + 1] = hash[1] as number;
    words[at + 2] = hash[2] as number;
    words[at + 3] = hash[3] as number;
    words[at + ENTRY.tag] = tagOf(reference, collection, record.source);
    words[at + ENTRY.object] = object;
    words[at + ENTRY.offset] = offset;
    words[at + ENTRY.line] = Math.min(record.line, 2 ** 32 - 1);
  }

  /** Takes a record out again: it stays in its slab, marked as gone. Records must come in the order of their places. Inside a transaction. */
  remove(number: number, at: number): void {
    const part = this.parts[number] as StagePart;
    const layout = this.layout(part.collection);
    const { handle: h } = part;
    if (h.cold) h.warm();
    const root = h.dv.getUint32(META.root, true);
    const record: object = accessorAt(layout.record, h, at);
    for (const { cell, offset, target } of layout.fields) {
      if (target !== -1 && cell === undefined && isSet(h, at + offset)) this.lost(number);
      if (cell !== undefined) this.#dropList(number, cell, at + offset, target !== -1);
    }
    if ('$drop' in record && typeof record.$drop === 'function') record.$drop();
    if (this.#removing.part !== part) this.#removing = { part, slab: h.dv.getUint32(root + layout.slabsAt, true) };
    let { slab } = this.#removing;
    while (at < slab || at >= slab + layout.slab.layout.size) slab = h.dv.getUint32(slab + layout.nextAt, true);
    this.#removing.slab = slab;
    const i = (at - slab - layout.recordsAt) / layout.record.layout.size;
    const word = slab + layout.goneAt + (i >>> 5) * 4;
    h.mark(word);
    h.dv.setUint32(word, (h.dv.getUint32(word, true) | (1 << (i & 31))) >>> 0, true);
    part.count--;
    (this.#filling[part.collection] as Filling).records--;
    h.mark(root + layout.countAt);
    h.dv.setUint32(root + layout.countAt, part.count, true);
  }

  /** A reference from this part is not stored, or not any more. */
  lost(number: number): void {
    const part = this.parts[number] as StagePart;
    (this.#filling[part.collection] as Filling).references--;
  }

  #dropList(number: number, cell: CollectionLayout['record'], from: number, references: boolean): void {
    const h = (this.parts[number] as StagePart).handle;
    for (let at = h.dv.getUint32(from, true); at !== 0;) {
      const next = h.dv.getUint32(at + (cell.layout.fields[1]?.offset ?? 0), true);
      const accessor: object = accessorAt(cell, h, at);
      if (references && isSet(h, at)) this.lost(number);
      this.space.free(accessor);
      at = next;
    }
  }

  /** Unmaps what is full and in its file, so that memory does not grow with the import. */
  cool(): void {
    const { kernel } = this.space;
    for (const part of this.parts) {
      if (!part.handle.cold && !this.#filling.some((filling) => filling.part === part)) kernel.cool(kernel.handle(part.handle.id));
    }
  }

  /** No more records are stored. */
  full(): void {
    for (const filling of this.#filling) filling.part = undefined;
  }
}
