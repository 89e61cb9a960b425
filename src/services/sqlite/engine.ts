/**
 * SQLite itself: a WebAssembly program in a room of a space (kernel/room.ts), with the databases' objects beside it. One engine serves as many
 * databases as fit its window; all of a process share the compiled code.
 *
 * The program never sees an exception: what a host function throws is kept, the program is given an error code, and the caller throws what
 * was kept (`Store.failure`).
 */
import { TwzError } from '../../abi/errors.ts';
import { zoneAt } from '../../host/node-values.ts';
import { compiledAsset } from '../../host/wasm-asset.ts';
import { Instance, type WasmImports, type WasmModule } from '../../host/wasm-memory.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { Room } from '../../kernel/room.ts';
import type { Store } from './store.ts';

/** wasm/sqlite/heap.c ends there. */
const ROOM = 2 ** 30;
const SCRATCH = 1 << 20;

/** Addresses and results are plain numbers. */
type Call = (...values: number[]) => number;

type Functions = WasmImports[string];

/** What wasm/sqlite/api.c exports. */
export type Program = Readonly<
  Record<
    | 'twz_start'
    | 'twz_malloc'
    | 'twz_free'
    | 'twz_cells'
    | 'twz_masks'
    | 'twz_compare'
    | 'twz_store'
    | 'twz_store_new'
    | 'twz_store_free'
    | 'twz_store_set'
    | 'twz_store_extents'
    | 'twz_open'
    | 'twz_opened'
    | 'twz_close'
    | 'twz_errmsg'
    | 'twz_errcode'
    | 'twz_errstr'
    | 'twz_erroffset'
    | 'twz_autocommit'
    | 'twz_changes'
    | 'twz_last_rowid'
    | 'twz_prepare'
    | 'twz_prepared'
    | 'twz_tail'
    | 'twz_finalize'
    | 'twz_reset'
    | 'twz_clear'
    | 'twz_readonly'
    | 'twz_column_count'
    | 'twz_column_name'
    | 'twz_column_decltype'
    | 'twz_column_table'
    | 'twz_column_origin'
    | 'twz_parameter_count'
    | 'twz_parameter_name'
    | 'twz_bind_null'
    | 'twz_bind_int'
    | 'twz_bind_double'
    | 'twz_bind_wide'
    | 'twz_bind_text'
    | 'twz_bind_blob'
    | 'twz_step'
    | 'twz_run'
    | 'twz_function'
    | 'twz_result_null'
    | 'twz_result_double'
    | 'twz_result_wide'
    | 'twz_result_text'
    | 'twz_result_blob'
    | 'twz_result_error'
    | 'twz_serialize'
    | 'twz_image_size',
    Call
  >
>;

export const SQLITE = { ok: 0, error: 1, nomem: 7, row: 100, done: 101, abortRollback: 516 } as const;

/** What Node's buffers have beneath `write` and `toString`, for those who call them a million times a second. */
export interface Bytes extends Buffer {
  utf8Slice(from: number, to: number): string;
  latin1Slice(from: number, to: number): string;
  utf8Write(text: string, at: number, length: number): number;
}

let code: WasmModule | undefined;

/** A function of the host's, called by SQL. */
export type HostFunction = (context: number, cells: number, count: number) => void;

export class Engine {
  readonly kernel: Kernel;
  readonly room: Room;
  readonly program: Program;
  /** All of the window. */
  readonly bytes: Bytes;
  readonly words: Int32Array;
  readonly numbers: Float64Array;
  readonly stores: (Store | undefined)[] = [];
  readonly functions: HostFunction[] = [];
  /** Index of the first cell in `words`. */
  readonly cells: number;
  /** Arguments that need to last for one call only. */
  readonly scratch: number;
  scratchUsed = 0;
  databases = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.room = new Room(kernel, ROOM);
    const { memory } = this.room;
    const { buffer } = memory;
    const bytes: unknown = Buffer.from(buffer);
    this.bytes = bytes as Bytes;
    this.words = new Int32Array(buffer);
    this.numbers = new Float64Array(buffer);
    code ??= compiledAsset(new URL('../../../../wasm/sqlite.wasm', import.meta.url));
    // What it hands over are numbers, as its C files declare.
    const host: unknown = this.#host();
    const exports: unknown = new Instance(code, { env: { memory }, host: host as Functions }).exports;
    this.program = exports as Program;
    const { program } = this;
    if (program.twz_start() !== SQLITE.ok) throw new TwzError('SqliteFailed', 'SQLite could not be started');
    this.cells = program.twz_cells() >>> 2;
    this.scratch = program.twz_malloc(SCRATCH) >>> 0;
  }

  /** What the program imports. */
  #host(): Readonly<Record<string, Call>> {
    const store = (id = 0): Store => this.stores[id] as Store;
    return {
      lock: (id) => store(id).lock(),
      unlock: (id, level) => store(id).unlock(level ?? 0),
      reserve: (id) => store(id).reserve(),
      commit: (id, list = 0, count = 0, length = 0) => store(id).commit(list >>> 0, count, length >>> 0),
      sync: (id) => store(id).sync(),
      synchronous: (id, value = 0) => store(id).synchronous(this.text(value)),
      time: () => this.kernel.host.time(),
      random: (to = 0, n = 0) => {
        this.bytes.set(this.kernel.host.random(n), to >>> 0);
        return 0;
      },
      zone: (seconds = 0) => zoneAt(seconds),
      call: (context = 0, id = 0, where = 0) => {
        this.functions[id]?.(context, this.cells + (where >>> 8) * 4, where & 255);
        return 0;
      },
    };
  }

  /** A text that ends with a NUL. */
  text(at: number): string {
    const from = at >>> 0;
    if (from === 0) return '';
    return this.bytes.utf8Slice(from, this.bytes.indexOf(0, from));
  }

  /** A copy in SQLite's heap, to be freed by `twz_free` or handed over. */
  allocate(length: number): number {
    const at = this.program.twz_malloc(Math.max(1, length)) >>> 0;
    if (at === 0) throw new TwzError('SqliteMemory', `SQLite has no room for ${length} bytes`, { length });
    return at;
  }

  /** Runs `body` with a text in memory, NUL and all. */
  withText<T>(text: string, body: (at: number, length: number) => T): T {
    const length = Buffer.byteLength(text);
    const at = this.allocate(length + 1);
    this.bytes.utf8Write(text, at, length);
    this.bytes[at + length] = 0;
    try {
      return body(at, length);
    } finally {
      this.program.twz_free(at);
    }
  }

  /** False where it stays, for the next database. */
  close(): boolean {
    return this.room.close();
  }
}

export const SCRATCH_BYTES: number = SCRATCH;
