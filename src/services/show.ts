/** Show: what one object holds, from its bytes and the schema text that it carries. Pure: the caller brings the bytes. */
import { FLAG, KIND, META, PAGE, RIGHT } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { usageOf, type Usage } from '../abi/usage.ts';
import { KeyPlace } from '../lib/collections/reference-keys.ts';
import {
  countOf,
  walkCollection,
  type CollectionReader,
  type CollectionShape,
  type Found,
  type GraphPart,
  type Key,
} from './check/collection-image.ts';
import { type FotRecord, type ObjectImage, readPointer } from './check/object-image.ts';
import { alignOf, parseSchema, type ObjectSchema, type Shape, type StructShape } from './check/schema.ts';

/** Gives the bytes of objects that are referred to. */
export type ObjectReader = (id: ObjectId) => ObjectImage | undefined;

export interface ObjectView {
  readonly id: ObjectId;
  readonly kind: string;
  readonly size: number;
  readonly version: number;
  readonly rights: string;
  readonly flags: readonly string[];
  readonly key: ObjectId;
  /** Of a progressive object: ID of its merge code, else zeros. */
  readonly merge: ObjectId;
  readonly root: number;
  readonly type: string | undefined;
  readonly typeVersion: number;
  readonly ties: readonly ObjectId[];
  readonly fot: readonly FotRecord[];
  readonly usage: Usage;
  /** Why there is no typed view, where there is none. */
  readonly untyped: string | undefined;
}

export type TypedValue =
  | { readonly kind: 'plain'; readonly type: string; readonly value: string | number | boolean | bigint | undefined }
  | { readonly kind: 'bytes'; readonly type: string; readonly value: Uint8Array; readonly length: number }
  | { readonly kind: 'struct'; readonly type: string; readonly at: number; readonly fields: readonly TypedField[] }
  | { readonly kind: 'array'; readonly type: string; readonly length: number; readonly items: readonly TypedValue[] }
  | {
      readonly kind: 'collection';
      readonly type: string;
      readonly at: number;
      readonly length: number;
      readonly entries: readonly TypedEntry[];
    }
  | {
      readonly kind: 'sequence';
      readonly type: string;
      readonly at: number;
      readonly length: number;
      readonly items: readonly TypedValue[];
    }
  | { readonly kind: 'document'; readonly type: string; readonly value: string; readonly length: number }
  | { readonly kind: 'null'; readonly type: string }
  | {
      readonly kind: 'ref';
      readonly type: string;
      readonly target: ObjectId | undefined;
      readonly path: string | undefined;
      readonly offset: number;
      readonly to: TypedValue | undefined;
    }
  | { readonly kind: 'bad'; readonly type: string; readonly message: string };

export interface TypedField {
  readonly name: string;
  readonly at: number;
  readonly value: TypedValue;
}

/** An entry of a collection: in a log the key is the element's number; a set's have no values. */
export interface TypedEntry {
  readonly key: TypedValue;
  readonly value: TypedValue | undefined;
}

export function kindName(kind: number): string {
  return Object.entries(KIND).find(([, n]) => n === kind)?.[0] ?? `unknown (${kind})`;
}

export function rightsText(rights: number): string {
  return `${(rights & RIGHT.read) !== 0 ? 'r' : '-'}${(rights & RIGHT.write) !== 0 ? 'w' : '-'}${(rights & RIGHT.execute) !== 0 ? 'x' : '-'}`;
}

/** The schema that an object carries, or why there is none. */
export function schemaOf(image: ObjectImage): ObjectSchema | string {
  const at = image.u32(META.schema);
  if (at === 0) return 'the object carries no schema text';
  const text = image.textAt(at);
  return text === undefined ? 'the schema text lies outside the object' : parseSchema(text);
}

export function viewObject(image: ObjectImage): ObjectView {
  const schema = schemaOf(image);
  const flags = image.u32(META.flags);
  return {
    id: image.id,
    kind: kindName(image.u32(META.kind)),
    size: image.u32(META.size),
    version: image.u64(META.version),
    rights: rightsText(image.u32(META.rights)),
    flags: Object.entries(FLAG)
      .filter(([, bit]) => (flags & bit) !== 0)
      .map(([name]) => name),
    key: image.idAt(META.key),
    merge: image.idAt(META.merge),
    root: image.u32(META.root),
    type: typeof schema === 'string' ? undefined : schema.root,
    typeVersion: image.u32(META.typeVersion),
    ties: image.ties,
    fot: [...image.fotEntries()],
    usage: usageOf(image.dv),
    untyped: typeof schema === 'string' ? schema : undefined,
  };
}

