/**
 * T8: the whole public interface against a plain model, with death of the process, checkpoints, closing and scarce memory in between.
 * Seed and path are printed by fast-check when a run fails; FC_SEED replays one.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isTwzError } from '../src/abi/errors.ts';
import type { ObjectId } from '../src/abi/id.ts';
import {
  array,
  bytes,
  i32,
  link,
  objectOf,
  optional,
  ref,
  struct,
  text,
  u32,
  u8,
  type Infer,
  type Snapshot,
  type Space,
} from '../src/index.ts';
import { onHosts, type Ground } from './hosts.ts';
import { amount } from './thorough.ts';

const Item = struct('Item', {
  id: u32,
  small: u8,
  name: text,
  data: bytes,
  maybe: optional(i32),
  row: array(u32, 5),
  label: optional(text),
  thing: link,
  get next() {
    return ref(Item);
  },
});
type Item = Infer<typeof Item>;

/** A node of the model: what an Item should hold. `object` is the index of its object in `World.objects`. */
interface ModelNode {
  id: number;
  small: number;
  name: string;
  data: string;
  maybe: number | undefined;
  row: number[];
  label: string | undefined;
  thing: ModelObject | undefined;
  next: ModelNode | undefined;
}

interface ModelObject {
  readonly id: ObjectId;
  /** The root, and the others in the order of creation; each is reached through `root.row`-independent chains kept by `spare`. */
  nodes: ModelNode[];
  readonly volatile: boolean;
  deleted: boolean;
  raw: number[];
}

interface Model {
  objects: ModelObject[];
  names: Map<string, ModelObject>;
  next: number;
}

interface Frozen {
  readonly snapshot: Snapshot;
  readonly objects: readonly ModelObject[];
  readonly seen: string;
}

const MEMORY = { segmentSize: 65536, checkpointBytes: 150_000, objectsMax: 24, mappedMax: 1 << 22 } as const;

class Fail extends Error {}

function cloneModel(model: Model): Model {
  const objects = new Map<ModelObject, ModelObject>();
  const nodes = new Map<ModelNode, ModelNode>();
  for (const object of model.objects) {
    objects.set(object, { ...object, raw: [...object.raw], nodes: object.nodes.map((node) => copyOf(node, nodes)) });
  }
  for (const node of nodes.values()) {
    node.thing = node.thing === undefined ? undefined : objects.get(node.thing);
    node.next = node.next === undefined ? undefined : nodes.get(node.next);
  }
  return {
    objects: [...objects.values()],
    names: new Map([...model.names].map(([name, object]) => [name, objects.get(object) as ModelObject])),
    next: model.next,
  };
}

function copyOf(node: ModelNode, nodes: Map<ModelNode, ModelNode>): ModelNode {
  const made = { ...node, row: [...node.row] };
  nodes.set(node, made);
  return made;
}

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');

function describeModel(model: Model): string {
  const seen = new Map<ModelNode, string>();
  for (const [o, object] of model.objects.entries()) for (const [n, node] of object.nodes.entries()) seen.set(node, `${o}.${n}`);
  const lines: string[] = [];
  for (const [o, object] of model.objects.entries()) {
    if (object.deleted) {
      lines.push(`${o} deleted`);
      continue;
    }
    lines.push(`${o} ${object.raw.join(',')}`);
    for (const node of object.nodes) {
      const next = node.next === undefined ? '-' : isGone(model, node.next) ? 'gone' : `${node.next.id}`;
      const thing = node.thing === undefined ? '-' : node.thing.deleted ? 'gone' : node.thing.id;
      lines.push([node.id, node.small, node.name, node.data, node.maybe, node.row.join(','), node.label, thing, next].join(' '));
    }
  }
  return lines.join('\n');
}

function isGone(model: Model, node: ModelNode): boolean {
  return model.objects.some((object) => object.deleted && object.nodes.includes(node));
}

/** Runs the same steps against the space and against the model. */
class World {
  readonly ground: Ground;
  space: Space;
  model: Model = { objects: [], names: new Map(), next: 1 };
  frozen: Frozen | undefined;

  constructor(ground: Ground) {
    this.ground = ground;
    this.space = ground.open(MEMORY, `${ground.directory}-${World.made++}`);
  }

  static made = 0;

  live(): ModelObject[] {
    return this.model.objects.filter((object) => !object.deleted);
  }

  pick(index: number): ModelObject | undefined {
    const live = this.live();
    return live[index % Math.max(1, live.length)];
  }

  /** The accessor of a model's node: nodes of an object hang on its root by a list through `Holder`. */
  accessor(object: ModelObject, node: ModelNode, reader: { get: Space['get'] } = this.space): Item {
    const holder = reader.get(object.id, Holder);
    const index = object.nodes.indexOf(node);
    let slot: Holding | null = holder.first;
    for (let i = 0; i < index; i++) slot = slot?.next ?? null;
    const item = slot?.item ?? null;
    assert.ok(item !== null, `node ${node.id} of object ${object.id} is not there`);
    return item;
  }

