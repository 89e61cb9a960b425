/**
 * Evolution, when an object is opened whose types are not the program's: it is migrated there and then, or the error says why not.
 * Comparing and planning is done once for each (schema text, struct).
 */
import { TwzError } from '../../abi/errors.ts';
import { KIND, META, PAGE, RIGHT } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { Handle } from '../../kernel/object.ts';
import { run } from '../../kernel/transaction.ts';
import { useEvolution } from '../../lib/evolution.ts';
import { fingerprintOf } from '../../lib/fingerprint.ts';
import { mismatch } from '../../lib/runtime.ts';
import type { StructImage } from '../../lib/struct.ts';
import { parseSchema, signatureOf, type ObjectSchema, type Shape } from '../check/schema.ts';
import { Conversion, convertStruct, prospect } from './convert.ts';
import { forwarded, originOf } from './forwards.ts';
import { collectionsIn, Pairing, planFor, readsAsPrefix, schemaOfType, structsIn, type Difference, type Plan } from './plan.ts';
import { Survey } from './survey.ts';

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
  if (pairing.name(stored.root) !== type.name || signature === undefined || !isOf(h, fingerprintOf(signature))) return mismatch(h, type);
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
      migrate(h, type, judgement, judgement.plan, storeRoot, rules);
      return true;
  }
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
  if (h.kind === KIND.shared) return outdated('it is shared, and others have it open as it is: create a new one');
  if ((h.rights & RIGHT.write) === 0) return outdated('it gives no right to write, and so cannot be migrated');
  return h;
}

/** Objects whose migration has begun: code can come back to one by references between objects. */
const running = new Set<ObjectHandle>();

function migrate(h: ObjectHandle, type: StructImage, judgement: Judgement, plan: Plan, storeRoot: StoreRoot, rules: OpenRules): void {
  const own = writable(h, judgement);
  const { kernel } = own;
  const survey = new Survey(own, plan.stored);
  const { moves, changes, stray } = prospect(plan, survey);
  const refuse = (reason: string): never => mismatch(h, type, `, and cannot be migrated: ${reason}`);
  if (stray !== undefined) return refuse(`a pointer leads to a ${stray} that lies inside something whose type is not known`);
  const rootOnly = changes === 0 || (changes === 1 && !plan.root.same && !leadsTo(plan.stored, plan.stored.root));
  if (survey.unreached > 0 && !collectionsOnly(plan.stored) && !rules.leaveUnreached && (moves > 0 || !rootOnly)) {
    return refuse(
      `${survey.unreached} of its blocks are not reached from its root, so references to them, or in them, cannot be seen; where nothing needs them, space.migrate(${type.name}, { unreached: 'leave' })`,
    );
  }
  if (own.judged !== undefined || own.entered !== undefined) forget(kernel, own);
  // Until it is done nothing is remembered of where its pointers lead.
  own.judged = undefined;
  own.entered = undefined;
  own.fot = [];
  own.fotEpoch++;
  running.add(own);
  try {
    run(kernel, () => {
      const at = new Conversion(own, plan).run(survey);
      own.release(own.dv.getUint32(META.schema, true));
      storeRoot(own, type, at);
    });
  } finally {
    running.delete(own);
  }
  if (kernel.transaction !== undefined) return;
  kernel.log.pace();
  kernel.checkpointer.pace();
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

/** Has it collections, and none whose values could lead to anything? Then what is not reached is taken for theirs. */
function collectionsOnly(schema: ObjectSchema): boolean {
  const collections = [...schema.types.values()].flatMap(({ fields }) => fields.flatMap(({ shape }) => collectionsIn(shape)));
  return collections.length > 0 && collections.every((collection) => structsIn(collection, schema).size === 0);
}

/** Pointers to this object are looked at again when they are followed. */
function forget(kernel: Kernel, target: Handle): void {
  for (const h of kernel.handles.values()) {
    const { fot } = h;
    for (let i = 0; i < fot.length; i++) if (fot[i] === target) fot[i] = undefined;
  }
}

/** A pointer of `type` leads inside an object that was not opened by its root. */
function enter(h: ObjectHandle, type: StructImage, storeRoot: StoreRoot): void {
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
        if (evolveRoot(h, root, storeRoot, { leaveUnreached: false })) h.judged = root;
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

/**
 * Converts one struct that was stored by the schema text `stored`, whose root it is, to a `type`; see `convertStruct`. Inside a transaction.
 * Throws TypeMismatch where it cannot be carried over, TypeNewer where it is the newer one.
 */
export function migrateStruct(h: ObjectHandle, stored: string, type: StructImage, at: number, to: number): void {
  const judgement = judgementOf(stored, type);
  if (judgement === undefined || !(h instanceof Handle)) return mismatch(h, type);
  const { difference, pairing } = judgement;
  if (difference.kind === 'newer') throw new TwzError('TypeNewer', both(h, judgement), context(h, judgement));
  if (difference.kind === 'other') return mismatch(h, type, difference.reason);
  judgement.plan ??= planFor(pairing);
  if (!('root' in judgement.plan)) return mismatch(h, type, `: ${judgement.plan.join('; ')}`);
  convertStruct(h, judgement.plan, at, to);
}

/** Gives what opens objects the means to migrate them. */
export function installEvolution(storeRoot: StoreRoot): void {
  useEvolution({
    root: (h, type) => void evolveRoot(h, type, storeRoot, { leaveUnreached: false }),
    enter: (h, type) => enter(h, type, storeRoot),
    forward: (h, at, type) => forwarded(h, at, type.name),
    origin: (h, at, type) => originOf(h, at, type.name),
    struct: migrateStruct,
  });
}
