/** What all collections use beside their own code. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { isAccessor, unfit } from '../runtime.ts';
import { poolObjects } from './pool.ts';

/** What a collection takes up. */
export interface CollectionUsage {
  /** Objects that hold it, the one with its header included. */
  readonly objects: number;
  /** Blocks in use. */
  readonly blocks: number;
  /** Bytes of those objects that hold nothing else. */
  readonly bytes: number;
}

export function usageOf(home: ObjectHandle, pool: number): CollectionUsage {
  let objects = 0;
  let blocks = 0;
  let bytes = 0;
  for (const each of poolObjects(home, pool)) {
    objects++;
    blocks += each.blocks;
    if (each.handle.cold) each.handle.warm();
    if (each.handle !== home) bytes += each.handle.size;
  }
  return { objects, blocks, bytes };
}

/** An access outside an object is damage; other errors are what they are. */
export function damaged(h: ObjectHandle, at: number, error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return new TwzError(
    'PointerCorrupt',
    `object ${h.id} at offset ${at}: the collection leads outside its objects`,
    { id: h.id, at },
    error,
  );
}

/** Content for a collection: anything that can be iterated; of pairs for a map. */
export function refuseContent(content: unknown, kind: string, pairs: boolean): Iterable<unknown> {
  if (typeof content === 'object' && content !== null && Symbol.iterator in content) return content as Iterable<unknown>;
  return unfit(`a ${kind}`, content, pairs ? 'an iterable of [key, value]' : 'an iterable of elements');
}

type Check = (value: never, h: ObjectHandle) => unknown;

/** Content for a map, read and checked. Another collection's is what it is. */
export function checkPairs(
  kind: string,
  encode: (key: never, h: ObjectHandle) => void,
  check: () => Check,
): (content: unknown, h: ObjectHandle) => unknown {
  return (content, h) => {
    if (isAccessor(content)) return content;
    const checked = check();
    return Array.from(refuseContent(content, kind, true) as Iterable<readonly [never, never]>, ([key, value]) => {
      encode(key, h);
      return [key, checked(value, h)] as const;
    });
  };
}

/** The same for a sequence. */
export function checkElements(kind: string, check: () => Check): (content: unknown, h: ObjectHandle) => unknown {
  return (content, h) => {
    if (isAccessor(content)) return content;
    const checked = check();
    return Array.from(refuseContent(content, kind, false) as Iterable<never>, (value) => checked(value, h));
  };
}

const SHOWN = 100;

/** What console.log shows: up to a hundred elements. */
export function inspectEntries(
  kind: string,
  size: number,
  entries: Iterable<unknown>,
  pairs: boolean,
  depth: number,
  options: object,
  inspect: (value: unknown, options: object) => string,
): string {
  if (depth < 0) return `[${kind}(${size})]`;
  const shown: unknown[] = [];
  for (const entry of entries) {
    if (shown.length === SHOWN) break;
    shown.push(entry);
  }
  const more = size > shown.length ? `, … ${size - shown.length} more` : '';
  const nested = { ...options, depth: depth - 1 };
  const text = shown.map((entry) =>
    pairs && Array.isArray(entry) ? `${inspect(entry[0], nested)} => ${inspect(entry[1], nested)}` : inspect(entry, nested),
  );
  return `${kind}(${size}) ${pairs ? '{' : '['} ${text.join(', ')}${more} ${pairs ? '}' : ']'}`;
}
