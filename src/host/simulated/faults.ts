/** Faults on demand: which call fails, and how. */
import type { ErrorName } from '../../abi/errors.ts';

export type CallKind =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'preallocate'
  | 'makeDirectory'
  | 'list'
  | 'rename'
  | 'remove'
  | 'syncDirectory'
  | 'syncAll'
  | 'lock'
  | 'map'
  | 'openWindow';

/** What the real calls can fail with. */
export const CALL_ERRORS: Readonly<Record<CallKind, readonly ErrorName[]>> = {
  open: ['TooManyFiles', 'IoError', 'DiskFull'],
  read: ['IoError'],
  write: ['DiskFull', 'IoError'],
  sync: ['IoError'],
  truncate: ['DiskFull', 'IoError'],
  preallocate: ['DiskFull', 'IoError'],
  makeDirectory: ['DiskFull', 'IoError'],
  list: ['TooManyFiles', 'IoError'],
  rename: ['DiskFull', 'IoError'],
  remove: ['IoError'],
  syncDirectory: ['TooManyFiles', 'IoError'],
  syncAll: ['TooManyFiles', 'IoError'],
  lock: ['TooManyFiles', 'IoError'],
  map: ['OutOfMemory'],
  openWindow: ['OutOfMemory'],
};

/** How a call fails: with that error; `interrupted` and `short` are dealt with inside the host, as a real one does. */
export type FaultKind = ErrorName | 'interrupted' | 'short';

export interface Fault {
  /** Calls of which kinds; left out, all calls count. */
  readonly kinds?: readonly CallKind[];
  /** Which of them fails first, from 0. */
  readonly at: number;
  /** How many in a row fail, this one included (default 1). */
  readonly times?: number;
  /** How; or what decides it, where several kinds count. */
  readonly fault: FaultKind | ((kind: CallKind) => FaultKind | undefined);
}

export class FaultPlan {
  readonly #faults: { readonly fault: Fault; seen: number }[];
  /** Faults that have happened. */
  happened = 0;

  constructor(faults: readonly Fault[]) {
    this.#faults = faults.map((fault) => ({ fault, seen: 0 }));
  }

  /** What is to happen to this call. */
  next(kind: CallKind): FaultKind | undefined {
    let found: FaultKind | undefined;
    for (const entry of this.#faults) {
      const { kinds, at, times = 1, fault } = entry.fault;
      if (kinds !== undefined && !kinds.includes(kind)) continue;
      const index = entry.seen++;
      if (index >= at && index < at + times) found = typeof fault === 'function' ? fault(kind) : fault;
    }
    if (found !== undefined) this.happened++;
    return found;
  }
}
