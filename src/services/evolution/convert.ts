/**
 * Evolution, carried out: an object's structs are converted to the program's layouts, in one transaction.
 *
 * Two ways. Without code each struct hands over what it owns: text, bytes and references are taken, not copied, and a struct that fits
 * stays in its block. With code, everything that changes is built beside the old data and copied from it, so that the code finds the old
 * data whole wherever it looks; then the old is let go, and what fits goes back into its old place.
 *
 * A collection whose values change is filled anew, behind a header of its own, from the old one; then the old one's blocks go. Where the
 * values keep their size they are converted where they lie. One that has grown into further objects was filled before (stage.ts), with
 * copies of what its values own; here its header is put in the place of the old one.
 *
 * Invariants: every pointer inside the object leads to the struct that it led to; a pointer from another object that names a place which
 * a struct has left finds it by the object's forwards; a place that was left stays taken, and no new struct comes to lie there.
 */
import { META, PAGE } from '../../abi/format.ts';
import { TwzError, assert } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { ObjectId } from '../../abi/id.ts';
import { blockAround } from '../../kernel/allocator.ts';
import { entryAt, readEntry, referAgain } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import { POOL_LIMITS, poolTakeOver } from '../../lib/collections/pool.ts';
import { alignOf, type ObjectSchema, type Shape, type StructShape } from '../check/schema.ts';
import { contentsOf, Place, type CollectionShape, type Content, type NewContent } from './contents.ts';
import { forwardsOf, nameWord, storeForwards, type Forward } from './forwards.ts';
import { hasCollection, holdsCollection, inlineOf, inlineOfPlan, type Inline } from './inline.ts';
import { Moves, type Spot } from './moves.ts';
import { loadNumber, storeNumber } from './numbers.ts';
import { isSameContent, type CollectionOperation, type Operation, type Plan, type Stage, type StructPlan } from './plan.ts';
import { leadsOn, type Fate, type Survey, type TypedPointer } from './survey.ts';

interface Job {
  readonly at: number;
  readonly plan: StructPlan;
  readonly room: number;
  /** Where it is put together, and where it goes. */
  build: number;
  final: number;
}

/** A struct's bytes, `base` in `bytes`. They lie at `at` of `h` as well, for code to read and for what collections hold; at first at `origin`. */
interface Source {
  readonly h: Handle;
  readonly bytes: DataView;
  readonly base: number;
  readonly at: number;
  readonly origin: number;
}

function shifted({ h, bytes, base, at, origin }: Source, by: number): Source {
  return { h, bytes, base: base + by, at: at + by, origin: origin + by };
}

function sourceAt(h: Handle, at: number, size: number): Source {
  if (h.cold) h.warm();
  return { h, bytes: new DataView(h.u8.slice(at, at + size).buffer), base: 0, at, origin: at };
}

/** What a survey says about a plan before anything is changed. */
export interface Prospect {
  readonly moves: number;
  readonly changes: number;
  /** A changed struct that a pointer leads to and that is part of something unknown. */
  readonly stray: string | undefined;
}

function staysIn(plan: StructPlan, room: number): boolean {
  return plan.steady && plan.size <= room;
}

export function prospect(plan: Plan, survey: Survey, fate: (shape: CollectionShape) => Fate): Prospect {
  let [moves, changes] = [0, 0];
  let stray: string | undefined;
  const taken = new Set<number>();
  for (const { at, struct, room } of survey.containers()) {
    const of = plan.structs.get(struct.name);
    if (of === undefined || of.same) continue;
    changes++;
    if (room === 0 || taken.has(at)) stray = struct.name;
    else if (!staysIn(of, room)) moves++;
    taken.add(at);
  }
  for (const { shape } of survey.collections) {
    if (fate(shape) !== 'goes') continue;
    changes++;
    moves++;
  }
  return { moves, changes, stray };
}

/** A collection that was filled beside its old one, in objects of its own. Its header lies at `at` of `home`. */
export interface Staged {
  readonly operation: CollectionOperation;
  readonly home: Handle;
  readonly at: number;
}

