/**
 * Reclaiming: which objects does nothing need any more?
 *
 * The FOTs say what refers to what, so nothing has to be parsed. Roots are all objects with an explicit lifetime (and so every
 * namespace); from them references are followed; a counted object that is not reached is deleted. Cycles of counted objects go too.
 * An object that is tied to a living one lives.
 *
 * Where other nodes have joined, they have references as well: what nothing here reaches is found first, they are asked (services/cluster/
 * marking.ts), and what they do not reach either is deleted.
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, FOT_FLAG, KIND } from '../abi/format.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import { isReplica } from './afar.ts';
import { fotEntries, idsWith } from './fot.ts';
import type { Kernel } from './kernel.ts';
import { deleteObject, ties } from './lifetime.ts';
import type { Handle } from './object.ts';

export interface Reclaimed {
  readonly objects: number;
  readonly deleted: readonly ObjectId[];
}

/** IDs of all live objects, in no order. */
export function* objectIds(kernel: Kernel): Generator<ObjectId> {
  if (kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed');
  const seen = new Set<string>();
  for (const [id, h] of kernel.handles) {
    if (h.state !== 'live' || h.slot === undefined) {
      if (h.state !== 'live') seen.add(id);
      continue;
    }
    seen.add(id);
    yield id;
  }
  const foreign = kernel.follower?.foreign;
  if (foreign !== undefined && foreign.size > 0)
    for (const [id, { removed }] of [...foreign]) {
      if (seen.has(id)) continue;
      seen.add(id);
      if (!removed) yield id;
    }
  for (const id of [...kernel.checkpointer.adoptions]) {
    if (seen.has(id)) continue;
    seen.add(id);
    yield id;
  }
  const { host, directory } = kernel;
  for (const part of host.list(`${directory}/objects`)) {
    for (const name of host.list(`${directory}/objects/${part}`)) {
      const id = name.replace(/\.twz$/, '');
      if (isId(id) && !seen.has(id)) yield id;
    }
  }
}

/** What other nodes say of what nothing here reaches. */
export interface Verdict {
  /** What they were asked for: nothing else is deleted. */
  readonly asked: ReadonlySet<ObjectId>;
  /** What they reach of it, and of what leads there. */
  readonly kept: ReadonlySet<ObjectId>;
}

/** Follows references from the roots of a space. */
export class Trace {
  readonly #kernel: Kernel;
  readonly reached = new Set<ObjectId>();
  readonly #todo: Handle[] = [];
  readonly counted: Handle[] = [];
  /** What collections have grown into, and what that is a part of. */
  readonly #homes = new Map<ObjectId, Handle>();
  /** Is told of references to what is not here. */
  readonly #absent: (id: ObjectId) => void;
  readonly objects: number;

  constructor(kernel: Kernel, absent: (id: ObjectId) => void = () => undefined) {
    this.#kernel = kernel;
    this.#absent = absent;
    const all = [...objectIds(kernel)].filter((id) => !kernel.checkpointer.awaitsRemoval(id));
    this.objects = all.length;
    const roots: Handle[] = [];
    for (const id of all) {
      const h = kernel.open(id);
      if (h.counted) this.counted.push(h);
      else roots.push(h);
    }
    for (const h of this.counted) if (h.kind !== KIND.immutable) for (const part of idsWith(h, FOT_FLAG.part)) this.#homes.set(part, h);
    for (const h of roots) this.#reach(h);
    this.#settle();
  }

  /** It is reached from elsewhere, with all that it leads to. */
  follow(id: ObjectId): void {
    if (this.reached.has(id)) return;
    if (this.#kernel.has(id)) this.#reach(this.#kernel.open(id));
    else this.#absent(id);
    this.#settle();
  }

  #reach(h: Handle): void {
    if (this.reached.has(h.id)) return;
    this.reached.add(h.id);
    this.#todo.push(h);
    // What is used in one part of an object uses the object.
    const home = this.#homes.get(h.id);
    if (home !== undefined) this.#reach(home);
  }

  #drain(): void {
    const kernel = this.#kernel;
    for (let h = this.#todo.pop(); h !== undefined; h = this.#todo.pop()) {
      for (const id of referredTo(h)) {
        if (kernel.has(id)) this.#reach(kernel.open(id));
        else this.#absent(id);
      }
    }
  }

  #settle(): void {
    this.#drain();
    for (let again = true; again;) {
      again = false;
      for (const h of this.counted) {
        if (h.state !== 'live' || this.reached.has(h.id) || !ties(h).some((id) => this.reached.has(id))) continue;
        this.#reach(h);
        this.#drain();
        again = true;
      }
    }
  }
}

/** What an object refers to. */
export function* referredTo(h: Handle): Generator<ObjectId> {
  // What the running transaction took the last pointer from leads nowhere any more; its entry is freed at the commit.
  const exact = (h.flags & FLAG.raw) === 0;
  for (const { id, count } of fotEntries(h)) if (id !== undefined && !(exact && count === 0)) yield id;
}

/** Counted objects that nothing here reaches. */
export function unreached(kernel: Kernel): ObjectId[] {
  const { counted, reached } = new Trace(kernel);
  return counted.filter(({ id }) => !reached.has(id)).map(({ id }) => id);
}

/** Deletes unreachable counted objects. Inside a transaction. Throws NotJoined where there are some of other nodes and nobody was asked. */
export function reclaim(kernel: Kernel, verdict?: Verdict): Reclaimed {
  const trace = new Trace(kernel);
  for (const id of verdict?.kept ?? []) trace.follow(id);
  const deleted: ObjectId[] = [];
  for (const h of trace.counted) {
    if (trace.reached.has(h.id) || verdict?.asked.has(h.id) === false) continue;
    // It came to be another node's meanwhile.
    if (verdict !== undefined && isReplica(h)) continue;
    // A part is gone with its object.
    if (h.state === 'live') deleteObject(kernel, h);
    deleted.push(h.id);
  }
  return { objects: trace.objects, deleted };
}
