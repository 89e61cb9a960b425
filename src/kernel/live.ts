/**
 * The live file: how the processes and threads that have one space open take turns. Layout in abi/live-format.ts.
 *
 * A lock is a word: 0, or the number of the member that holds it, with a bit for "somebody sleeps". Taking and giving back a free one are
 * one atomic operation each and no system call. Whoever waits long looks whether the holder still lives: a member holds a lock of the
 * operating system on a file of its own, which goes when it dies. Then the one who waits clears up after it (`reap`): its locks are
 * given back, and what it was in the middle of appending to the log is cut off. Its changes were private; there is nothing else of it.
 *
 *   append   held while a commit's frames are appended; by nobody for longer than a write takes
 *   files    held by who writes committed changes to object files, and by who joins
 *   gate     held by who must be alone: transactions do not begin while another holds it
 *   leases   one of 16384 by the object's ID; held by a transaction from its first store to an object to its end
 *
 * A process that has the space for itself does without all of that (`sole`): it looks once a transaction whether somebody knocks, and only
 * then publishes what it knows. So one process alone pays for none of the sharing.
 *
 * Order: files, gate, leases, append. A transaction that holds leases never waits for another one for long: it is undone, and runs again.
 */
import { TwzError, assert, isTwzError } from '../abi/errors.ts';
import { LIVE, LIVE_FORMAT, LIVE_MAGIC, MEMBER, MEMBERS_MAX, STRIPES } from '../abi/live-format.ts';
import type { Bell } from '../host/bell.ts';
import type { File, Host, Lock, Window } from '../host/host.ts';
import type { Slot, Windows } from './windows.ts';

const HOLDER = 0xffff;
const SLEEPERS = 0x10000;
const VACANT = 0;
const LIVING = 1;
/** Looks at a held lock before sleeping. */
const SPINS = 200;
/** Milliseconds between two looks at whether the holder lives. */
const LOOK_MS = 20;

const MEMBER_WORDS = MEMBER.size >> 2;

/** Who had the space for itself died: there is nobody to join, and a log to be recovered. */
export class Deserted extends Error {
  override readonly name = 'Deserted';
}

/** What is left of who died while it appended: the log makes good. */
export interface Mender {
  mend(): void;
}

/** Those of this thread: it cannot wait for itself. */
const here = new Set<Live>();

export class Live {
  readonly #host: Host;
  readonly #directory: string;
  readonly #window: Window;
  readonly #base: number;
  readonly #slot: Slot;
  readonly #windows: Windows;
  readonly #file: File;
  /** Of another thread of this process that has the space open: told sooner than by its sleep. */
  bell: Bell | undefined;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  /** This member, from 0. */
  readonly me: number;
  readonly #mine: number;
  readonly #own: Lock;
  readonly #seen: number;
  readonly #active: number;
  mender: Mender | undefined;
  /** Lets somebody of the same thread in. */
  answer: (() => void) | undefined;
  /** Nobody else has the space open, and whoever comes will wait for this member to say that it knows. */
  sole = false;
  /** Milliseconds to wait for another program before giving up. */
  readonly patience: number;

