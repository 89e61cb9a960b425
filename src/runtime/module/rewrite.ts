/**
 * Makes a program of any WebAssembly module: one that reaches no memory but its compartment's window, gives way when it is told to,
 * and has no more heap than it may.
 *
 *   memory                        imported: the window, 4 GiB, shared. What the module said of its own is the size that its heap begins with
 *   memory.size, memory.grow      a global and a function that keep to the limit
 *   copy, fill, init, atomics     functions that trap where these would end the process (guards.ts)
 *   functions, loops              begin with a checkpoint (guards.ts)
 *   data                          put into the heap by a function that is exported: further threads must not do it again
 *   data                          put into the heap by a function that is exported: further threads must not do it again
 *   start                         exported, to be called once all is in its place
 *
 * Functions, types and globals are appended only, so every index in the module stays as it is. Everything the module says is hostile; what
 * is not known here is refused, and V8 validates what comes out.
 */
import { MANIFEST_SECTION, type Manifest } from '../../abi/syscalls.ts';
import { MEMORY_SIZE, OBJECTS_FROM, WASM_PAGE } from '../layout.ts';
import { Reader, Writer, invalid } from './bytes.ts';
import { CHECKPOINT, COPY, FILL, GROW, I32, atomicOf, dataOf, initOf, type Helper, type Segment } from './guards.ts';
import { OPCODE, PREFIX, bulkIndexes, skipImmediate, skipVector } from './instructions.ts';
import { readManifest } from './manifest.ts';

export interface Import {
  readonly module: string;
  readonly name: string;
}

export interface Rewritten {
  readonly bytes: Uint8Array;
  /** WebAssembly pages that its heap begins with. */
  readonly pages: number;
  /** As many as it ever asks for. */
  readonly pagesMax: number;
  readonly imports: readonly Import[];
  readonly exports: readonly string[];
  readonly manifest: Manifest | undefined;
}

/** Names of what is imported and exported besides what the module has itself. */
export const PLACE = {
  module: 'twz:compartment',
  memory: 'memory',
  table: 'twz:table',
  start: 'twz:start',
  data: 'twz:data',
  limit: 'twz:limit',
  stack: 'twz:stack',
} as const;

/** A module has no more bytes than this. */
export const MODULE_MAX = 64 << 20;
const TABLES_MAX = 16;
const TABLE_MAX = 1 << 20;
const PAGES_MAX = OBJECTS_FROM / WASM_PAGE;

