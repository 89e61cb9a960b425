/**
 * Evolution, when an object is opened whose types are not the program's: it is migrated there and then, or the error says why not.
 * Comparing and planning is done once for each (schema text, struct).
 */
import { TwzError } from '../../abi/errors.ts';
import { KIND, META, PAGE, RIGHT } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { Handle } from '../../kernel/object.ts';
import { run, runAlone } from '../../kernel/transaction.ts';
import { useEvolution } from '../../lib/evolution.ts';
import { fingerprintOf } from '../../lib/fingerprint.ts';
import { mismatch } from '../../lib/runtime.ts';
import type { StructImage } from '../../lib/struct.ts';
import { parseSchema, signatureOf, type ObjectSchema, type Shape } from '../check/schema.ts';
import type { CollectionShape } from './contents.ts';
import { Conversion, keepsPlaces, prospect, type Refusal } from './convert.ts';
import { forwarded, originOf } from './forwards.ts';
import { outsiders } from './outsiders.ts';
import {
  collectionsIn,
  isSameContent,
  Pairing,
  planFor,
  readsAsPrefix,
  schemaOfType,
  structsIn,
  type Difference,
  type Plan,
} from './plan.ts';
import { Staging } from './stage.ts';
import { Survey, type Fate, type TypedPointer } from './survey.ts';
import { referredBy } from '../key-types.ts';

/** Stores a root's place, type and schema text. */
export type StoreRoot = (h: Handle, type: StructImage, at: number) => void;

interface Judgement {
  readonly pairing: Pairing;
  readonly difference: Difference;
  /** Made when it is needed. */
  plan: Plan | readonly string[] | undefined;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const schemas = new Map<string, ObjectSchema | string>();
const judgements = new WeakMap<StructImage, Map<string, Judgement | undefined>>();
/** Schema texts come from data: there may be any number. */
const KEPT = 1000;

function textOf(h: ObjectHandle): string | undefined {
  const at = h.dv.getUint32(META.schema, true);
  if (at < PAGE || at + 4 > h.size) return undefined;
  const length = h.dv.getUint32(at, true);
  return at + 4 + length > h.size ? undefined : decoder.decode(h.u8.slice(at + 4, at + 4 + length));
}

function schemaOf(text: string): ObjectSchema | string {
  let schema = schemas.get(text);
  if (schema === undefined) {
    if (schemas.size >= KEPT) schemas.clear();
    schema = parseSchema(text);
    schemas.set(text, schema);
  }
  return schema;
}

/** Undefined where one of the two schemas cannot be read: then nothing is known but the fingerprint. */
function judgementOf(text: string, type: StructImage): Judgement | undefined {
  let ofType = judgements.get(type);
  if (ofType === undefined) judgements.set(type, (ofType = new Map()));
  if (ofType.has(text)) return ofType.get(text);
  if (ofType.size >= KEPT) ofType.clear();
  const stored = schemaOf(text);
  const own = schemaOfType(type);
  let judgement: Judgement | undefined;
  if (typeof stored !== 'string' && typeof own !== 'string') {
    const pairing = new Pairing(stored, own, type);
    judgement = { pairing, difference: pairing.compare(), plan: undefined };
  }
  ofType.set(text, judgement);
  return judgement;
}

/** An object's own schema, where that is its root's. */
export function ownSchema(h: Handle): ObjectSchema | undefined {
  const text = textOf(h);
  const schema = text === undefined ? undefined : schemaOf(text);
  if (schema === undefined || typeof schema === 'string') return undefined;
  const signature = signatureOf(schema, schema.root);
  return signature !== undefined && isOf(h, fingerprintOf(signature)) ? schema : undefined;
}

function isOf(h: ObjectHandle, { low, high }: { readonly low: number; readonly high: number }): boolean {
  return h.dv.getUint32(META.rootType, true) === low && h.dv.getUint32(META.rootType + 4, true) === high;
}

const SHOWN = 3;

/** "Person version 1, Address version 2". */
function versions(schema: ObjectSchema, names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).map((name) => `${name} version ${schema.types.get(name)?.version ?? 0}`);
  return shown.join(', ') + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '');
}

function both(h: ObjectHandle, { pairing, difference }: Judgement): string {
  const mine = difference.names.map((name) => pairing.name(name));
  return `object ${h.id} holds ${versions(pairing.stored, difference.names)}; this program has ${versions(pairing.own, mine)}`;
}

function context(h: ObjectHandle, { pairing, difference }: Judgement): Record<string, string | number | undefined> {
  const [name = pairing.stored.root] = difference.names;
  return {
    id: h.id,
    type: name,
    stored: pairing.stored.types.get(name)?.version,
    expected: pairing.own.types.get(pairing.name(name))?.version,
  };
}

