/**
 * One region in the thread that serves its faults: what is asked for when a page is touched, and what is shown when it comes.
 *
 * Where a touch follows from none before it, a small window of pages is asked for. The page that was touched is shown; the others are held:
 * at hand, but not shown, so that their first touch is heard of, too. What is not touched tells that windows should be smaller. Where a touch
 * goes on where an earlier window ended, the next window is larger, and all of it is shown but for one page near its end: when that one is
 * touched the window after it is asked for, before anybody waits for it.
 *
 *              first touch        goes on             goes on                 . shown    o held
 *   pages      .ooo               .......o            ...........o...         the o of a window that goes on: the next is asked for
 *
 * Invariants:
 *  1. `asked` and `held` pages together never take more than the budget.
 *  2. A page that somebody waits for is shown or fails by its deadline.
 *  3. What was fetched was touched, shown along with a touched page, is held, or was dropped: the counters add up.
 */
import { PAGE } from '../../abi/format.ts';
import { answered, type PageAnswer, type PageLimits, type PageQuestion, type PageRefusal, type PagedWhat } from '../pages.ts';
import { PAGE_STATE, REGION, type RegionWords } from './userfault-words.ts';

/** Where pages are shown. All under the region's lock. */
export interface FaultMemory {
  /** Shows pages from `page` on, and wakes who waits for them. False where the range is no more. Throws where there is no memory. */
  show(page: number, bytes: Uint8Array): boolean;
  /** The page reads as zeros; wakes who waits for it. */
  zero(page: number): void;
  /** Wakes who waits for the page: it is there. */
  wake(page: number): void;
}

/** Touches that go on one after the other. */
interface Sequence {
  /** Page behind the last window. */
  next: number;
  /** Pages of the last window. */
  size: number;
  /** Pages of all its windows. */
  total: number;
  /** Somebody had to wait for what was asked for ahead. */
  isLate: boolean;
}

/** Pages that were asked for together. */
interface Span {
  readonly sequence: Sequence | undefined;
  /** All of it is shown when it comes, but for the marker. */
  along: boolean;
  /** The page whose touch asks for what comes next; -1 for none. */
  marker: number;
  /** The page of it that was touched last. */
  last: number;
  /** Of a first window that is read in order: pages that were shown along. They count as taken once the marker is touched. */
  rest: number;
}

interface Asked {
  readonly first: number;
  readonly count: number;
  readonly span: Span;
}

interface Held {
  readonly bytes: Uint8Array;
  readonly span: Span;
}

const SEQUENCES = 8;
/** Pages up to which windows double; from there on they grow with the sequence. */
const DOUBLES = 32;
/** Held pages after which the size of first windows is judged anew. */
const JUDGED = 12;
const FIRST_MAX = 16;
/** Judgements after smaller windows that make none larger: what pays at one size may not at the next. */
const CALM = 4;

const { absent, asked, held, shown, failed } = PAGE_STATE;

export class FaultRegion {
  readonly words: RegionWords;
  readonly states: Uint8Array;
  readonly what: PagedWhat;
  readonly #memory: FaultMemory;
  readonly #limits: PageLimits;
  readonly #ask: (question: Omit<PageQuestion, 'number'>) => number;
  readonly #pages: number;
  /** By number of the question. */
  readonly #asked = new Map<number, Asked>();
  #askedPages = 0;
  /** Oldest first. */
  readonly #held = new Map<number, Held>();
  /** Pages that somebody waits for, and until when. */
  readonly #waiting = new Map<number, number>();
  #sequences: Sequence[] = [];
  /**
   * Pages of a first window; how many were held then, and how many of those were touched. Where it is one page nothing is held: the page
   * behind it counts.
   */
  #first: number;
  #offered = 0;
  #taken = 0;
  #calm = 0;
  /** Ranges to prefetch, as [from, to) pages. */
  #wanted: [number, number][] = [];

