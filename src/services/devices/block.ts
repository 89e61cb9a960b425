/**
 * The driver of a block device. It moves bytes by a buffer of its own: a file that is read while the object goes away must not be read into
 * what lies there next.
 */
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
import { readId, type ObjectId } from '../../abi/id.ts';
import { THREAD_MASK } from '../../abi/sync.ts';
import { Disk } from '../../host/disk.ts';
import type { Timer } from '../../host/host.ts';
import type { Obj } from '../../lib/object.ts';
import type { Space } from '../../space.ts';
import type { BlockOptions } from './start.ts';
import type { Driver, Served } from './served.ts';

const SECTOR = 512;
const PAGE = 4096;
const SWEEP_MS = 250;

export function blockBytes(requests: number): number {
  return BLOCK.bytes + requests * BLOCK_LINE.bytes + 64;
}

interface Request {
  readonly command: number;
  /** Bytes in the file. */
  readonly from: number;
  readonly length: number;
  readonly object: ObjectId;
  readonly at: number;
}

/** The object that a request moves bytes from or to. */
function targetOf(space: Space, { object: id, at, length }: Request): Obj {
  space.refresh();
  const object = space.object(id);
  if (object.kind === 'volatile') throw new TwzError('NotShared', `object ${id} is volatile: its pages are another process's`, { id });
  if (!(at >= PAGE && at + length <= object.size))
    throw new TwzError('OutOfRange', `bytes ${at} to ${at + length} of an object of ${object.size}`, { at, length });
  return object;
}

/** Into a shared object as it is, into another by a transaction. */
function storeInto(space: Space, request: Request, bytes: Uint8Array): void {
  const object = targetOf(space, request);
  if (object.kind === 'shared') object.sync().u8.set(bytes, request.at);
  else
    space.relaxed(() => {
      const { handle } = object;
      handle.markRange(request.at, bytes.length);
      handle.u8.set(bytes, request.at);
    });
}

export class BlockDriver implements Driver {
  readonly #device: Served;
  readonly #space: Space;
  readonly #disk: Disk;
  readonly #sectorSize: number;
  readonly #sectors: number;
  readonly #readOnly: boolean;
  readonly #first: number;
  readonly #count: number;
  readonly #under = new Set<Promise<void>>();
  readonly #running: Promise<void>;
  #sweeping: Timer | undefined;

  static async start(device: Served, space: Space, requests: number, options: BlockOptions): Promise<BlockDriver> {
    const { file, size, sectorSize = SECTOR, readOnly = false } = options;
    if (![512, 1024, 2048, 4096].includes(sectorSize))
      throw new TwzError('OutOfRange', `sectors of ${sectorSize} bytes; expected 512, 1024, 2048 or 4096`, { sectorSize });
    if (size !== undefined && !(Number.isSafeInteger(size) && size > 0 && size % sectorSize === 0))
      throw new TwzError('OutOfRange', `a size of ${size}; expected a multiple of ${sectorSize}`, { size });
    const disk = await Disk.open(space.kernel.host, { file, size, readOnly });
    return new BlockDriver(device, space, disk, requests, sectorSize, readOnly);
  }

