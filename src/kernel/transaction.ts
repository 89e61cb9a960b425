/**
 * Transactions.
 *
 *   run(f):  f marks lines and stores   ->  commit: reserve log space, append frames, forget marks
 *                                       ->  abort:  put the old bytes of every marked line back
 *
 * Invariants:
 *  1. Nothing reaches the log before `commit`, and nothing reaches an object file before the log is synced past it.
 *  2. Everything that can fail for want of room fails before the first frame is appended; then the transaction is aborted whole.
 *  3. After an abort every object holds the bytes, size and state that it had before.
 *  4. One transaction runs at a time; a nested one is part of the outer one, and its failure dooms the outer one.
 *
 * Where other processes have the space open, too: a transaction sees the space as it was when it began, and takes the lease of each
 * object that it stores to, until it ends. If another process holds that lease while this one holds others, or has committed a change of
 * the object since this one began, the transaction is undone and its function runs again, on the new state; after a few times with all
 * other transactions kept out. So each object changes in one order everywhere, and nobody waits for anybody in a circle.
 */
import { TwzError } from '../abi/errors.ts';
import { KIND, LINE_WORDS } from '../abi/format.ts';
import { demandRight } from '../abi/handle.ts';
import { STRIPES } from '../abi/live-format.ts';
import { FRAME, SECTION } from '../abi/log-format.ts';
import { demandOwned, ownFrames, tapOwn, type Wanted } from './afar.ts';
import { demandAppended } from './append-only.ts';
import { dropDraft, isLarge, placeDraft, writeDrafts } from './drafts.ts';
import { LINE_BYTES } from './frame-writer.ts';
import { forgetCounts, settleCounts } from './fot.ts';
import type { Kernel } from './kernel.ts';
import type { Live } from './live.ts';
import type { Log } from './log.ts';
import { CLEAN, type Handle } from './object.ts';
import { beginRuns, demandUnshared, settleShared } from './shared-object.ts';
import { forgetFormer, restoreFormer } from './shorten.ts';

/** How often a transaction that others got in the way of is tried beside them. */
const TRIES = 4;
/** How often a transaction may wait for objects that other nodes own. */
const OWNED_MAX = 1000;

/** The running transaction. One a kernel, used again and again: a transaction allocates nothing. */
export class Transaction {
  readonly handles: Handle[] = [];
  depth = 0;
  doomed: unknown;
  isDoomed = false;
  /** Leases that it holds. */
  readonly leases: number[] = [];
  /** Another process was first: the function must run again. With the lease that was waited for, or -1. */
  overtaken = false;
  awaited = -1;
  /** What is to be got from another node before it runs again. */
  wanted: Wanted | undefined;
  /** How often something was another node's. */
  owned = 0;
  /** How often it needed an object that was not here. */
  brought = 0;
  /** All others are kept out. */
  exclusive = false;
  /** What those learn who wait for a durable transaction inside this one. */
  outcome: { aborted: boolean } | undefined;
}

/** Runs a plain synchronous function as a transaction, or as a part of the one that runs already. Returns what it returned. */
export function run<T>(kernel: Kernel, body: () => T): T {
  if (kernel.transaction !== undefined) return runNested(kernel.transaction, body);
  return attempt(kernel, body, false);
}

/** As `run`, with the transactions of all other processes kept out. Inside a transaction: as long as that one runs. */
export function runAlone<T>(kernel: Kernel, body: () => T): T {
  const { transaction, live } = kernel;
  if (transaction === undefined) return attempt(kernel, body, true);
  if (live !== undefined && !live.sole && !transaction.exclusive) {
    live.shut();
    transaction.exclusive = true;
    // What it has seen must be all that there is.
    if (kernel.follower?.current === false) throw overtaken(transaction, -1);
  }
  return runNested(transaction, body);
}