export interface TypedOptions {
  /** How many references to follow. */
  readonly depth: number;
  /** Elements of an array and bytes of a text to show. */
  readonly items: number;
  /** Entries of a collection to show; as many as `items` where it is left out. */
  readonly entries?: number;
}

/** The typed view of an object's root, or of another offset and type of its schema. A string tells why there is none. */
export function viewTyped(
  image: ObjectImage,
  read: ObjectReader,
  options: TypedOptions,
  at = image.u32(META.root),
  typeName?: string,
): TypedValue | string {
  const schema = schemaOf(image);
  if (typeof schema === 'string') return schema;
  if (at === 0) return 'the object has no root';
  const struct = schema.types.get(typeName ?? schema.root);
  if (struct === undefined) return `the schema describes no ${typeName ?? schema.root}`;
  return new Viewer(read, options).struct({ image, schema }, at, struct, options.depth);
}

interface Place {
  readonly image: ObjectImage;
  readonly schema: ObjectSchema;
}

class Viewer {
  readonly #read: ObjectReader;
  readonly #items: number;
  readonly #entries: number;
  /** Structs on the way here: a ring of references ends where it closes. */
  readonly #path: string[] = [];

  constructor(read: ObjectReader, { items, entries = items }: TypedOptions) {
    this.#read = read;
    this.#items = items;
    this.#entries = entries;
  }

  struct(place: Place, at: number, type: StructShape, depth: number): TypedValue {
    if (at < PAGE || at + type.size > place.image.size)
      return { kind: 'bad', type: type.name, message: `${type.size} bytes at ${at} lie outside the object` };
    const fields = type.fields.map((field) => ({
      name: field.name,
      at: at + field.offset,
      value: this.#value(place, at + field.offset, field.shape, depth),
    }));
    return { kind: 'struct', type: type.name, at, fields };
  }