  constructor(device: Served, space: Space, disk: Disk, requests: number, sectorSize: number, readOnly: boolean) {
    this.#device = device;
    this.#space = space;
    this.#disk = disk;
    this.#count = requests;
    this.#sectorSize = sectorSize;
    this.#sectors = Math.floor(disk.size / sectorSize);
    this.#readOnly = readOnly;
    device.room(BLOCK.bytes);
    this.#first = device.room(requests * BLOCK_LINE.bytes);
    device.put(BLOCK.sectorSize, sectorSize);
    device.put(BLOCK.flags, readOnly ? BLOCK_FLAG.readOnly : 0);
    device.words.dv.setBigInt64(device.body + BLOCK.sectors, BigInt(this.#sectors), true);
    device.put(BLOCK.lines, requests);
    device.put(BLOCK.linesAt, this.#first);
    device.ready();
    this.#running = device.run(() => this.#serve());
    this.#sweep();
  }

  #word(number: number, offset: number): number {
    return (this.#first + number * BLOCK_LINE.bytes + offset) >>> 2;
  }

  #get(number: number, offset: number): number {
    return Atomics.load(this.#device.words.i32, this.#word(number, offset));
  }

  #put(number: number, offset: number, value: number): void {
    Atomics.store(this.#device.words.i32, this.#word(number, offset), value);
  }

  async #serve(): Promise<void> {
    for (let heard = 0; ; heard = await this.#device.knocked(heard)) {
      const { i32 } = this.#device.words;
      for (let number = 0; number < this.#count; number++) {
        const state = this.#word(number, BLOCK_LINE.state);
        if (Atomics.compareExchange(i32, state, BLOCK_STATE.asked, BLOCK_STATE.taken) !== BLOCK_STATE.asked) continue;
        const done = this.#complete(number).finally(() => this.#under.delete(done));
        this.#under.add(done);
      }
    }
  }

  async #complete(number: number): Promise<void> {
    let state: number = BLOCK_STATE.done;
    let code = 0;
    try {
      await this.#move(this.#requestOf(number));
    } catch (error) {
      state = BLOCK_STATE.failed;
      code = error instanceof TwzError ? error.code : 0;
    }
    if (!this.#device.isThere) return;
    // Who gives up after this look is found by the sweep: once it is done, the line may be another's.
    if ((this.#get(number, BLOCK_LINE.owner) & LINE_LEFT) !== 0) this.#free(number);
    else {
      this.#put(number, BLOCK_LINE.error, code);
      this.#put(number, BLOCK_LINE.state, state);
      this.#device.words.wake(this.#word(number, BLOCK_LINE.state));
    }
    this.#device.raise(BLOCK_INTERRUPT.completed);
  }

  /** What a program wants, judged. */
  #requestOf(number: number): Request {
    const { u8, dv } = this.#device.words;
    const line = this.#first + number * BLOCK_LINE.bytes;
    const command = dv.getUint32(line + BLOCK_LINE.command, true);
    const sector = Number(dv.getBigInt64(line + BLOCK_LINE.sector, true));
    const count = dv.getUint32(line + BLOCK_LINE.count, true);
    const length = count * this.#sectorSize;
    const { read, write, flush, discard } = BLOCK_COMMAND;
    if (command !== flush && !(sector >= 0 && count >= 1 && sector + count <= this.#sectors))
      throw new TwzError('OutOfRange', `sectors ${sector} to ${sector + count}; the device has ${this.#sectors}`, { sector, count });
    if ((command === read || command === write) && length > BLOCK_BYTES_MAX)
      throw new TwzError('OutOfRange', `a request of ${length} bytes; the limit is ${BLOCK_BYTES_MAX}`, { length });
    if (this.#readOnly && (command === write || command === discard))
      throw new TwzError('ReadOnly', `the block device ${this.#device.name} is for reading`, { name: this.#device.name });
    return {
      command,
      from: sector * this.#sectorSize,
      length,
      object: readId(u8, line + BLOCK_LINE.object),
      at: dv.getUint32(line + BLOCK_LINE.offset, true),
    };
  }

  async #move(request: Request): Promise<void> {
    const { command, from, length, at } = request;
    if (command === BLOCK_COMMAND.read) {
      targetOf(this.#space, request);
      const bytes = new Uint8Array(length);
      await this.#disk.read(bytes, from);
      storeInto(this.#space, request, bytes);
    } else if (command === BLOCK_COMMAND.write) await this.#disk.write(targetOf(this.#space, request).bytes(at, length), from);
    else if (command === BLOCK_COMMAND.flush) await this.#disk.flush();
    else if (command === BLOCK_COMMAND.discard) await this.#disk.discard(from, length);
    else throw new TwzError('DeviceFailed', `a block device knows no command ${command}`, { command });
  }

  #free(number: number): void {
    this.#put(number, BLOCK_LINE.state, BLOCK_STATE.idle);
    this.#put(number, BLOCK_LINE.owner, 0);
    this.#device.raise(BLOCK_INTERRUPT.freed);
  }

  #sweep(): void {
    this.#sweeping = this.#device.host.timer(SWEEP_MS, () => {
      if (this.#device.signal.aborted || !this.#device.isThere) return;
      this.#freeDead();
      this.#sweep();
    });
  }

  /** Lines of programs that died, or gave up; what the driver is at is freed when it is done. */
  #freeDead(): void {
    const { threads } = this.#device.words;
    for (let number = 0; number < this.#count; number++) {
      const owner = this.#get(number, BLOCK_LINE.owner);
      const state = this.#get(number, BLOCK_LINE.state);
      if (owner === 0 || state === BLOCK_STATE.asked || state === BLOCK_STATE.taken) continue;
      if ((owner & LINE_LEFT) !== 0 || !threads.lives(owner & THREAD_MASK)) this.#free(number);
    }
  }

  /** What is under way is brought to its end; what was not begun is not. */
  async close(): Promise<void> {
    this.#device.end();
    this.#sweeping?.cancel();
    await this.#running;
    await Promise.all(this.#under);
    if (this.#device.isThere)
      for (let number = 0; number < this.#count; number++) this.#device.words.wake(this.#word(number, BLOCK_LINE.state));
    await this.#disk.close();
  }
}