  describe(objects: readonly ModelObject[], reader: { get: Space['get'] }): string {
    return objects.flatMap((object, o) => this.describeObject(o, object, reader)).join('\n');
  }

  describeObject(o: number, object: ModelObject, reader: { get: Space['get'] }): string[] {
    const lines: string[] = [];
    let holder: Holder;
    try {
      holder = reader.get(object.id, Holder);
    } catch (error) {
      if (isTwzError(error, 'ObjectDeleted') || isTwzError(error, 'ObjectMissing')) return [`${o} deleted`];
      throw error;
    }
    lines.push(`${o} ${holder.raw.toArray().join(',')}`);
    for (let slot = holder.first; slot !== null; slot = slot.next) {
      const item = slot.item;
      assert.ok(item !== null);
      lines.push(describeItem(item));
    }
    return lines;
  }

  check(): void {
    assert.equal(this.describe(this.model.objects, this.space), describeModel(this.model));
    assert.deepEqual(
      this.space.names.list().map(({ name, id }) => [name, id]),
      [...this.model.names].map(([name, { id }]) => [name, id]).sort(([a], [b]) => ((a ?? '') < (b ?? '') ? -1 : 1)),
    );
    assert.deepEqual(
      [...this.space.ids()].filter((id) => this.model.objects.some((object) => object.id === id)).sort(),
      this.live()
        .map(({ id }) => id)
        .sort(),
    );
    if (this.frozen !== undefined)
      assert.equal(this.describe(this.frozen.objects, this.frozen.snapshot), this.frozen.seen, 'the snapshot moved');
  }

  freeze(snapshot: Snapshot): void {
    this.frozen = { snapshot, objects: [...this.model.objects], seen: describeModel(this.model) };
  }

  thaw(): void {
    this.frozen?.snapshot.close();
    this.frozen = undefined;
  }
}

const Holding = struct('Holding', {
  get item() {
    return ref(Item);
  },
  get next() {
    return ref(Holding);
  },
});
type Holding = Infer<typeof Holding>;

const Holder = struct('Holder', {
  raw: array(u32, 40),
  get first() {
    return ref(Holding);
  },
  get last() {
    return ref(Holding);
  },
});
type Holder = Infer<typeof Holder>;

function describeItem(item: Item): string {
  const follow = (step: () => string): string => {
    try {
      return step();
    } catch (error) {
      if (isTwzError(error, 'ObjectDeleted') || isTwzError(error, 'ObjectMissing')) return 'gone';
      throw error;
    }
  };
  const next = follow(() => (item.next === null ? '-' : `${item.next.id}`));
  const thing = follow(() => item.thing?.id ?? '-');
  return [item.id, item.small, item.name, hex(item.data), item.maybe, item.row.toArray().join(','), item.label, thing, next].join(' ');
}

// --- steps inside a transaction -----------------------------------------------------------------------------------------------

type Step =
  | { readonly kind: 'create'; readonly volatile: boolean }
  | { readonly kind: 'make'; readonly at: number; readonly count: number; readonly size: number }
  | {
      readonly kind: 'set';
      readonly at: number;
      readonly node: number;
      readonly value: number;
      readonly text: string;
      readonly size: number;
    }
  | {
      readonly kind: 'link';
      readonly at: number;
      readonly node: number;
      readonly to: number;
      readonly toNode: number;
      readonly clear: boolean;
    }
  | { readonly kind: 'pop'; readonly at: number }
  | { readonly kind: 'delete'; readonly at: number }
  | { readonly kind: 'copy'; readonly at: number }
  | { readonly kind: 'name'; readonly at: number; readonly name: string }
  | { readonly kind: 'unname'; readonly name: string }
  | { readonly kind: 'raw'; readonly at: number; readonly index: number; readonly value: number; readonly accessor: boolean }
  | { readonly kind: 'inner'; readonly steps: readonly Step[]; readonly fail: boolean };

