/**
 * Opening and leaving a space: who is first recovers it, who comes later joins, who is last clears up.
 *
 *   lock     held exclusively while somebody opens or leaves; for good by who wants nobody beside it
 *   users    held together by all who have the space open; the operating system lets go of it when they die
 *
 * Whoever gets `users` for itself is alone: nobody has the space open, whatever the live file says, and the log's tail is recovered.
 */
import { TwzError, isTwzError } from '../abi/errors.ts';
import { LIVE } from '../abi/live-format.ts';
import type { Lock } from '../host/host.ts';
import { readControl, type Control } from './control.ts';
import type { Kernel } from './kernel.ts';
import { Deserted, Live } from './live.ts';
import { Log } from './log.ts';
import type { Handle } from './object.ts';
import { prepare, recover, sparesFor, type Recovered, type Recovery } from './recovery.ts';

export interface Door {
  /** The space is open here: others may come. */
  ajar(): void;
  /** Keeps others from coming and going until `close`. True where nobody else is in. */
  narrow(): boolean;
  close(): void;
}

export interface Opened {
  readonly door: Door;
  readonly live: Live | undefined;
  readonly control: Control;
  readonly log: Log;
  readonly recovery: Recovery;
  /** LSN that the object files show. */
  readonly from: number;
  /** Checksum of the frame that ends there. */
  readonly chain: number;
  /** Objects whose files do not have what the log has. */
  readonly changed: readonly Handle[];
  readonly removed: readonly Handle[];
}

const PAUSE_MS = 1;
const pauseWord = new Int32Array(new SharedArrayBuffer(4));

/**
 * Takes the lock file, waiting for those who hold it for a moment. Who leaves lets in whoever knocks meanwhile: that one holds it. Throws
 * SpaceBusy.
 */
function patiently(kernel: Kernel, path: string, meanwhile = (): void => undefined): Lock {
  const { host, options } = kernel;
  const end = host.now() + options.patience;
  for (;;) {
    try {
      return host.lock(path);
    } catch (error) {
      if (!isTwzError(error, 'SpaceBusy') || !host.sharing || host.now() > end) throw error;
      meanwhile();
      Atomics.wait(pauseWord, 0, 0, PAUSE_MS);
    }
  }
}

function busy(directory: string): TwzError {
  return new TwzError('SpaceBusy', `${directory} is open elsewhere, and nobody else may have it open for this`, { directory });
}

/** Throws SpaceMissing, SpaceBusy, SpaceCorrupt, SpaceVersion, LogCorrupt and the like. */
export function openSpace(kernel: Kernel): Opened {
  const { host, directory, options } = kernel;
  const made = prepare(kernel);
  const locks: Lock[] = [patiently(kernel, `${directory}/lock`)];
  let live: Live | undefined;
  try {
    if (!host.sharing) return { ...recover(kernel, made, undefined), door: closedDoor(locks), live };
    let users = alone(kernel);
    if (users === undefined) {
      if (options.exclusive) throw busy(directory);
      const beside = host.lockShared(`${directory}/users`);
      try {
        live = new Live(host, directory, kernel.windows, false, options.patience);
        locks.push(beside);
        return { ...join(kernel, live), door: openDoor(kernel, locks, live, true), live };
      } catch (error) {
        if (live !== undefined) throw error;
        beside.release();
        if (!(error instanceof Deserted)) throw error;
      }
      // Whoever was there died meanwhile.
      users = patiently(kernel, `${directory}/users`);
    }
    const first = users;
    locks.push(first);
    if (options.exclusive) return { ...recover(kernel, made, undefined), door: closedDoor(locks), live };
    live = new Live(host, directory, kernel.windows, true, options.patience);
    const recovered = recover(kernel, made, live);
    live.f64[LIVE.checkpoint >> 3] = recovered.control.lsn;
    return { ...recovered, door: openDoor(kernel, locks, live, false, () => first.share()), live };
  } catch (error) {
    live?.close();
    kernel.windows.close();
    for (const lock of locks) lock.release();
    throw error;
  }
}

/** The lock of all users, if there are none. */
function alone({ host, directory }: Kernel): Lock | undefined {
  try {
    return host.lock(`${directory}/users`);
  } catch (error) {
    if (isTwzError(error, 'SpaceBusy')) return undefined;
    throw error;
  }
}

/** Others have the space open: what the log has is followed, not recovered. No checkpoint ends until the door is ajar. */
function join(kernel: Kernel, live: Live): Recovered {
  const { host, directory, options } = kernel;
  live.take(LIVE.files >> 2);
  const control = readControl(host, `${directory}/space.twz`);
  const at = { lsn: control.lsn, chain: control.chain };
  const spares = sparesFor(options.checkpointBytes, control.segmentSize);
  const log = new Log(host, `${directory}/log`, control.space, control.segmentSize, spares, kernel.windows, at, control.lsn, live);
  try {
    log.join();
  } catch (error) {
    log.close(false);
    throw error;
  }
  const recovery = { bytes: 0, transactions: 0, objects: 0, ms: 0, missing: [] };
  return { control, log, recovery, from: control.lsn, chain: control.chain, changed: [], removed: [] };
}

/** For who has the space alone, as long as it is open. */
function closedDoor(locks: Lock[]): Door {
  return {
    ajar: () => undefined,
    narrow: () => true,
    close: () => {
      for (const lock of locks.splice(0)) lock.release();
    },
  };
}

/** `joined`: the files are held. `welcome` lets others have the space open, too. */
function openDoor(kernel: Kernel, locks: Lock[], live: Live, joined: boolean, welcome = (): void => undefined): Door {
  return {
    ajar: () => {
      if (joined) live.give(LIVE.files >> 2);
      joined = false;
      welcome();
      locks.shift()?.release();
    },
    narrow: () => {
      locks.unshift(patiently(kernel, `${kernel.directory}/lock`, () => kernel.admit()));
      for (const member of live.others()) live.reap(member);
      return live.alone;
    },
    close: () => {
      for (const lock of locks.splice(0)) lock.release();
    },
  };
}
