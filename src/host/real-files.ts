/** Files and directories of the operating system, as import and export need them; and the standard streams, synchronously. */
import * as fs from 'node:fs';
import { TwzError } from '../abi/errors.ts';
import { attempt, systemError } from './node-files.ts';

export interface RealEntry {
  /** Below the directory, with `/` between. */
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly modified: bigint;
  /** Where a link leads. */
  readonly target: string;
}

/** Everything below a directory, each directory before what is in it. Links are not followed. */
export function* realTree(directory: string, below = ''): Generator<RealEntry> {
  const names = attempt('list', directory, () => fs.readdirSync(directory)).sort();
  for (const name of names) {
    const file = `${directory}/${name}`;
    const path = below === '' ? name : `${below}/${name}`;
    const stat = attempt('stat', file, () => fs.lstatSync(file, { bigint: true }));
    const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'link' : 'other';
    const target = kind === 'link' ? attempt('read', file, () => fs.readlinkSync(file)) : '';
    yield { path, kind, size: Number(stat.size), modified: stat.mtimeNs, target };
    if (kind === 'directory') yield* realTree(file, path);
  }
}

const PIECE = 1 << 20;

/** What is in a file, in pieces of up to 1 MiB, each valid until the next. */
export function* realPieces(file: string): Generator<Uint8Array> {
  const fd = attempt('open', file, () => fs.openSync(file, 'r'));
  try {
    const piece = new Uint8Array(PIECE);
    for (;;) {
      const n = attempt('read', file, () => fs.readSync(fd, piece));
      if (n === 0) return;
      yield piece.subarray(0, n);
    }
  } finally {
    fs.closeSync(fd);
  }
}

function kindOf(file: string): 'directory' | 'other' | undefined {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  return stat === undefined ? undefined : stat.isDirectory() ? 'directory' : 'other';
}

/** Makes a directory, unless it is there. What is there and is no directory, a link to one included, is refused. */
export function makeRealDirectory(directory: string): void {
  const kind = attempt('stat', directory, () => kindOf(directory));
  if (kind === 'other') throw new TwzError('FileKind', `${directory} is there, and is not a directory`, { path: directory });
  if (kind === undefined) attempt('mkdir', directory, () => fs.mkdirSync(directory));
}

/** Writes a file beside its place and moves it there when it is whole. A link that has the name is replaced, not followed. */
export function writeRealFile(file: string, pieces: Iterable<Uint8Array>, modified: bigint, replace: boolean): void {
  demandFree(file, replace);
  const part = `${file}.part`;
  attempt('remove', part, () => fs.rmSync(part, { force: true }));
  const fd = attempt('create', part, () => fs.openSync(part, 'wx', 0o644));
  try {
    for (const piece of pieces)
      for (let done = 0; done < piece.length;) done += attempt('write', part, () => fs.writeSync(fd, piece, done));
    if (modified > 0n) attempt('stamp', part, () => fs.futimesSync(fd, Number(modified) / 1e9, Number(modified) / 1e9));
    attempt('rename', part, () => fs.renameSync(part, file));
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}

export function makeRealLink(file: string, target: string, replace: boolean): void {
  demandFree(file, replace);
  if (replace) attempt('remove', file, () => fs.rmSync(file, { force: true }));
  attempt('link', file, () => fs.symlinkSync(target, file));
}

function demandFree(file: string, replace: boolean): void {
  const kind = attempt('stat', file, () => kindOf(file));
  if (kind === 'directory') throw new TwzError('FileKind', `${file} is a directory`, { path: file });
  if (kind !== undefined && !replace) throw new TwzError('NameExists', `${file} is there already`, { path: file });
}

// --- standard streams ---------------------------------------------------------------------------------------------------------

const bell = new Int32Array(new SharedArrayBuffer(4));

/** Does it again, a little later, where the stream was set not to wait. */
function patiently(call: () => number): number {
  for (;;) {
    try {
      return call();
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : '';
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN' && code !== 'EINTR') throw systemError('standard stream', cause);
      Atomics.wait(bell, 0, 0, 5);
    }
  }
}

/** Waits for input; 0 is its end. */
export function readStandardInput(into: Uint8Array): number {
  return patiently(() => fs.readSync(0, into));
}

/** Writes all of it to standard output (1) or standard error (2). */
export function writeStandardOutput(stream: 1 | 2, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += patiently(() => fs.writeSync(stream, bytes, done));
}
