/** The head of a device, as programs see it, and waiting for what a device does: never longer than its driver lives. */
import {
  CLASS,
  DEVICE_MAGIC,
  DEVICE_VERSION,
  HEAD,
  INTERRUPTS,
  INTERRUPT_BYTES,
  NAME_BYTES,
  PART,
  STATUS,
  type DeviceClass,
  type DeviceStatus,
} from '../../abi/device-format.ts';
import { ERRORS, TwzError, isTwzError, type ErrorName } from '../../abi/errors.ts';
import { readId, type ObjectId } from '../../abi/id.ts';
import type { SyncWords } from '../../abi/sync.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import type { SyncWord } from '../sync/thread-sync.ts';

/** How long a program sleeps before it looks whether the driver lives, in milliseconds. */
export const PATIENCE_MS = 100;
/** How often a ring is looked at before a sleep. */
export const SIDE = { spin: 100, patience: PATIENCE_MS } as const;

/** A word to sleep on while it has a value. */
export interface Pause {
  readonly index: number;
  readonly value: number;
}

const decoder = new TextDecoder();
const NAMES = new Map<number, ErrorName>();
for (const [name, { code }] of Object.entries(ERRORS)) NAMES.set(code, name as ErrorName);
const CLASSES = new Map<number, DeviceClass>(Object.entries(CLASS).map(([name, number]) => [number, name as DeviceClass]));

/** The error that a driver stored, by its code. */
export function errorOf(code: number, what: string): TwzError {
  return new TwzError(NAMES.get(code) ?? 'DeviceFailed', what, { code });
}

export class DeviceHead {
  readonly words: SyncWords;
  /** Where the root begins, in bytes. */
  readonly at: number;
  readonly class: DeviceClass;
  readonly name: string;

  /** At byte `at` of an object. Throws DeviceInvalid. */
  constructor(words: SyncWords, at: number, expected?: DeviceClass) {
    const { dv, u8 } = words;
    const invalid = (reason: string): TwzError => new TwzError('DeviceInvalid', `no device to use at ${at}: ${reason}`, { at });
    if (!(at > 0 && at % 64 === 0 && at + HEAD.bytes <= u8.length)) throw invalid('it would not lie in the object');
    if (dv.getUint32(at + HEAD.magic, true) !== DEVICE_MAGIC) throw invalid('no device begins there');
    const version = dv.getUint32(at + HEAD.version, true);
    if (version !== DEVICE_VERSION) throw invalid(`its version is ${version}, this build knows ${DEVICE_VERSION}`);
    const found = CLASSES.get(dv.getUint32(at + HEAD.class, true));
    const length = dv.getUint32(at + HEAD.nameLength, true);
    if (found === undefined || length > NAME_BYTES) throw invalid('its head is damaged');
    if (expected !== undefined && found !== expected) throw invalid(`it is of class ${found}, not ${expected}`);
    this.words = words;
    this.at = at;
    this.class = found;
    this.name = decoder.decode(u8.slice(at + HEAD.name, at + HEAD.name + length));
  }

  /** The words, or DeviceGone where the object is no more. */
  get i32(): Int32Array {
    const { i32 } = this.words;
    if (i32.length === 0) throw this.#gone('its object is no more');
    return i32;
  }

  /** The word at a byte offset from the root. */
  load(offset: number): number {
    return Atomics.load(this.i32, (this.at + offset) >>> 2);
  }

  store(offset: number, value: number): void {
    Atomics.store(this.i32, (this.at + offset) >>> 2, value);
  }

  get number(): number {
    return this.load(HEAD.number);
  }

  /** `gone`: the driver died without a word. */
  get status(): DeviceStatus {
    if (!this.isThere) return 'gone';
    const status = this.load(HEAD.status);
    if (status === STATUS.ready) return this.words.threads.lives(this.load(HEAD.driver)) ? 'ready' : 'gone';
    return status === STATUS.closed ? 'closed' : status === STATUS.failed ? 'failed' : 'starting';
  }

  /** Throws DeviceGone where the driver has ended the device. Two loads. */
  demandReady(): void {
    const status = this.load(HEAD.status);
    if (status === STATUS.ready) return;
    if (status === STATUS.failed) throw errorOf(this.load(HEAD.error), `the driver of ${this.name} failed`);
    throw this.#gone(status === STATUS.closed ? 'it was closed' : 'it is not ready');
  }

  /** As `demandReady`, and the driver must live. */
  demandServed(): void {
    this.demandReady();
    const driver = this.load(HEAD.driver);
    if (!this.words.threads.lives(driver)) throw this.#gone(`its driver died: ${this.words.threads.show(driver)}`);
  }

