/**
 * The control object of a thread: a shared object that stands for it, whoever looks at it, from whichever process. How it runs and how it
 * ended are words in it, so waiting for a thread is `threadSync`.
 *
 *   status     low 8 bits: 0 running, 1 sleeping, 2 suspended, 255 exited; above them the number of restarts
 *   reason     with `turn` and `code` one word: how it ended. 0 while it has not. Set once, by one compare-and-exchange
 *   self       who must live for the thread to live: who starts it, until it is there itself
 *   request    bits: what others want of it
 *   signals    bits: the signals posted and not taken
 *
 * Invariants:
 * 1. Whoever finds that `self` has ended while `reason` is 0 sets `reason`; whoever finds `reason` set and the status another than exited
 *    completes it. So a thread has ended as soon as anybody looks, and nobody's death leaves the word half told.
 * 2. The words of one turn (restart) are never changed by who looked at the one before: `turn` in the word of the reason and the number above
 *    the status are compared with them.
 * 3. What is said about an error is stored before `reason` says that there is one, by the thread itself or by who started it.
 */
import { checkWord, type SyncWords } from '../../abi/sync.ts';
import type { Host, Window } from '../../host/host.ts';
import { Region } from '../../host/futex.ts';
import { oneOf, text, u32, u8, i16 } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';

/** What a control object holds. Read it as it is; change it by the methods of `Thread`. */
export const ThreadRepr = struct('ThreadRepr', {
  /** Of this layout: 1. */
  version: u32,
  /** 1 process, 2 supervised. */
  flags: u32,
  /** Low 8 bits: 0 running, 1 sleeping, 2 suspended, 255 exited; above them how often it was restarted. */
  status: u32,
  /** How it ended. */
  reason: oneOf('runs', 'returned', 'failed', 'exited', 'killed'),
  turn: u8,
  code: i16,
  /** Who must live for the thread to live; of `Threads`, as locks name their holders. */
  self: u32,
  /** Who started it. */
  parent: u32,
  pid: u32,
  /** In this space, from 1. */
  number: u32,
  request: u32,
  signals: u32,
  /** How often its main function was begun, and how often it ended. */
  started: u32,
  ended: u32,
  /** Offsets: the mailbox, and the text of an error. */
  mailbox: u32,
  errorAt: u32,
  /** What happens when who started it ends: 0 it goes on, 1 it is asked to stop, 2 it ends. */
  orphan: oneOf('stay', 'stop', 'end'),
  name: text,
  module: text,
});
export type ThreadRepr = Infer<typeof ThreadRepr>;

export const REPR_VERSION = 1;
export const FLAG = { process: 1, supervised: 2 } as const;
export const STATUS = { running: 0, sleeping: 1, suspended: 2, exited: 255 } as const;
export type ThreadStatus = keyof typeof STATUS;
/** `last`: a supervised thread that has ended is not started again. */
export const REQUEST = { stop: 1, suspend: 2, kill: 4, last: 8 } as const;
export const REASON = { returned: 1, failed: 2, exited: 3, killed: 4 } as const;
export type ThreadReason = keyof typeof REASON;
/** The code of who died and could not say how. */
export const CODE_UNKNOWN = -1;
export const CODE_MAX = 32767;
/** Bytes for the text of an error: its length, and name, message and stack with zeros between. */
export const ERROR_BYTES = 1024;

/** How long who started a thread has to say how it died, in milliseconds. */
const MOMENT_MS = 200;

const STATE = 0xff;
const TURN_SHIFT = 8;

function offsetOf(name: string): number {
  const field = ThreadRepr.layout.fields.find((each) => each.name === name);
  return field?.offset ?? 0;
}

