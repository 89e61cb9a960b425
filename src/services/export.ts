/**
 * Export as NDJSON: an imported collection in the form in which it came, or everything that can be reached from an object.
 *
 * A line of a graph is one struct:
 *
 *   {"$at":"ID/OFFSET","$type":"Person","name":"Alice","friend":{"$ref":"ID/OFFSET"}}
 *
 * {"$ref"} is a struct with a line of its own, {"$object"} a whole object, {"$name"} a late-bound reference, {"$bytes"} base64,
 * {"$integer"} and {"$float"} numbers that JSON does not have. What is absent or null is left out. A sequence is a list of its elements, a
 * map one of pairs, a blob {"$bytes"}, a long text a text, a graph {"nodes":[[number,{…}]],"edges":[[number,from,to,{…}]]}. For an object as a file, byte for byte, there is
 * `Obj.export`.
 */
import { META } from '../abi/format.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import type { ObjectId } from '../abi/id.ts';
import { objectOf, offsetOf } from '../lib/cursor.ts';
import type { DirectedGraph } from '../lib/collections/graph.ts';
import { isCollectionAccessor } from '../lib/collections/type.ts';
import { Obj } from '../lib/object.ts';
import { isAccessor } from '../lib/runtime.ts';
import { accessorAt } from '../lib/struct.ts';
import type { Space, Target } from '../space.ts';
import { typesOf, type DynamicStruct, type TypedObject } from './dynamic.ts';
import type { CollectionShape } from './check/collection-image.ts';
import type { Shape } from './check/schema.ts';
import { referredBy } from './key-types.ts';
import type { Import } from './import/open.ts';
import type { MappedCollection, MappedField } from './import/mapping.ts';

type Json = Record<string, unknown>;

// --- imported collections -----------------------------------------------------------------------------------------------------

/** The records of a collection, one a line: references as keys, so that the same mapping imports them again. */
export function* exportCollection(imported: Import, name: string): Generator<string> {
  const collection = imported.mapping.collections.find((each) => each.name === name);
  const keyOf = (to: string): string => imported.mapping.collections.find((each) => each.name === to)?.key ?? '';
  for (const record of imported.all(name)) if (collection !== undefined) yield `${JSON.stringify(recordJson(record, collection, keyOf))}\n`;
}

/** All collections of an import, one after the other. */
export function* exportImport(imported: Import): Generator<string> {
  for (const { name } of imported.collections) yield* exportCollection(imported, name);
}

function recordJson(record: object, collection: MappedCollection, keyOf: (collection: string) => string): Json {
  const json: Json = {};
  for (const [field, value] of collection.when) json[field] = value;
  for (const field of collection.fields) {
    const value = fieldJson(Reflect.get(record, field.name), field, keyOf);
    if (value !== undefined) place(json, field.from[0] === '$name' ? [field.name] : field.from, value);
  }
  return json;
}

function fieldJson(value: unknown, field: MappedField, keyOf: (collection: string) => string): unknown {
  const { content } = field;
  if (!field.list) return itemJson(value, content, keyOf);
  const items: unknown[] = [];
  for (let cell = value; typeof cell === 'object' && cell !== null; cell = Reflect.get(cell, 'next')) {
    const item = itemJson(Reflect.get(cell, 'value'), content, keyOf);
    if (item !== undefined) items.push(item);
  }
  return items.length === 0 ? undefined : items;
}

function itemJson(value: unknown, content: MappedField['content'], keyOf: (collection: string) => string): unknown {
  if (content.kind === 'ref') return typeof value === 'object' && value !== null ? Reflect.get(value, keyOf(content.to)) : undefined;
  if (content.kind === 'scalar' && content.type === 'json' && typeof value === 'string') return JSON.parse(value);
  return value;
}

/** Sets a value at a path, making objects on the way. */
function place(json: Json, path: readonly string[], value: unknown): void {
  let into = json;
  for (const step of path.slice(0, -1)) {
    const next = into[step];
    const inner: Json = typeof next === 'object' && next !== null ? (next as Json) : {};
    into[step] = inner;
    into = inner;
  }
  into[path.at(-1) ?? ''] = value;
}

// --- graphs -------------------------------------------------------------------------------------------------------------------

interface Visit {
  readonly h: ObjectHandle;
  readonly at: number;
  readonly typed: TypedObject;
  readonly type: string;
}

