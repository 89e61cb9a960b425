/**
 * Random operations, each done to a space and to its model. An operation that the model forbids at the moment does nothing.
 * The operations of one transaction are drawn by weight; `Operations.run` is the body of a transaction.
 */
import type { Random } from '../host/simulated/random.ts';
import { assign, objectOf, offsetOf, type Obj, type ObjectId, type Space } from '../index.ts';
import { Doc, Item, MOODS, RAW_HEADER, briefBytes } from './facts.ts';
import type { DocModel, NameModel, PeerModel, World } from './model.ts';

const OBJECTS_MAX = 14;
const ITEMS_MAX = 12;
const TIES_MAX = 3;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const LINKS = ['l0', 'l1'];
const NAMESPACES = ['n0', 'n1'];
const DEPTH_MAX = 3;

/** Lengths that meet the edges: nothing, a line, a size class, more than a page. */
const LENGTHS = [0, 1, 7, 8, 40, 63, 64, 65, 200, 700, 1500, 2047, 2048, 2049, 4096, 5000];

type Operation = readonly [weight: number, run: (o: Operations) => void];

export class Operations {
  readonly space: Space;
  readonly world: World;
  readonly random: Random;
  /** What each ID was created as, in any transaction that ever ran. */
  readonly universe: Map<ObjectId, 'doc' | 'raw'>;
  /** Raw views that are held over transactions, by object. */
  readonly views: Map<ObjectId, { readonly obj: Obj; readonly view: Uint8Array }>;
  /** Names of the operations, for the report of a failure. */
  readonly trace: string[] = [];

  constructor(space: Space, world: World, random: Random, universe: Operations['universe'], views: Operations['views']) {
    this.space = space;
    this.world = world;
    this.random = random;
    this.universe = universe;
    this.views = views;
  }

  /** Does so many operations; what the model forbids does not count. */
  run(count: number): void {
    const wanted = this.trace.length + count;
    for (let tries = 0; this.trace.length < wanted && tries < 20 * count; tries++) this.#draw()(this);
  }

  #draw(): (o: Operations) => void {
    let at = this.random.below(TOTAL);
    for (const [weight, run] of OPERATIONS) {
      if (at < weight) return run;
      at -= weight;
    }
    return touchValues;
  }

  // --- what operations choose from ------------------------------------------------------------------------------------------

  /** A document that may be changed. */
  doc(): DocModel | undefined {
    return this.random.pick(this.world.docs().filter((doc) => !doc.immutable));
  }

  accessor(id: ObjectId): Doc {
    return this.space.get(id, Doc);
  }

  anyObject(): ObjectId | undefined {
    return this.random.pick([...this.world.objects.keys()]);
  }

  text(): string {
    const length = this.random.pick(LENGTHS) ?? 0;
    const start = this.random.below(26);
    let text = '';
    while (text.length < length) text += this.random.chance(0.02) ? 'é' : String.fromCharCode(97 + ((start + text.length * 7) % 26));
    return text;
  }

  /** Now and then more than an object that is read, not mapped, can hold. */
  content(): Uint8Array {
    return this.random.bytes(this.random.chance(0.02) ? 70_000 : (this.random.pick(LENGTHS) ?? 0));
  }
}

/** More than a frame of the smallest log holds, and nearly as much as its smallest segment. */
const BULK_MIN = 17_000;
const BULK_MAX = 50_000;

/** A transaction of several frames, which may go on in the next segment of the log. */
export function storeBulk(o: Operations): void {
  // A new one is so large that it goes around the log.
  const made = o.random.chance(0.5) ? createDoc(o) : undefined;
  const doc = made ?? o.doc();
  if (doc === undefined) return;
  const body = o.random.bytes(BULK_MIN + o.random.below(BULK_MAX - BULK_MIN));
  o.trace.push(`body ${doc.id} ${body.length}`);
  o.accessor(doc.id).body = body;
  o.world.change(doc.id, { values: { ...doc.values, body: briefBytes(body) } });
}

