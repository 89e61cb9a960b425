/** A basket of items in the formats that it may arrive in: how it is written, read to one leaf, and read to all of them. */
import type { Absent } from './harness.ts';
import { generator } from './harness.ts';
import { isAbsent, load } from './peers.ts';

export interface Item {
  readonly id: number;
  readonly quantity: number;
  readonly price: number;
  readonly weight: number;
  readonly name: string;
}

export interface Basket {
  readonly title: string;
  readonly items: readonly Item[];
}

const SYLLABLES = ['ka', 'lo', 'mi', 'ra', 'ten', 'sol', 'vu', 'dre'];

export function basketOf(count: number): Basket {
  const random = generator(29);
  const name = (): string => Array.from({ length: 5 }, () => SYLLABLES[random(SYLLABLES.length)]).join('');
  const items = Array.from({ length: count }, (_, id) => ({
    id,
    quantity: random(1000),
    price: random(1_000_000) / 100,
    weight: random(1_000_000) / 1000,
    name: name(),
  }));
  return { title: `a basket of ${count}`, items };
}

/** What a reader must find. */
export function leafOf({ items }: Basket): number {
  return items[items.length - 1]?.price ?? 0;
}

export function sumOf({ items }: Basket): number {
  let sum = 0;
  for (const { id, quantity, price, weight, name } of items) sum += id + quantity + price + weight + name.length;
  return sum;
}

export interface Format {
  readonly name: string;
  readonly note?: string;
  write(basket: Basket): Uint8Array;
  /** The price of the last item. */
  leaf(bytes: Uint8Array): number;
  /** The sum of all numbers, and of the lengths of the names. */
  all(bytes: Uint8Array): number;
}

/** A format that makes the whole value before any of it can be read. */
function parsed(name: string, write: Format['write'], read: (bytes: Uint8Array) => Basket): Format {
  return { name, write, leaf: (bytes) => leafOf(read(bytes)), all: (bytes) => sumOf(read(bytes)) };
}

const json: Format = parsed(
  'JSON',
  (basket) => Buffer.from(JSON.stringify(basket)),
  ({ buffer, byteOffset, length }) => JSON.parse(Buffer.from(buffer, byteOffset, length).toString('utf8')) as Basket,
);

// --- msgpackr ---

interface Packr {
  pack(value: unknown): Uint8Array;
  unpack(bytes: Uint8Array): Basket;
}

interface Msgpackr {
  readonly Packr: new (options: { readonly useRecords: boolean }) => Packr;
}

function msgpackr(): Format | Absent {
  const library = load<Msgpackr>('msgpackr');
  if (isAbsent(library)) return library;
  const [writer, reader] = [new library.Packr({ useRecords: true }), new library.Packr({ useRecords: true })];
  return parsed(
    'msgpackr, records',
    (basket) => writer.pack(basket).slice(),
    (bytes) => reader.unpack(bytes),
  );
}

// --- Protocol Buffers ---

interface Protobuf {
  create(schema: object, init: object): object;
  toBinary(schema: object, message: object): Uint8Array;
  fromBinary(schema: object, bytes: Uint8Array): object;
  createFileRegistry(file: object, resolve: () => undefined): { getMessage(name: string): object | undefined };
}

interface ProtobufSchemas {
  readonly FileDescriptorProtoSchema: object;
}

/** Types of fields in a descriptor. */
const [DOUBLE, STRING, MESSAGE, UINT32] = [1, 9, 11, 13];
const [OPTIONAL, REPEATED] = [1, 3];

/** The descriptor that `protoc` would have made of `message Item { uint32 id = 1; … } message Basket { string title = 1; repeated Item items = 2; }`. */
function protobufEs(): Format | Absent {
  const [library, schemas] = [load<Protobuf>('@bufbuild/protobuf'), load<ProtobufSchemas>('@bufbuild/protobuf/wkt')];
  if (isAbsent(library)) return library;
  if (isAbsent(schemas)) return schemas;
  const field = (name: string, number: number, type = UINT32, label = OPTIONAL, typeName = '') => ({ name, number, type, label, typeName });
  const file = library.create(schemas.FileDescriptorProtoSchema, {
    name: 'basket.proto',
    syntax: 'proto3',
    messageType: [
      {
        name: 'Item',
        field: [field('id', 1), field('quantity', 2), field('price', 3, DOUBLE), field('weight', 4, DOUBLE), field('name', 5, STRING)],
      },
      { name: 'Basket', field: [field('title', 1, STRING), field('items', 2, MESSAGE, REPEATED, '.Item')] },
    ],
  });
  const schema = library.createFileRegistry(file, () => undefined).getMessage('Basket');
  if (schema === undefined) throw new Error('the registry does not know what it was given');
  return parsed(
    'protobuf-es',
    (basket) => library.toBinary(schema, library.create(schema, basket)),
    (bytes) => library.fromBinary(schema, bytes) as Basket,
  );
}

