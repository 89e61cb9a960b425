/** Defragment: the blocks of one object move together, every pointer to them follows, and what is empty at its end is cut off. */
import { KIND } from '../abi/format.ts';
import { TwzError } from '../abi/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { Compaction } from '../kernel/compact.ts';
import type { Handle } from '../kernel/object.ts';
import { canShorten, shorten } from '../kernel/shorten.ts';
import { MoveWalk } from './defragment/walk.ts';

export interface Defragmented {
  /** Bytes of the object before and after. */
  readonly before: number;
  readonly after: number;
  readonly moved: { readonly blocks: number; readonly bytes: number };
  /** Pointers that were changed, here and in other objects. */
  readonly pointers: number;
  /** Other objects by which this one can be reached. */
  readonly referrers: number;
  /**
   * Blocks in use that no typed field leads to: those of `allocate` and of collections, and whatever was lost without being freed. They
   * stay where they are. `at` names the first of them.
   */
  readonly unaccounted: { readonly blocks: number; readonly bytes: number; readonly at: readonly number[] };
}

/** Cutting off costs writing the whole object once: done for an eighth of it. */
const SHARE = 8;
const LISTED = 100;

/** Inside a transaction. `mayShorten`: the transaction does nothing else. */
export function defragment(kernel: Kernel, h: Handle, mayShorten: boolean): Defragmented {
  if (h.cold) h.warm();
  kernel.enlist(h);
  if (h.pins > 0)
    throw new TwzError('ObjectPinned', `object ${h.id} cannot be defragmented while raw views of it, cursors or readers are held`, {
      id: h.id,
    });
  // Others are opened on the way; these stay.
  h.pins++;
  const walk = new MoveWalk(kernel, h);
  try {
    walk.run();
  } finally {
    h.pins--;
  }
  const { blocks } = walk;
  const movable = (start: number): boolean => walk.movable(start);
  const before = h.size;
  let plan = new Compaction(h, blocks, movable, mayShorten && h.kind !== KIND['append-only'] && canShorten(h));
  if ((before - plan.size) * SHARE < before) plan = new Compaction(h, blocks, movable, false);
  const unaccounted = { blocks: 0, bytes: 0, at: [] as number[] };
  for (const start of blocks.blocks()) {
    if (walk.reached.has(start)) continue;
    unaccounted.blocks++;
    unaccounted.bytes += blocks.sizeOf(start);
    if (unaccounted.at.length < LISTED) unaccounted.at.push(start);
  }
  const result = { before, after: plan.size, referrers: walk.objects, unaccounted };
  if (plan.idle && plan.size === before) return { ...result, moved: { blocks: 0, bytes: 0 }, pointers: 0 };
  const moved = plan.apply();
  let pointers = 0;
  for (const slot of walk.slots) {
    const to = plan.relocate(slot.to);
    if (to === slot.to) continue;
    if (slot.h.cold) slot.h.warm();
    slot.h.setU32(slot.h === h ? plan.relocate(slot.at) : slot.at, to);
    pointers++;
  }
  if (plan.size < before) shorten(kernel, h, plan.size);
  return { ...result, moved, pointers };
}
