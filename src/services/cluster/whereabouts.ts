/**
 * What nodes say of themselves to whoever asks, and of an object: which node owns it, which have copies, and whether the engine has what
 * it takes to have it again when they are gone. All nodes are asked at once, on the subject `about`.
 */
import { isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { clock } from '../../host/clock.ts';
import type { Host } from '../../host/host.ts';
import { deleted, type Core } from './core.ts';
import type { Engine, Subscription } from './engine.ts';
import { isOwnedKind, rootOfFamily } from './families.ts';
import { hear, heard, idIn, numberIn, say, textIn, type Head, type Said } from './messages.ts';
import type { NodeInfo } from './node.ts';
import { decodeRecord, RECORD_KIND } from './record.ts';
import { listNodes } from './watching.ts';

/** What one node has of an object. */
export interface Holding {
  readonly node: string;
  /** What people call that node. */
  readonly name: string;
  /** `kept`: of a kind that does not leave its node. */
  readonly role: 'owner' | 'copy' | 'immutable' | 'kept';
  readonly kind: string;
  /** Bytes of the object. */
  readonly size: number;
  readonly family: ObjectId;
  /** Other nodes have asked for it, and its commits are published since. */
  readonly shared: boolean;
  /** ID of the node that owns it, as far as this one knows. */
  readonly owner: string;
  /** How often it has changed its owner, and how many groups of changes were published, as far as this node has them; 0 where it is not shared. */
  readonly epoch: number;
  readonly group: number;
}

export interface Whereabouts {
  readonly id: ObjectId;
  /** The owner first. */
  readonly holders: readonly Holding[];
  /** Who is told to own it: a node that may not be there. Undefined for what is immutable, and where nobody knows. */
  readonly owner: string | undefined;
  readonly epoch: number;
  /** What the engine has of it: with `all` it outlives the nodes that hold it. */
  readonly kept: 'nothing' | 'changes' | 'all';
  /** Nodes that were there and said nothing. */
  readonly silent: readonly NodeInfo[];
}

/** A node as it is now. */
export interface NodeReport extends NodeInfo {
  /** It has said so: what it does now is not known of one that was silent. */
  readonly answered: boolean;
}

const SUBJECT = 'about';

/** A node answers from now on. */
export function answerAbout(node: Core & { readonly name: string; readonly load: number }): Subscription {
  return node.engine.subscribe(SUBJECT, (message) => {
    try {
      const { id, name, load, space } = node;
      const asked = hear(message.bytes);
      const of = asked.head['id'] === undefined ? undefined : holding(node, asked);
      message.reply?.(say({ node: id, name, load, objects: space.kernel.handles.size, ...of }));
    } catch (error) {
      // Whoever asks strangely, or is out of reach, learns nothing.
      if (!isTwzError(error)) throw error;
    }
  });
}

function holding({ id: node, space, table }: Core, { head }: Said): Omit<Holding, 'node' | 'name'> | undefined {
  const { kernel } = space;
  const id = idIn(head, 'id');
  kernel.catchUp();
  if (!kernel.has(id)) return undefined;
  const h = kernel.open(id);
  const { kindName: kind, size } = h;
  const family = table.byMember.get(id);
  const about = { kind, size, family: rootOfFamily(space, h).id, shared: family !== undefined, epoch: 0, group: 0 };
  if (family !== undefined) {
    const { owner, epoch, group } = family;
    return { ...about, role: family.role === 'owner' ? 'owner' : 'copy', owner, epoch, group };
  }
  if (kind === 'immutable') return { ...about, role: 'immutable', owner: '' };
  return { ...about, role: isOwnedKind(h.kind) ? 'owner' : 'kept', owner: node };
}

/** The nodes that are there; each is waited for until the deadline. Throws TimedOut where not even the engine answers, EngineLost. */
export async function askNodes(engine: Engine, ms: number): Promise<readonly NodeReport[]> {
  const end = clock.now() + ms;
  const nodes = await listNodes(engine, ms);
  const said = await askAll(engine, nodes, {}, Math.max(1, end - clock.now()), ({ head }) => ({
    load: numberIn(head, 'load'),
    objects: numberIn(head, 'objects'),
  }));
  return nodes.map((node) => ({ ...node, ...said.get(node.id), answered: said.has(node.id) }));
}

/** Which nodes have an object; as `askNodes`. Throws ObjectDeleted. */
export async function askWhereabouts(engine: Engine, host: Host, id: ObjectId, ms: number): Promise<Whereabouts> {
  const end = clock.now() + ms;
  const left = (): number => Math.max(1, end - clock.now());
  const nodes = await listNodes(engine, left());
  const said = await askAll(engine, nodes, { id }, left(), holdingIn);
  const holders = [...said.values()].filter((one) => one !== undefined);
  holders.sort((a, b) => Number(b.role === 'owner') - Number(a.role === 'owner') || (a.name < b.name ? -1 : 1));
  const family = holders[0]?.family ?? id;
  // The log alone decides who owns it.
  const log = await readLog(engine, host, family, ms);
  const told = holders.find(({ role }) => role === 'owner') ?? holders.find(({ role }) => role === 'copy');
  return {
    id,
    holders,
    owner: log?.owner ?? told?.owner,
    epoch: log?.epoch ?? told?.epoch ?? 0,
    kept: log?.kept ?? 'nothing',
    silent: nodes.filter((node) => !said.has(node.id)),
  };
}

/** One answer each, of nodes that are there. */
async function askAll<T>(
  engine: Engine,
  nodes: readonly NodeInfo[],
  head: Head,
  ms: number,
  read: (said: Said) => T,
): Promise<ReadonlyMap<string, T>> {
  const waited = new Set(nodes.map((node) => node.id));
  const said = new Map<string, T>();
  if (waited.size === 0) return said;
  try {
    await engine.ask(SUBJECT, say(head), ms, (bytes) => {
      try {
        const one = heard(bytes);
        const node = textIn(one.head, 'node');
        if (waited.has(node)) said.set(node, read(one));
        waited.delete(node);
      } catch (error) {
        // Whoever says what means nothing has said nothing.
        if (!isTwzError(error)) throw error;
      }
      return waited.size === 0;
    });
  } catch (error) {
    // Some may have gone meanwhile.
    if (!isTwzError(error, 'TimedOut') && !isTwzError(error, 'Unreachable')) throw error;
  }
  return said;
}

const ROLES: readonly string[] = ['owner', 'copy', 'immutable', 'kept'] satisfies Holding['role'][];

function isRole(text: string): text is Holding['role'] {
  return ROLES.includes(text);
}

function holdingIn({ head }: Said): Holding | undefined {
  if (head['role'] === undefined) return undefined;
  const role = textIn(head, 'role');
  if (!isRole(role)) return undefined;
  return {
    node: textIn(head, 'node'),
    name: textIn(head, 'name'),
    role,
    kind: textIn(head, 'kind'),
    size: numberIn(head, 'size'),
    family: idIn(head, 'family'),
    shared: head['shared'] === true,
    owner: textIn(head, 'owner'),
    epoch: numberIn(head, 'epoch'),
    group: numberIn(head, 'group'),
  };
}

async function readLog(
  engine: Engine,
  host: Host,
  family: ObjectId,
  ms: number,
): Promise<{ readonly owner: string; readonly epoch: number; readonly kept: 'changes' | 'all' } | undefined> {
  const log = `log.${family}`;
  const records = await engine.read(log, 0, ms);
  const [first, last] = [records[0], records.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const { owner, epoch, kind } = decodeRecord(host, log, last.bytes);
  if (kind === RECORD_KIND.end) throw deleted(family);
  return { owner, epoch, kept: decodeRecord(host, log, first.bytes).kind === RECORD_KIND.base ? 'all' : 'changes' };
}
