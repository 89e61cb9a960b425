/** Calls on descriptors: files, directories and streams that are open. */
import { ADVICE_MAX, ERRNO, FDFLAGS_ALL, FDFLAG, FILETYPE, FSTFLAG, FSTFLAGS_ALL, RIGHTS, WHENCE, type Errno } from './numbers.ts';
import { rightsOf, type Descriptor, type FileDescriptor, type Program, type StreamDescriptor } from './program.ts';
import { refuse } from './refusal.ts';
import type { NodeKind, NodeStat } from './tree.ts';

export const FILETYPES: Readonly<Record<NodeKind, number>> = {
  file: FILETYPE.regularFile,
  directory: FILETYPE.directory,
  link: FILETYPE.symbolicLink,
  other: FILETYPE.unknown,
};

const OFFSET_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** An offset or a size that the program gives. */
export function sizeFrom(value: bigint): number {
  if (value > OFFSET_MAX) refuse(ERRNO.fbig);
  return Number(value);
}

const streamType = ({ stream }: StreamDescriptor): number => (stream.terminal === true ? FILETYPE.characterDevice : FILETYPE.unknown);

function filetype(d: Descriptor): number {
  return d.kind === 'stream' ? streamType(d) : d.kind === 'file' ? FILETYPE.regularFile : FILETYPE.directory;
}

// --- what a descriptor is -----------------------------------------------------------------------------------------------------

export function fdFdstatGet(p: Program, fd: number, out: number): Errno {
  const d = p.descriptor(fd);
  const view = p.view(out, 24, 'write');
  view.setBigUint64(0, 0n, true);
  view.setUint8(0, filetype(d));
  view.setUint16(2, d.flags, true);
  view.setBigUint64(8, BigInt(d.rights), true);
  view.setBigUint64(16, BigInt(d.inheriting), true);
  return ERRNO.success;
}

export function fdFdstatSetFlags(p: Program, fd: number, flags: number): Errno {
  const d = p.descriptor(fd, RIGHTS.fdFdstatSetFlags);
  if ((flags & ~FDFLAGS_ALL) !== 0) return ERRNO.inval;
  d.flags = flags;
  return ERRNO.success;
}

/** Rights can only be given away. */
export function fdFdstatSetRights(p: Program, fd: number, base: bigint, inheriting: bigint): Errno {
  const d = p.descriptor(fd);
  const [rights, inherited] = [rightsOf(base), rightsOf(inheriting)];
  if (BigInt(rights) !== base || BigInt(inherited) !== inheriting) return ERRNO.notcapable;
  if ((rights & ~d.rights) !== 0 || (inherited & ~d.inheriting) !== 0) return ERRNO.notcapable;
  d.rights = rights;
  d.inheriting = inherited;
  return ERRNO.success;
}

const STREAM_STAT: Omit<NodeStat, 'kind'> = { inode: 0n, links: 1, size: 0, accessed: 0n, modified: 0n, changed: 0n };

/** `wasi_unstable` has the same in 56 bytes: it counts links in 32 bits, right after the type. */
export function writeStat(p: Program, out: number, stat: Omit<NodeStat, 'kind'>, type: number): Errno {
  const view = p.view(out, p.older ? 56 : 64, 'write');
  view.setBigUint64(0, 1n, true);
  view.setBigUint64(8, stat.inode, true);
  view.setBigUint64(16, BigInt(type), true);
  if (p.older) view.setUint32(20, stat.links, true);
  else view.setBigUint64(24, BigInt(stat.links), true);
  const rest = p.older ? 24 : 32;
  view.setBigUint64(rest, BigInt(stat.size), true);
  view.setBigUint64(rest + 8, stat.accessed, true);
  view.setBigUint64(rest + 16, stat.modified, true);
  view.setBigUint64(rest + 24, stat.changed, true);
  return ERRNO.success;
}

export function fdFilestatGet(p: Program, fd: number, out: number): Errno {
  const d = p.descriptor(fd, RIGHTS.fdFilestatGet);
  if (d.kind === 'stream') return writeStat(p, out, STREAM_STAT, streamType(d));
  return writeStat(p, out, d.kind === 'file' ? d.file.stat() : d.directory.stat(), filetype(d));
}

export function fdFilestatSetSize(p: Program, fd: number, size: bigint): Errno {
  p.file(fd, RIGHTS.fdFilestatSetSize).file.resize(sizeFrom(size));
  return ERRNO.success;
}

/** The times that a call gives, or undefined for what stays. */
export function timesFrom(p: Program, accessed: bigint, modified: bigint, flags: number): [bigint | undefined, bigint | undefined] {
  const both = (a: number, b: number): boolean => (flags & a) !== 0 && (flags & b) !== 0;
  if ((flags & ~FSTFLAGS_ALL) !== 0 || both(FSTFLAG.atim, FSTFLAG.atimNow) || both(FSTFLAG.mtim, FSTFLAG.mtimNow)) refuse(ERRNO.inval);
  const now = p.clock.realtime();
  return [
    (flags & FSTFLAG.atim) !== 0 ? accessed : (flags & FSTFLAG.atimNow) !== 0 ? now : undefined,
    (flags & FSTFLAG.mtim) !== 0 ? modified : (flags & FSTFLAG.mtimNow) !== 0 ? now : undefined,
  ];
}