// --- FlatBuffers ---

interface FlatBuffer {
  readInt32(at: number): number;
  readUint32(at: number): number;
  readFloat64(at: number): number;
  position(): number;
  __offset(table: number, vtable: number): number;
  __indirect(at: number): number;
  __vector(at: number): number;
  __vector_len(at: number): number;
  __string(at: number): string;
}

interface FlatBuilder {
  createString(text: string): number;
  startObject(fields: number): void;
  addFieldInt32(field: number, value: number, otherwise: number): void;
  addFieldFloat64(field: number, value: number, otherwise: number): void;
  addFieldOffset(field: number, value: number, otherwise: number): void;
  endObject(): number;
  startVector(size: number, count: number, alignment: number): void;
  addOffset(offset: number): void;
  endVector(): number;
  finish(root: number): void;
  asUint8Array(): Uint8Array;
}

interface Flatbuffers {
  readonly Builder: new (size: number) => FlatBuilder;
  readonly ByteBuffer: new (bytes: Uint8Array) => FlatBuffer;
}

function writeFlat(b: FlatBuilder, { title, items }: Basket): Uint8Array {
  const offsets = items.map(({ id, quantity, price, weight, name }) => {
    const text = b.createString(name);
    b.startObject(5);
    b.addFieldFloat64(3, weight, 0);
    b.addFieldFloat64(2, price, 0);
    b.addFieldOffset(4, text, 0);
    b.addFieldInt32(1, quantity, 0);
    b.addFieldInt32(0, id, 0);
    return b.endObject();
  });
  b.startVector(4, offsets.length, 4);
  for (const offset of offsets.toReversed()) b.addOffset(offset);
  const vector = b.endVector();
  const head = b.createString(title);
  b.startObject(2);
  b.addFieldOffset(1, vector, 0);
  b.addFieldOffset(0, head, 0);
  b.finish(b.endObject());
  return b.asUint8Array();
}

/** As `flatc` writes a table's class for TypeScript. */
class FlatItem {
  bb: FlatBuffer;
  at = 0;
  constructor(bb: FlatBuffer) {
    this.bb = bb;
  }
  get id(): number {
    const offset = this.bb.__offset(this.at, 4);
    return offset === 0 ? 0 : this.bb.readUint32(this.at + offset);
  }
  get quantity(): number {
    const offset = this.bb.__offset(this.at, 6);
    return offset === 0 ? 0 : this.bb.readUint32(this.at + offset);
  }
  get price(): number {
    const offset = this.bb.__offset(this.at, 8);
    return offset === 0 ? 0 : this.bb.readFloat64(this.at + offset);
  }
  get weight(): number {
    const offset = this.bb.__offset(this.at, 10);
    return offset === 0 ? 0 : this.bb.readFloat64(this.at + offset);
  }
  get name(): string {
    const offset = this.bb.__offset(this.at, 12);
    return offset === 0 ? '' : this.bb.__string(this.at + offset);
  }
}

class FlatBasket {
  readonly bb: FlatBuffer;
  readonly at: number;
  constructor(bb: FlatBuffer) {
    this.bb = bb;
    this.at = bb.readInt32(bb.position()) + bb.position();
  }
  get length(): number {
    const offset = this.bb.__offset(this.at, 6);
    return offset === 0 ? 0 : this.bb.__vector_len(this.at + offset);
  }
  item(index: number, into: FlatItem): FlatItem {
    const offset = this.bb.__offset(this.at, 6);
    into.at = this.bb.__indirect(this.bb.__vector(this.at + offset) + index * 4);
    return into;
  }
}

function flatBuffers(): Format | Absent {
  const library = load<Flatbuffers>('flatbuffers');
  if (isAbsent(library)) return library;
  return {
    name: 'FlatBuffers',
    note: 'FlatBuffers: read where it arrived, with one item object for all items, and nothing is checked; its verifier is not in the library for TypeScript',
    write: (basket) => writeFlat(new library.Builder(1024), basket),
    leaf(bytes) {
      const bb = new library.ByteBuffer(bytes);
      const basket = new FlatBasket(bb);
      return basket.item(basket.length - 1, new FlatItem(bb)).price;
    },
    all(bytes) {
      const bb = new library.ByteBuffer(bytes);
      const basket = new FlatBasket(bb);
      const item = new FlatItem(bb);
      let sum = 0;
      for (let i = 0, { length } = basket; i < length; i++) {
        basket.item(i, item);
        sum += item.id + item.quantity + item.price + item.weight + item.name.length;
      }
      return sum;
    },
  };
}

export function formats(): (Format | Absent)[] {
  return [json, msgpackr(), protobufEs(), flatBuffers()];
}