/** One try after the other, until no other process was in the way. */
function attempt<T>(kernel: Kernel, body: () => T, alone: boolean): T {
  const { live, onlyTransaction: transaction } = kernel;
  transaction.overtaken = transaction.exclusive = false;
  transaction.awaited = -1;
  transaction.wanted = undefined;
  transaction.owned = transaction.brought = 0;
  for (let tries = 1; ; tries++) {
    const { awaited } = transaction;
    const exclusive: boolean = live !== undefined && (alone || tries > TRIES || (transaction.overtaken && transaction.exclusive));
    transaction.overtaken = false;
    transaction.awaited = -1;
    transaction.exclusive = false;
    // Nothing is held meanwhile, and it is no try that others got in the way of.
    if (getWanted(kernel, transaction)) tries--;
    if (live !== undefined && awaited >= 0 && live.awaitLease(awaited)) live.giveLease(awaited, 0);
    begin(kernel, exclusive);
    let result: T;
    try {
      result = body();
      if (isPromise(result)) throw refuseAsync(result);
      if (transaction.isDoomed) throw transaction.doomed;
      commit(kernel, transaction);
    } catch (error) {
      const { outcome } = transaction;
      const again = transaction.overtaken && (transaction.wanted !== undefined || tries <= TRIES || !exclusive);
      abort(kernel, again);
      if (!again) throw error;
      transaction.outcome = outcome;
      continue;
    }
    return result;
  }
}

/** Gets what the last try could not go on without; false where there is nothing. */
function getWanted(kernel: Kernel, transaction: Transaction): boolean {
  const { wanted } = transaction;
  if (wanted === undefined) return false;
  transaction.wanted = undefined;
  const { what, id } = wanted;
  if (what === 'bring') {
    if (kernel.afar?.bring(id, ++transaction.brought) !== true) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
  } else {
    if (++transaction.owned > OWNED_MAX)
      throw new TwzError('TimedOut', `objects went to other nodes ${OWNED_MAX} times before the transaction could end`);
    kernel.afar?.own(id);
  }
  return true;
}

/** Another process was first: what is thrown undoes this try, whoever catches it on the way. */
export function overtaken(transaction: Transaction, lease: number): TwzError {
  transaction.overtaken = true;
  transaction.awaited = lease;
  transaction.isDoomed = true;
  const error = new TwzError('TransactionOvertaken', 'another process changed, or is changing, an object that this transaction stores to');
  transaction.doomed ??= error;
  return error;
}

