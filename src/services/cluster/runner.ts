/**
 * Code mobility: functions that run where their data is. A function is an object like any other: its text, sealed, so its ID is the hash of
 * it; a node that never saw it gets it as it gets objects, once.
 *
 * A run of a plain function is one transaction, with the note that it has been: what it stores is stored once, or not at all, however often
 * it is asked for. Others are in bodies.ts.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { Realm, type SentFunction } from '../../host/functions.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { linesToLog, run } from '../../kernel/transaction.ts';
import { text, u32 } from '../../lib/fields.ts';
import { struct } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import type { RunLimits } from '../mobility.ts';
import { LIBRARY, ModuleSpace } from '../modules/library.ts';
import { Activations } from './activations.ts';
import { privately } from './tables.ts';
import { decodeValues, encodeValues } from './values.ts';

export const CODE_FORMAT = 1;
export const Code = struct('ClusterCode', { format: u32, source: text });
const COMPILED_MAX = 1000;
const LINE_BYTES = 64;
/** A method, as it stands in an object. */
const METHOD = /^(?!function\b|async\s*(?:function\b|\(|[\w$]+\s*=>))(async\s+)?(\*\s*)?[\w$]+\s*\(/;

/** Text of a function that can stand alone. Throws CodeInvalid. */
export function sourceOf(fn: (...given: never[]) => unknown): string {
  const source = Function.prototype.toString.call(fn);
  if (source.includes('[native code]')) throw new TwzError('CodeInvalid', 'a function of the system, or one that is bound, has no text');
  const [head, isAsync = '', star = ''] = METHOD.exec(source) ?? [];
  return head === undefined ? source : `${isAsync}function${star} ${source.slice(isAsync.length + star.length)}`;
}

/** The object that holds a function's text. The same text is the same object. */
export function codeObject(space: Space, source: string): ObjectId {
  return space.relaxed(() => {
    const draft = space.create(Code, { format: CODE_FORMAT, source }, { kind: 'volatile' });
    const id = space.seal(draft);
    space.delete(draft);
    return id;
  });
}

/** Text of the function that an object holds. Throws CodeInvalid, ObjectMissing. */
export function textOf(space: Space, code: ObjectId): string {
  const { format, source } = privately(space, () => {
    const { format: of, source: told } = space.get(code, Code);
    return { format: of, source: told };
  });
  if (format !== CODE_FORMAT)
    throw new TwzError('CodeInvalid', `code ${code} has format ${format}; this build knows ${CODE_FORMAT}`, { id: code });
  return source;
}

/** A function: the object that holds it; or its text, where it goes nowhere. */
export type Code = ObjectId | { readonly source: string };

export interface Ran {
  /** What it gave, as values of another node. */
  readonly gave: Uint8Array;
  /** Where the log ended behind it, and the objects that it stored to; none where it stored nothing. */
  readonly lsn: number;
  readonly stored: readonly ObjectId[];
  /** It had been before; this is what it gave then. */
  readonly again: boolean;
  readonly ms: number;
}

export interface RanOptions {
  readonly limits?: RunLimits;
  /** Nobody can ask for it again: nothing is noted of it (default false). */
  readonly once?: boolean;
}

export class Runner {
  readonly #space: Space;
  readonly #realm: Realm;
  readonly #compiled = new Map<string, SentFunction>();
  readonly activations: Activations;
  runs = 0;

  constructor(space: Space) {
    this.#space = space;
    this.#realm = new Realm({ ...LIBRARY, space: new PlainSpace(space) });
    this.activations = new Activations(space);
  }

  #function(code: Code): SentFunction {
    const key = typeof code === 'string' ? code : code.source;
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const compiled =
      typeof code === 'string' ? this.#realm.compile(textOf(this.#space, code), `run:${code}`) : this.#realm.compile(key, 'run:here');
    if (this.#compiled.size >= COMPILED_MAX) this.#compiled.clear();
    this.#compiled.set(key, compiled);
    return compiled;
  }

  /**
   * Runs a plain function, or tells what it gave before. Throws CodeInvalid, RunFailed, RunLimit, Denied, and errors of this package that the
   * function did not catch.
   */
  run(activation: string, code: Code, values: Uint8Array, { limits, once = false }: RanOptions = {}): Ran {
    const space = this.#space;
    const { kernel } = space;
    this.runs++;
    const began = kernel.host.now();
    const compiled = this.#function(code);
    const stored: ObjectId[] = [];
    let gave = new Uint8Array(0);
    let again = false;
    const given = givenIn(space, values);
    run(kernel, () => {
      stored.length = 0;
      again = false;
      const known = once ? undefined : this.activations.gave(activation);
      if (known !== undefined) {
        gave = known as Uint8Array<ArrayBuffer>;
        again = true;
        return;
      }
      let result: unknown;
      try {
        result = compiled(...given);
      } catch (cause) {
        throw failed(cause);
      }
      if (isPromise(result))
        throw new TwzError('CodeInvalid', 'a plain function that gives a promise cannot run elsewhere: it is a transaction. Make it async');
      const { transaction } = kernel;
      if (transaction?.isDoomed === true) throw transaction.doomed;
      gave = encodeValues(result, true) as Uint8Array<ArrayBuffer>;
      if (limits !== undefined) demandWithin(kernel, limits);
      if (transaction !== undefined && transaction.handles.length > 0 && !once) this.activations.note(activation, gave);
      // With the table of runs: what is known of this one counts if what it stored does.
      for (const { id } of transaction?.handles ?? []) stored.push(id);
    });
    const lsn = stored.length > 0 ? kernel.committed : kernel.seen;
    kernel.log.pace();
    kernel.checkpointer.pace();
    return { gave, lsn, stored, again, ms: kernel.host.now() - began };
  }
}

/** What plain functions find as `space`: they are one transaction, and others run outside of those. */
class PlainSpace extends ModuleSpace {
  run(): never {
    throw plain('run');
  }

  runWith(): never {
    throw plain('run');
  }

  spawn(): never {
    throw plain('spawn');
  }

  stream(): never {
    throw plain('stream');
  }
}

function plain(what: string): TwzError {
  return new TwzError(
    'NotSupported',
    `a plain function is one transaction, in which nothing else runs: make it async, and await space.${what}`,
  );
}

/** Throws Denied where an argument may not be read by whom it is for. */
export function givenIn(space: Space, values: Uint8Array): readonly unknown[] {
  let given: unknown;
  try {
    given = decodeValues(space, values);
  } catch (cause) {
    throw failed(cause);
  }
  if (!Array.isArray(given)) throw new TwzError('EngineCorrupt', 'a run has no list of arguments');
  return given;
}

/** Throws RunLimit where the running transaction has stored more than it may. */
export function demandWithin({ transaction }: Kernel, { storedObjects = Infinity, storedBytes = Infinity }: RunLimits): void {
  if (transaction === undefined) return;
  const { handles } = transaction;
  if (handles.length > storedObjects)
    throw new TwzError('RunLimit', `a run stored to ${handles.length} objects; it may store to ${storedObjects}`, {
      limit: 'storedObjects',
      most: storedObjects,
    });
  if (storedBytes === Infinity) return;
  let bytes = 0;
  for (const h of handles) bytes += linesToLog(h) * LINE_BYTES;
  if (bytes > storedBytes)
    throw new TwzError('RunLimit', `a run stored ${bytes} bytes; it may store ${storedBytes}`, { limit: 'storedBytes', most: storedBytes });
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** What a function threw: errors of this package as they are, but that a right is missing is the other side's refusal. */
export function failed(cause: unknown): unknown {
  if (isTwzError(cause, 'ObjectForbidden')) return new TwzError('Denied', cause.message, { ...cause.context }, cause);
  if (isTwzError(cause)) return cause;
  const [name, message] = [property(cause, 'name') || 'Error', property(cause, 'message') || String(cause)];
  return new TwzError('RunFailed', `${name}: ${message}`, { error: name, stack: property(cause, 'stack').slice(0, 4096) }, cause);
}

function property(value: unknown, name: string): string {
  try {
    const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
    return typeof found === 'string' ? found : '';
  } catch {
    return '';
  }
}
