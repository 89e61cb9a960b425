/** A device as its driver holds it: the object, its head, and the end. */
import {
  BUS_TYPE,
  CLASS,
  DEVICE_MAGIC,
  DEVICE_TYPE,
  DEVICE_VERSION,
  HEAD,
  INTERRUPTS,
  INTERRUPT_BYTES,
  NAME_BYTES,
  STATUS,
  type DeviceClass,
} from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';
import type { Host } from '../../host/host.ts';
import type { Obj } from '../../lib/object.ts';

export const line = (bytes: number): number => (bytes + 63) & ~63;

export interface DevicePlan {
  readonly name: string;
  readonly class: DeviceClass;
  readonly number: number;
  /** Bytes behind the head. */
  readonly bytes: number;
}

/** A driver's side of what waits in it: `signal` ends that. */
export interface Driver {
  /** Ends everything. The device's status says so by then. */
  close(): Promise<void>;
}

export class Served {
  readonly object: Obj;
  readonly words: SyncWords;
  readonly host: Host;
  readonly at: number;
  readonly name: string;
  readonly class: DeviceClass;
  readonly body: number;
  readonly #ending = new AbortController();
  #next: number;

  /** Lays out the head of a device that is new: its memory is zero. */
  constructor(object: Obj, host: Host, { name, class: of, number, bytes }: DevicePlan) {
    this.object = object;
    this.words = object.sync();
    this.host = host;
    this.at = object.rootOffset;
    this.name = name;
    this.class = of;
    this.body = this.at + HEAD.bytes;
    this.#next = this.body;
    if (this.body + bytes > this.words.u8.length)
      throw new TwzError('OutOfRange', `a device of ${bytes} bytes does not fit its object`, { bytes });
    const text = new TextEncoder().encode(name);
    if (text.length > NAME_BYTES || text.length === 0)
      throw new TwzError('InvalidArgument', `"${name}": the name of a device has 1 to ${NAME_BYTES} bytes`, { name });
    const put = (offset: number, value: number): void => this.words.dv.setUint32(this.at + offset, value, true);
    put(HEAD.version, DEVICE_VERSION);
    put(HEAD.deviceType, of === 'bus' ? DEVICE_TYPE.bus : of === 'socket' ? DEVICE_TYPE.part : DEVICE_TYPE.device);
    put(HEAD.busType, of === 'socket' ? BUS_TYPE.network : BUS_TYPE.system);
    put(HEAD.class, CLASS[of]);
    put(HEAD.number, number);
    put(HEAD.nameLength, text.length);
    for (let i = 0; i < INTERRUPTS; i++) put(HEAD.interrupts + i * INTERRUPT_BYTES + 4, i);
    this.words.u8.set(text, this.at + HEAD.name);
    Atomics.store(this.words.i32, (this.at + HEAD.magic) >>> 2, DEVICE_MAGIC);
  }

  /** Aborted when the device ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** The next `bytes` behind the head, on a line of 64: their offset from the object's start. */
  room(bytes: number): number {
    const at = line(this.#next);
    this.#next = at + bytes;
    return at;
  }

  /** Index of a word of the class's own. */
  word(offset: number): number {
    return (this.body + offset) >>> 2;
  }

  put(offset: number, value: number): void {
    Atomics.store(this.words.i32, this.word(offset), value);
  }

  get(offset: number): number {
    return Atomics.load(this.words.i32, this.word(offset));
  }

  /** From here on programs use it; this thread is its driver. */
  ready(): void {
    Atomics.store(this.words.i32, (this.at + HEAD.driver) >>> 2, this.words.threads.self);
    Atomics.store(this.words.i32, (this.at + HEAD.status) >>> 2, STATUS.ready);
  }

  /** Resolves when programs have rung since the doorbell had `heard`. Gives its value. */
  async knocked(heard: number): Promise<number> {
    const index = (this.at + HEAD.doorbell) >>> 2;
    while (Atomics.load(this.words.i32, index) === heard) await this.words.waitAsync(index, heard, Number.POSITIVE_INFINITY, this.signal);
    return Atomics.load(this.words.i32, index);
  }

  /** Until the device ends, or its object does. */
  async idle(): Promise<void> {
    for (let heard = 0; ;) heard = await this.knocked(heard);
  }

  raise(interrupt: number): void {
    const index = (this.at + HEAD.interrupts + interrupt * INTERRUPT_BYTES) >>> 2;
    Atomics.add(this.words.i32, index, 1);
    this.words.wake(index);
  }

  /** Whether the object can still be stored to. */
  get isThere(): boolean {
    return this.words.i32.length > 0;
  }

  /** Ends it for programs: the status first, so that whoever is woken knows why. */
  end(): void {
    if (this.#ending.signal.aborted) return;
    if (this.isThere) {
      Atomics.store(this.words.i32, (this.at + HEAD.status) >>> 2, STATUS.closed);
      for (let i = 0; i < INTERRUPTS; i++) this.raise(i);
    }
    this.#ending.abort(new TwzError('DeviceGone', `the device ${this.name} was closed`, { name: this.name }));
  }

  /** Runs a part of the driver until the device ends. What else ends it, ends the device as failed. */
  async run(part: () => Promise<void>): Promise<void> {
    try {
      await part();
    } catch (error) {
      if (this.signal.aborted || !this.isThere) return;
      Atomics.store(this.words.i32, (this.at + HEAD.error) >>> 2, error instanceof TwzError ? error.code : 0);
      Atomics.store(this.words.i32, (this.at + HEAD.status) >>> 2, STATUS.failed);
      for (let i = 0; i < INTERRUPTS; i++) this.raise(i);
    }
  }
}
