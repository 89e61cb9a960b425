/**
 * A database object, and the host's side of the file system in wasm/sqlite/vfs.c.
 *
 *   root   0 magic (8)   8 format u32   12 0   16 bytes of the file u32   20 extents in use u32   64 offsets of extents, u32 each
 *
 * The file's byte n lies in extent n / 256 KiB. Extents are blocks of the object's own allocator, 64 pages each.
 *
 * Invariants:
 *  1. The bytes are stored to by `commit` alone, in a transaction of the space, each line marked before.
 *  2. `version` and `turn` are those of the object when SQLite last looked. Where they differ while it holds a lock, another
 *     connection has committed meanwhile: what SQLite has read is of no state any more, and it must not go on (SqliteOvertaken).
 */
import { TwzError, isTwzError, type ErrorName } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { Handle } from '../../kernel/object.ts';
import { run } from '../../kernel/transaction.ts';
import type { Space } from '../../space.ts';
import { SQLITE, type Engine } from './engine.ts';

export type Durability = 'durable' | 'relaxed';

const MAGIC_LOW = 0x537a7754; // "TwzS"
const MAGIC_HIGH = 0x62446c71; // "qlDb"
const FORMAT = 1;
const ROOT = { magic: 0, format: 8, length: 16, count: 20, extents: 64 } as const;
const EXTENT = 1 << 18;
const EXTENTS_MAX = 4096;
const ROOT_BYTES = ROOT.extents + EXTENTS_MAX * 4;
/** A `Change` of vfs.c, in words. */
const CHANGE = { words: 5, at: 0, bytes: 1, lines: 4 } as const;

/** Offset of the root of a database object. Throws NotDatabase. */
function rootOf(h: Handle): number {
  if (h.cold) h.warm();
  const { dv, size } = h;
  const at = dv.getUint32(META.root, true);
  const found = at >= 4096 && at + ROOT_BYTES <= size && dv.getUint32(at, true) === MAGIC_LOW && dv.getUint32(at + 4, true) === MAGIC_HIGH;
  if (!found) throw new TwzError('NotDatabase', `object ${h.id} is no database`, { id: h.id });
  const format = dv.getUint32(at + ROOT.format, true);
  if (format !== FORMAT)
    throw new TwzError('NotDatabase', `object ${h.id} is a database of format ${format}; this build reads ${FORMAT}`, { id: h.id, format });
  return at;
}

/** A new object with an empty database: one page, as SQLite lays it out. In a transaction. */
export function createDatabase(space: Space, pageSize: number): Handle {
  const object = space.createRaw(ROOT_BYTES);
  const { handle } = object;
  const h = handle as Handle;
  const root = object.rootOffset;
  h.markRange(root, ROOT.extents);
  h.dv.setUint32(root, MAGIC_LOW, true);
  h.dv.setUint32(root + 4, MAGIC_HIGH, true);
  h.dv.setUint32(root + ROOT.format, FORMAT, true);
  reach(h, root, pageSize);
  h.setU32(root + ROOT.length, pageSize);
  const page = h.dv.getUint32(root + ROOT.extents, true);
  h.markRange(page, 128);
  h.u8.set(new TextEncoder().encode('SQLite format 3\0'), page);
  const header = new DataView(h.u8.buffer, h.u8.byteOffset + page, 128);
  header.setUint16(16, pageSize === 65536 ? 1 : pageSize);
  header.setUint8(18, 1);
  header.setUint8(19, 1);
  header.setUint8(21, 64);
  header.setUint8(22, 32);
  header.setUint8(23, 32);
  header.setUint32(24, 1);
  header.setUint32(28, 1);
  header.setUint32(92, 1);
  header.setUint32(96, 3053002);
  // An empty leaf of a table.
  header.setUint8(100, 13);
  header.setUint16(105, pageSize === 65536 ? 0 : pageSize);
  return h;
}

/** Makes the extents cover `length` bytes, and no more than that. In a transaction. */
function reach(h: Handle, root: number, length: number): void {
  let count = h.dv.getUint32(root + ROOT.count, true);
  const before = count;
  for (; count * EXTENT < length; count++) h.setU32(root + ROOT.extents + count * 4, h.allocate(EXTENT));
  for (; (count - 1) * EXTENT >= length && count > 1; count--) h.release(h.dv.getUint32(root + ROOT.extents + (count - 1) * 4, true));
  if (count !== before) h.setU32(root + ROOT.count, count);
}

/** Errors of the space that mean what an SQLite code means. The caller gets the error itself. */
const CODES: Partial<Record<ErrorName, number>> = { DiskFull: SQLITE.abortRollback };

export class Store {
  readonly engine: Engine;
  readonly h: Handle;
  readonly id: number;
  readonly #root: number;
  readonly readonly: boolean;
  durability: Durability;
  /** The commits that come now are awaited by somebody: not synced one by one. */
  deferred = false;
  /** Why the program was given an error code. */
  failure: unknown;
  locked = false;
  #version = -1;
  #turn = -1;
  #slot: Handle['slot'];

  /** Throws NotDatabase, ObjectPinned, SqliteMemory; undefined where the window of this engine has no room. */
  static open(engine: Engine, h: Handle, reserve: number, durability: Durability, readonly: boolean): Store | undefined {
    const root = rootOf(h);
    if (!engine.room.admit(h, reserve)) return undefined;
    try {
      return new Store(engine, h, root, durability, readonly);
    } catch (error) {
      h.unpin();
      throw error;
    }
  }