// --- documents ------------------------------------------------------------------------------------------------------------------

const EMPTY_VALUES: DocModel['values'] = {
  title: '',
  body: '',
  count: 0,
  weight: 0,
  level: 0,
  ok: false,
  mood: MOODS[0],
  born: undefined,
  grid: [0, 0, 0, 0, 0],
  x: 0,
  y: 0,
  big: 0,
};

function createDoc(o: Operations): DocModel | undefined {
  if (o.world.objects.size >= OBJECTS_MAX) return undefined;
  const title = o.text();
  const count = o.random.u32();
  const counted = o.random.chance(0.3);
  const { id } = objectOf(o.space.create(Doc, { title, count }, { counted }));
  o.universe.set(id, 'doc');
  o.trace.push(`create ${id}`);
  const doc: DocModel = {
    kind: 'doc',
    id,
    ties: [],
    counted,
    doomed: false,
    immutable: false,
    values: { ...EMPTY_VALUES, title, count },
    items: [],
    pick: undefined,
    peer: { to: 'nothing' },
    any: undefined,
  };
  o.world.objects.set(id, doc);
  return doc;
}

function touchValues(o: Operations): void {
  const doc = o.doc();
  if (doc === undefined) return;
  const { random } = o;
  const accessor = o.accessor(doc.id);
  const next = {
    count: random.u32(),
    weight: random.u32() / 7,
    level: random.below(256) - 128,
    ok: random.chance(0.5),
    mood: random.pick(MOODS) ?? MOODS[0],
    born: random.chance(0.3) ? undefined : random.below(65536),
    grid: Array.from({ length: 5 }, () => random.below(65536) - 32768),
    x: random.u32() / 3,
    y: Math.fround(random.u32() / 3),
    big: random.u32() * 2 ** 20 + random.below(2 ** 20),
  };
  o.trace.push(`values ${doc.id}`);
  if (random.chance(0.5)) {
    accessor.count = next.count;
    o.world.change(doc.id, { values: { ...doc.values, count: next.count } });
    return;
  }
  const { x, y, ...flat } = next;
  // `assign` leaves a field alone that it gets no value for.
  if (flat.born !== undefined && random.chance(0.5)) assign(accessor, { ...flat, place: { x, y } });
  else {
    Object.assign(accessor, flat);
    accessor.place.x = x;
    accessor.place.y = y;
  }
  o.world.change(doc.id, { values: { ...doc.values, ...next } });
}

function storeText(o: Operations): void {
  const doc = o.doc();
  if (doc === undefined) return;
  const title = o.text();
  o.trace.push(`title ${doc.id} ${title.length}`);
  o.accessor(doc.id).title = title;
  o.world.change(doc.id, { values: { ...doc.values, title } });
}

function storeBytes(o: Operations): void {
  const doc = o.doc();
  if (doc === undefined) return;
  const body = o.content();
  o.trace.push(`body ${doc.id} ${body.length}`);
  o.accessor(doc.id).body = body;
  o.world.change(doc.id, { values: { ...doc.values, body: briefBytes(body) } });
}

// --- items: allocate, construct, publish; take out, free ------------------------------------------------------------------------

function pushItem(o: Operations): void {
  const doc = o.doc();
  if (doc === undefined || doc.items.length >= ITEMS_MAX) return;
  const accessor = o.accessor(doc.id);
  const tag = o.random.u32();
  const note = o.text();
  const item = o.space.make(Item, accessor, { tag, note });
  item.next = accessor.head;
  accessor.head = item;
  o.trace.push(`push ${doc.id}`);
  o.world.change(doc.id, { items: [{ offset: offsetOf(item), tag, note }, ...doc.items] });
}