/** What ends a conversion; the transaction that it is in undoes it. */
export interface Refusal {
  /** A collection of this type no longer fits its home. */
  readonly outgrown: (type: string) => never;
  /** In an object that goes is what a reference to a `type` leads to, and is no value of its collection. */
  readonly stray: (id: ObjectId, type: string) => never;
}

export class Conversion {
  readonly #h: Handle;
  readonly #refusal: Refusal;
  readonly #plan: Plan;
  readonly #fate: (shape: CollectionShape) => Fate;
  readonly #code: boolean;
  readonly #moved = new Moves();
  /** Pointers that were stored, and may lead to where something was. */
  #loose: TypedPointer[] = [];
  /** By the place of the old header in the object. */
  readonly #staged = new Map<number, Staged>();
  /** Objects that go, with all that is in them; and the versions in which they were read. */
  readonly #going = new Map<Handle, number>();
  /** Blocks of collections that structs have left, and those places. */
  readonly #held = new Set<number>();
  /** Copies of structs that were built over. Each keeps its place to the end, as what reads a collection remembers its place. */
  readonly #aside: number[] = [];
  readonly #left: (readonly [at: number, size: number])[] = [];
  /** Headers of collections that lie elsewhere now. */
  readonly #handedOver = new Map<Handle, Set<number>>();
  /** Structs inside a value. */
  readonly #inline = new Map<Operation, readonly Inline[]>();
  readonly #targets = new Map<Handle, Map<number, Handle | undefined>>();

  constructor(h: Handle, plan: Plan, fate: (shape: CollectionShape) => Fate, refusal: Refusal) {
    this.#h = h;
    this.#refusal = refusal;
    this.#plan = plan;
    this.#fate = fate;
    this.#code = plan.code;
  }

  /** Converts all of an object but its header. Returns the root's place. `outside`: pointers in other objects that it shall correct. */
  run(survey: Survey, outside: readonly TypedPointer[] = []): number {
    const h = this.#h;
    const jobs: Job[] = [];
    const rest: { readonly at: number; readonly struct: StructShape }[] = [];
    for (const { at, struct, room } of survey.containers()) {
      const plan = this.#plan.structs.get(struct.name);
      if (plan === undefined || plan.same) rest.push({ at, struct });
      else jobs.push({ at, plan, room, build: at, final: at });
    }
    h.held = this.#held;
    try {
      for (const job of jobs) this.#place(job);
      for (const job of jobs) this.#build(job);
      this.#targets.clear();
      for (const { at, struct } of rest)
        this.#references(at, struct, this.#plan.stored, (place, type) => this.#correct({ h, at: place, type }));
      for (const list of [survey.pointers, outside, this.#loose]) for (const each of list) this.#correct(each);
      if (this.#code) this.#goBack(jobs);
    } finally {
      h.held = undefined;
    }
    for (const at of this.#aside) h.release(at);
    for (const { at, final, plan } of jobs) if (final !== at) this.#left.push([at, plan.old.size]);
    for (const [at, size] of this.#left) {
      h.markRange(at, size);
      h.u8.fill(0, at, at + size);
    }
    this.#forward();
    const root = h.dv.getUint32(META.root, true);
    return this.#near(this.#plan.stored.root, root) ?? root;
  }

  #place(job: Job): void {
    const { plan, at } = job;
    const stays = staysIn(plan, job.room);
    if (this.#code || !stays) job.build = this.#h.allocate(plan.size);
    if (!stays) job.final = job.build;
    this.#note(plan.old.name, this.#h, at, this.#h, job.final);
    for (const { name, from, to } of inlineOfPlan(plan, at, job.final)) this.#note(name, this.#h, from, this.#h, to);
  }

  #build({ at, build, plan }: Job): void {
    const h = this.#h;
    const { size } = plan.old;
    let source = sourceAt(h, at, size);
    if (build !== at) {
      this.struct(plan, source, h, build);
      return;
    }
    // What lies there is still asked for where collections are.
    const aside = plan.stages.some(
      ({ operations, dropped }) => operations.some(holdsCollection) || dropped.some(({ shape }) => hasCollection(shape)),
    );
    if (aside) {
      source = { ...source, at: h.allocate(size) };
      this.#aside.push(source.at);
      h.markRange(source.at, size);
      h.u8.copyWithin(source.at, at, at + size);
    }
    h.markRange(at, Math.max(size, plan.size));
    h.u8.fill(0, at, at + Math.max(size, plan.size));
    this.struct(plan, source, h, at);
  }

  /** The name that a struct has in the program. */
  #nameOf(stored: string): string {
    return this.#plan.structs.get(stored)?.type.name ?? stored;
  }

  #note(name: string, from: Handle, at: number, to: Handle, toAt: number): void {
    this.#moved.note(this.#nameOf(name), from, at, to, toAt);
  }

  #near(name: string, at: number): number | undefined {
    const now = this.#moved.find(this.#nameOf(name), this.#h, at);
    return now?.h === this.#h ? now.at : undefined;
  }