export function fdFilestatSetTimes(p: Program, fd: number, accessed: bigint, modified: bigint, flags: number): Errno {
  const d = p.descriptor(fd, RIGHTS.fdFilestatSetTimes);
  const times = timesFrom(p, accessed, modified, flags);
  if (d.kind !== 'file') return ERRNO.notsup;
  d.file.setTimes(...times);
  return ERRNO.success;
}

export function fdPrestatGet(p: Program, fd: number, out: number): Errno {
  const d = p.descriptor(fd);
  if (d.kind !== 'directory' || d.preopen === undefined) return ERRNO.badf;
  const view = p.view(out, 8, 'write');
  view.setUint32(0, 0, true);
  view.setUint32(4, d.preopen.length, true);
  return ERRNO.success;
}

export function fdPrestatDirName(p: Program, fd: number, at: number, length: number): Errno {
  const d = p.descriptor(fd);
  if (d.kind !== 'directory' || d.preopen === undefined) return ERRNO.badf;
  if (length < d.preopen.length) return ERRNO.nametoolong;
  p.bytes(at, d.preopen.length, 'write').set(d.preopen);
  return ERRNO.success;
}

// --- reading and writing ------------------------------------------------------------------------------------------------------

function readFile(d: FileDescriptor, buffers: readonly Uint8Array[], at: number): number {
  let done = 0;
  for (const buffer of buffers) {
    const n = d.file.read(at + done, buffer);
    done += n;
    if (n < buffer.length) break;
  }
  return done;
}

function writeFile(d: FileDescriptor, buffers: readonly Uint8Array[], at: number): number {
  let done = 0;
  for (const buffer of buffers) {
    d.file.write(at + done, buffer);
    done += buffer.length;
  }
  if ((d.flags & (FDFLAG.sync | FDFLAG.dsync)) !== 0 && done > 0) d.file.sync();
  return done;
}

function readStream({ stream }: StreamDescriptor, buffers: readonly Uint8Array[]): number {
  const [buffer] = buffers;
  if (buffer === undefined || stream.read === undefined) return 0;
  // A stream sees no memory of the program's.
  const own = new Uint8Array(Math.min(buffer.length, 65536));
  const n = Math.min(own.length, Math.max(0, Math.trunc(stream.read(own)) || 0));
  buffer.set(own.subarray(0, n));
  return n;
}

function writeStream({ stream }: StreamDescriptor, buffers: readonly Uint8Array[]): number {
  const total = buffers.reduce((sum, { length }) => sum + length, 0);
  if (stream.write === undefined || total === 0) return total;
  const whole = new Uint8Array(total);
  let at = 0;
  for (const buffer of buffers) {
    whole.set(buffer, at);
    at += buffer.length;
  }
  stream.write(whole);
  return total;
}

export function fdRead(p: Program, fd: number, vectors: number, count: number, out: number): Errno {
  const d = p.descriptor(fd);
  if (d.kind === 'directory') return ERRNO.isdir;
  p.descriptor(fd, RIGHTS.fdRead);
  const result = p.view(out, 4, 'write');
  const buffers = p.vectors(vectors, count, 'write');
  let done: number;
  if (d.kind === 'stream') done = readStream(d, buffers);
  else {
    done = readFile(d, buffers, d.position);
    d.position += done;
  }
  result.setUint32(0, done, true);
  return ERRNO.success;
}

export function fdWrite(p: Program, fd: number, vectors: number, count: number, out: number): Errno {
  const d = p.descriptor(fd);
  if (d.kind === 'directory') return ERRNO.isdir;
  p.descriptor(fd, RIGHTS.fdWrite);
  const result = p.view(out, 4, 'write');
  const buffers = p.vectors(vectors, count, 'read');
  let done: number;
  if (d.kind === 'stream') done = writeStream(d, buffers);
  else {
    const at = (d.flags & FDFLAG.append) !== 0 ? d.file.size() : d.position;
    done = writeFile(d, buffers, at);
    if (done > 0) d.position = at + done;
  }
  result.setUint32(0, done, true);
  return ERRNO.success;
}

export function fdPread(p: Program, fd: number, vectors: number, count: number, at: bigint, out: number): Errno {
  const d = positional(p, fd, RIGHTS.fdRead | RIGHTS.fdSeek);
  const result = p.view(out, 4, 'write');
  result.setUint32(0, readFile(d, p.vectors(vectors, count, 'write'), sizeFrom(at)), true);
  return ERRNO.success;
}