function freeItem(o: Operations): void {
  const doc = o.doc();
  const index = o.random.below(doc?.items.length ?? 0);
  const model = doc?.items[index];
  if (doc === undefined || model === undefined) return;
  const accessor = o.accessor(doc.id);
  let before: Item | null = null;
  let item = accessor.head;
  for (let i = 0; i < index && item !== null; i++) {
    before = item;
    item = item.next;
  }
  if (item === null) throw new Error(`document ${doc.id} has fewer items than its model`);
  o.trace.push(`free ${doc.id}+${model.offset}`);
  if (before === null) accessor.head = item.next;
  else before.next = item.next;
  // In the same transaction nothing may refer to the item any more.
  for (const other of o.world.docs()) {
    if (other.pick?.id !== doc.id || other.pick.offset !== model.offset) continue;
    o.accessor(other.id).pick = null;
    o.world.change(other.id, { pick: undefined });
  }
  o.space.free(item);
  const now = o.world.objects.get(doc.id);
  if (now?.kind === 'doc') o.world.change(doc.id, { items: now.items.filter((each) => each !== model) });
}

// --- references -----------------------------------------------------------------------------------------------------------------

function pickItem(o: Operations): void {
  const doc = o.doc();
  const other = o.random.pick(o.world.docs().filter((each) => each.items.length > 0 && !each.immutable));
  if (doc === undefined) return;
  const index = o.random.below(other?.items.length ?? 0);
  const model = other?.items[index];
  const accessor = o.accessor(doc.id);
  if (other === undefined || model === undefined || o.random.chance(0.2)) {
    accessor.pick = null;
    o.world.change(doc.id, { pick: undefined });
    return;
  }
  let item = o.accessor(other.id).head;
  for (let i = 0; i < index && item !== null; i++) item = item.next;
  o.trace.push(`pick ${doc.id} -> ${other.id}+${model.offset}`);
  accessor.pick = item;
  o.world.change(doc.id, { pick: { id: other.id, offset: model.offset } });
}

function setPeer(o: Operations): void {
  const doc = o.doc();
  const other = o.random.pick(o.world.docs());
  if (doc === undefined) return;
  const accessor = o.accessor(doc.id);
  let peer: PeerModel = { to: 'nothing' };
  if (o.random.chance(0.2)) {
    peer = { to: 'name', path: `/${o.random.pick([...NAMES, ...LINKS])}` };
    accessor.peer = o.space.late(Doc, peer.path);
  } else if (other !== undefined && o.random.chance(0.8)) {
    peer = { to: 'object', id: other.id };
    accessor.peer = o.accessor(other.id);
  } else accessor.peer = null;
  o.trace.push(`peer ${doc.id} -> ${JSON.stringify(peer)}`);
  o.world.change(doc.id, { peer });
}

function setAny(o: Operations): void {
  const doc = o.doc();
  const any = o.random.chance(0.8) ? o.anyObject() : undefined;
  if (doc === undefined) return;
  o.trace.push(`any ${doc.id} -> ${any}`);
  o.accessor(doc.id).any = any === undefined ? null : o.space.object(any);
  o.world.change(doc.id, { any });
}

// --- objects as a whole ---------------------------------------------------------------------------------------------------------

function copyDoc(o: Operations): void {
  const doc = o.random.pick(o.world.docs());
  if (doc === undefined || o.world.objects.size >= OBJECTS_MAX) return;
  const counted = o.random.chance(0.2);
  // Default rights follow the original; a copy of an immutable object can be changed again.
  const { id } = o.space.copy(doc.id, { counted });
  o.universe.set(id, 'doc');
  o.trace.push(`copy ${doc.id} to ${id}`);
  const own = (target: ObjectId): ObjectId => (target === doc.id ? id : target);
  o.world.objects.set(id, {
    ...doc,
    id,
    ties: [],
    counted,
    doomed: false,
    immutable: false,
    pick: doc.pick === undefined ? undefined : { ...doc.pick, id: own(doc.pick.id) },
    peer: doc.peer.to === 'object' ? { to: 'object', id: own(doc.peer.id) } : doc.peer,
    any: doc.any === undefined ? undefined : own(doc.any),
  });
}

