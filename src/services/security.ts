/**
 * Security as programs use it: keys, contexts, capabilities, and the contexts of this program. The rules are the kernel's
 * (kernel/security/); here they get a shape. docs/security.md is the tour.
 */
import { TwzError } from '../abi/errors.ts';
import { RIGHT, RIGHTS_ALL } from '../abi/format.ts';
import { demandRead } from '../abi/handle.ts';
import { parseId, type ObjectId } from '../abi/id.ts';
import {
  CONTEXT_FLAG,
  NONCE_LENGTH,
  decodeChain,
  encodeChain,
  encodeStatement,
  tooDeep,
  DELEGATIONS_MAX,
  type ContextImage,
  type Gate,
  type Mask,
  type Statement,
} from '../abi/security-format.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Handle } from '../kernel/object.ts';
import { ContextAuthority, securityOf, type Finding, type ItemFinding } from '../kernel/security/authority.ts';
import { addItem, changeContext, createContext, demandMask, readContext, type ContextOptions } from '../kernel/security/contexts.ts';
import { createKey, signingKey, SigningKey } from '../kernel/security/keys.ts';
import { keyOf } from '../kernel/security/records.ts';
import { isRefusal, refusalError, widening, type Accepted } from '../kernel/security/statements.ts';
import { run } from '../kernel/transaction.ts';
import { Obj } from '../lib/object.ts';
import { isAccessor } from '../lib/runtime.ts';
import type { Target } from '../space.ts';

/** Rights as they are written: bits of RIGHT, or their names. */
export type Rights = number | readonly (keyof typeof RIGHT)[];

export interface GrantOptions {
  /** The object, or its ID. Its header names the key. */
  readonly target: Target;
  /** The context that may use it. */
  readonly to: ObjectId;
  readonly rights: Rights;
  /** The private key that belongs to the target's key. */
  readonly by: SigningKey;
  /** Entering here is all that it allows: for the right to execute alone. */
  readonly gate?: Gate;
  /** Milliseconds since 1970 (default: never). */
  readonly expires?: number;
  /** May the accessor hand it on? (default false) */
  readonly delegable?: boolean;
  /** Put it into the context (default true). Else it is bytes to be sent, for `insert` to receive. */
  readonly insert?: boolean;
}

export interface DelegateOptions extends Partial<Omit<GrantOptions, 'target' | 'by'>> {
  readonly to: ObjectId;
  /** The private key that belongs to the key of the context that hands it on. */
  readonly by: SigningKey;
}

export interface MaskOptions {
  /** What it lets through. */
  readonly rights: Rights;
  /** What the global mask does not take away here (default none). */
  readonly override?: Rights;
}

/** What a context is and holds. */
export interface ContextFacts {
  readonly id: ObjectId;
  readonly key: ObjectId | undefined;
  readonly undetachable: boolean;
  readonly globalMask: number;
  readonly masks: readonly Mask[];
  readonly capabilities: readonly Capability[];
}

/** Why access is, or is not, given. */
export interface Explanation {
  readonly target: ObjectId;
  readonly key: ObjectId | undefined;
  readonly defaults: number;
  /** What was asked for, and what of it is missing. */
  readonly want: number;
  readonly missing: number;
  /** One for each attached context, the active one first; empty: the default rights decide. */
  readonly contexts: readonly Finding[];
}

/** Bits of RIGHT. Throws InvalidArgument. */
export function rightsOf(rights: Rights): number {
  const bits = typeof rights === 'number' ? rights : rights.reduce((sum, name) => sum | RIGHT[name], 0);
  if (!Number.isInteger(bits) || bits < 0 || bits > RIGHTS_ALL)
    throw new TwzError('InvalidArgument', `${String(rights)} are no rights: read, write and execute, or bits of ${RIGHTS_ALL}`);
  return bits;
}

/** A capability with the delegations by which it was handed on. Immutable; good wherever it came from, if it is good at all. */
export class Capability {
  readonly chain: readonly Statement[];
  readonly #last: Statement;

  constructor(chain: readonly Statement[]) {
    const last = chain[chain.length - 1];
    if (last === undefined) throw new TwzError('CapabilityMalformed', 'a chain of no statements');
    this.chain = chain;
    this.#last = last;
  }

