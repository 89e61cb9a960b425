/** Calls on paths, each below a directory that the program holds. */
import {
  DIRECTORY_RIGHTS,
  ERRNO,
  FDFLAG,
  FDFLAGS_ALL,
  FILE_RIGHTS,
  LOOKUP_FOLLOW,
  OFLAG,
  OFLAGS_ALL,
  RIGHTS,
  type Errno,
} from './numbers.ts';
import { FILETYPES, timesFrom, writeStat } from './fd-calls.ts';
import { rightsOf, type DirectoryDescriptor, type Program } from './program.ts';
import { refuse } from './refusal.ts';
import { resolve, type Place } from './resolve.ts';
import type { TreeFile, TreeNode } from './tree.ts';

function placeOf(p: Program, fd: number, right: number, at: number, length: number, follow: boolean): Place {
  const path = p.text(at, length);
  const { directory } = p.directory(fd, right);
  return resolve(directory, path, follow);
}

/** What is there, and a directory where the path says so. */
function present({ node, slash }: Place): TreeNode {
  if (node === undefined) refuse(ERRNO.noent);
  if (slash && node.kind !== 'directory') refuse(ERRNO.notdir);
  return node;
}

// --- opening ------------------------------------------------------------------------------------------------------------------

interface Opening {
  readonly from: DirectoryDescriptor;
  readonly place: Place;
  readonly oflags: number;
  readonly rights: number;
  readonly inheriting: number;
  readonly flags: number;
}

export function pathOpen(
  p: Program,
  fd: number,
  lookup: number,
  at: number,
  length: number,
  oflags: number,
  base: bigint,
  inheriting: bigint,
  flags: number,
  out: number,
): Errno {
  const path = p.text(at, length);
  const from = p.directory(fd, RIGHTS.pathOpen);
  if ((oflags & ~OFLAGS_ALL) !== 0 || (flags & ~FDFLAGS_ALL) !== 0) return ERRNO.inval;
  const creates = (oflags & OFLAG.creat) !== 0;
  if (creates && (oflags & OFLAG.directory) !== 0) return ERRNO.inval;
  if (creates && (from.rights & RIGHTS.pathCreateFile) === 0) return ERRNO.notcapable;
  if ((oflags & OFLAG.trunc) !== 0 && (from.rights & RIGHTS.pathFilestatSetSize) === 0) return ERRNO.notcapable;
  const rights = rightsOf(base);
  // Who asks to write where nobody may is refused here; of what else there is no right, the descriptor has none.
  if ((rights & RIGHTS.fdWrite & ~from.inheriting) !== 0) return ERRNO.notcapable;
  p.demandRoom();
  const result = p.view(out, 4, 'write');
  const exclusive = creates && (oflags & OFLAG.excl) !== 0;
  const place = resolve(from.directory, path, !exclusive && (lookup & LOOKUP_FOLLOW) !== 0);
  const opening = { from, place, oflags, flags, rights: rights & from.inheriting, inheriting: rightsOf(inheriting) & from.inheriting };
  result.setUint32(0, open(p, opening, exclusive), true);
  return ERRNO.success;
}

function open(p: Program, opening: Opening, exclusive: boolean): number {
  const { place, oflags } = opening;
  const { directory, name, node } = place;
  if (node === undefined) {
    if ((oflags & OFLAG.creat) === 0) return refuse(ERRNO.noent);
    if (place.slash) return refuse(ERRNO.isdir);
    return openFile(p, opening, directory.makeFile(name));
  }
  if (exclusive) return refuse(ERRNO.exist);
  if (node.kind === 'directory') return openDirectory(p, opening, node);
  if (place.slash || (oflags & OFLAG.directory) !== 0) return refuse(ERRNO.notdir);
  if (node.kind === 'link') return refuse(ERRNO.loop);
  if (node.kind === 'other') return refuse(ERRNO.notsup);
  return openFile(p, opening, node);
}

function openFile(p: Program, { oflags, rights, flags }: Opening, file: TreeFile): number {
  file.hold();
  try {
    if ((oflags & OFLAG.trunc) !== 0) file.resize(0);
    return p.add({ kind: 'file', file, position: 0, rights: rights & FILE_RIGHTS, inheriting: 0, flags });
  } catch (error) {
    file.letGo();
    throw error;
  }
}

function openDirectory(p: Program, opening: Opening, directory: DirectoryDescriptor['directory']): number {
  const { oflags, rights, inheriting, flags } = opening;
  if ((oflags & (OFLAG.trunc | OFLAG.creat)) !== 0 || (rights & RIGHTS.fdWrite) !== 0 || (flags & FDFLAG.append) !== 0) refuse(ERRNO.isdir);
  return p.add({
    kind: 'directory',
    directory,
    preopen: undefined,
    listing: undefined,
    rights: rights & DIRECTORY_RIGHTS,
    inheriting,
    flags,
  });
}

// --- looking ------------------------------------------------------------------------------------------------------------------

export function pathFilestatGet(p: Program, fd: number, lookup: number, at: number, length: number, out: number): Errno {
  const node = present(placeOf(p, fd, RIGHTS.pathFilestatGet, at, length, (lookup & LOOKUP_FOLLOW) !== 0));
  return writeStat(p, out, node.stat(), FILETYPES[node.kind]);
}