function sealDoc(o: Operations): void {
  const doc = o.doc();
  // Its items may be freed later, and a sealed reference cannot be taken back.
  if (doc === undefined || doc.pick !== undefined || doc.peer.to === 'object' || doc.any === doc.id || o.world.objects.size >= OBJECTS_MAX)
    return;
  const id = o.space.seal(doc.id);
  o.trace.push(`seal ${doc.id} as ${id}`);
  if (o.world.objects.has(id)) return;
  o.universe.set(id, 'doc');
  o.world.objects.set(id, { ...doc, id, ties: [], counted: false, doomed: false, immutable: true });
}

function deleteObject(o: Operations): void {
  const id = o.anyObject();
  const object = id === undefined ? undefined : o.world.objects.get(id);
  if (object === undefined || o.world.objects.size < 3 || pinned(o)) return;
  o.trace.push(`delete ${object.id}`);
  o.space.delete(object.id);
  o.world.delete(object.id);
}

/** Objects with raw views cannot go; any deletion may cascade. */
function pinned(o: Operations): boolean {
  return o.views.size > 0;
}

function tie(o: Operations): void {
  const object = o.random.pick([...o.world.objects.values()].filter((each) => !each.immutable));
  const to = o.anyObject();
  if (object === undefined || to === undefined || object.id === to || object.ties.includes(to) || object.ties.length >= TIES_MAX) return;
  o.trace.push(`tie ${object.id} to ${to}`);
  o.space.tie(object.id, to);
  o.world.change(object.id, { ties: [...object.ties, to] });
}

function untie(o: Operations): void {
  const object = o.random.pick([...o.world.objects.values()].filter((each) => each.ties.length > 0));
  const to = o.random.pick(object?.ties ?? []);
  if (object === undefined || to === undefined || pinned(o)) return;
  o.trace.push(`untie ${object.id} from ${to}`);
  o.space.untie(object.id, to);
  o.world.untie(object.id, to);
}

// --- raw memory -----------------------------------------------------------------------------------------------------------------

function createRaw(o: Operations): void {
  if (o.world.objects.size >= OBJECTS_MAX) return;
  const content = o.content();
  const obj = o.space.createRaw(RAW_HEADER + content.length);
  o.universe.set(obj.id, 'raw');
  o.trace.push(`create raw ${obj.id} ${content.length}`);
  const view = obj.raw(obj.rootOffset, RAW_HEADER + content.length);
  new DataView(view.buffer, view.byteOffset).setUint32(0, content.length, true);
  view.set(content, RAW_HEADER);
  o.views.set(obj.id, { obj, view });
  o.world.objects.set(obj.id, {
    kind: 'raw',
    id: obj.id,
    ties: [],
    counted: false,
    doomed: false,
    immutable: false,
    content,
  });
}

function storeRaw(o: Operations): void {
  const raw = o.random.pick(o.world.raws());
  if (raw === undefined || raw.content.length === 0) return;
  let held = o.views.get(raw.id);
  if (held === undefined) {
    const obj = o.space.object(raw.id);
    held = { obj, view: obj.raw(obj.rootOffset, RAW_HEADER + raw.content.length) };
    o.views.set(raw.id, held);
  }
  const from = o.random.below(raw.content.length);
  const stored = o.random.bytes(1 + o.random.below(Math.min(200, raw.content.length - from)));
  o.trace.push(`raw store ${raw.id} ${stored.length} at ${from}`);
  held.view.set(stored, RAW_HEADER + from);
  const replaced = raw.content.slice();
  replaced.set(stored, from);
  o.world.objects.set(raw.id, { ...raw, content: replaced });
}

// --- names ----------------------------------------------------------------------------------------------------------------------

