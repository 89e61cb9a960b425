/** What the tests of LMDB files share: the golden files, and looking into maps. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { chooseHost } from '../src/host/choose.ts';
import { isTwzError, type ErrorName, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { openMap, type ImportLmdbOptions } from '../src/services/interchange.ts';

export const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
export const home = mkdtempSync(join(tmpdir(), 'twizzler-lmdb-'));
after(() => rmSync(home, { recursive: true, force: true }));
let files = 0;
export const fresh = (ending = ''): string => join(home, `${files++}${ending}`);
export const host = chooseHost(() => undefined);
export const PAGE = 4096;
const GOLDEN = new URL('../../test/golden/lmdb/', import.meta.url);
export const goldenBytes = (version: 1 | 2): Buffer => gunzipSync(readFileSync(new URL(`v${version}.mdb.gz`, GOLDEN)));

export function fileOf(content: Uint8Array): string {
  const file = fresh('.mdb');
  writeFileSync(file, content);
  return file;
}

export const golden = (version: 1 | 2): string => fileOf(goldenBytes(version));

/** A package that need not be installed; undefined where it is not. */
export async function installed(name: string): Promise<object | undefined> {
  try {
    const loaded: unknown = await import(name);
    return typeof loaded === 'object' && loaded !== null ? loaded : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** The space is closed and sound. */
export function sound(space: Space): void {
  const { directory } = space;
  space.close();
  assert.deepEqual(
    checkSpace(host, directory).findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
}

export async function refused(name: ErrorName, pattern: RegExp, run: () => Promise<unknown>): Promise<void> {
  await assert.rejects(
    run,
    (error: unknown) => {
      assert.ok(isTwzError(error, name), String(error));
      assert.match(error.message, pattern);
      return true;
    },
    `${name} ${String(pattern)}`,
  );
}

/** Structs as objects of what is in them. */
function plain(value: unknown, fields: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || Array.isArray(value)) return value;
  return Object.fromEntries(fields.flatMap((name) => (Reflect.get(value, name) === undefined ? [] : [[name, Reflect.get(value, name)]])));
}

export function rows(space: Space, path: string, ...fields: string[]): [key: unknown, value: unknown][] {
  return [...openMap(space, path)].map(([key, value]) => [key, plain(value, fields)]);
}

export const count = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
export const byText = (a: readonly [string, ...unknown[]], b: readonly [string, ...unknown[]]): number => (a[0] < b[0] ? -1 : 1);

export const V1: ImportLmdbOptions = {
  encodings: {
    ids: { values: 'u64le' },
    wide: { values: 'u32le' },
    json: { values: 'json' },
    'big endian': { keys: 'u32be', values: 'f64le' },
  },
};

export const someBytes = (min: number, max: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: min, maxLength: max, size: 'max' }).map((value) => Uint8Array.from(value));