  #value(place: Place, at: number, shape: Shape, depth: number): TypedValue {
    const { image, schema } = place;
    const { type } = shape;
    switch (shape.kind) {
      case 'number':
      case 'bigint':
        return { kind: 'plain', type, value: readNumber(image, at, type, shape.kind) };
      case 'bool':
        return { kind: 'plain', type, value: image.bytes[at] !== 0 };
      case 'oneOf': {
        const n = shape.size === 1 ? (image.bytes[at] ?? 0) : image.u16(at);
        const value = shape.values[n];
        return value === undefined
          ? { kind: 'bad', type, message: `${n} is none of ${shape.values.length} values` }
          : { kind: 'plain', type: 'oneOf', value };
      }
      case 'text':
      case 'bytes':
        return this.#block(image, at, shape.kind);
      case 'optional':
        return image.bytes[at] === 0 ? { kind: 'plain', type, value: undefined } : this.#value(place, at + shape.at, shape.of, depth);
      case 'array': {
        const shown = Math.min(shape.length, this.#items);
        const items = Array.from({ length: shown }, (_, i) => this.#value(place, at + i * shape.stride, shape.of, depth));
        return { kind: 'array', type: `${shape.of.type}[${shape.length}]`, length: shape.length, items };
      }
      case 'struct': {
        const struct = schema.types.get(type);
        return struct === undefined ? { kind: 'bad', type, message: 'not described' } : this.struct(place, at, struct, depth);
      }
      case 'collection':
        return this.#collection(place, at, shape, depth);
      case 'link':
      case 'ref':
        return this.#pointer(place, at, shape, depth);
    }
  }

  /** The beginning of a collection. */
  #collection(place: Place, at: number, shape: CollectionShape, depth: number): TypedValue {
    const { collection } = shape;
    const type = shortType(shape.type);
    const { image } = place;
    const length = countOf({ image, at }, shape);
    if (collection === 'Graph') return this.#graph(place, at, shape, depth);
    if (collection === 'Blob' || collection === 'TextDocument') return this.#pieces(place, at, shape);
    const entries: TypedEntry[] = [];
    const items: TypedValue[] = [];
    const damage = this.#walk(place, at, shape, (key, found, position) => {
      const shown = items.length + entries.length < this.#entries;
      if (!shown) return false;
      const value = found === undefined ? undefined : this.#found(place.schema, found, depth);
      if (key !== undefined) entries.push({ key: keyValue(key, shape.key ?? ''), value });
      else if (collection === 'Log') entries.push({ key: { kind: 'plain', type: 'number', value: position }, value });
      else if (value !== undefined) items.push(value);
      return true;
    });
    if (damage !== undefined && items.length + entries.length === 0) return { kind: 'bad', type, message: damage };
    const isSequence = shape.key === undefined && collection !== 'Log';
    return isSequence ? { kind: 'sequence', type, at, length, items } : { kind: 'collection', type, at, length, entries };
  }

  /** What is wrong with the collection, if anything was met. */
  #walk(
    { image, schema }: Place,
    at: number,
    shape: CollectionShape,
    entry: CollectionReader['entry'],
    more?: Partial<CollectionReader>,
  ): string | undefined {
    let damage: string | undefined;
    const known = walkCollection({ image, at }, shape, schema, {
      read: (id) => this.#read(id),
      bad: (_name, _place, message) => (damage ??= message),
      entry,
      ...more,
    });
    return known ? damage : `${shape.type}: not known to this tool`;
  }

  /** Nodes and edges, each by its number. */
  #graph(place: Place, at: number, shape: CollectionShape, depth: number): TypedValue {
    const entries: Record<GraphPart, TypedEntry[]> = { nodes: [], edges: [] };
    let part: GraphPart = 'nodes';
    const damage = this.#walk(
      place,
      at,
      shape,
      (key, found) => {
        if (key === undefined || found === undefined || entries[part].length >= this.#entries) return false;
        entries[part].push({ key: keyValue(key, 'u32'), value: this.#found(place.schema, found, depth) });
        return true;
      },
      {
        part(next) {
          part = next;
          return true;
        },
      },
    );
    const type = shortType(shape.type);
    if (damage !== undefined && entries.nodes.length + entries.edges.length === 0) return { kind: 'bad', type, message: damage };
    const struct = shape.value === undefined ? undefined : place.schema.types.get(shape.value.type);
    const fields = (['nodes', 'edges'] as const).map((name) => {
      const field = struct?.fields.find((each) => each.name === name);
      const from = at + (field?.offset ?? 0);
      const length = place.image.u32(from);
      return { name, at: from, value: { kind: 'collection', type: name, at: from, length, entries: entries[name] } } as const;
    });
    return { kind: 'struct', type, at, fields };
  }

  #pieces(place: Place, at: number, shape: CollectionShape): TypedValue {
    const { type } = shape;
    const length = countOf({ image: place.image, at }, shape);
    const most = shape.collection === 'Blob' ? this.#entries : this.#entries * 8;
    let text = '';
    const bytes: number[] = [];
    const damage = this.#walk(place, at, shape, () => true, {
      piece(piece) {
        if (typeof piece === 'string') text += piece.slice(0, most - text.length);
        else for (const byte of piece.subarray(0, most - bytes.length)) bytes.push(byte);
        return text.length + bytes.length < most;
      },
    });
    if (damage !== undefined && text.length + bytes.length === 0) return { kind: 'bad', type, message: damage };
    return shape.collection === 'Blob'
      ? { kind: 'bytes', type, value: Uint8Array.from(bytes), length }
      : { kind: 'document', type, value: text, length };
  }

  #found(schema: ObjectSchema, { image, at, length, shape }: Found, depth: number): TypedValue {
    if (shape.kind !== 'text' && shape.kind !== 'bytes') return this.#value({ image, schema }, at, shape, depth);
    return this.#content(image, at, length, shape.kind);
  }

  #block(image: ObjectImage, at: number, kind: 'text' | 'bytes'): TypedValue {
    return this.#content(image, image.u32(at), image.u32(at + 4), kind);
  }

  #content(image: ObjectImage, offset: number, length: number, kind: 'text' | 'bytes'): TypedValue {
    if (length > 0 && (offset < PAGE || offset + length > image.size))
      return { kind: 'bad', type: kind, message: `${length} bytes at ${offset} lie outside the object` };
    const bytes = image.bytes.slice(offset, offset + length);
    if (kind === 'text') return { kind: 'plain', type: 'text', value: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) };
    return { kind: 'bytes', type: 'bytes', value: bytes.subarray(0, this.#items), length };
  }

  #pointer(place: Place, at: number, shape: Shape, depth: number): TypedValue {
    const { index, offset } = readPointer(place.image, at);
    const type = shape.kind === 'link' ? 'link' : `ref ${shape.type}`;
    if (index === 0 && offset === 0) return { kind: 'null', type };
    if (index === 0) {
      const to = shape.kind === 'link' ? undefined : this.#follow(place, offset, shape.type, depth);
      return { kind: 'ref', type, target: place.image.id, path: undefined, offset, to };
    }
    const entry = place.image.fotEntry(index);
    if (entry?.used !== true) return { kind: 'bad', type, message: `entry ${index} of the FOT is not in use` };
    if (entry.id === undefined) return { kind: 'ref', type, target: undefined, path: entry.path, offset, to: undefined };
    const target = depth > 0 && shape.kind === 'ref' ? this.#read(entry.id) : undefined;
    const to =
      target === undefined
        ? undefined
        : this.#follow({ image: target, schema: place.schema }, offset === 0 ? target.u32(META.root) : offset, shape.type, depth);
    return { kind: 'ref', type, target: entry.id, path: undefined, offset, to };
  }

  #follow(place: Place, at: number, type: string, depth: number): TypedValue | undefined {
    const struct = place.schema.types.get(type);
    const key = `${place.image.id} ${at} ${type}`;
    if (depth <= 0 || struct === undefined || this.#path.includes(key)) return undefined;
    if (at % alignOf(place.schema, { kind: 'struct', type, size: struct.size }) !== 0)
      return { kind: 'bad', type, message: `offset ${at} is not aligned` };
    this.#path.push(key);
    const value = this.struct(place, at, struct, depth - 1);
    this.#path.pop();
    return value;
  }
}

