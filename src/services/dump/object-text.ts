/**
 * One object as lines of JSON and back, byte for byte.
 *
 *   {"object":ID,"type":"Person",…}             header, FOT
 *   {"at":4096,"is":"Person","value":{…}}       a struct; what it tells is not told again
 *   {"at":512,"hex":…} or "base64"              every other byte that is not zero
 *   {"end":ID,"sha256":…}
 *
 * Who writes the lines reads them back before they are handed out: an object whose values would not come out the same is written as bytes.
 */
import {
  FOT,
  FOT_FLAG,
  KIND,
  META,
  OBJECT_FORMAT,
  OBJECT_MAGIC,
  OBJECT_SIZE_MAX,
  OBJECT_SIZE_MIN,
  PAGE,
  TIES_MAX,
} from '../../abi/format.ts';
import { NULL_ID, writeId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { ObjectImage } from '../check/object-image.ts';
import { stamp } from '../check/rebuild.ts';
import { alignOf, parseSchema, type ObjectSchema } from '../check/schema.ts';
import { kindName } from '../show.ts';
import { Unreadable, ValueReader, ValueWriter, base64Of, fromBase64, fromHex, hexOf, idIn, isU32 } from './values.ts';

type Line = Record<string, unknown>;

/** Schema texts by number: each is written once. */
export class Schemas {
  readonly #numbers = new Map<string, number>();
  readonly #parsed = new Map<number, { readonly text: string; readonly schema: ObjectSchema | string }>();

  /** The number of a text, and whether it is new. */
  number(text: string): { number: number; fresh: boolean } {
    const known = this.#numbers.get(text);
    if (known !== undefined) return { number: known, fresh: false };
    const number = this.#numbers.size + 1;
    this.add(number, text);
    return { number, fresh: true };
  }

  add(number: number, text: string): void {
    this.#numbers.set(text, number);
    this.#parsed.set(number, { text, schema: parseSchema(text) });
  }

  get(number: number): { readonly text: string; readonly schema: ObjectSchema | string } | undefined {
    return this.#parsed.get(number);
  }
}

/** A run of bytes ends where so many zeros follow. */
const GAP = 16;
const HEX_MAX = 64;
const RUN_MAX = 24 << 10;
/** Structs that are read out of one object. */
const STRUCTS_MAX = 1 << 20;

// --- to lines -----------------------------------------------------------------------------------------------------------------

/** The lines of one object. New schema texts come first, as {"schema":N,"text":…}. */
export function* objectLines(host: Host, bytes: Uint8Array, schemas: Schemas): Generator<Line> {
  const image = new ObjectImage(bytes);
  const sha256 = hexOf(host.sha256(bytes));
  const { before, lines } = typedLines(image, schemas);
  yield* before;
  yield* comesBack(host, lines, schemas, sha256) ? lines : plainLines(image);
  yield { end: image.id, sha256 };
}

function comesBack(host: Host, lines: readonly Line[], schemas: Schemas, sha256: string): boolean {
  try {
    const [head, ...rest] = lines;
    const draft = new ObjectDraft(head ?? {}, schemas);
    for (const line of rest) draft.line(line);
    return hexOf(host.sha256(draft.finish())) === sha256;
  } catch (error) {
    if (error instanceof Unreadable) return false;
    throw error;
  }
}

function plainLines(image: ObjectImage): Line[] {
  return [{ object: image.id, size: image.bytes.length }, ...byteLines(image.bytes)];
}

function headLine(image: ObjectImage, rest: Uint8Array, schema: ObjectSchema | undefined, number: number | undefined): Line {
  const fot: [number, string, number][] = [];
  for (const { index, at, id, flags, count, next } of image.fotEntries()) {
    if (id === undefined || flags !== FOT_FLAG.used || next !== 0 || image.u32(at + FOT.resolver) !== 0) continue;
    fot.push([index, id, count]);
    rest.fill(0, at, at + FOT.entry);
  }
  const ties = image.ties;
  const key = image.idAt(META.key);
  // What the head tells; reserved bytes in between stay.
  rest.fill(0, 0, META.fotCount);
  rest.fill(0, META.tieCount, META.pageHint);
  rest.fill(0, META.ties, META.ties + ties.length * 16);
  return {
    object: image.id,
    ...(schema === undefined ? {} : { type: schema.root, schema: number, schemaAt: image.u32(META.schema) }),
    kind: kindName(image.u32(META.kind)),
    size: image.u32(META.size),
    version: image.u64(META.version),
    rights: image.u32(META.rights),
    ...(image.u32(META.flags) === 0 ? {} : { flags: image.u32(META.flags) }),
    nonce: image.idAt(META.nonce),
    ...(key === NULL_ID ? {} : { key }),
    ...(ties.length === 0 ? {} : { ties }),
    root: image.u32(META.root),
    fingerprint: hexOf(image.bytes.subarray(META.rootType, META.rootType + 8)),
    typeVersion: image.u32(META.typeVersion),
    ...(fot.length === 0 ? {} : { fot }),
  };
}

function typedLines(image: ObjectImage, schemas: Schemas): { before: Line[]; lines: Line[] } {
  const rest = image.bytes.slice();
  const before: Line[] = [];
  const at = image.u32(META.schema);
  const text = at === 0 ? undefined : image.textAt(at);
  const lines: Line[] = [];
  if (text === undefined) return { before, lines: [headLine(image, rest, undefined, undefined), ...untold(image, rest)] };
  const { number, fresh } = schemas.number(text);
  const schema = schemas.get(number)?.schema;
  if (fresh) before.push({ schema: number, text: asJson(text) });
  if (schema === undefined || typeof schema === 'string')
    return { before, lines: [headLine(image, rest, undefined, undefined), ...untold(image, rest)] };
  const head = headLine(image, rest, schema, number);
  rest.fill(0, at, at + 4 + new TextEncoder().encode(text).length);
  lines.push(head, ...structLines(image, schema, head, rest), ...byteLines(rest));
  return { before, lines };
}

/** Without a schema the head must not claim its offset. */
function untold(image: ObjectImage, rest: Uint8Array): Iterable<Line> {
  new DataView(rest.buffer).setUint32(META.schema, image.u32(META.schema), true);
  return byteLines(rest);
}

/** The JSON itself, if it comes out as the same text. */
function asJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return JSON.stringify(value) === text && typeof value !== 'string' ? value : text;
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** Structs from the root on that lie in this object, each once, in order of their offsets. */
function structLines(image: ObjectImage, schema: ObjectSchema, head: Line, rest: Uint8Array): Line[] {
  const writer = new ValueWriter(image, schema, entriesOf(head['fot']), rest);
  const found = new Map<string, Line & { at: number }>();
  writer.reached.push({ at: image.u32(META.root), type: schema.root });
  for (let next = writer.reached.pop(); next !== undefined; next = writer.reached.pop()) {
    const { at, type } = next;
    const struct = schema.types.get(type);
    const key = `${at} ${type}`;
    if (struct === undefined || found.has(key) || found.size >= STRUCTS_MAX) continue;
    if (at < PAGE || at + struct.size > image.size || at % alignOf(schema, { kind: 'struct', type, size: struct.size }) !== 0) continue;
    writer.blocks = [];
    const value = writer.struct(at, struct);
    found.set(key, { at, is: type, value, ...(writer.blocks.length === 0 ? {} : { blocks: writer.blocks }) });
  }
  return [...found.values()].sort((a, b) => a.at - b.at);
}

/** Where bytes are that are not zero. */
export function* runsOf(bytes: Uint8Array, most: number): Generator<{ readonly at: number; readonly run: Uint8Array }> {
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    let end = at + 1;
    for (let zeros = 0, i = end; i < bytes.length && zeros < GAP && i - at < most; i++) {
      zeros = bytes[i] === 0 ? zeros + 1 : 0;
      if (zeros === 0) end = i + 1;
    }
    yield { at, run: bytes.subarray(at, end) };
    at = end;
  }
}

