/** The console: what programs write comes out line by line, what people type comes in. */
import { CONSOLE, CONSOLE_INTERRUPT, CONSOLE_MODE, CONSOLE_RECORD } from '../../abi/device-format.ts';
import { variableBytes } from '../rings/records.ts';
import { openRing } from '../rings/ring.ts';
import type { Consumer, Producer } from '../rings/sides.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import { Device, SIDE, type Pause } from './head.ts';

const RECORD = variableBytes(CONSOLE_RECORD);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** In records of the ring, not within a character. */
function* recordsOf(value: string | Uint8Array): Generator<Uint8Array> {
  const bytes = typeof value === 'string' ? encoder.encode(value) : value;
  for (let at = 0; at < bytes.length;) {
    let end = Math.min(at + CONSOLE_RECORD, bytes.length);
    if (end < bytes.length) {
      let whole = end;
      while (whole > at && ((bytes[whole] ?? 0) & 0xc0) === 0x80) whole--;
      if (whole > at) end = whole;
    }
    yield bytes.subarray(at, end);
    at = end;
  }
}

export class ConsoleDevice extends Device {
  #output: Producer<Uint8Array> | undefined;
  #input: Consumer<Uint8Array> | undefined;

  get #out(): Producer<Uint8Array> {
    return (this.#output ??= openRing(this.words, this.get(CONSOLE.output), RECORD).producer(SIDE));
  }

  get #in(): Consumer<Uint8Array> {
    return (this.#input ??= openRing(this.words, this.get(CONSOLE.input), RECORD).consumer(SIDE));
  }

  /** Of a terminal; 0 where it is none. */
  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.get(CONSOLE.columns), rows: this.get(CONSOLE.rows) };
  }

  /** Resolves when the size has become another. */
  async resized(options?: AsyncWaitOptions): Promise<void> {
    const { index } = this.head.interrupt(CONSOLE_INTERRUPT.size);
    const value = Atomics.load(this.head.i32, index);
    await this.head.until((): Pause | undefined => (Atomics.load(this.head.i32, index) === value ? { index, value } : undefined), options);
  }

  /** Whether input comes in lines (the default), or in bytes as they are typed. For all programs. */
  get mode(): 'lines' | 'bytes' {
    return this.get(CONSOLE.mode) === CONSOLE_MODE.bytes ? 'bytes' : 'lines';
  }

  set mode(mode: 'lines' | 'bytes') {
    Atomics.store(this.head.i32, (this.body + CONSOLE.mode) >>> 2, CONSOLE_MODE[mode]);
    this.head.knock();
  }

  /**
   * Writes; blocks while the ring is full. Up to 1016 bytes come out in one piece, what others write goes between. Throws DeviceGone,
   * DeviceTimedOut.
   */
  writeSync(value: string | Uint8Array, options?: WaitOptions): void {
    this.head.demandReady();
    for (const record of recordsOf(value)) this.head.patientlySync((patience) => this.#out.submit(record, patience), options);
  }

  async write(value: string | Uint8Array, options?: AsyncWaitOptions): Promise<void> {
    this.head.demandReady();
    for (const record of recordsOf(value)) await this.head.patiently((patience) => this.#out.submitAsync(record, patience), options);
  }

  /** What comes in next: a line with its end, or bytes; undefined at the end of the input. Of several readers one gets it. */
  readSync(options?: WaitOptions): string | undefined {
    return text(
      this.head.patientlySync((patience) => this.#in.receive(patience), options),
      () => this.head.demandReady(),
    );
  }

  async read(options?: AsyncWaitOptions): Promise<string | undefined> {
    return text(await this.head.patiently((patience) => this.#in.receiveAsync(patience), options), () => this.head.demandReady());
  }

  /** Takes part in the rings no more. */
  leave(): void {
    if (this.head.isThere) {
      this.#output?.leave();
      this.#input?.leave();
    }
    this.#output = this.#input = undefined;
  }
}

/** The input has ended, or the device has. */
function text(bytes: Uint8Array | undefined, demand: () => void): string | undefined {
  if (bytes !== undefined) return decoder.decode(bytes);
  demand();
  return undefined;
}
