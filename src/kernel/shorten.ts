/**
 * An object becomes shorter: only by compaction, when what lay at its end has moved or was free.
 *
 * The log knows no shorter object, and a file that is cut under those who show it would be felt by snapshots and copies. So the object is
 * logged as if it were made anew, whole, under its old ID, and the next checkpoint gives it a new file: nothing that shows the old one
 * notices. Until the transaction ends the old image is kept beside the new one.
 */
import { KIND, META } from '../abi/format.ts';
import type { Kernel } from './kernel.ts';
import { CLEAN, type Handle } from './object.ts';
import type { Slot } from './windows.ts';

/** What an object was before the running transaction shortened it. */
export interface Former {
  readonly slot: Slot;
  readonly size: number;
  readonly mapped: boolean;
  readonly fileSize: number;
}

/** Can it be shortened in the running transaction? */
export function canShorten(h: Handle): boolean {
  const mayBe = h.kind === KIND.owned || h.kind === KIND.progressive || h.kind === KIND['append-only'];
  return !h.fresh && !h.whole && mayBe && h.pins === 0 && h.imageFile === undefined && !h.stale && h.former === undefined;
}

export function shorten(kernel: Kernel, h: Handle, size: number): void {
  for (const snapshot of kernel.snapshots) snapshot.rescue(h);
  h.setU32(META.size, size);
  const { slot } = h;
  if (slot === undefined) return;
  h.pins++;
  let shorter: Slot;
  try {
    shorter = kernel.takeSlot(size);
  } finally {
    h.pins--;
  }
  new Uint8Array(shorter.window.buffer, shorter.at, size).set(h.u8.subarray(0, size));
  h.former = { slot, size: h.size, mapped: h.fileMapped, fileSize: h.fileSize };
  kernel.setMapped(h, false);
  h.fileSize = 0;
  h.place(shorter, size);
  h.whole = true;
}

/** The transaction was committed, and the old image is needed no more. */
export function forgetFormer(kernel: Kernel, h: Handle): void {
  const { former } = h;
  if (former === undefined) return;
  h.former = undefined;
  kernel.windows.give(former.slot, former.mapped);
  h.pendingPages = [];
  h.pending = new Uint8Array(0);
  // As long as the old image.
  h.dirty = CLEAN;
}

/** The transaction was aborted: its old bytes go where they were. */
export function restoreFormer(kernel: Kernel, h: Handle): void {
  const { former, slot } = h;
  if (former === undefined) return;
  h.former = undefined;
  if (slot !== undefined) kernel.windows.give(slot, h.fileMapped);
  h.place(former.slot, former.size);
  kernel.setMapped(h, former.mapped);
  h.fileSize = former.fileSize;
  h.whole = false;
}
