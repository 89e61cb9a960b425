/**
 * Functions that are appended to each program, in place of instructions that would reach memory without the processor's trap being
 * ours: V8 copies and fills by library functions, and does most atomics without noting that they may fault. There a page without
 * rights ends the whole process. So outside the heap these copy and fill by plain loads and stores, which trap as they should, and atomics are
 * done only after a plain load, and stores of theirs only where whatever can be loaded can be stored.
 *
 *   grow(pages)          memory.grow, up to the limit
 *   fill(to, value, n)   copy(to, from, n)
 *   init(to, from, n)    one a data segment; into the heap only
 *   atomics              (address, operands…, offset), one an instruction. Stores: to the heap and to shared objects only
 */
import { OBJECTS_FROM, SHARED_FROM, STOP_AREA } from '../layout.ts';
import { Writer } from './bytes.ts';

export const I32 = 0x7f;
export const I64 = 0x7e;

/** What they need to know of the module. */
export interface HelperPlaces {
  /** Index of the global that has how many pages the heap has. */
  readonly pages: number;
  /** Index of the global that has how many it may have. */
  readonly pagesMax: number;
}

export interface Helper {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
  body(places: HelperPlaces): Uint8Array;
}

const OP = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  return: 0x0f,
  drop: 0x1a,
  get: 0x20,
  set: 0x21,
  globalGet: 0x23,
  globalSet: 0x24,
  load8: 0x2d,
  store8: 0x3a,
  i32: 0x41,
  i64: 0x42,
  eqz: 0x45,
  ltU: 0x49,
  leU: 0x4d,
  geU: 0x4f,
  i64Eqz: 0x50,
  i64LtS: 0x53,
  i64GtU: 0x56,
  i64LeU: 0x58,
  add: 0x6a,
  sub: 0x6b,
  and: 0x71,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64Shl: 0x86,
  extend: 0xad,
} as const;

const VOID = 0x40;

/** Writes the instructions of one function. */
class Code {
  readonly #out = new Writer();

  op(...codes: number[]): this {
    this.#out.raw(codes);
    return this;
  }

  get(local: number): this {
    return this.op(OP.get, local);
  }

  set(local: number): this {
    return this.op(OP.set, local);
  }

  /** A local as an unsigned 64-bit number. */
  wide(local: number): this {
    return this.get(local).op(OP.extend);
  }

  #signed(value: number): this {
    for (;;) {
      const byte = value & 0x7f;
      value = Math.floor(value / 128);
      if ((value === 0 && (byte & 0x40) === 0) || (value === -1 && (byte & 0x40) !== 0)) return this.op(byte);
      this.op(byte | 0x80);
    }
  }

  i32(value: number): this {
    return this.op(OP.i32).#signed(value | 0);
  }

  i64(value: number): this {
    return this.op(OP.i64).#signed(value);
  }

  global(index: number): this {
    this.op(OP.globalGet);
    this.#out.u32(index);
    return this;
  }

  setGlobal(index: number): this {
    this.op(OP.globalSet);
    this.#out.u32(index);
    return this;
  }

  u32(value: number): this {
    this.#out.u32(value);
    return this;
  }

  /** Traps where the condition on the stack holds. */
  refuse(): this {
    return this.op(OP.if, VOID, OP.unreachable, OP.end);
  }

  /** Bytes that the heap may have, 64 bits. */
  heapEnd(places: HelperPlaces): this {
    return this.global(places.pagesMax).op(OP.extend).i64(16).op(OP.i64Shl);
  }

  /** The body with its locals: pairs of count and type. */
  body(locals: readonly (readonly [number, number])[]): Uint8Array {
    const out = new Writer();
    out.u32(locals.length);
    for (const [count, type] of locals) out.u32(count).u8(type);
    return out.raw(this.#out.bytes).u8(OP.end).bytes.slice();
  }
}

/** The end of [at, at + length) into a local; traps where that is past all memory. */
function endOf(code: Code, at: number, length: number, into: number): void {
  code.wide(at).wide(length).op(OP.i64Add).set(into);
  code
    .get(into)
    .i64(2 ** 32)
    .op(OP.i64GtU)
    .refuse();
}