/** The caller learns it from this error; what becomes of the rest of its function is nobody's to wait for. */
function refuseAsync(result: PromiseLike<unknown>): TwzError {
  result.then(undefined, () => undefined);
  return new TwzError('TransactionAsync', 'the function of a transaction returned a promise; nothing was changed');
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function runNested<T>(transaction: Transaction, body: () => T): T {
  transaction.depth++;
  try {
    const result = body();
    if (isPromise(result)) throw refuseAsync(result);
    return result;
  } catch (error) {
    transaction.isDoomed = true;
    transaction.doomed = error;
    throw error;
  } finally {
    transaction.depth--;
  }
}

function begin(kernel: Kernel, exclusive: boolean): void {
  if (kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed');
  const { live, onlyTransaction: transaction } = kernel;
  if (live !== undefined) {
    if (exclusive) live.shut();
    transaction.exclusive = exclusive;
    try {
      live.enter();
      kernel.follower?.catchUp();
    } catch (error) {
      leave(live, transaction);
      throw error;
    }
  }
  if (kernel.log.failure !== undefined) {
    if (live !== undefined) leave(live, transaction);
    throw kernel.log.failure;
  }
  kernel.serial = ++kernel.lastSerial;
  kernel.transaction = transaction;
}

function leave(live: Live, transaction: Transaction): void {
  live.leave();
  if (!transaction.exclusive) return;
  transaction.exclusive = false;
  live.open();
}

/** `committed`: LSN behind the commit, or 0. `again`: it will be tried once more. */
function end(kernel: Kernel, committed: number, again = false): void {
  const transaction = kernel.onlyTransaction;
  const { handles, leases } = transaction;
  const { live } = kernel;
  // Setting the length costs more than taking one out.
  if (handles.length === 1) handles.pop();
  else handles.length = 0;
  transaction.isDoomed = false;
  transaction.doomed = undefined;
  transaction.outcome = undefined;
  kernel.serial = -1;
  kernel.transaction = undefined;
  if (live === undefined) return;
  const { stuck } = kernel;
  for (let lease = leases.pop(); lease !== undefined; lease = leases.pop()) if (!stuck.has(lease)) live.giveLease(lease, committed);
  if (stuck.size > 0 && committed > 0 && !live.sole) for (const lease of stuck.keys()) live.changed(lease, committed);
  const { exclusive } = transaction;
  leave(live, transaction);
  // The next try must be alone, too.
  if (again) transaction.exclusive = exclusive;
}

/** Makes an object part of the running transaction. Throws what forbids it. */
export function enlist(kernel: Kernel, h: Handle): void {
  const { transaction } = kernel;
  const { id } = h;
  if (h.snapshot !== undefined) throw h.snapshot.refusal(id);
  if (transaction === undefined) {
    if (h.state !== 'live') throw h.gone();
    throw new TwzError('NotInTransaction', `object ${id} was stored to outside a transaction`, { id });
  }
  if (h.cold) h.warm();
  if (h.kind === KIND.immutable) throw new TwzError('ObjectImmutable', `object ${id} is immutable`, { id });
  demandRight(h, 'write');
  demandUnshared(h, 'what needs a transaction');
  demandOwned(kernel, h);
  enter(kernel, transaction, h);
}

function stripeOf(h: Handle): number {
  return (h.idWords[0] as number) & (STRIPES - 1);
}

/** The lease of an enlisted object stays with this process: raw stores may come at any time. */
export function stick(kernel: Kernel, h: Handle): void {
  if (kernel.live === undefined || h.volatile) return;
  const stripe = stripeOf(h);
  kernel.stuck.set(stripe, (kernel.stuck.get(stripe) ?? 0) + 1);
}

export function unstick(kernel: Kernel, h: Handle): void {
  if (kernel.live === undefined || h.volatile) return;
  const stripe = stripeOf(h);
  const left = (kernel.stuck.get(stripe) ?? 1) - 1;
  if (left > 0) {
    kernel.stuck.set(stripe, left);
    return;
  }
  kernel.stuck.delete(stripe);
  if (!kernel.live.sole && kernel.transaction?.leases.includes(stripe) !== true) kernel.live.giveLease(stripe, 0);
}

/** Takes the right to change an object, be it one that is about to be made, until the transaction ends. */
export function secure(kernel: Kernel, h: Handle): void {
  if (kernel.live !== undefined && kernel.transaction !== undefined) lease(kernel, kernel.live, kernel.transaction, h);
}

function lease(kernel: Kernel, live: Live, transaction: Transaction, h: Handle): void {
  const stripe = stripeOf(h);
  const got = live.lease(stripe);
  if (got === 'held') return;
  if (got === 'busy') {
    // Who holds one waits for no other: two could wait for each other.
    const free = transaction.leases.length === 0 ? live.awaitLease(stripe) : live.spinForLease(stripe);
    if (!free) throw overtaken(transaction, stripe);
  }
  transaction.leases.push(stripe);
  if (live.lastChange(stripe) > (kernel.follower?.seen ?? 0)) throw overtaken(transaction, -1);
}

/** Enlists without asking for rights: for creation and deletion. */
export function enter(kernel: Kernel, transaction: Transaction, h: Handle): void {
  if (h.serial === kernel.serial) return;
  if (kernel.live !== undefined && !h.volatile) lease(kernel, kernel.live, transaction, h);
  h.serial = kernel.serial;
  h.sizeBefore = h.size;
  h.count = 0;
  if (h.dirty === CLEAN || h.dirty.length < h.size >>> 6) h.dirty = new Uint8Array(h.capacity >>> 6);
  if (!h.fresh) h.ensureUndo();
  transaction.handles.push(h);
}

// --- commit -------------------------------------------------------------------------------------------------------------------

function commit(kernel: Kernel, transaction: Transaction): void {
  if (kernel.exposed.size > 0) for (const h of kernel.exposed) if (h.state === 'live') h.raw?.collect();
  if (transaction.handles.length === 0) {
    end(kernel, 0);
    return;
  }
  let bytes = FRAME.header;
  let adopted: Handle[] | undefined;
  for (const h of transaction.handles) {
    if (h.fotChanged.length > 0 && h.state === 'live') settleCounts(h);
    if (h.kind === KIND['append-only'] && !h.fresh && h.state === 'live') demandAppended(h);
    const lines = linesToLog(h);
    if (h.fresh && h.state === 'live' && (h.kind === KIND.shared || isLarge(kernel, h, lines))) {
      (adopted ??= []).push(h);
      bytes += SECTION.header;
    } else if (!h.volatile) bytes += SECTION.header + lines * LINE_BYTES;
  }
  // What does not fit one frame takes a header and a section more for each further one.
  bytes += Math.ceil(bytes / (kernel.log.frameMax / 2)) * (FRAME.header + SECTION.header);
  const { log } = kernel;
  if (adopted !== undefined) {
    // A space that has files of objects has a segment.
    reserve(log, bytes);
    for (const h of adopted) if (h.kind === KIND.shared) beginRuns(kernel, h);
    writeDrafts(kernel, adopted);
  }
  if (kernel.snapshots.size > 0)
    for (const snapshot of kernel.snapshots) {
      for (const h of transaction.handles) {
        if (h.state === 'deleting') snapshot.rescue(h);
        else snapshot.keep(h);
      }
    }
  log.enter();
  const from = log.end;
  try {
    log.reserve(bytes);
    kernel.writer.write(transaction.handles, bytes);
  } finally {
    log.leave();
  }
  // Before a new shared object is brought to its place, which looks at what others have appended.
  const to = log.end;
  const own = kernel.tap === undefined ? undefined : ownFrames(kernel, from, to);
  kernel.commits++;
  kernel.committed = to;
  for (const h of transaction.handles) settle(kernel, h);
  end(kernel, to);
  kernel.follower?.committed(from, to);
  // In the order of the log: others may have committed in between.
  if (kernel.tap !== undefined && own !== undefined) tapOwn(kernel.tap, own, to);
}

function reserve(log: Log, bytes: number): void {
  log.enter();
  try {
    log.reserve(bytes);
  } finally {
    log.leave();
  }
}

/** How many lines of it were stored to, at most. A shared object's bytes are in its file. */
export function linesToLog({ appended, kind, whole, size, count }: Handle): number {
  if (kind === KIND.shared) return 0;
  if (whole) return size >>> 6;
  let lines = count;
  for (let i = 0; i < appended.length; i += 2) lines += (appended[i + 1] as number) - (appended[i] as number);
  return lines;
}

/** After the frames are in the log: the image is the committed state. */
function settle(kernel: Kernel, h: Handle): void {
  const lsn = kernel.log.end;
  h.raw?.committed();
  if (h.former !== undefined) forgetFormer(kernel, h);
  const { dirty, lines } = h;
  if (h.state === 'deleting') {
    h.state = 'deleted';
    discard(kernel, h);
    kernel.checkpointer.removed(h.id, lsn);
    kernel.watches?.removed(h.id);
    return;
  }
  if (h.adopted || h.kind === KIND.shared) {
    if (h.adopted) settleAdopted(kernel, h, lsn);
    shrink(h);
    return;
  }
  if (h.logged || h.volatile) kernel.watches?.changed(h.id);
  // Stores that changed nothing are no commit of this object.
  if (!h.volatile && h.logged) {
    kernel.checkpointer.changed(h);
    h.version++;
    h.lastLsn = lsn;
  }
  if (h.whole) {
    for (let page = 0; page < h.size >>> 12; page++) h.addPending(page);
    if (kernel.live?.sole === false) for (const page of h.pendingPages) kernel.detach(h, page);
    if (dirty !== CLEAN) dirty.fill(0);
  } else {
    const { pending, volatile, logged } = h;
    // Another process may bring the page to the file as soon as it has seen this commit.
    const shown = kernel.live?.sole === false && (kernel.snapshots.size > 0 || h.copies !== undefined);
    for (let i = 0; i < h.count; i++) {
      const line = lines[i] as number;
      dirty[line] = 0;
      if (pending[line >>> 6] !== 1 && !volatile && logged) {
        h.addPending(line >>> 6);
        if (shown) kernel.detach(h, line >>> 6);
      }
    }
    const { appended } = h;
    for (let i = 0; i < appended.length; i += 2) {
      const from = appended[i] as number;
      const to = appended[i + 1] as number;
      dirty.fill(0, from, to);
      if (!volatile && logged) for (let page = from >>> 6; page < to >>> 6; page++) h.addPending(page);
    }
  }
  if (h.appended.length > 0) h.appended = [];
  if (h.fresh) h.createdAt = kernel.commits;
  h.fresh = false;
  h.whole = false;
  shrink(h);
  h.count = 0;
}

/** It is in its file, whole. */
function settleAdopted(kernel: Kernel, h: Handle, lsn: number): void {
  h.version = 1;
  h.lastLsn = lsn;
  h.createdAt = kernel.commits;
  h.fresh = false;
  h.whole = false;
  h.adopted = false;
  h.count = 0;
  h.appended = [];
  h.dirty = CLEAN;
  h.fileSize = h.size;
  placeDraft(kernel, h);
  if (h.kind === KIND.shared) settleShared(kernel, h);
}

/** A large transaction leaves large arrays; they are not worth keeping. */
function shrink(h: Handle): void {
  if (h.lines.length <= 4096) return;
  h.lines = new Int32Array(0);
  h.undo = new Int32Array(0);
}

function discard(kernel: Kernel, h: Handle): void {
  kernel.exposed.delete(h);
  h.raw = undefined;
  forgetCounts(h);
  h.judged = undefined;
  h.entered = undefined;
  h.pendingPages = [];
  h.pending = new Uint8Array(0);
  h.count = 0;
  h.appended = [];
  h.adopted = false;
  h.staged = undefined;
  h.fresh = false;
  h.whole = false;
  h.verified = false;
  kernel.unmap(h);
  h.fileSize = 0;
}

// --- abort --------------------------------------------------------------------------------------------------------------------

function abort(kernel: Kernel, again = false): void {
  const { transaction } = kernel;
  if (transaction === undefined) return;
  for (const h of transaction.handles) {
    if (h.state === 'deleting') {
      h.state = 'live';
      h.show();
    }
  }
  for (const h of transaction.handles) {
    if (h.fresh) {
      dropDraft(kernel, h);
      discard(kernel, h);
      // An earlier object of this ID may be deleted, with its file still there.
      if (kernel.checkpointer.awaitsRemoval(h.id)) h.state = 'deleted';
      else {
        h.state = 'void';
        kernel.handles.delete(h.id);
      }
    } else undo(h);
  }
  for (const h of kernel.exposed) restoreRaw(h);
  // Who waits for a part of it waits for the next try.
  if (transaction.outcome !== undefined && !again) transaction.outcome.aborted = true;
  end(kernel, 0, again);
  kernel.aborts++;
}

function restoreRaw(h: Handle): void {
  try {
    h.raw?.restore();
  } catch (cause) {
    // Without the file nobody can say what was there before the raw stores. Opening the space again can.
    h.kernel.log.fail(cause, `the raw stores into object ${h.id} could not be undone`);
  }
}

function undo(h: Handle): void {
  h.turn++;
  if (h.former !== undefined) restoreFormer(h.kernel, h);
  const { words, dirty } = h;
  for (let i = 0; i < h.count; i++) {
    const line = h.lines[i] as number;
    if ((line + 1) * LINE_WORDS <= words.length) words.set(h.undo.subarray(i * LINE_WORDS, (i + 1) * LINE_WORDS), line * LINE_WORDS);
    dirty[line] = 0;
  }
  const { appended } = h;
  for (let i = 0; i < appended.length; i += 2) {
    dirty.fill(0, appended[i], appended[i + 1]);
    words.fill(0, (appended[i] as number) * LINE_WORDS, (appended[i + 1] as number) * LINE_WORDS);
  }
  h.appended = [];
  h.count = 0;
  shrink(h);
  forgetCounts(h);
  // Pages may be free again that were not.
  h.searched = undefined;
  // It may have been migrated.
  h.judged = undefined;
  h.entered = undefined;
  // While it still has the size that raw stores could reach.
  restoreRaw(h);
  const { slot } = h;
  if (slot !== undefined && h.size !== h.sizeBefore) h.place(slot, h.sizeBefore);
}
