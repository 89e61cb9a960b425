/**
 * Judging those who come by way of handles: programs in JavaScript.
 *
 * An image that was judged is shown until rights change. Then everything mapped is barred at once: `cold`, so that the next touch asks anew.
 * The views stay, because what is under way may still hold them, and because commits and checkpoints work on images that nobody may see.
 */
import { KIND, RIGHT } from '../../abi/format.ts';
import { demandRight } from '../../abi/handle.ts';
import type { Kernel } from '../kernel.ts';
import type { Handle } from '../object.ts';
import { permitStores } from '../shared-object.ts';
import type { Authority } from './authority.ts';

/** An image that has just come to be shown: it stays so if it may be read. Throws ObjectForbidden. */
export function judgeShown(h: Handle): void {
  h.cold = true;
  demandRight(h, 'read');
  // Stores to shared memory are part of no transaction, so there is no later moment to judge them at.
  if (h.kind === KIND.shared && h.snapshot === undefined) permitStores(h, (h.granted(RIGHT.write) & RIGHT.write) !== 0);
  h.cold = false;
}

/** Rights may have changed: whoever touches an object next is judged. */
export function barAll(kernel: Kernel): void {
  for (const h of kernel.handles.values()) bar(kernel, h);
  for (const snapshot of kernel.snapshots) for (const h of snapshot.mapped()) bar(kernel, h);
}

function bar(kernel: Kernel, h: Handle): void {
  // What the running transaction made is its own until it ends.
  if (h.slot === undefined || (h.fresh && h.serial === kernel.serial)) return;
  h.cold = true;
  h.fot = [];
}

/** From now on another authority judges: that of a compartment, while its program runs. Returns what `actAgain` takes. */
export function actFor(kernel: Kernel, authority: Authority): Authority | undefined {
  const before = kernel.acting;
  kernel.acting = authority;
  return before;
}

/** The one before acts again. What the other could see is barred to it. */
export function actAgain(kernel: Kernel, before: Authority | undefined): void {
  kernel.acting = before;
  if (kernel.authority !== undefined) barAll(kernel);
}
