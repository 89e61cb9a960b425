/** Modules of a space: mobile code in TypeScript, for callers who trust its author. docs/mobile-code.md */
import { TwzError, ERRORS, type ErrorContext, type ErrorName } from '../../abi/errors.ts';
import { KIND } from '../../abi/format.ts';
import { NULL_ID, type ObjectId } from '../../abi/id.ts';
import { runConfined, type ConfinedEnd, type ConfinedLimits } from '../../host/confined.ts';
import { Handle } from '../../kernel/object.ts';
import type { SigningKey } from '../../kernel/security/keys.ts';
import type { Space, Target } from '../../space.ts';
import { MODULE_FORMAT, ModuleRepr, demandSigned, demandTrusted, signModule, type ModuleLanguage, type SignedModule } from './signed.ts';
import { pass, receive, type ModuleValue, type Passed } from './values.ts';

/** What a module may use. */
export type ModuleLimits = ConfinedLimits;

export interface RunOptions {
  /** Keys whose owners the caller trusts: IDs of verifying-key objects. */
  readonly trust: readonly ObjectId[];
  /** The function that is called, as the module exports it (default `main`). */
  readonly function?: string;
  /** What it is called with, after the space: values, and references to objects. */
  readonly arguments?: readonly ModuleValue[];
  /** Security contexts that the module acts by, the first of them active (default: those of the caller). */
  readonly contexts?: readonly ObjectId[];
  readonly limits?: Partial<ModuleLimits>;
}

/** What the module's thread is started with. */
export interface ModuleStart {
  readonly directory: string;
  readonly name: string;
  readonly language: ModuleLanguage;
  readonly source: string;
  readonly function: string;
  readonly contexts: readonly ObjectId[];
  readonly given: readonly Passed[];
}

/** What it says in the end. */
export type ModuleReport = { readonly gave: Passed } | { readonly threw: Thrown };

export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** Of an error of this package: its context. */
  readonly context: ErrorContext | undefined;
}

const MIB = 2 ** 20;
const DEFAULTS: ModuleLimits = { ms: 10_000, heapBytes: 64 * MIB, bufferBytes: 256 * MIB, stackBytes: 2 * MIB };
const RANGES: Readonly<Record<keyof ModuleLimits, readonly [least: number, most: number]>> = {
  ms: [1, 2 ** 31 - 1],
  heapBytes: [16 * MIB, 2 ** 35],
  bufferBytes: [0, 2 ** 40],
  // A thread has 4 MiB in all.
  stackBytes: [MIB / 4, 3 * MIB],
};

function limitsOf(given: Partial<ModuleLimits>): ModuleLimits {
  const limits = { ...DEFAULTS, ...given };
  for (const name of ['ms', 'heapBytes', 'bufferBytes', 'stackBytes'] as const) {
    const [least, most] = RANGES[name];
    if (!(limits[name] >= least && limits[name] <= most))
      throw new TwzError('InvalidArgument', `limits.${name}: ${limits[name]} is not from ${least} to ${most}`);
  }
  return limits;
}

export class Modules {
  readonly #space: Space;

  /** Use `space.modules`. */
  constructor(space: Space) {
    this.#space = space;
  }

  /** Signs a module's source. Nothing is stored. Throws InvalidArgument. */
  sign(source: string, by: SigningKey, options?: { readonly name?: string; readonly language?: ModuleLanguage }): SignedModule {
    return signModule(source, by, options);
  }

  /** Stores a signed module as an immutable object; the same one gives the same object. Inside a transaction. Throws ModuleForged. */
  publish(module: SignedModule): ObjectId {
    const space = this.#space;
    demandSigned(space.kernel, module, `module ${module.name.slice(0, 200)}`);
    const { name, language, source, signature } = module;
    const key = space.object(module.key);
    const draft = space.create(ModuleRepr, { format: MODULE_FORMAT, name, language, source, key, signature }, { kind: 'volatile' });
    const id = space.seal(draft);
    space.delete(draft);
    return id;
  }

