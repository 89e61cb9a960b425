/** What programs are told of types: from the schemas that objects carry. Those are data like any other, and are judged before they are used. */
import { TwzError } from '../abi/errors.ts';
import { META, PAGE } from '../abi/format.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import { Handle } from '../kernel/object.ts';
import type { CollectionDescription, CollectionTypes } from '../runtime/collections.ts';
import { placeField, type ValueShape } from '../runtime/value-place.ts';
import { storeRoot } from '../space.ts';
import type { CollectionShape } from './check/collection-image.ts';
import { parseSchema, type ObjectSchema, type Shape } from './check/schema.ts';
import { collectionWith, typesFrom, type DynamicTypes } from './dynamic.ts';

interface Known {
  readonly schema: ObjectSchema;
  readonly types: DynamicTypes;
  /** All collections that are mentioned, by their type. */
  readonly shapes: ReadonlyMap<string, CollectionShape>;
  readonly made: Map<string, CollectionDescription>;
}

const SCHEMA_MAX = 1 << 20;
const KEPT = 64;
const OWNERS_MAX = 64;
const known = new Map<string, Known>();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Reads a schema text. Throws TypeInvalid. */
function read(text: string): Known {
  const before = known.get(text);
  if (before !== undefined) return before;
  const schema = text.length > SCHEMA_MAX ? `it has ${text.length} characters` : parseSchema(text);
  if (typeof schema === 'string') throw new TwzError('TypeInvalid', `the schema is none: ${schema}`);
  const shapes = new Map<string, CollectionShape>();
  const visit = (shape: Shape): void => {
    if (shape.kind === 'optional' || shape.kind === 'array') visit(shape.of);
    if (shape.kind !== 'collection' || shapes.has(shape.type)) return;
    shapes.set(shape.type, shape);
    if (shape.value !== undefined) visit(shape.value);
  };
  for (const { fields } of schema.types.values()) for (const { shape } of fields) visit(shape);
  const made = { schema, types: typesFrom(schema), shapes, made: new Map<string, CollectionDescription>() };
  if (known.size >= KEPT) for (const oldest of known.keys()) if (known.size >= KEPT) known.delete(oldest);
  known.set(text, made);
  return made;
}

/** What the schema of an object says, or that of the object whose collection goes on in this one. Throws TypeMismatch. */
function typesAt(h: ObjectHandle): Known {
  let home = h;
  for (let left = OWNERS_MAX; left > 0 && home instanceof Handle && home.owner !== undefined; left--) home = home.kernel.open(home.owner);
  if (home.cold) home.warm();
  const at = home.dv.getUint32(META.schema, true);
  const length = at < PAGE || at + 4 > home.size ? 0 : home.dv.getUint32(at, true);
  if (length === 0 || at + 4 + length > home.size)
    throw new TwzError('TypeMismatch', `object ${home.id} does not say of which types it is`, { id: home.id });
  return read(decoder.decode(home.u8.slice(at + 4, at + 4 + length)));
}

/** The collection whose place in a struct that is. */
function shapeIn(schema: ObjectSchema, type: string, offset: number): CollectionShape | undefined {
  const within = (shape: Shape, at: number): CollectionShape | undefined => {
    if (at < 0 || at >= shape.size) return undefined;
    switch (shape.kind) {
      case 'collection':
        return at === 0 ? shape : undefined;
      case 'struct':
        return shapeIn(schema, shape.type, at);
      case 'optional':
        return within(shape.of, at - shape.at);
      case 'array':
        return within(shape.of, at % shape.stride);
      default:
        return undefined;
    }
  };
  for (const field of schema.types.get(type)?.fields ?? []) {
    const found = within(field.shape, offset - field.offset);
    if (found !== undefined) return found;
  }
  return undefined;
}

function descriptionOf(from: Known, shape: CollectionShape): CollectionDescription {
  const before = from.made.get(shape.type);
  if (before !== undefined) return before;
  const { value } = shape;
  const inPlace = value !== undefined && value.kind !== 'text' && value.kind !== 'bytes';
  const type = collectionWith(from.types, shape, inPlace ? placeField : undefined);
  const valueShape: ValueShape | undefined =
    value === undefined
      ? undefined
      : { kind: value.kind, type: value.type, size: value.size, ...(value.kind === 'oneOf' ? { values: value.values } : {}) };
  const made: CollectionDescription = {
    collection: shape.collection,
    type: shape.type,
    size: shape.size,
    key: shape.key,
    value: valueShape,
    at: (h, offset) => new type.accessor(h, offset),
  };
  from.made.set(shape.type, made);
  return made;
}

export const collectionTypes: CollectionTypes = {
  find(h, offset, type) {
    if (h.cold) h.warm();
    const from = typesAt(h);
    const root = h.dv.getUint32(META.root, true);
    const shape = type === undefined ? shapeIn(from.schema, from.schema.root, offset - root) : from.shapes.get(type);
    if (shape === undefined)
      throw new TwzError(
        'TypeMismatch',
        type === undefined
          ? `no collection of the root of object ${h.id} lies at offset ${offset}`
          : `the schema of object ${h.id} has no collection of the type ${type.slice(0, 200)}`,
        { id: h.id, offset },
      );
    if (offset < PAGE || offset % 8 !== 0 || offset + shape.size > h.size)
      throw new TwzError('OutOfRange', `no ${shape.collection} can lie at offset ${offset} of object ${h.id}`, { id: h.id, offset });
    return descriptionOf(from, shape);
  },
  setTypes(h, text) {
    const { schema, types } = read(text);
    const type = types.structs.get(schema.root);
    if (type === undefined || type.schema !== text)
      throw new TwzError('TypeInvalid', `the schema of ${schema.root} is not as the library writes it`, { name: schema.root });
    if (h.cold) h.warm();
    const root = h.dv.getUint32(META.root, true);
    const { size, align } = type.layout;
    if (root < PAGE || root % align !== 0 || root + size > h.size)
      throw new TwzError('TypeInvalid', `no ${type.name} can be the root of object ${h.id}: it lies at offset ${root}`, { id: h.id, root });
    if (!(h instanceof Handle)) throw new TwzError('StaleReference', `object ${h.id} is of another space`, { id: h.id });
    storeRoot(h, type, root);
  },
  rootAs(h, fingerprint) {
    if (h.cold) h.warm();
    const root = h.dv.getUint32(META.root, true);
    const alike = BigInt.asUintN(64, fingerprint) === h.dv.getBigUint64(META.rootType, true);
    return alike && root >= PAGE && root < h.size ? root : 0;
  },
};
