/**
 * Compartments in threads of their own: gates are called by a queue of requests in shared memory, and give promises.
 *
 * The thread opens the space for itself. What a call does to it is seen by the caller once the call has returned.
 */
import { ERRORS, TwzError, isTwzError, type ErrorName } from '../abi/errors.ts';
import { Region } from '../host/futex.ts';
import { startThread, type Program as Thread } from '../host/programs.ts';
import { variableBytes } from '../lib/rings/records.ts';
import { createRequests, requestBytes, type Requester, type Responder } from '../lib/rings/requests.ts';
import type { Limits } from '../runtime/compartment.ts';
import type { GateValue } from '../runtime/gate-values.ts';
import type { Space } from '../space.ts';

/** Bytes of one call, and of what it gives. */
export const CALL_MAX = 1 << 20;
const IN_FLIGHT = 16;
export const CALL_RECORDS = { request: variableBytes(CALL_MAX), completion: variableBytes(CALL_MAX), inFlight: IN_FLIGHT } as const;

/** What the thread is started with. */
export interface RemoteStart {
  readonly directory: string;
  readonly words: SharedArrayBuffer;
  readonly module: Uint8Array | undefined;
  readonly code: string | undefined;
  readonly name: string | undefined;
  readonly arguments: readonly string[];
  readonly limits: Partial<Limits>;
}

export interface RemoteOptions {
  readonly name?: string | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly limits?: Partial<Limits> | undefined;
}

export class RemoteCompartment {
  readonly name: string | undefined;
  readonly #space: Space;
  readonly #thread: Thread;
  readonly #requester: Requester<Uint8Array, Uint8Array>;
  /** Ends those calls that nobody will answer any more. */
  readonly #waiting = new Set<(reason: unknown) => void>();
  #closed = false;

  /** Use `programs(space).startThread`. */
  constructor(space: Space, source: { readonly module?: Uint8Array; readonly code?: string }, options: RemoteOptions) {
    const { host, directory } = space.kernel;
    const words = new SharedArrayBuffer(Math.ceil(requestBytes(CALL_RECORDS) / 64) * 64);
    const region = new Region(host.futex, new Uint8Array(words));
    const requests = createRequests(region, 0, CALL_RECORDS);
    this.#requester = requests.requester();
    const start: RemoteStart = {
      directory,
      words,
      module: source.module,
      code: source.code,
      name: options.name,
      arguments: options.arguments ?? [],
      limits: options.limits ?? {},
    };
    const file = import.meta.url.endsWith('.ts') ? './programs-thread.ts' : './programs-thread.js';
    this.#thread = startThread(new URL(file, import.meta.url), start, {
      name: `twizzler program ${options.name ?? ''}`,
      execArgv: [],
      prints: true,
    });
    this.name = options.name;
    this.#space = space;
    void this.#thread.ended.then(({ error }) => {
      this.#closed = true;
      const gone = new TwzError('CompartmentClosed', `the thread of the compartment ${options.name ?? ''} has ended`, {}, error);
      for (const reject of this.#waiting) reject(gone);
      failAll(requests.responder(), gone);
    });
  }

  /** Calls a gate. Rejects with what is wrong with it, or what the program failed by; CompartmentClosed where its thread has ended. */
  async call(name: string, ...values: readonly GateValue[]): Promise<GateValue | undefined> {
    if (this.#closed) throw new TwzError('CompartmentClosed', `the compartment ${this.name ?? ''} was closed`);
    this.#space.kernel.idle('a call of a program in another thread');
    const given = encodeValues([name, ...values]);
    const answer = await new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting.add(reject);
      this.#requester
        .request(given)
        .then(resolve, reject)
        .finally(() => this.#waiting.delete(reject));
    });
    this.#space.refresh();
    return decodeAnswer(answer);
  }

  /** Ends the thread when what is on its way has been answered; resolves when it has ended. */
  async close(): Promise<void> {
    if (!this.#closed) this.#requester.close();
    this.#closed = true;
    await this.#thread.ended;
  }

  /** Ends the thread at once, wherever it is. */
  async kill(): Promise<void> {
    this.#closed = true;
    this.#thread.terminate();
    await this.#thread.ended;
  }
}

