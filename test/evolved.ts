/** What the tests of schema evolution look at. */
import { META, SIZE_CLASSES } from '../src/abi/format.ts';
import type { Host } from '../src/host/host.ts';
import type { Obj } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import type { Finding } from '../src/services/check/findings.ts';
import { thrown } from './hosts.ts';

/** Blocks that the allocator of an object counts as in use; none of these objects has one of whole pages. */
export function blocksInUse(object: Obj): number {
  const classes = new DataView(object.bytes(META.classes, 16 * SIZE_CLASSES.length).buffer);
  return SIZE_CLASSES.reduce((sum, _, c) => sum + classes.getUint32(c * 16 + 12, true), 0);
}

export function message(body: () => unknown): string {
  return String(thrown(body));
}

export const problems = (host: Host, directory: string): Finding[] =>
  checkSpace(host, directory).findings.filter(({ severity }) => severity !== 'note');
