/**
 * Maps while they are filled: under /imports/.NAME.part, in transactions of some thousand rows, and under their own path by one rename
 * when all are in. A run that fails, or is killed, leaves a stage, which the next import removes.
 */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import { text } from '../../lib/fields.ts';
import type { Space } from '../../space.ts';
import { alone, clearStages, removeTree } from '../import/alone.ts';
import { IMPORTS } from '../import/open.ts';
import { splitPath } from '../naming.ts';
import { rowMapType, type Column, type RowMap } from './row-maps.ts';

/** What the file said that the types do not: it makes the way back to it. */
export const Catalog = struct('InterchangeCatalog', { json: text });
export type Catalog = Infer<typeof Catalog>;
/** Its name beside the maps. */
export const CATALOG = 'interchange.catalog';

export interface ForeignKey {
  readonly columns: readonly string[];
  readonly table: string;
  /** Columns there; empty for its primary key. */
  readonly to: readonly string[];
}

export interface TableInfo {
  /** In the file. */
  readonly table: string;
  /** The name of the map. */
  readonly map: string;
  /** The name of the struct. */
  readonly type: string;
  /** Columns of the key; none where rows are keyed by their number. */
  readonly key: readonly Column[];
  readonly columns: readonly Column[];
  readonly foreignKeys: readonly ForeignKey[];
}

export interface ImportFileOptions {
  /** Takes the place of what has that path, in the same transaction. */
  readonly replace?: boolean;
  /** 64-bit integers are read as bigints: for numbers past 2^53. */
  readonly bigints?: boolean;
  /** Rows of a transaction (default 2,000). */
  readonly batch?: number;
  /** Called after each batch. */
  readonly progress?: (table: string, rows: number) => void;
}

export interface ImportedTable extends TableInfo {
  readonly rows: number;
}

export interface ImportFileReport {
  readonly path: string;
  readonly rows: number;
  readonly tables: readonly ImportedTable[];
}

/** What `row` is in a table: refuses it. */
export function refuse(source: string, table: string, column: string, row: string, reason: string, cause?: unknown): never {
  throw new TwzError(
    'ImportRefused',
    `${source}, table ${table}, row ${row}, column ${column}: ${reason}`,
    { source, table, column, row },
    cause,
  );
}

export class FileStage {
  readonly #space: Space;
  readonly #source: string;
  readonly #path: string;
  readonly #to: string;
  readonly #options: ImportFileOptions;
  readonly #tables: ImportedTable[] = [];

  constructor(space: Space, source: string, to: string, options: ImportFileOptions) {
    this.#space = space;
    this.#source = source;
    this.#to = to;
    this.#options = options;
    this.#path = `${IMPORTS}/.${splitPath(to).at(-1) ?? ''}.part`;
    space.names.mkns(this.#path);
  }

  /** Makes the map of a table and fills it, in the order of its keys. `as`: in any order that they come in. */
  async table(
    info: TableInfo,
    key: readonly Column[],
    rows: Iterable<readonly [unknown, unknown]> | AsyncIterable<readonly [unknown, unknown]>,
    as?: 'orderedMap' | 'hashMap',
  ): Promise<void> {
    const space = this.#space;
    const { batch: most = 2000, progress } = this.#options;
    const type = rowMapType(info.type, key, info.columns, as === 'hashMap');
    const map: RowMap = space.relaxed(() => {
      const made = space.create(type);
      space.names.set(`${this.#path}/${info.map}`, made, { owns: true });
      return made;
    });
    let batch: (readonly [unknown, unknown])[] = [];
    let done = 0;
    let batches = 0;
    let ascending = as !== 'hashMap';
    const put = (): void => {
      try {
        if (ascending) {
          space.relaxed(() => map.load(batch));
          return;
        }
      } catch (error) {
        if (as === undefined || !isTwzError(error, 'OutOfRange')) throw error;
        ascending = false;
      }
      space.relaxed(() => {
        for (const [each, value] of batch) map.set(each, value);
      });
    };
    const store = (): void => {
      try {
        put();
      } catch (error) {
        // Values were looked at before: what is left are keys that are too long, or not told apart.
        if (error instanceof TwzError && (error.name === 'OutOfRange' || error.name === 'ValueMismatch'))
          this.#refuseTable(info.table, error.message, error);
        throw error;
      }
      done += batch.length;
      batch = [];
      progress?.(info.table, done);
    };
    for await (const row of rows) {
      batch.push(row);
      if (batch.length < most) continue;
      store();
      // Checkpoints wait for the event loop to turn.
      if ((++batches & 3) === 0) await this.pause();
    }
    store();
    if (map.size !== done) this.#refuseTable(info.table, `${done} rows have but ${map.size} keys: some are read as the same`);
    this.#tables.push({ ...info, rows: done });
  }

  #refuseTable(table: string, reason: string, cause?: unknown): never {
    throw new TwzError('ImportRefused', `${this.#source}, table ${table}: ${reason}`, { source: this.#source, table }, cause);
  }

  pause(): Promise<void> {
    return new Promise((resolve) => this.#space.kernel.host.soon(resolve));
  }

  publish(): ImportFileReport {
    const space = this.#space;
    space.relaxed(() => {
      const tables: TableInfo[] = this.#tables.map(({ rows: _rows, ...info }) => info);
      space.names.set(`${this.#path}/${CATALOG}`, space.create(Catalog, { json: JSON.stringify({ tables }) }), { owns: true });
      if (this.#options.replace === true && space.names.lookup(this.#to) !== undefined) removeTree(space, this.#to);
      space.names.rename(this.#path, this.#to);
    });
    return { path: this.#to, rows: this.#tables.reduce((sum, { rows }) => sum + rows, 0), tables: this.#tables };
  }
}

/** Runs an import of a file: whole or not at all. */
export async function staged(
  space: Space,
  source: string,
  to: string,
  options: ImportFileOptions,
  fill: (stage: FileStage) => Promise<void>,
): Promise<ImportFileReport> {
  if (splitPath(to).length === 0) throw new TwzError('NameInvalid', `"${to}" cannot be the path of an import`, { path: to });
  if (options.replace !== true && space.names.lookup(to) !== undefined) throw new TwzError('NameExists', `"${to}" is taken`, { path: to });
  return alone(space, async () => {
    try {
      if (space.names.lookup(IMPORTS) === undefined) space.names.mkns(IMPORTS);
      clearStages(space);
      const stage = new FileStage(space, source, to, options);
      await fill(stage);
      const report = stage.publish();
      await space.syncAsync();
      return report;
    } catch (error) {
      discard(space);
      throw error;
    }
  });
}

/** A stage that cannot be removed now, because the disk is full or the log failed, is removed by the next import. */
function discard(space: Space): void {
  if (space.closed) return;
  try {
    clearStages(space);
  } catch (failure) {
    // What ended the import is what the caller is to see.
    if (!(failure instanceof TwzError)) throw failure;
  }
}