export interface OpenRules {
  /** Blocks that cannot be reached from the root are nobody's: go on though pointers to them would not be seen. */
  readonly leaveUnreached: boolean;
  /** Changed collections are filled anew in objects of their own, in as many transactions as it takes. Not in a transaction. */
  readonly staging: boolean;
}

const LAZILY: OpenRules = { leaveUnreached: false, staging: false };

const outgrown = new WeakSet<TwzError>();

/** Was an object refused because a collection of it is too large to be migrated in one transaction? */
export function isOutgrown(error: TwzError): boolean {
  return outgrown.has(error);
}

/** Makes an object's root a `type`: false where it is one already, or can be used as one. Throws what forbids it. */
export function evolveRoot(h: ObjectHandle, type: StructImage, storeRoot: StoreRoot, rules: OpenRules): boolean {
  const text = textOf(h);
  const judgement = text === undefined ? undefined : judgementOf(text, type);
  if (judgement === undefined) {
    if (isOf(h, type.layout.fingerprint)) return false;
    return mismatch(h, type);
  }
  const { pairing, difference } = judgement;
  const { stored } = pairing;
  const signature = signatureOf(stored, stored.root);
  if (pairing.name(stored.root) !== type.name || signature === undefined || !isOf(h, fingerprintOf(signature)))
    return mismatch(h, type, otherKeys(judgement));
  switch (difference.kind) {
    case 'same':
      if (isOf(h, type.layout.fingerprint)) return false;
      return mismatch(h, type);
    case 'other':
      return mismatch(h, type, difference.reason);
    case 'newer':
      if (readsAsPrefix(pairing, difference.names)) return false;
      throw new TwzError('TypeNewer', both(h, judgement), context(h, judgement));
    case 'older':
      judgement.plan ??= planFor(pairing);
      if (!('root' in judgement.plan)) return mismatch(h, type, `: ${judgement.plan.join('; ')}`);
      return older(h, type, judgement, judgement.plan, storeRoot, rules);
  }
}

function older(h: ObjectHandle, type: StructImage, judgement: Judgement, plan: Plan, storeRoot: StoreRoot, rules: OpenRules): boolean {
  const own = writable(h, judgement);
  const { kernel } = own;
  const migration = new Migration(own, type, judgement, plan, storeRoot, rules);
  if (rules.staging) {
    // Between the transactions that fill a stage other processes may change what was read.
    if (!migration.staged()) return evolveRoot(h, type, storeRoot, rules);
  } else if (kernel.transaction === undefined) {
    // By the time that the transaction begins another process may have migrated it; and it may be tried more than once.
    return run(kernel, () => evolveRoot(h, type, storeRoot, rules));
  } else run(kernel, () => migration.run());
  if (kernel.transaction !== undefined) return true;
  kernel.log.pace();
  kernel.checkpointer.pace();
  return true;
}

/** What to say of two collections that differ in their keys. */
function otherKeys({ pairing: { stored, own } }: Judgement): string {
  const [a, b] = [stored, own].map(({ types, root }) => types.get(root)?.fields[0]?.shape);
  if (a?.kind !== 'collection' || b?.kind !== 'collection' || a.collection !== b.collection || a.key === b.key) return '';
  return `: the keys of a collection do not change; create another one and fill it from this, opened with keys of the type ${a.key}`;
}

function writable(h: ObjectHandle, judgement: Judgement): Handle {
  const outdated = (reason: string): never => {
    throw new TwzError('TypeOutdated', `${both(h, judgement)}; ${reason}`, context(h, judgement));
  };
  if (!(h instanceof Handle)) return outdated('it cannot be changed here');
  if (running.has(h)) return outdated('it is being migrated just now, by the very code that asks for it');
  if (h.snapshot !== undefined)
    return outdated('a snapshot is not migrated: open the object in the space itself, then advance the snapshot or take a new one');
  if (h.kind === KIND.immutable) return outdated('it is immutable: take a copy (space.copy), which is migrated when it is opened');
  if (h.kind === KIND['append-only']) return outdated('it is append-only: take a copy (space.copy), which is migrated when it is opened');
  if (h.kind === KIND.shared) return outdated('it is shared, and others have it open as it is: create a new one');
  if ((h.rights & RIGHT.write) === 0) return outdated('it gives no right to write, and so cannot be migrated');
  return h;
}

/** Objects whose migration has begun: code can come back to one by references between objects. */
const running = new Set<ObjectHandle>();

/** One object's migration. */
class Migration {
  readonly #h: Handle;
  readonly #type: StructImage;
  readonly #plan: Plan;
  readonly #storeRoot: StoreRoot;
  readonly #rules: OpenRules;
  readonly #fate: (shape: CollectionShape) => Fate;
  readonly #refusal: Refusal;

