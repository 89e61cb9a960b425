/**
 * Parquet files. The rows of a flat schema become an ordered map from the number of the row, a u32 from 0, to a struct of the columns.
 * Times, dates and timestamps stay the integers that are stored. Row groups are read, and written, one after the other.
 */
import type * as Hyparquet from 'hyparquet';
import type { AsyncBuffer, FileMetaData, ParquetParsers, SchemaElement } from 'hyparquet';
import type * as HyparquetWriter from 'hyparquet-writer';
import { TwzError } from '../../abi/errors.ts';
import type { File, Host } from '../../host/host.ts';
import type { Space } from '../../space.ts';
import { tablesAt, type StoredTable } from './export.ts';
import { writtenFile, type ExportFileOptions, type ExportFileReport } from './files.ts';
import { optionalPackage } from './packages.ts';
import { plainName, type Column, type Kind } from './row-maps.ts';
import { refuse, staged, type ImportFileOptions, type ImportFileReport } from './stage.ts';

/** The map's name, and that of its struct. */
const ROWS = 'rows';
/** Rows that are decoded at once. */
const SLICE = 16384;
const GROUP = 65536;

/** Whatever the decoder stumbles over is the file's fault. */
function fromDecoder(error: unknown, file: string): unknown {
  if (error instanceof TwzError || !(error instanceof Error)) return error;
  return new TwzError('FileInvalid', `${file} is no Parquet file, or is damaged: ${error.message}`, { file }, error);
}

// --- reading ------------------------------------------------------------------------------------------------------------------

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What is stored, without a guess at what it means. */
const PARSERS: Partial<ParquetParsers> = {
  timestampFromMilliseconds: (value) => value,
  timestampFromMicroseconds: (value) => value,
  timestampFromNanoseconds: (value) => value,
  dateFromDays: (value) => value,
  stringFromBytes: (value: Uint8Array | undefined) => value && decoder.decode(value),
  jsonFromBytes: (value: Uint8Array | undefined) => value && decoder.decode(value),
  geometryFromBytes: (value) => value,
  geographyFromBytes: (value) => value,
};

const INTEGERS: Readonly<Record<string, Kind>> = {
  INT_8: 'i8',
  INT_16: 'i16',
  UINT_8: 'u8',
  UINT_16: 'u16',
  UINT_32: 'u32',
  UINT_64: 'u64',
};
const TEXTS: ReadonlySet<string> = new Set(['UTF8', 'JSON', 'ENUM', 'STRING', 'UUID']);

function kindOf(element: SchemaElement, file: string): Kind {
  const { type, name, converted_type: converted = '', logical_type: logical } = element;
  const unread = (what: string): never => {
    throw new TwzError('NotSupported', `${file}, column ${name}: ${what} is not read`, { file, column: name });
  };
  if (element.num_children !== undefined && element.num_children > 0) return unread('a nested schema');
  if (element.repetition_type === 'REPEATED') return unread('a list');
  const means = logical?.type ?? converted;
  if (converted === 'DECIMAL' || means === 'DECIMAL') return unread('a decimal number');
  if (means === 'INTERVAL' || means === 'VARIANT' || means === 'BSON') return unread(means.toLowerCase());
  switch (type) {
    case 'BOOLEAN':
      return 'bool';
    case 'INT32':
    case 'INT64': {
      const wide = type === 'INT64';
      if (logical?.type === 'INTEGER' && !logical.isSigned)
        return logical.bitWidth === 64 ? 'u64' : (INTEGERS[`UINT_${logical.bitWidth}`] ?? 'i64');
      return INTEGERS[converted] ?? (wide ? 'i64' : 'i32');
    }
    case 'INT96':
      return 'i64';
    case 'FLOAT':
      return 'f32';
    case 'DOUBLE':
      return 'f64';
    case 'BYTE_ARRAY':
    case 'FIXED_LEN_BYTE_ARRAY':
      return means === 'FLOAT16' ? 'f32' : TEXTS.has(means) ? 'text' : 'bytes';
    default:
      return unread(`the type ${type ?? 'none'}`);
  }
}

