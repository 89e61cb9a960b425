/**
 * The judge: what a space holds, kept a second time in plain JavaScript. Every operation of a workload is done to the space through the
 * public API and to a `World`; both are written down in the same words (`facts.ts`) and must agree.
 */
import type { ObjectId } from '../index.ts';
import { briefBytes, docLine, itemWord, nameLine, rawLine, type DocFacts } from './facts.ts';

/** An item of a document: a place in its object. */
export interface ItemModel {
  readonly offset: number;
  readonly tag: number;
  readonly note: string;
}

export type PeerModel =
  | { readonly to: 'nothing' }
  | { readonly to: 'object'; readonly id: ObjectId }
  | { readonly to: 'name'; readonly path: string };

interface Lifetime {
  readonly id: ObjectId;
  readonly ties: readonly ObjectId[];
  readonly counted: boolean;
  /** Deleted, and kept by a tie. */
  readonly doomed: boolean;
  readonly immutable: boolean;
}

/** Replaced, never changed: so a copy of the world is cheap. */
export interface DocModel extends Lifetime {
  readonly kind: 'doc';
  readonly values: Omit<DocFacts, 'id' | 'ties' | 'items' | 'pick' | 'peer' | 'any' | 'immutable'>;
  /** The linked list, from its head. */
  readonly items: readonly ItemModel[];
  readonly pick: { readonly id: ObjectId; readonly offset: number } | undefined;
  readonly peer: PeerModel;
  readonly any: ObjectId | undefined;
}

export interface RawModel extends Lifetime {
  readonly kind: 'raw';
  readonly content: Uint8Array;
}

export type ObjectModel = DocModel | RawModel;

export type NameModel =
  | { readonly kind: 'object'; readonly id: ObjectId; readonly owns: boolean }
  | { readonly kind: 'namespace'; readonly id: ObjectId; readonly names: Map<string, NameModel> }
  | { readonly kind: 'link'; readonly target: string };

function cloneNames(names: Map<string, NameModel>): Map<string, NameModel> {
  const copy = new Map<string, NameModel>();
  for (const [name, entry] of names) copy.set(name, entry.kind === 'namespace' ? { ...entry, names: cloneNames(entry.names) } : entry);
  return copy;
}

const LINKS_MAX = 32;

export class World {
  readonly objects: Map<ObjectId, ObjectModel>;
  readonly names: Map<string, NameModel>;

  constructor(objects = new Map<ObjectId, ObjectModel>(), names = new Map<string, NameModel>()) {
    this.objects = objects;
    this.names = names;
  }

  clone(): World {
    return new World(new Map(this.objects), cloneNames(this.names));
  }

  docs(): DocModel[] {
    return [...this.objects.values()].filter((object) => object.kind === 'doc');
  }

  raws(): RawModel[] {
    return [...this.objects.values()].filter((object) => object.kind === 'raw');
  }

  change(id: ObjectId, changes: Partial<Omit<DocModel, 'id' | 'kind'>>): void {
    const object = this.objects.get(id);
    if (object !== undefined) this.objects.set(id, { ...object, ...changes });
  }

  // --- lifetime -------------------------------------------------------------------------------------------------------------

  /** Is it tied, perhaps by way of deleted ones, to something that is there and not deleted? */
  #kept(object: ObjectModel, seen: Set<ObjectId> = new Set()): boolean {
    seen.add(object.id);
    return object.ties.some((tie) => {
      if (seen.has(tie) || !this.#live(tie)) return false;
      const to = this.objects.get(tie);
      return to === undefined || !to.doomed || this.#kept(to, seen);
    });
  }

