/**
 * The rule by which rights are found, and nothing else.
 *
 *   given   = the object's default rights, and those of every valid capability and delegation that the context holds for it
 *   granted = given & global mask                                       where the context has no mask for this object
 *             given & mask & (global mask | override)                   where it has one
 *
 * So a mask can take away default rights, too, and an override gives back what only the global mask took.
 */
import type { Mask } from '../../abi/security-format.ts';

export function grantedBy(given: number, globalMask: number, mask: Pick<Mask, 'rights' | 'override'> | undefined): number {
  return mask === undefined ? given & globalMask : given & mask.rights & (globalMask | mask.override);
}
