/**
 * The libraries that a user would take instead. They live in bench/peers with a package.json of their own, because one of them is
 * compiled for a minute when it is installed; a peer that is not there is reported as skipped.
 *
 * Only what the benchmarks call is declared here.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Absent } from './harness.ts';

export const ROOT = new URL('../../', import.meta.url).pathname;

export interface LmdbRange<K> {
  readonly start?: K;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface LmdbStore<K = number, V = Uint8Array> {
  get(key: K): V | undefined;
  getBinary(key: K): Uint8Array | undefined;
  /** Valid until the next call. */
  getBinaryFast(key: K): Uint8Array | undefined;
  getRange(range: LmdbRange<K>): Iterable<{ readonly key: K; readonly value: V }>;
  put(key: K, value: V): Promise<boolean>;
  putSync(key: K, value: V): boolean;
  transactionSync<T>(action: () => T): T;
  transaction<T>(action: () => T): Promise<T>;
  readonly flushed: Promise<unknown>;
  close(): Promise<void>;
}

export interface LmdbOptions {
  readonly path: string;
  readonly keyEncoding?: 'uint32';
  readonly encoding?: 'binary';
  /** Where the names of objects' properties are kept, once for all of them. */
  readonly sharedStructuresKey?: symbol;
  /** Properties of objects are decoded when they are read. */
  readonly randomAccessStructure?: boolean;
  readonly noSync?: boolean;
  readonly useWritemap?: boolean;
  readonly overlappingSync?: boolean;
  readonly noMemInit?: boolean;
  readonly mapSize?: number;
}

export interface Lmdb {
  open<K = number, V = Uint8Array>(options: LmdbOptions): LmdbStore<K, V>;
}

type LevelKey = string | Uint8Array;

export interface LevelIterator {
  nextv(size: number): Promise<readonly (readonly [LevelKey, Uint8Array])[]>;
  close(): Promise<void>;
}

export interface Level {
  open(): Promise<void>;
  getSync(key: LevelKey): Uint8Array | undefined;
  put(key: LevelKey, value: Uint8Array, options: { readonly sync: boolean }): Promise<void>;
  batch(
    operations: readonly {
      readonly type: 'put';
      readonly key: LevelKey;
      readonly value: Uint8Array;
    }[],
    options: { readonly sync: boolean },
  ): Promise<void>;
  iterator(range: {
    readonly gte?: LevelKey;
    readonly limit?: number;
    readonly reverse?: boolean;
    readonly highWaterMarkBytes?: number;
  }): LevelIterator;
  close(): Promise<void>;
}

export interface LevelOptions {
  readonly keyEncoding: 'view' | 'utf8';
  readonly valueEncoding: 'view';
  readonly cacheSize?: number;
  readonly compression?: boolean;
}

export interface ClassicLevel {
  readonly ClassicLevel: new (path: string, options: LevelOptions) => Level;
}

type SqliteValue = string | number | Uint8Array;

export interface SqliteStatement {
  run(...values: readonly SqliteValue[]): unknown;
  get(...values: readonly SqliteValue[]): unknown;
  iterate(...values: readonly SqliteValue[]): Iterable<unknown>;
  /** The first column alone. */
  pluck(): SqliteStatement;
}

export interface Sqlite {
  prepare(sql: string): SqliteStatement;
  pragma(text: string): unknown;
  exec(sql: string): unknown;
  transaction<A extends readonly unknown[]>(action: (...args: A) => void): (...args: A) => void;
  close(): void;
}

export type BetterSqlite3 = new (path: string) => Sqlite;

/** Loads a peer, or says why not. The caller names the shape, which is the peer's own and not checked. */
export function load<T>(name: string): T | Absent {
  try {
    const require: (id: string) => T = createRequire(join(ROOT, 'bench/peers/package.json'));
    return require(name);
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    const missing = error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND';
    return {
      name,
      absent: missing ? 'not installed: npm run bench:peers' : `does not load: ${why}`,
    };
  }
}

export function lmdb(): Lmdb | Absent {
  return load<Lmdb>('lmdb');
}

export function classicLevel(): ClassicLevel | Absent {
  return load<ClassicLevel>('classic-level');
}

export function betterSqlite3(): BetterSqlite3 | Absent {
  return load<BetterSqlite3>('better-sqlite3');
}

export function isAbsent(peer: object): peer is Absent {
  return 'absent' in peer;
}
