/** A terminal, or what stands in for one: bytes in, bytes out. */
import type { ConsoleStreams, InputStream, OutputStream } from './console-streams.ts';
import { systemError } from './node-files.ts';

export class Terminal {
  readonly #input: InputStream;
  readonly #output: OutputStream;
  #ended = false;
  #closed = false;
  #stir: (() => void) | undefined;
  #drained: (() => void) | undefined;
  #failure: unknown;
  readonly #listeners: (() => void)[] = [];

  /** The program's own, where nothing else is given. */
  constructor({ input = process.stdin, output = process.stdout }: ConsoleStreams) {
    this.#input = input;
    this.#output = output;
    const stir = (): void => this.#stir?.();
    const ended = (): void => {
      this.#ended = true;
      stir();
    };
    const failed = (error: unknown): void => {
      this.#failure = error;
      ended();
    };
    this.#listen(input, 'readable', stir);
    this.#listen(input, 'end', ended);
    this.#listen(input, 'close', ended);
    this.#listen(input, 'error', failed);
    const drained = (): void => this.#drained?.();
    this.#listen(output, 'drain', drained);
    this.#listen(output, 'close', drained);
    this.#listen(output, 'error', (error) => {
      failed(error);
      drained();
    });
  }

  #listen(stream: InputStream | OutputStream, event: string, listener: (...args: unknown[]) => void): void {
    stream.on(event, listener);
    this.#listeners.push(() => stream.off(event, listener));
  }

  /** Undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk: unknown = this.#closed ? null : this.#input.read();
      if (typeof chunk === 'string') return new TextEncoder().encode(chunk);
      if (chunk instanceof Uint8Array) return chunk;
      if (this.#ended || this.#closed) return undefined;
      await new Promise<void>((resolve) => (this.#stir = resolve));
    }
  }

  /** Resolves when more can be written. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw systemError('the console', this.#failure);
    if (!this.#output.write(bytes) && !this.#output.destroyed && !this.#closed)
      await new Promise<void>((resolve) => (this.#drained = resolve));
    if (this.#failure !== undefined) throw systemError('the console', this.#failure);
  }

  /** Of the terminal; zeros where it is none. */
  get size(): { readonly columns: number; readonly rows: number } {
    const { columns = 0, rows = 0 } = this.#output;
    return { columns, rows };
  }

  onResize(changed: () => void): void {
    this.#listen(this.#output, 'resize', changed);
  }

  /** Each key as it is pressed, where it is a terminal. */
  setRaw(raw: boolean): void {
    this.#input.setRawMode?.(raw);
  }

  /** Reads no more, and does not wait for what is written. */
  hurry(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.setRaw(false);
    this.#input.pause();
    this.#stir?.();
    this.#drained?.();
  }

  /** Lets go of the streams. They stay as they are. */
  close(): void {
    this.hurry();
    for (const leave of this.#listeners.splice(0)) leave();
  }
}
