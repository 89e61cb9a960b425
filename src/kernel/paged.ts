/**
 * Objects that are elsewhere, each in one version, whose pages come when they are touched (host/pages.ts). Their handles are like those of a
 * snapshot: accessors, collections and references work, at the speed of memory where a page is there, and stores are refused. A reference out
 * of them leads to the space's own objects.
 *
 * A load cannot be interrupted: a page that cannot be had reads as zeros. So these objects are shown only while `read` runs a function, and
 * `read` throws when a page failed meanwhile, whatever the function gave or threw.
 *
 * Invariants:
 *  1. Outside `read` all handles are cold, without a view; nothing that holds a view for longer (`hold`) is let in.
 *  2. What was read of a failed page is nowhere kept: the handle's memory of types, references and places is forgotten, the page let go of.
 *  3. Nothing of an object is shown before its header is checked: against its checksum, its size and its ID.
 */
import { TwzError } from '../abi/errors.ts';
import { FOT, KIND, META, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { PAGE_LIMITS, fetchWhole, type PageCounters, type PageLimits, type PageSource, type PagedRegion } from '../host/pages.ts';
import { checkHeader } from './header.ts';
import type { Kernel } from './kernel.ts';
import { Handle, type Frozen } from './object.ts';
import type { Slot } from './windows.ts';

/** What must be known of an object to read it page by page. */
export interface PagedFacts {
  readonly id: ObjectId;
  /** Bytes. */
  readonly size: number;
  /** The source gives all bytes in this one. */
  readonly version: number;
}

export interface PagedOptions extends Partial<PageLimits> {
  /** Milliseconds that one `read` may wait for pages in all (default 30,000). */
  readonly readMs?: number;
}

/** Bytes that are asked for at once when an object is opened: header, schema and root are usually there. */
const BEGINNING = 4 * PAGE;
const READ_MS = 30_000;

interface Image {
  readonly facts: PagedFacts;
  readonly handle: Handle;
  place: { readonly slot: Slot; readonly region: PagedRegion } | undefined;
}

interface Section {
  /** Regions that are read in it, and their mark when that began. */
  readonly marks: Map<Image, number>;
  /** Of the host's clock. */
  readonly deadline: number;
  readonly outer: Section | undefined;
}

export class Paged implements Frozen {
  readonly #kernel: Kernel;
  readonly #source: PageSource;
  readonly #limits: PageLimits;
  readonly #readMs: number;
  readonly #images = new Map<ObjectId, Image>();
  #section: Section | undefined;
  closed = false;

  constructor(kernel: Kernel, source: PageSource, options: PagedOptions = {}) {
    const { readMs = READ_MS, ...limits } = options;
    this.#kernel = kernel;
    this.#source = source;
    this.#limits = { ...PAGE_LIMITS, ...limits };
    this.#readMs = readMs;
    for (const [name, value] of Object.entries({ ...this.#limits, readMs }))
      if (!(value > 0)) throw new TwzError('InvalidArgument', `${name}: ${value} is not more than 0`, { name });
    if (this.#limits.budget < PAGE) throw new TwzError('InvalidArgument', 'budget: less than a page', { budget: this.#limits.budget });
    kernel.paged.add(this);
  }

  /** Do pages come when they are touched? Otherwise all of an object does. */
  get byTouch(): boolean {
    return this.#source.servesFaults(this.#kernel.host.pages);
  }

  /** One object more that can be read here. */
  add(facts: PagedFacts): Handle {
    this.#demandOpen();
    const { id, size } = facts;
    if (!(size >= OBJECT_SIZE_MIN && size <= OBJECT_SIZE_MAX && size % PAGE === 0))
      throw new TwzError('InvalidArgument', `object ${id} cannot have ${size} bytes`, { id, size });
    const known = this.#images.get(id);
    if (known !== undefined && (known.facts.size !== size || known.facts.version !== facts.version))
      throw new TwzError('ObjectExists', `object ${id} is here already, in version ${known.facts.version}`, { id });
    if (known !== undefined) return known.handle;
    const handle = new Handle(this.#kernel, id, this);
    this.#images.set(id, { facts, handle, place: undefined });
    return handle;
  }

  // --- as handles need it -------------------------------------------------------------------------------------------------------

  handle(id: ObjectId): Handle {
    return this.#images.get(id)?.handle ?? this.#kernel.handle(id);
  }

  map(own: Handle): void {
    this.#demandOpen();
    const section = this.#section;
    const image = this.#images.get(own.id);
    if (section === undefined || image === undefined)
      throw new TwzError('PagedOutside', `object ${own.id} comes page by page: it is read inside \`read\``, { id: own.id });
    const { region, slot } = this.#placed(image, section);
    if (!section.marks.has(image)) this.#begin(image, region, section);
    own.place(slot, image.facts.size);
    if (own.verified) return;
    try {
      this.#check(image, region, section);
    } catch (error) {
      // What is not the object is not kept.
      this.#release(image);
      throw error;
    }
  }

  hold(own: Handle): void {
    throw new TwzError('NotSupported', `object ${own.id} comes page by page: cursors and readers cannot stay in it; use accessors`, {
      id: own.id,
    });
  }

  refusal(id: ObjectId): TwzError {
    return new TwzError('PagedReadOnly', `object ${id} comes page by page: it cannot be changed here`, { id });
  }

  #demandOpen(): void {
    if (this.#kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed');
    if (this.closed) throw new TwzError('PagedClosed', 'the paged object was closed');
  }

  #left({ deadline }: Section): number {
    return Math.max(1, deadline - this.#kernel.host.now());
  }

  /** Gives the object its place. Where faults are not served, all of it comes now. */
  #placed(image: Image, section: Section | undefined): { readonly slot: Slot; readonly region: PagedRegion } {
    if (image.place !== undefined) return image.place;
    const { facts } = image;
    const { host } = this.#kernel;
    const what = { object: facts.id, version: facts.version, size: facts.size };
    const slot = this.#kernel.takeSlot(facts.size);
    try {
      const { pages } = host;
      const region =
        pages !== undefined && this.#source.servesFaults(pages)
          ? pages.open(slot.window, slot.at, what, this.#source, this.#limits)
          : fetchWhole(slot.window, slot.at, what, this.#source, this.#limits, section === undefined ? this.#readMs : this.#left(section));
      image.place = { slot, region };
      // The range is a mapping of its own, and the system has a limit on those.
      this.#kernel.mappings++;
    } catch (error) {
      this.#kernel.giveSlot(slot);
      throw error;
    }
    image.place.region.prefetch(0, BEGINNING);
    return image.place;
  }

  #begin(image: Image, region: PagedRegion, section: Section): void {
    const mark = region.begin(this.#left(section));
    for (let each: Section | undefined = section; each !== undefined && !each.marks.has(image); each = each.outer)
      each.marks.set(image, mark);
  }

  /** Is it the object? The table of what it refers to comes along with the answer. */
  #check({ handle, facts }: Image, region: PagedRegion, section: Section): void {
    const { host } = this.#kernel;
    const mark = region.begin(this.#left(section));
    let refusal: unknown;
    try {
      checkHeader(host, handle);
      if (handle.dv.getUint32(META.kind, true) === KIND.shared)
        throw new TwzError('NotSupported', `object ${facts.id} is shared memory, and stays on its machine`, { id: facts.id });
    } catch (error) {
      refusal = error;
    }
    if (region.failedSince(mark)) throw region.error();
    if (refusal !== undefined) throw refusal;
    this.#kernel.adopt(handle);
    handle.fileSize = facts.size;
    handle.verified = true;
    let entries = handle.dv.getUint32(META.fotCount, true) - FOT.embedded;
    for (let k = 0; k < FOT.chunks && entries > 0; k++) {
      const size = FOT.chunk0 * 2 ** k;
      region.prefetch(handle.dv.getUint32(META.fotChunks + k * 4, true) * PAGE, Math.min(entries, size) * FOT.entry);
      entries -= size;
    }
  }

  // --- reading --------------------------------------------------------------------------------------------------------------------

  /**
   * Runs a plain synchronous function that reads these objects, and returns what it returns. Throws TimedOut, Unreachable and whatever else
   * the source says when a page could not be had; the next `read` tries again. A `read` inside another is part of it.
   */
  read<T>(body: () => T, ms: number = this.#readMs): T {
    this.#demandOpen();
    const outer = this.#section;
    const deadline = Math.min(outer?.deadline ?? Infinity, this.#kernel.host.now() + ms);
    const section: Section = { marks: new Map(), deadline, outer };
    if (outer !== undefined) for (const [image, mark] of outer.marks) this.#renew(image, mark, section);
    this.#section = section;
    let result: { readonly value: T } | undefined;
    let cause: unknown;
    try {
      result = { value: body() };
    } catch (error) {
      cause = error;
    }
    const failure = this.#end(section);
    if (failure !== undefined) throw new TwzError(failure.name, failure.message, failure.context, cause);
    if (result === undefined) throw cause;
    if (isPromise(result.value)) {
      result.value.then(undefined, () => undefined);
      throw new TwzError('InvalidArgument', 'the function of `read` returned a promise; what it reads after this is not read here');
    }
    return result.value;
  }

  /** The region is read by an inner section, too. */
  #renew(image: Image, before: number, section: Section): void {
    const region = image.place?.region;
    if (region === undefined) return;
    const isFailed = region.failedSince(before);
    section.marks.set(image, region.begin(this.#left(section)));
    if (isFailed) forget(image.handle);
  }

  #end(section: Section): TwzError | undefined {
    const { outer } = section;
    this.#section = outer;
    let failure: TwzError | undefined;
    for (const [{ handle, place }, mark] of section.marks) {
      if (outer === undefined) handle.unplace();
      place?.region.allow(outer === undefined ? 0 : this.#left(outer));
      if (place?.region.failedSince(mark) !== true) continue;
      failure ??= place.region.error();
      if (outer === undefined) place.region.recover();
    }
    // What one of them was understood to be may rest on what another one held.
    if (failure !== undefined) for (const { handle } of section.marks.keys()) forget(handle);
    return failure ?? (this.closed ? new TwzError('PagedClosed', 'the paged object was closed while it was read') : undefined);
  }

  /** Asks for bytes that will be read; does not wait for them. */
  prefetch(id: ObjectId, at: number, length: number): void {
    this.#demandOpen();
    const image = this.#images.get(id);
    if (image !== undefined) this.#placed(image, this.#section).region.prefetch(at, length);
  }

  /** Is the page there, so that touching it fetches nothing? */
  resident(id: ObjectId, at: number): boolean {
    return this.#images.get(id)?.place?.region.resident(at) === true;
  }

  /** Of one object; undefined where nothing of it was asked for. */
  counters(id: ObjectId): PageCounters | undefined {
    return this.#images.get(id)?.place?.region.counters();
  }

  /** Lets go of all pages. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#kernel.paged.delete(this);
    for (const image of this.#images.values()) this.#release(image);
  }

  #release(image: Image): void {
    const { handle, place } = image;
    forget(handle);
    handle.unplace();
    handle.verified = false;
    image.place = undefined;
    if (place === undefined) return;
    this.#kernel.mappings--;
    place.region.close();
    this.#kernel.giveSlot(place.slot);
  }
}

/** What was read of it may be wrong. */
function forget(h: Handle): void {
  h.turn++;
  h.fot = [];
  h.fotIndex = undefined;
  h.judged = undefined;
  h.entered = undefined;
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
