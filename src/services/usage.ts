/** Usage: what takes the room of a space: in an object by kind of page, and over objects by the names that lead to them. */
import { FOT, META, PAGE, PAGE_KIND, SIZE_CLASSES } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import type { Space } from '../space.ts';
import { WELL_KNOWN, wellKnownId } from './check/names.ts';
import { CLASSES, ObjectImage } from './check/object-image.ts';
import { closure } from './reach.ts';
import { schemaOf } from './show.ts';

/** Bytes of an object. `size` is the sum of header, tables, used, inside and pages. */
export interface ObjectUsage {
  readonly size: number;
  readonly header: number;
  /** Chunks of the FOT and of the page map. */
  readonly tables: number;
  /** Blocks in use, the schema among them. */
  readonly used: number;
  /** Free or not yet given out, in pages that are in use. */
  readonly inside: number;
  /** Free pages. */
  readonly pages: number;
  readonly schema: number;
  readonly references: number;
  /** Pages that are all zeros: a file system need not store them. */
  readonly holes: number;
}

const NOTHING: ObjectUsage = { size: 0, header: 0, tables: 0, used: 0, inside: 0, pages: 0, schema: 0, references: 0, holes: 0 };

const sum = (a: ObjectUsage, b: ObjectUsage): ObjectUsage => ({
  size: a.size + b.size,
  header: a.header + b.header,
  tables: a.tables + b.tables,
  used: a.used + b.used,
  inside: a.inside + b.inside,
  pages: a.pages + b.pages,
  schema: a.schema + b.schema,
  references: a.references + b.references,
  holes: a.holes + b.holes,
});

export function usageOf(image: ObjectImage): ObjectUsage {
  const pagesOf = new Uint32Array(16);
  let holes = 0;
  for (let page = 1; page < image.pages; page++) {
    const kind = image.pageEntry(page) & 15;
    pagesOf[kind] = (pagesOf[kind] ?? 0) + 1;
    if (image.bytes.subarray(page * PAGE, (page + 1) * PAGE).every((byte) => byte === 0)) holes += PAGE;
  }
  const of = (kind: number): number => (pagesOf[kind] ?? 0) * PAGE;
  let small = 0;
  for (let c = 0; c < CLASSES; c++) small += image.classRecord(c).live * (SIZE_CLASSES[c] ?? 0);
  const large = of(PAGE_KIND.largeHead) + of(PAGE_KIND.largeRest);
  const tables = of(PAGE_KIND.fot) + of(PAGE_KIND.pageMap) + of(PAGE_KIND.meta);
  const schemaAt = image.u32(META.schema);
  let references = 0;
  for (const entry of image.fotEntries()) if (entry.index > 0) references++;
  const spans = of(PAGE_KIND.span);
  const used = Math.min(small, spans) + large;
  return {
    size: image.size,
    header: PAGE,
    tables,
    used,
    inside: spans - Math.min(small, spans),
    pages: image.size - PAGE - tables - spans - large,
    schema: schemaAt === 0 ? 0 : 4 + image.u32(schemaAt),
    references: Math.min(references, image.u32(META.fotCount), image.size / FOT.entry),
    holes,
  };
}

export interface UsageNode {
  readonly path: string;
  readonly id: ObjectId | undefined;
  readonly type: string | undefined;
  /** With all below and all that only this name reaches first. */
  readonly total: ObjectUsage;
  readonly objects: number;
  readonly below: readonly UsageNode[];
}

export interface SpaceUsage {
  readonly names: UsageNode;
  /** What no name reaches. */
  readonly unnamed: { readonly total: ObjectUsage; readonly objects: number; readonly ids: readonly ObjectId[] };
  /** The root of names and the list of deleted objects. */
  readonly own: { readonly total: ObjectUsage; readonly objects: number };
  readonly total: ObjectUsage;
  readonly objects: number;
  /** Largest first. */
  readonly largest: readonly { readonly id: ObjectId; readonly type: string | undefined; readonly usage: ObjectUsage }[];
}

export interface UsageOptions {
  /** How many of the largest objects to tell. */
  readonly largest?: number;
  readonly progress?: (done: number, total: number) => void;
}

/** Every object counts once: for its own name, or else for the first name, in order, that it can be reached from. */
export function spaceUsage(space: Space, options: UsageOptions = {}): SpaceUsage {
  return new Usage(space, options).run();
}

