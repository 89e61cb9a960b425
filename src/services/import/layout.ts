/**
 * The structs of an import, built from its mapping with the same `struct` that programs use.
 *
 *   object of data    XPart { count, slabs } -> XSlab { next, count, gone, records: X[] } -> XSlab ...
 *   object of index   XIndex { count, entries: XEntry { hash, to: X }[] }, by hash
 *
 * Records lie side by side in slabs, so that a walk over all of them reads memory in order.
 */
import { TwzError } from '../../abi/errors.ts';
import {
  array,
  bool,
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  link,
  oneOf,
  optional,
  text,
  u16,
  u32,
  u64,
  u8,
  bytes,
  type Field,
} from '../../lib/fields.ts';
import { ref, struct, type Infer } from '../../lib/struct.ts';
import type { DynamicStruct } from '../dynamic.ts';
import { listOf } from './lists.ts';
import type { Content, MappedCollection, MappedField, Mapping, Scalar } from './mapping.ts';

type AnyField = Field<unknown, never>;

const FIELDS: Readonly<Record<Scalar, AnyField>> = { text, json: text, bool, u8, i8, u16, i16, u32, i32, u64, i64, f32, f64 };

export const ImportPart = struct('ImportPart', {
  object: link,
  /** Records or index entries. */
  count: u32,
  /** Index: the hash of the first entry. */
  high: u32,
  low: u32,
  get next() {
    return ref(ImportPart);
  },
});
export type ImportPart = Infer<typeof ImportPart>;

export const ImportedCollection = struct('ImportedCollection', {
  name: text,
  count: u64,
  references: u64,
  get parts() {
    return ref(ImportPart);
  },
  get index() {
    return ref(ImportPart);
  },
  get next() {
    return ref(ImportedCollection);
  },
});
export type ImportedCollection = Infer<typeof ImportedCollection>;

export const ImportRoot = struct('ImportRoot', {
  /** The mapping, as JSON. */
  mapping: text,
  /** Key of the hash. */
  seed: bytes,
  get collections() {
    return ref(ImportedCollection);
  },
});
export type ImportRoot = Infer<typeof ImportRoot>;

/** A slab takes whole pages, and holds so many records at least. */
const SLAB_RECORDS_MIN = 16;
const PAGE = 4096;

export interface FieldLayout {
  readonly field: MappedField;
  readonly offset: number;
  /** The struct of the list's cells. */
  readonly cell: DynamicStruct | undefined;
  /** Position of the target collection. */
  readonly target: number;
}

export interface CollectionLayout {
  readonly collection: MappedCollection;
  readonly record: DynamicStruct;
  readonly fields: readonly FieldLayout[];
  readonly slab: DynamicStruct;
  readonly slabRecords: number;
  readonly part: DynamicStruct;
  /** Offsets in the part, and in the slab. */
  readonly countAt: number;
  readonly slabsAt: number;
  readonly nextAt: number;
  readonly usedAt: number;
  readonly goneAt: number;
  readonly recordsAt: number;
  readonly keyField: string | undefined;
  index(entries: number): DynamicStruct;
}

export function offsetIn(type: DynamicStruct, name: string): number {
  const field = type.layout.fields.find((each) => each.name === name);
  if (field === undefined) throw new TwzError('TypeInvalid', `${type.name} has no field ${name}`, { name });
  return field.offset;
}

