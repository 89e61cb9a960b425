/** A connection to a database. */
import { TwzError, type ErrorName } from '../../abi/errors.ts';
import { runAlone } from '../../kernel/transaction.ts';
import { SQLITE, type Bytes, type Engine } from './engine.ts';
import { Statement, type RunResult } from './statement.ts';
import type { Durability, Store } from './store.ts';
import { giveResult, readCell, wordOfCell, type SqlInput, type SqlValue } from './values.ts';

export interface FunctionOptions {
  /** The same arguments give the same result: it may be used in indexes, and called once for many rows. */
  readonly deterministic?: boolean;
  /** Any number of arguments. */
  readonly varargs?: boolean;
  /** Integers arrive as bigints. */
  readonly safeIntegers?: boolean;
}

/** How often a transaction that another connection got in the way of is tried beside it; after that all others are kept out. */
const TRIES = 4;
const DETERMINISTIC = 0x800;

/** Error pages by the primary result code. */
const NAMES: Readonly<Record<number, ErrorName>> = { 7: 'SqliteMemory', 11: 'SqliteCorrupt', 19: 'SqliteConstraint', 26: 'SqliteCorrupt' };
const CODE_NAMES =
  'OK ERROR INTERNAL PERM ABORT BUSY LOCKED NOMEM READONLY INTERRUPT IOERR CORRUPT NOTFOUND FULL CANTOPEN PROTOCOL EMPTY SCHEMA TOOBIG CONSTRAINT MISMATCH MISUSE NOLFS AUTH FORMAT RANGE NOTADB'.split(
    ' ',
  );
const CONSTRAINTS = ' CHECK COMMITHOOK FOREIGNKEY FUNCTION NOTNULL PRIMARYKEY TRIGGER UNIQUE VTAB ROWID PINNED DATATYPE'.split(' ');

/** As SQLite's headers spell it, as far as programs ask for it. */
function codeName(code: number): string {
  const name = `SQLITE_${CODE_NAMES[code & 255] ?? String(code)}`;
  const detail = (code & 255) === 19 ? CONSTRAINTS[code >> 8] : undefined;
  return detail === undefined || detail === '' ? name : `${name}_${detail}`;
}

export class Database {
  readonly name: string;
  readonly #engine: Engine;
  readonly #store: Store | undefined;
  readonly #statements = new Set<Statement>();
  readonly #functions: number[] = [];
  readonly #closed: () => void;
  #at: number;
  #wide = false;
  #exclusive = 0;
  #failed: unknown;
  #begin: Statement | undefined;
  #commit: Statement | undefined;
  #rollback: Statement | undefined;

