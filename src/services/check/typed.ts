/**
 * Typed data: follows every pointer that the schema texts tell, from the roots on, within objects and across them.
 *
 * Each struct is visited once as each type that leads to it. What no typed pointer reaches is bytes, and not judged.
 */
import { FLAG, FOT, KIND, META, PAGE } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { fingerprintOf } from '../../lib/fingerprint.ts';
import { forwardedIn } from '../evolution/forwards.ts';
import { walkCollection, type CollectionShape, type Mending } from './collection-image.ts';
import type { FindingName, Findings } from './findings.ts';
import type { SpaceImage } from './image.ts';
import { readPointer, type FotRecord, type ObjectImage } from './object-image.ts';
import { liveBlock, type ObjectFacts } from './object.ts';
import { alignOf, parseSchema, signatureOf, type ObjectSchema, type Shape, type StructShape } from './schema.ts';

export interface WalkSource {
  readonly findings: Findings;
  readonly ids: ReadonlySet<ObjectId>;
  facts(id: ObjectId): ObjectFacts | undefined;
}

/** Objects of collections in objects of collections, and so on. */
const OWNERS_MAX = 16;

/** A type as it stands in some object's schema: two objects may use one name for two types. */
interface TypeOf {
  readonly schema: ObjectSchema;
  readonly struct: StructShape;
  readonly key: string;
  readonly align: number;
}

/** A pointer that was found: where it leads, as what, and where it stands. */
interface Visit {
  /** 0: the root. */
  readonly at: number;
  readonly type: TypeOf | undefined;
  readonly holder: ObjectId;
  readonly from: number;
  readonly name: string;
}

export interface DamagedCollection {
  readonly id: ObjectId;
  /** Where its header lies. */
  readonly at: number;
  readonly shape: CollectionShape;
  readonly schema: ObjectSchema;
  /** The field that it is, or `TYPE: a value`. */
  readonly name: string;
  /** What is wrong follows from all the rest of it: repair sets it. */
  readonly mendable: boolean;
}

interface Passed {
  found: number;
  /** What the entry counts, and where. */
  readonly stored: number;
  readonly at: number;
}

/** Where in an object a type has been visited: a bit for each 8 bytes, and a set for the odd ones. */
class Visited {
  readonly #bits: Uint8Array;
  readonly #odd = new Set<number>();

  constructor(size: number) {
    this.#bits = new Uint8Array(Math.ceil(size / 64));
  }

