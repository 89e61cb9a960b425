/**
 * Evolution, carried out: an object's structs are converted to the program's layouts, in one transaction.
 *
 * Two ways. Without code each struct hands over what it owns: text, bytes and references are taken, not copied, and a struct that fits
 * stays in its block. With code, everything that changes is built beside the old data and copied from it, so that the code finds the old
 * data whole wherever it looks; then the old is let go, and what fits goes back into its old place.
 *
 * Invariants: every pointer inside the object leads to the struct that it led to; a pointer from another object that names a place which
 * a struct has left finds it by the object's forwards; a place that was left stays taken.
 */
import { META } from '../../abi/format.ts';
import { assert } from '../../abi/errors.ts';
import { referAgain } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import type { ObjectSchema, Shape, StructShape } from '../check/schema.ts';
import { forwardsOf, nameWord, storeForwards, type Forward } from './forwards.ts';
import { loadNumber, storeNumber } from './numbers.ts';
import type { Operation, Plan, Stage, StructPlan } from './plan.ts';
import type { Survey } from './survey.ts';

interface Job {
  readonly at: number;
  readonly plan: StructPlan;
  readonly room: number;
  /** Where it is put together, and where it goes. */
  build: number;
  final: number;
}

interface Inline {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Structs inside a struct, arrays included, with their offsets before and after. */
function inlineOf(operations: readonly Operation[], from = 0, to = 0): Inline[] {
  return operations.flatMap((operation): Inline[] => {
    const [a, b] = [from + operation.from, to + operation.to];
    switch (operation.kind) {
      case 'struct':
        return [{ name: operation.plan.old.name, from: a, to: b }, ...inlineOfPlan(operation.plan, a, b)];
      case 'array':
        if (inlineOf([operation.each]).length === 0) return [];
        return Array.from({ length: operation.length }, (_, i) =>
          inlineOf([operation.each], a + i * operation.fromStride, b + i * operation.toStride),
        ).flat();
      case 'optional':
        return inlineOf([operation.of], a + (operation.fromAt ?? 0), b + operation.toAt);
      default:
        return [];
    }
  });
}

function inlineOfPlan(plan: StructPlan, from: number, to: number): Inline[] {
  let inline: Inline[] | undefined;
  for (const { operations } of plan.stages) {
    const next = inlineOf(operations);
    inline =
      inline?.flatMap((each): Inline[] => {
        const on = next.find((other) => other.from === each.to);
        return on === undefined ? [] : [{ name: each.name, from: each.from, to: on.to }];
      }) ?? next;
  }
  return (inline ?? []).map((each) => ({ name: each.name, from: from + each.from, to: to + each.to }));
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

export function prospect(plan: Plan, survey: Survey): Prospect {
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
  return { moves, changes, stray };
}

export class Conversion {
  readonly #h: Handle;
  readonly #plan: Plan;
  readonly #code: boolean;
  /** Old places by struct, and where those structs are now. */
  readonly #moved = new Map<string, Map<number, number>>();

  constructor(h: Handle, plan: Plan) {
    this.#h = h;
    this.#plan = plan;
    this.#code = plan.code;
  }

  /** Converts all of an object but its header. Returns the root's place. */
  run(survey: Survey): number {
    const h = this.#h;
    const jobs: Job[] = [];
    const rest: { readonly at: number; readonly struct: StructShape }[] = [];
    for (const { at, struct, room } of survey.containers()) {
      const plan = this.#plan.structs.get(struct.name);
      if (plan === undefined || plan.same) rest.push({ at, struct });
      else jobs.push({ at, plan, room, build: at, final: at });
    }
    for (const job of jobs) this.#place(job);
    for (const job of jobs) {
      const length = job.plan.old.size;
      const source = new DataView(h.u8.slice(job.at, job.at + length).buffer);
      h.markRange(job.build, Math.max(job.plan.size, job.build === job.at ? length : 0));
      if (job.build === job.at) h.u8.fill(0, job.at, job.at + Math.max(length, job.plan.size));
      this.struct(job.plan, source, 0, job.at, job.build);
    }
    for (const { at, struct } of rest) this.#patch(at, struct, this.#plan.stored, (name, place) => this.#moved.get(name)?.get(place));
    if (this.#code) this.#goBack(jobs);
    for (const { at, final, plan } of jobs) {
      if (final === at) continue;
      h.markRange(at, plan.old.size);
      h.u8.fill(0, at, at + plan.old.size);
    }
    this.#forward();
    const root = h.dv.getUint32(META.root, true);
    return this.#moved.get(this.#plan.stored.root)?.get(root) ?? root;
  }

  #place(job: Job): void {
    const { plan, at } = job;
    const stays = staysIn(plan, job.room);
    if (this.#code || !stays) job.build = this.#h.allocate(plan.size);
    if (!stays) job.final = job.build;
    this.#note(plan.old.name, at, job.final);
    for (const { name, from, to } of inlineOfPlan(plan, at, job.final)) this.#note(name, from, to);
  }

  #note(name: string, from: number, to: number): void {
    if (from === to) return;
    let ofName = this.#moved.get(name);
    if (ofName === undefined) this.#moved.set(name, (ofName = new Map()));
    ofName.set(from, to);
  }

  // --- one struct ---------------------------------------------------------------------------------------------------------

  /**
   * Converts one struct: `source` holds its bytes from `base` on, `at` is where it lies for code to read, `to` where it goes, zeroed.
   * `mapped`: its pointers lead to new places already.
   */
  struct(plan: StructPlan, source: DataView, base: number, at: number, to: number, mapped = false): void {
    const h = this.#h;
    let [bytes, offset, place] = [source, base, at];
    for (const [i, stage] of plan.stages.entries()) {
      const last = i === plan.stages.length - 1;
      const target = last ? to : h.allocate(stage.fresh.size);
      this.#stage(stage, bytes, offset, place, target, mapped || i > 0);
      if (i > 0) this.letGo(place, stage.old, stage.oldSchema);
      if (i > 0) h.release(place);
      if (!last) {
        bytes = new DataView(h.u8.slice(target, target + stage.fresh.size).buffer);
        [offset, place] = [0, target];
      }
    }
  }

  #stage(stage: Stage, source: DataView, base: number, at: number, to: number, mapped: boolean): void {
    const h = this.#h;
    h.markRange(to, stage.fresh.size);
    for (const operation of stage.operations) this.#apply(operation, source, base, at, to, mapped);
    if (!this.#code) for (const { offset, shape } of stage.dropped) this.#drop(source, base + offset, shape, stage.oldSchema);
    const { migration } = stage;
    if (migration === undefined) return;
    const fresh = new stage.type.accessor(h, to);
    for (const [name, value] of Object.entries(migration.defaults)) if (stage.added.has(name)) Reflect.set(fresh, name, value);
    migration.code?.(new migration.from.accessor(h, at), fresh);
  }

  #apply(operation: Operation, source: DataView, base: number, at: number, target: number, mapped: boolean): void {
    const h = this.#h;
    const from = base + operation.from;
    const to = target + operation.to;
    switch (operation.kind) {
      case 'copy':
        for (let i = 0; i < operation.size; i++) h.u8[to + i] = source.getUint8(from + i);
        return;
      case 'number':
        storeNumber(h.dv, to, operation.fresh, loadNumber(source, from, operation.old));
        return;
      case 'choice': {
        const value = operation.map[operation.old === 1 ? source.getUint8(from) : source.getUint16(from, true)];
        if (value === undefined) return h.corrupt(at + operation.from, 'not a value of the enumeration');
        if (operation.fresh === 1) h.dv.setUint8(to, value);
        else h.dv.setUint16(to, value, true);
        return;
      }
      case 'block':
        this.#block(source.getUint32(from, true), source.getUint32(from + 4, true), to);
        return;
      case 'pointer':
        this.#pointer(source.getUint32(from, true), source.getUint32(from + 4, true), to, mapped ? undefined : operation.target);
        return;
      case 'struct':
        this.struct(operation.plan, source, from, at + operation.from, to, mapped);
        return;
      case 'array':
        for (let i = 0; i < operation.length; i++) {
          const step = i * operation.fromStride;
          this.#apply(operation.each, source, from + step, at + operation.from + step, to + i * operation.toStride, mapped);
        }
        return;
      case 'optional':
        if (operation.fromAt !== undefined && source.getUint8(from) === 0) return;
        h.dv.setUint8(to, 1);
        this.#apply(
          operation.of,
          source,
          from + (operation.fromAt ?? 0),
          at + operation.from + (operation.fromAt ?? 0),
          to + operation.toAt,
          mapped,
        );
    }
  }