const number = fc.nat(1000);
const stepOf = (depth: number): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('create' as const), volatile: fc.integer({ min: 0, max: 4 }).map((n) => n === 0) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('make' as const),
        at: number,
        count: fc.integer({ min: 1, max: 12 }),
        size: fc.oneof(fc.nat(40), fc.nat(9000)),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('set' as const),
        at: number,
        node: number,
        value: fc.nat(255),
        text: fc.oneof(fc.string({ maxLength: 10 }), fc.string({ unit: 'grapheme', maxLength: 60 })),
        size: fc.oneof(fc.nat(60), fc.nat(6000), fc.constant(0)),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('link' as const),
        at: number,
        node: number,
        to: number,
        toNode: number,
        clear: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pop' as const), at: number }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), at: number }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy' as const), at: number }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('name' as const), at: number, name: fc.constantFrom('a', 'b', 'c') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('unname' as const), name: fc.constantFrom('a', 'b', 'c') }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('raw' as const), at: number, index: fc.nat(39), value: number, accessor: fc.boolean() }),
    },
    ...(depth === 0
      ? []
      : [
          {
            weight: 1,
            arbitrary: fc.record({
              kind: fc.constant('inner' as const),
              steps: fc.array(stepOf(depth - 1), { maxLength: 4 }),
              fail: fc.boolean(),
            }),
          },
        ]),
  );

function newNode(model: Model, size: number): ModelNode {
  const id = model.next++;
  return {
    id,
    small: 0,
    name: `n${id}`,
    data: hex(new Uint8Array(size).fill(id)),
    maybe: undefined,
    row: [0, 0, 0, 0, 0],
    label: undefined,
    thing: undefined,
    next: undefined,
  };
}

const STEPS: { readonly [K in Step['kind']]: (world: World, step: Extract<Step, { kind: K }>) => void } = {
  create({ space, model }, { volatile }) {
    const holder = space.create(Holder, {}, volatile ? { kind: 'volatile' } : {});
    model.objects.push({ id: objectOf(holder).id, nodes: [], volatile, deleted: false, raw: Array.from({ length: 40 }, () => 0) });
  },
  make(world, { at, count, size }) {
    const object = world.pick(at);
    if (object === undefined) return;
    const { space, model } = world;
    const holder = space.get(object.id, Holder);
    for (let i = 0; i < count; i++) {
      const node = newNode(model, size);
      const item = space.make(Item, holder, { id: node.id, name: node.name, data: Buffer.from(node.data, 'hex') });
      const slot = space.make(Holding, holder, { item });
      const { last } = holder;
      if (last === null) holder.first = slot;
      else last.next = slot;
      holder.last = slot;
      object.nodes.push(node);
    }
  },
  set(world, { at, node: index, value, text: name, size }) {
    const object = world.pick(at);
    const node = object?.nodes[index % Math.max(1, object.nodes.length)];
    if (object === undefined || node === undefined) return;
    const item = world.accessor(object, node);
    node.small = item.small = value;
    node.name = item.name = name.replaceAll(/\s/g, '_');
    const data = new Uint8Array(size).fill(value);
    item.data = data;
    node.data = hex(data);
    node.maybe = item.maybe = value % 3 === 0 ? undefined : value - 100;
    node.label = item.label = value % 2 === 0 ? undefined : `label ${'x'.repeat(value % 40)}`;
    item.row.set(value % 5, value);
    node.row[value % 5] = value;
  },
  link(world, { at, node: index, to, toNode, clear }) {
    const object = world.pick(at);
    const target = world.pick(to);
    const node = object?.nodes[index % Math.max(1, object.nodes.length)];
    const targetNode = target?.nodes[toNode % Math.max(1, target.nodes.length)];
    if (object === undefined || node === undefined || target === undefined) return;
    const item = world.accessor(object, node);
    if (clear || targetNode === undefined) {
      item.next = null;
      node.next = undefined;
    } else {
      item.next = world.accessor(target, targetNode);
      node.next = targetNode;
    }
    item.thing = clear ? null : world.space.object(target.id);
    node.thing = clear ? undefined : target;
  },
  /** The last node goes, if nothing points to it. */
  pop(world, { at }) {
    const object = world.pick(at);
    const node = object?.nodes.at(-1);
    if (object === undefined || node === undefined || world.model.objects.some((each) => each.nodes.some((other) => other.next === node)))
      return;
    const holder = world.space.get(object.id, Holder);
    let before: Holding | null = null;
    let slot = holder.first;
    for (; slot?.next !== null && slot?.next !== undefined; slot = slot.next) before = slot;
    assert.ok(slot !== null && slot.item !== null);
    if (before === null) holder.first = null;
    else before.next = null;
    holder.last = before;
    world.space.free(slot.item);
    world.space.free(slot);
    object.nodes.pop();
  },
  delete(world, { at }) {
    const object = world.pick(at);
    if (object === undefined) return;
    world.space.delete(object.id);
    object.deleted = true;
  },
  copy(world, { at }) {
    const object = world.pick(at);
    if (object === undefined) return;
    const { id } = world.space.copy(object.id, object.volatile ? { kind: 'volatile' } : {});
    const nodes = new Map<ModelNode, ModelNode>();
    const made: ModelObject = { ...object, id, raw: [...object.raw], nodes: object.nodes.map((node) => copyOf(node, nodes)) };
    // References inside the object are the copy's own; those to itself as a whole, too.
    for (const node of made.nodes) {
      node.next = node.next === undefined ? undefined : (nodes.get(node.next) ?? node.next);
      if (node.thing === object) node.thing = made;
    }
    world.model.objects.push(made);
  },
  name(world, { at, name }) {
    const object = world.pick(at);
    if (object === undefined) return;
    world.space.names.set(`/${name}`, object.id, { replace: true });
    world.model.names.set(name, object);
  },
  unname(world, { name }) {
    if (!world.model.names.has(name)) return;
    world.space.names.remove(`/${name}`);
    world.model.names.delete(name);
  },
  raw(world, { at, index, value, accessor }) {
    const object = world.pick(at);
    if (object === undefined) return;
    const holder = world.space.get(object.id, Holder);
    if (accessor) holder.raw.set(index, value);
    else {
      const whole = objectOf(holder);
      const raw = whole.raw(whole.rootOffset, 160);
      new DataView(raw.buffer, raw.byteOffset).setUint32(index * 4, value, true);
      world.raws.push(whole);
    }
    object.raw[index] = value;
  },
  inner(world, { steps, fail }) {
    world.space.relaxed(() => {
      for (const step of steps) apply(world, step);
      if (fail) throw new Fail();
    });
  },
};

