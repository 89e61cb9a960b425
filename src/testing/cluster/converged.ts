/** What must be so when all faults are healed and everybody has caught up. */
import { isTwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { membersOf } from '../../services/cluster/families.ts';
import type { ClusterNode } from '../../services/cluster/node.ts';
import { decodeRecord, NO_HASH, RECORD_KIND } from '../../services/cluster/record.ts';
import type { Space } from '../../space.ts';

const PATIENCE_MS = 30_000;
const CALL_MS = 5000;
/** What each node has for itself in the metadata of an object. */
const OWN = [
  [META.flags, 4],
  [META.version, 8],
  [META.checksum, 4],
] as const;

type Fail = (kind: 'wrong' | 'lost' | 'hung' | 'apart', message: string) => void;

interface Named {
  readonly id: ObjectId;
  readonly name: string;
}

/** Throws nothing: what is not as it must be is told. */
export async function judgeConverged(nodes: readonly ClusterNode[], objects: readonly Named[], fail: Fail): Promise<void> {
  for (const { id, name } of objects) {
    for (const node of nodes) await freshen(node, id, name, fail);
    await judgeLog(nodes, id, name, fail);
  }
  for (const { id, name } of objects) judgeImages(nodes, id, name, fail);
}

async function freshen(node: ClusterNode, id: ObjectId, name: string, fail: Fail): Promise<void> {
  const until = node.clock.now() + PATIENCE_MS;
  for (;;) {
    try {
      await node.freshen(id, node.clock.now() + CALL_MS);
      return;
    } catch (error) {
      if (!isTwzError(error)) throw error;
      if (node.clock.now() > until) {
        fail(
          error.name === 'ObjectMissing' ? 'lost' : 'hung',
          `${node.name} does not get ${name} (${id}): ${error.name}: ${error.message}${told(node, id)}`,
        );
        return;
      }
      await node.pause(100);
    }
  }
}

/** Epochs only grow, by one, each by the record that says so; and every record names the hash of the one before. */
async function judgeLog(nodes: readonly ClusterNode[], id: ObjectId, name: string, fail: Fail): Promise<void> {
  const [{ engine, space }] = nodes as [ClusterNode];
  const log = `log.${id}`;
  const records = await engine.read(log, 0, CALL_MS);
  let [epoch, group, hash, owner] = [0, 0, NO_HASH, ''];
  for (const [i, { bytes }] of records.entries()) {
    const record = decodeRecord(space.kernel.host, log, bytes);
    const at = `${name}: record ${i} of its log`;
    if (i > 0 || record.kind !== RECORD_KIND.base) {
      if (record.before !== hash) fail('wrong', `${at} does not follow on the one before`);
      const next = record.kind === RECORD_KIND.epoch ? epoch + 1 : epoch;
      if (record.epoch !== next) fail('wrong', `${at} has epoch ${record.epoch} after ${epoch}`);
      if (i > 0 && record.kind !== RECORD_KIND.epoch && record.owner !== owner) fail('wrong', `${at} is by another than the owner`);
      if (record.group < group) fail('wrong', `${at} has group ${record.group} after ${group}`);
    }
    ({ epoch, group, hash, owner } = record);
  }
  const owners = nodes.filter((node) => node.table.byMember.get(id)?.role === 'owner').map((node) => node.id);
  if (records.length > 0 && (owners.length > 1 || owners.some((each) => each !== owner)))
    fail('wrong', `${name} is owned by ${owners.join(', ')}; its log says ${owner}`);
}

function judgeImages(nodes: readonly ClusterNode[], id: ObjectId, name: string, fail: Fail): void {
  const images = nodes.filter(({ space }) => space.has(id)).map((node) => ({ node, image: imageOf(node.space, id) }));
  const [first, ...others] = images;
  for (const { node, image } of others)
    if (first !== undefined && image !== first.image)
      fail('apart', `${name} (${id}) on ${node.name} is not what it is on ${first.node.name}: ${difference(first.image, image)}`);
}

/** The family without what each node counts for itself. */
export function imageOf({ kernel }: Space, id: ObjectId): string {
  return membersOf(kernel.open(id))
    .map((each) => {
      const h = kernel.open(each);
      if (h.cold) h.warm();
      const bytes = Buffer.from(new Uint8Array(h.words.slice().buffer, 0, h.size));
      for (const [at, length] of OWN) bytes.fill(0, at, at + length);
      return `${each} ${bytes.toString('hex')}`;
    })
    .join('\n');
}

function difference(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return `at digit ${at} of ${a.length} and ${b.length}: ${a.slice(at, at + 32)} and ${b.slice(at, at + 32)}`;
}

/** How far a node is with it. */
function told(node: ClusterNode, id: ObjectId): string {
  const family = node.table.byMember.get(id);
  if (family === undefined) return '';
  const { role, owner, epoch, group, seq, astray } = family;
  return `; there: ${JSON.stringify({ role, owner, epoch, group, seq, astray, met: [...family.met] })}`;
}
