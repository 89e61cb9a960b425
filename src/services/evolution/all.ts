/** Evolution, eagerly: every object of a type, each in a transaction of its own, so that it can be ended at any point and gone on with. */
import { isTwzError, type TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { objectIds } from '../../kernel/reclaim.ts';
import { Obj } from '../../lib/object.ts';
import type { StructImage } from '../../lib/struct.ts';
import { migrationsTo } from '../../lib/evolution.ts';
import { evolveRoot, isOutgrown, ownSchema, type StoreRoot } from './open.ts';
import { settle } from './settle.ts';
import { sweepStages } from './stage.ts';

export interface MigrateOptions {
  /** Called after each object of the space. */
  readonly progress?: (done: number, total: number) => void;
  /**
   * What to do with an object that has blocks which are not reached from its root: 'refuse' it, the default, since other objects may refer
   * to them; or 'leave' them as they are, because the program knows that nothing does.
   */
  readonly unreached?: 'refuse' | 'leave';
}

export interface Migrated {
  /** Objects whose root is of the type. */
  readonly objects: number;
  /** How many of them had an older version. */
  readonly migrated: number;
  /** Objects whose structs had moved, of this type or another, and to which all references lead directly now. */
  readonly settled: number;
  /** Those that could not be migrated, and why. */
  readonly refused: readonly { readonly id: ObjectId; readonly error: TwzError }[];
}

/** Names that the root had in any version that migrations lead from. */
function namesOf(type: StructImage): ReadonlySet<string> {
  const types = new Set([type]);
  for (const each of types) for (const { from } of migrationsTo(each)) types.add(from);
  return new Set([...types].map(({ name }) => name));
}

function rootName(h: Handle): string | undefined {
  if (h.dv.getUint32(META.root, true) === 0 || h.dv.getUint32(META.schema, true) === 0) return undefined;
  return new Obj(h).schema?.root;
}

/** In one transaction where that will do. */
function evolve(h: Handle, type: StructImage, storeRoot: StoreRoot, options: MigrateOptions): boolean {
  const rules = { leaveUnreached: options.unreached === 'leave', staging: false };
  try {
    return evolveRoot(h, type, storeRoot, rules);
  } catch (error) {
    if (!isTwzError(error) || !isOutgrown(error)) throw error;
    return evolveRoot(h, type, storeRoot, { ...rules, staging: true });
  }
}

export function migrateAll(kernel: Kernel, type: StructImage, storeRoot: StoreRoot, options: MigrateOptions): Migrated {
  kernel.idle('migrating all objects of a type');
  const names = namesOf(type);
  sweepStages(kernel, [...objectIds(kernel)]);
  const ids = [...objectIds(kernel)];
  const refused: { id: ObjectId; error: TwzError }[] = [];
  let [objects, migrated] = [0, 0];
  for (const [i, id] of ids.entries()) {
    try {
      // What a collection had grown into goes when that is filled anew.
      const h = kernel.has(id) ? kernel.open(id) : undefined;
      if (h !== undefined && names.has(rootName(h) ?? '')) {
        objects++;
        if (evolve(h, type, storeRoot, options)) migrated++;
        h.judged = type;
      }
    } catch (error) {
      if (!isTwzError(error) || !['object', 'pointer', 'type'].includes(error.category)) throw error;
      refused.push({ id, error });
    }
    options.progress?.(i + 1, ids.length);
  }
  return { objects, migrated, settled: settle(kernel, [...objectIds(kernel)], ownSchema), refused };
}
