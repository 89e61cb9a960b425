/**
 * Code mobility: functions that run where their data is. A function is an object like any other: its text, sealed, so its ID is the hash of
 * it; a node that never saw it gets it as it gets objects, once.
 *
 * A run is one transaction, with the note that it has been: what it stores is stored once, or not at all, however often it is asked for.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { Realm, type SentFunction } from '../../host/functions.ts';
import { run } from '../../kernel/transaction.ts';
import { bytes, f64, text, u32 } from '../../lib/fields.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { LIBRARY, ModuleSpace } from '../modules/library.ts';
import { ownTable } from './families.ts';
import { decodeValues, encodeValues } from './values.ts';

export const CODE_FORMAT = 1;
export const Code = struct('ClusterCode', { format: u32, source: text });
/** Runs that stored something: what they gave, by activation. */
const Activation = struct('ClusterActivation', { when: f64, gave: bytes });
const Activations = hashMap(text, Activation);
const PATH = '/cluster-activations';
/** How long it is known that a run has been, in milliseconds. */
const REMEMBER_MS = 3_600_000;
const FORGET = 4;
const COMPILED_MAX = 1000;

/** Text of a function that can stand alone. Throws CodeInvalid. */
export function sourceOf(fn: (...given: never[]) => unknown): string {
  const source = Function.prototype.toString.call(fn);
  if (source.includes('[native code]')) throw new TwzError('CodeInvalid', 'a function of the system, or one that is bound, has no text');
  // A method, as it stands in an object.
  if (/^(?!function\b|async\b)[\w$]+\s*\(/.test(source)) return `function ${source}`;
  return source;
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

export class Runner {
  readonly #space: Space;
  readonly #realm: Realm;
  readonly #compiled = new Map<ObjectId, SentFunction>();
  #activations: Infer<typeof Activations> | undefined;
  /** How many commits there were when there was no table of them. */
  #noneAt = -1;
  runs = 0;

  constructor(space: Space) {
    this.#space = space;
    this.#realm = new Realm({ ...LIBRARY, space: new ModuleSpace(space) });
  }

  #function(code: ObjectId): SentFunction {
    const known = this.#compiled.get(code);
    if (known !== undefined) return known;
    const { format, source } = this.#space.get(code, Code);
    if (format !== CODE_FORMAT)
      throw new TwzError('CodeInvalid', `code ${code} has format ${format}; this build knows ${CODE_FORMAT}`, { id: code });
    const compiled = this.#realm.compile(source, `run:${code}`);
    if (this.#compiled.size >= COMPILED_MAX) this.#compiled.clear();
    this.#compiled.set(code, compiled);
    return compiled;
  }

  #known(): Infer<typeof Activations> {
    this.#activations ??= ownTable(this.#space, PATH, Activations);
    return this.#activations;
  }

  /** Undefined where no run has stored anything yet: that is looked up once for all commits. */
  #before(): Infer<typeof Activations> | undefined {
    const { names, kernel } = this.#space;
    if (this.#activations !== undefined || this.#noneAt === kernel.commits) return this.#activations;
    if (names.lookup(PATH) !== undefined) return this.#known();
    this.#noneAt = kernel.commits;
    return undefined;
  }

  /** Runs it, or tells what it gave before. Throws CodeInvalid, RunFailed, and errors of this package that the function did not catch. */
  run(activation: string, code: ObjectId, values: Uint8Array): Ran {
    const space = this.#space;
    const { kernel } = space;
    this.runs++;
    const began = kernel.host.now();
    const compiled = this.#function(code);
    const stored: ObjectId[] = [];
    let gave = new Uint8Array(0);
    let again = false;
    const given = decodeValues(space, values);
    if (!Array.isArray(given)) throw new TwzError('EngineCorrupt', 'a run has no list of arguments');
    run(kernel, () => {
      stored.length = 0;
      again = false;
      const known = this.#before()?.get(activation);
      if (known !== undefined) {
        gave = known.gave.slice();
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
        throw new TwzError('CodeInvalid', 'a function that gives a promise cannot run elsewhere: a run is a transaction');
      const { transaction } = kernel;
      if (transaction?.isDoomed === true) throw transaction.doomed;
      gave = encodeValues(result, true) as Uint8Array<ArrayBuffer>;
      for (const { id } of transaction?.handles ?? []) stored.push(id);
      if (stored.length > 0) this.#note(activation, gave);
    });
    kernel.log.pace();
    kernel.checkpointer.pace();
    return { gave, lsn: kernel.log.end, stored, again, ms: kernel.host.now() - began };
  }

  #note(activation: string, gave: Uint8Array): void {
    const known = this.#known();
    const now = this.#space.kernel.host.time();
    known.set(activation, { when: now, gave });
    let looked = 0;
    for (const [key, { when }] of known) {
      if (++looked > FORGET) break;
      if (when + REMEMBER_MS < now) known.delete(key);
    }
  }
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** What a function threw: errors of this package as they are. */
function failed(cause: unknown): unknown {
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
