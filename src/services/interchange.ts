/**
 * Interchange with files of other systems: rows of a SQLite or Parquet file, or of an LMDB environment, become ordered maps in one
 * namespace, and maps become such files. The packages that read and write them are optional.
 */
export type { ExportFileOptions, ExportFileReport } from './interchange/files.ts';
export { exportLmdb, type ExportLmdbOptions } from './interchange/lmdb/export.ts';
export { importLmdb, type ImportLmdbOptions } from './interchange/lmdb/import.ts';
export type { LmdbCodec, LmdbEncoding, LmdbEncodingName, LmdbEncodings } from './interchange/lmdb/encodings.ts';
export { exportParquet, importParquet } from './interchange/parquet.ts';
export { exportSqlite, importSqlite, type ImportSqliteOptions } from './interchange/sqlite.ts';
export type { ForeignKey, ImportedTable, ImportFileOptions, ImportFileReport } from './interchange/stage.ts';
export { openMap } from './interchange/export.ts';
export type { Column, Kind, RowMap } from './interchange/row-maps.ts';
