/**
 * Naming: paths to objects. A namespace is an object like any other: a hash table of entries; the root namespace is the only object
 * whose ID the space knows by itself. A rename is one transaction, so it is atomic. A name can own its object: then they go together.
 */
import { TwzError } from '../abi/errors.ts';
import { META } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { entryAt, readEntry, referToAny } from '../kernel/fot.ts';
import { createObject, wellKnownId, wellKnownNonce } from '../kernel/lifetime.ts';
import { Handle } from '../kernel/object.ts';
import type { CollectionType } from '../lib/collections/type.ts';
import type { Obj } from '../lib/object.ts';
import { bool, link, oneOf, text, u32 } from '../lib/fields.ts';
import { offsetOf, objectOf } from '../lib/cursor.ts';
import { ref, struct, accessorAt, type Infer, type Instance, type Struct } from '../lib/struct.ts';
import { storeRoot, type Space, type Target } from '../space.ts';
import { linkTarget } from './link-target.ts';

const LINKS_MAX = 32;
const NAME_BYTES_MAX = 255;
const FIRST_BUCKETS = 16;
const ROOT = 2;

const Entry = struct('NameEntry', {
  name: text,
  hash: u32,
  kind: oneOf('object', 'namespace', 'link'),
  owns: bool,
  target: link,
  /** Where a link leads. */
  path: text,
  get next() {
    return ref(Entry);
  },
});
type Entry = Infer<typeof Entry>;

const Namespace = struct('Namespace', {
  count: u32,
  /** A power of two. */
  buckets: u32,
  /** Offset of a block of `buckets` x u32: offsets of entries in this object. */
  table: u32,
});
type Namespace = Infer<typeof Namespace>;

/** Is the object a namespace? */
export function isNamespace({ dv }: Pick<Handle, 'dv'>): boolean {
  const { low, high } = Namespace.layout.fingerprint;
  return dv.getUint32(META.rootType, true) === low && dv.getUint32(META.rootType + 4, true) === high;
}

export interface NameEntry {
  readonly name: string;
  readonly kind: 'object' | 'namespace' | 'link';
  /** The object, or undefined for a link. */
  readonly id: ObjectId | undefined;
  readonly owns: boolean;
  /** Where a link leads. */
  readonly target: string | undefined;
}

export interface SetOptions {
  /** Removing the name deletes the object. */
  readonly owns?: boolean;
  /** Take the place of what has the name now. */
  readonly replace?: boolean;
}

function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Splits a path. Throws NameInvalid. */
export function splitPath(path: string): string[] {
  const bad = (reason: string): TwzError => new TwzError('NameInvalid', `"${path}": ${reason}`, { path });
  if (!path.startsWith('/')) throw bad('a path starts with /');
  const parts = path.split('/').slice(1);
  if (parts[parts.length - 1] === '') parts.pop();
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..') throw bad('a component is empty, . or ..');
    if (part.includes('\0')) throw bad('a component has a NUL');
    if (part.length * 3 > NAME_BYTES_MAX && new TextEncoder().encode(part).length > NAME_BYTES_MAX)
      throw bad(`a component has more than ${NAME_BYTES_MAX} bytes`);
  }
  return parts;
}

// --- one namespace: a hash table with chains ----------------------------------------------------------------------------------

function bucketAt(space: Namespace, hash: number): number {
  const { handle } = objectOf(space);
  if (handle.cold) handle.warm();
  const { table, buckets } = space;
  const at = table + (hash & (buckets - 1)) * 4;
  if (table < 4096 || at + 4 > handle.size) handle.corrupt(offsetOf(space), 'the table of names lies outside the object');
  return at;
}

function chain(space: Namespace, at: number): Entry | null {
  const { handle } = objectOf(space);
  const first = handle.dv.getUint32(at, true);
  if (first === 0) return null;
  if (first < 4096 || first + Entry.layout.size > handle.size) handle.corrupt(at, 'a name entry lies outside the object');
  return accessorAt(Entry, handle, first);
}

/** A chain cannot have more entries than the namespace: one that does goes in a circle. */
function circular(space: Namespace): never {
  return objectOf(space).handle.corrupt(offsetOf(space), `a chain of names is longer than the ${space.count} names that there are`);
}