class Usage {
  readonly #space: Space;
  readonly #options: UsageOptions;
  readonly #each = new Map<ObjectId, { readonly usage: ObjectUsage; readonly type: string | undefined }>();
  readonly #counted = new Set<ObjectId>();
  readonly #named = new Set<ObjectId>();

  constructor(space: Space, options: UsageOptions) {
    this.#space = space;
    this.#options = options;
  }

  run(): SpaceUsage {
    const { kernel } = this.#space;
    const ids = [...this.#space.ids()].sort();
    for (const [i, id] of ids.entries()) {
      const image = new ObjectImage(this.#space.object(id).image());
      const schema = schemaOf(image);
      this.#each.set(id, { usage: usageOf(image), type: typeof schema === 'string' ? undefined : schema.root });
      this.#options.progress?.(i + 1, ids.length);
    }
    const own = Object.values(WELL_KNOWN).map((n) => wellKnownId(kernel.host, readId(kernel.spaceId, 0), n));
    const ownUsage = this.#count(own);
    this.#collectNamed('');
    const names = this.#node('', undefined);
    const unnamed = ids.filter((id) => !this.#counted.has(id));
    const unnamedUsage = this.#count(unnamed);
    return {
      names,
      own: ownUsage,
      unnamed: { ...unnamedUsage, ids: unnamed },
      total: [names.total, unnamedUsage.total, ownUsage.total].reduce(sum),
      objects: ids.length,
      largest: [...this.#each]
        .map(([id, { usage, type }]) => ({ id, type, usage }))
        .sort((a, b) => b.usage.size - a.usage.size || (a.id < b.id ? -1 : 1))
        .slice(0, this.#options.largest ?? 10),
    };
  }

  /** What is not counted yet. */
  #count(ids: Iterable<ObjectId>): { total: ObjectUsage; objects: number } {
    let total = NOTHING;
    let objects = 0;
    for (const id of ids) {
      const known = this.#each.get(id);
      if (known === undefined || this.#counted.has(id)) continue;
      this.#counted.add(id);
      total = sum(total, known.usage);
      objects++;
    }
    return { total, objects };
  }

  #collectNamed(path: string): void {
    for (const { kind, id, name } of this.#space.names.list(path === '' ? '/' : path)) {
      if (id === undefined || this.#named.has(id)) continue;
      this.#named.add(id);
      if (kind === 'namespace' && this.#each.has(id)) this.#collectNamed(`${path}/${name}`);
    }
  }

  #node(path: string, id: ObjectId | undefined): UsageNode {
    const known = id === undefined ? undefined : this.#each.get(id);
    const below: UsageNode[] = [];
    let mine: { total: ObjectUsage; objects: number };
    if (id === undefined || known?.type === 'Namespace') {
      const fresh = id === undefined || !this.#counted.has(id);
      mine = this.#count(id === undefined ? [] : [id]);
      if (fresh)
        for (const entry of this.#space.names.list(path === '' ? '/' : path))
          if (entry.id !== undefined) below.push(this.#node(`${path}/${entry.name}`, entry.id));
    } else mine = this.#count(this.#reach(id));
    return {
      path: path === '' ? '/' : path,
      id,
      type: known?.type,
      total: [mine.total, ...below.map(({ total }) => total)].reduce(sum),
      objects: below.reduce((n, { objects }) => n + objects, mine.objects),
      below,
    };
  }

  /** The object and what it reaches, not past what has a name of its own. */
  #reach(from: ObjectId): Set<ObjectId> {
    const reached = new Set<ObjectId>();
    const todo = [from];
    for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
      if (reached.has(id) || this.#counted.has(id) || !this.#each.has(id)) continue;
      if (id !== from && this.#named.has(id)) continue;
      reached.add(id);
      for (const entry of this.#space.object(id).fot()) if (entry.id !== undefined) todo.push(entry.id);
    }
    return reached;
  }
}

/** The objects and what they reach. */
export function usageFrom(
  space: Space,
  from: readonly ObjectId[],
): { readonly total: ObjectUsage; readonly objects: number; readonly missing: number } {
  const { ids, missing } = closure(space, from);
  let total = NOTHING;
  for (const id of ids) total = sum(total, usageOf(new ObjectImage(space.object(id).image())));
  return { total, objects: ids.size, missing: missing.size };
}
