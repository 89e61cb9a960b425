/**
 * Merge code for common data. Each is a plain function that stands alone: its text is what goes to other nodes. All three give the same in
 * whatever order versions meet, and however often.
 */
import type { ObjectId } from '../../abi/id.ts';
import type { Space } from '../../space.ts';
import { codeObject, sourceOf } from './runner.ts';

/** What merges two versions: stores into `mine` what `theirs` has. `base`: the version that both come from, where it is still known. */
export type Merge<T> = (mine: T, theirs: T, base: T | undefined) => void;

/** The code object of a merge function, to be named by progressive objects: `{ kind: 'progressive', merge }`. Throws CodeInvalid. */
export function mergeCode<T>(space: Space, merge: Merge<T>): ObjectId {
  return codeObject(space, sourceOf(merge));
}

interface Counts {
  get(who: string): number | undefined;
  set(who: string, count: number): unknown;
  [Symbol.iterator](): Iterator<readonly [string, number]>;
}

/** A counter: a map from who counts to how much that one has counted, which only grows. The count is the sum of all. */
export function mergeCounts(mine: Counts, theirs: Counts): void {
  for (const [who, count] of theirs) if (count > (mine.get(who) ?? 0)) mine.set(who, count);
}

interface Values {
  add(value: unknown): unknown;
  [Symbol.iterator](): Iterator<unknown>;
}

/** A set that only grows. */
export function mergeSets(mine: Values, theirs: Values): void {
  for (const value of theirs) mine.add(value);
}

interface Stamped {
  readonly when: number;
  readonly by: string;
}

interface Entries {
  get(key: unknown): Stamped | undefined;
  set(key: unknown, entry: Stamped): unknown;
  [Symbol.iterator](): Iterator<readonly [unknown, Stamped]>;
}

/** A map in which the last writer wins: of entries with `when` and `by`. What is deleted is an entry that says so. */
export function mergeLatest(mine: Entries, theirs: Entries): void {
  for (const [key, entry] of theirs) {
    const own = mine.get(key);
    if (own === undefined || entry.when > own.when || (entry.when === own.when && entry.by > own.by)) mine.set(key, entry);
  }
}
