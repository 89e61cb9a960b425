/**
 * The pager: objects that another machine has, read where they are used before they are there. The first touch of a page fetches it, with
 * what is likely to be touched next; later ones are loads.
 *
 *     const town = pageIn(space, source, [{ id, size, version }]);
 *     const name = town.read(() => town.root(Town).name);
 *
 * Reading happens inside `read`: see kernel/paged.ts. How the bytes get here is the source's: see host/pages.ts.
 */
import { TwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import { createPageSource, type PageCounters, type PageSource, type PageSourceEnd } from '../host/pages.ts';
import { Paged, type PagedFacts, type PagedOptions } from '../kernel/paged.ts';
import type { CollectionType } from '../lib/collections/type.ts';
import { Obj } from '../lib/object.ts';
import { rootOf } from '../lib/runtime.ts';
import { accessorAt, type Instance, type Struct } from '../lib/struct.ts';
import type { Space } from '../space.ts';

/**
 * A source for `pageIn`, and the end for the thread that answers: post it there, with `end.port` transferred, and call `servePages`.
 * `whole`: objects are fetched whole even where pages could be fetched one by one.
 */
export function pageSource(space: Space, { whole = false }: { readonly whole?: boolean } = {}): { source: PageSource; end: PageSourceEnd } {
  return createPageSource(whole ? undefined : space.kernel.host.pages);
}

/**
 * Shows objects that the source has, each in one version. The first is what `root` gives; the others are those that its collections go on
 * in, or what else it refers to. References to objects that are not named here lead to the space's own.
 */
export function pageIn(space: Space, source: PageSource, objects: readonly PagedFacts[], options: PagedOptions = {}): PagedObject {
  const [first, ...others] = objects;
  if (first === undefined) throw new TwzError('InvalidArgument', 'no object is named');
  const paged = new Paged(space.kernel, source, options);
  try {
    paged.add(first);
    for (const each of others) paged.add(each);
  } catch (error) {
    paged.close();
    throw error;
  }
  return new PagedObject(paged, first.id);
}

export class PagedObject {
  readonly #paged: Paged;
  readonly id: ObjectId;

  constructor(paged: Paged, id: ObjectId) {
    this.#paged = paged;
    this.id = id;
  }

  /** False where all of an object comes with its first touch: the system gives no page faults to programs. */
  get byTouch(): boolean {
    return this.#paged.byTouch;
  }

  /** Another object of the same source: references to it lead there from now on. */
  add(facts: PagedFacts): void {
    this.#paged.add(facts);
  }

  /**
   * Runs a plain synchronous function that reads, and returns what it returns. Accessors may be kept for the next `read`; outside they throw
   * PagedOutside. Waits `ms` milliseconds for pages in all. Throws TimedOut, Unreachable and what else the source says where a page could
   * not be had, whatever the function made of it; another `read` tries again.
   */
  read<T>(body: () => T, ms?: number): T {
    return this.#paged.read(body, ms);
  }

  /** The root, checked to be of this type. Inside `read`. Throws TypeMismatch, ObjectCorrupt, ObjectForged. */
  root<C, I>(type: CollectionType<C, I>): C;
  root<F>(type: Struct<F>): Instance<F>;
  root<F>(type: Struct<F>): Instance<F> {
    const h = this.#paged.handle(this.id);
    return accessorAt(type, h, rootOf(h, type));
  }

  /** The object as a whole. What is asked of it is asked inside `read`. */
  get object(): Obj {
    return new Obj(this.#paged.handle(this.id));
  }

  /** Asks for bytes that will be read, of this object or of another one that was named; does not wait. */
  prefetch(at: number, length: number, id: ObjectId = this.id): void {
    this.#paged.prefetch(id, at, length);
  }

  /** What was fetched so far; undefined before the first touch. */
  counters(id: ObjectId = this.id): PageCounters | undefined {
    return this.#paged.counters(id);
  }

  /** Is the page there? */
  resident(at: number, id: ObjectId = this.id): boolean {
    return this.#paged.resident(id, at);
  }

  /** Lets go of everything. Accessors throw PagedClosed afterwards. */
  close(): void {
    this.#paged.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export { servePages, type PageCounters, type PageRequest, type PageSource, type PageSourceEnd } from '../host/pages.ts';
export type { PagedFacts, PagedOptions } from '../kernel/paged.ts';
