/**
 * Salvage of collections: in a space that was saved, what follows from all the rest of a collection is put right, as by repair. Of one that
 * is damaged further, all entries that can be read are copied to a new collection with a name of its own; the damaged one stays where it is,
 * because references may lead to its elements.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { valueCodec } from '../../lib/collections/records.ts';
import { KeyPlace } from '../../lib/collections/reference-keys.ts';
import { accessorAt } from '../../lib/struct.ts';
import { open, type Space } from '../../space.ts';
import { Checker } from '../check.ts';
import { typesFrom, type DynamicCollection, type DynamicTypes } from '../dynamic.ts';
import { forwarded } from '../evolution/forwards.ts';
import { countOf, walkCollection, type CollectionReader, type Found, type GraphPart } from './collection-image.ts';
import { readWhole } from './control.ts';
import { decoded } from './graph-image.ts';
import { objectPath } from './image.ts';
import { ObjectImage } from './object-image.ts';
import { liveBlock } from './object.ts';
import { stamp } from './rebuild.ts';
import type { Shape } from './schema.ts';
import type { DamagedCollection } from './typed.ts';

export interface SavedCollection {
  readonly id: ObjectId;
  /** The field that the damaged one is. */
  readonly name: string;
  /** Entries that were saved; bytes of a blob, code units of a long text, nodes of a graph. */
  readonly entries: number;
  /** As many as it says that it has. */
  readonly counted: number;
  /** Where they are; undefined where nothing could be read. */
  readonly path: string | undefined;
}

const SHELF = '/lost/collections';

export function saveCollections(host: Host, directory: string, mended: (id: ObjectId, what: string) => void): SavedCollection[] {
  const checker = new Checker(host, directory).run();
  for (const [id, words] of checker.findings.toDerive()) {
    setWords(host, `${directory}/${objectPath(id)}`, words);
    mended(id, `words of collections that follow from the rest of them: ${words.size}`);
  }
  const damaged = checker.damaged.filter(({ mendable }) => !mendable);
  if (damaged.length === 0) return [];
  const space = open(directory, { host });
  try {
    return damaged.map((each) => new Saving(space, checker, each).run());
  } finally {
    space.close();
  }
}

function setWords(host: Host, file: string, words: ReadonlyMap<number, number>): void {
  const bytes = readWhole(host, file);
  if (bytes === undefined) return;
  const image = new ObjectImage(bytes);
  for (const [at, value] of words) image.dv.setUint32(at, value, true);
  stamp(image);
  const draft = `${file}.draft`;
  host.remove(draft);
  const handle = host.open(draft, 'create');
  try {
    host.write(handle, bytes, 0);
    host.sync(handle);
  } finally {
    host.close(handle);
  }
  host.rename(draft, file);
}

/** What collections are filled by, each by one of these. */
interface Fillable {
  set?(key: unknown, value: unknown): unknown;
  add?(key: unknown): unknown;
  push?(value: unknown): unknown;
  append?(value: unknown): unknown;
  $assign(content: unknown): void;
}

class Saving {
  readonly #space: Space;
  readonly #checker: Checker;
  readonly #of: DamagedCollection;
  readonly #types: DynamicTypes;
  readonly #loads = new Map<string, (found: Found) => unknown>();
  #entries = 0;

  constructor(space: Space, checker: Checker, of: DamagedCollection) {
    this.#space = space;
    this.#checker = checker;
    this.#of = of;
    this.#types = typesFrom(of.schema);
  }

  run(): SavedCollection {
    const { id, at, shape, name } = this.#of;
    const image = this.#checker.facts(id)?.image;
    const counted = image === undefined ? 0 : countOf({ image, at }, shape);
    const path = `${SHELF}/${id}-${at}`;
    const saved = { id, name, counted };
    try {
      this.#space.relaxed(() => {
        const made: unknown = this.#space.create(this.#type());
        this.#fill(made as Fillable);
        if (this.#entries === 0) throw new TwzError('ObjectCorrupt', 'nothing of the collection can be read', { id });
        for (const above of ['/lost', SHELF]) if (this.#space.names.lookup(above) === undefined) this.#space.names.mkns(above);
        this.#space.names.set(path, made as object);
      });
    } catch (error) {
      if (!isTwzError(error)) throw error;
      return { ...saved, entries: 0, path: undefined };
    }
    return { ...saved, entries: this.#entries, path };
  }

  /** The rules of an indexed map are a program's: its records go to an ordered map. */
  #type(): DynamicCollection {
    const { shape } = this.#of;
    if (shape.collection !== 'IndexedMap' || shape.value === undefined) return this.#types.collection(shape);
    return orderedMap(this.#types.key(shape.key ?? ''), this.#types.field(shape.value));
  }

  #walk(reader: Pick<CollectionReader, 'entry' | 'piece' | 'part'>): void {
    const { id, at, shape, schema } = this.#of;
    const facts = this.#checker.facts(id);
    if (facts === undefined) return;
    walkCollection({ image: facts.image, at }, shape, schema, {
      read: (member) => this.#checker.facts(member)?.image,
      block: (place) => {
        const holder = this.#checker.facts(place.image.id);
        const block = holder === undefined ? undefined : liveBlock(holder, place.at);
        return block?.at === place.at ? block.size : undefined;
      },
      bad: () => undefined,
      ...reader,
    });
  }

