/**
 * When what this node showed of its own was not what counts: from a commit that another owner came before, until the family was got anew.
 * What only read something meanwhile may have read what never was.
 */
import type { ObjectId } from '../../abi/id.ts';
import type { Family } from './families.ts';

/** So many such times are remembered, for who asks later. */
const SPANS_MAX = 1000;

interface Span {
  /** LSNs: the first commit that does not count, and what all of it was got anew with. */
  readonly from: number;
  to: number;
  readonly families: Set<Family>;
}

export class Doubts {
  #spans: Span[] = [];

  began(families: readonly Family[], from: number): void {
    this.#spans.push({ from, to: Infinity, families: new Set(families) });
    if (this.#spans.length > SPANS_MAX) this.#spans = this.#spans.slice(-SPANS_MAX / 2);
  }

  /** It is what its log says from `lsn` on; or is not here any more. */
  over(family: Family, lsn: number): void {
    for (const span of this.#spans) if (span.families.delete(family) && span.families.size === 0) span.to = lsn;
  }

  /** `hopeless`: nobody has these any more, so nothing ends it for them. */
  covers(lsn: number, hopeless: ReadonlySet<ObjectId>): boolean {
    return this.#spans.some(({ from, to, families }) => {
      const open = to === Infinity && [...families].every(({ id }) => hopeless.has(id));
      return from <= lsn && lsn < to && !open;
    });
  }
}
