/**
 * From a path to a place in the tree, a component at a time. The directories that were come through are kept, so `..` is the one before; the
 * first is the descriptor's, and nothing leads above it: neither `..` nor an absolute path nor a link with either.
 */
import { ERRNO } from './numbers.ts';
import { refuse } from './refusal.ts';
import type { TreeDirectory, TreeNode } from './tree.ts';

const LINKS_MAX = 40;
const NAME_BYTES_MAX = 255;

export interface Place {
  readonly directory: TreeDirectory;
  /** Empty where the path leads to a directory by `.` or `..`. */
  readonly name: string;
  readonly node: TreeNode | undefined;
  /** The path ended with a slash: only a directory will do. */
  readonly slash: boolean;
}

const encoder = new TextEncoder();

/** Components, the last first. */
function split(path: string): string[] {
  if (path === '') refuse(ERRNO.noent);
  if (path.startsWith('/')) refuse(ERRNO.notcapable);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) if (part.length * 3 > NAME_BYTES_MAX && encoder.encode(part).length > NAME_BYTES_MAX) refuse(ERRNO.nametoolong);
  return parts.reverse();
}

const demandsDirectory = (path: string): boolean => /(^|\/)\.{0,2}$/.test(path);

export function resolve(start: TreeDirectory, path: string, follow: boolean): Place {
  const above: TreeDirectory[] = [start];
  const left = split(path);
  let slash = demandsDirectory(path);
  for (let links = 0; ;) {
    const directory = above[above.length - 1] ?? start;
    const name = left.pop();
    if (name === undefined) return { directory, name: '', node: directory, slash };
    if (name === '..') {
      if (above.length === 1) refuse(ERRNO.notcapable);
      above.pop();
      continue;
    }
    const node = directory.find(name);
    const last = left.length === 0;
    if (node?.kind === 'link' && (!last || follow || slash)) {
      if (++links > LINKS_MAX) refuse(ERRNO.loop);
      left.push(...split(node.target));
      if (last && demandsDirectory(node.target)) slash = true;
      continue;
    }
    if (last) return { directory, name, node, slash };
    if (node === undefined) refuse(ERRNO.noent);
    if (node.kind !== 'directory') refuse(ERRNO.notdir);
    above.push(node);
  }
}