  /** The value where it lies, or a copy. Throws where it cannot be read. */
  #load(found: Found): unknown {
    const { shape, image, at, length } = found;
    if (shape.kind === 'text' || shape.kind === 'bytes') {
      const bytes = image.bytes.slice(at, at + length);
      return shape.kind === 'text' ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) : bytes;
    }
    let load = this.#loads.get(shape.type);
    if (load === undefined) {
      const codec = valueCodec(this.#types.field(shape), 'a value');
      load = (each) => {
        const { handle } = this.#space.object(each.image.id);
        if (handle.cold) handle.warm();
        return codec.load(handle, each.at);
      };
      this.#loads.set(shape.type, load);
    }
    return load(found);
  }

  /** A reference in a key is the struct itself, wherever a migration moved it. */
  #key(key: unknown): unknown {
    if (Array.isArray(key)) return key.map((part) => this.#key(part));
    if (!(key instanceof KeyPlace)) return key;
    const { id, at, type } = key;
    if (id === undefined) return null;
    const struct = this.#types.structs.get(type);
    if (struct === undefined) throw new TwzError('TypeInvalid', `the schema does not describe ${type}`);
    const { handle } = this.#space.object(id);
    if (handle.cold) handle.warm();
    return accessorAt(struct, handle, forwarded(handle, at, type));
  }

  /** As `#load`, and looks into every field: a graph is filled at once, and one bad value would keep all others from it. */
  #probe(found: Found): unknown {
    const look = (value: unknown, shape: Shape): void => {
      if (shape.kind !== 'struct' || typeof value !== 'object' || value === null) return;
      for (const field of this.#of.schema.types.get(shape.type)?.fields ?? []) look(Reflect.get(value, field.name), field.shape);
    };
    const value = this.#load(found);
    look(value, found.shape);
    return value;
  }

  /** An entry that cannot be read, or has no valid value, is left out. */
  #each(work: () => void, counts = 1): boolean {
    try {
      work();
      this.#entries += counts;
    } catch (error) {
      if (!isTwzError(error) && !(error instanceof RangeError)) throw error;
    }
    return true;
  }

  #fill(made: Fillable): void {
    if (this.#of.shape.collection === 'Graph') {
      this.#fillGraph(made);
      return;
    }
    this.#walk({
      entry: (key, value) =>
        this.#each(() => {
          if (key !== undefined && value === undefined) made.add?.(this.#key(key.decode()));
          else if (value === undefined) return;
          else if (key !== undefined) made.set?.(this.#key(key.decode()), this.#load(value));
          else if (made.push === undefined) made.append?.(this.#load(value));
          else made.push(this.#load(value));
        }),
      piece: (piece) => {
        made.append?.(typeof piece === 'string' ? piece.replaceAll(/\p{Surrogate}/gu, '\uFFFD') : piece);
        this.#entries += piece.length;
        return true;
      },
    });
  }

  /** Nodes and edges keep their numbers; an edge whose ends are not both there is left out. */
  #fillGraph(made: Fillable): void {
    const nodes = new Map<number, unknown>();
    const edges = new Map<number, unknown>();
    let part: GraphPart = 'nodes';
    this.#walk({
      part(next) {
        part = next;
        return true;
      },
      entry: (key, value) => {
        const id = decoded(key);
        if (typeof id !== 'number' || value === undefined) return true;
        if (part === 'nodes') return this.#each(() => nodes.set(id, this.#probe(value)));
        return this.#each(() => edges.set(id, this.#probe(value)), 0);
      },
    });
    const there = [...edges].flatMap(([id, record]) => {
      const { from, to, value } = record as { readonly from: number; readonly to: number; readonly value?: unknown };
      return nodes.has(from) && nodes.has(to) ? [{ id, from, to, value }] : [];
    });
    // What another graph would give.
    made.$assign({ nodes: () => nodes.entries(), edges: () => there.values(), addEdge: undefined });
  }
}
