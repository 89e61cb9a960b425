/** A prepared statement. */
import { TwzError } from '../../abi/errors.ts';
import type { Database } from './database.ts';
import { SQLITE, type Engine } from './engine.ts';
import { bindValue, readCell, wordOfCell, type SqlInput, type SqlValue } from './values.ts';

export type Row = Record<string, SqlValue>;
/** Positional parameters, or one object with the named ones. */
export type Parameters = readonly (SqlInput | Readonly<Record<string, SqlInput>>)[];

export interface RunResult {
  /** Rows that were inserted, changed or deleted. */
  readonly changes: number;
  readonly lastInsertRowid: number | bigint;
}

export interface Column {
  readonly name: string;
  /** The column of a table that it shows, where it shows one. */
  readonly column: string | undefined;
  readonly table: string | undefined;
  /** The declared type. */
  readonly type: string | undefined;
}

type Shape = (value: (index: number) => SqlValue) => Row;

/** Rows with the same columns have the same shape: made by code that names them. */
function shapeOf(names: readonly string[]): Shape {
  const fields = names.map((name, i) => `${name === '__proto__' ? '["__proto__"]' : JSON.stringify(name)}: value(${i})`);
  try {
    const compiled: unknown = new Function('value', `return { ${fields.join(', ')} };`);
    return compiled as Shape;
  } catch (error) {
    if (!(error instanceof EvalError)) throw error;
    // Where code generation is forbidden, slower.
    return (value) => Object.fromEntries(names.map((name, i) => [name, value(i)]));
  }
}

export class Statement {
  readonly database: Database;
  readonly source: string;
  /** Whether it gives rows. */
  readonly reader: boolean;
  readonly readonly: boolean;
  readonly #engine: Engine;
  #at: number;
  readonly #count: number;
  readonly #names: readonly (string | undefined)[];
  readonly #columns: number;
  #columnNames: string[] | undefined;
  #shape: Shape | undefined;
  #bound = false;
  #mode: 'object' | 'raw' | 'pluck' = 'object';
  #wide: boolean;
  #iterating = false;
  readonly #value: (index: number) => SqlValue;