  constructor(h: Handle, type: StructImage, judgement: Judgement, plan: Plan, storeRoot: StoreRoot, rules: OpenRules) {
    this.#h = h;
    this.#type = type;
    this.#plan = plan;
    this.#storeRoot = storeRoot;
    this.#rules = rules;
    this.#fate = fatesIn(plan, rules.staging);
    this.#refusal = {
      outgrown: (collection) => {
        const error = new TwzError(
          'TypeOutdated',
          `${both(h, judgement)}; a ${collection} in it is too large to be migrated when it is opened: run space.migrate(${type.name})`,
          context(h, judgement),
        );
        outgrown.add(error);
        throw error;
      },
      stray: (id, struct) =>
        this.#refuse(`object ${id} refers to a ${struct} that lies among the values of a collection and is none of them`),
    };
  }

  #refuse(reason: string): never {
    return mismatch(this.#h, this.#type, `, and cannot be migrated: ${reason}`);
  }

  /** Looks at all that changes, and refuses what cannot be done. */
  #survey(): Survey {
    const { staging, leaveUnreached } = this.#rules;
    const plan = this.#plan;
    const fate = this.#fate;
    const survey = new Survey(this.#h, plan.stored, fate, {
      copies: staging,
      grown: staging ? undefined : (shape) => this.#refusal.outgrown(shape.type),
    });
    const { moves, changes, stray } = prospect(plan, survey, fate);
    if (stray !== undefined) return this.#refuse(`a pointer leads to a ${stray} that lies inside something whose type is not known`);
    this.#demandOtherKeys(movableIn(plan, staging));
    if (leaveUnreached) return survey;
    const rootOnly = changes === 0 || (changes === 1 && !plan.root.same && !leadsTo(plan.stored, plan.stored.root));
    if ((moves > 0 || !rootOnly) && survey.unreached > 0)
      return this.#refuse(
        `${survey.unreached} of its blocks are not reached from its root, so references to them, or in them, cannot be seen; where nothing needs them, space.migrate(${this.#type.name}, { unreached: 'leave' })`,
      );
    if (staging)
      for (const found of survey.collections)
        if (found.outer && fate(found.shape) === 'goes' && survey.unreachedIn(found) > 0)
          this.#refuse(`a ${found.shape.type} has grown into objects with blocks that are not its own; move what was made there elsewhere`);
    return survey;
  }

  /** Keys know what they refer to by its place. */
  #demandOtherKeys(movable: ReadonlySet<string>): void {
    for (const { label, shape } of [...this.#plan.stored.types.values()].flatMap(({ fields }) => fields))
      for (const collection of collectionsIn(shape))
        for (const name of keysOf(collection))
          if (movable.has(name)) this.#refuse(`${label} has keys that refer to a ${name}, which changes: keys know it by its place`);
  }

  /** Nothing is remembered of where its pointers lead until it is done. */
  #begin(): void {
    const h = this.#h;
    if (h.judged !== undefined || h.entered !== undefined) forget(h.kernel, h);
    h.judged = undefined;
    h.entered = undefined;
    h.fot = [];
    h.fotEpoch++;
    running.add(h);
  }

  /** In the running transaction. */
  run(): void {
    const h = this.#h;
    const survey = this.#survey();
    this.#begin();
    try {
      this.#end(new Conversion(h, this.#plan, this.#fate, this.#refusal), survey, []);
    } finally {
      running.delete(h);
    }
  }

  #end(conversion: Conversion, survey: Survey, outside: readonly TypedPointer[]): void {
    const h = this.#h;
    const at = conversion.run(survey, outside);
    h.release(h.dv.getUint32(META.schema, true));
    this.#storeRoot(h, this.#type, at);
  }

  /** In as many transactions as it takes. False where another process has changed the object meanwhile; then nothing has happened. */
  staged(): boolean {
    const h = this.#h;
    const { kernel } = h;
    kernel.catchUp();
    const survey = this.#survey();
    this.#begin();
    const conversion = new Conversion(h, this.#plan, this.#fate, this.#refusal);
    const staging = new Staging(h, conversion, this.#storeRoot);
    let done = false;
    try {
      staging.build(this.#plan, survey);
      done = runAlone(kernel, () => {
        if (!staging.current) return false;
        const refuse = (reason: string): never => this.#refuse(reason);
        this.#end(conversion, survey, outsiders(h, conversion.going, ownSchema, this.#rules.leaveUnreached, refuse));
        staging.end();
        return true;
      });
    } finally {
      running.delete(h);
      if (!done) staging.discard();
    }
    return done;
  }
}

/** Names of what the keys of a collection, or of those in it, refer to. */
function keysOf({ key, value }: CollectionShape): readonly string[] {
  return [...referredBy(key ?? ''), ...(value === undefined ? [] : collectionsIn(value).flatMap(keysOf))];
}

/** Structs that may come to lie elsewhere: those that change, and what is part of one. */
function movableIn({ stored, structs, collections }: Plan, staging: boolean): ReadonlySet<string> {
  const movable = new Set<string>();
  const enter = (shape: Shape | undefined, whole: boolean): void => {
    if (shape === undefined) return;
    if (shape.kind === 'optional' || shape.kind === 'array') enter(shape.of, whole);
    else if (shape.kind === 'collection' && (whole || shape.collection === 'Graph')) enter(shape.value, whole);
    else if (shape.kind === 'struct') {
      movable.add(shape.type);
      for (const field of stored.types.get(shape.type)?.fields ?? []) enter(field.shape, whole);
    }
  };
  for (const [name, { same, old }] of structs) if (!same) enter({ kind: 'struct', type: name, size: old.size }, false);
  // Of what goes to another object, all goes.
  for (const [shape, operation] of collections) if (!isSameContent(operation)) enter(shape.value, staging);
  return movable;
}

/** What becomes of each collection; asked once for each. */
function fatesIn(plan: Plan, staging: boolean): (shape: CollectionShape) => Fate {
  const fates = new Map<CollectionShape, Fate>();
  const movable = movableIn(plan, staging);
  const leadsToMoved = (shape: CollectionShape): boolean => [...structsIn(shape, plan.stored)].some((name) => movable.has(name));
  return (shape) => {
    let fate = fates.get(shape);
    if (fate === undefined) {
      const operation = plan.collections.get(shape);
      if (operation === undefined || !isSameContent(operation)) {
        fate = operation !== undefined && !staging && keepsPlaces(operation) ? 'inPlace' : 'goes';
      } else fate = leadsToMoved(shape) ? 'still' : 'skip';
      fates.set(shape, fate);
    }
    return fate;
  };
}

/** Does any struct refer to this one, or hold it inline? */
function leadsTo(schema: ObjectSchema, name: string): boolean {
  const leads = (shape: Shape): boolean =>
    shape.kind === 'ref' || shape.kind === 'struct'
      ? shape.type === name
      : shape.kind === 'optional' || shape.kind === 'array'
        ? leads(shape.of)
        : shape.kind === 'collection' && structsIn(shape, schema).has(name);
  return [...schema.types.values()].some(({ fields }) => fields.some(({ shape }) => leads(shape)));
}

/** Pointers to this object, and into what its collections have grown into, are looked at again when they are followed. */
function forget(kernel: Kernel, target: Handle): void {
  const parts = new Set<Handle>([target]);
  for (const part of parts)
    for (const h of kernel.handles.values()) if (h.slot !== undefined && h.state === 'live' && h.isPartOf(part)) parts.add(h);
  for (const part of parts) part.entered = undefined;
  for (const h of kernel.handles.values()) {
    const { fot } = h;
    for (let i = 0; i < fot.length; i++) {
      const each = fot[i];
      if (each !== undefined && parts.has(each) && !each.isPartOf(h)) fot[i] = undefined;
    }
  }
}

/** The object that says what types another one has: the one whose collection goes on there, or it itself. */
function home(h: ObjectHandle): ObjectHandle {
  if (!(h instanceof Handle)) return h;
  const { owner } = h;
  if (owner === undefined) return h;
  if (h.snapshot === undefined) return h.kernel.has(owner) ? home(h.kernel.open(owner)) : h;
  return home(h.snapshot.handle(owner));
}

/** A pointer of `type` leads inside an object that was not opened by its root. */
function enter(part: ObjectHandle, type: StructImage, storeRoot: StoreRoot): void {
  const h = home(part);
  if (h.cold) h.warm();
  const text = textOf(h);
  const judgement = text === undefined ? undefined : judgementOf(text, type);
  if (judgement === undefined) return;
  const { pairing, difference } = judgement;
  switch (difference.kind) {
    case 'same':
      return;
    case 'other':
      return mismatch(h, type, difference.reason);
    case 'newer':
      throw new TwzError('TypeNewer', both(h, judgement), context(h, judgement));
    case 'older': {
      const root = pairing.image(pairing.stored.root);
      if (root !== undefined) {
        if (evolveRoot(h, root, storeRoot, LAZILY)) h.judged = root;
        return;
      }
      const { root: name } = pairing.stored;
      throw new TwzError(
        'TypeOutdated',
        `${both(h, judgement)}; its root is a ${name}: open that first with the newer type (space.get(id, ${name})), or run space.migrate(${name})`,
        context(h, judgement),
      );
    }
  }
}

/** Gives what opens objects the means to migrate them. */
export function installEvolution(storeRoot: StoreRoot): void {
  useEvolution({
    root: (h, type) => void evolveRoot(h, type, storeRoot, LAZILY),
    enter: (h, type) => enter(h, type, storeRoot),
    forward: (h, at, type) => forwarded(h, at, type.name),
    origin: (h, at, type) => originOf(h, at, type.name),
  });
}