/** All structs of a mapping. */
export function layoutsOf(mapping: Mapping): readonly CollectionLayout[] {
  const names = new Set<string>();
  const unique = (name: string): string => {
    if (names.has(name))
      throw new TwzError('InvalidArgument', `mapping: two structs would have the name ${name}; give a collection another type`, { name });
    names.add(name);
    return name;
  };
  const records = new Map<string, DynamicStruct>();
  const scalarCells = new Map<string, DynamicStruct>();
  const target = (name: string): DynamicStruct => {
    const type = records.get(name);
    if (type === undefined) throw new TwzError('TypeInvalid', `there is no collection ${name}`, { name });
    return type;
  };
  const cellOf = (collection: MappedCollection, field: MappedField): DynamicStruct => {
    const { content } = field;
    if (content.kind === 'ref') {
      const list: object = listOf(target(content.to));
      return list as DynamicStruct;
    }
    const name = content.kind === 'scalar' ? `${capital(content.type)}List` : `${collection.type}${capital(field.name)}List`;
    let cell = scalarCells.get(name);
    if (cell === undefined) {
      const made: DynamicStruct = dynamic(unique(name), {
        value: valueField(content),
        get next(): AnyField {
          return ref(made);
        },
      });
      cell = made;
      scalarCells.set(name, cell);
    }
    return cell;
  };
  for (const collection of mapping.collections) {
    for (const suffix of ['', 'List', 'Slab', 'Part', 'Index', 'Entry']) unique(`${collection.type}${suffix}`);
    records.set(collection.name, recordStruct(collection, target, cellOf));
  }
  return mapping.collections.map((collection) => layoutOf(mapping, collection, target(collection.name), cellOf));
}

/** A struct whose fields are known at run time only. */
function dynamic(name: string, fields: Record<string, AnyField>): DynamicStruct {
  return struct(name, fields);
}

function capital(name: string): string {
  return name.slice(0, 1).toUpperCase() + name.slice(1);
}

function valueField(content: Content): AnyField {
  if (content.kind === 'scalar') return FIELDS[content.type];
  if (content.kind === 'oneOf') return oneOf(...content.values);
  throw new TwzError('TypeInvalid', 'a reference is no value');
}

function recordStruct(
  collection: MappedCollection,
  target: (name: string) => DynamicStruct,
  cellOf: (collection: MappedCollection, field: MappedField) => DynamicStruct,
): DynamicStruct {
  const fields: Record<string, AnyField> = {};
  for (const field of collection.fields) {
    const { name, content, list } = field;
    // Getters: collections may refer to each other, whatever their order.
    const get = (): AnyField => {
      if (list) return ref(cellOf(collection, field));
      if (content.kind === 'ref') return ref(target(content.to));
      const value = valueField(content);
      return field.optional ? optional(value) : value;
    };
    Object.defineProperty(fields, name, { enumerable: true, get });
  }
  return dynamic(collection.type, fields);
}

function layoutOf(
  mapping: Mapping,
  collection: MappedCollection,
  record: DynamicStruct,
  cellOf: (collection: MappedCollection, field: MappedField) => DynamicStruct,
): CollectionLayout {
  const { type } = collection;
  const stride = Math.ceil(record.layout.size / record.layout.align) * record.layout.align;
  const room = Math.ceil((SLAB_RECORDS_MIN * stride + 64) / PAGE) * PAGE;
  // 16 bytes of header and up to 8 of alignment; a bit in `gone` for each record.
  const slabRecords = Math.floor(((room - 28) * 8) / (stride * 8 + 1));
  const slab: DynamicStruct = dynamic(`${type}Slab`, {
    get next(): AnyField {
      return ref(slab);
    },
    count: u32,
    /** Bits of records that were taken out again: keys that came twice. */
    gone: array(u32, Math.ceil(slabRecords / 32)),
    records: array(record, slabRecords),
  });
  const entry: DynamicStruct = dynamic(`${type}Entry`, { high: u32, low: u32, to: ref(record) });
  const fields = collection.fields.map((field): FieldLayout => {
    const { content, list } = field;
    const targetName = content.kind === 'ref' ? content.to : undefined;
    return {
      field,
      offset: offsetIn(record, field.name),
      cell: list ? cellOf(collection, field) : undefined,
      target: mapping.collections.findIndex((each) => each.name === targetName),
    };
  });
  const part = dynamic(`${type}Part`, { count: u32, slabs: ref(slab) });
  return {
    collection,
    record,
    fields,
    slab,
    slabRecords,
    part,
    countAt: offsetIn(part, 'count'),
    slabsAt: offsetIn(part, 'slabs'),
    nextAt: offsetIn(slab, 'next'),
    usedAt: offsetIn(slab, 'count'),
    goneAt: offsetIn(slab, 'gone'),
    recordsAt: offsetIn(slab, 'records'),
    keyField: collection.key,
    index: (entries) => dynamic(`${type}Index`, { count: u32, entries: array(entry, Math.max(1, entries)) }),
  };
}