/** A signature names structs with their fields: the names are enough here. */
function shortType(signature: string): string {
  let short = signature;
  for (let longer = ''; longer !== short;) {
    longer = short;
    short = longer.replaceAll(/@\d+\{[^{}]*\}/g, '');
  }
  return short;
}

/** A key as plain data, or what is wrong with it. */
function keyValue(key: Key, type: string): TypedValue {
  try {
    return plainKey(key.decode(), type);
  } catch (error) {
    return { kind: 'bad', type, message: error instanceof Error ? error.message : String(error) };
  }
}

function plainKey(value: unknown, type: string): TypedValue {
  if (Array.isArray(value)) return { kind: 'array', type, length: value.length, items: value.map((part) => plainKey(part, 'key')) };
  if (value instanceof Uint8Array) return { kind: 'bytes', type, value, length: value.length };
  if (value instanceof KeyPlace) {
    const { id, at } = value;
    if (id === undefined) return { kind: 'null', type: `ref ${value.type}` };
    return { kind: 'ref', type: `ref ${value.type}`, target: id, path: undefined, offset: at, to: undefined };
  }
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return { kind: 'plain', type: typeof value === 'string' ? 'text' : type, value };
  return { kind: 'bad', type, message: 'no key' };
}

function readNumber(image: ObjectImage, at: number, type: string, kind: 'number' | 'bigint'): number | bigint {
  const { dv } = image;
  switch (type) {
    case 'u8':
      return dv.getUint8(at);
    case 'i8':
      return dv.getInt8(at);
    case 'u16':
      return dv.getUint16(at, true);
    case 'i16':
      return dv.getInt16(at, true);
    case 'u32':
      return dv.getUint32(at, true);
    case 'i32':
      return dv.getInt32(at, true);
    case 'f32':
      return dv.getFloat32(at, true);
    case 'f64':
      return dv.getFloat64(at, true);
    default: {
      const wide = type === 'u64' ? dv.getBigUint64(at, true) : dv.getBigInt64(at, true);
      return kind === 'bigint' || !Number.isSafeInteger(Number(wide)) ? wide : Number(wide);
    }
  }
}

/** Stands behind what was cut. */
const more = (left: number): unknown => ({ $more: left });

/**
 * The plain value of a typed view, as JSON would have it. References are `{ref, at}` unless they were followed; behind the first of many
 * `{"$more": n}` says how many follow.
 */
export function plainValue(value: TypedValue): unknown {
  switch (value.kind) {
    case 'plain':
      return value.value;
    case 'bytes':
    case 'document':
      return value.value.length < value.length ? [value.value, more(value.length - value.value.length)] : value.value;
    case 'null':
      return null;
    case 'bad':
      return { corrupt: value.message };
    case 'array':
    case 'sequence': {
      const items = value.items.map(plainValue);
      return items.length < value.length ? [...items, more(value.length - items.length)] : items;
    }
    case 'collection': {
      // Sets and keys that are no texts have no names.
      const entries = value.entries.map((entry) =>
        entry.value === undefined ? plainValue(entry.key) : [plainValue(entry.key), plainValue(entry.value)],
      );
      return entries.length < value.length ? [...entries, more(value.length - entries.length)] : entries;
    }
    case 'struct':
      return Object.fromEntries(value.fields.map((field) => [field.name, plainValue(field.value)]));
    case 'ref': {
      if (value.to !== undefined) return plainValue(value.to);
      return value.target === undefined ? { late: value.path } : { ref: value.target, at: value.offset };
    }
  }
}