/** What its thread never took is answered here: it may have ended before it took part. */
function failAll(responder: Responder<Uint8Array, Uint8Array>, why: TwzError): void {
  try {
    for (let request = responder.receive({ timeout: 0 }); request !== undefined; request = responder.receive({ timeout: 0 }))
      responder.fail(request.id, why);
  } catch (error) {
    if (!isTwzError(error)) throw error;
  } finally {
    responder.leave();
  }
}

// --- what crosses ---------------------------------------------------------------------------------------------------------------

const TAG = { number: 0, bigint: 1, boolean: 2, text: 3, bytes: 4, nothing: 5, error: 6 } as const;
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

export function encodeValues(values: readonly (GateValue | undefined)[]): Uint8Array {
  const parts = values.map((value): readonly [number, Uint8Array] => {
    const eight = new DataView(new ArrayBuffer(8));
    switch (typeof value) {
      case 'number':
        eight.setFloat64(0, value, true);
        return [TAG.number, new Uint8Array(eight.buffer)];
      case 'bigint':
        eight.setBigInt64(0, value, true);
        return [TAG.bigint, new Uint8Array(eight.buffer)];
      case 'boolean':
        return [TAG.boolean, Uint8Array.of(value ? 1 : 0)];
      case 'string':
        return [TAG.text, UTF8.encode(value)];
      case 'undefined':
        return [TAG.nothing, new Uint8Array(0)];
      default:
        return [TAG.bytes, value];
    }
  });
  return join(parts);
}

export function encodeError(error: unknown): Uint8Array {
  const { code, message } = isTwzError(error) ? error : { code: 0, message: error instanceof Error ? error.message : String(error) };
  const bytes = new Uint8Array(4 + UTF8.encode(message).length);
  new DataView(bytes.buffer).setUint32(0, code, true);
  bytes.set(UTF8.encode(message), 4);
  return join([[TAG.error, bytes]]);
}

/** Each as a byte of its tag, four of its length, and itself. */
function join(parts: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const length = parts.reduce((sum, [, bytes]) => sum + 5 + bytes.length, 0);
  if (length > CALL_MAX)
    throw new TwzError('OutOfRange', `a call of ${length} bytes; between threads one has no more than ${CALL_MAX}`, { length });
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [tag, bytes] of parts) {
    out[at] = tag;
    view.setUint32(at + 1, bytes.length, true);
    out.set(bytes, at + 5);
    at += 5 + bytes.length;
  }
  return out;
}

export function decodeValues(bytes: Uint8Array): (GateValue | undefined)[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const values: (GateValue | undefined)[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at];
    const length = view.getUint32(at + 1, true);
    const inside = bytes.subarray(at + 5, at + 5 + length);
    if (tag === TAG.number) values.push(view.getFloat64(at + 5, true));
    else if (tag === TAG.bigint) values.push(view.getBigInt64(at + 5, true));
    else if (tag === TAG.boolean) values.push(inside[0] === 1);
    else if (tag === TAG.text) values.push(TEXT.decode(inside));
    else if (tag === TAG.bytes) values.push(inside.slice());
    else if (tag === TAG.nothing) values.push(undefined);
    else throw errorOf(inside);
    at += 5 + length;
  }
  return values;
}

function decodeAnswer(bytes: Uint8Array): GateValue | undefined {
  return decodeValues(bytes)[0];
}

const NAMES = new Map<number, ErrorName>(Object.entries(ERRORS).map(([name, { code }]) => [code, name as ErrorName]));

function errorOf(bytes: Uint8Array): Error {
  const code = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0, true);
  const name = NAMES.get(code);
  const message = TEXT.decode(bytes.subarray(4));
  return name === undefined ? new Error(message) : new TwzError(name, message);
}
