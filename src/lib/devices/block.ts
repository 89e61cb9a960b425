/** A block device: sectors that are moved between it and the pages of objects. A request is a line; requests are completed in any order. */
import {
  BLOCK,
  BLOCK_BYTES_MAX,
  BLOCK_COMMAND,
  BLOCK_FLAG,
  BLOCK_INTERRUPT,
  BLOCK_LINE,
  BLOCK_STATE,
  LINE_LEFT,
} from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';
import { NULL_ID, writeId } from '../../abi/id.ts';
import type { Obj } from '../object.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import { Device, claimLine, errorOf, type Pause } from './head.ts';

export interface Sectors {
  /** The first one. */
  readonly sector: number;
  /** How many; 1 by default. */
  readonly count?: number;
}

export interface BlockTarget extends Sectors {
  /** A shared object, or an owned one: then the driver stores by a transaction, and what was committed is read. */
  readonly object: Obj;
  /** Where in the object, in bytes from its start, behind its metadata page. */
  readonly at: number;
}

interface Order {
  readonly command: number;
  readonly sector: number;
  readonly count: number;
  readonly object: Obj | undefined;
  readonly at: number;
}

/** A request that this thread has made. */
interface Asked {
  line: number;
}

export class BlockDevice extends Device {
  /** Bytes. */
  get sectorSize(): number {
    return this.get(BLOCK.sectorSize);
  }

  /** How many there are. */
  get sectors(): number {
    const { i32 } = this.head;
    return Number(Atomics.load(new BigInt64Array(i32.buffer, i32.byteOffset + this.body + BLOCK.sectors, 1), 0));
  }

  get readOnly(): boolean {
    return (this.get(BLOCK.flags) & BLOCK_FLAG.readOnly) !== 0;
  }

  /** From the device to the object. Throws DeviceFailed, OutOfRange, DeviceTimedOut, DeviceGone. */
  readSync(target: BlockTarget, options?: WaitOptions): void {
    this.#runSync(this.#transfer(BLOCK_COMMAND.read, target), options);
  }

  async read(target: BlockTarget, options?: AsyncWaitOptions): Promise<void> {
    await this.#run(this.#transfer(BLOCK_COMMAND.read, target), options);
  }

  /** From the object to the device. It is durable after the next `flush`. Throws as `read`, and DeviceFailed where it is read-only. */
  writeSync(target: BlockTarget, options?: WaitOptions): void {
    this.#runSync(this.#transfer(BLOCK_COMMAND.write, target), options);
  }

  async write(target: BlockTarget, options?: AsyncWaitOptions): Promise<void> {
    await this.#run(this.#transfer(BLOCK_COMMAND.write, target), options);
  }

  /** What was completed before is durable. */
  flushSync(options?: WaitOptions): void {
    this.#runSync({ command: BLOCK_COMMAND.flush, sector: 0, count: 0, object: undefined, at: 0 }, options);
  }

  async flush(options?: AsyncWaitOptions): Promise<void> {
    await this.#run({ command: BLOCK_COMMAND.flush, sector: 0, count: 0, object: undefined, at: 0 }, options);
  }

  /** The sectors read as zero from now on, and need no room. */
  discardSync(sectors: Sectors, options?: WaitOptions): void {
    this.#runSync(this.#range(BLOCK_COMMAND.discard, sectors), options);
  }

  async discard(sectors: Sectors, options?: AsyncWaitOptions): Promise<void> {
    await this.#run(this.#range(BLOCK_COMMAND.discard, sectors), options);
  }

  // --- requests -------------------------------------------------------------------------------------------------------------

