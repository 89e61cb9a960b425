/** A thread as others see it: how it runs and how it ended, waiting for it, and what can be asked of it. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';
import type { ObjectId } from '../../abi/id.ts';
import { signalName, signalProcess, type Program } from '../../host/programs.ts';
import type { Obj } from '../../lib/object.ts';
import type { RecordType } from '../../lib/rings/records.ts';
import { openRing, type Ring } from '../../lib/rings/ring.ts';
import type { Producer } from '../../lib/rings/sides.ts';
import { SLICE_MS, type AsyncWaitOptions, type WaitOptions } from '../../lib/sync/waiting.ts';
import type { SyncWord, ThreadSyncOp } from '../../lib/sync/thread-sync.ts';
import type { Space } from '../../space.ts';
import { CODE_UNKNOWN, Control, FLAG, REQUEST, STATUS, ThreadRepr, type ThreadReason, type ThreadStatus } from './control.ts';
import { encodeMessage, longestOf, messageRecord } from './mailbox.ts';
import { removeThread } from './table.ts';
import { watch } from './watching.ts';

/** How a thread ended. */
export interface ThreadResult {
  /**
   * `returned`: its main function came to its end. `failed`: that threw. `exited`: it called `process.exit`. `killed`: it was ended from outside,
   * or died.
   */
  readonly reason: ThreadReason;
  /** What its main function returned, 0 for nothing; 1 where it failed; 128 and the signal where it was killed, -1 where nobody saw by what. */
  readonly code: number;
  /** ThreadFailed, with the name and message of the error there, or ThreadKilled. */
  readonly error: TwzError | undefined;
}

export interface StopOptions extends AsyncWaitOptions {
  /** Milliseconds after which it is killed (5000 by default). */
  readonly within?: number;
}

/** How long `stop` leaves a thread to come to its end by itself. */
export const STOP_MS = 5000;
export const SIGNALS_MAX = 32;

/** One producer for all that send to a thread from here: a ring has no room for many. */
const senders = new WeakMap<SyncWords, Producer<Uint8Array>>();

export class Thread {
  readonly id: ObjectId;
  readonly number: number;
  readonly name: string;
  /** URL of its module. */
  readonly module: string;
  readonly as: 'thread' | 'process';
  readonly #supervised: boolean;
  readonly #space: Space;
  readonly #object: Obj;
  readonly #control: Control;
  #program: Program | undefined;
  /** The turn that this process looks after. */
  #watched = -1;

  /** Use `spawn`, `threads` or `threadOf`. */
  constructor(space: Space, object: Obj) {
    const repr = object.root(ThreadRepr);
    this.id = object.id;
    this.number = repr.number;
    this.name = repr.name;
    this.module = repr.module;
    this.as = (repr.flags & FLAG.process) === 0 ? 'thread' : 'process';
    this.#supervised = (repr.flags & FLAG.supervised) !== 0;
    this.#space = space;
    this.#object = object;
    this.#control = new Control(object.sync(), object.rootOffset);
  }

  /** For the parts of this package: who started it has the program itself. */
  set program(program: Program) {
    this.#program = program;
  }

  get control(): Control {
    return this.#control;
  }

  /** The control object's content, as it is. */
  get repr(): ThreadRepr {
    return this.#object.root(ThreadRepr);
  }

  get status(): ThreadStatus {
    this.#control.look();
    const { state } = this.#control;
    return state === STATUS.exited
      ? 'exited'
      : state === STATUS.suspended
        ? 'suspended'
        : state === STATUS.sleeping
          ? 'sleeping'
          : 'running';
  }

  get pid(): number {
    return this.#control.get('pid');
  }

  /** How often its main function was begun: 1, and one more for each restart by a supervisor. */
  get started(): number {
    return this.#control.get('started');
  }

  get ended(): number {
    return this.#control.get('ended');
  }

  // --- waiting ------------------------------------------------------------------------------------------------------------

