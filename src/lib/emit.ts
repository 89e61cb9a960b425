/**
 * The accessor compiler: writes a JavaScript class for a layout, so that every field access is a few inlined instructions with the
 * offset as a constant. One class a struct, made once when the struct is first used (`new Function`, as JSON-schema validators do):
 * closures shared between structs would share their type feedback and lose a factor of three (docs/decisions/0004).
 *
 * Only names that matched a strict pattern and values passed as arguments get into the source.
 */
import { TwzError } from '../abi/errors.ts';
import { PAGE } from '../abi/format.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import type { Field } from './fields.ts';
import * as runtime from './runtime.ts';
import type { Accessor } from './runtime.ts';
import type { Layout, LayoutField, StructImage } from './struct.ts';

import { INSPECT, inspectAccessor, inspectArray } from './inspect.ts';
export type { Accessor } from './runtime.ts';

export type AccessorClass = new (h: ObjectHandle, at: number) => Accessor & { $drop(): void };
export type CursorClass = new (h: ObjectHandle, at: number) => RawCursor;
export type ReaderClass = new (h: ObjectHandle) => RawReader;

export interface RawReader {
  $h: ObjectHandle;
}

export interface RawCursor extends Accessor {
  follow(field: string, into?: RawCursor): boolean;
  $moveTo(h: ObjectHandle, at: number): void;
}

type Helper = keyof typeof runtime;
const WARM = 'const h = this.#h; if (h.cold) h.warm();';

export class Emitter {
  readonly #values: unknown[] = [];
  readonly #names: string[] = [];
  readonly #prelude: string[] = [];
  readonly #known = new Map<unknown, string>();
  #fresh = 0;
  /** What an error message calls the field being written. */
  what = '';

  /** A variable of the generated code that holds this value. */
  constant(value: unknown): string {
    let name = this.#known.get(value);
    if (name === undefined) {
      name = `c${this.#values.length}`;
      this.#known.set(value, name);
      this.#values.push(value);
      this.#names.push(name);
    }
    return name;
  }

  use(helper: Helper): string {
    return this.constant(runtime[helper]);
  }

  fresh(): string {
    return `e${this.#fresh++}`;
  }

  name(): string {
    return JSON.stringify(this.what);
  }

  /** A function (v, h) that checks a value for a field, and returns what is to be stored. `part` names what it is of the field being written. */
  checker<T, I>(field: Field<T, I>, part = ''): string {
    const what = this.what;
    this.what += part;
    const name = `k${this.#fresh++}`;
    this.#prelude.push(`const ${name} = (v, h) => { ${field.check?.(this) ?? ''} return v; };`);
    this.what = what;
    return name;
  }

  unfit(expected: string): string {
    return `${this.use('unfit')}(${this.name()}, v, ${JSON.stringify(expected)})`;
  }

  unsafe(type: string): string {
    return `${this.use('unsafe')}(${this.name()}, v, ${JSON.stringify(type)})`;
  }

  /** The accessor class of a struct that lies inline. */
  struct(type: Pick<StructImage, 'accessor'>): string {
    return this.constant(type.accessor);
  }

