/** Every typed value that can be reached from the root within an object and the collections that it has, by the way that leads to it. */
import { META, PAGE } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { countOf, walkCollection, type CollectionShape, type Found, type GraphPart, type Key } from '../check/collection-image.ts';
import { decoded } from '../check/graph-image.ts';
import type { ObjectImage } from '../check/object-image.ts';
import type { ObjectSchema, Shape, StructShape } from '../check/schema.ts';
import { ValueWriter, base64Of, hexOf } from '../dump/values.ts';
import { schemaOf } from '../show.ts';

/** Entries of one collection that are kept one by one; of the others a sum is compared. */
const ENTRIES_MAX = 1 << 20;
/** Texts, and code units of a long text, that are compared as they are. */
const TEXT_MAX = 256;

interface Place {
  readonly image: ObjectImage;
  readonly at: number;
}

/** `name`, `friend.age`, `people["Ann"].age`, `words[3]`, each with its value: JSON as in a dump. */
export function fieldsOf(host: Host, image: ObjectImage, read: (id: ObjectId) => ObjectImage | undefined): ReadonlyMap<string, string> {
  const schema = schemaOf(image);
  const root = image.u32(META.root);
  if (typeof schema === 'string' || root === 0) return new Map();
  return new FieldReader(host, schema, read).run(image, root);
}

class FieldReader {
  readonly #host: Host;
  readonly #schema: ObjectSchema;
  readonly #read: (id: ObjectId) => ObjectImage | undefined;
  readonly #writers = new Map<ObjectImage, ValueWriter>();
  readonly #values = new Map<string, string>();
  /** Where structs that references lead to were met first. */
  readonly #paths = new Map<string, string>();
  readonly #todo: { readonly place: Place; readonly type: StructShape; readonly path: string }[] = [];

  constructor(host: Host, schema: ObjectSchema, read: (id: ObjectId) => ObjectImage | undefined) {
    this.#host = host;
    this.#schema = schema;
    this.#read = read;
  }

  run(image: ObjectImage, root: number): ReadonlyMap<string, string> {
    this.#reach({ image, at: root }, this.#schema.root, '', '(root)');
    for (let next = this.#todo.pop(); next !== undefined; next = this.#todo.pop()) this.#struct(next.place, next.type, next.path);
    return this.#values;
  }

  #reach(place: Place, type: string, path: string, name = path): void {
    const { image, at } = place;
    const struct = this.#schema.types.get(type);
    const key = `${image.id} ${at} ${type}`;
    if (name !== '(root)') this.#set(path, `→ ${this.#paths.get(key) ?? path}`);
    if (this.#paths.has(key)) return;
    this.#paths.set(key, name);
    if (struct !== undefined && at >= PAGE && at + struct.size <= image.size) this.#todo.push({ place, type: struct, path });
  }

  #set(path: string, value: string): void {
    this.#values.set(path, value);
  }

  #writer(image: ObjectImage): ValueWriter {
    let writer = this.#writers.get(image);
    if (writer === undefined) {
      const entries = new Map<string, number>();
      for (const { id, index } of image.fotEntries()) if (id !== undefined && !entries.has(id)) entries.set(id, index);
      writer = new ValueWriter(image, this.#schema, entries, new Uint8Array(image.bytes.length));
      this.#writers.set(image, writer);
    }
    return writer;
  }

