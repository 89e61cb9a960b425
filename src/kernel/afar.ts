/** What the kernel asks of whoever knows other nodes (services/cluster), and what it tells it. */
import { TwzError } from '../abi/errors.ts';
import { FLAG, KIND, META } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { FRAME, sectionEnd, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

export interface Afar {
  /**
   * Brings an object that is not in the space into it; false where no node has it. Blocks, until its deadline at most; not inside a
   * transaction. Throws Unreachable, TimedOut and the like. `times`: for the how-manyth time that one transaction could not go on.
   */
  bring(id: ObjectId, times?: number): boolean;
  /** Makes an object of another node's this node's own. Blocks, as `bring`. */
  own(id: ObjectId): void;
  /** Which of these objects, that nothing here reaches, may not go: see Verdict in reclaim.ts. Blocks, as `bring`. Throws ReferencesUnknown. */
  reached(ids: readonly ObjectId[]): readonly ObjectId[];
}

/** Name of what a space that has ever joined others knows of that. */
export const FAMILIES_PATH = '/cluster-families';

/** What a transaction needs from afar before it can go on: it is undone, that is got, and it runs again. */
export interface Wanted {
  readonly what: 'bring' | 'own';
  readonly id: ObjectId;
}

/** Gets the sections of what is committed, in the order of the log, by whichever member of the space. */
export interface Tap {
  /** A section of a transaction: `words` from `at` up to `end` are good until it returns. `own`: it is this process's. */
  section(id: ObjectId, words: Int32Array, at: number, end: number, own: boolean): void;
  /** What was told since the last call is one transaction; its log ends at `lsn`. */
  committed(lsn: number): void;
}

/** Tells of the sections of one whole frame. */
export function tapFrame(tap: Tap, words: Int32Array, frame: number, own: boolean): void {
  let at = frame + (FRAME.header >> 2);
  for (let left = words[frame + (FRAME.sections >> 2)] as number; left > 0; left--) {
    const end = sectionEnd(words, at, words.length);
    tap.section(readId(new Uint8Array(words.buffer, words.byteOffset + at * 4, 16), 0), words, at, end, own);
    at = end;
  }
}

function lsnOf(words: Int32Array, frame: number): number {
  const at = frame + (FRAME.lsn >> 2);
  return ((words[at] as number) >>> 0) + (words[at + 1] as number) * 2 ** 32;
}

/** What this process has just committed, as it stands in the log: whole frames. */
export function ownFrames({ log }: Kernel, from: number, to: number): Int32Array[] {
  const read: Int32Array[] = [];
  for (let at = from; at < to;) {
    // The log goes on in the next segment where a frame did not fit.
    const next = Math.min(to, (Math.floor(at / log.segmentSize) + 1) * log.segmentSize);
    const words = new Int32Array((next - at) >> 2);
    const bytes = new Uint8Array(words.buffer);
    if (!log.copyTail(at, next, bytes)) {
      log.spill();
      log.readSegment(at, bytes);
    }
    // Behind the last frame of a segment may be what the file had before.
    let end = 0;
    while (end < words.length && lsnOf(words, end) === at + end * 4) end += (words[end] as number) >> 2;
    read.push(words.subarray(0, end));
    at = next === to ? to : next + SEGMENT_HEADER;
  }
  return read;
}

/** Tells of that, when all has been told that others committed before. */
export function tapOwn(tap: Tap, frames: readonly Int32Array[], to: number): void {
  for (const words of frames)
    for (let frame = 0; frame < words.length; frame += (words[frame] as number) >> 2) tapFrame(tap, words, frame, true);
  tap.committed(to);
}

export function isReplica(h: Handle): boolean {
  return (h.dv.getUint32(META.flags, true) & FLAG.replica) !== 0 && h.kind !== KIND.immutable;
}

/** Where an object is that another node owns, it cannot be stored to without more ado. */
export function demandOwned(kernel: Kernel, h: Handle): void {
  if (!isReplica(h)) return;
  if (kernel.afar === undefined)
    throw new TwzError('NotJoined', `object ${h.id} is owned by another node, and this program has not joined it`, { id: h.id });
  throw wanted(kernel, { what: 'own', id: h.id });
}

/** The running transaction cannot go on without it. */
export function wanted(kernel: Kernel, what: Wanted): TwzError {
  const { transaction } = kernel;
  const error = new TwzError('TransactionOvertaken', `object ${what.id} must be brought here first`, { id: what.id });
  if (transaction === undefined) return error;
  transaction.wanted = what;
  transaction.overtaken = true;
  transaction.isDoomed = true;
  transaction.doomed ??= error;
  return error;
}
