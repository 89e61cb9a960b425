/** A thread as it sees itself: what its main function is called with. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { CollectionType } from '../../lib/collections/type.ts';
import type { Obj } from '../../lib/object.ts';
import type { RecordType } from '../../lib/rings/records.ts';
import { openRing, type Ring } from '../../lib/rings/ring.ts';
import type { Consumer } from '../../lib/rings/sides.ts';
import type { Instance, Struct } from '../../lib/struct.ts';
import type { AsyncWaitOptions, WaitOptions } from '../../lib/sync/waiting.ts';
import type { Space } from '../../space.ts';
import { REQUEST, ThreadRepr, type Control } from './control.ts';
import { decodeMessage, longestOf, messageRecord } from './mailbox.ts';
import { argumentOf } from './table.ts';

/** How often a thread that blocks looks whether it is asked to stop, in milliseconds. */
const LOOK_MS = 50;

export class ThreadSelf {
  /** The space, as this thread has it open. It is closed when the main function has come to its end. */
  readonly space: Space;
  /** Of its control object. */
  readonly id: ObjectId;
  readonly number: number;
  readonly #control: Control;
  readonly #die: () => never;
  readonly #stop = new AbortController();
  /** Aborted at the end: nothing is waited for any more. */
  readonly #over = new AbortController();
  #listening = false;
  #inbox: Consumer<Uint8Array> | undefined;

  /** Made by the package, for the main function. */
  constructor(space: Space, control: Control, id: ObjectId, number: number, die: () => never) {
    this.space = space;
    this.id = id;
    this.number = number;
    this.#control = control;
    this.#die = die;
  }

  /** The control object's content. */
  get repr(): ThreadRepr {
    return this.space.get(this.id, ThreadRepr);
  }

  get name(): string {
    return this.repr.name;
  }

  /** How often it was begun: 1, and one more for each restart by a supervisor. */
  get started(): number {
    return this.#control.get('started');
  }

  // --- argument -------------------------------------------------------------------------------------------------------------

  /** The root of the object that it was spawned with. Throws InvalidArgument where there is none, TypeMismatch. */
  argument<C, I>(type: CollectionType<C, I>): C;
  argument<F>(type: Struct<F>): Instance<F>;
  argument<F>(type: Struct<F>): Instance<F> {
    const object = this.argumentObject;
    if (object === null)
      throw new TwzError('InvalidArgument', `thread ${this.number} was spawned without an argument`, { number: this.number });
    return object.root(type);
  }

  get argumentObject(): Obj | null {
    return argumentOf(this.space, this.number);
  }

  // --- what others want -----------------------------------------------------------------------------------------------------

  /** It is asked to come to its end: for loops that do not give way. */
  get stopping(): boolean {
    return this.#control.requested(REQUEST.stop);
  }

  /** Aborted when it is asked to come to its end: from the first use on, while its event loop goes. */
  get signal(): AbortSignal {
    if (!this.#listening) {
      this.#listening = true;
      // Never between two uses, so that who looks first and then listens misses nothing.
      if (this.stopping) this.#stop.abort(stopped());
      else void this.#listen();
    }
    return this.#stop.signal;
  }