const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;
/** The order in which they stand. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

const KIND_FUNCTION = 0;
const KIND_TABLE = 1;
const KIND_MEMORY = 2;
const KIND_GLOBAL = 3;

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

export function rewrite(bytes: Uint8Array): Rewritten {
  return new Rewriting(bytes).run();
}

class Rewriting {
  readonly #module: Uint8Array;
  readonly #sections = new Map<number, Uint8Array>();
  readonly #custom: Uint8Array[] = [];
  #manifest: Manifest | undefined;
  #types = 0;
  #functions = 0;
  #tables = 0;
  #memories = 0;
  #pages = 0;
  #pagesMax = PAGES_MAX;
  readonly #imports: Import[] = [];
  readonly #exports: string[] = [];
  #start: number | undefined;
  /** What is put into the heap before it runs. */
  readonly #data: Segment[] = [];
  /** Made by LLVM, whose global 0 is the place where its stack has come to. */
  #isLlvm = false;
  /** What is appended, by what it stands for. */
  readonly #helpers = new Map<string, { readonly helper: Helper; readonly index: number }>();
  readonly #out: Writer;

  constructor(bytes: Uint8Array) {
    if (bytes.length > MODULE_MAX) throw invalid(`the module has ${bytes.length} bytes; at most ${MODULE_MAX} are allowed`);
    this.#module = bytes;
    this.#out = new Writer(bytes.length + (bytes.length >> 2) + 1024);
  }

  run(): Rewritten {
    this.#split();
    const imports = this.#importSection();
    const tables = this.#tableSection();
    this.#memorySection();
    // Globals are never imported.
    const pages = this.#count(SECTION.global);
    const start = this.#sections.get(SECTION.start);
    if (start !== undefined) this.#start = new Reader(start).u32();
    this.#types = this.#count(SECTION.type);
    this.#functions += this.#count(SECTION.function);
    if (this.#memories === 0) this.#pagesMax = 0;
    const firstHelper = this.#functions;
    this.#dataSection();
    const code = this.#codeSection(pages, firstHelper);

    const out = this.#out;
    out.raw(HEADER);
    for (const section of ORDER) {
      if (section === SECTION.import) this.#put(section, imports);
      else if (section === SECTION.type) this.#append(section, this.#helperTypes());
      else if (section === SECTION.function) this.#append(section, this.#helperFunctions());
      else if (section === SECTION.table) this.#put(section, tables);
      else if (section === SECTION.global) this.#append(section, this.#globalsOf());
      else if (section === SECTION.export) this.#append(section, this.#exportsOf(pages + 1));
      else if (section === SECTION.code) this.#put(section, code);
      else if (section === SECTION.memory || section === SECTION.start) continue;
      else this.#put(section, this.#sections.get(section));
    }
    for (const custom of this.#custom) this.#put(SECTION.custom, custom);
    return {
      bytes: out.bytes,
      pages: this.#pages,
      pagesMax: this.#pagesMax,
      imports: this.#imports,
      exports: this.#exports,
      manifest: this.#manifest,
    };
  }

  // --- sections -----------------------------------------------------------------------------------------------------------

  #split(): void {
    const reader = new Reader(this.#module);
    for (const byte of HEADER)
      if (reader.done || reader.u8() !== byte) throw invalid('what was given does not begin as a WebAssembly module');
    while (!reader.done) {
      const id = reader.u8();
      const content = reader.take(reader.u32());
      if (id !== SECTION.custom) {
        if (this.#sections.has(id) || !ORDER.includes(id)) throw invalid(`section ${id} is unknown, or is there twice`, reader.at);
        this.#sections.set(id, content);
        continue;
      }
      const name = new Reader(content).text();
      if (name === MANIFEST_SECTION) {
        const inside = new Reader(content);
        inside.text();
        this.#manifest = readManifest(content.subarray(inside.at));
      } else if (name === 'name') this.#custom.push(content);
      else if (name === 'producers' || name === 'target_features') this.#isLlvm = true;
    }
  }

  #put(section: number, content: Uint8Array | undefined): void {
    if (content !== undefined) this.#out.u8(section).counted(content);
  }

  /** How many entries a section has. */
  #count(section: number): number {
    const content = this.#sections.get(section);
    return content === undefined ? 0 : new Reader(content).u32();
  }

  /** A section with further entries at its end. */
  #append(section: number, entries: readonly Uint8Array[]): void {
    const content = this.#sections.get(section);
    const reader = new Reader(content ?? new Uint8Array(1));
    const count = reader.u32();
    const whole = new Writer((content?.length ?? 0) + 256);
    whole.u32(count + entries.length).raw(reader.bytes.subarray(reader.at));
    for (const entry of entries) whole.raw(entry);
    if (count + entries.length > 0) this.#put(section, whole.bytes);
  }

  #importSection(): Uint8Array {
    const content = this.#sections.get(SECTION.import);
    const reader = new Reader(content ?? new Uint8Array(1));
    const out = new Writer((content?.length ?? 0) + 64);
    let count = 0;
    for (let left = reader.u32(); left > 0; left--) {
      const from = reader.at;
      const module = reader.text();
      const name = reader.text();
      const kind = reader.u8();
      if (kind === KIND_MEMORY) {
        this.#limits(reader);
        continue;
      }
      if (kind !== KIND_FUNCTION) {
        const what = kind === KIND_TABLE ? 'table' : kind === KIND_GLOBAL ? 'global' : 'tag';
        throw invalid(`the module imports a ${what}, "${module}" "${name}"; programs import functions only`, from);
      }
      reader.u32();
      this.#functions++;
      this.#imports.push({ module, name });
      out.raw(reader.bytes.subarray(from, reader.at));
      count++;
    }
    const memory = new Writer();
    memory.text(PLACE.module).text(PLACE.memory).u8(KIND_MEMORY).u8(3);
    // Of at least no page: what lay below the least size at a constant address would be taken for harmless, and the process would end there.
    memory.u32(0).u32(MEMORY_SIZE / WASM_PAGE);
    return new Writer(out.length + 64)
      .u32(count + 1)
      .raw(out.bytes)
      .raw(memory.bytes).bytes;
  }

  /** The limits of a memory, which become those of the heap. */
  #limits(reader: Reader): void {
    if (++this.#memories > 1) throw invalid('the module has more than one memory', reader.at);
    const flags = reader.u8();
    if (flags > 3) throw invalid('the module has a memory of 64 bits, or of another kind that is not supported', reader.at);
    this.#pages = reader.u32();
    if ((flags & 1) !== 0) this.#pagesMax = Math.min(reader.u32(), PAGES_MAX);
    if (this.#pages > PAGES_MAX) throw invalid(`the memory begins with ${this.#pages} pages; at most ${PAGES_MAX} can be had`);
    this.#pagesMax = Math.max(this.#pagesMax, this.#pages);
  }

  #memorySection(): void {
    const content = this.#sections.get(SECTION.memory);
    if (content === undefined) return;
    const reader = new Reader(content);
    for (let left = reader.u32(); left > 0; left--) this.#limits(reader);
  }

  #tableSection(): Uint8Array | undefined {
    const content = this.#sections.get(SECTION.table);
    if (content === undefined) return undefined;
    const reader = new Reader(content);
    const out = new Writer(content.length + 16);
    this.#tables = reader.u32();
    if (this.#tables > TABLES_MAX) throw invalid(`the module has ${this.#tables} tables; at most ${TABLES_MAX} are allowed`);
    out.u32(this.#tables);
    for (let left = this.#tables; left > 0; left--) {
      const type = reader.u8();
      if (type !== 0x70 && type !== 0x6f) throw invalid('a table of another kind than functions', reader.at);
      const flags = reader.u8();
      if (flags > 1) throw invalid('a table of a kind that is not supported', reader.at);
      const initial = reader.u32();
      const max = Math.min(flags === 1 ? reader.u32() : TABLE_MAX, TABLE_MAX);
      if (initial > max) throw invalid(`a table of ${initial} entries; at most ${max} are allowed`);
      out.u8(type).u8(1).u32(initial).u32(max);
    }
    return out.bytes;
  }

  /** Data that is put into memory at the start must go to the heap: V8 would put it there by itself, and would not trap. */
  #dataSection(): void {
    const content = this.#sections.get(SECTION.data);
    if (content === undefined) return;
    const reader = new Reader(content);
    const out = new Writer(content.length + 16);
    const count = reader.u32();
    out.u32(count);
    for (let segment = 0; segment < count; segment++) {
      const flags = reader.u32();
      if (flags > 2) throw invalid('a data segment of a kind that is not supported', reader.at);
      if (flags === 2 && reader.u32() !== 0) throw invalid('a second memory', reader.at);
      let at = 0;
      if (flags !== 1) {
        if (reader.u8() !== 0x41) throw invalid('a data segment at a place that is not constant', reader.at);
        at = reader.i32() >>> 0;
        if (reader.u8() !== OPCODE.end) throw invalid('a data segment at a place that is not constant', reader.at);
      }
      const length = reader.u32();
      out.u8(1).counted(reader.take(length));
      if (flags === 1) continue;
      if (at + length > this.#pages * WASM_PAGE) throw invalid(`data at ${at} lies outside the memory that the module begins with`);
      this.#data.push({ segment, at, length });
    }
    this.#sections.set(SECTION.data, out.bytes);
    this.#sections.set(SECTION.dataCount, new Writer(8).u32(count).bytes);
    if (this.#data.length > 0) this.#helper('data', dataOf(this.#data));
  }

  // --- code ---------------------------------------------------------------------------------------------------------------

  /** The index of a helper, appended at its first use. */
  #helper(key: string, helper: Helper): number {
    let known = this.#helpers.get(key);
    if (known === undefined) {
      known = { helper, index: this.#functions + this.#helpers.size };
      this.#helpers.set(key, known);
    }
    return known.index;
  }

  #codeSection(pages: number, firstHelper: number): Uint8Array {
    const content = this.#sections.get(SECTION.code);
    const reader = new Reader(content ?? new Uint8Array(1));
    const count = reader.u32();
    const bodies = new Writer((content?.length ?? 0) * 1.3 + 1024);
    const body = new Writer(4096);
    for (let left = count; left > 0; left--) {
      body.clear();
      this.#body(reader.part(reader.u32()), body, pages);
      bodies.counted(body.bytes);
    }
    const places = { pages, pagesMax: pages + 1 };
    for (const { helper } of this.#helpers.values()) bodies.counted(helper.body(places));
    return new Writer(bodies.length + 8).u32(count + this.#functions + this.#helpers.size - firstHelper).raw(bodies.bytes).bytes;
  }

  #body(reader: Reader, out: Writer, pages: number): void {
    const { bytes } = reader;
    const from = reader.at;
    for (let left = reader.u32(); left > 0; left--) {
      reader.u32();
      reader.skipNumber();
    }
    out.raw(bytes.subarray(from, reader.at)).raw(CHECKPOINT);
    // What is copied as it is, is copied in long pieces.
    let kept = reader.at;
    const replace = (at: number, code: (out: Writer) => void): void => {
      out.raw(bytes.subarray(kept, at));
      code(out);
      kept = reader.at;
    };
    const call = (at: number, key: string, helper: Helper): void => {
      const index = this.#helper(key, helper);
      replace(at, (to) => to.u8(OPCODE.call).u32(index));
    };
    while (!reader.done) {
      const at = reader.at;
      const code = reader.u8();
      if (code < PREFIX.bulk) {
        skipImmediate(reader, code);
        if (code === OPCODE.loop) replace(reader.at, (to) => to.raw(CHECKPOINT));
        else if (code === OPCODE.memorySize) replace(at, (to) => to.u8(0x23).u32(pages));
        else if (code === OPCODE.memoryGrow) call(at, 'grow', GROW);
      } else if (code === PREFIX.vector) skipVector(reader, reader.u32());
      else if (code === PREFIX.bulk) this.#bulk(reader, at, call);
      else if (code === PREFIX.atomic) this.#atomic(reader, at, replace);
      else throw invalid(`instruction 0x${code.toString(16)} is not supported`, at);
    }
    out.raw(bytes.subarray(kept, reader.at));
  }

  #bulk(reader: Reader, at: number, call: (at: number, key: string, helper: Helper) => void): void {
    const code = reader.u32();
    const indexes = bulkIndexes(code);
    if (indexes !== undefined) {
      for (let left = indexes; left > 0; left--) reader.u32();
      return;
    }
    if (code === 8) {
      const segment = reader.u32();
      if (reader.u8() !== 0) throw invalid('a second memory', at);
      call(at, `init ${segment}`, initOf(segment));
    } else if (code === 10) {
      if (reader.u8() !== 0 || reader.u8() !== 0) throw invalid('a second memory', at);
      call(at, 'copy', COPY);
    } else if (code === 11) {
      if (reader.u8() !== 0) throw invalid('a second memory', at);
      call(at, 'fill', FILL);
    } else throw invalid(`bulk instruction ${code} is not supported`, at);
  }

  #atomic(reader: Reader, at: number, replace: (at: number, code: (out: Writer) => void) => void): void {
    const code = reader.u32();
    const helper = atomicOf(code);
    if (helper === undefined) throw invalid(`atomic instruction ${code} is not supported`, at);
    if (code === 3) {
      reader.u8();
      return;
    }
    if ((reader.u32() & 0x40) !== 0) throw invalid('a second memory', at);
    const offset = reader.u32();
    if (helper === 'keep') return;
    const index = this.#helper(`atomic ${code}`, helper);
    replace(at, (to) => {
      to.u8(0x41);
      signed(to, offset | 0);
      to.u8(OPCODE.call).u32(index);
    });
  }

  // --- what is appended ---------------------------------------------------------------------------------------------------

  #helperTypes(): Uint8Array[] {
    return [...this.#helpers.values()].map(
      ({ helper }) => new Writer(32).u8(0x60).counted(helper.parameters).counted(helper.results).bytes,
    );
  }

  #helperFunctions(): Uint8Array[] {
    return [...this.#helpers.values()].map((_, i) => new Writer(8).u32(this.#types + i).bytes);
  }

  #firstGlobalIsStack(): boolean {
    const content = this.#sections.get(SECTION.global);
    if (content === undefined) return false;
    const reader = new Reader(content);
    return reader.u32() > 0 && reader.u8() === I32 && reader.u8() === 1;
  }

  /** How many pages the heap has, and how many it may have: as many, until the compartment says more. */
  #globalsOf(): Uint8Array[] {
    const global = (): Uint8Array => {
      const out = new Writer(16).u8(I32).u8(1).u8(0x41);
      signed(out, this.#pages);
      return out.u8(OPCODE.end).bytes;
    };
    return [global(), global()];
  }

  #exportsOf(limit: number): Uint8Array[] {
    const content = this.#sections.get(SECTION.export);
    if (content !== undefined) {
      const reader = new Reader(content);
      for (let left = reader.u32(); left > 0; left--) {
        const name = reader.text();
        const kind = reader.u8();
        reader.u32();
        if (name.startsWith('twz:')) throw invalid(`the module exports "${name}"; names that begin with "twz:" are taken`);
        if (kind === KIND_FUNCTION) this.#exports.push(name);
      }
    }
    const entries = [new Writer(32).text(PLACE.limit).u8(KIND_GLOBAL).u32(limit).bytes];
    if (this.#tables > 0) entries.push(new Writer(32).text(PLACE.table).u8(KIND_TABLE).u32(0).bytes);
    const data = this.#helpers.get('data');
    if (data !== undefined) entries.push(new Writer(32).text(PLACE.data).u8(KIND_FUNCTION).u32(data.index).bytes);
    if (this.#isLlvm && this.#firstGlobalIsStack()) entries.push(new Writer(32).text(PLACE.stack).u8(KIND_GLOBAL).u32(0).bytes);
    if (this.#start !== undefined) entries.push(new Writer(32).text(PLACE.start).u8(KIND_FUNCTION).u32(this.#start).bytes);
    return entries;
  }
}

function signed(out: Writer, value: number): void {
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    if ((value === 0 && (byte & 0x40) === 0) || (value === -1 && (byte & 0x40) !== 0)) {
      out.u8(byte);
      return;
    }
    out.u8(byte | 0x80);
  }
}