  /** Use `openDatabase`. */
  constructor(name: string, engine: Engine, store: Store | undefined, closed: () => void) {
    this.name = name;
    this.#engine = engine;
    this.#store = store;
    this.#closed = closed;
    const { program } = engine;
    const file = store === undefined ? ':memory:' : String(store.id);
    const code = engine.withText(file, (at) => program.twz_open(at, store?.readonly === true ? 1 : 0));
    this.#at = program.twz_opened();
    if (code === SQLITE.ok) {
      if (store?.durability === 'relaxed') this.durability = 'relaxed';
      return;
    }
    const error = this.#error(code);
    program.twz_close(this.#at);
    throw error;
  }

  get open(): boolean {
    return this.#at !== 0 && !this.#engine.kernel.closed;
  }

  get readonly(): boolean {
    return this.#store?.readonly === true;
  }

  /** Is a transaction of SQL under way? */
  get inTransaction(): boolean {
    return this.#engine.program.twz_autocommit(this.#live()) === 0;
  }

  get durability(): Durability {
    return this.#store?.durability ?? 'relaxed';
  }

  set durability(value: Durability) {
    if (value !== 'durable' && value !== 'relaxed')
      throw new TwzError('InvalidArgument', `durability is durable or relaxed, not ${String(value)}`);
    if (this.#store !== undefined) this.exec(`PRAGMA synchronous = ${value === 'durable' ? 'FULL' : 'NORMAL'}`);
  }

  /** Runs statements one after the other; what rows they give is dropped. */
  exec(sql: string): this {
    for (const statement of this.statements(sql)) statement.run();
    return this;
  }

  /** The statements of a text, each compiled when the one before has been used, and good until the next is asked for. */
  *statements(sql: string): IterableIterator<Statement> {
    const engine = this.#engine;
    const { program, bytes } = engine;
    this.#live();
    const length = Buffer.byteLength(sql);
    const text = engine.allocate(length + 1);
    bytes.utf8Write(sql, text, length);
    bytes[text + length] = 0;
    try {
      for (let at = text; at < text + length;) {
        this.demandCurrent();
        this.check(program.twz_prepare(this.#live(), at, text + length - at, 0), bytes, at);
        const prepared = program.twz_prepared();
        const from = at;
        at = program.twz_tail() >>> 0;
        if (prepared === 0) continue;
        const statement = new Statement(this, engine, prepared, bytes.utf8Slice(from, at).trim(), this.#wide);
        this.#statements.add(statement);
        try {
          yield statement;
        } finally {
          statement.finalize();
        }
      }
    } finally {
      if (!engine.kernel.closed) program.twz_free(text);
    }
  }

  /** Compiles one statement. */
  prepare(sql: string): Statement {
    const { program, bytes } = this.#engine;
    this.#live();
    this.demandCurrent();
    return this.#engine.withText(sql, (at, length) => {
      this.check(program.twz_prepare(this.#at, at, length, 1), bytes, at);
      const prepared = program.twz_prepared();
      if (prepared === 0) throw new TwzError('InvalidArgument', 'the text holds no statement');
      const tail = program.twz_tail() >>> 0;
      const rest = bytes.utf8Slice(tail, at + length);
      const statement = new Statement(this, this.#engine, prepared, sql, this.#wide);
      if (/^(\s|;|--[^\n]*(\n|$)|\/\*.*?\*\/)*$/s.test(rest)) {
        this.#statements.add(statement);
        return statement;
      }
      statement.finalize();
      throw new TwzError('InvalidArgument', 'the text holds more than one statement: use exec');
    });
  }

  /** A pragma, as `name` or `name = value`: its rows, or with `simple` the first value. */
  pragma(text: string, { simple = false }: { readonly simple?: boolean } = {}): unknown {
    const statement = this.prepare(`PRAGMA ${text}`);
    try {
      if (!statement.reader) return statement.run();
      return simple ? statement.pluck().get() : statement.all();
    } finally {
      statement.finalize();
    }
  }

  /**
   * A function that runs `body` as one transaction: committed when it returns, rolled back when it throws. Inside a transaction it is a
   * savepoint. Where another connection was first it runs again.
   */
  transaction<A extends readonly unknown[], R>(body: (...values: A) => R): (...values: A) => R {
    return (...values) => this.attempt(() => this.#transact(() => body(...values)), true);
  }

  /** As `transaction`, run at once; resolves when it is durable. Such transactions share a sync with others in flight. */
  async durable<R>(body: () => R): Promise<R> {
    const { kernel } = this.#engine;
    const store = this.#store;
    let result: R;
    const before = store?.deferred ?? false;
    if (store !== undefined) store.deferred = true;
    try {
      result = this.attempt(() => this.#transact(body), true);
    } finally {
      if (store !== undefined) store.deferred = before;
    }
    await kernel.log.durable();
    return result;
  }

  /** A function for SQL. It gets SQL's values, and gives one. */
  function(name: string, options: FunctionOptions, body: (...values: SqlValue[]) => SqlInput | undefined): this;
  function(name: string, body: (...values: SqlValue[]) => SqlInput | undefined): this;
  function(
    name: string,
    options: FunctionOptions | ((...values: SqlValue[]) => SqlInput | undefined),
    body?: (...values: SqlValue[]) => SqlInput | undefined,
  ): this {
    if (typeof options === 'function') return this.function(name, {}, options);
    if (body === undefined) throw new TwzError('InvalidArgument', 'a function is missing');
    const engine = this.#engine;
    const { program } = engine;
    this.#live();
    const id = engine.functions.length;
    engine.functions.push((context, cells, count) => {
      try {
        const values = Array.from({ length: count }, (_, i) => readCell(engine, wordOfCell(cells, i), options.safeIntegers ?? false));
        giveResult(engine, context, body(...values));
      } catch (error) {
        this.#failed = error;
        const text = error instanceof Error ? error.message : String(error);
        const n = Buffer.byteLength(text);
        const at = engine.allocate(n);
        engine.bytes.utf8Write(text, at, n);
        program.twz_result_error(context, at, n);
      }
    });
    this.#functions.push(id);
    const flags = options.deterministic === true ? DETERMINISTIC : 0;
    this.check(engine.withText(name, (at) => program.twz_function(this.#at, at, options.varargs === true ? -1 : body.length, id, flags)));
    return this;
  }

  /** The database as a file of SQLite's. */
  serialize(): Uint8Array {
    const { program, bytes } = this.#engine;
    const at = program.twz_serialize(this.#live()) >>> 0;
    if (at === 0) throw this.#error(SQLITE.nomem);
    const copy = Uint8Array.from(bytes.subarray(at, at + program.twz_image_size()));
    program.twz_free(at);
    return copy;
  }

  /** Integers as bigints, in statements that are prepared from now on. */
  defaultSafeIntegers(on = true): this {
    this.#wide = on;
    return this;
  }

  /** Ends what is under way, and lets go of the object. */
  close(): void {
    if (this.#at === 0) return;
    const { program, kernel } = this.#engine;
    if (kernel.closed) {
      // There is nothing left that the program could look at.
      this.#at = 0;
      return;
    }
    for (const statement of this.#statements) statement.finalize();
    program.twz_close(this.#at);
    this.#at = 0;
    for (const id of this.#functions) this.#engine.functions[id] = () => undefined;
    this.#store?.close();
    this.#closed();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // --- for statements -------------------------------------------------------------------------------------------------------

  /** Throws SqliteClosed. */
  demandOpen(): void {
    this.#live();
  }

  /** Throws SqliteOvertaken where an unfinished transaction has been overtaken: what it goes on to read would be of another state. */
  demandCurrent(): void {
    const store = this.#store;
    if (store?.overtaken !== true) return;
    const error = store.overtakenError();
    // Everything that is under way ends: nothing of it can go on.
    const { program } = this.#engine;
    if (program.twz_autocommit(this.#at) === 0) {
      const [code] = [this.#engine.withText('ROLLBACK', (at, n) => program.twz_prepare(this.#at, at, n, 0))];
      const statement = program.twz_prepared();
      if (code === SQLITE.ok) program.twz_run(statement);
      program.twz_finalize(statement);
    }
    throw error;
  }

  forget(statement: Statement): void {
    this.#statements.delete(statement);
  }

  changed(): RunResult {
    const { program, words } = this.#engine;
    const at = program.twz_last_rowid(this.#at) >>> 2;
    const low = (words[at] as number) >>> 0;
    const high = words[at + 1] as number;
    const lastInsertRowid = this.#wide || high >= 0x200000 || high < -0x200000 ? (BigInt(high) << 32n) | BigInt(low) : high * 2 ** 32 + low;
    return { changes: program.twz_changes(this.#at), lastInsertRowid };
  }

  /** Gives the code where it is none of an error; else throws what it means. `at`: where in memory the text began that was compiled. */
  check(code: number, bytes?: Bytes, at = 0): number {
    if (code === SQLITE.ok || code === SQLITE.row || code === SQLITE.done) return code;
    const store = this.#store;
    const failure = store?.failure ?? this.#failed;
    this.#failed = undefined;
    if (store !== undefined) store.failure = undefined;
    if (failure !== undefined) throw failure;
    const offset = bytes === undefined ? -1 : this.#engine.program.twz_erroffset(this.#at);
    throw this.#error(code, bytes !== undefined && offset >= 0 ? bytes.utf8Slice(at, at + offset).length : undefined);
  }

  #error(code: number, offset?: number): TwzError {
    const { program } = this.#engine;
    const message = this.#engine.text(this.#at === 0 ? program.twz_errstr(code) : program.twz_errmsg(this.#at));
    return new TwzError(NAMES[code & 255] ?? 'SqliteFailed', message, { sqlite: codeName(code), offset });
  }

  /**
   * Runs a piece of work, and again where another connection was first. Inside a transaction of SQL it is the transaction that must be
   * tried again, not this.
   */
  attempt<R>(work: () => R, writes: boolean): R {
    const { kernel, program } = this.#engine;
    if (this.#store === undefined || this.#exclusive > 0 || program.twz_autocommit(this.#live()) === 0) return work();
    for (let tries = 1; ; tries++) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof TwzError) || error.name !== 'SqliteOvertaken' || this.#store.overtaken) throw error;
        if (tries < TRIES || !writes) {
          if (tries < TRIES * 4) continue;
          throw error;
        }
      }
      // The others got in the way often enough.
      this.#exclusive++;
      try {
        return runAlone(kernel, work);
      } finally {
        this.#exclusive--;
      }
    }
  }

  #transact<R>(body: () => R): R {
    if (this.inTransaction) return this.#within(body);
    (this.#begin ??= this.prepare('BEGIN')).run();
    let result: R;
    try {
      result = body();
      if (typeof result === 'object' && result !== null && 'then' in result && typeof result.then === 'function')
        throw new TwzError('TransactionAsync', 'the function of a transaction returned a promise; nothing was changed');
      (this.#commit ??= this.prepare('COMMIT')).run();
    } catch (error) {
      // SQLite has rolled back by itself after some errors.
      if (this.open && this.inTransaction) (this.#rollback ??= this.prepare('ROLLBACK')).run();
      throw error;
    }
    return result;
  }

  #within<R>(body: () => R): R {
    this.exec('SAVEPOINT "twz"');
    try {
      const result = body();
      this.exec('RELEASE "twz"');
      return result;
    } catch (error) {
      if (this.open && this.inTransaction) this.exec('ROLLBACK TO "twz"; RELEASE "twz"');
      throw error;
    }
  }

  #live(): number {
    if (this.#at === 0) throw new TwzError('SqliteClosed', `database ${this.name} is closed`, { name: this.name });
    if (this.#engine.kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed');
    return this.#at;
  }
}