  #gone(why: string, cause?: unknown): TwzError {
    return new TwzError('DeviceGone', `the device ${this.name} is gone: ${why}`, { name: this.name }, cause);
  }

  /** Tells the driver that there is something to do. */
  knock(): void {
    const index = (this.at + HEAD.doorbell) >>> 2;
    Atomics.add(this.i32, index, 1);
    this.words.wake(index);
  }

  /** The word of an interrupt: sleep while it has the value that was seen last. */
  interrupt(number: number): SyncWord {
    if (!(Number.isInteger(number) && number >= 0 && number < INTERRUPTS))
      throw new TwzError('OutOfRange', `interrupt ${number}; a device has ${INTERRUPTS}`, { number });
    return { words: this.words, index: (this.at + HEAD.interrupts + number * INTERRUPT_BYTES) >>> 2, bits: 32 };
  }

  /** IDs of the objects that the device has, in order. */
  parts(): { readonly id: ObjectId; readonly class: DeviceClass | undefined; readonly number: number }[] {
    const { u8, dv } = this.words;
    const at = this.load(HEAD.partsAt);
    return Array.from({ length: this.load(HEAD.parts) }, (_, i) => {
      const entry = at + i * PART.bytes;
      return {
        id: readId(u8, entry + PART.id),
        class: CLASSES.get(dv.getUint32(entry + PART.class, true)),
        number: dv.getUint32(entry + PART.number, true),
      };
    });
  }

  // --- waiting --------------------------------------------------------------------------------------------------------------

  /** Blocks until `step` is done, that is, gives no word to sleep on. Throws DeviceGone, DeviceTimedOut. */
  untilSync(step: () => Pause | undefined, { timeout = Number.POSITIVE_INFINITY }: WaitOptions = {}): void {
    const deadline = this.words.threads.now() + timeout;
    for (let pause = step(); pause !== undefined; pause = step()) {
      this.demandReady();
      this.#demandOther();
      const left = this.#left(deadline);
      if (this.words.wait(pause.index, pause.value, Math.min(left, PATIENCE_MS)) === 'timedOut') this.demandServed();
    }
  }

  /** The same as a promise. */
  async until(step: () => Pause | undefined, { timeout = Number.POSITIVE_INFINITY, signal }: AsyncWaitOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    const deadline = this.words.threads.now() + timeout;
    for (let pause = step(); pause !== undefined; pause = step()) {
      this.demandReady();
      const left = Math.min(this.#left(deadline), PATIENCE_MS);
      try {
        if ((await this.words.waitAsync(pause.index, pause.value, left, signal)) === 'timedOut') this.demandServed();
      } catch (error) {
        throw this.explained(error);
      }
    }
  }

  /** Rings keep their memory in hand: it must be the device's still. */
  #demandThere(): void {
    if (!this.isThere) throw this.#gone('its object is no more');
  }

  get isThere(): boolean {
    return this.words.i32.length > 0;
  }

  /** A thread that waits for itself would never go on. */
  #demandOther(): void {
    if (this.load(HEAD.driver) === this.words.threads.self)
      throw new TwzError('NotSupported', `this thread drives the device ${this.name}: blocking here would never end; use the promise`, {
        name: this.name,
      });
  }

  #left(deadline: number): number {
    const left = deadline - this.words.threads.now();
    if (!(left > 0)) throw new TwzError('DeviceTimedOut', `the device ${this.name} did not come to it in time`, { name: this.name });
    return left;
  }

  /** Waits for a ring of the device: `attempt` waits as long as it is told. */
  patientlySync<T>(attempt: (options: WaitOptions) => T, { timeout = Number.POSITIVE_INFINITY }: WaitOptions = {}): T {
    this.#demandThere();
    const deadline = this.words.threads.now() + timeout;
    for (let left = timeout; ; left = this.#left(deadline)) {
      try {
        return attempt({ timeout: Math.min(left, PATIENCE_MS) });
      } catch (error) {
        if (!isTwzError(error, 'QueueTimedOut')) throw this.explained(error);
        this.demandServed();
        this.#demandOther();
      }
    }
  }

  async patiently<T>(
    attempt: (options: AsyncWaitOptions) => Promise<T>,
    { timeout = Number.POSITIVE_INFINITY, signal }: AsyncWaitOptions = {},
  ): Promise<T> {
    this.#demandThere();
    const deadline = this.words.threads.now() + timeout;
    for (let left = timeout; ; left = this.#left(deadline)) {
      try {
        return await attempt({ timeout: Math.min(left, PATIENCE_MS), ...(signal === undefined ? {} : { signal }) });
      } catch (error) {
        if (!isTwzError(error, 'QueueTimedOut')) throw this.explained(error);
        this.demandServed();
      }
    }
  }

  /** What an error of a ring, or of words that are no more, says about the device. */
  explained(error: unknown): unknown {
    if (!this.isThere) return this.#gone('its object is no more', error);
    if (isTwzError(error, 'QueueClosed')) return this.#gone('it was closed', error);
    if (isTwzError(error, 'PeerGone')) return this.#gone('its driver died', error);
    return error;
  }
}

/** A place among a device's lines, claimed by this thread: a byte offset from the object's start, or -1 where all are in use. */
export function claimLine(head: DeviceHead, first: number, count: number, bytes: number, owner: number): number {
  const { i32, words } = head;
  for (let i = 0; i < count; i++) {
    const line = first + i * bytes;
    if (Atomics.compareExchange(i32, (line + owner) >>> 2, 0, words.threads.self) === 0) return line;
  }
  return -1;
}

/** A device that a program has opened. */
export abstract class Device {
  readonly head: DeviceHead;
  /** Where what its class has begins, in bytes from the object's start. */
  protected readonly body: number;

  constructor(head: DeviceHead) {
    head.demandServed();
    this.head = head;
    this.body = head.at + HEAD.bytes;
  }

  get name(): string {
    return this.head.name;
  }

  get class(): DeviceClass {
    return this.head.class;
  }

  get status(): DeviceStatus {
    return this.head.status;
  }

  /** A word of the class's own, by its byte offset there. */
  protected get(offset: number): number {
    return Atomics.load(this.head.i32, (this.body + offset) >>> 2);
  }

  protected get words(): SyncWords {
    return this.head.words;
  }
}