  // --- one struct ---------------------------------------------------------------------------------------------------------

  /** Converts one struct, to `at` of `to`, which is zeroed. `mapped`: its pointers lead to new places already. */
  struct(plan: StructPlan, from: Source, to: Handle, at: number, mapped = false): void {
    let source = from;
    for (const [i, stage] of plan.stages.entries()) {
      const last = i === plan.stages.length - 1;
      const target = last ? at : to.allocate(stage.fresh.size);
      this.#stage(stage, source, to, target, mapped || i > 0);
      if (i > 0) {
        this.#letGo(to, source.at, stage.old, stage.oldSchema);
        to.release(source.at);
      }
      if (!last) source = sourceAt(to, target, stage.fresh.size);
    }
  }

  #takes(source: Source, to: Handle): boolean {
    return !this.#code && source.h === to;
  }

  #stage(stage: Stage, source: Source, to: Handle, target: number, mapped: boolean): void {
    if (to.cold) to.warm();
    to.markRange(target, stage.fresh.size);
    for (const operation of stage.operations) this.#apply(operation, source, to, target, mapped);
    if (this.#takes(source, to)) for (const { offset, shape } of stage.dropped) this.#drop(shifted(source, offset), shape, stage.oldSchema);
    const { migration } = stage;
    if (migration === undefined) return;
    const fresh = new stage.type.accessor(to, target);
    for (const [name, value] of Object.entries(migration.defaults)) if (stage.added.has(name)) Reflect.set(fresh, name, value);
    migration.code?.(new migration.from.accessor(source.h, source.at), fresh);
  }

  #apply(operation: Operation, whole: Source, h: Handle, target: number, mapped: boolean): void {
    const source = shifted(whole, operation.from);
    const { bytes, base: from } = source;
    const to = target + operation.to;
    if (h.cold) h.warm();
    switch (operation.kind) {
      case 'copy':
        for (let i = 0; i < operation.size; i++) h.u8[to + i] = bytes.getUint8(from + i);
        return;
      case 'number':
        storeNumber(h.dv, to, operation.fresh, loadNumber(bytes, from, operation.old));
        return;
      case 'choice': {
        const value = operation.map[operation.old === 1 ? bytes.getUint8(from) : bytes.getUint16(from, true)];
        if (value === undefined) return source.h.corrupt(source.at, 'not a value of the enumeration');
        if (operation.fresh === 1) h.dv.setUint8(to, value);
        else h.dv.setUint16(to, value, true);
        return;
      }
      case 'block':
        this.#block(source, h, to);
        return;
      case 'pointer':
        this.#pointer(source, h, to, operation.target, mapped);
        return;
      case 'struct':
        this.struct(operation.plan, source, h, to, mapped);
        return;
      case 'collection':
        this.#collection(operation, source, h, to);
        return;
      case 'array':
        for (let i = 0; i < operation.length; i++)
          this.#apply(operation.each, shifted(source, i * operation.fromStride), h, to + i * operation.toStride, mapped);
        return;
      case 'optional':
        if (operation.fromAt !== undefined && bytes.getUint8(from) === 0) return;
        h.dv.setUint8(to, 1);
        this.#apply(operation.of, shifted(source, operation.fromAt ?? 0), h, to + operation.toAt, mapped);
    }
  }

  #block(source: Source, h: Handle, to: number): void {
    const offset = source.bytes.getUint32(source.base, true);
    const length = source.bytes.getUint32(source.base + 4, true);
    let place = offset;
    if (offset !== 0 && !this.#takes(source, h)) {
      const from = source.h;
      if (from.cold) from.warm();
      if (offset + length > from.size) from.corrupt(source.at, `text or bytes lie at ${offset}, ${length} bytes long, outside the object`);
      const held = from.u8.slice(offset, offset + length);
      place = h.allocate(length);
      h.markRange(place, length);
      h.u8.set(held, place);
    }
    h.dv.setUint32(to, place, true);
    h.dv.setUint32(to + 4, length, true);
  }

  #pointer(source: Source, h: Handle, to: number, target: string | undefined, mapped: boolean): void {
    let low = source.bytes.getUint32(source.base, true);
    let high = source.bytes.getUint32(source.base + 4, true);
    if (low === 0 && high === 0) return;
    if (source.h === h) {
      if (high !== 0 && this.#code) referAgain(h, high >>> 8);
      if (high === 0 && target !== undefined && !mapped && h === this.#h) low = this.#near(target, low) ?? low;
    } else {
      const index = high === 0 ? h.refer(source.h) : h.referAs(source.h, high >>> 8);
      // A link to the object that it lies in must still be something.
      if (index === 0 && low === 0) low = PAGE;
      high = (index << 8) >>> 0;
    }
    h.dv.setUint32(to, low, true);
    h.dv.setUint32(to + 4, high, true);
    if (target !== undefined) this.#loose.push({ h, at: to, type: target });
  }

  // --- collections --------------------------------------------------------------------------------------------------------

  #collection(operation: CollectionOperation, source: Source, h: Handle, to: number): void {
    const { old, fresh, oldSchema } = operation;
    const from = source.h;
    const staged = from === h && h === this.#h ? this.#staged.get(source.origin) : undefined;
    if (staged !== undefined && staged.operation.old === old && staged.operation.fresh === fresh) {
      this.#takeOver(staged, source, h, to);
      return;
    }
    if (from === h && (isSameContent(operation) || this.#fate(old) === 'inPlace')) {
      this.#handOver(source);
      h.markRange(to, fresh.size);
      h.u8.copyWithin(to, source.at, source.at + fresh.size);
      return;
    }
    const fill = this.fill(operation, from, source.at, h, to);
    if (h !== this.#h) {
      for (const _entry of fill);
      return;
    }
    const { home } = POOL_LIMITS;
    POOL_LIMITS.home = Math.max(home, POOL_LIMITS.member);
    try {
      for (const _entry of fill);
    } finally {
      POOL_LIMITS.home = home;
    }
    const contents = contentsOf(operation.freshSchema, fresh);
    // What lies outside could not be found by those who name its old place.
    if (contents?.hasMembers(h, to) === true) this.#refusal.outgrown(old.type);
    if (!this.#takes(source, h)) return;
    contentsOf(oldSchema, old)?.release(h, source.at);
    this.#handOver(source);
  }

  #handOver({ h, at }: Source): void {
    let ofObject = this.#handedOver.get(h);
    if (ofObject === undefined) this.#handedOver.set(h, (ofObject = new Set()));
    ofObject.add(at);
  }

  /** Fills the newer collection at `to` of `h` from the older one, an entry each time it is asked. `last`: where its header will be. */
  *fill(operation: CollectionOperation, from: Handle, at: number, h: Handle, to: number, last = h): Generator<void> {
    const { oldSchema, freshSchema, old, fresh, value, type } = operation;
    const older = contentsOf(oldSchema, old);
    const newer = contentsOf(freshSchema, fresh);
    if (older === undefined || newer === undefined)
      throw new TwzError('NotSupported', `${old.type}: such collections cannot be migrated`, { type: old.type });
    const convert = (content: Content): NewContent => {
      if (!(content instanceof Place)) return content;
      assert(value !== undefined, 'a place in a collection without values');
      const into = (home: ObjectHandle, place: number): void => this.#content(value, old, content, home as Handle, place);
      return { fill: into };
    };
    const whole = fresh.collection === 'IndexedMap' ? indexingAt(type, h, to) : undefined;
    for (const key of newer.fill(h, to, older, from, at, convert)) {
      whole?.$index(key, last);
      yield;
    }
  }

  /** Converts one value. */
  #content(operation: Operation, shape: CollectionShape, place: Place, h: Handle, to: number): void {
    const { $h: from, $o: at } = place;
    const size = shape.value?.size ?? 0;
    const source = sourceAt(from, at, size);
    if (h.cold) h.warm();
    h.markRange(to, Math.max(1, size));
    let names = this.#inline.get(operation);
    if (names === undefined) this.#inline.set(operation, (names = inlineOf([operation])));
    for (const each of names) this.#note(each.name, from, at + each.from, h, to + each.to);
    this.#apply(operation, source, h, to, false);
    // With the collection that it is in, or the one around that.
    if (from !== h && from !== this.#h) this.leave(from);
    if (names.length === 0 || from !== this.#h || h !== from) return;
    const block = blockAround(from, at);
    if (block !== undefined) this.#held.add(block.at);
    this.#left.push([at, size]);
  }

  /** Enters a collection that was filled beside the old one whose header lies at `at`. */
  stage(at: number, staged: Staged): void {
    this.#staged.set(at, staged);
  }

  /** An object that goes when it is done; from now on it must not be changed. */
  leave(part: Handle): void {
    if (this.#going.has(part)) return;
    if (part.cold) part.warm();
    this.#going.set(part, part.version);
  }

  get going(): ReadonlyMap<Handle, number> {
    return this.#going;
  }

  #takeOver({ operation, home, at }: Staged, source: Source, h: Handle, to: number): void {
    const contents = contentsOf(operation.freshSchema, operation.fresh);
    if (home.cold) home.warm();
    h.markRange(to, operation.fresh.size);
    h.u8.set(home.u8.subarray(at, at + operation.fresh.size), to);
    for (const pool of contents?.pools ?? []) {
      h.u8.fill(0, to + pool, to + pool + 24);
      poolTakeOver(h, to + pool, home, at + pool);
    }
    if (this.#code) return;
    this.#dropContent(h, source.at, operation.old, operation.oldSchema);
    this.#handOver(source);
  }

  // --- letting go -----------------------------------------------------------------------------------------------------------

  /** Gives back what a struct owns. */
  #letGo(h: Handle, at: number, struct: StructShape, schema: ObjectSchema): void {
    const source = sourceAt(h, at, struct.size);
    for (const { offset, shape } of struct.fields) this.#drop(shifted(source, offset), shape, schema);
  }

  /** Gives back what a value owns. */
  #drop(source: Source, shape: Shape, schema: ObjectSchema): void {
    const { h, bytes, base: at } = source;
    switch (shape.kind) {
      case 'text':
      case 'bytes':
        if (bytes.getUint32(at, true) !== 0) h.release(bytes.getUint32(at, true));
        return;
      case 'ref':
      case 'link':
        if (bytes.getUint32(at + 4, true) !== 0) h.unrefer(bytes.getUint32(at + 4, true) >>> 8);
        return;
      case 'struct':
        for (const field of schema.types.get(shape.type)?.fields ?? []) this.#drop(shifted(source, field.offset), field.shape, schema);
        return;
      case 'optional':
        if (bytes.getUint8(at) !== 0) this.#drop(shifted(source, shape.at), shape.of, schema);
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#drop(shifted(source, i * shape.stride), shape.of, schema);
        return;
      case 'collection':
        if (shape.collection === 'Graph' && shape.value !== undefined) this.#drop(source, shape.value, schema);
        else if (this.#handedOver.get(h)?.has(source.at) !== true) this.#dropContent(h, source.at, shape, schema);
        return;
      default:
    }
  }

  /** Gives back a collection: what its values own in its home, and the objects that it has beside that. */
  #dropContent(h: Handle, at: number, shape: CollectionShape, schema: ObjectSchema): void {
    const contents = contentsOf(schema, shape);
    if (contents === undefined) return;
    const { value } = shape;
    if (value !== undefined && leadsOn(value, schema)) {
      for (const place of contents.places(h, at)) {
        if (place.$h === h) this.#drop(sourceAt(h, place.$o, value.size), value, schema);
        else this.#dropMembers(place.$h, place.$o, value, schema);
      }
    }
    contents.release(h, at);
  }

  /** What lies in an object that goes need not be given back; but a collection there may have objects of its own. */
  #dropMembers(h: Handle, at: number, shape: Shape, schema: ObjectSchema): void {
    if (!hasCollection(shape, schema)) return;
    if (h.cold) h.warm();
    switch (shape.kind) {
      case 'struct':
        for (const field of schema.types.get(shape.type)?.fields ?? []) this.#dropMembers(h, at + field.offset, field.shape, schema);
        return;
      case 'optional':
        if (h.dv.getUint8(at) !== 0) this.#dropMembers(h, at + shape.at, shape.of, schema);
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#dropMembers(h, at + i * shape.stride, shape.of, schema);
        return;
      case 'collection': {
        const { value } = shape;
        if (shape.collection === 'Graph' && value !== undefined) {
          this.#dropMembers(h, at, value, schema);
          return;
        }
        const contents = contentsOf(schema, shape);
        if (contents === undefined) return;
        if (value !== undefined) for (const place of contents.places(h, at)) this.#dropMembers(place.$h, place.$o, value, schema);
        if (contents.hasMembers(h, at)) contents.release(h, at);
        return;
      }
      default:
    }
  }

  /** With code: the old data goes, and what fits takes its place. */
  #goBack(jobs: readonly Job[]): void {
    const h = this.#h;
    const built = new Map<number, number>();
    for (const { build, final, plan, at } of jobs) {
      if (build === final) continue;
      built.set(build, final);
      for (const { to } of inlineOfPlan(plan, at, 0)) built.set(build + to, final + to);
    }
    for (const { build, plan } of jobs) {
      const [fresh, schema] = freshOf(plan);
      this.#references(build, fresh, schema, (at) => {
        const low = h.dv.getUint32(at, true);
        const now = h.dv.getUint32(at + 4, true) === 0 ? built.get(low) : undefined;
        if (now !== undefined) h.setU32(at, now);
      });
    }
    for (const { at, build, final, plan } of jobs) {
      this.#letGo(h, at, plan.old, plan.oldSchema);
      if (build === final) continue;
      const length = Math.max(plan.old.size, plan.size);
      h.markRange(at, length);
      h.u8.fill(0, at, at + length);
      h.u8.copyWithin(at, build, build + plan.size);
      h.release(build);
    }
  }

  // --- pointers -------------------------------------------------------------------------------------------------------------

  /** Visits the references of a struct, those in what lies inline in it as well. */
  #references(at: number, struct: StructShape, schema: ObjectSchema, visit: (at: number, type: string) => void): void {
    for (const { offset, shape } of struct.fields) this.#referencesIn(at + offset, shape, schema, visit);
  }

  #referencesIn(at: number, shape: Shape, schema: ObjectSchema, visit: (at: number, type: string) => void): void {
    switch (shape.kind) {
      case 'ref':
        visit(at, shape.type);
        return;
      case 'struct': {
        const inner = schema.types.get(shape.type);
        if (inner !== undefined) this.#references(at, inner, schema, visit);
        return;
      }
      case 'optional':
        if (this.#h.dv.getUint8(at) !== 0) this.#referencesIn(at + shape.at, shape.of, schema, visit);
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#referencesIn(at + i * shape.stride, shape.of, schema, visit);
        return;
      default:
    }
  }

  /** The object that an entry of `h` leads to, where it is one that anything moved in. */
  #targetOf(h: Handle, index: number): Handle | undefined {
    let known = this.#targets.get(h);
    if (known === undefined) this.#targets.set(h, (known = new Map()));
    if (!known.has(index)) {
      const at = entryAt(h, index);
      const id = at === 0 ? undefined : readEntry(h, index, at).id;
      const target = id === undefined ? undefined : h.kernel.handle(id);
      known.set(index, target === this.#h || (target !== undefined && this.#going.has(target)) ? target : undefined);
    }
    return known.get(index);
  }

  /** Lets a pointer lead to where its target is now. False where that has not moved. */
  #correct({ h, at, type }: TypedPointer): boolean {
    if (this.#going.has(h)) return true;
    if (h.cold) h.warm();
    const low = h.dv.getUint32(at, true);
    const index = h.dv.getUint32(at + 4, true) >>> 8;
    if (low === 0) return true;
    const target = index === 0 ? h : this.#targetOf(h, index);
    if (target === undefined) return true;
    const now = this.#moved.find(this.#nameOf(type), target, low);
    if (now === undefined) {
      if (this.#going.has(target)) this.#refusal.stray(h.id, type);
      return false;
    }
    this.#store(h, at, index, now);
    return true;
  }

  #store(h: Handle, at: number, index: number, now: Spot): void {
    h.mark(at);
    const next = now.h === h ? 0 : h.refer(now.h);
    h.dv.setUint32(at, now.at, true);
    h.dv.setUint32(at + 4, (next << 8) >>> 0, true);
    if (index !== 0) h.unrefer(index);
  }

  /** Corrects pointers that were stored so far, some each time; those to what may still move are left for `run`. */
  *correctLoose(): Generator<void> {
    const loose = this.#loose;
    this.#loose = [];
    for (const each of loose) {
      if (!this.#correct(each)) this.#loose.push(each);
      yield;
    }
  }

  /** Enters the places that structs have left, beside those that they left before. */
  #forward(): void {
    if (!this.#moved.any) return;
    const list: Forward[] = [];
    const on = new Map<string, number>();
    const names = new Map<string, string[]>();
    for (const [old, { type }] of this.#plan.structs) names.set(type.name, [...(names.get(type.name) ?? []), old]);
    for (const { name, from, to } of this.#moved.within(this.#h)) {
      list.push({ from, to, name: nameWord(name) });
      for (const old of names.get(name) ?? [name]) on.set(`${nameWord(old)} ${from}`, to);
    }
    const renamed = new Map([...this.#plan.structs].map(([old, { type }]) => [nameWord(old), nameWord(type.name)]));
    for (const { from, to, name } of forwardsOf(this.#h))
      list.push({ from, to: on.get(`${name} ${to}`) ?? to, name: renamed.get(name) ?? name });
    if (list.length > 0) storeForwards(this.#h, list);
  }
}

/** Can its values be converted where they lie? */
export function keepsPlaces({ value, indexed, old, fresh, oldSchema, freshSchema }: CollectionOperation): boolean {
  if (indexed || old.collection === 'IndexedMap' || value?.kind !== 'struct' || old.value === undefined || fresh.value === undefined)
    return false;
  return (
    value.plan.steady &&
    old.value.size === fresh.value.size &&
    alignOf(oldSchema, old.value) === alignOf(freshSchema, fresh.value) &&
    leadsOn(old.value, oldSchema) === leadsOn(fresh.value, freshSchema)
  );
}

/** An indexed map, which enters a record that was stored without it in its indexes. */
interface Indexing {
  $index(key: Uint8Array, home: ObjectHandle): void;
}

function indexingAt(type: CollectionOperation['type'], h: Handle, at: number): Indexing {
  const made: unknown = new type.accessor(h, at);
  return made as Indexing;
}

function freshOf(plan: StructPlan): readonly [StructShape, ObjectSchema] {
  const last = plan.stages.at(-1);
  assert(last !== undefined, 'a plan without stages');
  return [last.fresh, last.freshSchema];
}
