/** The client's side of the conversation with a local server: one request after the other, each with its answer. */
import { ERRORS, TwzError, type ErrorContext, type ErrorName } from '../../abi/errors.ts';
import { LocalEnd, closeDescriptor } from '../../host/linux/descriptors.ts';
import { Assembler, encodeFrame, type ServeFrame } from './frames.ts';

export interface Reply extends ServeFrame {
  /** What came with it; the caller closes it. */
  readonly descriptor: number | undefined;
}

export class Wire {
  readonly #end: LocalEnd;
  readonly #assembler = new Assembler();
  #number = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #gone = false;

  /** Throws ServeUnreachable. */
  constructor(path: string, patienceMs: number) {
    this.#end = new LocalEnd(path, patienceMs);
  }

  /** The server is gone, as far as can be seen without asking it. */
  get gone(): boolean {
    return this.#gone || this.#end.ended;
  }

  /** Throws what the server answers with, ServeGone, ServeProtocol. */
  ask(what: string, head: object = {}, body?: Uint8Array): Promise<Reply> {
    const turn = this.#turn.then(() => this.#ask(what, head, body));
    // Whoever asked learns of it; the next one asks all the same.
    this.#turn = Promise.allSettled([turn]);
    return turn;
  }

  async #ask(what: string, head: object, body: Uint8Array | undefined): Promise<Reply> {
    const re = ++this.#number;
    const bytes = encodeFrame({ re, ask: what, ...head }, body);
    const descriptors: number[] = [];
    let sound = false;
    try {
      if (this.#gone) throw goneError();
      this.#end.send(bytes);
      const frame = await this.#receive(descriptors);
      const failed = frame.head['error'];
      // After what is no answer to this request nothing that comes can be told apart.
      sound = frame.head['re'] === re;
      if (failed !== undefined) throw errorOf(failed);
      if (!sound) throw new TwzError('ServeProtocol', 'the server answers what was not asked');
      return { ...frame, descriptor: descriptors.shift() };
    } finally {
      if (!sound) this.close();
      for (const each of descriptors) closeDescriptor(each);
    }
  }

  async #receive(descriptors: number[]): Promise<ServeFrame> {
    for (;;) {
      const piece = await this.#end.receive();
      descriptors.push(...piece.descriptors);
      if (piece.bytes.length === 0) throw goneError();
      for (const frame of this.#assembler.add(piece.bytes)) return frame;
    }
  }

  close(): void {
    this.#gone = true;
    this.#end.close();
  }
}

function goneError(): TwzError {
  return new TwzError('ServeGone', 'the connection to the server has ended');
}

function errorOf(failed: unknown): TwzError {
  const part = (name: string): unknown => (typeof failed === 'object' && failed !== null ? Reflect.get(failed, name) : undefined);
  const [name, message, context] = [part('error'), part('message'), part('context')];
  if (typeof name !== 'string' || !isErrorName(name) || typeof message !== 'string')
    return new TwzError('ServeProtocol', 'the server answers with what is no error');
  const kept: Record<string, string | number | boolean> = {};
  if (typeof context === 'object' && context !== null)
    for (const [key, value] of Object.entries(context))
      if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') kept[key] = value;
  return new TwzError(name, message.slice(0, 4096), kept satisfies ErrorContext);
}

function isErrorName(name: string): name is ErrorName {
  return Object.hasOwn(ERRORS, name);
}
