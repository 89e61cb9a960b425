/** The driver of the console. */
import { CONSOLE, CONSOLE_INTERRUPT, CONSOLE_MODE, CONSOLE_RECORD, CONSOLE_RECORDS } from '../../abi/device-format.ts';
import type { ConsoleStreams } from '../../host/console-streams.ts';
import { Terminal } from '../../host/console.ts';
import { variableBytes } from '../../lib/rings/records.ts';
import { createRing, ringBytes, type RingOptions } from '../../lib/rings/ring.ts';
import type { Consumer, Producer } from '../../lib/rings/sides.ts';
import { line, type Driver, type Served } from './served.ts';

const RECORD = variableBytes(CONSOLE_RECORD);
const OUTPUT: RingOptions<Uint8Array> = { kind: 'mpsc', record: RECORD, records: CONSOLE_RECORDS };
const INPUT: RingOptions<Uint8Array> = { kind: 'spmc', record: RECORD, records: CONSOLE_RECORDS };
const NEWLINE = 10;

export const CONSOLE_BYTES: number = CONSOLE.bytes + line(ringBytes(OUTPUT)) + line(ringBytes(INPUT));

/** Bytes that come as they like, as lines. */
class Lines {
  #rest: Uint8Array = new Uint8Array(0);

  /** The lines that are whole, or as long as a record. */
  *add(chunk: Uint8Array): Generator<Uint8Array> {
    let bytes = chunk;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
    }
    let at = 0;
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = Math.min(newline < 0 ? Infinity : newline + 1, at + CONSOLE_RECORD);
      if (newline < 0 && end > bytes.length) break;
      yield bytes.subarray(at, end);
      at = end;
    }
    this.#rest = bytes.slice(at);
  }

  /** What is there of a line without an end. */
  *flush(): Generator<Uint8Array> {
    if (this.#rest.length > 0) yield this.#rest;
    this.#rest = new Uint8Array(0);
  }
}

function* piecesOf(chunk: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < chunk.length; at += CONSOLE_RECORD) yield chunk.subarray(at, at + CONSOLE_RECORD);
}

export class ConsoleDriver implements Driver {
  readonly #device: Served;
  readonly #terminal: Terminal;
  readonly #output: Consumer<Uint8Array>;
  readonly #input: Producer<Uint8Array>;
  readonly #running: Promise<unknown>;

  constructor(device: Served, streams: ConsoleStreams) {
    this.#device = device;
    const { words } = device;
    device.room(CONSOLE.bytes);
    const output = device.room(ringBytes(OUTPUT));
    const input = device.room(ringBytes(INPUT));
    this.#output = createRing(words, output, OUTPUT).consumer({ patience: 1000 });
    this.#input = createRing(words, input, INPUT).producer({ patience: 1000 });
    device.put(CONSOLE.output, output);
    device.put(CONSOLE.input, input);
    this.#terminal = new Terminal(streams);
    this.#measure();
    this.#terminal.onResize(() => {
      this.#measure();
      device.raise(CONSOLE_INTERRUPT.size);
    });
    device.ready();
    this.#running = Promise.all([device.run(() => this.#putOut()), device.run(() => this.#takeIn()), device.run(() => this.#followMode())]);
  }

  #measure(): void {
    const { columns, rows } = this.#terminal.size;
    if (!this.#device.isThere) return;
    this.#device.put(CONSOLE.columns, columns);
    this.#device.put(CONSOLE.rows, rows);
  }

  async #putOut(): Promise<void> {
    const { signal } = this.#device;
    for (;;) {
      // Programs that died are no news: others write.
      const bytes = await this.#output.receiveAsync({ signal }).catch((error: unknown) => unlessAlone(error));
      if (bytes === undefined) return;
      if (bytes !== null) await this.#terminal.write(bytes);
    }
  }

  async #takeIn(): Promise<void> {
    const lines = new Lines();
    for (let chunk = await this.#terminal.read(); chunk !== undefined; chunk = await this.#terminal.read()) {
      if (this.#device.get(CONSOLE.mode) === CONSOLE_MODE.lines) await this.#give(lines.add(chunk));
      else {
        await this.#give(lines.flush());
        await this.#give(piecesOf(chunk));
      }
    }
    await this.#give(lines.flush());
    this.#input.close();
    this.#device.raise(CONSOLE_INTERRUPT.input);
  }

  async #give(records: Iterable<Uint8Array>): Promise<void> {
    const { signal } = this.#device;
    for (const record of records) {
      for (let given = false; !given;)
        given = await this.#input.submitAsync(record, { signal }).then(
          () => true,
          (error: unknown) => unlessAlone(error) !== null,
        );
      this.#device.raise(CONSOLE_INTERRUPT.input);
    }
  }

  async #followMode(): Promise<void> {
    for (let heard = 0; ; heard = await this.#device.knocked(heard))
      this.#terminal.setRaw(this.#device.get(CONSOLE.mode) === CONSOLE_MODE.bytes);
  }

  async close(): Promise<void> {
    this.#device.end();
    this.#terminal.hurry();
    if (this.#device.isThere) {
      this.#output.close();
      this.#input.close();
    }
    await this.#running;
    if (this.#device.isThere) await this.#device.run(() => this.#putRest());
    this.#terminal.close();
  }

  /** What programs had written before the end. */
  async #putRest(): Promise<void> {
    for (let bytes = this.#output.tryReceive(); bytes !== undefined; bytes = this.#output.tryReceive()) await this.#terminal.write(bytes);
  }
}

/** All programs on the other side died: the driver goes on for those to come. */
function unlessAlone(error: unknown): null {
  if (error instanceof Error && error.name === 'PeerGone') return null;
  throw error;
}
