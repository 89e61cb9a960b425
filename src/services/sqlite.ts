/** `twizzler/sqlite`: SQL databases that are objects of a space. docs/sqlite.md */
import { TwzError } from '../abi/errors.ts';
import type { Handle } from '../kernel/object.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Space } from '../space.ts';
import { Database } from './sqlite/database.ts';
import { Engine } from './sqlite/engine.ts';
import { createDatabase, Store, type Durability } from './sqlite/store.ts';

export { Database, type FunctionOptions } from './sqlite/database.ts';
export { Statement, type Column, type Parameters, type Row, type RunResult } from './sqlite/statement.ts';
export type { Durability } from './sqlite/store.ts';
export type { SqlInput, SqlValue } from './sqlite/values.ts';

export interface DatabaseOptions {
  /** Make it where nothing has the name (default true). */
  readonly create?: boolean;
  /** When a commit returns: when it is on disk (default), or when it survives the death of the process. */
  readonly durability?: Durability;
  readonly readonly?: boolean;
  /** Bytes of a page of a database that is made: a power of two from 512 to 65536 (default 4096). */
  readonly pageSize?: number;
  /** Bytes of address space to set aside: what the object can grow to while it is open here (default 1 GiB, the most there is). */
  readonly reserve?: number;
}

const RESERVE = 2 ** 30;

/** Programs with room, by space. */
const engines = new WeakMap<Kernel, Engine[]>();

/**
 * Opens the database of that name, and makes it where nothing has the name; ":memory:" is one that is gone when it is closed.
 * Throws NotDatabase, NameMissing, NotSupported, ObjectForbidden and the like.
 */
export function openDatabase(space: Space, name: string, options: DatabaseOptions = {}): Database {
  const { create = true, durability = 'durable', readonly = false, pageSize = 4096, reserve = RESERVE } = options;
  if (durability !== 'durable' && durability !== 'relaxed')
    throw new TwzError('InvalidArgument', `durability is durable or relaxed, not ${String(durability)}`);
  if (!(pageSize >= 512 && pageSize <= 65536 && (pageSize & (pageSize - 1)) === 0))
    throw new TwzError('InvalidArgument', `pageSize: ${pageSize} is no power of two from 512 to 65536`, { pageSize });
  if (!(reserve > 0 && reserve <= RESERVE))
    throw new TwzError('InvalidArgument', `reserve: ${reserve} is not between 1 and ${RESERVE}`, { reserve });
  const { kernel } = space;
  kernel.idle('opening a database');
  if (name === ':memory:') return inEngine(kernel, (engine, closed) => new Database(name, engine, undefined, closed));
  const h = objectOf(space, name, create && !readonly, pageSize);
  return inEngine(kernel, (engine, closed) => {
    const store = Store.open(engine, h, reserve, durability, readonly);
    if (store === undefined) return undefined;
    try {
      return new Database(name, engine, store, closed);
    } catch (error) {
      store.close();
      throw error;
    }
  });
}

function objectOf(space: Space, name: string, create: boolean, pageSize: number): Handle {
  const { kernel } = space;
  kernel.catchUp();
  let id = space.names.lookup(name);
  if (id === undefined && create) {
    space.relaxed(() => {
      if (space.names.lookup(name) !== undefined) return;
      const made = createDatabase(space, pageSize);
      space.names.set(name, made.id, { owns: true });
    });
    id = space.names.lookup(name);
  }
  if (id === undefined) throw new TwzError('NameMissing', `nothing has the name "${name}"`, { path: name });
  return kernel.open(id);
}

/** Opens in the first program that has room, or in another. */
function inEngine(kernel: Kernel, opened: (engine: Engine, closed: () => void) => Database | undefined): Database {
  let list = engines.get(kernel);
  if (list === undefined) engines.set(kernel, (list = []));
  const all = list;
  const tryIn = (engine: Engine): Database | undefined => {
    const database = opened(engine, () => {
      if (--engine.databases > 0 || !engine.close()) return;
      all.splice(all.indexOf(engine), 1);
    });
    if (database !== undefined) engine.databases++;
    return database;
  };
  for (const engine of all) {
    const database = tryIn(engine);
    if (database !== undefined) return database;
  }
  const engine = new Engine(kernel);
  let database: Database | undefined;
  try {
    database = tryIn(engine);
  } finally {
    if (database === undefined && !engine.close()) all.push(engine);
  }
  if (database === undefined) throw new TwzError('ObjectTooLarge', 'the database does not fit beside its program');
  all.push(engine);
  return database;
}