  /** Variables for a struct that may not be compiled yet: class, last valid distance from the end, alignment mask; bound on first use. */
  #lazy(type: StructImage): { cls: string; size: string; mask: string; bind: string } {
    const image = this.constant(type);
    const names = { cls: `t${image}`, size: `s${image}`, mask: `a${image}`, bind: `b${image}` };
    if (!this.#known.has(names.cls)) {
      this.#known.set(names.cls, names.cls);
      this.#prelude.push(
        `let ${names.cls}, ${names.size} = 0, ${names.mask} = 0; const ${names.bind} = () => { ${names.size} = ${image}.layout.size; ${names.mask} = ${image}.layout.align - 1; ${names.cls} = ${image}.accessor; };`,
        `const p${image} = { h: null, at: 0 };`,
      );
    }
    return names;
  }

  loadRef(type: StructImage, at: string): string {
    const { cls, size, mask, bind } = this.#lazy(type);
    const image = this.constant(type);
    return `
      if (${cls} === undefined) ${bind}();
      const o = ${at}, dv = h.dv, lo = dv.getInt32(o, true), hi = dv.getInt32(o + 4 | 0, true);
      if (hi === 0) {
        if (lo === 0) return null;
        if (lo < ${PAGE} || lo > h.size - ${size} || (lo & ${mask}) !== 0) h.corrupt(o, 'the pointer leads to offset ' + lo + ', where no ${type.name} can be');
        return new ${cls}(h, lo);
      }
      const t = h.fot[hi >>> 8];
      if (t !== undefined && !t.cold && (hi & 255) === 0 && lo >= ${PAGE} && lo <= t.size - ${size} && (lo & ${mask}) === 0) {
        t.used = true;
        return new ${cls}(t, lo);
      }
      ${this.use('followFar')}(h, o, hi, lo, ${image}, p${image});
      return new ${cls}(p${image}.h, p${image}.at);`;
  }

  checkRef(type: StructImage): string {
    const { cls, bind } = this.#lazy(type);
    return `
      if (v !== null) {
        if (${cls} === undefined) ${bind}();
        if (!(v instanceof ${cls})) ${this.use('checkFar')}(v, ${this.constant(type)}, ${this.name()});
        else if (v.$h !== h) h.demandTarget(v.$h);
      }`;
  }

  storeRef(type: StructImage, at: string): string {
    const { cls, bind } = this.#lazy(type);
    return `
      if (${cls} === undefined) ${bind}();
      const o = ${at};
      if (v instanceof ${cls}) {
        if (h.dirty[o >>> 6] !== 1) h.mark(o);
        const t = v.$h;
        const hi = t === h ? 0 : (h.refer(t) << 8) >>> 0;
        const dv = h.dv, old = dv.getUint32(o + 4, true) >>> 8;
        dv.setUint32(o, v.$o, true);
        dv.setUint32(o + 4, hi, true);
        if (old !== 0) h.unrefer(old);
        return;
      }
      ${this.use('storeFar')}(h, o, v, ${this.constant(type)}, ${this.name()});`;
  }

  /** Moves a cursor through a reference field. */
  followRef(type: StructImage, own: StructImage | undefined, at: string): string {
    const image = this.constant(type);
    this.#lazy(type);
    const same = own === type ? '' : 'if (into === undefined) wrong(name);';
    return `
      ${same}
      const o = ${at}, dv = this.$dv, lo = dv.getInt32(o, true);
      if (dv.getInt32(o + 4 | 0, true) === 0 && lo >= ${PAGE} && lo <= this.$end && (lo & this.$mask) === 0 && into === undefined) { this.$o = lo; return true; }
      ${
        own === type
          ? `const hi = dv.getInt32(o + 4 | 0, true), f = this.$h, t = f.fot[hi >>> 8];
      if (hi !== 0 && t !== undefined && !t.cold && (hi & 255) === 0 && lo >= ${PAGE} && lo <= t.size - ${type.layout.size} && (lo & ${type.layout.align - 1}) === 0 && into === undefined) {
        t.used = true; if (t !== f) { t.pin(); f.unpin(); this.$h = t; } this.$dv = t.dv; this.$end = (t.size - ${type.layout.size}) | 0; this.$o = lo; return true;
      }`
          : ''
      }
      return this.$far(o, lo, ${image}, p${image}, into);`;
  }

  arrayClass<T, I>(of: Field<T, I>, stride: number, length: number): string {
    const inner = new Emitter();
    inner.what = `${this.what}[]`;
    const at = `(this.$o + i * ${stride})`;
    const check = `if (!(i >= 0 && i < ${length} && Number.isInteger(i))) ${inner.use('outOfRange')}(${inner.name()}, i, ${length});`;
    const source = `return class FixedArray {
      #h; constructor(h, o) { this.#h = h; this.$o = o | 0; }
      get $h() { return this.#h; }
      get length() { return ${length}; }
      get(i) { ${check} ${WARM} ${of.load(inner, at)} }
      set(i, v) { ${check} ${WARM} ${of.store(inner, at)} }
      fill(v) { for (let i = 0; i < ${length}; i++) this.set(i, v); }
      *[Symbol.iterator]() { for (let i = 0; i < ${length}; i++) yield this.get(i); }
      toArray() { return [...this]; }
      [${inner.constant(INSPECT)}](...how) { return ${inner.constant(inspectArray)}(this, ...how); }
    }`;
    return this.constant(inner.build(source));
  }

  /** Evaluates the source with the collected constants in scope. */
  build(source: string): unknown {
    try {
      return new Function(...this.#names, `'use strict'; ${this.#prelude.join('\n')}\n${source}`)(...this.#values);
    } catch (cause) {
      if (cause instanceof EvalError)
        throw new TwzError('NotSupported', 'accessors are compiled, and this environment forbids code generation', {}, cause);
      throw cause;
    }
  }
}