function place(
  o: Operations,
  among: readonly string[],
): { path: string; names: Map<string, NameModel>; name: string; taken: NameModel | undefined } {
  const parent = o.random.pick(o.world.namespaces()) ?? '';
  const name = o.random.pick(among) ?? 'a';
  const names = o.world.namespace(parent) ?? o.world.names;
  return { path: `${parent}/${name}`, names, name, taken: names.get(name) };
}

function setName(o: Operations): void {
  const { path, names, name, taken } = place(o, NAMES);
  const id = o.anyObject();
  if (id === undefined || taken?.kind === 'namespace') return;
  if (taken?.kind === 'object' && taken.owns && (taken.id === id || pinned(o))) return;
  const owns = o.random.chance(0.3);
  o.trace.push(`name ${path} ${id}${owns ? ' owns' : ''}`);
  // What goes with the old name may take this target along.
  if (taken !== undefined) {
    const after = o.world.clone();
    after.drop(after.namespace(path.slice(0, path.lastIndexOf('/'))) ?? after.names, name);
    if (!after.objects.has(id)) return;
    o.world.drop(names, name);
  }
  o.space.names.set(path, id, { owns, replace: taken !== undefined });
  names.set(name, { kind: 'object', id, owns });
}

function removeName(o: Operations): void {
  const { path, names, name, taken } = place(o, [...NAMES, ...LINKS, ...NAMESPACES]);
  if (taken === undefined || pinned(o)) return;
  o.trace.push(`remove ${path}`);
  o.space.names.remove(path, { recursive: true });
  o.world.drop(names, name);
}

function renameName(o: Operations): void {
  const from = place(o, [...NAMES, ...NAMESPACES]);
  const to = place(o, from.taken?.kind === 'namespace' ? NAMESPACES : NAMES);
  if (from.taken === undefined || to.taken !== undefined || `${to.path}/`.startsWith(`${from.path}/`)) return;
  if (to.path.split('/').length > DEPTH_MAX) return;
  o.trace.push(`rename ${from.path} to ${to.path}`);
  o.space.names.rename(from.path, to.path);
  from.names.delete(from.name);
  to.names.set(to.name, from.taken);
}

function makeNamespace(o: Operations): void {
  const { path, names, name, taken } = place(o, NAMESPACES);
  if (taken !== undefined || path.split('/').length > DEPTH_MAX) return;
  o.trace.push(`namespace ${path}`);
  o.space.names.mkns(path);
  const id = o.space.names.lookup(path);
  if (id !== undefined) names.set(name, { kind: 'namespace', id, names: new Map() });
}

function makeLink(o: Operations): void {
  const { path, names, name, taken } = place(o, LINKS);
  if (taken !== undefined) return;
  const target = `${o.random.chance(0.3) ? `/${o.random.pick(NAMESPACES)}` : ''}/${o.random.pick(NAMES)}`;
  o.trace.push(`link ${path} to ${target}`);
  o.space.names.link(path, target);
  names.set(name, { kind: 'link', target });
}

function reclaim(o: Operations): void {
  if (pinned(o)) return;
  o.trace.push('reclaim');
  o.space.reclaim();
  o.world.reclaim();
}

const OPERATIONS: readonly Operation[] = [
  [10, createDoc],
  [14, touchValues],
  [7, storeText],
  [8, storeBytes],
  [12, pushItem],
  [8, freeItem],
  [6, pickItem],
  [6, setPeer],
  [5, setAny],
  [4, copyDoc],
  [2, sealDoc],
  [5, deleteObject],
  [3, tie],
  [2, untie],
  [3, createRaw],
  [6, storeRaw],
  [6, setName],
  [3, removeName],
  [3, renameName],
  [2, makeNamespace],
  [2, makeLink],
  [2, reclaim],
];
const TOTAL = OPERATIONS.reduce((sum, [weight]) => sum + weight, 0);
