/** New content in the place of the old: all of it, or nothing has changed. */
import type { ObjectHandle } from '../../abi/handle.ts';
import { isAccessor } from '../runtime.ts';
import { forgetMembers } from './pool.ts';

interface Replaceable {
  clear(): void;
}

/** Is it the collection itself, or another accessor of it? */
export function isSelf(content: unknown, h: ObjectHandle, o: number): boolean {
  return isAccessor(content) && content.$h === h && content.$o === o;
}

/**
 * Fills a collection that may hold something: behind a header elsewhere, which then takes the place of the one at `o`. So what is put in may
 * come from the old content. `counters`: where in the header changes are counted, which those who walk through it look at.
 */
export function replaceContent<C extends Replaceable>(
  h: ObjectHandle,
  o: number,
  headerSize: number,
  counters: readonly number[],
  isEmpty: boolean,
  at: (place: number) => C,
  fill: (into: C) => void,
): void {
  if (isEmpty) {
    const old = at(o);
    try {
      fill(old);
    } catch (error) {
      old.clear();
      throw error;
    }
    return;
  }
  const aside = h.allocate(headerSize);
  const fresh = at(aside);
  try {
    fill(fresh);
  } catch (error) {
    fresh.clear();
    h.release(aside);
    throw error;
  }
  const changes = counters.map((counter) => h.dv.getUint32(o + counter, true));
  const header = h.u8.slice(o, o + headerSize);
  h.markRange(o, headerSize);
  h.markRange(aside, headerSize);
  h.u8.copyWithin(o, aside, aside + headerSize);
  h.u8.set(header, aside);
  for (const [i, counter] of counters.entries()) h.dv.setUint32(o + counter, ((changes[i] as number) + 1) >>> 0, true);
  forgetMembers();
  fresh.clear();
  h.release(aside);
}