function findEntry(space: Namespace, name: string): Entry | undefined {
  const hash = hashOf(name);
  let left = space.count;
  for (let entry = chain(space, bucketAt(space, hash)); entry !== null; entry = entry.next) {
    if (entry.hash === hash && entry.name === name) return entry;
    if (left-- <= 0) circular(space);
  }
  return undefined;
}

function* entriesOf(space: Namespace): Generator<Entry> {
  let left = space.count;
  for (let bucket = 0; bucket < space.buckets; bucket++) {
    for (let entry = chain(space, bucketAt(space, bucket)); entry !== null;) {
      if (left-- <= 0) circular(space);
      const { next } = entry;
      yield entry;
      entry = next;
    }
  }
}

function putFirst(space: Namespace, entry: Entry, at: number): void {
  const { handle } = objectOf(space);
  entry.next = chain(space, at);
  handle.mark(at);
  handle.dv.setUint32(at, offsetOf(entry), true);
}

function rehash(space: Namespace, buckets: number): void {
  const all = space.table === 0 ? [] : [...entriesOf(space)];
  const { handle } = objectOf(space);
  const old = space.table;
  space.table = handle.allocate(buckets * 4);
  space.buckets = buckets;
  if (old !== 0) handle.release(old);
  for (const entry of all) putFirst(space, entry, bucketAt(space, entry.hash));
}

function unchain(space: Namespace, name: string): Entry | undefined {
  const hash = hashOf(name);
  const at = bucketAt(space, hash);
  const { handle } = objectOf(space);
  let before: Entry | null = null;
  for (let entry = chain(space, at); entry !== null; before = entry, entry = entry.next) {
    if (entry.hash !== hash || entry.name !== name) continue;
    if (before !== null) before.next = entry.next;
    else {
      handle.mark(at);
      const after = entry.next;
      handle.dv.setUint32(at, after === null ? 0 : offsetOf(after), true);
    }
    space.count--;
    return entry;
  }
  return undefined;
}

function demandLink(to: string): void {
  if (to === '' || to.includes('\0')) throw new TwzError('NameInvalid', `a link to "${to}": it is empty or has a NUL`, { path: to });
}

/** A name that is not taken. */
function insert(owner: Space, space: Namespace, name: string, fill: (entry: Entry) => void): void {
  if (space.count >= space.buckets * 2) rehash(space, space.buckets * 2);
  const entry = owner.make(Entry, space, { name, hash: hashOf(name) });
  fill(entry);
  putFirst(space, entry, bucketAt(space, entry.hash));
  space.count++;
}

function described(entry: Entry, id: ObjectId | undefined): NameEntry {
  const { kind } = entry;
  return { name: entry.name, kind, id, owns: entry.owns, target: kind === 'link' ? entry.path : undefined };
}

