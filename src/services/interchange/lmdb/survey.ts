/**
 * What a database holds: its entries are looked at once before any is taken in, because a map has one type for its keys and one for its
 * values. Values that are objects in all entries become structs, a field for each name; what fits no type of ours becomes the text of it in JSON.
 */
import { TwzError } from '../../../abi/errors.ts';
import { plainName, type Column, type Kind } from '../row-maps.ts';
import { refuse } from '../stage.ts';
import { BYTES, integersOf, isPlainText, isRecord, shareStructures, shown, TEXT, type Encoding } from './encodings.ts';
import { FLAG } from './format.ts';
import type { LmdbDatabase, LmdbEntry } from './reader.ts';

const FIELDS_MAX = 255;
/**
 * What the catalog says of columns: `lmdb:`, the encoding, and words. `main` and `several`, at the first key: it was the main database, it had
 * several values for a key. `nested`: a text that is to be read as JSON before it is encoded.
 */
export const DECLARED = 'lmdb:';

/** The kinds of the values that were seen. */
class Observed {
  seen = 0;
  absent = false;
  #bool = false;
  #integer = false;
  #float = false;
  #big = false;
  #text = false;
  #bytes = false;
  #other = false;
  #least = 0n;
  #most = 0n;

  add(value: unknown): void {
    this.seen++;
    if (value === undefined || value === null) this.absent = true;
    else if (typeof value === 'string' || value instanceof Date) this.#text = true;
    else if (typeof value === 'boolean') this.#bool = true;
    else if (typeof value === 'bigint') {
      this.#big = true;
      if (value < this.#least) this.#least = value;
      if (value > this.#most) this.#most = value;
    } else if (typeof value === 'number') {
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
        this.#integer = true;
        if (value < 0) this.#least = BigInt(Math.min(value, Number(this.#least)));
      } else this.#float = true;
    } else if (value instanceof Uint8Array) this.#bytes = true;
    else this.#other = true;
  }

  /** Undefined where no kind holds them all. */
  kind(bigints: boolean): Kind | undefined {
    const numbers = this.#integer || this.#float || this.#big;
    if (this.#other || Number(this.#bool) + Number(numbers) + Number(this.#text) + Number(this.#bytes) > 1) return undefined;
    if (this.#bool) return 'bool';
    if (this.#bytes) return 'bytes';
    if (!numbers) return this.#text ? 'text' : undefined;
    if (this.#float) return this.#big ? undefined : 'f64';
    if (this.#big || bigints) {
      if (this.#most < 2n ** 63n && this.#least >= -(2n ** 63n)) return 'bigI64';
      return this.#least === 0n && this.#most < 2n ** 64n ? 'bigU64' : undefined;
    }
    return 'i64';
  }
}

/** Whether JSON says all of a value. */
function jsonable(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return true;
  if (value instanceof Date) return !Number.isNaN(value.getTime());
  if (Array.isArray(value)) return value.every(jsonable);
  return isRecord(value) && Object.values(value).every(jsonable);
}

/** A value that a survey saw, as the kind that it found. */
function stored(value: unknown, { kind }: Column, json: boolean): unknown {
  if (json) return JSON.stringify(value ?? null);
  if (value === undefined || value === null) return undefined;
  if (value instanceof Date) return value.toISOString();
  if ((kind === 'bigI64' || kind === 'bigU64') && typeof value === 'number') return BigInt(value);
  return value;
}

export interface SurveyOptions {
  readonly file: string;
  readonly table: string;
  readonly database: LmdbDatabase;
  /** Undefined: found out. */
  readonly keys: Encoding | undefined;
  readonly values: Encoding | undefined;
  readonly bigints: boolean;
}

export interface Plan {
  readonly keys: readonly Column[];
  readonly columns: readonly Column[];
  readonly rows: number;
  /** Undefined for an entry that is no row. */
  row(entry: LmdbEntry): readonly [key: unknown, value: unknown] | undefined;
}

export class Survey {
  readonly #options: SurveyOptions;
  readonly #several: boolean;
  readonly #skip: number;
  #keys: Encoding | undefined;
  #values: Encoding | undefined;
  #keysText = true;
  #valuesText = true;
  #rows = 0;
  #parts: Observed[] | undefined;
  readonly #scalar = new Observed();
  readonly #fields = new Map<string, Observed>();
  #records = 0;
  #others = 0;
  /** Columns and the key of the first entry in which they are not to be had in JSON; '' for the whole value. */
  readonly #unjsonable = new Map<string, string>();

  constructor(options: SurveyOptions) {
    this.#options = options;
    const { flags } = options.database;
    this.#several = (flags & FLAG.DUPSORT) !== 0;
    this.#skip = (flags & FLAG.VERSIONS) !== 0 ? 8 : 0;
    this.#keys = options.keys;
    this.#values = options.values;
  }

  #refuse(column: string, key: unknown, reason: string, cause?: unknown): never {
    return refuse(this.#options.file, this.#options.table, column, shown(key), reason, cause);
  }

  #decode(encoding: Encoding, bytes: Uint8Array, column: string, key: Uint8Array): unknown {
    try {
      return encoding.decode(bytes);
    } catch (error) {
      if (error instanceof TwzError) throw error;
      return this.#refuse(column, key, error instanceof Error ? error.message : String(error), error);
    }
  }

  #content(key: Uint8Array, value: Uint8Array): Uint8Array {
    if (value.length < this.#skip) this.#refuse('value', key, 'it has no version before it, as others have');
    return this.#skip === 0 ? value : value.subarray(this.#skip);
  }

  add([key, value]: LmdbEntry): void {
    const { flags } = this.#options.database;
    const { bigints } = this.#options;
    if (this.#rows === 0) {
      if ((flags & FLAG.INTEGER_KEY) !== 0) this.#keys ??= integersOf(key.length, bigints);
      if ((flags & FLAG.INTEGER_DUP) !== 0) this.#values ??= integersOf(value.length, bigints);
    }
    const content = this.#content(key, value);
    if (this.#keys === undefined) this.#keysText &&= isPlainText(key);
    else {
      const decoded = this.#decode(this.#keys, key, 'key', key);
      if (typeof decoded === 'symbol') {
        this.#structures(key, content, decoded);
        return;
      }
      if (this.#keys.kind === undefined) this.#addKey(decoded, key);
    }
    this.#rows++;
    if (this.#values === undefined) this.#valuesText &&= isPlainText(content);
    else {
      const decoded = this.#decode(this.#values, content, 'value', key);
      if (this.#values.kind === undefined) this.#addValue(decoded, key);
    }
  }

  #structures(key: Uint8Array, content: Uint8Array, symbol: symbol): void {
    const found = this.#values === undefined ? undefined : this.#decode(this.#values, content, 'value', key);
    if (this.#values === undefined || !Array.isArray(found) || !shareStructures(this.#values, found))
      this.#refuse('key', key, `expected what keys can be, found ${String(symbol)}`);
  }

  #addKey(decoded: unknown, key: Uint8Array): void {
    const parts: readonly unknown[] = Array.isArray(decoded) ? decoded : [decoded];
    this.#parts ??= parts.map(() => new Observed());
    if (parts.length !== this.#parts.length || parts.length === 0)
      this.#refuse('key', key, `expected ${this.#parts.length} parts, as others have, found ${parts.length}`);
    for (const [i, part] of this.#parts.entries()) {
      part.add(parts[i]);
      if (part.absent || part.kind(this.#options.bigints) === undefined)
        this.#refuse('key', key, `expected a number, a text or bytes, of one kind in all keys, found ${shown(parts[i])}`);
    }
  }

  #addValue(value: unknown, key: Uint8Array): void {
    if (this.#several) {
      this.#scalar.add(value);
      if (this.#scalar.absent || this.#scalar.kind(this.#options.bigints) === undefined)
        this.#refuse('value', key, `expected a number, a text or bytes, of one kind in all values of this database, found ${shown(value)}`);
      return;
    }
    if (!this.#unjsonable.has('') && !jsonable(value)) this.#unjsonable.set('', shown(key));
    if (!isRecord(value)) {
      this.#others++;
      this.#scalar.add(value);
      return;
    }
    this.#records++;
    for (const [name, inner] of Object.entries(value)) {
      let field = this.#fields.get(name);
      if (field === undefined) {
        // More than a struct has: it is looked at as a whole.
        if (this.#fields.size === FIELDS_MAX) {
          this.#others++;
          return;
        }
        this.#fields.set(name, (field = new Observed()));
      }
      field.add(inner);
      if (!this.#unjsonable.has(name) && !jsonable(inner)) this.#unjsonable.set(name, shown(key));
    }
  }

  #json(column: string): void {
    const row = this.#unjsonable.get(column);
    if (row !== undefined)
      refuse(
        this.#options.file,
        this.#options.table,
        column === '' ? 'value' : column,
        row,
        'values of several kinds, or within others, are taken in only where JSON has such',
      );
  }

  finish(): Plan {
    const { bigints, database } = this.#options;
    const keys = this.#keys ?? (this.#keysText && this.#rows > 0 ? TEXT : BYTES);
    const values = this.#values ?? (this.#valuesText && this.#rows > 0 ? TEXT : BYTES);
    const said = (encoding: Encoding): string => (encoding.name === '' ? '' : `${DECLARED}${encoding.name}`);
    const where = `${database.name === '' ? ' main' : ''}${this.#several ? ' several' : ''}`;
    const kinds = keys.kind !== undefined ? [keys.kind] : (this.#parts ?? []).map((part) => part.kind(bigints) ?? 'bytes');
    if (kinds.length === 0) kinds.push('bytes');
    const parts = kinds.map((kind, i): Column => ({
      name: kinds.length === 1 ? 'key' : `key${i + 1}`,
      field: '',
      kind,
      optional: false,
      declared: `${said(keys)}${i === 0 && keys.name !== '' ? where : ''}`,
    }));
    const shape = this.#several ? undefined : this.#columns(values, said(values));
    if (this.#several)
      parts.push({
        name: 'value',
        field: '',
        kind: values.kind ?? this.#scalar.kind(bigints) ?? 'bytes',
        optional: false,
        declared: said(values),
      });
    return { keys: parts, columns: shape?.columns ?? [], rows: this.#rows, row: this.#rowOf(keys, values, parts, shape) };
  }

  #columns(values: Encoding, declared: string): Shape {
    const { bigints } = this.#options;
    const whole = (kind: Kind, json: boolean): Shape => {
      const column: Column = { name: 'value', field: '', kind, optional: false, declared: nested(declared, json) };
      return { columns: [column], value: (value) => stored(value, column, json) };
    };
    if (values.kind !== undefined) return whole(values.kind, false);
    if (this.#records > 0 && this.#others === 0) return this.#struct(declared);
    const kind = this.#records === 0 && !this.#scalar.absent ? this.#scalar.kind(bigints) : undefined;
    if (kind !== undefined) return whole(kind, false);
    this.#json('');
    return whole('text', true);
  }

  #struct(declared: string): Shape {
    const taken = new Set<string>();
    const fields = [...this.#fields].map(([name, observed]) => {
      const kind = observed.kind(this.#options.bigints);
      if (kind === undefined) this.#json(name);
      const optional = observed.absent || observed.seen < this.#records;
      // Where all that is said is that there is nothing, the text of it is as good as any.
      const column: Column = {
        name,
        field: plainName(name, taken),
        kind: kind ?? 'text',
        optional,
        declared: nested(declared, kind === undefined),
      };
      return { column, json: kind === undefined };
    });
    return {
      columns: fields.map(({ column }) => column),
      value(value) {
        const row: Record<string, unknown> = {};
        if (!isRecord(value)) return row;
        for (const { column, json } of fields) {
          const inner = Object.hasOwn(value, column.name) ? value[column.name] : undefined;
          row[column.field] = json && (inner === undefined || inner === null) ? undefined : stored(inner, column, json);
        }
        return fields.length === 0 ? true : row;
      },
    };
  }

  #rowOf(keys: Encoding, values: Encoding, columns: readonly Column[], shape: Shape | undefined): Plan['row'] {
    return ([key, value]) => {
      const decoded = this.#decode(keys, key, 'key', key);
      if (typeof decoded === 'symbol') return undefined;
      const parts = (Array.isArray(decoded) ? decoded : [decoded]).map((part, i) => widened(part, columns[i]));
      const inner = this.#decode(values, this.#content(key, value), 'value', key);
      if (shape !== undefined) return [parts.length === 1 ? parts[0] : parts, shape.value(inner)];
      return [[...parts, widened(inner, columns.at(-1))], true];
    };
  }
}

function nested(declared: string, json: boolean): string {
  return json && declared !== '' ? `${declared} nested` : declared;
}

interface Shape {
  readonly columns: readonly Column[];
  value(decoded: unknown): unknown;
}

function widened(value: unknown, column: Column | undefined): unknown {
  if (value instanceof Date) return value.toISOString();
  return (column?.kind === 'bigI64' || column?.kind === 'bigU64') && typeof value === 'number' ? BigInt(value) : value;
}