  has(at: number): boolean {
    return at % 8 === 0 ? ((this.#bits[at >>> 6] ?? 0) & (1 << ((at >>> 3) & 7))) !== 0 : this.#odd.has(at);
  }

  /** False where it was there before. */
  add(at: number): boolean {
    if (at % 8 !== 0) {
      if (this.#odd.has(at)) return false;
      this.#odd.add(at);
      return true;
    }
    const byte = at >>> 6;
    const bit = 1 << ((at >>> 3) & 7);
    if (((this.#bits[byte] ?? 0) & bit) !== 0) return false;
    this.#bits[byte] = (this.#bits[byte] ?? 0) | bit;
    return true;
  }
}

export class TypedWalk {
  readonly #source: WalkSource;
  readonly #visited = new Map<string, Visited>();
  readonly #pending = new Map<ObjectId, Visit[]>();
  readonly #schemas = new Map<string, ObjectSchema | string>();
  readonly #types = new Map<ObjectSchema, Map<string, TypeOf>>();
  /** Where pointers were seen: a struct may be visited as part of another, too. */
  readonly #seen = new Map<ObjectId, Visited>();
  /** Pointers found through each FOT entry. */
  readonly #through = new Map<ObjectId, Map<number, Passed>>();
  /** The schemas of objects that collections go on from. */
  readonly #homes = new Map<ObjectId, ObjectSchema | undefined>();
  pointers = 0;
  structs = 0;
  /** Collections in which something is wrong. */
  readonly damaged: DamagedCollection[] = [];

  constructor(source: WalkSource) {
    this.#source = source;
  }

  /** Takes an object's root into the walk, if its schema can be read and is the root's. */
  root(id: ObjectId, facts: ObjectFacts): void {
    const { image } = facts;
    const text = image.u32(META.schema) === 0 ? undefined : image.textAt(image.u32(META.schema));
    if (text === undefined) return;
    const { findings } = this.#source;
    const schema = this.#schema(text);
    if (typeof schema === 'string') {
      findings.add('SchemaText', `the schema text is malformed: ${schema}`, { object: id, at: META.schema });
      return;
    }
    const signature = signatureOf(schema, schema.root);
    const wanted = signature === undefined ? undefined : fingerprintOf(signature);
    if (wanted?.low !== image.u32(META.rootType) || wanted.high !== image.u32(META.rootType + 4)) {
      findings.add('RootType', `the root's fingerprint is not that of ${schema.root} in the schema text`, {
        object: id,
        at: META.rootType,
      });
      return;
    }
    const root = image.u32(META.root);
    const type = this.#type(schema, schema.root);
    if (root !== 0) this.#drain(id, facts, [{ at: root, type, holder: id, from: META.root, name: 'the root' }]);
  }

  /** A type of a schema. Schemas that describe a struct alike give one type, so that it is visited once. */
  #type(schema: ObjectSchema, name: string): TypeOf | undefined {
    let ofSchema = this.#types.get(schema);
    if (ofSchema === undefined) {
      ofSchema = new Map();
      this.#types.set(schema, ofSchema);
    }
    const known = ofSchema.get(name);
    if (known !== undefined) return known;
    const struct = schema.types.get(name);
    const signature = struct === undefined ? undefined : signatureOf(schema, name);
    if (struct === undefined || signature === undefined) return undefined;
    const { low, high } = fingerprintOf(signature);
    const type = {
      schema,
      struct,
      key: `${name} ${high}.${low}`,
      align: alignOf(schema, { kind: 'struct', type: name, size: struct.size }),
    };
    ofSchema.set(name, type);
    return type;
  }

  /** Objects of one type have the same text: it is read once. */
  #schema(text: string): ObjectSchema | string {
    let schema = this.#schemas.get(text);
    if (schema === undefined) {
      schema = parseSchema(text);
      this.#schemas.set(text, schema);
    }
    return schema;
  }

  /** Goes where pointers from other objects lead, until no new place is found. Each object is read once for all that lead to it. */
  run(progress?: (done: number) => void): void {
    while (this.#pending.size > 0) {
      for (const [id, visits] of this.#pending) {
        this.#pending.delete(id);
        const facts = this.#source.facts(id);
        if (facts !== undefined) this.#drain(id, facts, visits);
        progress?.(this.structs);
      }
    }
    this.#counts();
  }

  /** Grows while it is read: pointers within the object come in here. */
  #drain(id: ObjectId, facts: ObjectFacts, visits: Visit[]): void {
    const there = this.#schemaOf(id, facts, 0);
    const moved = facts.image.u32(META.forwards) !== 0;
    for (let visit = visits.pop(); visit !== undefined; visit = visits.pop()) {
      // The layout of a struct is what the object says in which it lies: it may have been migrated, and what refers to it not.
      const type = there === undefined || visit.type === undefined ? visit.type : (this.#type(there, visit.type.struct.name) ?? visit.type);
      let { at } = visit;
      if (at === 0) at = facts.image.u32(META.root);
      else if (moved && type !== undefined) at = forwardedIn(facts.image, at, type.struct.name);
      if (!this.#arrives(id, facts, at, { ...visit, type }) || type === undefined || !this.#visit(id, facts, type).add(at)) continue;
      this.structs++;
      this.#struct(id, facts, at, type.struct, type, visits);
    }
  }

  /** What says which types an object has: its own schema, or that of the one whose collection goes on in it. */
  #schemaOf(id: ObjectId, { image }: ObjectFacts, depth: number): ObjectSchema | undefined {
    const at = image.u32(META.schema);
    const text = at === 0 ? undefined : image.textAt(at);
    if (text !== undefined) {
      const schema = this.#schema(text);
      return typeof schema === 'string' ? undefined : schema;
    }
    const owner = image.idAt(META.owner);
    if (!this.#source.ids.has(owner) || owner === id || depth > OWNERS_MAX) return undefined;
    if (!this.#homes.has(owner)) {
      this.#homes.set(owner, undefined);
      const home = this.#source.facts(owner);
      if (home !== undefined) this.#homes.set(owner, this.#schemaOf(owner, home, depth + 1));
    }
    return this.#homes.get(owner);
  }

  #visit(id: ObjectId, facts: ObjectFacts, type: TypeOf): Visited {
    const key = `${id} ${type.key}`;
    let visited = this.#visited.get(key);
    if (visited === undefined) {
      visited = new Visited(facts.image.size);
      this.#visited.set(key, visited);
    }
    return visited;
  }

  /** Does the pointer lead to live memory with room for its type? */
  #arrives(id: ObjectId, facts: ObjectFacts, at: number, { type, holder, from, name }: Visit): boolean {
    const { size } = facts.image;
    if (at < PAGE || at >= size) {
      this.#bad('PointerBounds', holder, from, `${name} leads to ${at} of ${id}`, `${PAGE} to ${size - 1}`);
      return false;
    }
    if (type !== undefined && at % type.align !== 0) {
      this.#bad(
        'PointerBounds',
        holder,
        from,
        `${name} leads to ${at} of ${id}, which is not aligned for ${type.struct.name}`,
        `a multiple of ${type.align}`,
      );
      return false;
    }
    const block = liveBlock(facts, at);
    if (block === undefined) {
      this.#bad('PointerFree', holder, from, `${name} leads to ${at} of ${id}, which is not allocated`, 'a live block');
      return false;
    }
    const room = block.at + block.size - at;
    if (type !== undefined && room < type.struct.size) {
      this.#bad(
        'PointerType',
        holder,
        from,
        `${name} leads to ${room} bytes at ${at} of ${id}`,
        `${type.struct.size} bytes for ${type.struct.name}`,
      );
      return false;
    }
    return true;
  }

  // --- one struct -----------------------------------------------------------------------------------------------------------

  #bad(name: FindingName, id: ObjectId, at: number, message: string, expected?: string): void {
    // Where the root lies has been judged with the header, and it is no pointer that could be cleared.
    if (at === META.root && name !== 'PointerType') return;
    this.#source.findings.add(name, message, { object: id, at, expected });
    if (name.startsWith('Pointer') && name !== 'PointerType') this.#source.findings.clearable(id, at);
  }

