/**
 * Collections as the checker sees them: plain bytes, read by the layouts that stand at the head of lib/collections/hash-map.ts,
 * red-black-nodes.ts and ordered-search.ts; sequences, texts, graphs and indexed maps in files of their own here. Nothing trusts a value
 * that it has not bounded, and no walk goes on for ever.
 */
import { FOT_FLAG, META, PAGE } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { ObjectId } from '../../abi/id.ts';
import { keyCodec, type KeyCodec, type KeyType } from '../../lib/collections/keys.ts';
import { KeyPlace } from '../../lib/collections/reference-keys.ts';
import { u32 } from '../../lib/fields.ts';
import { keyTypeOf } from '../key-types.ts';
import type { FindingName } from './findings.ts';
import { readPointer, type ObjectImage } from './object-image.ts';
import { walkGraph } from './graph-image.ts';
import { walkIndexed } from './indexed-image.ts';
import { alignOf, type ObjectSchema, type Shape } from './schema.ts';
import { walkBlob, walkList, walkRing, walkVec } from './sequence-image.ts';
import { walkText } from './text-image.ts';

export type CollectionShape = Extract<Shape, { kind: 'collection' }>;

/** A place in one of the objects of a collection. */
export interface Placed {
  readonly image: ObjectImage;
  readonly at: number;
}

/** A value that was found: an element, or what a key leads to. */
export interface Found extends Placed {
  /** Of text and bytes without the length in front of them. */
  readonly length: number;
  readonly shape: Shape;
}

/** A word, and what it has to be. */
export interface Mending {
  readonly place: Placed;
  readonly value: number;
}

/** What is asked of who looks. */
export interface CollectionReader {
  read(id: ObjectId): ObjectImage | undefined;
  /** Bytes of the live block that begins at a place; undefined where none does. Not asked: anything inside the object. */
  block?(place: Placed): number | undefined;
  /** Something is wrong at a place. `mend`: words that would put it right, if nothing else is wrong with the collection. */
  bad(name: FindingName, place: Placed, message: string, expected?: string, mend?: readonly Mending[]): void;
  /** A pointer to another object of the collection. */
  member?(place: Placed): void;
  /** A pointer that goes with a key: to a `type`. */
  link?(place: Placed, type: string): void;
  /**
   * An entry; false ends the walk. `key` is undefined in a sequence, `value` in a set. `position` counts from 0; in a queue or log it is the number
   * of the element.
   */
  entry(key: Key | undefined, value: Found | undefined, position: number): boolean;
  /** Content of a blob or a long text, in order; false ends the walk. */
  piece?(piece: Uint8Array | string): boolean;
  /** Of a graph, what comes now; false leaves it out. */
  part?(part: GraphPart): boolean;
  /** False: elements that are plain numbers need not be shown one by one. */
  readonly numbers?: boolean;
}

export type GraphPart = 'nodes' | 'edges';

/** `walkCollection`, for collections that are made of others. */
export type WalkCollection = (home: Placed, shape: CollectionShape, schema: ObjectSchema, reader: CollectionReader) => boolean;

/** Where a key lies, and how it is read. */
export interface Key extends Placed {
  readonly length: number;
  readonly decode: () => unknown;
  /** The bytes that count, a string of characters for each: compared like the keys. */
  readonly bytes: string;
}

interface Stored {
  readonly key: Key;
  readonly value: Found | undefined;
  readonly size: number;
}

class Ended extends Error {}

const DEPTH_MAX = 64;
const MEMBERS_MAX = 1023;

/** Walks through one collection whose header lies at `home`. False where this kind is not known. */
export function walkCollection(home: Placed, shape: CollectionShape, schema: ObjectSchema, reader: CollectionReader): boolean {
  if (shape.collection === 'Graph') return walkGraph(home, shape, schema, reader, walkCollection);
  if (shape.collection === 'IndexedMap') return walkIndexed(home, shape, schema, reader, walkCollection);
  const kind = Object.hasOwn(KINDS, shape.collection) ? KINDS[shape.collection] : undefined;
  if (kind === undefined || shape.size < kind.pool + 24) return false;
  let codec: KeyCodec<unknown> | undefined;
  if (kind.keyed === true) {
    try {
      codec = keyCodec(keyTypeOf(shape.key ?? '') as KeyType<unknown>);
    } catch {
      return false;
    }
  }
  if (kind.elements === true && shape.value === undefined) return false;
  const image = new CollectionImage(home, shape, schema, codec, reader, kind.pool);
  try {
    image.finish(kind.walk(image), kind);
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
  }
  return true;
}