function columnsOf(metadata: FileMetaData, file: string, bigints: boolean): Column[] {
  const [root, ...elements] = metadata.schema;
  const fields = new Set<string>();
  const columns = elements.map((element): Column => {
    const narrow = kindOf(element, file);
    const kind = bigints && narrow === 'i64' ? 'bigI64' : bigints && narrow === 'u64' ? 'bigU64' : narrow;
    return { name: element.name, field: plainName(element.name, fields), kind, optional: element.repetition_type === 'OPTIONAL' };
  });
  if (columns.length === 0 || root?.num_children !== columns.length)
    throw new TwzError('FileInvalid', `${file}: its schema has no columns, or is damaged`, { file });
  for (const { columns: chunks } of metadata.row_groups)
    for (const { meta_data: chunk } of chunks)
      if (chunk !== undefined && chunk.codec !== 'SNAPPY' && chunk.codec !== 'UNCOMPRESSED')
        throw new TwzError('NotSupported', `${file} is compressed by ${chunk.codec}; only SNAPPY, or none, is read`, { file });
  return columns;
}

/** Opens a file for the decoder. */
function bufferOf(host: Host, open: File): AsyncBuffer {
  const byteLength = host.length(open);
  return {
    byteLength,
    slice(start, end = byteLength) {
      const from = start < 0 ? byteLength + start : start;
      const bytes = new Uint8Array(Math.max(0, Math.min(end, byteLength) - from));
      host.read(open, bytes, from);
      return bytes.buffer;
    },
  };
}

/** Imports a Parquet file with a flat schema as the map `rows` in the namespace `to`. */
export async function importParquet(space: Space, to: string, file: string, options: ImportFileOptions = {}): Promise<ImportFileReport> {
  const reading = await optionalPackage('Parquet', 'hyparquet', () => import('hyparquet'));
  const { host } = space.kernel;
  if (!host.exists(file)) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  const open = host.open(file, 'read');
  try {
    const buffer = bufferOf(host, open);
    const metadata = await reading.parquetMetadataAsync(buffer);
    const columns = columnsOf(metadata, file, options.bigints === true);
    const number: Column = { name: 'row', field: '', kind: 'u32', optional: false };
    const info = { table: ROWS, map: ROWS, type: ROWS, key: [], columns, foreignKeys: [] };
    return await staged(space, file, to, options, (stage) => stage.table(info, [number], rowsOf(reading, buffer, metadata, columns, file)));
  } catch (error) {
    throw fromDecoder(error, file);
  } finally {
    host.close(open);
  }
}

async function* rowsOf(
  { parquetReadObjects }: typeof Hyparquet,
  file: AsyncBuffer,
  metadata: FileMetaData,
  columns: readonly Column[],
  name: string,
): AsyncGenerator<readonly [number, Record<string, unknown>]> {
  let number = 0;
  for (const group of metadata.row_groups) {
    const end = number + Number(group.num_rows);
    while (number < end) {
      const rowEnd = Math.min(end, number + SLICE);
      const rows = await parquetReadObjects({ file, metadata, rowStart: number, rowEnd, utf8: false, geoparquet: false, parsers: PARSERS });
      if (rows.length !== rowEnd - number) throw new TwzError('FileInvalid', `${name} has fewer rows than it says`, { file: name });
      for (const row of rows) {
        const value: Record<string, unknown> = {};
        for (const column of columns) value[column.field] = valueOf(row[column.name], column, number, name);
        yield [number++, value];
      }
    }
  }
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  return typeof value === 'object'
    ? `a value of the kind ${value.constructor.name}`
    : JSON.stringify(typeof value === 'bigint' ? String(value) : value);
}

function valueOf(stored: unknown, { name, kind, optional }: Column, row: number, file: string): unknown {
  const unfit = (): never => refuse(file, ROWS, name, String(row), `expected ${kind}, found ${shown(stored)}`);
  if (stored === null || stored === undefined) return optional ? undefined : unfit();
  switch (kind) {
    case 'bool':
      return typeof stored === 'boolean' ? stored : unfit();
    case 'text':
      return typeof stored === 'string' ? stored : unfit();
    case 'bytes':
      return stored instanceof Uint8Array ? stored : unfit();
    case 'bigI64':
    case 'bigU64':
      return typeof stored === 'bigint' ? (kind === 'bigI64' ? BigInt.asIntN(64, stored) : BigInt.asUintN(64, stored)) : unfit();
    case 'i64':
    case 'u64': {
      const value = typeof stored === 'bigint' ? Number(kind === 'u64' ? BigInt.asUintN(64, stored) : stored) : stored;
      if (!Number.isSafeInteger(value))
        refuse(
          file,
          ROWS,
          name,
          String(row),
          `expected an integer up to 2^53 - 1 (larger ones: import them as bigints), found ${shown(stored)}`,
        );
      return value;
    }
    case 'u32':
      return typeof stored === 'number' ? stored >>> 0 : unfit();
    default:
      return typeof stored === 'number' ? stored : unfit();
  }
}