  #live(id: ObjectId): boolean {
    return this.objects.has(id) || this.#namespaceIds().has(id);
  }

  #namespaceIds(): Set<ObjectId> {
    const ids = new Set<ObjectId>();
    const walk = (names: Map<string, NameModel>): void => {
      for (const entry of names.values()) {
        if (entry.kind !== 'namespace') continue;
        ids.add(entry.id);
        walk(entry.names);
      }
    };
    walk(this.names);
    return ids;
  }

  delete(id: ObjectId): void {
    const object = this.objects.get(id);
    if (object === undefined) return;
    if (this.#kept(object)) {
      this.change(id, { doomed: true });
      return;
    }
    this.objects.delete(id);
    this.settle();
  }

  /** Deletes every doomed object that nothing keeps any more; each may free the next. */
  settle(): void {
    for (let again = true; again;) {
      again = false;
      for (const object of this.objects.values()) {
        if (!object.doomed || this.#kept(object)) continue;
        this.objects.delete(object.id);
        again = true;
      }
    }
  }

  untie(id: ObjectId, to: ObjectId): void {
    const object = this.objects.get(id);
    if (object === undefined) return;
    this.change(id, { ties: object.ties.filter((tie) => tie !== to) });
    if (object.doomed) this.settle();
  }

  /** Deletes the counted objects that nothing reaches. */
  reclaim(): void {
    const reached = new Set<ObjectId>();
    const reach = (id: ObjectId): void => {
      const object = this.objects.get(id);
      if (object === undefined || reached.has(id)) return;
      reached.add(id);
      if (object.kind === 'raw') return;
      if (object.peer.to === 'object') reach(object.peer.id);
      if (object.any !== undefined) reach(object.any);
      if (object.pick !== undefined) reach(object.pick.id);
    };
    const reachNames = (names: Map<string, NameModel>): void => {
      for (const entry of names.values()) {
        if (entry.kind === 'object') reach(entry.id);
        else if (entry.kind === 'namespace') reachNames(entry.names);
      }
    };
    // The space's own list of doomed objects refers to them.
    for (const object of this.objects.values()) if (!object.counted || object.doomed) reach(object.id);
    reachNames(this.names);
    for (let before = -1; before !== reached.size;) {
      before = reached.size;
      for (const object of this.objects.values()) if (object.ties.some((tie) => reached.has(tie))) reach(object.id);
    }
    for (const object of [...this.objects.values()]) if (object.counted && !reached.has(object.id)) this.delete(object.id);
  }

  // --- names ----------------------------------------------------------------------------------------------------------------

  namespace(path: string): Map<string, NameModel> | undefined {
    let names: Map<string, NameModel> | undefined = this.names;
    for (const part of path.split('/').filter((each) => each !== '')) {
      const entry: NameModel | undefined = names?.get(part);
      names = entry?.kind === 'namespace' ? entry.names : undefined;
    }
    return names;
  }

  /** Paths of all namespaces; '' is the root. */
  namespaces(): string[] {
    const paths: string[] = [];
    const walk = (path: string, names: Map<string, NameModel>): void => {
      paths.push(path);
      for (const [name, entry] of names) if (entry.kind === 'namespace') walk(`${path}/${name}`, entry.names);
    };
    walk('', this.names);
    return paths;
  }

  find(path: string, links = 0): NameModel | undefined {
    const cut = path.lastIndexOf('/');
    const entry = this.namespace(path.slice(0, cut))?.get(path.slice(cut + 1));
    if (entry?.kind === 'link') return links < LINKS_MAX ? this.find(entry.target, links + 1) : undefined;
    return entry;
  }

  /** Takes a name away, with what it owns. */
  drop(names: Map<string, NameModel>, name: string): void {
    const entry = names.get(name);
    names.delete(name);
    if (entry?.kind === 'object' && entry.owns) this.delete(entry.id);
    else if (entry?.kind === 'namespace') {
      for (const child of [...entry.names.keys()]) this.drop(entry.names, child);
      // Objects that were tied to the namespace's own object cannot be: nothing hands it out.
    }
  }

  // --- in words -------------------------------------------------------------------------------------------------------------

  #target(id: ObjectId | undefined): string {
    return id === undefined ? 'null' : this.objects.has(id) ? id : `ObjectDeleted ${id}`;
  }

  #peer(peer: PeerModel): string {
    if (peer.to === 'nothing') return 'null';
    if (peer.to === 'object') return this.#target(peer.id);
    const entry = this.find(peer.path);
    if (entry === undefined) return 'NameUnresolved';
    if (entry.kind !== 'object') return 'TypeMismatch';
    const object = this.objects.get(entry.id);
    return object?.kind === 'raw' ? 'TypeMismatch' : this.#target(entry.id);
  }

  #pick(pick: DocModel['pick']): string {
    if (pick === undefined) return 'null';
    return this.objects.has(pick.id) ? `${pick.id}+${pick.offset}` : `ObjectDeleted ${pick.id}`;
  }

  /** The whole world, line by line. */
  toLines(): string[] {
    const lines: string[] = [];
    for (const object of this.objects.values()) {
      const { id, ties, immutable } = object;
      if (object.kind === 'raw') lines.push(rawLine({ id, ties, content: briefBytes(object.content) }));
      else {
        const { values, items, pick, peer, any } = object;
        lines.push(
          docLine({
            id,
            ties,
            immutable,
            ...values,
            items: items.map(({ offset, tag, note }) => itemWord(offset, tag, note)),
            pick: this.#pick(pick),
            peer: this.#peer(peer),
            any: this.#target(any),
          }),
        );
      }
    }
    lines.sort();
    const walk = (path: string, names: Map<string, NameModel>): void => {
      for (const name of [...names.keys()].sort()) {
        const entry = names.get(name);
        if (entry === undefined) continue;
        lines.push(nameLine(`${path}/${name}`, entry));
        if (entry.kind === 'namespace') walk(`${path}/${name}`, entry.names);
      }
    };
    walk('', this.names);
    return lines;
  }
}