  constructor(
    words: RegionWords,
    states: Uint8Array,
    what: PagedWhat,
    limits: PageLimits,
    memory: FaultMemory,
    ask: (question: Omit<PageQuestion, 'number'>) => number,
  ) {
    this.words = words;
    this.states = states;
    this.what = what;
    this.#memory = memory;
    this.#limits = limits;
    this.#ask = ask;
    this.#pages = what.size / PAGE;
    this.#first = Math.max(1, Math.min(FIRST_MAX, Math.floor(limits.first / PAGE)));
  }

  // --- what happens -------------------------------------------------------------------------------------------------------------

  /** Somebody touched a page that is not shown, and stands still. */
  fault(page: number, now: number): void {
    const { words, states } = this;
    words.count('faults', 1);
    switch (states[page]) {
      case held:
        this.#take(page, now);
        return;
      case asked:
        this.#wait(page, now);
        this.#late(page);
        return;
      case absent:
        // What is read until the failure is judged is worth nothing: nobody is asked for it, or waited for.
        if (words.failing) this.#locked(() => this.#zero(page));
        else {
          this.#wait(page, now);
          this.#askFor(page, now);
        }
        return;
      default:
        // It has come since.
        this.#memory.wake(page);
    }
  }

  answer(message: PageAnswer, now: number): void {
    const question = this.#asked.get(message.number);
    // Of before a failure.
    if (question === undefined) return;
    this.#asked.delete(message.number);
    this.#askedPages -= question.count;
    const bytes = answered(message, question.count * PAGE);
    if (bytes instanceof Uint8Array) this.#show(question, bytes, now);
    else this.#refused(question, bytes);
    this.#again(now);
  }

  /** Pages whose time is over. */
  expire(now: number): void {
    for (const [page, deadline] of this.#waiting) {
      if (deadline > now) continue;
      this.fail({ name: 'TimedOut', message: `bytes from ${page * PAGE} of object ${this.what.object} did not come in time` });
      return;
    }
  }

  /** When `expire` has something to do, at the earliest. */
  get deadline(): number {
    let earliest = Infinity;
    for (const deadline of this.#waiting.values()) earliest = Math.min(earliest, deadline);
    return earliest;
  }

  prefetch(from: number, to: number, now: number): void {
    this.#wanted.push([Math.max(0, from), Math.min(this.#pages, to)]);
    this.#again(now);
  }

  /** Whoever waits reads zeros, and will be told. What was asked for is forgotten. */
  fail(refusal: PageRefusal): void {
    this.#locked(() => {
      for (const { first, count } of this.#asked.values())
        for (let page = first; page < first + count; page++) if (this.states[page] === asked) this.states[page] = absent;
      this.#asked.clear();
      this.#askedPages = 0;
      this.#wanted = [];
      this.words.fail(refusal.name, refusal.message);
      for (const page of this.#waiting.keys()) this.#zero(page);
      this.#waiting.clear();
    });
  }

  #locked(action: () => void): void {
    const { words } = this;
    words.lock();
    try {
      if (words.state === REGION.open) action();
    } finally {
      words.unlock();
    }
  }