// --- writing ------------------------------------------------------------------------------------------------------------------

type Stored = Pick<SchemaElement, 'type' | 'converted_type'>;

const STORED: Readonly<Record<Kind, Stored>> = {
  i8: { type: 'INT32', converted_type: 'INT_8' },
  i16: { type: 'INT32', converted_type: 'INT_16' },
  i32: { type: 'INT32' },
  u8: { type: 'INT32', converted_type: 'UINT_8' },
  u16: { type: 'INT32', converted_type: 'UINT_16' },
  u32: { type: 'INT64' },
  i64: { type: 'INT64' },
  bigI64: { type: 'INT64' },
  u64: { type: 'INT64', converted_type: 'UINT_64' },
  bigU64: { type: 'INT64', converted_type: 'UINT_64' },
  f32: { type: 'FLOAT' },
  f64: { type: 'DOUBLE' },
  bool: { type: 'BOOLEAN' },
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  bytes: { type: 'BYTE_ARRAY' },
};

function written(value: unknown, wide: boolean): unknown {
  return wide && typeof value === 'number' ? BigInt(value) : value;
}

/** Writes one map as a new Parquet file: its keys, unless they are but row numbers, and the fields of its values. */
export async function exportParquet(space: Space, from: string, file: string, options: ExportFileOptions = {}): Promise<ExportFileReport> {
  const writing = await optionalPackage('Parquet', 'hyparquet-writer', () => import('hyparquet-writer'));
  const [table, second] = tablesAt(space, from);
  if (table === undefined || second !== undefined)
    throw new TwzError('NotSupported', `"${from}" holds several maps, and a Parquet file one table: name the map`, { path: from });
  const { host } = space.kernel;
  return writtenFile(host, file, options, async (part) => {
    const open = host.open(part, 'create');
    try {
      return { file, ...(await writeTable(writing, host, open, table, options)) };
    } finally {
      host.close(open);
    }
  });
}

async function writeTable(
  { ByteWriter, ParquetWriter }: typeof HyparquetWriter,
  host: Host,
  open: File,
  table: StoredTable,
  options: ExportFileOptions,
): Promise<Pick<ExportFileReport, 'rows' | 'tables'>> {
  const columns = table.numbered ? table.columns : [...table.keys, ...table.columns];
  const left = table.numbered ? 1 : 0;
  const bytes = new ByteWriter();
  let at = 0;
  const flush = (): void => {
    host.write(open, bytes.getBytes(), at);
    at += bytes.index;
    bytes.index = 0;
  };
  const writer = Object.assign(bytes, { flush, finish: flush });
  const schema: SchemaElement[] = [
    { name: 'root', num_children: columns.length },
    ...columns.map(({ name, kind, optional }) => ({
      name,
      repetition_type: optional ? ('OPTIONAL' as const) : ('REQUIRED' as const),
      ...STORED[kind],
    })),
  ];
  const parquet = new ParquetWriter({ writer, schema, createdBy: 'twizzler' });
  const wide = columns.map(({ kind }) => STORED[kind].type === 'INT64');
  let data: unknown[][] = columns.map(() => []);
  let held = 0;
  let rows = 0;
  const group = async (): Promise<void> => {
    if (held === 0) return;
    await parquet.write({ columnData: columns.map(({ name }, i) => ({ name, data: data[i] ?? [] })), rowGroupSize: held });
    data = columns.map(() => []);
    held = 0;
    options.progress?.(table.name, rows);
  };
  for (const values of table.rows()) {
    for (let i = 0; i < columns.length; i++) data[i]?.push(written(values[left + i], wide[i] ?? false));
    rows++;
    if (++held === GROUP) await group();
  }
  await group();
  await parquet.finish();
  return { rows, tables: [{ table: table.name, rows }] };
}