/** How many entries the header says there are; of a text code units, of a blob bytes, of a graph nodes. */
export function countOf({ image, at }: Placed, { collection }: CollectionShape): number {
  if (collection === 'Vec' || collection === 'Blob') return image.u64(at);
  if (collection === 'Queue' || collection === 'Log') return Math.max(0, image.u64(at + 8) - image.u64(at));
  return image.u32(at);
}

/** For collections without keys: nobody asks. */
const NO_KEYS = keyCodec(u32 as KeyType<unknown>);

export class CollectionImage {
  readonly home: Placed;
  readonly schema: ObjectSchema;
  readonly codec: KeyCodec<unknown>;
  readonly reader: CollectionReader;
  /** Of values and elements. */
  readonly shape: Shape | undefined;
  /** Bytes of a value where all have as many, else 0. */
  readonly valueSize: number;
  readonly valueAlign: number;
  readonly #varValue: boolean;
  readonly #pool: number;
  readonly #members = new Map<number, ObjectImage | undefined>();
  readonly #reached = new Set<number>();
  readonly #blocks = new Map<number, number>();
  entries = 0;
  /** Something does not agree with the rest: counts of blocks that do not agree either are no mistake then, but a second witness. */
  doubtful = false;

  constructor(
    home: Placed,
    shape: CollectionShape,
    schema: ObjectSchema,
    codec: KeyCodec<unknown> | undefined,
    reader: CollectionReader,
    pool: number,
  ) {
    this.home = home;
    this.schema = schema;
    this.codec = codec ?? NO_KEYS;
    this.reader = reader;
    this.#pool = pool;
    const { value } = shape;
    this.shape = value;
    this.#varValue = value?.kind === 'text' || value?.kind === 'bytes';
    this.valueSize = value === undefined || this.#varValue ? 0 : Math.ceil(value.size / 4) * 4;
    this.valueAlign = value === undefined ? 1 : alignOf(schema, value);
  }

  bad(name: FindingName, place: Placed, message: string, expected?: string, mend?: readonly Mending[]): void {
    this.reader.bad(name, place, message, expected, mend);
  }

  /** A word that should be another one, as all the rest says. */
  wrong(name: FindingName, image: ObjectImage, at: number, value: number, message: string): void {
    const place = { image, at };
    this.doubtful = true;
    this.bad(name, place, message, String(value), [{ place, value }]);
  }

  header(offset: number): number {
    return this.home.image.u32(this.home.at + offset);
  }

  /** A number of two words. */
  wide(offset: number): number {
    return this.home.image.u64(this.home.at + offset);
  }

  /** Bytes from a place to the end of its block, as far as that is known. */
  room(place: Placed): number {
    return this.reader.block?.(place) ?? place.image.size - place.at;
  }