function accessorSource(emit: Emitter, name: string, fields: readonly LayoutField[]): string {
  const members = fields.map((entry) => {
    emit.what = `${name}.${entry.name}`;
    const at = `((this.$o + ${entry.offset}) | 0)`;
    return `get ${entry.name}() { ${WARM} ${entry.field.load(emit, at)} }
      set ${entry.name}(v) { ${WARM} ${entry.field.store(emit, at)} }`;
  });
  const drops = fields.map(({ field, offset }) => field.drop(emit, `((this.$o + ${offset}) | 0)`)).join(' ');
  return `class ${name} {
      #h; constructor(h, o) { this.#h = h; this.$o = o | 0; }
      get $h() { return this.#h; }
      ${members.join('\n      ')}
      $drop() { ${WARM} ${drops} }
    }`;
}

/**
 * How several fields are set at once: what is given is read and checked first, then stored. `$set` takes what a program gives; `$store` a
 * value for each field, in their order, undefined for those that are left alone; `$capture` makes the one of the other.
 */
function setterSource(emit: Emitter, name: string, fields: readonly LayoutField[], what: 'Set' | 'Capture'): string {
  const names = fields.map((field) => field.name);
  const checks = fields.map((field) => {
    emit.what = `${name}.${field.name}`;
    return emit.checker(field.field);
  });
  const read = names
    .map((field, i) => `let f${i} = v.${field}; if (f${i} !== undefined) { n++; f${i} = ${checks[i]}(f${i}, h); }`)
    .join('\n      ');
  const plain = 'v !== null && Object.getPrototypeOf(v) === Object.prototype';
  const slowly = what === 'Set' ? emit.use('setSlowly') : emit.use('captureSlowly');
  const store = (of: (i: number) => string): string => `let stored = false;
      try {
        ${names.map((field, i) => `if (${of(i)} !== undefined) { this.${field} = ${of(i)}; stored = true; }`).join('\n        ')}
      } catch (error) {
        if (stored) this.$h.spoil(error);
        throw error;
      }`;
  const table = `new Map([${names.map((field, i) => `[${JSON.stringify(field)}, ${checks[i]}]`).join(', ')}])`;
  if (what === 'Capture')
    return `{ checks: ${table}, capture(proto, v, h, what) {
      if (!(${plain})) return ${slowly}(proto, v, h, what);
      let n = 0;
      ${read}
      return Object.keys(v).length === n ? new ${emit.use('Captured')}([${names.map((_, i) => `f${i}`).join(', ')}], undefined) : ${slowly}(proto, v, h, what);
    } }`;
  return `{ set(v, what) {
      const h = this.$h;
      if (!(${plain})) return ${slowly}(this, v, h, what);
      let n = 0;
      ${read}
      if (Object.keys(v).length !== n) return ${slowly}(this, v, h, what);
      ${store((i) => `f${i}`)}
    }, store(f) {
      ${store((i) => `f[${i}]`)}
    } }`;
}

/** The cursor: the same getters over a pinned object, so that a load is one load, and no allocation to follow a reference. */
function cursorSource(
  emit: Emitter,
  name: string,
  layout: Layout,
  targets: ReadonlyMap<string, StructImage>,
  own: StructImage | undefined,
): string {
  const at = (offset: number): string => `((this.$o + ${offset}) | 0)`;
  const members = layout.fields.map(({ name: field, offset, field: type }) => {
    emit.what = `${name}.${field}`;
    const plain = type.describe.kind === 'number' || type.describe.kind === 'bool';
    const load = plain ? type.load(emit, at(offset)).replaceAll('h.dv', 'this.$dv') : `const h = this.$h; ${type.load(emit, at(offset))}`;
    return `get ${field}() { ${load} }
      set ${field}(v) { const h = this.$h; ${type.store(emit, at(offset))} }`;
  });
  const cases = layout.fields
    .filter(({ name: field }) => targets.has(field))
    .map(
      ({ name: field, offset }) =>
        `case ${JSON.stringify(field)}: { ${emit.followRef(targets.get(field) as StructImage, own, at(offset))} }`,
    );
  return `class ${name}Cursor {
      constructor(h, o) { this.$h = h; this.$o = o | 0; this.$dv = h.dv; this.$end = (h.size - ${layout.size}) | 0; this.$mask = ${layout.align - 1}; h.pin(); }
      ${members.join('\n      ')}
      follow(name, into) { switch (name) { ${cases.join(' ')} default: wrong(name); } }
      $far(o, lo, type, place, into) {
        const h = this.$h, hi = h.dv.getUint32(o + 4, true);
        if (hi === 0 && lo === 0) return false;
        ${emit.use('followFar')}(h, o, hi, lo, type, place);
        (into ?? this).$moveTo(place.h, place.at);
        return true;
      }
      $moveTo(h, o) {
        if (h !== this.$h) { h.pin(); this.$h.unpin(); this.$h = h; }
        this.$dv = h.dv; this.$end = (h.size - ${layout.size}) | 0; this.$o = o | 0;
      }
    }`;
}