interface World {
  raws: { releaseRaw(): void }[];
}

function apply<K extends Step['kind']>(world: World, step: Extract<Step, { kind: K }>): void {
  const run: (world: World, step: Extract<Step, { kind: K }>) => void = STEPS[step.kind as K];
  run(world, step);
}

// --- commands -----------------------------------------------------------------------------------------------------------------

type Command =
  | { readonly kind: 'transaction'; readonly steps: readonly Step[]; readonly fail: boolean; readonly durable: boolean }
  | { readonly kind: 'die' | 'close' | 'checkpoint' | 'freeze' | 'thaw' | 'advance' | 'churn' | 'turn' };

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('transaction' as const),
      steps: fc.array(stepOf(1), { minLength: 1, maxLength: 8 }),
      fail: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
      durable: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('die' as const, 'close', 'checkpoint', 'checkpoint', 'freeze', 'thaw', 'advance', 'churn', 'turn'),
    }),
  },
);

async function run(world: World, step: Command): Promise<void> {
  switch (step.kind) {
    case 'transaction':
      await transact(world, step);
      break;
    case 'die':
    case 'close':
      world.frozen = undefined;
      world.space = step.kind === 'die' ? world.ground.afterDeath(world.space, MEMORY) : world.ground.afterClose(world.space, MEMORY);
      for (const object of world.model.objects) if (object.volatile) object.deleted = true;
      break;
    case 'checkpoint':
      world.space.checkpoint();
      break;
    case 'freeze':
      world.thaw();
      world.freeze(world.space.snapshot());
      break;
    case 'thaw':
      world.thaw();
      break;
    case 'advance':
      if (world.frozen === undefined) break;
      world.frozen.snapshot.advance();
      world.freeze(world.frozen.snapshot);
      break;
    case 'churn':
      // Other objects push these out of memory.
      for (let i = 0; i < 12; i++) world.space.relaxed(() => world.space.createRaw(70_000));
      break;
    case 'turn':
      await world.ground.until(world.space.syncAsync());
      break;
  }
}

async function transact(world: World, { steps, fail, durable }: Extract<Command, { kind: 'transaction' }>): Promise<void> {
  const before = cloneModel(world.model);
  world.raws = [];
  const body = (): void => {
    for (const step of steps) apply(world, step);
    if (fail) throw new Fail();
  };
  try {
    if (durable) await world.ground.until(world.space.durable(body));
    else world.space.relaxed(body);
  } catch (error) {
    // Growing past its place while raw views are held, and more than fits memory at once, are refused: all of it.
    if (!(error instanceof Fail || isTwzError(error, 'ObjectPinned') || isTwzError(error, 'TransactionTooLarge'))) throw error;
    world.model = before;
  }
  for (const object of world.raws) object.releaseRaw();
}

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = { linux: amount(10, 25), portable: amount(6, 12), simulated: amount(16, 40) } as const;

onHosts(
  `T8: any sequence of operations leaves what the model says, through death, close, checkpoint and eviction; seed ${SEED}`,
  async (ground) => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
        const world = new World(ground);
        world.raws = [];
        try {
          for (const each of commands) {
            await run(world, each);
            world.check();
          }
          await run(world, { kind: 'die' });
          world.check();
          await run(world, { kind: 'close' });
          world.check();
        } finally {
          world.space.kernel.release();
        }
      }),
      {
        seed: SEED,
        numRuns: Number(process.env['FC_RUNS'] ?? RUNS[ground.name]),
        includeErrorInReport: true,
        endOnFailure: process.env['FC_SHRINK'] === undefined,
      },
    );
  },
);