  /** The object of a pool's index. */
  #member(index: number): ObjectImage | undefined {
    if (index === 0) return this.home.image;
    if (this.#members.has(index)) return this.#members.get(index);
    const table = this.header(this.#pool);
    const at = table + index * 16;
    const { image } = this.home;
    let found: ObjectImage | undefined;
    if (index <= Math.min(this.header(this.#pool + 4), MEMBERS_MAX) && table >= PAGE && at + 16 <= image.size) {
      const entry = image.u32(at + 4) >>> 8;
      const id = entry === 0 ? undefined : image.fotEntry(entry)?.id;
      found = id === undefined ? undefined : this.reader.read(id);
    }
    this.#members.set(index, found);
    return found;
  }

  /** The block of an address: live, long enough, reached once. A string says why there is none. */
  #find(address: number, size: number): Placed | string {
    const image = address === 0 ? undefined : this.#member(address >>> 22);
    const at = (address & 0x3fffff) << 4;
    if (image === undefined || at < PAGE || at + size > image.size)
      return `lies at address ${address.toString(16)}, outside the collection's objects`;
    const place = { image, at };
    const live = this.reader.block === undefined ? size : this.reader.block(place);
    if (live === undefined) return `at ${at} of ${image.id} is no live block`;
    if (live < size) return `at ${at} of ${image.id} is ${live} bytes, not ${size}`;
    if (this.#reached.has(address)) return `at ${at} of ${image.id} is reached a second time`;
    this.#reached.add(address);
    this.#blocks.set(address >>> 22, (this.#blocks.get(address >>> 22) ?? 0) + 1);
    return place;
  }

  /** The same for who knows another way where there is none. */
  tryBlock(address: number, size: number): Placed | undefined {
    const found = this.#find(address, size);
    return typeof found === 'string' ? undefined : found;
  }

  /** Undefined, and a finding, where there is none. */
  block(address: number, size: number, from: Placed, what: string, name: FindingName): Placed | undefined {
    const found = this.#find(address, size);
    if (typeof found !== 'string') return found;
    this.bad(name, from, `${what} ${found}`, `a block of ${size} bytes`);
    return undefined;
  }

  key({ image, at }: Placed, length: number): Key {
    const { codec } = this;
    const handle: ObjectHandle = Object.assign(Object.create(null), { id: image.id, dv: image.dv, u8: image.bytes });
    const compared = codec.compared === undefined ? length : codec.compared(handle, at, length);
    let bytes = '';
    for (let i = 0; i < compared; i++) bytes += String.fromCharCode(image.bytes[at + i] ?? 0);
    return { image, at, length, bytes, decode: () => this.#places(codec.decode(handle, at, length, 0)) };
  }

  /** The record of an address (records.ts). */
  record(address: number, from: Placed): Stored | undefined {
    const { codec, valueSize } = this;
    const lengths = valueSize + (codec.size === 0 ? 4 : 0) + (this.#varValue ? 4 : 0);
    const least = codec.links === 0 ? lengths : Math.ceil(lengths / 8) * 8 + codec.links * 8;
    const place = this.block(address, Math.max(16, least), from, 'a record', 'CollectionRecord');
    if (place === undefined) return undefined;
    const { image, at } = place;
    const keyLength = codec.size === 0 ? image.u32(at + valueSize) : codec.size;
    const valueLength = this.#varValue ? image.u32(at + lengths - 4) : 0;
    const room = this.room(place);
    const size = least + Math.ceil(keyLength / 4) * 4 + valueLength;
    if (size > room) {
      this.bad(
        'CollectionRecord',
        place,
        `a record has a key of ${keyLength} bytes and a value of ${valueLength}`,
        `at most ${room} bytes`,
      );
      return undefined;
    }
    const key = this.key({ image, at: at + least }, keyLength);
    if (codec.links > 0) this.#links(key, { image, at: at + least - codec.links * 8 });
    const { shape } = this;
    if (shape === undefined) return { key, value: undefined, size };
    const value = this.#varValue
      ? { image, at: at + least + Math.ceil(keyLength / 4) * 4, length: valueLength, shape }
      : { image, at, length: valueSize, shape };
    return { key, value, size };
  }

  /** In keys, an object that is not named is the one that the collection lies in. */
  #places(key: unknown): unknown {
    if (Array.isArray(key)) return key.map((part) => this.#places(part));
    if (!(key instanceof KeyPlace)) return key;
    return key.id !== undefined || key.at === 0 ? key : new KeyPlace(key.type, this.home.image.id, key.at);
  }

  /** The pointers of a record's key, from `place` on: they lead to the objects that the key names. */
  #links(key: Key, { image, at }: Placed): void {
    let place = at;
    const visit = (part: unknown): void => {
      if (Array.isArray(part)) part.forEach(visit);
      if (!(part instanceof KeyPlace)) return;
      const { index, offset } = readPointer(image, place);
      const from = { image, at: place };
      place += 8;
      // A repair may have cleared it.
      if (index === 0 && offset === 0) return;
      const target = index === 0 ? image.id : image.fotEntry(index)?.id;
      const moved = (): boolean => target !== undefined && this.reader.read(target)?.u32(META.forwards) !== 0;
      if (target !== undefined && (target !== part.id || (offset !== part.at && !moved())))
        this.bad(
          'CollectionRecord',
          from,
          `the pointer of a key leads to ${offset} of ${target}`,
          `${part.at} of ${part.id ?? 'nothing'}, as the key says`,
        );
      this.reader.link?.(from, part.type);
    };
    visit(key.decode());
  }

  entry(key: Key | undefined, value: Found | undefined, position = this.entries): void {
    this.entries++;
    if (!this.reader.entry(key, value, position)) throw new Ended();
  }

  piece(piece: Uint8Array | string): void {
    this.entries += piece.length;
    if (this.reader.piece?.(piece) === false) throw new Ended();
  }

  /** Is something there that no way leads to, or the reverse? The number of blocks is a second witness to that of the entries. */
  get #poolAgrees(): boolean {
    const { image } = this.home;
    if (this.header(this.#pool + 12) !== (this.#blocks.get(0) ?? 0)) return false;
    const table = this.header(this.#pool);
    for (let index = 1; index <= Math.min(this.header(this.#pool + 4), MEMBERS_MAX); index++)
      if (image.u32(table + index * 16 + 4) !== 0 && image.u32(table + index * 16 + 8) !== (this.#blocks.get(index) ?? 0)) return false;
    return true;
  }

  /** Counts: of entries, as the header has it, and of blocks in each object. */
  finish(counted: number, kind: Kind): void {
    const { home } = this;
    if (counted !== this.entries) {
      this.doubtful = true;
      const mend = kind.counts === true && this.#poolAgrees ? [{ place: home, value: this.entries }] : undefined;
      this.bad('CollectionCount', home, `the collection counts ${counted} entries; there are ${this.entries}`, String(this.entries), mend);
    }
    const bad = (at: number, seen: number, message: string): void => {
      const place = { image: home.image, at };
      this.bad('CollectionPool', place, message, String(seen), this.doubtful ? undefined : [{ place, value: seen }]);
    };
    const pool = this.#pool;
    const count = this.header(pool + 4);
    if (count > MEMBERS_MAX) this.bad('CollectionPool', home, `the collection has ${count} objects`, `at most ${MEMBERS_MAX}`);
    const atHome = this.header(pool + 12);
    const seen = this.#blocks.get(0) ?? 0;
    if (atHome !== seen) bad(home.at + pool + 12, seen, `the collection counts ${atHome} blocks at home; ${seen} were reached`);
    const table = this.header(pool);
    for (let index = 1; index <= Math.min(count, MEMBERS_MAX); index++) {
      const at = table + index * 16;
      if (table < PAGE || at + 16 > home.image.size) {
        this.bad('CollectionPool', home, `the table of the collection's objects lies at ${table}`, 'inside the object');
        return;
      }
      const place = { image: home.image, at };
      if (home.image.u32(at + 4) === 0) continue;
      this.reader.member?.(place);
      if (this.#member(index) === undefined) {
        this.bad('CollectionPool', place, `object ${index} of the collection is not there`, 'an object of the space');
        continue;
      }
      if (((home.image.fotEntry(home.image.u32(at + 4) >>> 8)?.flags ?? 0) & FOT_FLAG.part) === 0)
        this.bad(
          'CollectionPool',
          place,
          `object ${index} of the collection is referred to as any other`,
          'an entry of the FOT with the flag 8',
        );
      const blocks = home.image.u32(at + 8);
      const found = this.#blocks.get(index) ?? 0;
      if (blocks !== found) bad(at + 8, found, `object ${index} counts ${blocks} blocks of the collection; ${found} were reached`);
    }
  }
}

// --- hash maps --------------------------------------------------------------------------------------------------------------

/** As Records.hash, over the bytes that count. */
function hashOf(key: Key, seed: number, collated: boolean): number {
  const { length } = key.bytes;
  const byte = (i: number): number => (i < length ? key.bytes.charCodeAt(i) : 0);
  let x = seed ^ length;
  const whole = collated ? length >>> 2 : (length + 3) >>> 2;
  for (let i = 0; i < whole * 4; i += 4) {
    x = Math.imul(x ^ (byte(i) | (byte(i + 1) << 8) | (byte(i + 2) << 16) | (byte(i + 3) << 24)), 0x9e3779b1);
    x ^= x >>> 15;
  }
  if (collated) for (let i = whole * 4; i < length; i++) x = Math.imul(x ^ byte(i), 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function walkHash(it: CollectionImage): number {
  walkDirectory(it);
  return it.header(0);
}

function walkDirectory(it: CollectionImage): void {
  const depth = it.header(8);
  const directory = it.header(12);
  if (depth > 24) {
    it.bad('CollectionTable', it.home, `the directory of the hash map has a depth of ${depth}`, 'at most 24');
    return;
  }
  if (directory === 0) return;
  if (depth === 0) {
    walkTable(it, directory, it.home, 0, 0);
    return;
  }
  const place = it.block(directory, 4 * 2 ** depth, it.home, 'the directory of the hash map', 'CollectionTable');
  if (place === undefined) return;
  for (let i = 0; i < 2 ** depth;) {
    const address = place.image.u32(place.at + i * 4);
    let same = 1;
    while (i + same < 2 ** depth && place.image.u32(place.at + (i + same) * 4) === address) same++;
    const local = depth - Math.log2(same);
    const from = { image: place.image, at: place.at + i * 4 };
    if (!Number.isInteger(local) || i % same !== 0)
      it.bad('CollectionTable', from, `${same} entries of the directory from ${i} on lead to one table`, 'a power of two, aligned');
    else walkTable(it, address, from, local, local === 0 ? 0 : i >>> (depth - local));
    i += same;
  }
}

/** A table that is for all hashes with these `local` upper bits. */
function walkTable(it: CollectionImage, address: number, from: Placed, local: number, bits: number): void {
  const head = it.block(address, 16, from, 'a table of the hash map', 'CollectionTable');
  if (head === undefined) return;
  const { image, at } = head;
  const mask = image.u32(at);
  const slots = mask + 1;
  const room = it.room(head);
  if ((slots & mask) !== 0 || slots < 8 || slots > 8192 || 16 + slots * 8 > room) {
    it.bad('CollectionTable', head, `a table has the mask ${mask}`, 'one less than a power of two, with room for as many slots');
    return;
  }
  if (image.u32(at + 8) !== local)
    it.bad('CollectionTable', head, `a table is for ${image.u32(at + 8)} bits of the hash; the directory says ${local}`, String(local));
  let used = 0;
  const taken = (p: number): boolean => image.u32(at + 16 + p * 8 + 4) !== 0;
  for (let p = 0; p < slots; p++) {
    const slot = { image, at: at + 16 + p * 8 };
    const record = image.u32(slot.at + 4);
    if (record === 0) continue;
    used++;
    const found = it.record(record, slot);
    if (found === undefined) continue;
    const stored = image.u32(slot.at);
    const hash = hashOf(found.key, it.header(4) | 0, it.codec.compared !== undefined);
    if (stored !== hash)
      it.bad('CollectionSlot', slot, `a slot holds the hash ${stored.toString(16)} for a key with ${hash.toString(16)}`, hash.toString(16));
    else {
      if (local > 0 && hash >>> (32 - local) !== bits) it.bad('CollectionSlot', slot, 'a slot lies in a table for other hashes');
      for (let q = hash & mask; q !== p; q = (q + 1) & mask)
        if (!taken(q)) {
          it.bad('CollectionSlot', slot, `slot ${p} is not found from ${hash & mask} on: slot ${q} is free`);
          break;
        }
    }
    it.entry(found.key, found.value);
  }
  if (image.u32(at + 4) !== used)
    it.wrong('CollectionTable', image, at + 4, used, `a table counts ${image.u32(at + 4)} slots in use; there are ${used}`);
}

// --- in the order of keys -----------------------------------------------------------------------------------------------------

/** Notes an entry and that its key comes behind the one before. */
function ordered(it: CollectionImage): (key: Key, value: Stored['value'], from: Placed) => void {
  let last: string | undefined;
  return (key, value, from) => {
    if (last !== undefined && !(last < key.bytes)) it.bad('CollectionOrder', from, 'a key does not come behind the one before it');
    last = key.bytes;
    it.entry(key, value);
  };
}

const headOf = (key: Key, skip: number): number => headOfBytes(key.bytes, skip);

function headOfBytes(bytes: string, skip: number): number {
  let head = 0;
  for (let i = skip; i < skip + 4; i++) head = (head << 8) | (i < bytes.length ? bytes.charCodeAt(i) : 0);
  return head >>> 0;
}

function walkRedBlack(it: CollectionImage): number {
  const inline = it.codec.exact && it.valueSize > 0;
  const valueAt = inline && it.valueAlign > 4 ? 16 : 12;
  const size = inline ? valueAt + it.valueSize : 16;
  const next = ordered(it);
  /** The number of black nodes on each way down, or -1 where something was wrong already. */
  const below = (address: number, from: Placed, parentRed: boolean, depth: number): number => {
    if (address === 0) return 0;
    if (depth > DEPTH_MAX) {
      it.bad('CollectionNode', from, `a red-black tree is deeper than ${DEPTH_MAX} nodes`);
      return -1;
    }
    const node = it.block(address, size, from, 'a node', 'CollectionNode');
    if (node === undefined) return -1;
    const { image, at } = node;
    const right = image.u32(at + 8);
    const red = right > 0x7fffffff;
    if (red && parentRed) it.bad('CollectionBalance', node, 'a red node hangs under a red one or is the root', 'a black one');
    const a = below(image.u32(at + 4), { image, at: at + 4 }, red, depth + 1);
    if (inline) next(it.key(node, 4), it.shape && { image, at: at + valueAt, length: it.valueSize, shape: it.shape }, node);
    else {
      const link = { image, at: at + 12 };
      const record = it.record(image.u32(at + 12), link);
      if (record !== undefined) {
        const head = image.dv.getUint32(at, false);
        if (head !== headOf(record.key, 0)) it.bad('CollectionNode', node, `a node has the head ${head} for another key`);
        next(record.key, record.value, node);
      }
    }
    const b = below(right & 0x7fffffff, { image, at: at + 8 }, red, depth + 1);
    if (a < 0 || b < 0) return -1;
    if (a !== b) it.bad('CollectionBalance', node, `under a node ${a} black nodes lie on one side and ${b} on the other`, 'as many');
    return a + (red ? 0 : 1);
  };
  below(it.header(4), it.home, true, 0);
  return it.header(0);
}

const LEAF = { size: 512, most: 62, heads: 16, records: 16 + 62 * 4 } as const;
const INNER = { size: 1024, most: 83, separators: 16 + 83 * 4, children: 16 + 83 * 8 } as const;

function walkOrdered(it: CollectionImage): number {
  walkLevels(it);
  return it.header(0);
}

function walkLevels(it: CollectionImage): void {
  const levels = it.header(8);
  if (levels === 0) return;
  if (levels > 12) {
    it.bad('CollectionNode', it.home, `an ordered map has ${levels} levels`, 'at most 12');
    return;
  }
  const next = ordered(it);
  let before = 0;
  let link: Placed = { image: it.home.image, at: it.home.at + 12 };
  const leaf = (address: number, node: Placed, count: number, low: string | undefined, high: string | undefined): void => {
    const { image, at } = node;
    if (link.image.u32(link.at) !== address)
      it.wrong('CollectionNode', link.image, link.at, address, before === 0 ? NO_FIRST : 'a leaf does not lead on to the next one');
    if (image.u32(at + 8) !== before) it.wrong('CollectionNode', image, at + 8, before, 'a leaf does not lead back to the one before it');
    before = address;
    link = { image, at: at + 12 };
    for (let i = 0; i < count; i++) {
      const slot = { image, at: at + LEAF.records + i * 4 };
      const record = it.record(image.u32(slot.at), slot);
      if (record === undefined) continue;
      const { bytes } = record.key;
      if (image.u32(at + LEAF.heads + i * 4) !== headOf(record.key, image.u32(at + 4)))
        it.bad('CollectionNode', { image, at: at + LEAF.heads + i * 4 }, 'a leaf has the head of another key');
      if ((low !== undefined && bytes < low) || (high !== undefined && bytes >= high))
        it.bad('CollectionOrder', slot, 'a key lies in a leaf where it is not looked for');
      next(record.key, record.value, slot);
    }
  };
  const down = (address: number, from: Placed, level: number, low: string | undefined, high: string | undefined): void => {
    const node = it.block(address, level === 0 ? LEAF.size : INNER.size, from, 'a node', 'CollectionNode');
    if (node === undefined) return;
    const { image, at } = node;
    const count = image.u16(at);
    if (count > (level === 0 ? LEAF.most : INNER.most) || image.u16(at + 2) !== level) {
      it.bad('CollectionNode', node, `a node of level ${level} says that it has ${count} entries on level ${image.u16(at + 2)}`);
      return;
    }
    if (level === 0) {
      leaf(address, node, count, low, high);
      return;
    }
    let left = low;
    for (let i = 0; i <= count; i++) {
      const right = i === count ? high : separator(it, node, i);
      const child = { image, at: at + INNER.children + i * 4 };
      down(image.u32(child.at), child, level - 1, left, right);
      left = right;
    }
  };
  down(it.header(4), it.home, levels - 1, undefined, undefined);
  if (link.at !== it.home.at + 12 && link.image.u32(link.at) !== 0)
    it.wrong('CollectionNode', link.image, link.at, 0, 'the last leaf leads on to another one');
  if (it.header(20) !== before)
    it.wrong('CollectionNode', it.home.image, it.home.at + 20, before, 'an ordered map does not say where its last leaf is');
}

const NO_FIRST = 'an ordered map does not say where its first leaf is';

/** The bytes of separator `i` of an inner node: no key in front of it has as many. Undefined where it cannot be read. */
function separator(it: CollectionImage, { image, at }: Placed, i: number): string | undefined {
  const head = image.u32(at + 16 + i * 4);
  if (it.codec.exact) return String.fromCharCode(head >>> 24, (head >>> 16) & 255, (head >>> 8) & 255, head & 255);
  const slot = { image, at: at + INNER.separators + i * 4 };
  const block = it.block(image.u32(slot.at), 16, slot, 'a separator', 'CollectionNode');
  if (block === undefined) return undefined;
  const length = block.image.u32(block.at);
  if (length > it.room(block) - 4) {
    it.bad('CollectionNode', block, `a separator says that it has ${length} bytes`, `at most ${it.room(block) - 4}`);
    return undefined;
  }
  const { bytes } = it.key({ image: block.image, at: block.at + 4 }, length);
  if (head !== headOfBytes(bytes, image.u32(at + 4))) it.bad('CollectionNode', slot, 'an inner node has the head of another separator');
  return bytes;
}

interface Kind {
  /** Where the pool's header lies in that of the collection. */
  readonly pool: number;
  readonly keyed?: boolean;
  readonly elements?: boolean;
  /** The header's first word is the count, and follows from what is there. */
  readonly counts?: boolean;
  /** Returns what the header counts. */
  readonly walk: (it: CollectionImage) => number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  HashMap: { pool: 24, keyed: true, counts: true, walk: walkHash },
  HashSet: { pool: 24, keyed: true, counts: true, walk: walkHash },
  RedBlackTree: { pool: 24, keyed: true, counts: true, walk: walkRedBlack },
  OrderedMap: { pool: 24, keyed: true, counts: true, walk: walkOrdered },
  Vec: { pool: 24, elements: true, walk: walkVec },
  Blob: { pool: 24, walk: walkBlob },
  List: { pool: 16, elements: true, counts: true, walk: walkList },
  Queue: { pool: 40, elements: true, walk: walkRing },
  Log: { pool: 40, elements: true, walk: (it) => walkRing(it, true) },
  TextDocument: { pool: 24, counts: true, walk: walkText },
};