export const GROW: Helper = {
  parameters: [I32],
  results: [I32],
  body: (places) =>
    new Code()
      .global(places.pages)
      .set(1)
      .global(places.pagesMax)
      .get(1)
      .op(OP.sub)
      .get(0)
      .op(OP.ltU, OP.if, VOID)
      .i32(-1)
      .op(OP.return, OP.end)
      .get(1)
      .get(0)
      .op(OP.add)
      .setGlobal(places.pages)
      .get(1)
      .body([[1, I32]]),
};

const NATIVE_FILL = [0xfc, 11, 0];
const NATIVE_COPY = [0xfc, 10, 0, 0];
const SPLAT = [0xfd, 15];
const VECTOR_LOAD = [0xfd, 0, 0, 0];
const VECTOR_STORE = [0xfd, 11, 0, 0];
const BYTE_LOAD = [OP.load8, 0, 0];
const BYTE_STORE = [OP.store8, 0, 0];

/** While (a number in) `left` has `step` or more. */
function whileLeft(code: Code, left: number, step: number, each: (code: Code) => void): void {
  code.op(OP.block, VOID, OP.loop, VOID, ...CHECKPOINT);
  code.get(left).i32(step).op(OP.ltU, OP.brIf, 1);
  each(code);
  code.op(OP.br, 0, OP.end, OP.end);
}

function step(code: Code, local: number, by: number): void {
  code.get(local).i32(by).op(OP.add).set(local);
}

export const FILL: Helper = {
  parameters: [I32, I32, I32],
  results: [],
  body: (places) => {
    const code = new Code();
    const [to, value, left, end] = [0, 1, 2, 3];
    endOf(code, to, left, end);
    code.get(end).heapEnd(places).op(OP.i64LeU, OP.if, VOID);
    code
      .get(to)
      .get(value)
      .get(left)
      .op(...NATIVE_FILL, OP.return, OP.end);
    whileLeft(code, left, 16, (each) => {
      each
        .get(to)
        .get(value)
        .op(...SPLAT, ...VECTOR_STORE);
      step(each, to, 16);
      step(each, left, -16);
    });
    whileLeft(code, left, 1, (each) => {
      each.get(to).get(value).op(OP.store8, 0, 0);
      step(each, to, 1);
      step(each, left, -1);
    });
    return code.body([[1, I64]]);
  },
};

export const COPY: Helper = {
  parameters: [I32, I32, I32],
  results: [],
  body: (places) => {
    const code = new Code();
    const [to, from, left, end] = [0, 1, 2, 3];
    endOf(code, from, left, end);
    code.get(end).heapEnd(places).op(OP.i64LeU);
    endOf(code, to, left, end);
    code.get(end).heapEnd(places).op(OP.i64LeU, OP.and, OP.if, VOID);
    code
      .get(to)
      .get(from)
      .get(left)
      .op(...NATIVE_COPY, OP.return, OP.end);
    // Towards lower addresses from the front, towards higher ones from the back: what is overwritten has been read.
    code.get(to).get(from).op(OP.leU, OP.if, VOID);
    for (const [size, load, store] of [[16, VECTOR_LOAD, VECTOR_STORE] as const, [1, BYTE_LOAD, BYTE_STORE] as const]) {
      whileLeft(code, left, size, (each) => {
        each
          .get(to)
          .get(from)
          .op(...load, ...store);
        step(each, to, size);
        step(each, from, size);
        step(each, left, -size);
      });
    }
    code.op(OP.else);
    for (const [size, load, store] of [[16, VECTOR_LOAD, VECTOR_STORE] as const, [1, BYTE_LOAD, BYTE_STORE] as const]) {
      whileLeft(code, left, size, (each) => {
        step(each, left, -size);
        each
          .get(to)
          .get(left)
          .op(OP.add)
          .get(from)
          .get(left)
          .op(OP.add, ...load, ...store);
      });
    }
    code.op(OP.end);
    return code.body([[1, I64]]);
  },
};

export function initOf(segment: number): Helper {
  return {
    parameters: [I32, I32, I32],
    results: [],
    body: (places) =>
      new Code()
        .wide(0)
        .wide(2)
        .op(OP.i64Add)
        .heapEnd(places)
        .op(OP.i64GtU)
        .refuse()
        .get(0)
        .get(1)
        .get(2)
        .op(0xfc, 8)
        .u32(segment)
        .op(0)
        .body([]),
  };
}

/** Data that is put into the heap before the program runs. */
export interface Segment {
  readonly segment: number;
  readonly at: number;
  readonly length: number;
}

