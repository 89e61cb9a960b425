/** Files that export writes. */
import { TwzError } from '../../abi/errors.ts';
import type { Host } from '../../host/host.ts';

export interface ExportFileOptions {
  /** Takes the place of the file, where there is one. */
  readonly replace?: boolean;
  readonly progress?: (table: string, rows: number) => void;
}

export interface ExportFileReport {
  readonly file: string;
  readonly rows: number;
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
}

/** Writes a file beside its place, and moves it there when it is whole. */
export async function writtenFile<T>(
  host: Host,
  file: string,
  { replace }: ExportFileOptions,
  write: (part: string) => Promise<T>,
): Promise<T> {
  if (replace !== true && host.exists(file)) throw new TwzError('InvalidArgument', `${file} is there already`, { file });
  const part = `${file}.part`;
  host.remove(part);
  try {
    const result = await write(part);
    const made = host.open(part, 'read');
    try {
      host.sync(made);
    } finally {
      host.close(made);
    }
    host.rename(part, file);
    return result;
  } catch (error) {
    host.remove(part);
    throw error;
  }
}
