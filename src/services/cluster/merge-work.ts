/** What it takes to merge two versions, wherever that is done. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';

/** What a merge depends on: the code's text, and versions as sections. */
export interface MergeWork {
  readonly id: ObjectId;
  readonly source: string;
  readonly mine: Uint8Array;
  readonly theirs: Uint8Array;
  readonly base: Uint8Array | undefined;
}

/** Gives the merged version, within so many milliseconds. Throws MergeFailed. */
export type Merger = (work: MergeWork, ms: number) => Promise<Uint8Array>;

export function mergeFailed(id: ObjectId, cause: unknown): TwzError {
  const name = property(cause, 'name') ?? 'Error';
  const message = property(cause, 'message') ?? String(cause);
  return new TwzError('MergeFailed', `object ${id}: its versions were not merged: ${name}: ${message}`, { id, error: name }, cause);
}

/** What comes out of another realm is no `Error` of this one. */
function property(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, name);
  return typeof found === 'string' ? found : undefined;
}