function listed(space: Namespace): NameEntry[] {
  const list: NameEntry[] = [];
  const { handle } = objectOf(space);
  const fot = new Map(
    objectOf(space)
      .fot()
      .map((entry) => [entry.index, entry.id]),
  );
  for (const entry of entriesOf(space)) {
    const index = handle.dv.getUint32(offsetOf(entry) + targetOffset() + 4, true) >>> 8;
    list.push(described(entry, fot.get(index)));
  }
  return list.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function initialize(owner: Space, object: Obj): Namespace {
  const h = owner.kernel.open(object.id);
  const at = h.allocate(Namespace.layout.size);
  storeRoot(h, Namespace, at);
  const made = accessorAt(Namespace, h, at);
  rehash(made, FIRST_BUCKETS);
  return made;
}

// --- the service --------------------------------------------------------------------------------------------------------------

interface Found {
  readonly space: Namespace;
  readonly name: string;
  readonly entry: Entry | undefined;
}

export class Names {
  readonly #space: Space;

  constructor(space: Space) {
    this.#space = space;
  }

  #root(): Namespace | undefined {
    const { kernel } = this.#space;
    const id = wellKnownId(kernel, ROOT);
    kernel.catchUp();
    return kernel.has(id) ? this.#space.get(id, Namespace) : undefined;
  }

  #makeRoot(): Namespace {
    const { kernel } = this.#space;
    return this.#root() ?? initialize(this.#space, this.#space.object(createObject(kernel, {}, wellKnownNonce(kernel, ROOT)).id));
  }

  #enter(path: string, entry: Entry): Namespace {
    const { target } = entry;
    if (entry.kind !== 'namespace' || target === null)
      throw new TwzError('NotNamespace', `"${path}": ${entry.name} is not a namespace`, { path, component: entry.name });
    return target.root(Namespace);
  }

  /** Walks to the last component. Links on the way are followed; the last one too if asked. */
  #walk(path: string, followLast: boolean, links = 0): Found | undefined {
    const parts = splitPath(path);
    let space = this.#root();
    if (space === undefined || parts.length === 0) return undefined;
    for (const [i, name] of parts.entries()) {
      const last = i === parts.length - 1;
      const entry = findEntry(space, name);
      if (entry?.kind === 'link' && (!last || followLast)) {
        if (links >= LINKS_MAX) throw new TwzError('LinkLoop', `"${path}": more than ${LINKS_MAX} links`, { path });
        const rest = parts.slice(i + 1).join('/');
        const target = linkTarget(parts.slice(0, i), entry.path);
        if (target === undefined) return undefined;
        return this.#walk(rest === '' ? target : `${target === '/' ? '' : target}/${rest}`, followLast, links + 1);
      }
      if (last) return { space, name, entry };
      if (entry === undefined) return undefined;
      space = this.#enter(path, entry);
    }
    return undefined;
  }

  #require(path: string, followLast: boolean): Found & { readonly entry: Entry } {
    const found = this.#walk(path, followLast);
    if (found?.entry === undefined) throw new TwzError('NameMissing', `nothing has the name "${path}"`, { path });
    return { ...found, entry: found.entry };
  }

  /** The namespace that a new name goes into. */
  #parent(path: string): { space: Namespace; name: string } {
    const parts = splitPath(path);
    const name = parts.pop();
    if (name === undefined) throw new TwzError('NameInvalid', `"${path}" names the root`, { path });
    let space = this.#makeRoot();
    if (parts.length === 0) return { space, name };
    const found = this.#require(`/${parts.join('/')}`, true);
    space = this.#enter(path, found.entry);
    return { space, name };
  }

  #add(path: string, fill: (entry: Entry) => void, replace: boolean): void {
    const { space, name } = this.#parent(path);
    const old = findEntry(space, name);
    if (old !== undefined) {
      if (!replace) throw new TwzError('NameExists', `"${path}" is taken`, { path });
      this.#drop(path, space, name, false);
    }
    insert(this.#space, space, name, fill);
  }

  /** Takes a name out and lets go of what it owns. */
  #drop(path: string, space: Namespace, name: string, recursive: boolean): void {
    const entry = unchain(space, name);
    if (entry === undefined) throw new TwzError('NameMissing', `nothing has the name "${path}"`, { path });
    const { owns, kind } = entry;
    // What the name leads to may be gone; the name must go all the same.
    const id = targetId(entry);
    const target = id !== undefined && this.#space.has(id) ? id : undefined;
    if (kind === 'namespace' && target !== undefined) {
      const inner = this.#space.get(target, Namespace);
      if (inner.count > 0 && !recursive)
        throw new TwzError('NamespaceNotEmpty', `"${path}" holds ${inner.count} names`, { path, count: inner.count });
      for (const child of [...entriesOf(inner)].map((each) => each.name)) this.#drop(`${path}/${child}`, inner, child, true);
    }
    this.#space.free(entry);
    if (owns && target !== undefined && this.#space.has(target)) this.#space.delete(target);
  }

  // --- what callers use ---------------------------------------------------------------------------------------------------

  /** Gives an object a name. Throws NameExists, NameMissing (for the namespace), NotNamespace, NameInvalid. */
  set(path: string, target: Target, options: SetOptions = {}): void {
    this.#space.relaxed(() => {
      const object = this.#space.object(target);
      this.#add(
        path,
        (entry) => {
          entry.kind = 'object';
          entry.owns = options.owns ?? false;
          entry.target = object;
        },
        options.replace ?? false,
      );
    });
  }

  /** The object of that name, following links; with a type, its root. Throws NameMissing and what opening throws. */
  get(path: string): Obj;
  get<C, I>(path: string, type: CollectionType<C, I>): C;
  get<F>(path: string, type: Struct<F>): Instance<F>;
  get<F>(path: string, type?: Struct<F>): Obj | Instance<F> {
    const { entry } = this.#require(path, true);
    const { target } = entry;
    if (target === null) throw new TwzError('NameMissing', `"${path}" leads to nothing`, { path });
    return type === undefined ? target : target.root(type);
  }

  /** As `get`, undefined where nothing has the name. */
  find(path: string): Obj | undefined {
    const id = this.lookup(path);
    return id === undefined ? undefined : this.#space.object(id);
  }

  /** The ID of that name; undefined where nothing has it. */
  lookup(path: string): ObjectId | undefined {
    if (splitPath(path).length === 0) {
      const root = this.#root();
      return root === undefined ? undefined : objectOf(root).id;
    }
    const entry = this.#walk(path, true)?.entry;
    if (entry === undefined) return undefined;
    return targetId(entry);
  }

  /** The root namespace, made where nothing has a name yet. */
  makeRoot(): ObjectId {
    return this.#space.relaxed(() => objectOf(this.#makeRoot()).id);
  }

  /** Makes an empty namespace. */
  mkns(path: string): void {
    this.#space.relaxed(() => {
      const made = initialize(this.#space, this.#space.createRaw());
      this.#add(
        path,
        (entry) => {
          entry.kind = 'namespace';
          entry.owns = true;
          entry.target = objectOf(made);
        },
        false,
      );
    });
  }

  /** Gives a namespace that is there a name, with all that it holds. Throws NotNamespace. */
  adopt(path: string, target: Target): void {
    this.#space.relaxed(() => {
      const object = this.#space.object(target);
      if (object.schema?.root !== Namespace.name) throw new TwzError('NotNamespace', `object ${object.id} is no namespace`, { path });
      this.#add(
        path,
        (entry) => {
          entry.kind = 'namespace';
          entry.owns = true;
          entry.target = object;
        },
        false,
      );
    });
  }

  /**
   * A name that stands for another path, whether or not that has a name now. With `relative`, `to` may be a path from the link's own namespace
   * on, in which `..` is the one above: links of files are such.
   */
  link(path: string, to: string, options: { readonly relative?: boolean } = {}): void {
    if (options.relative !== true || to.startsWith('/')) splitPath(to);
    else demandLink(to);
    this.#space.relaxed(() => {
      this.#add(
        path,
        (entry) => {
          entry.kind = 'link';
          entry.path = to;
        },
        false,
      );
    });
  }

  /** Removes a name, and the object if the name owns it. A namespace must be empty, unless `recursive`. */
  remove(path: string, options: { readonly recursive?: boolean } = {}): void {
    this.#space.relaxed(() => {
      const { space, name } = this.#require(path, false);
      this.#drop(path, space, name, options.recursive ?? false);
    });
  }

  /** Moves a name, atomically. */
  rename(from: string, to: string, options: { readonly replace?: boolean } = {}): void {
    this.#space.relaxed(() => {
      if (`${to}/`.startsWith(`${from}/`)) {
        if (splitPath(from).join('/') === splitPath(to).join('/')) return;
        throw new TwzError('NameInvalid', `"${from}" cannot move into itself`, { from, to });
      }
      const source = this.#require(from, false);
      const { kind, owns, path } = source.entry;
      // What the name leads to may be gone; the name can be moved all the same.
      const id = targetId(source.entry);
      const gone = id !== undefined && !this.#space.has(id) ? id : undefined;
      const target = gone === undefined ? source.entry.target : null;
      const entry = unchain(source.space, source.name);
      if (entry === undefined) return;
      this.#add(
        to,
        (moved) => {
          moved.kind = kind;
          moved.owns = owns;
          moved.path = path;
          if (gone === undefined) moved.target = target;
          else storeGone(moved, gone);
        },
        options.replace ?? false,
      );
      this.#space.free(entry);
    });
  }

  /** The names in a namespace, sorted. */
  list(path = '/'): NameEntry[] {
    let space: Namespace | undefined;
    if (splitPath(path).length === 0) space = this.#root();
    else space = this.#enter(path, this.#require(path, true).entry);
    if (space === undefined) return [];
    return listed(space);
  }
}