/**
 * The reader: a field is a function of a position, and the position is the program's own variable, so it stays in a register. A
 * reference to the same type gives the next position, 0 for null, and takes the reader along where it leads to another object.
 */
function readerSource(emit: Emitter, name: string, layout: Layout, targets: ReadonlyMap<string, StructImage>, own: StructImage): string {
  const { size, align } = layout;
  const members = layout.fields.map(({ name: field, offset, field: type }) => {
    emit.what = `${name}.${field}`;
    const at = `((at + ${offset}) | 0)`;
    if (targets.get(field) === own) {
      return `${field}(at) {
        const o = ${at}, dv = this.$dv, lo = dv.getInt32(o, true);
        if (dv.getInt32(o + 4 | 0, true) === 0 && lo >= ${PAGE} && lo <= this.$end && (lo & ${align - 1}) === 0) return lo;
        return this.$far(o, lo, dv.getInt32(o + 4 | 0, true));
      }`;
    }
    const plain = type.describe.kind === 'number' || type.describe.kind === 'bool';
    return `${field}(at) { ${plain ? type.load(emit, at).replaceAll('h.dv', 'this.$dv') : `const h = this.$h; ${type.load(emit, at)}`} }`;
  });
  return `class ${name}Reader {
      constructor(h) { this.$h = h; this.$dv = h.dv; this.$end = (h.size - ${size}) | 0; h.pin(); }
      ${members.join('\n      ')}
      $far(o, lo, hi) {
        const h = this.$h, t = h.fot[hi >>> 8];
        if (t !== undefined && !t.cold && (hi & 255) === 0 && lo >= ${PAGE} && lo <= t.size - ${size} && (lo & ${align - 1}) === 0) return this.$moveTo(t, lo);
        if (hi === 0 && lo === 0) return 0;
        const place = { h: null, at: 0 };
        ${emit.use('followFar')}(h, o, hi, lo, ${emit.constant(own)}, place);
        return this.$moveTo(place.h, place.at);
      }
      $moveTo(h, at) {
        h.pin(); this.$h.unpin();
        this.$h = h; this.$dv = h.dv; this.$end = (h.size - ${size}) | 0;
        return at;
      }
    }`;
}

/** Compiles the classes of a layout. */
export function compile(
  name: string,
  layout: Layout,
  own: StructImage,
  targets: ReadonlyMap<string, StructImage>,
): { accessor: AccessorClass; cursor: CursorClass; reader: ReaderClass } {
  const accessors = new Emitter();
  const accessor = accessors.build(`return ${accessorSource(accessors, name, layout.fields)}`) as AccessorClass;
  const cursors = new Emitter();
  const wrong = cursors.constant((field: string): never => {
    throw new TwzError(
      'InvalidArgument',
      `${name}.${field} is not a reference that this cursor can follow; give it a cursor of the target's type`,
      { field },
    );
  });
  const source = cursorSource(cursors, name, layout, targets, own);
  const cursor = cursors.build(`const wrong = ${wrong}; return ${source}`) as CursorClass;
  const readers = new Emitter();
  const reader = readers.build(`return ${readerSource(readers, name, layout, targets, own)}`) as ReaderClass;
  const setters = new Emitter();
  const { set, store } = setters.build(`return ${setterSource(setters, name, layout.fields, 'Set')}`) as Readonly<Record<string, unknown>>;
  const captures = new Emitter();
  const { checks, capture } = captures.build(`return ${setterSource(captures, name, layout.fields, 'Capture')}`) as Readonly<
    Record<string, unknown>
  >;
  const optional = new Set(layout.fields.filter(({ field }) => field.describe.kind === 'optional').map((field) => field.name));
  for (const { prototype } of [accessor, cursor]) {
    for (const [key, value] of Object.entries({ $optional: optional, $set: set, $store: store, $checks: checks, $capture: capture }))
      Object.defineProperty(prototype, key, { value });
    Object.defineProperty(prototype, INSPECT, {
      value(this: object, ...how: [number, object, (value: unknown, options: object) => string]) {
        return inspectAccessor(this, ...how);
      },
    });
  }
  return { accessor, cursor, reader };
}