  /** A stored module, verified. Throws ModuleForged, ModuleVersion, TypeMismatch, ObjectMissing. */
  read(target: Target): SignedModule {
    const object = this.#space.object(target);
    const h = object.handle;
    if (!(h instanceof Handle) || h.kind !== KIND.immutable)
      throw new TwzError('ModuleForged', `object ${object.id} can change: a module is immutable`, { id: object.id });
    const repr = object.root(ModuleRepr);
    if (repr.format !== MODULE_FORMAT)
      throw new TwzError('ModuleVersion', `module ${object.id} has format ${repr.format}; this build knows ${MODULE_FORMAT}`, {
        id: object.id,
        format: repr.format,
      });
    const { name, language, source, signature } = repr;
    const key = repr.key?.id ?? NULL_ID;
    const module = { name, language, source, key, signature };
    demandSigned(this.#space.kernel, module, `module ${object.id}`);
    return module;
  }

  /**
   * Runs a module in a thread of its own, with limits, and resolves with what its function gave. It is called with the space, as far as
   * modules have it, and the arguments; what it commits is committed. Not inside a transaction. Throws ModuleForged, ModuleUntrusted,
   * ModuleVersion, ModuleInvalid, ModuleImport, ModuleFailed, ModuleTimeout, ModuleMemory, ModuleValue, and errors of this package that
   * the module did not catch.
   */
  async run(target: Target, options: RunOptions): Promise<unknown> {
    const space = this.#space;
    const { kernel } = space;
    kernel.idle('a module');
    if (!kernel.host.sharing)
      throw new TwzError(
        'NotSupported',
        `modules have the space open in a thread, and the ${kernel.host.name} host has no shared memory for that`,
      );
    const limits = limitsOf(options.limits ?? {});
    const module = this.read(target);
    demandTrusted(module, options.trust);
    const { name, language, source } = module;
    const given = (options.arguments ?? []).map((each) => pass(each));
    const contexts = options.contexts ?? space.security.contexts;
    const start: ModuleStart = {
      directory: kernel.directory,
      name,
      language,
      source,
      function: options.function ?? 'main',
      contexts,
      given,
    };
    const main = new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url);
    // It joins at once, even while this thread blocks.
    if (kernel.live?.sole === true) kernel.welcome();
    const end = await runConfined(main, start, limits);
    space.refresh();
    return receive(gaveOrThrow(name, end, limits), (id) => space.object(id));
  }
}

function gaveOrThrow(name: string, end: ConfinedEnd, { ms, heapBytes, bufferBytes }: ModuleLimits): unknown {
  switch (end.kind) {
    case 'said':
      return told(name, end.what);
    case 'timeout':
      throw new TwzError('ModuleTimeout', `module ${name} had not come to its end after ${ms} ms`, { name, ms });
    case 'memory':
      throw new TwzError('ModuleMemory', `module ${name} needed more than ${heapBytes} bytes of heap or ${bufferBytes} beside it`, {
        name,
        heapBytes,
        bufferBytes,
      });
    case 'ended':
      throw new TwzError('ModuleFailed', `module ${name} ended with code ${end.code} before its function gave anything`, {
        name,
        code: end.code,
      });
    case 'failed':
      throw new TwzError('ModuleFailed', `module ${name}: ${end.error.message}`, { name, error: end.error.name }, end.error);
  }
}

function told(name: string, what: unknown): unknown {
  if (typeof what !== 'object' || what === null) throw new TwzError('ModuleValue', `module ${name} gave no value`);
  if ('gave' in what) return what.gave;
  const thrown = 'threw' in what ? what.threw : undefined;
  throw errorOf(name, thrown);
}

const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 4096) : 'unknown');

/** What the module did not catch. An error of this package keeps its name; those of running modules are the caller's alone to give. */
function errorOf(module: string, thrown: unknown): TwzError {
  const part = (key: string): unknown => (typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, key) : undefined);
  const [name, message, stack, context] = [text(part('name')), text(part('message')), text(part('stack')), part('context')];
  if (context === undefined || !isErrorName(name))
    return new TwzError('ModuleFailed', `module ${module}: ${name}: ${message}`, { name: module, error: name, stack });
  const kept: Record<string, string | number | boolean> = {};
  if (typeof context === 'object' && context !== null)
    for (const [key, value] of Object.entries(context))
      if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') kept[key] = value;
  return new TwzError(name, `module ${module}: ${message}`, { ...kept, module });
}

const TOLD: ReadonlySet<string> = new Set(['ModuleInvalid', 'ModuleImport', 'ModuleValue']);

function isErrorName(name: string): name is ErrorName {
  return Object.hasOwn(ERRORS, name) && (ERRORS[name as ErrorName].category !== 'module' || TOLD.has(name));
}