  /** `first`: nobody else has the space open; the file is made anew. The caller holds the space's lock. */
  constructor(host: Host, directory: string, windows: Windows, first: boolean, patience: number) {
    this.#host = host;
    this.#directory = directory;
    this.#windows = windows;
    this.patience = patience;
    const path = `${directory}/live`;
    const slot = windows.takeOwn(LIVE.size);
    assert(slot !== undefined, 'no slot for the live file');
    this.#slot = slot;
    this.#file = host.open(path, first ? 'create' : 'write');
    let own: Lock | undefined;
    try {
      if (first) {
        host.truncate(this.#file, 0);
        host.truncate(this.#file, LIVE.size);
        host.makeDirectory(`${directory}/members`);
      } else if (host.length(this.#file) < LIVE.size) throw new TwzError('SpaceCorrupt', `${path} is shorter than it must be`, { path });
      slot.window.mapShared(slot.at, LIVE.size, this.#file, 0);
      this.#window = slot.window;
      this.#base = slot.at;
      this.i32 = new Int32Array(slot.window.buffer, slot.at, LIVE.size >> 2);
      this.f64 = new Float64Array(slot.window.buffer, slot.at, LIVE.size >> 3);
      if (first) {
        this.i32[LIVE.magic >> 2] = LIVE_MAGIC;
        this.i32[LIVE.format >> 2] = LIVE_FORMAT;
      } else if (this.i32[LIVE.magic >> 2] !== LIVE_MAGIC || this.i32[LIVE.format >> 2] !== LIVE_FORMAT)
        throw new TwzError('SpaceVersion', `the programs that have ${directory} open are of another version`, { directory });
      if (!first) this.#knock();
      [this.me, own] = this.#claim();
    } catch (error) {
      host.close(this.#file);
      windows.give(slot, true);
      throw error;
    }
    this.#own = own;
    this.#mine = this.me + 1;
    const member = (LIVE.members >> 2) + this.me * MEMBER_WORDS;
    this.#active = member + (MEMBER.active >> 2);
    this.#seen = (LIVE.members + this.me * MEMBER.size + MEMBER.seen) >> 3;
    this.f64[this.#seen] = 0;
    this.f64[this.#seen + 1] = Infinity;
    this.i32[member + (MEMBER.pid >> 2)] = host.pid;
    this.i32[member + (MEMBER.active >> 2)] = 0;
    this.i32[member + (MEMBER.epoch >> 2)] = -1;
    if (this.me >= Atomics.load(this.i32, LIVE.top >> 2)) Atomics.store(this.i32, LIVE.top >> 2, this.me + 1);
    Atomics.store(this.i32, member, LIVING);
    this.#noted();
    here.add(this);
    if (!first) return;
    this.sole = true;
    Atomics.store(this.i32, LIVE.sole >> 2, this.#mine);
  }

  /** Waits until who has the space for itself has published what it knows. Throws SpaceDeserted where it died. */
  #knock(): void {
    const word = LIVE.sole >> 2;
    const end = this.#host.now() + this.patience;
    for (;;) {
      const sole = Atomics.load(this.i32, word);
      if (sole === 0) return;
      Atomics.store(this.i32, LIVE.knock >> 2, 1);
      for (const other of here) if (other.sole && other.knocked) other.answer?.();
      if (Atomics.load(this.i32, word) === 0) return;
      this.#window.sleep(this.#base + LIVE.sole, sole, LOOK_MS);
      if (Atomics.load(this.i32, word) !== sole) continue;
      if (this.#dead(sole - 1)) throw new Deserted();
      if (this.#host.now() > end) throw this.late(sole - 1, 'has the space for itself');
    }
  }

  #dead(member: number): boolean {
    try {
      this.#host.lock(this.#path(member)).release();
      return true;
    } catch (error) {
      if (isTwzError(error, 'SpaceBusy')) return false;
      throw error;
    }
  }

  get knocked(): boolean {
    return Atomics.load(this.i32, LIVE.knock >> 2) !== 0;
  }

  /** Everything is published: whoever knocked may come in. */
  welcome(): void {
    this.sole = false;
    Atomics.store(this.i32, LIVE.knock >> 2, 0);
    Atomics.store(this.i32, LIVE.sole >> 2, 0);
    this.#window.wake(this.#base + LIVE.sole, 1 << 30);
  }

  /** From now on this member has the space for itself. The caller holds the space's lock, and has seen that it is alone. */
  withdraw(): void {
    Atomics.store(this.i32, LIVE.sole >> 2, this.#mine);
    this.sole = true;
  }

  #path(member: number): string {
    return `${this.#directory}/members/${member}`;
  }

  /** A place that nobody has, or whose holder died. */
  #claim(): [number, Lock] {
    for (let member = 0; member < MEMBERS_MAX; member++) {
      if (this.#state(member) === LIVING && !this.reap(member)) continue;
      try {
        return [member, this.#host.lock(this.#path(member))];
      } catch (error) {
        // Whoever had it is just leaving, or is being cleared up after.
        if (!isTwzError(error, 'SpaceBusy')) throw error;
      }
    }
    throw new TwzError('SpaceBusy', `${MEMBERS_MAX} programs have the space open`, { members: MEMBERS_MAX });
  }

  #state(member: number): number {
    return Atomics.load(this.i32, (LIVE.members >> 2) + member * MEMBER_WORDS);
  }

  #noted(): void {
    Atomics.add(this.i32, LIVE.epoch >> 2, 1);
    this.announce();
  }

  /** Makes all look for news. */
  announce(): void {
    Atomics.add(this.i32, LIVE.commits >> 2, 1);
    this.rouse();
  }

  /** After `commits` was raised: wakes who sleeps until then. */
  rouse(): void {
    this.bell?.ring();
    const watched = LIVE.watched >> 2;
    if (Atomics.load(this.i32, watched) !== 0 && Atomics.exchange(this.i32, watched, 0) !== 0)
      this.#window.wake(this.#base + LIVE.commits, 1 << 30);
  }

  // --- the others -----------------------------------------------------------------------------------------------------------------

  /** Numbers of the other members. */
  *others(): Generator<number> {
    const top = Atomics.load(this.i32, LIVE.top >> 2);
    for (let member = 0; member < top; member++) if (member !== this.me && this.#state(member) === LIVING) yield member;
  }

  get alone(): boolean {
    for (const _ of this.others()) return false;
    return true;
  }

  pid(member: number): number {
    return this.i32[(LIVE.members >> 2) + member * MEMBER_WORDS + (MEMBER.pid >> 2)] as number;
  }

  /** The others, for people to read. */
  describe(): { pid: number; behind: number }[] {
    if (this.sole) return [];
    const end = this.f64[LIVE.end >> 3] as number;
    return [...this.others()].map((member) => ({
      pid: this.pid(member),
      behind: Math.max(0, end - (this.f64[this.#seenAt(member)] as number)),
    }));
  }

  #seenAt(member: number): number {
    return (LIVE.members + member * MEMBER.size + MEMBER.seen) >> 3;
  }

  /** This member's images show the log up to `lsn`. */
  saw(lsn: number): void {
    this.f64[this.#seen] = lsn;
  }

  /** None of this member's writes to the log below `lsn` is under way. */
  writes(lsn: number): void {
    this.f64[this.#seen + 1] = lsn;
  }

  /** Takes note of who is there: from now on others may write to files that this member's images show. */
  acknowledge(): void {
    const epoch = Atomics.load(this.i32, LIVE.epoch >> 2);
    Atomics.store(this.i32, (LIVE.members >> 2) + this.me * MEMBER_WORDS + (MEMBER.epoch >> 2), epoch);
  }

  get epoch(): number {
    return Atomics.load(this.i32, LIVE.epoch >> 2);
  }

  get news(): boolean {
    const own = (LIVE.members >> 2) + this.me * MEMBER_WORDS + (MEMBER.epoch >> 2);
    return this.i32[own] !== Atomics.load(this.i32, LIVE.epoch >> 2);
  }

  /** The other that is furthest behind, and what it has seen; those that have not taken note of the latest member have seen nothing. */
  hindmost(): { readonly member: number; readonly seen: number } {
    const epoch = Atomics.load(this.i32, LIVE.epoch >> 2);
    let hindmost = { member: -1, seen: Infinity };
    for (const member of this.others()) {
      const noted = Atomics.load(this.i32, (LIVE.members >> 2) + member * MEMBER_WORDS + (MEMBER.epoch >> 2)) === epoch;
      const seen = noted ? (this.f64[this.#seenAt(member)] as number) : -1;
      if (seen < hindmost.seen) hindmost = { member, seen };
    }
    return hindmost;
  }

  /** The lowest LSN that some other member may still be writing the log at. */
  writtenBelow(): number {
    let lowest = Infinity;
    for (const member of this.others()) lowest = Math.min(lowest, this.f64[this.#seenAt(member) + 1] as number);
    return lowest;
  }

  /** Clears up after a member that died. False where it lives. */
  reap(member: number): boolean {
    let lock: Lock;
    try {
      lock = this.#host.lock(this.#path(member));
    } catch (error) {
      if (isTwzError(error, 'SpaceBusy')) return false;
      throw error;
    }
    try {
      if (this.#state(member) !== LIVING) return true;
      const { i32, f64 } = this;
      const dead = member + 1;
      const holds = (word: number): boolean => (Atomics.load(i32, word) & HOLDER) === dead;
      if (holds(LIVE.append >> 2)) {
        this.mender?.mend();
        this.#give(LIVE.append >> 2);
      }
      const end = f64[LIVE.end >> 3] as number;
      for (let stripe = 0; stripe < STRIPES; stripe++) {
        if (!holds((LIVE.owners >> 2) + stripe)) continue;
        // Its commit may be in the log already.
        f64[(LIVE.lasts >> 3) + stripe] = end;
        this.#give((LIVE.owners >> 2) + stripe);
      }
      if (holds(LIVE.gate >> 2)) this.#give(LIVE.gate >> 2);
      if (holds(LIVE.files >> 2)) {
        Atomics.store(i32, LIVE.inherited >> 2, 1);
        this.#give(LIVE.files >> 2);
      }
      Atomics.store(i32, (LIVE.members >> 2) + member * MEMBER_WORDS, VACANT);
      this.#noted();
      return true;
    } finally {
      lock.release();
    }
  }

  // --- locks ----------------------------------------------------------------------------------------------------------------------

  /** Takes the lock at a word. Throws LeaseTimeout where its holder keeps it too long. */
  take(word: number): void {
    if (Atomics.compareExchange(this.i32, word, 0, this.#mine) !== 0) this.#wait(word, this.patience, () => false);
  }

  tryTake(word: number): boolean {
    const held = Atomics.compareExchange(this.i32, word, 0, this.#mine);
    if (held === 0) return true;
    const holder = (held & HOLDER) - 1;
    return holder !== this.me && this.reap(holder) && Atomics.compareExchange(this.i32, word, 0, this.#mine) === 0;
  }

  give(word: number): void {
    this.#give(word);
  }

  #give(word: number): void {
    if ((Atomics.exchange(this.i32, word, 0) & SLEEPERS) !== 0) this.#window.wake(this.#base + word * 4, 1 << 30);
  }

  /** False where `leave` says that waiting is of no use. */
  #wait(word: number, patience: number, leave: () => boolean, take = true): boolean {
    const { i32 } = this;
    const mine = take ? this.#mine : 0;
    for (let spins = 0; spins < SPINS; spins++) {
      if (Atomics.load(i32, word) !== 0) continue;
      if (!take || Atomics.compareExchange(i32, word, 0, mine) === 0) return true;
    }
    const end = this.#host.now() + patience;
    for (;;) {
      const held = Atomics.load(i32, word);
      if (held === 0) {
        // Others may sleep: whoever gives it back will wake them.
        if (!take || Atomics.compareExchange(i32, word, 0, mine | SLEEPERS) === 0) return true;
        continue;
      }
      if (leave()) return false;
      const holder = (held & HOLDER) - 1;
      const left = end - this.#host.now();
      if (left <= 0) throw this.late(holder, 'holds a lock');
      if ((held & SLEEPERS) === 0 && Atomics.compareExchange(i32, word, held, held | SLEEPERS) !== held) continue;
      this.#window.sleep(this.#base + word * 4, held | SLEEPERS, Math.min(left, LOOK_MS));
      if (Atomics.load(i32, word) === (held | SLEEPERS) && holder !== this.me) this.reap(holder);
    }
  }

  /** That other program lives, and does not go on. */
  late(member: number, what: string): TwzError {
    const pid = this.pid(member);
    return new TwzError('LeaseTimeout', `process ${pid} ${what}, and did not go on within ${this.patience} ms`, { pid });
  }

  // --- transactions ---------------------------------------------------------------------------------------------------------------

  /** Begins a transaction of this member: waits while another runs alone. */
  enter(): void {
    if (this.sole) return;
    const gate = LIVE.gate >> 2;
    for (;;) {
      Atomics.store(this.i32, this.#active, 1);
      const held = Atomics.load(this.i32, gate);
      if (held === 0 || (held & HOLDER) === this.#mine) return;
      Atomics.store(this.i32, this.#active, 0);
      this.#wait(gate, this.patience, () => false, false);
    }
  }

  leave(): void {
    if (this.sole) return;
    Atomics.store(this.i32, this.#active, 0);
  }

  /** Keeps all others from beginning transactions, and waits for those that run. Throws LeaseTimeout, and then nothing is held. */
  shut(patience = this.patience): void {
    if (this.sole) return;
    const gate = LIVE.gate >> 2;
    if (Atomics.compareExchange(this.i32, gate, 0, this.#mine) !== 0) this.#wait(gate, patience, () => false);
    const end = this.#host.now() + patience;
    try {
      for (const member of this.others()) {
        const active = (LIVE.members >> 2) + member * MEMBER_WORDS + (MEMBER.active >> 2);
        for (let spins = 0; Atomics.load(this.i32, active) !== 0 && this.#state(member) === LIVING; spins++) {
          if (spins < SPINS) continue;
          this.#window.sleep(this.#base + active * 4, 1, 1);
          if (spins % 16 === 0 && this.reap(member)) break;
          if (this.#host.now() > end) throw this.late(member, 'runs a transaction');
        }
      }
    } catch (error) {
      this.#give(gate);
      throw error;
    }
  }

  open(): void {
    if (!this.sole) this.#give(LIVE.gate >> 2);
  }

  get gated(): boolean {
    const held = Atomics.load(this.i32, LIVE.gate >> 2) & HOLDER;
    return held !== 0 && held !== this.#mine;
  }

  // --- leases ---------------------------------------------------------------------------------------------------------------------

  /** Takes the lease if nobody has it: 'taken', or 'held' where this member has it already. */
  lease(stripe: number): 'taken' | 'held' | 'busy' {
    if (this.sole) return 'held';
    const held = Atomics.compareExchange(this.i32, (LIVE.owners >> 2) + stripe, 0, this.#mine);
    return held === 0 ? 'taken' : (held & HOLDER) === this.#mine ? 'held' : 'busy';
  }

  /** Waits for a lease as long as it takes. False where somebody wants to be alone meanwhile. */
  awaitLease(stripe: number): boolean {
    return this.#wait((LIVE.owners >> 2) + stripe, this.patience, () => this.gated);
  }

  /** Looks at a lease for some microseconds. */
  spinForLease(stripe: number): boolean {
    const word = (LIVE.owners >> 2) + stripe;
    for (let spins = 0; spins < SPINS; spins++) if (Atomics.compareExchange(this.i32, word, 0, this.#mine) === 0) return true;
    return false;
  }

  /** LSN behind the last commit that changed an object of this lease. */
  lastChange(stripe: number): number {
    return this.f64[(LIVE.lasts >> 3) + stripe] as number;
  }

  changed(stripe: number, lsn: number): void {
    this.f64[(LIVE.lasts >> 3) + stripe] = lsn;
  }

  giveLease(stripe: number, lsn: number): void {
    if (lsn > 0) this.f64[(LIVE.lasts >> 3) + stripe] = lsn;
    this.#give((LIVE.owners >> 2) + stripe);
  }

  // --- end ------------------------------------------------------------------------------------------------------------------------

  /** Leaves the space. */
  close(): void {
    here.delete(this);
    for (const word of [LIVE.append >> 2, LIVE.gate >> 2, LIVE.files >> 2])
      if ((Atomics.load(this.i32, word) & HOLDER) === this.#mine) this.#give(word);
    // `sole` stays as it is: whoever knocks finds that nobody answers, and recovers the log.
    Atomics.store(this.i32, (LIVE.members >> 2) + this.me * MEMBER_WORDS, VACANT);
    this.#noted();
    this.#own.release();
    this.#host.close(this.#file);
    this.#windows.give(this.#slot, true);
  }
}