  #block(offset: number, length: number, to: number): void {
    const h = this.#h;
    let place = offset;
    if (this.#code && offset !== 0) {
      if (offset + length > h.size) h.corrupt(to, `text or bytes lie at ${offset}, ${length} bytes long, outside the object`);
      place = h.allocate(length);
      h.markRange(place, length);
      h.u8.copyWithin(place, offset, offset + length);
    }
    h.dv.setUint32(to, place, true);
    h.dv.setUint32(to + 4, length, true);
  }

  #pointer(low: number, high: number, to: number, target: string | undefined): void {
    const h = this.#h;
    if (high !== 0 && this.#code) referAgain(h, high >>> 8);
    const place = high === 0 && target !== undefined ? this.#moved.get(target)?.get(low) : undefined;
    h.dv.setUint32(to, place ?? low, true);
    h.dv.setUint32(to + 4, high, true);
  }

  // --- letting go -----------------------------------------------------------------------------------------------------------

  /** Gives back what a struct owns. */
  letGo(at: number, struct: StructShape, schema: ObjectSchema): void {
    const h = this.#h;
    const source = new DataView(h.u8.slice(at, at + struct.size).buffer);
    for (const { offset, shape } of struct.fields) this.#drop(source, offset, shape, schema);
  }

  /** Gives back what a value owns. */
  #drop(source: DataView, at: number, shape: Shape, schema: ObjectSchema): void {
    const h = this.#h;
    switch (shape.kind) {
      case 'text':
      case 'bytes':
        if (source.getUint32(at, true) !== 0) h.release(source.getUint32(at, true));
        return;
      case 'ref':
      case 'link':
        if (source.getUint32(at + 4, true) !== 0) h.unrefer(source.getUint32(at + 4, true) >>> 8);
        return;
      case 'struct':
        for (const field of schema.types.get(shape.type)?.fields ?? []) this.#drop(source, at + field.offset, field.shape, schema);
        return;
      case 'optional':
        if (source.getUint8(at) !== 0) this.#drop(source, at + shape.at, shape.of, schema);
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#drop(source, at + i * shape.stride, shape.of, schema);
        return;
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
      this.#patch(build, fresh, schema, (_, place) => built.get(place));
    }
    for (const { at, build, final, plan } of jobs) {
      this.letGo(at, plan.old, plan.oldSchema);
      if (build === final) continue;
      const length = Math.max(plan.old.size, plan.size);
      h.markRange(at, length);
      h.u8.fill(0, at, at + length);
      h.u8.copyWithin(at, build, build + plan.size);
      h.release(build);
    }
  }

  // --- pointers -------------------------------------------------------------------------------------------------------------

  /** Corrects the pointers of a struct that lead inside this object. */
  #patch(at: number, struct: StructShape, schema: ObjectSchema, place: (name: string, at: number) => number | undefined): void {
    for (const { offset, shape } of struct.fields) this.#patchValue(at + offset, shape, schema, place);
  }

  #patchValue(at: number, shape: Shape, schema: ObjectSchema, place: (name: string, at: number) => number | undefined): void {
    const h = this.#h;
    switch (shape.kind) {
      case 'ref': {
        const low = h.dv.getUint32(at, true);
        if (low === 0 || h.dv.getUint32(at + 4, true) !== 0) return;
        const now = place(shape.type, low);
        if (now === undefined) return;
        h.mark(at);
        h.dv.setUint32(at, now, true);
        return;
      }
      case 'struct': {
        const inner = schema.types.get(shape.type);
        if (inner !== undefined) this.#patch(at, inner, schema, place);
        return;
      }
      case 'optional':
        if (h.dv.getUint8(at) !== 0) this.#patchValue(at + shape.at, shape.of, schema, place);
        return;
      case 'array':
        for (let i = 0; i < shape.length; i++) this.#patchValue(at + i * shape.stride, shape.of, schema, place);
        return;
      default:
    }
  }

  /** Enters the places that structs have left, beside those that they left before. */
  #forward(): void {
    if (this.#moved.size === 0) return;
    const list: Forward[] = [];
    const on = new Map<string, number>();
    for (const [old, places] of this.#moved) {
      const name = nameWord(this.#plan.structs.get(old)?.type.name ?? old);
      for (const [from, to] of places) {
        list.push({ from, to, name });
        on.set(`${nameWord(old)} ${from}`, to);
      }
    }
    const renamed = new Map([...this.#plan.structs].map(([old, { type }]) => [nameWord(old), nameWord(type.name)]));
    for (const { from, to, name } of forwardsOf(this.#h))
      list.push({ from, to: on.get(`${name} ${to}`) ?? to, name: renamed.get(name) ?? name });
    storeForwards(this.#h, list);
  }
}

/**
 * Converts one struct that nothing points to, as the value of a collection: from `at` to `to`, zeroed and `plan.root.size` bytes long. What
 * the older one owned is the newer one's afterwards, or given back; its memory is the caller's. `plan` is of the struct as a root.
 */
export function convertStruct(h: Handle, plan: Plan, at: number, to: number): void {
  const { root } = plan;
  const conversion = new Conversion(h, plan);
  conversion.struct(root, new DataView(h.u8.slice(at, at + root.old.size).buffer), 0, at, to);
  if (plan.code) conversion.letGo(at, root.old, root.oldSchema);
}

function freshOf(plan: StructPlan): readonly [StructShape, ObjectSchema] {
  const last = plan.stages.at(-1);
  assert(last !== undefined, 'a plan without stages');
  return [last.fresh, last.freshSchema];
}