export function pathReadlink(p: Program, fd: number, at: number, length: number, into: number, room: number, out: number): Errno {
  const node = present(placeOf(p, fd, RIGHTS.pathReadlink, at, length, false));
  if (node.kind !== 'link') return ERRNO.inval;
  const bytes = new TextEncoder().encode(node.target);
  const result = p.view(out, 4, 'write');
  const fits = Math.min(bytes.length, room);
  p.bytes(into, fits, 'write').set(bytes.subarray(0, fits));
  result.setUint32(0, fits, true);
  return ERRNO.success;
}

// --- changing -----------------------------------------------------------------------------------------------------------------

export function pathFilestatSetTimes(
  p: Program,
  fd: number,
  lookup: number,
  at: number,
  length: number,
  accessed: bigint,
  modified: bigint,
  flags: number,
): Errno {
  const times = timesFrom(p, accessed, modified, flags);
  const node = present(placeOf(p, fd, RIGHTS.pathFilestatSetTimes, at, length, (lookup & LOOKUP_FOLLOW) !== 0));
  if (node.kind !== 'file') return ERRNO.notsup;
  node.setTimes(...times);
  return ERRNO.success;
}

export function pathCreateDirectory(p: Program, fd: number, at: number, length: number): Errno {
  // A slash at the end says what is made; it does not make a link be followed.
  const path = p.text(at, length);
  const { directory } = p.directory(fd, RIGHTS.pathCreateDirectory);
  const place = resolve(directory, path.replace(/\/+$/, '') || path, false);
  if (place.node !== undefined) return ERRNO.exist;
  place.directory.makeDirectory(place.name);
  return ERRNO.success;
}

export function pathSymlink(p: Program, targetAt: number, targetLength: number, fd: number, at: number, length: number): Errno {
  const target = p.text(targetAt, targetLength);
  const place = placeOf(p, fd, RIGHTS.pathSymlink, at, length, false);
  if (place.node !== undefined) return place.slash && place.node.kind !== 'directory' ? ERRNO.notdir : ERRNO.exist;
  if (place.slash || target === '') return ERRNO.noent;
  if (target.startsWith('/')) return ERRNO.notcapable;
  place.directory.makeLink(place.name, target);
  return ERRNO.success;
}

export function pathLink(
  p: Program,
  fd: number,
  lookup: number,
  at: number,
  length: number,
  toFd: number,
  toAt: number,
  toLength: number,
): Errno {
  const from = placeOf(p, fd, RIGHTS.pathLinkSource, at, length, (lookup & LOOKUP_FOLLOW) !== 0);
  const to = placeOf(p, toFd, RIGHTS.pathLinkTarget, toAt, toLength, false);
  const node = present(from);
  if (to.node !== undefined) return ERRNO.exist;
  if (node.kind === 'directory') return ERRNO.perm;
  if (to.slash) return ERRNO.noent;
  // A second name for a link is a link to the same path: nobody can tell.
  if (node.kind === 'link') to.directory.makeLink(to.name, node.target);
  else if (node.kind === 'other') return ERRNO.notsup;
  else to.directory.link(to.name, from.directory, from.name);
  return ERRNO.success;
}

export function pathUnlinkFile(p: Program, fd: number, at: number, length: number): Errno {
  const place = placeOf(p, fd, RIGHTS.pathUnlinkFile, at, length, false);
  const node = present(place);
  if (node.kind === 'directory') return ERRNO.isdir;
  place.directory.unlink(place.name);
  return ERRNO.success;
}

export function pathRemoveDirectory(p: Program, fd: number, at: number, length: number): Errno {
  const path = p.text(at, length);
  const { directory } = p.directory(fd, RIGHTS.pathRemoveDirectory);
  const place = resolve(directory, path.replace(/\/+$/, '') || path, false);
  if (place.node === undefined) return ERRNO.noent;
  if (place.node.kind !== 'directory') return ERRNO.notdir;
  if (place.name === '') return ERRNO.inval;
  place.directory.removeDirectory(place.name);
  return ERRNO.success;
}

export function pathRename(p: Program, fd: number, at: number, length: number, toFd: number, toAt: number, toLength: number): Errno {
  const from = renamed(p, fd, RIGHTS.pathRenameSource, at, length);
  const to = renamed(p, toFd, RIGHTS.pathRenameTarget, toAt, toLength);
  const source = present(from);
  const { node: target } = to;
  if (from.name === '' || to.name === '') return ERRNO.busy;
  if (source.kind !== 'directory' && to.slash) return ERRNO.notdir;
  if (target !== undefined) {
    if (target === source) return ERRNO.success;
    if (source.kind === 'directory' && target.kind !== 'directory') return ERRNO.notdir;
    if (source.kind !== 'directory' && target.kind === 'directory') return ERRNO.isdir;
    if (target.kind === 'directory' && target.entries().length > 0) return ERRNO.notempty;
  }
  from.directory.move(from.name, to.directory, to.name);
  return ERRNO.success;
}

/** A slash at the end of what is renamed says that it is a directory; a link is not followed for it. */
function renamed(p: Program, fd: number, right: number, at: number, length: number): Place {
  const path = p.text(at, length);
  const { directory } = p.directory(fd, right);
  const trimmed = path.replace(/\/+$/, '') || path;
  return { ...resolve(directory, trimmed, false), slash: trimmed !== path };
}