  async #listen(): Promise<void> {
    const control = this.#control;
    try {
      for (;;) {
        const now = control.get('request');
        if ((now & REQUEST.stop) !== 0) break;
        await control.words.waitAsync(control.index('request'), now, Infinity, this.#over.signal);
      }
    } catch (error) {
      if (this.#over.signal.aborted) return;
      throw error;
    }
    this.#stop.abort(stopped());
  }

  /** Who spawned it has ended. */
  get orphaned(): boolean {
    return !this.#control.words.threads.lives(this.#control.get('parent'));
  }

  /** A place where it can stand still, or end: blocks while it is suspended. Costs a load where it is not. */
  point(): void {
    if (!this.#control.requested(REQUEST.suspend | REQUEST.kill)) return;
    const control = this.#control;
    this.#heed();
    control.move(['running'], 'suspended');
    for (let now = control.get('request'); (now & REQUEST.suspend) !== 0; now = control.get('request')) {
      control.words.wait(control.index('request'), now, LOOK_MS);
      this.#heed();
    }
    control.move(['suspended'], 'running');
  }

  /** Ends here where it is killed. */
  #heed(): void {
    if (this.#control.requested(REQUEST.kill)) this.#die();
  }

  /** The same as a promise; the event loop goes on. */
  async pointAsync(): Promise<void> {
    if (!this.#control.requested(REQUEST.suspend)) return;
    const control = this.#control;
    control.move(['running'], 'suspended');
    for (let now = control.get('request'); (now & REQUEST.suspend) !== 0; now = control.get('request'))
      await control.words.waitAsync(control.index('request'), now, Infinity, this.#over.signal);
    control.move(['suspended'], 'running');
  }

  // --- signals --------------------------------------------------------------------------------------------------------------

  /** Takes the signals that were posted: their numbers, in order. */
  takeSignals(): number[] {
    const bits = this.#control.takeSignals();
    return Array.from({ length: 32 }, (_, i) => i).filter((i) => (bits & (1 << i)) !== 0);
  }

  /** As `takeSignals`, and waits for one: none where it is asked to stop meanwhile, or the time is over. */
  async awaitSignals({ timeout = Infinity, signal }: AsyncWaitOptions = {}): Promise<number[]> {
    const { words } = this.#control;
    const deadline = words.threads.now() + timeout;
    const [signals, request] = (['signals', 'request'] as const).map((each) => this.#control.index(each)) as [number, number];
    return this.#sleeping(async () => {
      for (;;) {
        const found = this.takeSignals();
        const asked = this.#control.get('request');
        const left = deadline - words.threads.now();
        if (found.length > 0 || (asked & REQUEST.stop) !== 0 || !(left > 0)) return found;
        const states = [
          { words, index: signals, value: 0 },
          { words, index: request, value: asked },
        ];
        await words.waitAnyAsync(states, left, signal ?? this.#over.signal);
      }
    });
  }

  // --- messages -------------------------------------------------------------------------------------------------------------

  /** Its mailbox, as a ring of the records that it was made for. Throws QueueInvalid. */
  mailbox<T, I>(record: RecordType<T, I>): Ring<T, I> {
    return openRing(this.#control.words, this.#control.get('mailbox'), record);
  }

  #messages(): Consumer<Uint8Array> {
    this.#inbox ??= this.mailbox(messageRecord(longestOf(this.#control))).consumer();
    return this.#inbox;
  }

  #decode(message: Uint8Array | undefined): unknown {
    return message === undefined ? undefined : decodeMessage(this.space, message);
  }

  /** The next message that is there: bytes, an object, or a value. Undefined: there is none. */
  tryReceive(): unknown {
    return this.#decode(this.#messages().tryReceive());
  }

  /** The next message; blocks until there is one. Undefined: none is there, and it is asked to stop. Throws QueueTimedOut. */
  receive({ timeout = Infinity }: WaitOptions = {}): unknown {
    const inbox = this.#messages();
    const { threads } = this.#control.words;
    const deadline = threads.now() + timeout;
    const slept = this.#control.move(['running'], 'sleeping');
    try {
      for (;;) {
        this.#heed();
        const stopping = this.stopping;
        const message = inbox.tryReceive();
        if (message !== undefined || stopping) return this.#decode(message);
        const left = Math.max(0, deadline - threads.now());
        try {
          return this.#decode(inbox.receive({ timeout: Math.min(left, LOOK_MS) }));
        } catch (error) {
          if (!passing(error) || (left <= LOOK_MS && isTwzError(error, 'QueueTimedOut'))) throw error;
        }
      }
    } finally {
      if (slept) this.#control.move(['sleeping'], 'running');
    }
  }

  /** The same as a promise; the event loop goes on. */
  async receiveAsync({ timeout = Infinity, signal }: AsyncWaitOptions = {}): Promise<unknown> {
    const inbox = this.#messages();
    const stop = this.signal;
    const ends = signal === undefined ? stop : AbortSignal.any([stop, signal]);
    return this.#sleeping(async () => {
      for (;;) {
        const message = inbox.tryReceive();
        if (message !== undefined || stop.aborted) return this.#decode(message);
        try {
          return this.#decode(await inbox.receiveAsync({ timeout, signal: ends }));
        } catch (error) {
          if (!stop.aborted && !isTwzError(error, 'PeerGone')) throw error;
        }
      }
    });
  }

  /** Messages as they come, until it is asked to stop. */
  async *messages(): AsyncGenerator<unknown, void, undefined> {
    for (let message = await this.receiveAsync(); message !== undefined; message = await this.receiveAsync()) yield message;
  }

  /** Its status says that it sleeps, meanwhile. */
  async #sleeping<T>(wait: () => Promise<T>): Promise<T> {
    const slept = this.#control.move(['running'], 'sleeping');
    try {
      return await wait();
    } finally {
      if (slept) this.#control.move(['sleeping'], 'running');
    }
  }

  /** The main function has come to its end. */
  end(): void {
    this.#over.abort();
    this.#inbox?.leave();
  }
}

function stopped(): Error {
  return new DOMException('the thread was asked to stop', 'AbortError');
}

/** A sender that died is no end of a mailbox, and neither is a slice of time. */
function passing(error: unknown): boolean {
  return isTwzError(error, 'PeerGone') || isTwzError(error, 'QueueTimedOut');
}