/** Every struct that can be reached from the object's root, each once, and the roots of the objects that are linked as a whole. */
export function exportGraph(space: Space, target: Target): Generator<string> {
  return new GraphWalk(space).run(space.object(target));
}

class GraphWalk {
  readonly #space: Space;
  readonly #pending: Visit[] = [];
  /** A bit for each place that has been reached, by object and type: a struct and its first field lie at the same place. */
  readonly #seen = new Map<string, Uint8Array>();
  readonly #odd = new Set<string>();
  readonly #typed = new Map<string, TypedObject>();
  /** Late-bound entries of the FOT, by object. */
  readonly #names = new Map<ObjectId, ReadonlyMap<number, string>>();

  constructor(space: Space) {
    this.#space = space;
  }

  *run(first: Obj): Generator<string> {
    this.#object(first);
    for (let visit = this.#pending.pop(); visit !== undefined; visit = this.#pending.pop()) {
      const { h, at, typed, type } = visit;
      const struct = typed.types.get(type);
      if (struct === undefined) continue;
      const accessor: object = accessorAt(struct, h, at);
      yield `${JSON.stringify({ $at: `${h.id}/${at}`, $type: type, ...this.#struct(accessor, h, at, struct, visit) })}\n`;
    }
  }

  #object(object: Obj): void {
    const { schema, rootOffset, handle } = object;
    if (schema === undefined || rootOffset === 0) return;
    const text = JSON.stringify(schema);
    let typed = this.#typed.get(text);
    if (typed === undefined) {
      typed = typesOf(object);
      this.#typed.set(text, typed);
    }
    this.#reach(handle, handle.dv.getUint32(META.root, true), typed, typed.schema.root);
  }

  #reach(h: ObjectHandle, at: number, typed: TypedObject, type: string): void {
    if (h.cold) h.warm();
    const key = `${h.id} ${type}`;
    let seen = this.#seen.get(key);
    if (seen === undefined || seen.length < Math.ceil(h.size / 64)) {
      const larger = new Uint8Array(Math.ceil(h.size / 64));
      larger.set(seen ?? []);
      seen = larger;
      this.#seen.set(key, seen);
    }
    // Only a part of a larger block can lie there.
    if (at % 8 !== 0) {
      if (!this.#odd.has(`${key} ${at}`)) this.#pending.push({ h, at, typed, type });
      this.#odd.add(`${key} ${at}`);
      return;
    }
    const place = at >>> 3;
    const bit = 1 << (place & 7);
    if (((seen[place >>> 3] ?? 0) & bit) !== 0) return;
    seen[place >>> 3] = (seen[place >>> 3] ?? 0) | bit;
    this.#pending.push({ h, at, typed, type });
  }

  #struct(accessor: object, h: ObjectHandle, at: number, struct: DynamicStruct, visit: Visit): Json {
    const json: Json = {};
    const shape = visit.typed.schema.types.get(struct.name);
    // The object's root may be a collection itself.
    if (isCollectionAccessor(accessor)) return { content: this.#entries(accessor, shape?.fields[0]?.shape, visit) };
    for (const { name, offset, shape: field } of shape?.fields ?? []) {
      const value = this.#value(() => Reflect.get(accessor, name), h, at + offset, field, visit);
      if (value !== undefined) json[name] = value;
    }
    return json;
  }

  #value(read: () => unknown, h: ObjectHandle, at: number, shape: Shape, visit: Visit): unknown {
    switch (shape.kind) {
      case 'ref':
      case 'link': {
        const name = this.#lateName(h, at);
        return name === undefined ? this.#reference(read(), shape, visit) : { $name: name };
      }
      case 'optional':
        return h.dv.getUint8(at) === 0 ? undefined : this.#value(read, h, at + shape.at, shape.of, visit);
      case 'array': {
        const array = read();
        if (typeof array !== 'object' || array === null || !('get' in array) || typeof array.get !== 'function') return undefined;
        const { get } = array;
        return Array.from(
          { length: shape.length },
          (_, i) => this.#value(() => get.call(array, i), h, at + i * shape.stride, shape.of, visit) ?? null,
        );
      }
      case 'struct': {
        const inner = read();
        const struct = visit.typed.types.get(shape.type);
        return typeof inner === 'object' && inner !== null && struct !== undefined ? this.#struct(inner, h, at, struct, visit) : undefined;
      }
      case 'collection':
        return this.#entries(read(), shape, visit);
      default:
        return plain(read());
    }
  }

  /** Elements of a collection: of a map pairs of key and value. */
  #entries(collection: unknown, shape: Shape | undefined, visit: Visit): unknown {
    if (typeof collection !== 'object' || collection === null || shape?.kind !== 'collection') return [];
    if (shape.collection === 'Blob' || shape.collection === 'TextDocument')
      return 'slice' in collection && typeof collection.slice === 'function' ? plain(collection.slice()) : null;
    if (shape.collection === 'Graph') return this.#graph(collection, shape, visit);
    if (!(Symbol.iterator in collection)) return [];
    const of = shape.value;
    const pairs = shape.key !== undefined && of !== undefined;
    const types = referredBy(shape.key ?? '');
    const key = (value: unknown): unknown => this.#key(value, types[Symbol.iterator](), visit);
    return Array.from(collection as Iterable<unknown>, (entry) => {
      if (pairs && Array.isArray(entry)) return [key(entry[0]), this.#element(entry[1], of, visit)];
      return of === undefined ? key(entry) : this.#element(entry, of, visit);
    });
  }

  /** `types`: what the references of the key lead to, in their order. */
  #key(key: unknown, types: Iterator<string>, visit: Visit): unknown {
    if (Array.isArray(key)) return key.map((part) => this.#key(part, types, visit));
    if (key !== null && !isAccessor(key)) return plain(key);
    return this.#reference(key, { kind: 'ref', type: String(types.next().value), size: 8 }, visit) ?? null;
  }

  #graph(collection: object, shape: CollectionShape, visit: Visit): unknown {
    const graph = collection as DirectedGraph<object, object, object | undefined, object | undefined>;
    const shapes = visit.typed.schema.types;
    const parts = shape.value === undefined ? undefined : shapes.get(shape.value.type);
    const valueIn = (name: string): Shape | undefined => {
      const of = parts?.fields.find((field) => field.name === name)?.shape;
      return of?.kind === 'collection' ? of.value : undefined;
    };
    const [node, record] = [valueIn('nodes'), valueIn('edges')];
    const value = record === undefined ? undefined : shapes.get(record.type)?.fields.find(({ name }) => name === 'value')?.shape;
    const inner = (of: unknown, as: Shape | undefined): unknown[] =>
      of === undefined || as === undefined ? [] : [this.#element(of, as, visit)];
    return {
      nodes: Array.from(graph.nodes(), ([id, of]) => [id, ...inner(of, node)]),
      edges: Array.from(graph.edges(), ({ id, from, to, value: of }) => [id, from, to, ...inner(of, value)]),
    };
  }

  #element(value: unknown, shape: Shape, visit: Visit): unknown {
    if (!isAccessor(value) || shape.kind === 'ref' || shape.kind === 'link')
      return (shape.kind === 'ref' || shape.kind === 'link' ? this.#reference(value, shape, visit) : plain(value)) ?? null;
    return this.#value(() => value, value.$h, value.$o, shape, visit) ?? null;
  }

  #reference(value: unknown, shape: Shape, visit: Visit): unknown {
    if (typeof value !== 'object' || value === null) return undefined;
    if (value instanceof Obj) {
      this.#object(this.#space.object(value));
      return { $object: value.id };
    }
    const { handle } = objectOf(value);
    const at = offsetOf(value);
    this.#reach(handle, at, visit.typed, shape.type);
    return { $ref: `${handle.id}/${at}` };
  }

  /** The path of a late-bound reference. */
  #lateName(h: ObjectHandle, at: number): string | undefined {
    const index = h.dv.getUint32(at + 4, true) >>> 8;
    if (index === 0) return undefined;
    let names = this.#names.get(h.id);
    if (names === undefined) {
      const found = new Map<number, string>();
      for (const entry of h.fotEntries()) if (entry.path !== undefined) found.set(entry.index, entry.path);
      names = found;
      this.#names.set(h.id, names);
    }
    return names.get(index);
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return { $integer: String(value) };
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return { $float: Object.is(value, -0) ? '-0' : String(value) };
  if (value instanceof Uint8Array) return { $bytes: base64(value) };
  return value;
}

function base64(bytes: Uint8Array): string {
  let binary = '';
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}