function* byteLines(rest: Uint8Array): Generator<Line> {
  for (const { at, run } of runsOf(rest, RUN_MAX)) yield run.length <= HEX_MAX ? { at, hex: hexOf(run) } : { at, base64: base64Of(run) };
}

function entriesOf(fot: unknown): Map<string, number> {
  const entries = new Map<string, number>();
  for (const item of Array.isArray(fot) ? (fot as readonly unknown[]) : []) {
    const [index, id]: readonly unknown[] = Array.isArray(item) ? item : [];
    if (typeof index === 'number' && typeof id === 'string' && !entries.has(id)) entries.set(id, index);
  }
  return entries;
}

// --- from lines ---------------------------------------------------------------------------------------------------------------

const KINDS: Readonly<Record<string, number>> = KIND;

/** An object in the making. Every method throws Unreadable with what was expected. */
export class ObjectDraft {
  readonly id: ObjectId;
  readonly #image: ObjectImage;
  readonly #schema: ObjectSchema | undefined;
  readonly #values: ValueReader | undefined;
  readonly #stamped: boolean;

  constructor(head: Readonly<Line>, schemas: Schemas) {
    this.id = idIn(head['object'], 'object');
    const size = head['size'];
    if (!isU32(size) || size < OBJECT_SIZE_MIN || size > OBJECT_SIZE_MAX || size % PAGE !== 0)
      throw new Unreadable(`size: ${JSON.stringify(size)}; expected a multiple of ${PAGE} from ${OBJECT_SIZE_MIN} to ${OBJECT_SIZE_MAX}`);
    const image = new ObjectImage(new Uint8Array(size));
    this.#image = image;
    // With nothing but ID and size, all of it is in bytes.
    this.#stamped = 'kind' in head;
    const known = isU32(head['schema']) ? schemas.get(head['schema']) : undefined;
    if ('schema' in head && (known === undefined || typeof known.schema === 'string'))
      throw new Unreadable(`schema: ${JSON.stringify(head['schema'])}; expected the number of a schema further up`);
    this.#schema = typeof known?.schema === 'string' ? undefined : known?.schema;
    if (this.#stamped) this.#head(head, size, known?.text);
    this.#values = this.#schema === undefined ? undefined : new ValueReader(image.bytes, this.#schema, entriesOf(head['fot']));
  }

  #head(head: Readonly<Line>, size: number, schemaText: string | undefined): void {
    const { bytes, dv } = this.#image;
    const u32 = (name: string, otherwise?: number): number => {
      const value = head[name] ?? otherwise;
      if (!isU32(value)) throw new Unreadable(`${name}: ${JSON.stringify(value)}; expected a number`);
      return value;
    };
    const kind = typeof head['kind'] === 'string' ? KINDS[head['kind']] : undefined;
    if (kind === undefined) throw new Unreadable(`kind: ${JSON.stringify(head['kind'])}; expected one of ${Object.keys(KINDS).join(', ')}`);
    const version = head['version'];
    if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 0) throw new Unreadable('version: expected a number');
    dv.setUint32(META.magic, OBJECT_MAGIC, true);
    dv.setUint32(META.format, OBJECT_FORMAT, true);
    writeId(bytes, META.id, this.id);
    writeId(bytes, META.nonce, idIn(head['nonce'], 'nonce'));
    if (head['key'] !== undefined) writeId(bytes, META.key, idIn(head['key'], 'key'));
    dv.setUint32(META.rights, u32('rights'), true);
    dv.setUint32(META.kind, kind, true);
    dv.setUint32(META.size, size, true);
    dv.setUint32(META.flags, u32('flags', 0), true);
    dv.setBigUint64(META.version, BigInt(version), true);
    dv.setUint32(META.root, u32('root', 0), true);
    const fingerprint = fromHex(head['fingerprint'] ?? '');
    if (fingerprint.length > 8) throw new Unreadable('fingerprint: expected 8 bytes');
    bytes.set(fingerprint, META.rootType);
    dv.setUint32(META.typeVersion, u32('typeVersion', 0), true);
    this.#ties(head['ties'] ?? []);
    if (schemaText !== undefined) this.#schemaText(u32('schemaAt'), schemaText);
    this.#fot(head['fot'] ?? []);
  }

  #ties(ties: unknown): void {
    if (!Array.isArray(ties) || ties.length > TIES_MAX) throw new Unreadable(`ties: expected at most ${TIES_MAX} IDs`);
    this.#image.dv.setUint32(META.tieCount, ties.length, true);
    for (const [i, tie] of (ties as readonly unknown[]).entries()) writeId(this.#image.bytes, META.ties + i * 16, idIn(tie, 'ties'));
  }

  #schemaText(at: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#put(at + 4, bytes);
    this.#image.dv.setUint32(at, bytes.length, true);
    this.#image.dv.setUint32(META.schema, at, true);
  }

  /** Entries beyond the 15 of the metadata page lie in chunks, whose places are told in bytes: until then they wait. */
  readonly #entries: { readonly index: number; readonly id: ObjectId; readonly count: number }[] = [];

  #fot(fot: unknown): void {
    if (!Array.isArray(fot)) throw new Unreadable('fot: expected a list');
    for (const item of fot as readonly unknown[]) {
      const [index, id, count]: readonly unknown[] = Array.isArray(item) ? item : [];
      if (!isU32(index) || index === 0 || !isU32(count)) throw new Unreadable('fot: expected [index, ID, count]');
      this.#entries.push({ index, id: idIn(id, 'fot'), count });
    }
  }

  #put(at: number, bytes: Uint8Array): void {
    if (at + bytes.length > this.#image.bytes.length) throw new Unreadable(`${bytes.length} bytes at ${at} lie outside the object`);
    this.#image.bytes.set(bytes, at);
  }

  line(line: Readonly<Line>): void {
    const at = line['at'];
    if (!isU32(at)) throw new Unreadable('expected "at" or "end"');
    if ('hex' in line) this.#put(at, fromHex(line['hex']));
    else if ('base64' in line) this.#put(at, fromBase64(line['base64']));
    else {
      const type = typeof line['is'] === 'string' ? this.#schema?.types.get(line['is']) : undefined;
      if (type === undefined || this.#values === undefined)
        throw new Unreadable(`is: ${JSON.stringify(line['is'])}; expected a struct of the schema, or "hex" or "base64"`);
      const blocks = line['blocks'] ?? [];
      if (!Array.isArray(blocks)) throw new Unreadable('blocks: expected a list');
      this.#values.root(at, type, line['value'], blocks as readonly unknown[]);
    }
  }

  /** The whole object. */
  finish(): Uint8Array {
    const image = this.#image;
    for (const { index, id, count } of this.#entries) {
      const at = image.fotAt(index);
      if (at === 0) throw new Unreadable(`fot: entry ${index} lies in no chunk of the table`);
      writeId(image.bytes, at, id);
      image.dv.setUint32(at + FOT.flags, FOT_FLAG.used, true);
      image.dv.setUint32(at + FOT.count, count, true);
    }
    if (this.#stamped) stamp(image);
    return image.bytes;
  }
}