  /** Use `Database.prepare`. */
  constructor(database: Database, engine: Engine, at: number, source: string, wide: boolean) {
    this.database = database;
    this.#engine = engine;
    this.#at = at;
    this.source = source;
    this.#wide = wide;
    const { program } = engine;
    this.#count = program.twz_parameter_count(at);
    this.#names = Array.from({ length: this.#count }, (_, i) => {
      const name = program.twz_parameter_name(at, i + 1);
      return name === 0 ? undefined : engine.text(name);
    });
    this.#columns = program.twz_column_count(at);
    this.reader = this.#columns > 0;
    this.readonly = program.twz_readonly(at) !== 0;
    const { cells } = engine;
    this.#value = (index) => readCell(engine, wordOfCell(cells, index), this.#wide);
  }

  /** Lets go of it. Done by closing the database as well. */
  finalize(): void {
    if (this.#at === 0) return;
    this.#engine.program.twz_finalize(this.#at);
    this.#at = 0;
    this.database.forget(this);
  }

  /** What the columns of a row are. */
  columns(): Column[] {
    const { program } = this.#engine;
    const at = this.#live();
    const textOf = (from: number): string | undefined => (from === 0 ? undefined : this.#engine.text(from));
    return Array.from({ length: program.twz_column_count(at) }, (_, i) => ({
      name: textOf(program.twz_column_name(at, i)) ?? '',
      column: textOf(program.twz_column_origin(at, i)),
      table: textOf(program.twz_column_table(at, i)),
      type: textOf(program.twz_column_decltype(at, i)),
    }));
  }

  /** Rows as the value of their first column alone. */
  pluck(on = true): this {
    this.#mode = on ? 'pluck' : 'object';
    return this;
  }

  /** Rows as arrays. */
  raw(on = true): this {
    this.#mode = on ? 'raw' : 'object';
    return this;
  }

  /** Integers as bigints. Without it one that is no safe number throws OutOfRange. */
  safeIntegers(on = true): this {
    this.#wide = on;
    return this;
  }

  /** Binds parameters for good. */
  bind(...parameters: Parameters): this {
    if (this.#bound) throw new TwzError('InvalidArgument', 'the statement has its parameters bound for good');
    this.#idle();
    this.#bind(parameters, true);
    this.#bound = true;
    return this;
  }

  /** Runs it, and says what it changed. */
  run(...parameters: Parameters): RunResult {
    const { database } = this;
    return database.attempt(() => {
      const { program } = this.#engine;
      const used = this.#begin(parameters);
      try {
        database.check(program.twz_run(this.#at));
        return database.changed();
      } finally {
        this.#end(used);
      }
    }, !this.readonly);
  }

  /** The first row, or undefined. */
  get(...parameters: Parameters): unknown {
    return this.database.attempt(() => {
      const used = this.#begin(parameters);
      try {
        return this.database.check(this.#engine.program.twz_step(this.#at)) === SQLITE.row ? this.#row() : undefined;
      } finally {
        this.#end(used);
      }
    }, !this.readonly);
  }

  /** All rows. */
  all(...parameters: Parameters): unknown[] {
    return this.database.attempt(() => {
      const { program } = this.#engine;
      const rows: unknown[] = [];
      const used = this.#begin(parameters);
      try {
        while (this.database.check(program.twz_step(this.#at)) === SQLITE.row) rows.push(this.#row());
      } finally {
        this.#end(used);
      }
      return rows;
    }, !this.readonly);
  }

  /**
   * One row after the other. While it goes on, another connection's commit ends it with SqliteOvertaken; this connection may change the
   * database meanwhile.
   */
  *iterate(...parameters: Parameters): IterableIterator<unknown> {
    const at = this.#live();
    this.#idle();
    const { program } = this.#engine;
    this.#iterating = true;
    try {
      if (!this.#bound) this.#bind(parameters, true);
      for (;;) {
        this.database.demandCurrent();
        if (this.database.check(program.twz_step(at)) !== SQLITE.row) return;
        yield this.#row();
        if (this.#at === 0) throw new TwzError('SqliteClosed', 'the statement was finalized while it was iterated');
      }
    } finally {
      this.#iterating = false;
      if (this.#at !== 0) {
        program.twz_reset(at);
        if (!this.#bound) program.twz_clear(at);
      }
    }
  }

  // --- within ---------------------------------------------------------------------------------------------------------------

  #live(): number {
    this.database.demandOpen();
    if (this.#at === 0) throw new TwzError('SqliteClosed', 'the statement was finalized');
    return this.#at;
  }

  #idle(): void {
    if (this.#iterating) throw new TwzError('InvalidArgument', 'the statement is being iterated');
  }

  /** Binds, and gives how much of the scratch memory was in use before. */
  #begin(parameters: Parameters): number {
    this.#live();
    this.#idle();
    this.database.demandCurrent();
    const { scratchUsed } = this.#engine;
    if (this.#bound) {
      if (parameters.length > 0) throw new TwzError('InvalidArgument', 'the statement has its parameters bound for good');
    } else if (this.#count > 0 || parameters.length > 0) this.#bind(parameters, false);
    return scratchUsed;
  }

  #end(scratchUsed: number): void {
    const engine = this.#engine;
    if (this.#at !== 0) engine.program.twz_reset(this.#at);
    if (engine.scratchUsed === scratchUsed) return;
    // Its parameters lie in scratch memory that others use from now on.
    if (this.#at !== 0) engine.program.twz_clear(this.#at);
    engine.scratchUsed = scratchUsed;
  }

  #bind(parameters: Parameters, lasting: boolean): void {
    let index = 0;
    let named: object | undefined;
    for (const value of parameters) {
      if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
        if (named !== undefined) throw new TwzError('InvalidArgument', 'named parameters belong in one object');
        named = value;
      } else this.#bindOne(++index, value, lasting);
    }
    if (named === undefined) {
      if (index !== this.#count)
        throw new TwzError('InvalidArgument', `the statement takes ${this.#count} parameters, not ${index}`, {
          expected: this.#count,
          given: index,
        });
      return;
    }
    let left = this.#count - index;
    for (const [i, name] of this.#names.entries()) {
      if (name === undefined || i < index) continue;
      if (name.startsWith('?')) continue;
      const key = name.slice(1);
      const value: unknown = Object.hasOwn(named, key) ? Reflect.get(named, key) : undefined;
      if (value === undefined) throw new TwzError('InvalidArgument', `the parameter "${key}" is missing`, { name: key });
      this.#bindOne(i + 1, value, lasting);
      left--;
    }
    if (left > 0) throw new TwzError('InvalidArgument', `${left} parameters have no value`);
  }

  #bindOne(index: number, value: unknown, lasting: boolean): void {
    if (index > this.#count)
      throw new TwzError('InvalidArgument', `the statement takes ${this.#count} parameters, and more were given`, {
        expected: this.#count,
      });
    this.database.check(bindValue(this.#engine, this.#at, index, value, lasting));
  }

  #row(): unknown {
    if (this.#mode === 'object') return this.#object();
    if (this.#mode === 'pluck') return this.#value(0);
    return Array.from({ length: this.#columns }, (_, i) => this.#value(i));
  }

  #object(): Row {
    if (this.#shape === undefined) {
      const { program } = this.#engine;
      this.#columnNames = Array.from({ length: this.#columns }, (_, i) => this.#engine.text(program.twz_column_name(this.#at, i)));
      this.#shape = shapeOf(this.#columnNames);
    }
    return this.#shape(this.#value);
  }
}