  #range(command: number, { sector, count = 1 }: Sectors): Order {
    const { sectors } = this;
    if (!(Number.isInteger(sector) && Number.isInteger(count) && sector >= 0 && count >= 1 && sector + count <= sectors))
      throw new TwzError('OutOfRange', `sectors ${sector} to ${sector + count}; the device has ${sectors}`, { sector, count });
    return { command, sector, count, object: undefined, at: 0 };
  }

  #transfer(command: number, { object, at, ...sectors }: BlockTarget): Order {
    const order = this.#range(command, sectors);
    const bytes = order.count * this.sectorSize;
    if (bytes > BLOCK_BYTES_MAX)
      throw new TwzError('OutOfRange', `a request of ${bytes} bytes; the limit is ${BLOCK_BYTES_MAX}`, { bytes });
    if (!(Number.isInteger(at) && at >= 4096 && at + bytes <= object.size))
      throw new TwzError('OutOfRange', `bytes ${at} to ${at + bytes} of an object of ${object.size}, from 4096`, { at, bytes });
    return { ...order, object, at };
  }

  /** Claims a line and asks; or what to wait for. */
  #ask(asked: Asked, order: Order): Pause | undefined {
    const freed = this.head.interrupt(BLOCK_INTERRUPT.freed);
    const value = Atomics.load(this.head.i32, freed.index);
    const line = claimLine(this.head, this.get(BLOCK.linesAt), this.get(BLOCK.lines), BLOCK_LINE.bytes, BLOCK_LINE.owner);
    if (line < 0) return { index: freed.index, value };
    asked.line = line;
    const { words, i32 } = this.head;
    const put = (offset: number, number: number): number => Atomics.store(i32, (line + offset) >>> 2, number);
    put(BLOCK_LINE.command, order.command);
    put(BLOCK_LINE.error, 0);
    words.dv.setBigInt64(line + BLOCK_LINE.sector, BigInt(order.sector), true);
    put(BLOCK_LINE.count, order.count);
    put(BLOCK_LINE.offset, order.at);
    writeId(words.u8, line + BLOCK_LINE.object, order.object?.id ?? NULL_ID);
    put(BLOCK_LINE.state, BLOCK_STATE.asked);
    this.head.knock();
    return undefined;
  }

  #pause(asked: Asked): Pause | undefined {
    const index = (asked.line + BLOCK_LINE.state) >>> 2;
    const value = Atomics.load(this.head.i32, index);
    return value === BLOCK_STATE.asked || value === BLOCK_STATE.taken ? { index, value } : undefined;
  }

  /** Claims, asks, and waits for the end, a step at a time. */
  #steps(asked: Asked, order: Order): () => Pause | undefined {
    return () => (asked.line < 0 ? this.#ask(asked, order) : undefined) ?? this.#pause(asked);
  }

  #runSync(order: Order, options?: WaitOptions): void {
    this.head.demandReady();
    const asked: Asked = { line: -1 };
    try {
      this.head.untilSync(this.#steps(asked, order), options);
    } catch (error) {
      this.#giveUp(asked);
      throw error;
    }
    this.#complete(asked, order);
  }

  async #run(order: Order, options?: AsyncWaitOptions): Promise<void> {
    this.head.demandReady();
    const asked: Asked = { line: -1 };
    try {
      await this.head.until(this.#steps(asked, order), options);
    } catch (error) {
      this.#giveUp(asked);
      throw error;
    }
    this.#complete(asked, order);
  }

  /** The driver frees the line when it is done with it. */
  #giveUp({ line }: Asked): void {
    if (line >= 0 && this.head.isThere) Atomics.or(this.head.i32, (line + BLOCK_LINE.owner) >>> 2, LINE_LEFT);
  }

  #complete({ line }: Asked, { sector, count }: Order): void {
    const { i32, words } = this.head;
    const failed = Atomics.load(i32, (line + BLOCK_LINE.state) >>> 2) === BLOCK_STATE.failed;
    const code = Atomics.load(i32, (line + BLOCK_LINE.error) >>> 2);
    Atomics.store(i32, (line + BLOCK_LINE.state) >>> 2, BLOCK_STATE.idle);
    Atomics.store(i32, (line + BLOCK_LINE.owner) >>> 2, 0);
    const { index } = this.head.interrupt(BLOCK_INTERRUPT.freed);
    Atomics.add(i32, index, 1);
    words.wake(index);
    if (failed) throw errorOf(code, `the block device ${this.name} failed at sectors ${sector} to ${sector + count}`);
  }
}