  /** Reads the bytes that `bytes` gave. Its truth is judged where it is used. Throws CapabilityMalformed, DelegationDepth. */
  static from(bytes: Uint8Array): Capability {
    return new Capability(decodeChain(bytes));
  }

  get target(): ObjectId {
    return this.#last.target;
  }

  /** The context that may use it. */
  get accessor(): ObjectId {
    return this.#last.accessor;
  }

  get rights(): number {
    return this.#last.rights;
  }

  get gate(): Gate | undefined {
    return this.#last.gate;
  }

  /** Milliseconds since 1970: the earliest of the chain. */
  get expires(): number {
    return Math.min(...this.chain.map(({ expires }) => expires));
  }

  get delegable(): boolean {
    return this.#last.delegable;
  }

  /** How often it was handed on. */
  get depth(): number {
    return this.chain.length - 1;
  }

  get statement(): Statement {
    return this.#last;
  }

  bytes(): Uint8Array {
    return encodeChain(this.chain);
  }
}

export class Security {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  // --- keys ---------------------------------------------------------------------------------------------------------------

  /** A new pair of keys. The verifying key becomes an object; the private one is in memory, until it is stored or written as PEM. */
  createKey(): SigningKey {
    return this.#run(() => createKey(this.#kernel));
  }

  /** The private key in PEM (PKCS#8), with its verifying-key object. Throws KeyInvalid. */
  importKey(pem: string): SigningKey {
    const seed = this.#kernel.host.ed25519.fromPem(pem);
    return this.#run(() => createKey(this.#kernel, seed));
  }

