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

export interface LmdbStore {
  getBinary(key: number): Uint8Array | undefined;
  put(key: number, value: Uint8Array): Promise<boolean>;
  putSync(key: number, value: Uint8Array): boolean;
  transactionSync<T>(action: () => T): T;
  transaction<T>(action: () => T): Promise<T>;
  readonly flushed: Promise<unknown>;
  close(): Promise<void>;
}

export interface LmdbOptions {
  readonly path: string;
  readonly keyEncoding: 'uint32';
  readonly encoding: 'binary';
  readonly noSync?: boolean;
  readonly useWritemap?: boolean;
  readonly overlappingSync?: boolean;
  readonly mapSize?: number;
}

export interface Lmdb {
  open(options: LmdbOptions): LmdbStore;
}

export interface Level {
  open(): Promise<void>;
  put(key: Uint8Array, value: Uint8Array, options: { readonly sync: boolean }): Promise<void>;
  batch(
    operations: readonly {
      readonly type: 'put';
      readonly key: Uint8Array;
      readonly value: Uint8Array;
    }[],
    options: { readonly sync: boolean },
  ): Promise<void>;
  close(): Promise<void>;
}

export interface ClassicLevel {
  readonly ClassicLevel: new (path: string, options: { readonly keyEncoding: 'view'; readonly valueEncoding: 'view' }) => Level;
}

export interface SqliteStatement {
  run(...values: readonly (number | Uint8Array)[]): unknown;
  get(...values: readonly (number | Uint8Array)[]): unknown;
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
function load<T>(name: string): T | Absent {
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