  /** The word of its status, for `threadSync`. This process looks after it from then on, so that a death without a word wakes sleepers, too. */
  get word(): SyncWord {
    const { turn } = this.#control;
    if (this.#watched !== turn && !this.#control.look()) {
      this.#watched = turn;
      const { kernel } = this.#space;
      watch({ path: kernel.path(this.id), size: this.#object.size, root: this.#object.rootOffset });
    }
    return { words: this.#control.words, index: this.#control.index('status'), bits: 32 };
  }

  /** Sleeps until it has ended: an operation of `threadSync`. */
  get exit(): ThreadSyncOp {
    return { sleep: this.word, value: this.#control.exitValue(), invert: true };
  }

  /** Undefined while it runs. */
  get result(): ThreadResult | undefined {
    if (!this.#control.look()) return undefined;
    const { reason, code } = this.#control.outcome;
    return reason === undefined ? undefined : { reason, code, error: this.#error(reason, code) };
  }

  #error(reason: ThreadReason, code: number): TwzError | undefined {
    const who = `${this.as} ${this.number} (${this.name})`;
    const context = { number: this.number, thread: this.name, code };
    if (reason === 'killed') {
      const by = code === CODE_UNKNOWN ? 'died without a word' : `was ended by ${signalName(code - 128)}`;
      return new TwzError('ThreadKilled', `${who} ${by}`, context);
    }
    if (reason !== 'failed') return undefined;
    const { name, message, stack } = this.#control.error;
    return new TwzError('ThreadFailed', `${who} failed: ${name}: ${message}`, { ...context, error: name, reason: message, stack });
  }

  #timedOut(timeout: number, what: string): TwzError {
    return new TwzError('ThreadTimeout', `${this.as} ${this.number} (${this.name}) had not ${what} after ${timeout} ms`, {
      number: this.number,
      timeout,
    });
  }

  #demandRunning(what: string): void {
    if (this.#control.look())
      throw new TwzError('ThreadEnded', `${this.as} ${this.number} (${this.name}) has ended: ${what}`, { number: this.number });
  }

  /** As `#demandRunning`, or it is about to be started again, and finds what was sent meanwhile. */
  #demandReader(what: string): void {
    const control = this.#control;
    const { threads } = control.words;
    if (this.#supervised && !control.requested(REQUEST.last) && threads.lives(control.get('parent'))) return;
    this.#demandRunning(what);
  }

  /** Blocks until it has ended. Throws ThreadTimeout. */
  wait({ timeout = Infinity }: WaitOptions = {}): ThreadResult {
    const { words } = this.#control;
    const { kernel } = this.#space;
    const deadline = words.threads.now() + timeout;
    for (;;) {
      const { result } = this;
      if (result !== undefined) return result;
      const left = deadline - words.threads.now();
      if (!(left > 0)) throw this.#timedOut(timeout, 'ended');
      // It may be waiting at the door, for this very thread.
      kernel.admit();
      const now = this.#control.get('status');
      if ((now & 0xff) !== STATUS.exited) words.wait(this.#control.index('status'), now, Math.min(left, SLICE_MS));
    }
  }

  /** The same as a promise; the event loop goes on. */
  async waitAsync(options: AsyncWaitOptions = {}): Promise<ThreadResult> {
    for (;;) {
      await this.#until((state) => state === STATUS.exited, 'ended', options);
      const { result } = this;
      // Else it was restarted in between.
      if (result !== undefined) return result;
    }
  }

  async #until(done: (state: number) => boolean, what: string, { timeout = Infinity, signal }: AsyncWaitOptions): Promise<void> {
    signal?.throwIfAborted();
    const control = this.#control;
    const { words } = control;
    const deadline = words.threads.now() + timeout;
    for (let look = true; ;) {
      if (look) control.look();
      const now = control.get('status');
      if (done(now & 0xff)) return;
      const left = deadline - words.threads.now();
      if (!(left > 0)) throw this.#timedOut(timeout, what);
      look = (await words.waitAsync(control.index('status'), now, Math.min(left, SLICE_MS), signal)) === 'timedOut';
    }
  }

  // --- messages and signals -----------------------------------------------------------------------------------------------

  /** The mailbox, as a ring of the records that it was made for. Throws QueueInvalid. */
  mailbox<T, I>(record: RecordType<T, I>): Ring<T, I> {
    return openRing(this.#control.words, this.#control.get('mailbox'), record);
  }

  #sender(): Producer<Uint8Array> {
    this.#demandReader('nobody reads its mailbox');
    const { words } = this.#control;
    const known = senders.get(words);
    if (known !== undefined) return known;
    const sender = this.mailbox(messageRecord(longestOf(this.#control))).producer();
    senders.set(words, sender);
    return sender;
  }

  /**
   * Puts a message into its mailbox: bytes, an object (which arrives as a reference to it), or a value that can be cloned. Throws QueueFull,
   * ThreadEnded, OutOfRange, ValueMismatch, QueueInvalid.
   */
  send(message: unknown): void {
    this.#sender().trySubmit(encodeMessage(this.#space, message));
  }

  /** As `send`, and waits while the mailbox is full. */
  async sendAsync(message: unknown, options: AsyncWaitOptions = {}): Promise<void> {
    const bytes = encodeMessage(this.#space, message);
    const { timeout = Infinity, signal } = options;
    const { threads } = this.#control.words;
    const deadline = threads.now() + timeout;
    for (;;) {
      const sender = this.#sender();
      if (sender.offer(bytes)) return;
      const left = deadline - threads.now();
      const slice = Math.max(0, Math.min(left, LOOK_MS));
      try {
        await sender.submitAsync(bytes, signal === undefined ? { timeout: slice } : { timeout: slice, signal });
        return;
      } catch (error) {
        // Whether anybody will read it is asked anew.
        if (!isTwzError(error, 'PeerGone') && !(isTwzError(error, 'QueueTimedOut') && left > LOOK_MS)) throw error;
      }
    }
  }

  /** Posts a signal, a number from 0 to 31. Posted again before it is taken, it is still one. Throws ThreadEnded. */
  post(signal: number): void {
    if (!(Number.isInteger(signal) && signal >= 0 && signal < SIGNALS_MAX))
      throw new TwzError('OutOfRange', `there is no signal ${signal}; they are 0 to ${SIGNALS_MAX - 1}`, { signal });
    this.#demandReader('it takes no signals');
    this.#control.raise('signals', 1 << signal);
  }

  // --- its end, and pauses ------------------------------------------------------------------------------------------------

  /** Asks it to come to its end: `signal` aborts there, `stopping` is true, waiting for messages ends. It does what it likes with that. */
  requestStop(): void {
    this.#control.request(REQUEST.stop);
  }

  /** Asks it to come to its end, kills it where it has not after `within` milliseconds, and waits for it. */
  async stop({ within = STOP_MS, ...options }: StopOptions = {}): Promise<ThreadResult> {
    this.requestStop();
    // One that is suspended would not hear of it.
    if (this.#control.requested(REQUEST.suspend) || this.#control.state === STATUS.suspended) this.resume();
    const { timeout = Infinity } = options;
    try {
      return await this.waitAsync({ ...options, timeout: Math.min(within, timeout) });
    } catch (error) {
      if (!isTwzError(error, 'ThreadTimeout') || timeout < within) throw error;
    }
    this.kill();
    return this.waitAsync({ ...options, timeout: timeout - within });
  }

  /**
   * Ends it, whatever it does: a process by SIGKILL. A thread ends itself, within some 50 ms where it gives way to its event loop, waits for
   * messages, or comes to a point; where it does not, its process terminates it once its own event loop goes on. `wait` tells when it has ended.
   */
  kill(): void {
    if (this.#control.look()) return;
    if (this.as === 'thread') this.#control.request(REQUEST.kill);
    else if (this.#program === undefined) this.#signal('SIGKILL');
    else this.#program.terminate();
  }

  /** To its process, and to no other that has the number now. */
  #signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): boolean {
    const { pid } = this;
    return pid !== 0 && this.#control.words.threads.of(pid) === this.#control.get('self') && signalProcess(pid, signal);
  }

  /**
   * Makes it stand still until `resume`. A process is stopped by the system, wherever it is (SIGSTOP). A thread comes to stand at its next
   * `point()`; the promise resolves when it does. Throws ThreadTimeout, and it goes on then; ThreadEnded.
   */
  async suspend(options: AsyncWaitOptions = {}): Promise<void> {
    this.#demandRunning('it cannot be suspended');
    const control = this.#control;
    if (this.as === 'process') {
      if (this.#signal('SIGSTOP')) control.move(['running', 'sleeping'], 'suspended');
      else this.#demandRunning('it cannot be suspended');
      return;
    }
    control.request(REQUEST.suspend);
    try {
      await this.#until((state) => state === STATUS.suspended || state === STATUS.exited, 'come to a point', options);
    } catch (error) {
      control.withdraw(REQUEST.suspend);
      throw error;
    }
    this.#demandRunning('it cannot be suspended');
  }

  resume(): void {
    const control = this.#control;
    if (this.as === 'thread') control.withdraw(REQUEST.suspend);
    else if (this.#signal('SIGCONT')) control.move(['suspended'], 'running');
  }

  /** Deletes the control object of a thread that has ended. Who waits for it elsewhere should have come by then. Throws ThreadRuns. */
  release(): void {
    if (!this.#control.gone && !this.#control.look())
      throw new TwzError('ThreadRuns', `${this.as} ${this.number} (${this.name}) runs`, { number: this.number });
    this.#space.relaxed(() => removeThread(this.#space, this.number));
  }
}

/** While a sender waits for room: how often it looks whether the reader still lives, in milliseconds. */
const LOOK_MS = 250;