  constructor(engine: Engine, h: Handle, root: number, durability: Durability, readonly: boolean) {
    this.engine = engine;
    this.h = h;
    this.#root = root;
    this.durability = durability;
    this.readonly = readonly;
    this.#slot = h.slot;
    this.id = engine.program.twz_store_new();
    if (this.id < 0) throw new TwzError('SqliteMemory', 'SQLite has no room for another database');
    engine.stores[this.id] = this;
  }

  close(): void {
    const { engine, h } = this;
    engine.program.twz_store_free(this.id);
    engine.stores[this.id] = undefined;
    if (!engine.kernel.closed) h.unpin();
  }

  /** Has another connection changed what SQLite is looking at? */
  get overtaken(): boolean {
    return this.locked && (this.h.version !== this.#version || this.h.turn !== this.#turn);
  }

  overtakenError(): TwzError {
    return new TwzError('SqliteOvertaken', `another connection committed to database ${this.h.id} meanwhile`, { id: this.h.id });
  }

  // --- what the program asks for; none of these throws -------------------------------------------------------------------------

  #guarded(body: () => void): number {
    try {
      body();
      return SQLITE.ok;
    } catch (error) {
      this.failure ??= error;
      return (isTwzError(error) ? CODES[error.name] : undefined) ?? SQLITE.abortRollback;
    }
  }

  /** A reading transaction begins. */
  lock(): number {
    return this.#guarded(() => {
      const { h, engine } = this;
      engine.kernel.catchUp();
      if (h.state !== 'live' || h.slot !== this.#slot) throw h.state === 'live' ? this.#moved() : h.gone();
      if (h.version !== this.#version || h.turn !== this.#turn) this.#look(true);
      this.locked = true;
    });
  }

  #moved(): TwzError {
    return new TwzError('ObjectPinned', `object ${this.h.id} was made anew by another process`, { id: this.h.id });
  }

  unlock(level: number): number {
    if (level === 0) this.locked = false;
    return SQLITE.ok;
  }

  /** A writing transaction begins. */
  reserve(): number {
    return this.#guarded(() => {
      if (this.overtaken) throw this.overtakenError();
    });
  }

  /** Shows SQLite the object as it is. */
  #look(stale: boolean): void {
    const { h, engine, id } = this;
    const root = this.#root;
    const { program, words } = engine;
    const length = h.dv.getUint32(root + ROOT.length, true);
    const count = h.dv.getUint32(root + ROOT.count, true);
    if (count > EXTENTS_MAX || length > count * EXTENT || root + ROOT_BYTES > h.size)
      h.corrupt(root, 'the extents of the database do not cover it');
    const to = program.twz_store_extents(id) >>> 2;
    for (let i = 0; i < count; i++) {
      const at = h.dv.getUint32(root + ROOT.extents + i * 4, true);
      if (at < 4096 || at % 4096 !== 0 || at + EXTENT > h.size) h.corrupt(root + ROOT.extents + i * 4, 'an extent lies outside the object');
      words[to + i] = at;
    }
    program.twz_store_set(id, h.u8.byteOffset, length, count, this.readonly ? 1 : 0, stale ? 1 : 0);
    this.#version = h.version;
    this.#turn = h.turn;
  }

  commit(list: number, count: number, length: number): number {
    const { kernel } = this.engine;
    return this.#guarded(() => {
      run(kernel, () => this.#apply(list >>> 2, count, length));
      this.#version = this.h.version;
      if (kernel.transaction !== undefined) return;
      if (this.durability === 'relaxed') kernel.log.pace();
      kernel.checkpointer.pace();
    });
  }

  /** Makes the pages in the list those of the object. */
  #apply(list: number, count: number, length: number): void {
    const { h, engine, id } = this;
    if (this.overtaken) throw this.overtakenError();
    const root = this.#root;
    const { program, words } = engine;
    if (length !== h.dv.getUint32(root + ROOT.length, true)) {
      const extents = h.dv.getUint32(root + ROOT.count, true);
      reach(h, root, length);
      h.setU32(root + ROOT.length, length);
      if (h.dv.getUint32(root + ROOT.count, true) !== extents) this.#look(false);
    }
    if (h.serial !== engine.kernel.serial) h.mark(root);
    const { dirty } = h;
    const base = h.u8.byteOffset;
    const masks = program.twz_masks() >>> 2;
    for (let i = list; i < list + count * CHANGE.words; i += CHANGE.words) {
      const at = (words[i + CHANGE.at] as number) >>> 0;
      // Behind the end: it was cut off after the page was written.
      if (at >= length) words[i + CHANGE.lines] = 0;
      else if (program.twz_compare(id, i << 2) !== 0) {
        let line = (((words[i + 3] as number) >>> 0) - base) >>> 6;
        const sets = Math.ceil((words[i + CHANGE.bytes] as number) / 2048);
        for (let set = masks; set < masks + sets; set++, line += 32) {
          for (let bits = words[set] as number; bits !== 0; bits &= bits - 1) {
            const marked = line + 31 - Math.clz32(bits & -bits);
            if (dirty[marked] !== 1) h.mark(marked << 6);
          }
        }
      }
    }
    program.twz_store(list << 2, count);
  }

  sync(): number {
    const { kernel } = this.engine;
    if (this.durability === 'relaxed' || this.deferred || kernel.transaction !== undefined) return SQLITE.ok;
    return this.#guarded(() => kernel.log.sync());
  }

  /** `PRAGMA synchronous`: OFF and NORMAL are relaxed, FULL and EXTRA durable. 0 for OFF. */
  synchronous(value: string): number {
    const text = value.trim().toLowerCase();
    this.durability = ['0', 'off', 'no', 'false', '1', 'normal'].includes(text) ? 'relaxed' : 'durable';
    return ['0', 'off', 'no', 'false'].includes(text) ? 0 : 1;
  }
}