  #struct(id: ObjectId, facts: ObjectFacts, at: number, struct: StructShape, type: TypeOf, local: Visit[]): void {
    for (const field of struct.fields) this.#value(id, facts, at + field.offset, field.shape, type, local, field.label);
  }

  #value(id: ObjectId, facts: ObjectFacts, at: number, shape: Shape, type: TypeOf, local: Visit[], name: string): void {
    const { image } = facts;
    switch (shape.kind) {
      case 'number':
      case 'bigint':
        return;
      case 'bool':
        if ((image.bytes[at] ?? 0) > 1) this.#bad('ValueRange', id, at, `${name} holds ${image.bytes[at]}`, '0 or 1');
        return;
      case 'oneOf': {
        const value = shape.size === 1 ? (image.bytes[at] ?? 0) : image.u16(at);
        if (value >= shape.values.length) this.#bad('ValueRange', id, at, `${name} holds ${value}`, `0 to ${shape.values.length - 1}`);
        return;
      }
      case 'optional':
        if ((image.bytes[at] ?? 0) > 1) this.#bad('ValueRange', id, at, `the presence of ${name} is ${image.bytes[at]}`, '0 or 1');
        else if (image.bytes[at] === 1) this.#value(id, facts, at + shape.at, shape.of, type, local, name);
        return;
      case 'array':
        if (shape.of.kind === 'number' || shape.of.kind === 'bigint') return;
        for (let i = 0; i < shape.length; i++) this.#value(id, facts, at + i * shape.stride, shape.of, type, local, name);
        return;
      case 'struct': {
        const inner = type.schema.types.get(shape.type);
        if (inner !== undefined) this.#struct(id, facts, at, inner, type, local);
        return;
      }
      case 'collection':
        this.#collection(id, facts, at, shape, type, local, name);
        return;
      case 'text':
      case 'bytes':
        this.#block(id, facts, at, name);
        return;
      case 'link':
        this.#pointer(id, facts, at, 'link', local, name);
        return;
      case 'ref':
        this.#pointer(id, facts, at, this.#type(type.schema, shape.type), local, name);
    }
  }

  /** Walks through a collection, and into its values, wherever they lie. */
  #collection(id: ObjectId, facts: ObjectFacts, at: number, shape: CollectionShape, type: TypeOf, local: Visit[], name: string): void {
    const all = new Map<ObjectId, ObjectFacts>([[id, facts]]);
    const mends: Mending[] = [];
    let mendable = true;
    let found = 0;
    walkCollection({ image: facts.image, at }, shape, type.schema, {
      numbers: false,
      read: (member) => {
        const known = all.get(member) ?? this.#source.facts(member);
        if (known !== undefined) all.set(member, known);
        return known?.image;
      },
      block: (place) => {
        const holder = all.get(place.image.id);
        const block = holder === undefined ? undefined : liveBlock(holder, place.at);
        return block?.at === place.at ? block.size : undefined;
      },
      bad: (name, place, message, expected, mend) => {
        found++;
        if (mend === undefined) mendable = false;
        else mends.push(...mend);
        this.#bad(name, place.image.id, place.at, `${shape.type}: ${message}`, expected);
      },
      member: (place) => this.#pointer(id, facts, place.at, 'link', local, `${shape.type}: an object of it`),
      link: (place, name) => {
        const holder = all.get(place.image.id);
        if (holder === undefined) return;
        const inside: Visit[] = place.image.id === id ? local : [];
        this.#pointer(place.image.id, holder, place.at, this.#type(type.schema, name), inside, `${shape.type}: a key`);
        if (inside !== local) for (const visit of inside) this.#later(place.image.id, visit);
      },
      entry: (_key, value) => {
        const holder = value === undefined ? undefined : all.get(value.image.id);
        if (value === undefined || holder === undefined || value.shape.kind === 'text' || value.shape.kind === 'bytes') return true;
        const inside: Visit[] = value.image.id === id ? local : [];
        this.#value(value.image.id, holder, value.at, value.shape, type, inside, `${shape.type}: a value`);
        if (inside !== local) for (const visit of inside) this.#later(value.image.id, visit);
        return true;
      },
    });
    if (found === 0) return;
    this.damaged.push({ id, at, shape, schema: type.schema, name, mendable });
    if (mendable) for (const { place, value } of mends) this.#source.findings.derived(place.image.id, place.at, value);
  }

  #later(id: ObjectId, visit: Visit): void {
    const visits = this.#pending.get(id);
    if (visits === undefined) this.#pending.set(id, [visit]);
    else visits.push(visit);
  }

  /** Text and bytes: offset and length of a block of this object. */
  #block(id: ObjectId, facts: ObjectFacts, at: number, name: string): void {
    const offset = facts.image.u32(at);
    const length = facts.image.u32(at + 4);
    if (offset === 0 && length === 0) return;
    if (offset < PAGE || offset + length > facts.image.size) {
      this.#bad('PointerBounds', id, at, `${name} is ${length} bytes at ${offset}`, `inside the ${facts.image.size} bytes of the object`);
      return;
    }
    const block = liveBlock(facts, offset);
    if (block === undefined) this.#bad('PointerFree', id, at, `${name} is at ${offset}, which is not allocated`, 'a live block');
    else if (block.at !== offset || length > block.size)
      this.#bad('PointerBounds', id, at, `${name} is ${length} bytes at ${offset}`, `a block of ${block.size} bytes at ${block.at}`);
  }

  #pointer(id: ObjectId, facts: ObjectFacts, at: number, shape: TypeOf | 'link' | undefined, local: Visit[], name: string): void {
    const type = shape === 'link' ? undefined : shape;
    const { index, offset } = readPointer(facts.image, at);
    if (index === 0 && offset === 0) return;
    const first = this.#firstSight(id, facts, at);
    if (first) this.pointers++;
    if (index === 0) {
      // A link to its own object holds an offset only so as not to be null.
      if (shape !== 'link') local.push({ at: offset, type, holder: id, from: at, name });
      return;
    }
    const entry = index < facts.image.u32(META.fotCount) ? facts.image.fotEntry(index) : undefined;
    if (entry?.used !== true) {
      this.#bad('PointerFot', id, at, `${name} names entry ${index} of the FOT, which is not in use`, 'an entry in use');
      return;
    }
    if (first) this.#count(id, entry);
    if (entry.id === undefined) return;
    if (!this.#source.ids.has(entry.id)) {
      // Reported once for the entry; the pointer itself is only noted.
      this.#source.findings.clearable(id, at);
      return;
    }
    if (shape === 'link') return;
    if (type !== undefined && this.#visited.get(`${entry.id} ${type.key}`)?.has(offset) === true) return;
    const visit = { at: offset, type, holder: id, from: at, name };
    this.#later(entry.id, visit);
  }

  #firstSight(id: ObjectId, facts: ObjectFacts, at: number): boolean {
    let seen = this.#seen.get(id);
    if (seen === undefined) {
      seen = new Visited(facts.image.size);
      this.#seen.set(id, seen);
    }
    return seen.add(at);
  }

  // --- counts ---------------------------------------------------------------------------------------------------------------

  #count(id: ObjectId, entry: FotRecord): void {
    let counts = this.#through.get(id);
    if (counts === undefined) {
      counts = new Map();
      this.#through.set(id, counts);
    }
    const passed = counts.get(entry.index);
    if (passed === undefined) counts.set(entry.index, { found: 1, stored: entry.count, at: entry.at + FOT.count });
    else passed.found++;
  }

  /** An entry that counts too few pointers would be freed under those that are left. */
  #counts(): void {
    for (const [id, counts] of this.#through) {
      for (const [index, { found, stored, at }] of counts) {
        if (stored >= found || !this.#counted(id)) continue;
        this.#source.findings.add('FotCount', `entry ${index} counts ${stored} pointers; there are ${found}`, {
          object: id,
          at,
          expected: `at least ${found}`,
        });
        this.#source.findings.counted(id, index, found);
      }
    }
  }

  /** Objects whose counts are relied on. */
  #counted(id: ObjectId): boolean {
    const image = this.#source.facts(id)?.image;
    return image !== undefined && (image.u32(META.flags) & FLAG.raw) === 0 && image.u32(META.kind) !== KIND.immutable;
  }
}

/** Sets the pointers that were found to lead nowhere to null, and frees the entries that no pointer is left for. */
export function clearPointers(findings: Findings, image: SpaceImage, id: ObjectId, object: ObjectImage): string[] {
  const offsets = findings.toClear(id);
  const freed: number[] = [];
  for (const at of offsets) {
    if (at + 8 > object.size) continue;
    const { index } = readPointer(object, at);
    object.bytes.fill(0, at, at + 8);
    const entry = index === 0 ? undefined : object.fotEntry(index);
    if (entry?.used !== true) continue;
    object.dv.setUint32(entry.at + FOT.count, Math.max(0, entry.count - 1), true);
    const gone = entry.id !== undefined && !image.files.has(entry.id);
    if (gone && entry.count <= 1) {
      object.bytes.fill(0, entry.at, entry.at + FOT.entry);
      freed.push(index);
    }
  }
  const done: string[] = [];
  if (offsets.length > 0) done.push(`set references to null: ${offsets.length}`);
  if (freed.length > 0) done.push(`freed FOT entries: ${freed.length}`);
  return done;
}