  #zero(page: number): void {
    this.words.count('failures', 1);
    this.states[page] = failed;
    this.#memory.zero(page);
  }

  #wait(page: number, now: number): void {
    if (this.#waiting.has(page)) return;
    const { until } = this.words;
    const deadline = now + this.#limits.faultMs;
    this.#waiting.set(page, until === 0 ? deadline : Math.min(deadline, until));
  }

  #late(page: number): void {
    for (const { first, count, span } of this.#asked.values())
      if (page >= first && page < first + count && span.sequence !== undefined) span.sequence.isLate = true;
  }

  // --- asking -------------------------------------------------------------------------------------------------------------------

  /** Asks for a page that somebody waits for, and for what may be touched next. */
  #askFor(page: number, now: number): void {
    const going = this.#sequences.find(({ next, size }) => page >= next && page <= next + size);
    const wanted = going === undefined ? this.#firstCount() : this.#larger(going);
    const count = this.#room(page, wanted, true);
    // All of the budget is asked for already: when something comes it is tried again.
    if (count === 0) return;
    if (going?.total === 1) this.#taken++;
    const sequence = going ?? { next: 0, size: 0, total: 0, isLate: false };
    if (going === undefined) {
      this.#offered += Math.max(1, count - 1);
      this.#sequences.push(sequence);
      if (this.#sequences.length > SEQUENCES) this.#sequences.shift();
    }
    this.#send(page, count, sequence, going !== undefined, now);
  }

  #send(first: number, count: number, sequence: Sequence | undefined, along: boolean, now: number): void {
    if (sequence !== undefined) {
      sequence.next = first + count;
      sequence.size = count;
      sequence.total += count;
    }
    const isMarked = along && sequence !== undefined && count > 1 && first + count < this.#pages;
    const marker = isMarked ? first + Math.max(1, Math.floor((count * 3) / 4)) : -1;
    for (let page = first; page < first + count; page++) this.states[page] = asked;
    this.#askedPages += count;
    this.words.count('questions', 1);
    const { object, version } = this.what;
    const { until } = this.words;
    const ms = Math.max(1, Math.ceil(until === 0 ? this.#limits.faultMs : Math.min(this.#limits.faultMs, until - now)));
    const number = this.#ask({ object, version, offset: first * PAGE, length: count * PAGE, ms });
    this.#asked.set(number, { first, count, span: { sequence, along, marker, last: first, rest: 0 } });
  }

  /** Pages of a first window. */
  #firstCount(): number {
    if (this.#offered >= JUDGED) {
      const share = this.#taken / this.#offered;
      if (this.#calm > 0) this.#calm--;
      if (share < 0.25 && this.#first > 1) {
        this.#first >>>= 1;
        this.#calm = CALM;
      } else if (share > 0.75 && this.#calm === 0) this.#first = Math.min(FIRST_MAX, this.#first * 2);
      this.#offered = this.#taken = 0;
    }
    return this.#first;
  }

  /** Pages of the next window, where somebody waits for it, or had to wait for the one before. */
  #larger({ size, total }: Sequence): number {
    return Math.min(this.#most, Math.max(Math.min(size * 2, DOUBLES), total >>> 1));
  }

  /** Pages of the next window, where nobody waits yet: half of what was read of the sequence. */
  #half({ total }: Sequence): number {
    return Math.min(this.#most, Math.max(1, total >>> 1));
  }

  get #most(): number {
    return Math.max(1, Math.floor(this.#limits.ahead / PAGE));
  }

  /** How many pages from `first` on can be asked for, up to `wanted`. `needed`: what is held makes room, oldest first. */
  #room(first: number, wanted: number, needed: boolean): number {
    const budget = Math.floor(this.#limits.budget / PAGE);
    let count = 0;
    while (count < wanted && first + count < this.#pages && this.states[first + count] === absent) count++;
    count = Math.min(count, budget);
    const free = (): number => budget - this.#askedPages - this.#held.size;
    if (needed)
      for (const page of this.#held.keys()) {
        if (free() >= count) break;
        this.#drop(page);
      }
    return Math.max(0, Math.min(count, free()));
  }

  #drop(page: number): void {
    this.#held.delete(page);
    this.states[page] = absent;
    this.words.count('held', -PAGE);
    this.words.count('dropped', PAGE);
  }

  /** Something has come, or gone: there may be room for what was not asked for yet. */
  #again(now: number): void {
    for (const page of this.#waiting.keys()) if (this.states[page] === absent) this.#askFor(page, now);
    while (this.#wanted.length > 0) {
      const range = this.#wanted[0] as [number, number];
      let [from] = range;
      while (from < range[1] && this.states[from] !== absent) from++;
      const count = from < range[1] ? this.#room(from, Math.min(range[1] - from, Math.floor(this.#limits.ahead / PAGE)), false) : 0;
      if (from < range[1] && count === 0) return;
      if (count > 0) this.#send(from, count, undefined, true, now);
      if (from + count < range[1]) range[0] = from + count;
      else this.#wanted.shift();
    }
  }

  /** The marker was touched: what comes next is asked for before anybody waits for it, if there is room. */
  #ahead({ sequence }: Span, now: number): void {
    if (sequence === undefined || this.words.failing) return;
    const count = this.#room(sequence.next, sequence.isLate ? this.#larger(sequence) : this.#half(sequence), false);
    sequence.isLate = false;
    if (count > 0) this.#send(sequence.next, count, sequence, true, now);
  }

  // --- showing ------------------------------------------------------------------------------------------------------------------

  /** A touched page that is held. */
  #take(page: number, now: number): void {
    const { bytes, span } = this.#held.get(page) as Held;
    this.words.count('ready', 1);
    this.#unhold(page, bytes, 'touched');
    if (span.marker === page) {
      span.marker = -1;
      if (span.rest > 0) this.#taken += span.rest + 1;
      this.#ahead(span, now);
      return;
    }
    this.#taken++;
    const goesOn = !span.along && page === span.last + 1;
    span.last = page;
    if (!goesOn) return;
    // A first window turns out to be read in order: the rest of it is shown, but for its last page.
    span.along = true;
    let end = page + 1;
    while (this.#held.get(end)?.span === span) end++;
    span.rest = end - page - 2;
    for (let next = page + 1; next < end - 1; next++) this.#unhold(next, this.#held.get(next)?.bytes ?? bytes, 'along');
    if (end - 1 > page) span.marker = end - 1;
  }

  #unhold(page: number, bytes: Uint8Array, as: 'touched' | 'along'): void {
    this.#held.delete(page);
    this.words.count('held', -PAGE);
    this.words.count(as, PAGE);
    this.#put(page, bytes);
  }

  /** Shows pages that have come. */
  #put(page: number, bytes: Uint8Array): void {
    let failure: Error | undefined;
    this.#locked(() => {
      try {
        if (!this.#memory.show(page, bytes)) return;
        this.states.fill(shown, page, page + bytes.length / PAGE);
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
    });
    if (failure === undefined) return;
    // Who waits for one of them must not wait for ever.
    for (let each = page; each < page + bytes.length / PAGE; each++) {
      this.states[each] = absent;
      this.#waiting.set(each, 0);
    }
    this.fail({ name: 'OutOfMemory', message: failure.message });
  }

  #show({ first, count, span }: Asked, bytes: Uint8Array, now: number): void {
    this.words.count('fetched', bytes.length);
    let from = 0;
    let isNext = false;
    const put = (to: number): void => {
      if (to > from) this.#put(first + from, bytes.subarray(from * PAGE, to * PAGE));
    };
    for (let i = 0; i < count; i++) {
      const page = first + i;
      const isAwaited = this.#waiting.delete(page);
      if (isAwaited || (span.along && page !== span.marker)) {
        this.words.count(isAwaited ? 'touched' : 'along', PAGE);
        isNext ||= page === span.marker;
        continue;
      }
      put(i);
      from = i + 1;
      const own = bytes.subarray(i * PAGE, (i + 1) * PAGE);
      // One page is not to keep a whole window in memory.
      this.#held.set(page, { bytes: span.along ? own.slice() : own, span });
      this.states[page] = held;
      this.words.count('held', PAGE);
    }
    put(count);
    if (!isNext) return;
    span.marker = -1;
    this.#ahead(span, now);
  }

  #refused({ first, count }: Asked, refusal: PageRefusal): void {
    let isAwaited = false;
    for (let page = first; page < first + count; page++) {
      this.states[page] = absent;
      isAwaited ||= this.#waiting.has(page);
    }
    // What nobody waits for is asked for again when it is touched.
    if (isAwaited) this.fail(refusal);
  }
}