export function dataOf(segments: readonly Segment[]): Helper {
  return {
    parameters: [],
    results: [],
    body: () => {
      const code = new Code();
      for (const { segment, at, length } of segments) code.i32(at).i32(0).i32(length).op(0xfc, 8).u32(segment).op(0);
      return code.body([]);
    },
  };
}

/** Bytes (as power of two) that the accesses of a group of atomics have, in the order of their numbers. */
const WIDTHS = [2, 3, 0, 1, 0, 1, 2];
/** And whether they are of 64-bit numbers. */
const WIDE = [false, true, false, false, true, true, true];

/** What stands for an atomic instruction, by its number behind 0xfe; undefined where it may stay as it is, or is none. */
export function atomicOf(code: number): Helper | 'keep' | undefined {
  // notify and fence touch no memory.
  if (code === 0 || code === 3) return 'keep';
  if (code === 1 || code === 2) return waitOf(code);
  if (code < 0x10 || code > 0x4e) return undefined;
  const group = Math.floor((code - 0x10) / 7);
  const place = (code - 0x10) % 7;
  const type = WIDE[place] === true ? I64 : I32;
  const operands = group === 0 ? 0 : group === 8 ? 2 : 1;
  const parameters = [I32, ...Array.from({ length: operands }, () => type), I32];
  return {
    parameters,
    results: group === 1 ? [] : [type],
    body: () => {
      const out = new Code();
      const offset = operands + 1;
      const at = operands + 2;
      placeOf(out, offset, at);
      if (group > 0) {
        // A page that can be loaded from there can be stored to in the heap and among shared objects, and nowhere else for sure.
        out.get(at).i32(SHARED_FROM).op(OP.ltU).get(at).i32(OBJECTS_FROM).op(OP.geU, OP.and).refuse();
        out.get(at).i32(STOP_AREA).op(OP.geU).refuse();
      }
      out.get(at);
      for (let i = 1; i <= operands; i++) out.get(i);
      out.op(0xfe, code, WIDTHS[place] as number, 0);
      return out.body([[1, I32]]);
    },
  };
}

/** The address that an access has, after a load that finds out whether it may. */
function placeOf(out: Code, offset: number, at: number): void {
  out.wide(0).wide(offset).op(OP.i64Add).i64(0xffffffff).op(OP.i64GtU).refuse();
  out.get(0).get(offset).op(OP.add).set(at);
  out.get(at).op(OP.load8, 0, 0, OP.drop);
}

/** Nanoseconds that a wait sleeps at a time: in between it can be ended. */
const WAIT_SLICE = 10_000_000;

/** memory.atomic.wait, in slices: nobody may sleep through the end of the time that it has. */
function waitOf(code: number): Helper {
  const type = code === 1 ? I32 : I64;
  return {
    parameters: [I32, type, I64, I32],
    results: [I32],
    body: () => {
      const [expected, timeout, offset, at, slice, result] = [1, 2, 3, 4, 5, 6];
      const out = new Code();
      placeOf(out, offset, at);
      out.op(OP.loop, I32).op(...CHECKPOINT);
      // Below zero: for ever.
      out.i64(WAIT_SLICE).set(slice);
      out.get(timeout).i64(0).op(OP.i64LtS, OP.eqz).get(timeout).i64(WAIT_SLICE).op(OP.i64LtS, OP.and);
      out.op(OP.if, VOID).get(timeout).set(slice).op(OP.end);
      out
        .get(at)
        .get(expected)
        .get(slice)
        .op(0xfe, code, code === 1 ? 2 : 3, 0)
        .set(result);
      out.get(timeout).i64(0).op(OP.i64LtS, OP.eqz, OP.if, VOID).get(timeout).get(slice).op(OP.i64Sub).set(timeout).op(OP.end);
      // 2: the time was over.
      out.get(result).i32(2).op(0x46).get(timeout).op(OP.i64Eqz, OP.eqz, OP.and, OP.brIf, 0);
      out.get(result).op(OP.end);
      return out.body([
        [1, I32],
        [1, I64],
        [1, I32],
      ]);
    },
  };
}

/**
 * A load from the last page of memory, at each start of a function and each turn of a loop: whoever takes the right to that page away
 * ends the program there, and nowhere else; a syscall is never cut off in its middle.
 */
export const CHECKPOINT: readonly number[] = [OP.i32, 0x80, 0x60, 0x28, 2, 0, OP.drop];
