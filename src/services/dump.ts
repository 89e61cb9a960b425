/**
 * Dump and load: a space, or some objects with what they reach, as one file and back, byte for byte, under the same IDs.
 * docs/formats/dump.md has both forms: lines of JSON, for people and for `diff`, and a binary one.
 */
import { isTwzError, TwzError } from '../abi/errors.ts';
import { META, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import type { Host } from '../host/host.ts';
import { open, type Space } from '../space.ts';
import { Findings } from './check/findings.ts';
import { ObjectImage } from './check/object-image.ts';
import { checkObject } from './check/object.ts';
import { WELL_KNOWN, wellKnownId } from './check/names.ts';
import { SpaceDraft } from './draft.ts';
import { BinaryReader, BinaryWriter, MAGIC, PIECE, type BinaryRecord } from './dump/binary.ts';
import { ObjectDraft, Schemas, objectLines, runsOf } from './dump/object-text.ts';
import { Unreadable, idIn, isU32 } from './dump/values.ts';
import { closure, withParts } from './reach.ts';
import { schemaOf } from './show.ts';

const FORMAT = 1;

export interface DumpOptions {
  readonly form?: 'text' | 'binary';
  /** These objects and all that they refer to; the whole space without it. */
  readonly from?: readonly ObjectId[];
  /** Only these objects and what their collections lie in, not what they refer to. */
  readonly only?: boolean;
  readonly progress?: (done: number, total: number) => void;
}

interface Name {
  readonly name: string;
  readonly kind: 'object' | 'namespace' | 'link';
  readonly id?: ObjectId;
  readonly to?: string;
  readonly owns?: boolean;
}

// --- dump ---------------------------------------------------------------------------------------------------------------------

/** The bytes of a dump, in pieces. The space must not be changed until it is done. */
export function* dumpSpace(space: Space, options: DumpOptions = {}): Generator<Uint8Array> {
  const { kernel } = space;
  const { host } = kernel;
  const whole = options.from === undefined;
  const wanted = options.from ?? space.ids();
  const reached = whole ? { ids: wanted } : options.only === true ? { ids: withParts(space, wanted) } : closure(space, wanted);
  const ids = [...reached.ids].filter((id) => !['volatile', 'shared'].includes(space.object(id).kind)).sort();
  const names = namesOf(space, whole ? undefined : new Set(ids));
  const head = {
    twizzler: 'dump',
    format: FORMAT,
    space: readId(kernel.spaceId, 0),
    whole,
    segmentSize: kernel.log.segmentSize,
    objects: ids.length,
    names: names.length,
  };
  const writer = options.form === 'binary' ? new BinaryForm() : new TextForm(host);
  yield* writer.head(head);
  for (const name of names) yield* writer.name(name);
  for (const [i, id] of ids.entries()) {
    yield* writer.object(space.object(id).image());
    options.progress?.(i + 1, ids.length);
  }
  yield* writer.end({ end: 'dump', objects: ids.length, names: names.length });
}

const encoder = new TextEncoder();

class TextForm {
  readonly #host: Host;
  readonly #schemas = new Schemas();

  constructor(host: Host) {
    this.#host = host;
  }

  #line(value: unknown): Uint8Array {
    return encoder.encode(`${JSON.stringify(value)}\n`);
  }

  *head(head: unknown): Generator<Uint8Array> {
    yield this.#line(head);
  }

  *name(name: Name): Generator<Uint8Array> {
    yield this.#line(name);
  }

  *object(bytes: Uint8Array): Generator<Uint8Array> {
    for (const line of objectLines(this.#host, bytes, this.#schemas)) yield this.#line(line);
  }

  *end(end: unknown): Generator<Uint8Array> {
    yield this.#line(end);
  }
}

class BinaryForm {
  readonly #writer = new BinaryWriter();

  *head(head: unknown): Generator<Uint8Array> {
    yield MAGIC;
    yield this.#writer.json('head', head);
  }

  *name(name: Name): Generator<Uint8Array> {
    yield this.#writer.json('name', name);
  }

  *object(bytes: Uint8Array): Generator<Uint8Array> {
    yield this.#writer.json('object', { object: readId(bytes, META.id), size: bytes.length });
    for (const { at, run } of runsOf(bytes, PIECE)) yield this.#writer.data(at, run);
  }

  *end(end: unknown): Generator<Uint8Array> {
    yield this.#writer.json('end', end);
  }
}

/** Names, those above before those below; of all objects, or of some with the namespaces on the way. */
export function namesOf(space: Space, of?: ReadonlySet<ObjectId>): Name[] {
  const found: Name[] = [];
  const seen = new Set<ObjectId>();
  const walk = (path: string): boolean => {
    let any = false;
    for (const { name, kind, id, target, owns } of space.names.list(path === '' ? '/' : path)) {
      const full = `${path}/${name}`;
      const entry: Name = {
        name: full,
        kind,
        ...(id === undefined ? {} : { id }),
        ...(target === undefined ? {} : { to: target }),
        ...(owns ? { owns } : {}),
      };
      if (kind === 'namespace' && id !== undefined) {
        const at = found.length;
        const inside = !seen.has(id) && space.has(id) && (seen.add(id), walk(full));
        if (of === undefined || inside) {
          found.splice(at, 0, entry);
          any = true;
        }
      } else if (of === undefined || (id !== undefined && of.has(id))) {
        found.push(entry);
        any = true;
      }
    }
    return any;
  };
  walk('');
  return found;
}

// --- reading a dump -----------------------------------------------------------------------------------------------------------

interface Head {
  readonly space: ObjectId;
  readonly whole: boolean;
  readonly segmentSize: number;
}

/** What a dump holds, as it is read. */
interface Taker {
  head(head: Head): void;
  name(name: Name): void;
  object(id: ObjectId, bytes: Uint8Array): void;
}

/** Reads either form as it comes in. Throws DumpInvalid with the line, or the number of the record. */
class DumpReader {
  readonly #host: Host;
  readonly #taker: Taker;
  #form: 'text' | 'binary' | undefined;
  #start: Uint8Array = new Uint8Array(0);
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #text = '';
  readonly #binary = new BinaryReader();
  readonly #schemas = new Schemas();
  /** The line or record that is being read. */
  #at = 0;
  #begun = false;
  #ended = false;
  #objects = 0;
  #names = 0;
  #draft: ObjectDraft | undefined;
  #image: { readonly id: ObjectId; readonly bytes: Uint8Array } | undefined;
  readonly #seen = new Set<ObjectId>();

  constructor(host: Host, taker: Taker) {
    this.#host = host;
    this.#taker = taker;
  }

  #invalid(reason: string, cause?: unknown): TwzError {
    const what = this.#form === 'binary' ? 'record' : 'line';
    return new TwzError('DumpInvalid', `${what} ${this.#at}: ${reason}`, { [what]: this.#at }, cause);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof Unreadable || error instanceof SyntaxError || (error instanceof TypeError && 'code' in error))
        throw this.#invalid(error.message, error);
      throw error;
    }
  }

  feed(chunk: Uint8Array): void {
    if (this.#form === undefined) {
      const start = new Uint8Array(this.#start.length + chunk.length);
      start.set(this.#start);
      start.set(chunk, this.#start.length);
      this.#start = start;
      if (start.length < MAGIC.length) return;
      this.#form = MAGIC.every((byte, i) => start[i] === byte) ? 'binary' : 'text';
      chunk = this.#form === 'binary' ? start.subarray(MAGIC.length) : start;
    }
    this.#guarded(() => {
      if (this.#form === 'binary') {
        this.#at++;
        for (const record of this.#binary.feed(chunk)) {
          this.#record(record);
          this.#at++;
        }
        this.#at--;
      } else this.#lines(chunk);
    });
  }

  #lines(chunk: Uint8Array): void {
    const text = this.#text + this.#decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      this.#at++;
      const line = text.slice(from, end).trim();
      from = end + 1;
      if (line !== '') this.#line(line);
    }
    this.#text = text.slice(from);
  }

  /** All of it was fed. Throws DumpInvalid where the end is missing. */
  end(): void {
    this.#guarded(() => {
      if (this.#form === undefined) {
        this.#form = 'text';
        this.#lines(this.#start);
      }
      if (this.#form !== 'binary' && this.#text.trim() !== '') {
        this.#at++;
        this.#line(this.#text);
      }
      if (!this.#begun) throw new Unreadable('this is no dump');
      if (!this.#ended || !this.#binary.whole) throw new Unreadable('the dump ends before its end');
    });
  }

  // --- what is said -----------------------------------------------------------------------------------------------------------

  #head(value: Readonly<Record<string, unknown>>): void {
    if (value['twizzler'] !== 'dump') throw new Unreadable('this is no dump');
    if (value['format'] !== FORMAT) throw new Unreadable(`format ${JSON.stringify(value['format'])}; this build reads ${FORMAT}`);
    const { segmentSize, whole } = value;
    if (!isU32(segmentSize) || segmentSize < 65536 || segmentSize % PAGE !== 0 || segmentSize > 2 ** 31)
      throw new Unreadable('segmentSize: expected a multiple of 4096 from 65536 up');
    this.#begun = true;
    this.#taker.head({ space: idIn(value['space'], 'space'), segmentSize, whole: whole === true });
  }

  #name(value: Readonly<Record<string, unknown>>): void {
    const { name, kind, id, to, owns } = value;
    if (typeof name !== 'string' || !name.startsWith('/')) throw new Unreadable('name: expected a path');
    if (kind !== 'object' && kind !== 'namespace' && kind !== 'link') throw new Unreadable('kind: expected object, namespace or link');
    if (kind === 'link' && typeof to !== 'string') throw new Unreadable('to: expected a path');
    this.#names++;
    this.#taker.name({
      name,
      kind,
      ...(kind === 'link' ? {} : { id: idIn(id, 'id') }),
      ...(typeof to === 'string' ? { to } : {}),
      ...(owns === true ? { owns } : {}),
    });
  }

  #finished(value: Readonly<Record<string, unknown>>): void {
    if (value['objects'] !== this.#objects || value['names'] !== this.#names)
      throw new Unreadable(
        `${this.#objects} objects and ${this.#names} names came; ${JSON.stringify(value['objects'])} and ${JSON.stringify(value['names'])} were sent`,
      );
    this.#ended = true;
  }

  #object(id: ObjectId, bytes: Uint8Array): void {
    if (this.#seen.has(id)) throw new Unreadable(`object ${id} comes twice`);
    this.#seen.add(id);
    const findings = new Findings();
    if (!checkObject(this.#host, id, bytes, findings, { stamped: true }).usable)
      throw new Unreadable(`object ${id}: ${findings.list[0]?.message ?? 'it cannot be used'}`);
    this.#objects++;
    this.#taker.object(id, bytes);
  }

  #line(line: string): void {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Unreadable('expected {…}');
    const value = parsed as Readonly<Record<string, unknown>>;
    if (!this.#begun) this.#head(value);
    else if (this.#ended) throw new Unreadable('something follows the end');
    else if (this.#draft !== undefined) this.#inside(this.#draft, value);
    else if ('schema' in value && 'text' in value) {
      if (!isU32(value['schema'])) throw new Unreadable('schema: expected a number');
      this.#schemas.add(value['schema'], typeof value['text'] === 'string' ? value['text'] : JSON.stringify(value['text']));
    } else if ('name' in value) this.#name(value);
    else if ('object' in value) this.#draft = new ObjectDraft(value, this.#schemas);
    else if (value['end'] === 'dump') this.#finished(value);
    else throw new Unreadable('expected a name, a schema, an object or the end');
  }

  #inside(draft: ObjectDraft, value: Readonly<Record<string, unknown>>): void {
    if (!('end' in value)) {
      draft.line(value);
      return;
    }
    if (value['end'] !== draft.id) throw new Unreadable(`expected the end of object ${draft.id}`);
    const bytes = draft.finish();
    const sha256 = Array.from(this.#host.sha256(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
    // Who changes values by hand takes the sum out.
    if (value['sha256'] !== undefined && value['sha256'] !== sha256)
      throw new Unreadable(`object ${draft.id} has the SHA-256 ${sha256}; expected ${JSON.stringify(value['sha256'])}`);
    this.#draft = undefined;
    this.#object(draft.id, bytes);
  }

  #record({ type, payload }: BinaryRecord): void {
    if (type === 'data') {
      const image = this.#image;
      const at = payload.length < 4 ? Infinity : new DataView(payload.buffer).getUint32(0, true);
      if (image === undefined || at + payload.length - 4 > image.bytes.length) throw new Unreadable('data that belong to no object');
      image.bytes.set(payload.subarray(4), at);
      return;
    }
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    const value = (typeof parsed === 'object' && parsed !== null ? parsed : {}) as Readonly<Record<string, unknown>>;
    if (!this.#begun && type !== 'head') throw new Unreadable('expected the head');
    if (this.#image !== undefined) this.#object(this.#image.id, this.#image.bytes);
    this.#image = undefined;
    if (type === 'head') this.#head(value);
    else if (type === 'name') this.#name(value);
    else if (type === 'end') this.#finished(value);
    else {
      const size = value['size'];
      if (!isU32(size) || size > 2 ** 30 || size % PAGE !== 0) throw new Unreadable('size: expected a multiple of 4096');
      this.#image = { id: idIn(value['object'], 'object'), bytes: new Uint8Array(size) };
    }
  }
}

// --- load ---------------------------------------------------------------------------------------------------------------------

export interface LoadReport {
  readonly space: ObjectId;
  readonly objects: number;
  readonly bytes: number;
  readonly names: number;
  /** Objects that were there already, the same. */
  readonly same: number;
}

export interface LoadOptions {
  readonly progress?: (done: number) => void;
}

type Source = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Makes a space of the dump of a whole one, whole or not at all. Throws NotEmpty, DumpInvalid. */
export async function loadNew(host: Host, directory: string, source: Source, options: LoadOptions = {}): Promise<LoadReport> {
  const made: { draft?: SpaceDraft; head?: Head } = {};
  const partial: Loaded = { objects: new Map(), names: [] };
  let objects = 0;
  let names = 0;
  let bytes = 0;
  const reader = new DumpReader(host, {
    head: (head) => {
      made.head = head;
      if (head.whole) made.draft = new SpaceDraft(host, directory, { ...head, lsn: 0 });
    },
    name: (name) => {
      names++;
      partial.names.push(name);
    },
    object: (id, image) => {
      objects++;
      bytes += image.length;
      if (made.draft === undefined) partial.objects.set(id, image);
      else made.draft.object(id, image);
      options.progress?.(objects);
    },
  });
  try {
    for await (const chunk of source) reader.feed(chunk);
    reader.end();
    if (made.draft !== undefined) {
      made.draft.finish();
      return { space: made.head?.space ?? idIn('', 'space'), objects, bytes, names, same: 0 };
    }
  } catch (error) {
    made.draft?.discard();
    throw error;
  }
  const space = open(directory, { host });
  try {
    return enter(space, partial);
  } finally {
    space.close();
  }
}

interface Loaded {
  readonly objects: Map<ObjectId, Uint8Array>;
  readonly names: Name[];
}

/**
 * Brings a dump into a space, in one transaction: all of it, or nothing. Objects that are there already must be the same. Names that are
 * taken by something else are refused. The space's own objects stay its own: names are made anew.
 */
export async function loadInto(space: Space, source: Source, options: LoadOptions = {}): Promise<LoadReport> {
  const loaded: Loaded = { objects: new Map(), names: [] };
  const own = new Set<ObjectId>();
  const { host } = space.kernel;
  const reader = new DumpReader(host, {
    head: (head) => {
      for (const n of Object.values(WELL_KNOWN)) own.add(wellKnownId(host, head.space, n));
    },
    name: (name) => loaded.names.push(name),
    object: (id, bytes) => {
      if (!own.has(id)) loaded.objects.set(id, bytes);
      options.progress?.(loaded.objects.size);
    },
  });
  for await (const chunk of source) reader.feed(chunk);
  reader.end();
  return enter(space, loaded);
}

/** Equal but for the version and the checksum that goes with it. */
export function sameContent(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  const stamped = (at: number): boolean => (at >= META.version && at < META.version + 8) || (at >= META.checksum && at < META.checksum + 4);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i] && !stamped(i)) return false;
  return true;
}

/** Enters objects and names into a space. */
export function enter(space: Space, { objects, names }: Loaded): LoadReport {
  const namespaces = new Set(names.filter(({ kind }) => kind === 'namespace').map(({ id }) => id));
  return space.relaxed(() => {
    let same = 0;
    let bytes = 0;
    let entered = 0;
    for (const [id, image] of objects) {
      // A namespace is made by its name, unless something else refers to it, too.
      if (namespaces.has(id) && isNamespace(image)) continue;
      entered++;
      bytes += image.length;
      if (!space.has(id)) space.import(image);
      else if (sameContent(space.object(id).image(), image)) same++;
      else throw new TwzError('ObjectExists', `object ${id} is in the space already, with another content`, { id });
    }
    let named = 0;
    for (const name of names) if (giveName(space, name)) named++;
    return { space: readId(space.kernel.spaceId, 0), objects: entered, bytes, names: named, same };
  });
}

function isNamespace(bytes: Uint8Array): boolean {
  const schema = schemaOf(new ObjectImage(bytes));
  return typeof schema !== 'string' && schema.root === 'Namespace';
}

/** False where the name is there already, for the same. */
function giveName(space: Space, { name, kind, id, to, owns = false }: Name): boolean {
  let there: ReturnType<typeof space.names.list>[number] | undefined;
  const cut = name.lastIndexOf('/');
  try {
    there = space.names.list(name.slice(0, cut) || '/').find((entry) => entry.name === name.slice(cut + 1));
  } catch (error) {
    if (!isTwzError(error, 'NameMissing')) throw error;
  }
  if (there !== undefined) {
    if (there.kind === kind && (kind === 'namespace' || (kind === 'link' ? there.target === to : there.id === id))) return false;
    throw new TwzError('NameExists', `"${name}" is taken by something else`, { path: name });
  }
  if (kind === 'namespace') space.names.mkns(name);
  else if (kind === 'link') space.names.link(name, to ?? '/', { relative: true });
  else if (id !== undefined && space.has(id)) space.names.set(name, id, { owns });
  else return false;
  return true;
}