const AT = Object.fromEntries(
  (['status', 'reason', 'self', 'parent', 'pid', 'request', 'signals', 'started', 'ended', 'mailbox', 'errorAt'] as const).map(
    (name) => [name, offsetOf(name) >>> 2] as const,
  ),
) as Readonly<
  Record<'status' | 'reason' | 'self' | 'parent' | 'pid' | 'request' | 'signals' | 'started' | 'ended' | 'mailbox' | 'errorAt', number>
>;
export type ThreadWord = keyof typeof AT;

export interface ThreadError {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A control object's words. */
export class Control {
  readonly words: SyncWords;
  readonly #base: number;
  #dead: { readonly turn: number; readonly since: number } | undefined;

  /** `root`: where the struct lies, in bytes. */
  constructor(words: SyncWords, root: number) {
    this.words = words;
    this.#base = root >>> 2;
  }

  index(word: ThreadWord): number {
    return this.#base + AT[word];
  }

  /** The words, or StaleReference where they are gone. */
  get #live(): Int32Array {
    const { i32 } = this.words;
    if (i32.length === 0) checkWord(this.words, this.#base);
    return i32;
  }

  get(word: ThreadWord): number {
    return Atomics.load(this.#live, this.index(word));
  }

  set(word: ThreadWord, value: number): void {
    Atomics.store(this.#live, this.index(word), value);
  }

  #swap(word: ThreadWord, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#live, this.index(word), from, to) === from;
  }

  /** Who must live for it to live: `from` no more, `to` from now on. */
  handOver(from: number, to: number): void {
    this.#swap('self', from, to);
  }

  add(word: 'started', amount: number): void {
    Atomics.add(this.#live, this.index(word), amount);
  }

  /** Sets bits; `wake` who sleeps on the word. */
  raise(word: 'request' | 'signals', bits: number): void {
    Atomics.or(this.#live, this.index(word), bits);
    this.words.wake(this.index(word));
  }

  /** The signals posted and not taken, as bits; none are left. */
  takeSignals(): number {
    return Atomics.exchange(this.#live, this.index('signals'), 0) >>> 0;
  }

  /** The words are not there any more: the space was closed, or the object deleted. */
  get gone(): boolean {
    return this.words.i32.length === 0;
  }

  // --- status -------------------------------------------------------------------------------------------------------------

  get state(): number {
    return this.get('status') & STATE;
  }

  get turn(): number {
    return this.get('status') >>> TURN_SHIFT;
  }

  /** The value that the status has once this turn has ended. */
  exitValue(turn: number = this.turn): number {
    return ((turn << TURN_SHIFT) | STATUS.exited) >>> 0;
  }

  /** From one of `from` to another state, and wakes who waits for it. False where it is in none of them. */
  move(from: readonly ThreadStatus[], to: ThreadStatus): boolean {
    for (;;) {
      const now = this.get('status');
      if (!from.some((each) => STATUS[each] === (now & STATE))) return false;
      if (!this.#swap('status', now, (now & ~STATE) | STATUS[to])) continue;
      this.words.wake(this.index('status'));
      return true;
    }
  }

  // --- end ----------------------------------------------------------------------------------------------------------------

  /** Says how this turn ended, if nobody has before. True where this call did. */
  settle(reason: ThreadReason, code: number, turn: number = this.turn): boolean {
    const open = (turn & 0xff) << 8;
    const mine = this.#swap('reason', open, open | REASON[reason] | (code << 16));
    this.complete(turn);
    return mine;
  }

  /** Makes the status say that it has ended, where the reason does. */
  complete(turn: number = this.turn): void {
    const told = this.get('reason');
    if ((told & 0xff) === 0 || ((told >>> 8) & 0xff) !== (turn & 0xff)) return;
    for (let now = this.get('ended'); now < turn + 1 && !this.#swap('ended', now, turn + 1); now = this.get('ended'));
    const to = this.exitValue(turn) | 0;
    for (;;) {
      const now = this.get('status');
      if (now === to || now >>> TURN_SHIFT !== turn) return;
      if (this.#swap('status', now, to)) break;
    }
    this.words.wake(this.index('status'));
    this.words.wake(this.index('ended'));
  }

  /** Looks whether it still lives, and says so where it does not. True where it has ended. */
  look(): boolean {
    const { threads } = this.words;
    const turn = this.turn;
    const told = this.get('reason');
    if (((told >>> 8) & 0xff) !== (turn & 0xff)) return false;
    if ((told & 0xff) !== 0) this.complete(turn);
    else if (!threads.lives(this.get('self'))) this.#died(turn);
    return this.state === STATUS.exited;
  }

  /** It died without a word. Who started it may know better how: while that lives it has a moment to say so. */
  #died(turn: number): void {
    const { threads } = this.words;
    const ending = threads.ending(this.get('self'));
    if (ending !== undefined) {
      const signal = ending & 0x7f;
      this.settle(signal === 0 ? 'exited' : 'killed', signal === 0 ? ending >>> 8 : 128 + signal, turn);
      return;
    }
    const parent = this.get('parent');
    const now = threads.now();
    if (this.#dead?.turn !== turn) this.#dead = { turn, since: now };
    if (parent !== threads.self && now - this.#dead.since < MOMENT_MS && threads.lives(parent)) return;
    this.settle('killed', CODE_UNKNOWN, turn);
  }

  /** Begins the next turn of a thread that has ended. Messages and signals that were not taken are for that one. */
  again(parent: number): void {
    const turn = this.turn + 1;
    this.set('self', parent);
    this.set('parent', parent);
    this.set('request', 0);
    this.set('reason', (turn & 0xff) << 8);
    this.set('status', (turn << TURN_SHIFT) | STATUS.sleeping);
    this.words.wake(this.index('status'));
  }

  get outcome(): { readonly reason: ThreadReason | undefined; readonly code: number } {
    const told = this.get('reason');
    const found = Object.entries(REASON).find(([, value]) => value === (told & 0xff));
    return { reason: found?.[0] as ThreadReason | undefined, code: told >> 16 };
  }

  // --- the text of an error -----------------------------------------------------------------------------------------------

  setError({ name, message, stack }: ThreadError): void {
    const at = this.get('errorAt');
    const { u8: bytes, dv } = this.words;
    // The message before the stack, each cut to what has room.
    const room = ERROR_BYTES - 8;
    const text = encoder.encode([name.slice(0, 100), message.slice(0, 500), stack].join('\0')).subarray(0, room);
    bytes.set(text, at + 4);
    dv.setUint32(at, text.length, true);
  }

  get error(): ThreadError {
    const at = this.get('errorAt');
    const { u8: bytes, dv } = this.words;
    const length = Math.min(dv.getUint32(at, true), ERROR_BYTES - 8);
    const [name = '', message = '', stack = ''] = decoder.decode(bytes.slice(at + 4, at + 4 + length)).split('\0');
    return { name, message, stack };
  }

  // --- requests -----------------------------------------------------------------------------------------------------------

  request(bit: number): void {
    this.raise('request', bit);
  }

  withdraw(bit: number): void {
    Atomics.and(this.#live, this.index('request'), ~bit);
    this.words.wake(this.index('request'));
  }

  requested(bits: number): boolean {
    return (this.get('request') & bits) !== 0;
  }
}

/** Where a control object lies, for who has no space open. */
export interface ControlPlace {
  /** Of its file. */
  readonly path: string;
  readonly size: number;
  readonly root: number;
}

/** A mapping of its own, which outlives the space's: the thread says that it has ended when it has closed its space. */
export function mapControl(host: Host, { path, size, root }: ControlPlace, window: Window = host.openWindow(), at = 0): Control {
  const file = host.open(path, 'write');
  try {
    window.mapShared(at, size, file, 0);
  } finally {
    host.close(file);
  }
  return new Control(new Region(host.futex, new Uint8Array(window.buffer, at, size)), root);
}