  #struct({ image, at }: Place, type: StructShape, path: string): void {
    for (const { name, offset, shape } of type.fields)
      this.#value({ image, at: at + offset }, shape, path === '' ? name : `${path}.${name}`);
  }

  #value(place: Place, shape: Shape, path: string): void {
    const { image, at } = place;
    switch (shape.kind) {
      case 'struct': {
        const struct = this.#schema.types.get(shape.type);
        if (struct !== undefined) this.#struct(place, struct, path);
        return;
      }
      case 'optional':
        if (image.bytes[at] === 1) this.#value({ image, at: at + shape.at }, shape.of, path);
        else if (image.bytes[at] !== 0) this.#set(path, JSON.stringify({ $hex: hexOf(image.bytes.subarray(at, at + 1)) }));
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#value({ image, at: at + i * shape.stride }, shape.of, `${path}[${i}]`);
        return;
      case 'collection':
        this.#collection(place, shape, path);
        return;
      default:
        this.#leaf(place, shape, path);
    }
  }

  #leaf({ image, at }: Place, shape: Shape, path: string): void {
    const writer = this.#writer(image);
    writer.reached.length = 0;
    writer.blocks = [];
    const value = writer.value(at, shape);
    const [next] = writer.reached;
    const block = typeof value === 'object' && value !== null ? Reflect.get(value, '$block') : undefined;
    if (next !== undefined) this.#reach({ image, at: next.at }, next.type, path);
    else if (Array.isArray(block)) {
      const [offset, length] = block as readonly number[];
      this.#set(path, this.#sum(image.bytes.slice(offset, (offset ?? 0) + (length ?? 0)), 'bytes'));
    } else this.#set(path, JSON.stringify(value));
  }

  #sum(bytes: Uint8Array, what: string, count = bytes.length): string {
    return `${count} ${what}, SHA-256 ${hexOf(this.#host.sha256(bytes)).slice(0, 16)}…`;
  }

  // --- collections --------------------------------------------------------------------------------------------------------------

  #collection(place: Place, shape: CollectionShape, path: string): void {
    if (shape.collection === 'Blob' || shape.collection === 'TextDocument') {
      this.#pieces(place, shape, path);
      return;
    }
    let part: GraphPart | undefined;
    let seen = 0;
    const rest = new Rest(this.#host);
    const known = walkCollection(place, shape, this.#schema, {
      read: this.#read,
      bad: () => undefined,
      part: (next) => {
        part = next;
        return true;
      },
      entry: (key, value, position) => {
        const step = key === undefined ? String(position) : keyText(key);
        const where = `${path}${part === undefined ? '' : `.${part}`}[${step}]`;
        if (++seen <= ENTRIES_MAX) this.#entry(value, where);
        else rest.add(where, value);
        return true;
      },
    });
    if (!known) this.#set(path, `${countOf(place, shape)} entries, not known to this tool`);
    if (seen > ENTRIES_MAX) this.#set(`${path}[…]`, `${seen - ENTRIES_MAX} more, sum ${rest.sum}`);
  }

  #entry(value: Found | undefined, path: string): void {
    if (value === undefined) this.#set(path, 'true');
    else if (value.shape.kind !== 'text' && value.shape.kind !== 'bytes') this.#value(value, value.shape, path);
    else {
      const bytes = value.image.bytes.slice(value.at, value.at + value.length);
      if (bytes.length > TEXT_MAX) this.#set(path, this.#sum(bytes, 'bytes'));
      else
        this.#set(
          path,
          JSON.stringify(
            value.shape.kind === 'text' ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) : { $bytes: base64Of(bytes) },
          ),
        );
    }
  }

  #pieces(place: Place, shape: CollectionShape, path: string): void {
    const sums: Uint8Array[] = [];
    let count = 0;
    let start = '';
    const encoder = new TextEncoder();
    // Of pieces of one size each, wherever the chunks and leaves begin.
    let open: number[] = [];
    const seal = (): void => {
      sums.push(this.#host.sha256(Uint8Array.from(open)));
      open = [];
    };
    walkCollection(place, shape, this.#schema, {
      read: this.#read,
      bad: () => undefined,
      entry: () => true,
      piece: (piece) => {
        count += piece.length;
        if (typeof piece === 'string' && start.length <= TEXT_MAX) start += piece;
        for (const byte of typeof piece === 'string' ? encoder.encode(piece) : piece) if (open.push(byte) === 65536) seal();
        return true;
      },
    });
    seal();
    const all = new Uint8Array(sums.length * 32);
    for (const [i, sum] of sums.entries()) all.set(sum, i * 32);
    const isText = shape.collection === 'TextDocument';
    this.#set(path, isText && count <= TEXT_MAX ? JSON.stringify(start) : this.#sum(all, isText ? 'code units' : 'bytes', count));
  }
}

/** A sum of entries in which their order does not matter: hash maps have their own. */
class Rest {
  readonly #host: Host;
  readonly #sum = new Uint8Array(32);

  constructor(host: Host) {
    this.#host = host;
  }

  add(path: string, value: Found | undefined): void {
    const bytes = value === undefined ? new Uint8Array(0) : value.image.bytes.subarray(value.at, value.at + value.length);
    const name = new TextEncoder().encode(`${path}=`);
    const all = new Uint8Array(name.length + bytes.length);
    all.set(name);
    all.set(bytes, name.length);
    for (const [i, byte] of this.#host.sha256(all).entries()) this.#sum[i] = (this.#sum[i] ?? 0) ^ byte;
  }

  get sum(): string {
    return `${hexOf(this.#sum).slice(0, 16)}…`;
  }
}

function keyText(key: Key): string {
  const value = decoded(key);
  return (
    JSON.stringify(value, (_name, part: unknown) =>
      typeof part === 'bigint' ? part.toString() : part instanceof Uint8Array ? { $bytes: base64Of(part) } : part,
    ) ?? 'corrupt'
  );
}