/**
 * A namespace that is held as an object, not found by a path: it stays the same one wherever it is moved. Names are single components here,
 * and nothing is followed. Changes belong in transactions, and look after names alone: what happens to the objects is the caller's business.
 */
export class NamespaceNames {
  readonly id: ObjectId;
  readonly #space: Space;

  /** Throws TypeMismatch where the object is no namespace. */
  constructor(space: Space, id: ObjectId) {
    this.#space = space;
    this.id = id;
    this.#names();
  }

  /** A new namespace without a name. */
  static make(space: Space): ObjectId {
    return objectOf(initialize(space, space.createRaw())).id;
  }

  #names(): Namespace {
    return this.#space.get(this.id, Namespace);
  }

  get exists(): boolean {
    return this.#space.has(this.id);
  }

  get count(): number {
    return this.#names().count;
  }

  find(name: string): NameEntry | undefined {
    const entry = findEntry(this.#names(), name);
    return entry === undefined ? undefined : described(entry, targetId(entry));
  }

  /** Sorted. */
  list(): NameEntry[] {
    return listed(this.#names());
  }

  /** Throws NameExists, NameInvalid. */
  put(name: string, kind: 'object' | 'namespace', id: ObjectId, owns: boolean): void {
    const target = this.#space.object(id);
    this.#insert(name, (entry) => {
      entry.kind = kind;
      entry.owns = owns;
      entry.target = target;
    });
  }

  /** `to` is a path, or one from this namespace on, with `..` for the one above. */
  putLink(name: string, to: string): void {
    demandLink(to);
    this.#insert(name, (entry) => {
      entry.kind = 'link';
      entry.path = to;
    });
  }

  #insert(name: string, fill: (entry: Entry) => void): void {
    if (splitPath(`/${name}`).length !== 1) throw new TwzError('NameInvalid', `"${name}" is no name`, { name });
    const names = this.#names();
    if (findEntry(names, name) !== undefined) throw new TwzError('NameExists', `"${name}" is taken`, { name });
    insert(this.#space, names, name, fill);
  }

  /** From now on the name does, or does not, own its object. */
  setOwns(name: string, owns: boolean): void {
    const entry = findEntry(this.#names(), name);
    if (entry !== undefined && entry.owns !== owns) entry.owns = owns;
  }

  /** Takes a name out; what it led to stays. Throws NameMissing. */
  take(name: string): void {
    const entry = unchain(this.#names(), name);
    if (entry === undefined) throw new TwzError('NameMissing', `nothing has the name "${name}"`, { name });
    this.#space.free(entry);
  }
}

/** The ID that an entry leads to, read from the FOT: a name of a deleted object still tells it. Undefined for a link. */
function targetId(entry: Entry): ObjectId | undefined {
  const { handle } = objectOf(entry);
  if (handle.cold) handle.warm();
  const index = handle.dv.getUint32(offsetOf(entry) + targetOffset() + 4, true) >>> 8;
  const at = index === 0 || !(handle instanceof Handle) ? 0 : entryAt(handle, index);
  return at === 0 || !(handle instanceof Handle) ? undefined : readEntry(handle, index, at).id;
}

/** Makes a new entry lead to an object that is no longer there. */
function storeGone(entry: Entry, id: ObjectId): void {
  const { handle } = objectOf(entry);
  if (!(handle instanceof Handle)) return;
  const at = offsetOf(entry) + targetOffset();
  handle.mark(at + 4);
  handle.dv.setUint32(at + 4, (referToAny(handle, handle.kernel.handle(id)) << 8) >>> 0, true);
}

function targetOffset(): number {
  return Entry.layout.fields.find(({ name }) => name === 'target')?.offset ?? 0;
}