export function fdPwrite(p: Program, fd: number, vectors: number, count: number, at: bigint, out: number): Errno {
  const d = positional(p, fd, RIGHTS.fdWrite | RIGHTS.fdSeek);
  const result = p.view(out, 4, 'write');
  result.setUint32(0, writeFile(d, p.vectors(vectors, count, 'read'), sizeFrom(at)), true);
  return ERRNO.success;
}

function positional(p: Program, fd: number, rights: number): FileDescriptor {
  const d = p.descriptor(fd);
  if (d.kind === 'directory') refuse(ERRNO.isdir);
  if (d.kind === 'stream') refuse(ERRNO.spipe);
  return p.file(fd, rights);
}

export function fdSeek(p: Program, fd: number, offset: bigint, whence: number, out: number): Errno {
  const tellsOnly = BigInt.asIntN(64, offset) === 0n && whence === (p.older ? 0 : WHENCE.cur);
  const d = p.file(fd, tellsOnly ? RIGHTS.fdTell : RIGHTS.fdSeek);
  // `wasi_unstable` counts from the current position first.
  const from = p.older ? ([WHENCE.cur, WHENCE.end, WHENCE.set] as const)[whence] : whence;
  const base = from === WHENCE.set ? 0 : from === WHENCE.cur ? d.position : from === WHENCE.end ? d.file.size() : refuse(ERRNO.inval);
  const position = BigInt(base) + BigInt.asIntN(64, offset);
  if (position < 0n || position > OFFSET_MAX) return ERRNO.inval;
  p.view(out, 8, 'write').setBigUint64(0, position, true);
  d.position = Number(position);
  return ERRNO.success;
}

export function fdTell(p: Program, fd: number, out: number): Errno {
  const { position } = p.file(fd, RIGHTS.fdTell);
  p.view(out, 8, 'write').setBigUint64(0, BigInt(position), true);
  return ERRNO.success;
}

export function fdAdvise(p: Program, fd: number, at: bigint, length: bigint, advice: number): Errno {
  const d = p.descriptor(fd, RIGHTS.fdAdvise);
  if (d.kind !== 'file') return ERRNO.badf;
  if (advice > ADVICE_MAX || BigInt.asIntN(64, at) < 0n || BigInt.asIntN(64, length) < 0n) return ERRNO.inval;
  return ERRNO.success;
}

export function fdAllocate(p: Program, fd: number, at: bigint, length: bigint): Errno {
  const { file } = p.file(fd, RIGHTS.fdAllocate);
  if (length === 0n) return ERRNO.inval;
  const end = sizeFrom(at + length);
  if (end > file.size()) file.resize(end);
  return ERRNO.success;
}

export const fdSync = (p: Program, fd: number): Errno => sync(p.descriptor(fd, RIGHTS.fdSync));
export const fdDatasync = (p: Program, fd: number): Errno => sync(p.descriptor(fd, RIGHTS.fdDatasync));

function sync(d: Descriptor): Errno {
  if (d.kind === 'stream') return ERRNO.inval;
  if (d.kind === 'file') d.file.sync();
  else d.directory.sync();
  return ERRNO.success;
}

// --- descriptors themselves ---------------------------------------------------------------------------------------------------

export function fdClose(p: Program, fd: number): Errno {
  p.close(fd);
  return ERRNO.success;
}

export function fdRenumber(p: Program, from: number, to: number): Errno {
  p.renumber(from, to);
  return ERRNO.success;
}

// --- directories --------------------------------------------------------------------------------------------------------------

const encoder = new TextEncoder();
const DIRENT = 24;

/** Entries as many as fit, the last one cut off where the buffer ends; a cookie is the number of entries before. */
export function fdReaddir(p: Program, fd: number, at: number, length: number, cookie: bigint, out: number): Errno {
  const d = p.directory(fd, RIGHTS.fdReaddir);
  const result = p.view(out, 4, 'write');
  const into = p.bytes(at, length, 'write');
  if (d.listing === undefined || cookie === 0n) {
    if (!d.directory.exists()) return ERRNO.noent;
    const { inode } = d.directory;
    d.listing = [{ name: '.', kind: 'directory', inode }, { name: '..', kind: 'directory', inode }, ...d.directory.entries()];
  }
  let used = 0;
  const first = cookie > BigInt(d.listing.length) ? d.listing.length : Number(cookie);
  for (let i = first; i < d.listing.length && used < length; i++) {
    const entry = d.listing[i];
    if (entry === undefined) break;
    const name = encoder.encode(entry.name);
    const record = new Uint8Array(DIRENT + name.length);
    const view = new DataView(record.buffer);
    view.setBigUint64(0, BigInt(i + 1), true);
    view.setBigUint64(8, entry.inode, true);
    view.setUint32(16, name.length, true);
    view.setUint8(20, FILETYPES[entry.kind]);
    record.set(name, DIRENT);
    const fits = Math.min(record.length, length - used);
    into.set(record.subarray(0, fits), used);
    used += fits;
  }
  result.setUint32(0, used, true);
  return ERRNO.success;
}