  /** Puts a private key into an object without default rights, which the contexts named may read. Returns its ID. */
  storeKey(key: SigningKey, readers: readonly ObjectId[] = []): ObjectId {
    return this.#run(() => {
      const { id } = key.store(this.#kernel);
      for (const to of readers) this.grant({ target: id, to, rights: RIGHT.read, by: key });
      return id;
    });
  }

  /** The private key in an object, for who may read that. Throws ObjectForbidden, KeyInvalid. */
  openKey(id: ObjectId): SigningKey {
    const h = this.#handle(id);
    // The kernel could read it in any case.
    demandRead(h);
    return signingKey(h);
  }

  // --- contexts -----------------------------------------------------------------------------------------------------------

  /** A new context, without capabilities. With a key it is changed by who has that key, or the right to write; else by everyone. */
  createContext(options: ContextOptions = {}): ObjectId {
    return this.#run(() => createContext(this.#kernel, options).id);
  }

  /** What a context is and holds. Throws ObjectForbidden, ContextInvalid. */
  context(id: ObjectId): ContextFacts {
    const h = this.#handle(id);
    demandRead(h);
    const { flags, globalMask, masks, items } = readContext(h);
    return {
      id: h.id,
      key: keyOf(h),
      undetachable: (flags & CONTEXT_FLAG.undetachable) !== 0,
      globalMask,
      masks,
      capabilities: items.map((item) => Capability.from(item)),
    };
  }

  /** Limits what a context gives for one object. `by`: its key, where there is no right to write it. Not inside a transaction. */
  setMask(context: ObjectId, target: Target, options: MaskOptions, by?: SigningKey): void {
    const mask = { target: idOf(target), rights: rightsOf(options.rights), override: rightsOf(options.override ?? 0) };
    this.#change(context, by, (image) => ({ ...image, masks: [...image.masks.filter((each) => each.target !== mask.target), mask] }));
  }

  clearMask(context: ObjectId, target: Target, by?: SigningKey): void {
    const id = idOf(target);
    this.#change(context, by, (image) => ({ ...image, masks: image.masks.filter((each) => each.target !== id) }));
  }

  /** Limits what a context gives for any object. Not inside a transaction. */
  setGlobalMask(context: ObjectId, rights: Rights, by?: SigningKey): void {
    const globalMask = rightsOf(rights);
    demandMask(globalMask);
    this.#change(context, by, (image) => ({ ...image, globalMask }));
  }

  /** Takes a capability out of a context: it stays good, and can be put there again. To end it, revoke it. Not inside a transaction. */
  remove(context: ObjectId, capability: Capability, by?: SigningKey): void {
    const bytes = capability.bytes();
    this.#change(context, by, (image) => ({ ...image, items: image.items.filter((item) => !same(item, bytes)) }));
  }

  // --- capabilities -------------------------------------------------------------------------------------------------------

  /** Signs a capability, and puts it into the context that it is for. Throws CapabilityKey, InvalidArgument, ContextInvalid, ContextFull. */
  grant(options: GrantOptions): Capability {
    const { target, to, by, gate, expires = Infinity, delegable = false, insert = true } = options;
    const grant = {
      target: idOf(target),
      accessor: parseId(to),
      rights: rightsOf(options.rights),
      gate,
      expires,
      delegable,
      nonce: this.#kernel.random(NONCE_LENGTH).slice(),
      key: by.id,
    };
    const capability = new Capability([encodeStatement(grant, undefined, (message) => by.sign(message))]);
    this.verify(capability);
    if (insert) this.insert(capability);
    return capability;
  }

  /** Hands a capability on: the same, or less. Throws CapabilityWidened, DelegationForbidden, DelegationDepth, CapabilityKey. */
  delegate(capability: Capability, options: DelegateOptions): Capability {
    const last = capability.statement;
    const { to, by, gate = last.gate, expires = last.expires, delegable = false, insert = true } = options;
    const rights = options.rights === undefined ? last.rights : rightsOf(options.rights);
    if (!last.delegable)
      throw new TwzError('DelegationForbidden', `context ${last.accessor} may not hand it on`, { context: last.accessor });
    if (capability.depth >= DELEGATIONS_MAX) throw tooDeep(capability.depth + 1);
    const wider = widening({ rights, gate, expires }, last);
    if (wider !== undefined) throw new TwzError('CapabilityWidened', wider, { id: last.target });
    const nonce = this.#kernel.random(NONCE_LENGTH).slice();
    const grant = { target: last.target, accessor: parseId(to), rights, gate, expires, delegable, nonce, key: by.id };
    const parent = securityOf(this.#kernel).judge.nameOf(last);
    const handed = new Capability([...capability.chain, encodeStatement(grant, parent, (message) => by.sign(message))]);
    this.verify(handed);
    if (insert) this.insert(handed);
    return handed;
  }

  /** Judges a capability for the context that it names, as an access would. Throws what is wrong with it. */
  verify(capability: Capability): Accepted {
    this.#kernel.catchUp();
    const verdict = securityOf(this.#kernel).judge.judge(capability.chain, this.#handle(capability.target), capability.accessor);
    if (isRefusal(verdict)) throw refusalError(verdict, capability.target);
    return verdict;
  }

  /** Puts a capability into the context that it is for. That needs no right: it gives what its maker gave. Throws what is wrong with it. */
  insert(capability: Capability): void {
    this.verify(capability);
    const bytes = capability.bytes();
    const h = this.#handle(capability.accessor);
    this.#run(() => {
      if (addItem(h, bytes)) securityOf(this.#kernel).changed(h.id);
    });
  }

  /**
   * Ends a capability, and all that was handed on from it, for ever and everywhere: once this returns no judgement goes by it, in any
   * process that has the space open, and no power failure brings it back. `by`: a key that signed it, or what it was handed on from.
   * Not inside a transaction. Throws CapabilityKey.
   */
  revoke(capability: Capability, by: SigningKey): void {
    if (!capability.chain.some(({ key }) => key === by.id))
      throw new TwzError('CapabilityKey', `key ${by.id} signed nothing of this capability`, { key: by.id });
    const { judge } = securityOf(this.#kernel);
    const revocation = judge.signRevocation(capability.statement, by);
    this.#alone('revoking', () => void judge.revoke(revocation));
  }

  // --- the contexts of this program ---------------------------------------------------------------------------------------

  /** Adds a context to those of this program. One that was attached has to give the right to execute it, or `by` is its key. */
  attach(context: ObjectId, by?: SigningKey): void {
    this.#kernel.idle('attaching a context');
    const h = this.#handle(context);
    const authority = (this.#kernel.authority ??= new ContextAuthority(this.#kernel));
    if (authority instanceof ContextAuthority) {
      if (authority.contexts.length > 0 && !this.#owns(h, by) && (h.granted(RIGHT.execute) & RIGHT.execute) === 0)
        throw new TwzError('ObjectForbidden', `context ${h.id} does not give the right to be attached`, { id: h.id, missing: 'execute' });
      authority.attach(h.id);
    }
  }

  /** Takes a context off. Throws ContextUndetachable, ContextDetached. */
  detach(context: ObjectId): void {
    this.#authority(context).detach(parseId(context));
  }

  /** Makes an attached context the active one. Throws ContextUndetachable, ContextDetached. */
  activate(context: ObjectId): void {
    this.#authority(context).activate(parseId(context));
  }

  #authority(context: ObjectId): ContextAuthority {
    this.#kernel.idle('changing contexts');
    const { authority } = this.#kernel;
    if (authority instanceof ContextAuthority) return authority;
    throw new TwzError('ContextDetached', `context ${context} is not attached`, { id: context });
  }

  /** Who judges by these contexts, the first of them active: for a compartment of its own. Throws ContextInvalid. */
  authority(contexts: readonly ObjectId[]): ContextAuthority {
    return new ContextAuthority(this.#kernel, contexts.map(parseId));
  }

  /** Those attached, in order. */
  get contexts(): readonly ObjectId[] {
    const { authority } = this.#kernel;
    return authority instanceof ContextAuthority ? authority.contexts : [];
  }

  get active(): ObjectId | undefined {
    const { authority } = this.#kernel;
    return authority instanceof ContextAuthority ? authority.active : undefined;
  }

  /** Rights of this program to an object now. `want`: those asked for, as an access would: it may make another context the active one. */
  rights(target: Target, want: Rights = 0): number {
    this.#kernel.catchUp();
    const h = this.#handle(idOf(target));
    return h.granted(rightsOf(want));
  }

  /** Why this program, or one with those contexts, has a right to an object, or has not. */
  explain(target: Target, want: Rights = RIGHT.read, contexts?: readonly ObjectId[]): Explanation {
    this.#kernel.catchUp();
    const h = this.#handle(idOf(target));
    const bits = rightsOf(want);
    const own = this.#kernel.authority;
    for (const context of contexts ?? []) demandRead(this.#handle(context));
    const authority =
      contexts === undefined && own instanceof ContextAuthority ? own : new ContextAuthority(this.#kernel, (contexts ?? []).map(parseId));
    const findings = authority.explain(h);
    const key = keyOf(h);
    const granted = findings.length === 0 ? h.rights : authority.rightsTo(h, bits);
    return { target: h.id, key, defaults: h.rights, want: bits, missing: bits & ~granted, contexts: findings };
  }

  // --- how it is done -----------------------------------------------------------------------------------------------------

  #handle(id: ObjectId): Handle {
    const h = this.#kernel.handle(parseId(id));
    h.reach();
    return h;
  }

  /** As a transaction, or as part of the one that runs. */
  #run<T>(body: () => T): T {
    return run(this.#kernel, body);
  }

  /** As a transaction of its own, which everybody goes by, and which is durable, when this returns. */
  #alone(what: string, body: () => void): void {
    const kernel = this.#kernel;
    const state = securityOf(kernel);
    kernel.idle(what);
    run(kernel, body);
    state.changed();
    state.announce();
    kernel.log.sync();
  }

  #owns(h: Handle, by: SigningKey | undefined): boolean {
    return by !== undefined && keyOf(h) === by.id;
  }

  #change(context: ObjectId, by: SigningKey | undefined, change: (image: ContextImage) => ContextImage): void {
    const h = this.#handle(context);
    if (!this.#owns(h, by) && (h.granted(RIGHT.write) & RIGHT.write) === 0)
      throw new TwzError('ObjectForbidden', `context ${h.id} does not give the right to write`, { id: h.id, missing: 'write' });
    this.#alone('changing a context', () => {
      changeContext(h, change);
      securityOf(this.#kernel).changed(h.id);
    });
  }
}

function idOf(target: Target): ObjectId {
  if (typeof target === 'string') return parseId(target);
  if (target instanceof Obj) return target.id;
  if (isAccessor(target)) return target.$h.id;
  throw new TwzError('InvalidArgument', 'expected an object, an accessor or an object ID');
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export { SigningKey };
export type { ContextOptions, Finding, Gate, ItemFinding, Mask };
