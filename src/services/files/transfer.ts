/** Real directories into the tree and back, and single files. Each file is whole or absent in the space: its content is one transaction. */
import { TwzError } from '../../abi/errors.ts';
import { makeRealDirectory, makeRealLink, realPieces, realTree, writeRealFile, type RealEntry } from '../../host/real-files.ts';
import type { TreeNode } from '../../runtime/wasi/tree.ts';
import { splitPath } from '../naming.ts';
import { SpaceFile } from './file.ts';
import { type SpaceDirectory, type SpaceTree } from './tree.ts';

export interface TransferOptions {
  /** Takes the place of files and links that are there (default false: NameExists). */
  readonly replace?: boolean;
  readonly progress?: (path: string, files: number) => void;
}

export interface Transferred {
  readonly files: number;
  readonly directories: number;
  readonly links: number;
  readonly bytes: number;
  /** What was left out, and why. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

interface Count {
  files: number;
  directories: number;
  links: number;
  bytes: number;
  readonly skipped: { readonly path: string; readonly reason: string }[];
}

const none = (): Count => ({ files: 0, directories: 0, links: 0, bytes: 0, skipped: [] });
const PIECE = 1 << 20;

/** The directory and the last component of a path. Throws NameInvalid for the root. */
export function placeAt(tree: SpaceTree, path: string, make: boolean): { directory: SpaceDirectory; name: string } {
  const parts = splitPath(path);
  const name = parts.pop();
  if (name === undefined) throw new TwzError('NameInvalid', `"${path}" names the root`, { path });
  return { directory: tree.open(`/${parts.join('/')}`, make), name };
}

/** The file of that path, links followed. Throws NameMissing, FileKind. */
export function fileAt(tree: SpaceTree, path: string): SpaceFile {
  const node = tree.at(path);
  if (!(node instanceof SpaceFile)) throw new TwzError('FileKind', `"${path}" is ${said(node)}`, { path });
  return node;
}

const said = (node: TreeNode): string => (node.kind === 'directory' ? 'a directory' : 'an object that is not a file');

/**
 * Makes a file of that content, in the place of what has the name. A short one is one transaction; a longer one is written first and gets its name
 * when it is whole.
 */
export function putFile(
  tree: SpaceTree,
  directory: SpaceDirectory,
  name: string,
  pieces: Iterable<Uint8Array>,
  options: TransferOptions & { readonly modified?: bigint } = {},
): number {
  const there = directory.find(name);
  if (there !== undefined && options.replace !== true) throw new TwzError('NameExists', `"${name}" is there already`, { name });
  if (there?.kind === 'directory') throw new TwzError('FileKind', `"${name}" is a directory`, { name });
  tree.flush();
  const source = pieces[Symbol.iterator]();
  try {
    const first = source.next();
    const head = first.done === true ? new Uint8Array() : first.value.slice();
    const second = source.next();
    if (second.done === true) {
      tree.space.relaxed(() => completed(tree, directory, name, filled(tree, [head]), options.modified));
      return head.length;
    }
    const file = filled(tree, [head, second.value]);
    for (let next = source.next(); next.done !== true; next = source.next()) file.write(file.size(), next.value);
    completed(tree, directory, name, file, options.modified);
    return file.size();
  } finally {
    source.return?.();
  }
}

function filled(tree: SpaceTree, pieces: readonly Uint8Array[]): SpaceFile {
  const file = tree.makeFile();
  for (const piece of pieces) file.write(file.size(), piece);
  return file;
}

function completed(tree: SpaceTree, directory: SpaceDirectory, name: string, file: SpaceFile, modified: bigint | undefined): void {
  tree.flush();
  if (modified !== undefined) file.setTimes(undefined, modified);
  directory.place(name, file);
}

/** What is in a file, a piece at a time. */
export function* contentOf(file: SpaceFile): Generator<Uint8Array> {
  const piece = new Uint8Array(PIECE);
  for (let at = 0; ;) {
    const n = file.read(at, piece);
    if (n === 0) return;
    yield piece.subarray(0, n);
    at += n;
  }
}

/** A real directory with all that is in it, to below `path`, which is made. Links go in as they are, if they are relative. */
export function importFiles(tree: SpaceTree, directory: string, path: string, options: TransferOptions = {}): Transferred {
  const count = none();
  const open = new Map<string, SpaceDirectory>([['', tree.open(path, true)]]);
  for (const entry of realTree(directory)) {
    const cut = entry.path.lastIndexOf('/');
    const into = open.get(entry.path.slice(0, Math.max(0, cut)));
    // What a directory that was left out holds is left out.
    if (into === undefined) continue;
    const name = entry.path.slice(cut + 1);
    const reason = unfit(entry, name);
    if (reason !== undefined) count.skipped.push({ path: entry.path, reason });
    else if (entry.kind === 'directory') open.set(entry.path, enter(into, name, count));
    else if (entry.kind === 'link') importLink(tree, into, name, entry.target, options, count);
    else {
      const { modified } = entry;
      count.bytes += putFile(tree, into, name, realPieces(`${directory}/${entry.path}`), { ...options, modified });
      count.files++;
      options.progress?.(entry.path, count.files);
    }
  }
  return count;
}

function unfit({ kind, target }: RealEntry, name: string): string | undefined {
  if (name.includes('\ufffd')) return 'its name is not UTF-8';
  if (kind === 'other') return 'it is neither file nor directory nor link';
  if (kind === 'link' && (target.startsWith('/') || target.includes('\ufffd'))) return `it is a link to ${target}`;
  return undefined;
}

function enter(into: SpaceDirectory, name: string, count: Count): SpaceDirectory {
  if (into.find(name) === undefined) {
    into.makeDirectory(name);
    count.directories++;
  }
  return into.directory(name);
}

function importLink(tree: SpaceTree, into: SpaceDirectory, name: string, target: string, { replace }: TransferOptions, count: Count): void {
  const there = into.find(name);
  if (there?.kind === 'directory' || (there !== undefined && replace !== true))
    throw new TwzError('NameExists', `"${name}" is there already`, { name });
  tree.change(() => {
    if (there !== undefined) into.unlink(name);
    into.makeLink(name, target);
  });
  count.links++;
}

/** The files below `path` to a real directory, which is made. Objects that are no files, and links to paths of the space, are left out. */
export function exportFiles(tree: SpaceTree, path: string, directory: string, options: TransferOptions = {}): Transferred {
  const count = none();
  const top = tree.at(path);
  if (top.kind !== 'directory') throw new TwzError('FileKind', `"${path}" is not a directory`, { path });
  makeRealDirectory(directory);
  exportDirectory(tree.open(path), directory, '', options, count, new Set());
  return count;
}

function exportDirectory(
  from: SpaceDirectory,
  to: string,
  below: string,
  options: TransferOptions,
  count: Count,
  above: ReadonlySet<string>,
): void {
  const replace = options.replace ?? false;
  for (const { name } of from.entries()) {
    const node = from.find(name);
    const path = below === '' ? name : `${below}/${name}`;
    const place = `${to}/${name}`;
    if (node instanceof SpaceFile) {
      writeRealFile(place, contentOf(node), node.stat().modified, replace);
      count.files++;
      count.bytes += node.size();
      options.progress?.(path, count.files);
    } else if (node?.kind === 'directory') {
      const inner = from.directory(name);
      if (above.has(inner.id)) {
        count.skipped.push({ path, reason: 'it is one of the directories above' });
        continue;
      }
      makeRealDirectory(place);
      count.directories++;
      exportDirectory(inner, place, path, options, count, new Set([...above, from.id]));
    } else if (node?.kind === 'link' && !node.target.startsWith('/')) {
      makeRealLink(place, node.target, replace);
      count.links++;
    } else count.skipped.push({ path, reason: node?.kind === 'link' ? `it is a link to ${node.target}` : 'it is not a file' });
  }
}
