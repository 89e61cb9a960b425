/**
 * Stages: collections that are too large for one transaction are filled anew beside the old ones, in objects of their own, in as many
 * transactions as it takes. Nothing refers to those objects until one transaction puts their headers in the place of the old.
 *
 * A stage is an object with a root, so that one that was left behind by a crash is known for what it is: `sweepStages` deletes it.
 */
import { isTwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { deleteObject } from '../../kernel/lifetime.ts';
import type { Handle } from '../../kernel/object.ts';
import { runAlone } from '../../kernel/transaction.ts';
import { poolLeaveHome } from '../../lib/collections/pool.ts';
import { struct, type Struct } from '../../lib/struct.ts';
import { link } from '../../lib/fields.ts';
import { contentsOf } from './contents.ts';
import type { Conversion } from './convert.ts';
import { isSameContent, type CollectionOperation, type Plan } from './plan.ts';
import type { Survey } from './survey.ts';

const Stage: Struct<{ readonly of: typeof link }> = struct('MigrationStage', { of: link });

/** Bytes that a transaction changes before the next one begins. Tests set it lower. */
export const STAGE_LIMITS: { bytes: number } = { bytes: 8 << 20 };
/** How often it is looked at how many those are. */
const STRIDE = 16;

export class Staging {
  readonly #h: Handle;
  readonly #kernel: Kernel;
  readonly #conversion: Conversion;
  readonly #storeRoot: (h: Handle, type: typeof Stage, at: number) => void;
  readonly #homes: Handle[] = [];
  readonly #version: number;

  constructor(h: Handle, conversion: Conversion, storeRoot: (h: Handle, type: typeof Stage, at: number) => void) {
    this.#h = h;
    this.#kernel = h.kernel;
    this.#conversion = conversion;
    this.#storeRoot = storeRoot;
    this.#version = h.version;
  }

  /** Is all that was read as it was? */
  get current(): boolean {
    for (const [part, version] of [[this.#h, this.#version] as const, ...this.#conversion.going]) {
      if (part.state !== 'live') return false;
      if (part.cold) part.warm();
      if (part.version !== version) return false;
    }
    return true;
  }

  /** Fills all collections of the object that change. */
  build(plan: Plan, survey: Survey): void {
    for (const { h, at, shape, outer } of survey.collections) {
      const operation = plan.collections.get(shape);
      if (!outer || h !== this.#h || operation === undefined || isSameContent(operation)) continue;
      this.#fill(operation, at);
    }
    this.#inBatches(this.#conversion.correctLoose());
  }

  #fill(operation: CollectionOperation, at: number): void {
    const { old, oldSchema, fresh, freshSchema } = operation;
    for (const part of contentsOf(oldSchema, old)?.members(this.#h, at) ?? []) this.#conversion.leave(part);
    const [home, header] = runAlone(this.#kernel, () => {
      const made = this.#h.extend(0);
      const root = made.allocate(Stage.layout.size);
      this.#storeRoot(made, Stage, root);
      const place = made.allocate(fresh.size);
      for (const pool of contentsOf(freshSchema, fresh)?.pools ?? []) poolLeaveHome(made, place + pool);
      return [made, place] as const;
    });
    this.#homes.push(home);
    this.#inBatches(this.#conversion.fill(operation, this.#h, at, home, header, this.#h));
    this.#conversion.stage(at, { operation, home, at: header });
  }

  #inBatches(steps: Generator<void>): void {
    const kernel = this.#kernel;
    const batch = (): boolean => {
      for (let i = 1; steps.next().done !== true; i++) if (i % STRIDE === 0 && changedBytes(kernel) > STAGE_LIMITS.bytes) return true;
      return false;
    };
    for (let more = true; more;) {
      more = runAlone(kernel, batch);
      kernel.log.pace();
      kernel.checkpointer.pace();
    }
  }

  /** Deletes what the headers lay in. Inside a transaction. */
  end(): void {
    for (const home of this.#homes) deleteObject(this.#kernel, home);
  }

  /** Deletes all that was made. */
  discard(): void {
    const kernel = this.#kernel;
    if (kernel.closed || kernel.log.failure !== undefined) return;
    for (const home of this.#homes) if (kernel.has(home.id)) runAlone(kernel, () => deleteObject(kernel, home));
  }
}

function changedBytes(kernel: Kernel): number {
  let bytes = 0;
  for (const h of kernel.transaction?.handles ?? []) bytes += h.count * 64 + Math.max(0, h.size - h.sizeBefore);
  return bytes;
}

function isStage(h: Handle): boolean {
  const { low, high } = Stage.layout.fingerprint;
  return h.counted && h.dv.getUint32(META.rootType, true) === low && h.dv.getUint32(META.rootType + 4, true) === high;
}

/** Deletes the stages that were left by a migration that did not come to its end. */
export function sweepStages(kernel: Kernel, ids: readonly ObjectId[]): void {
  for (const id of ids) {
    if (!kernel.has(id)) continue;
    try {
      const h = kernel.open(id);
      if (isStage(h)) runAlone(kernel, () => deleteObject(kernel, h));
    } catch (error) {
      // What cannot be opened is told of where it is looked for.
      if (!isTwzError(error) || error.category !== 'object') throw error;
    }
  }
}
