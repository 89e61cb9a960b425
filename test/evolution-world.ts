/** A struct with a collection of each kind, all of the same random struct, and what plain JavaScript says of its content. */
import assert from 'node:assert/strict';
import type * as fc from 'fast-check';
import {
  array,
  graph,
  hashMap,
  index,
  indexedMap,
  list,
  log,
  objectOf,
  offsetOf,
  optional,
  orderedMap,
  queue,
  redBlackTree,
  ref,
  struct,
  text,
  u32,
  u8,
  vec,
  type Infer,
  type Space,
  type Struct,
} from '../src/index.ts';
import { fieldsOf, KINDS, stored, type AnyField, type Fields, type Item, type Kind } from './evolving.ts';

/** What changes: the values' struct, one inline in it, and the struct that holds the collections. */
export interface Change {
  readonly value: readonly Item[];
  readonly inner: readonly Item[];
  readonly world: readonly Item[];
}

type When = 'before' | 'after';

function versionOf(items: readonly Item[], when: When): number {
  return when === 'after' && stored(fieldsOf(items, 'before')) !== stored(fieldsOf(items, 'after')) ? 2 : 1;
}

interface ValueFields {
  readonly id: typeof u32;
  readonly tag: typeof text;
}

/** The types before or after a change. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- it is what it is made of
function typesOf({ value, inner, world }: Change, when: When) {
  const Inner = struct('Inner', { ...fieldsOf(inner, when), end: u8 }, { version: versionOf(inner, when) });
  const fields: Fields = { id: u32 as AnyField, tag: text as AnyField, ...fieldsOf(value, when), inner: Inner };
  Object.defineProperty(fields, 'next', { enumerable: true, get: (): AnyField => ref(made) });
  const made: Struct<Fields> = struct('Value', fields, { version: versionOf(value, when) });
  const known: unknown = made;
  const Value = known as Struct<ValueFields>;
  const Group = struct('Group', { title: text, one: Value, many: vec(Value), byName: hashMap(text, Value) });
  const World = struct(
    'World',
    {
      ...fieldsOf(world, when),
      hash: hashMap(text, Value),
      ordered: orderedMap(u32, Value),
      tree: redBlackTree(u32, Value),
      texts: redBlackTree(text, Value),
      vec: vec(Value),
      list: list(Value),
      queue: queue(Value),
      log: log(Value),
      graph: graph(Value, Value),
      indexed: indexedMap(u32, Value, {
        byTag: index(text, (each) => each.tag),
        byId: index(u32, (each) => each.id, { unique: true }),
      }),
      groups: hashMap(text, Group),
      maybe: vec(optional(Value)),
      pairs: orderedMap(text, array(Value, 2)),
      refs: vec(ref(Value)),
      best: ref(Value),
      numbers: hashMap(u32, text),
    },
    { version: versionOf(world, when) },
  );
  const Holder = struct('Holder', { one: ref(Value), all: hashMap(u32, ref(Value)) });
  return { Inner, Value, World, Holder };
}

export type Types = ReturnType<typeof typesOf>;
export const typesBefore = (change: Change): Types => typesOf(change, 'before');
export const typesAfter = (change: Change): Types => typesOf(change, 'after');
type World = Infer<Types['World']>;
type Value = Infer<Types['Value']>;
type Holder = Infer<Types['Holder']>;

/** What a value is in plain JavaScript: its fields, those of the inner struct as `inner.NAME`. */
export type Plain = Readonly<Record<string, unknown>>;

/** What one field of each item may hold. */
export function valuesOf(items: readonly Item[], prefix = ''): Record<string, fc.Arbitrary<unknown>> {
  return Object.fromEntries(
    items.filter(({ fate }) => fate !== 'comes').map(({ name, kind }) => [prefix + name, (KINDS[kind] as Kind).value]),
  );
}

const init = (value: unknown): never => value as never;

/** The content that a setter takes. */
function content(plain: Plain): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  const inner: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(plain)) {
    if (name === 'next') continue;
    if (name.startsWith('inner.')) inner[name.slice(6)] = value;
    else made[name] = value;
  }
  return { ...made, inner };
}

const flat = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'toArray' in value && typeof value.toArray === 'function' ? value.toArray() : value;

function fieldsIn(holder: object): [string, unknown][] {
  return Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(holder)))
    .filter((name) => /^[a-j]$/.test(name))
    .map((name) => [name, flat(Reflect.get(holder, name))]);
}

/** What a value holds, with the number of the one that it refers to. */
function plainOf(value: object): Plain {
  // What an indexed map gives to read is of a subclass.
  const own = 'next' in Object.getOwnPropertyDescriptors(Object.getPrototypeOf(value)) ? value : value;
  const next: unknown = Reflect.get(own, 'next');
  return {
    id: Reflect.get(own, 'id'),
    tag: Reflect.get(own, 'tag'),
    ...Object.fromEntries(fieldsIn(own)),
    ...Object.fromEntries(fieldsIn(Reflect.get(own, 'inner') as object).map(([name, each]) => [`inner.${name}`, each])),
    next: typeof next === 'object' && next !== null ? Reflect.get(next, 'id') : undefined,
  };
}

/** A world in plain JavaScript: what there is in each collection, as numbers of values. */
export interface Model {
  readonly values: Map<number, Record<string, unknown>>;
  readonly places: Record<string, unknown>;
  readonly own: Record<string, unknown>;
}

/** All values of a world, by their numbers, and where each is. */
export function look(world: World): Model {
  const values = new Map<number, Record<string, unknown>>();
  const number = (value: object): number => {
    const plain = plainOf(value);
    const id = plain['id'] as number;
    assert.ok(!values.has(id), `value ${id} is there twice`);
    values.set(id, { ...plain });
    return id;
  };
  const maybe = (value: object | undefined): number | undefined => (value === undefined ? undefined : number(value));
  const entries = <K>(of: Iterable<readonly [K, object]>): [K, number][] => Array.from(of, ([key, value]) => [key, number(value)]);
  const sorted = <K>(of: [K, unknown][]): [K, unknown][] => of.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const places: Record<string, unknown> = {
    hash: sorted(entries(world.hash)),
    ordered: entries(world.ordered),
    tree: entries(world.tree),
    texts: entries(world.texts),
    vec: Array.from(world.vec, number),
    list: Array.from(world.list, number),
    queue: Array.from(world.queue, number),
    log: Array.from(world.log.entries(), ([seq, value]) => [seq, number(value)]),
    nodes: entries(world.graph.nodes()),
    edges: Array.from(world.graph.edges(), ({ id, from, to, value }) => [id, from, to, number(value)]),
    out: Array.from(world.graph.nodes(), ([id]) => Array.from(world.graph.out(id), (edge) => edge.id)),
    indexed: entries(world.indexed),
    groups: sorted(
      Array.from(world.groups, ([key, group]) => [
        key,
        [group.title, number(group.one), Array.from(group.many, number), sorted(entries(group.byName))],
      ]),
    ),
    maybe: Array.from(world.maybe, maybe),
    pairs: Array.from(world.pairs, ([key, pair]) => [key, Array.from(pair, number)]),
    numbers: sorted([...world.numbers]),
  };
  // References to values, by the number of what is there.
  places['refs'] = Array.from(world.refs, (each) => each?.id);
  places['best'] = world.best?.id;
  const byTag: [string, number][] = Array.from(world.indexed.entries(), ([key, value]) => [value.tag, key]);
  assert.deepEqual(
    Array.from(world.indexed.by.byTag.range(), ([key, value]) => [value.tag, key]),
    byTag.toSorted(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : i - j)),
    'the index by tag',
  );
  assert.deepEqual(world.indexed.verify(), []);
  for (const [key, value] of world.indexed) assert.equal(world.indexed.by.byId.find(value.id)?.[0], key);
  return { values, places, own: Object.fromEntries(fieldsIn(world)) };
}

/** What is left of a model after a change, with what fields that came hold. */
export function evolve(
  model: Model,
  fresh: World,
  kept: { readonly value: readonly Item[]; readonly inner: readonly Item[]; readonly world: readonly Item[] },
): Model {
  const stays = (items: readonly Item[], name: string): boolean => items.some((item) => item.fate === 'stays' && item.name === name);
  // A value that was never set tells what all new fields hold, and how those that stayed are read.
  fresh.vec.push(init({}));
  const empty = plainOf(fresh.vec.get(fresh.vec.length - 1));
  const values = new Map<number, Record<string, unknown>>();
  for (const [id, plain] of model.values) {
    const made: Record<string, unknown> = { ...empty };
    for (const [name, value] of Object.entries(plain)) {
      const inner = name.startsWith('inner.');
      if (/^(inner\.)?[a-j]$/.test(name) ? stays(inner ? kept.inner : kept.value, name.replace('inner.', '')) : true) made[name] = value;
    }
    values.set(id, made);
  }
  const own = Object.fromEntries(fieldsIn(fresh));
  for (const [name, value] of Object.entries(model.own)) if (stays(kept.world, name)) own[name] = value;
  return { values, places: model.places, own };
}

/** Numbers that come one after the other from a seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** From 0 up to, and without, `end`. */
  below(end: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * end);
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T;
  }
}

/** Changes a world at random. */
export class Changer {
  readonly #dice: Dice;
  readonly #samples: readonly Plain[];
  #next: number;

  constructor(dice: Dice, samples: readonly Plain[], next = 1) {
    this.#dice = dice;
    this.#samples = samples;
    this.#next = next;
  }

  get next(): number {
    return this.#next;
  }

  #value(): Record<string, unknown> {
    const id = this.#next++;
    return { ...content(this.#dice.pick(this.#samples)), id, tag: `tag ${this.#dice.below(7)}` };
  }

  add(world: World, count: number): void {
    const dice = this.#dice;
    const value = (): never => init(this.#value());
    const key = (): string => `key ${dice.below(200)}${'.'.repeat(dice.below(20))}`;
    for (let i = 0; i < count; i++) {
      world.hash.set(key(), value());
      world.ordered.set(dice.below(500), value());
      world.tree.set(dice.below(500), value());
      world.texts.set(key(), value());
      world.vec.push(value());
      world.list.push(value());
      world.queue.push(value());
      world.log.append(value());
      world.indexed.set(dice.below(500), value());
      const [a, b] = [world.graph.addNode(value()), world.graph.addNode(value())];
      world.graph.addEdge(a, b, value());
      if (dice.below(2) === 0) world.graph.addEdge(b, a, value());
      world.maybe.push(dice.below(3) === 0 ? init(undefined) : value());
      world.numbers.set(dice.below(100), key());
      if (i % 3 === 0) {
        world.pairs.set(key(), [value(), value()]);
        world.groups.set(key(), { title: key(), one: value(), many: [value(), value()], byName: [[key(), value()]] });
      }
    }
  }

  remove(world: World): void {
    const dice = this.#dice;
    for (const key of [...world.hash.keys()]) if (dice.below(4) === 0) world.hash.delete(key);
    for (const key of [...world.ordered.keys()]) if (dice.below(4) === 0) world.ordered.delete(key);
    for (const key of [...world.tree.keys()]) if (dice.below(4) === 0) world.tree.delete(key);
    for (const key of [...world.texts.keys()]) if (dice.below(4) === 0) world.texts.delete(key);
    for (const key of [...world.indexed.keys()]) if (dice.below(4) === 0) world.indexed.delete(key);
    for (const key of [...world.groups.keys()]) if (dice.below(4) === 0) world.groups.delete(key);
    for (const [id] of [...world.graph.nodes()]) if (dice.below(8) === 0) world.graph.removeNode(id);
    if (world.vec.length > 2) world.vec.remove(dice.below(world.vec.length));
    world.list.shift();
    world.queue.shift();
    world.log.trim(world.log.first + dice.below(3));
  }

  /** Lets values refer to each other, and the holder, which is in another object, to some of them. */
  refer(world: World, holder: Holder | undefined): void {
    const dice = this.#dice;
    const all: Value[] = [
      ...world.hash.values(),
      ...world.ordered.values(),
      ...world.tree.values(),
      ...world.texts.values(),
      ...world.list,
      ...world.vec,
      ...world.log,
      ...Array.from(world.graph.nodes(), ([, value]) => value),
      ...Array.from(world.graph.edges(), ({ value }) => value),
      ...Array.from(world.groups.values(), ({ one }) => one),
      ...Array.from(world.groups.values(), ({ byName }) => [...byName.values()]).flat(),
      ...Array.from(world.pairs.values(), (pair) => pair.get(1)),
    ];
    if (all.length === 0) return;
    for (const value of all) if (dice.below(2) === 0) Reflect.set(value, 'next', dice.below(8) === 0 ? null : dice.pick(all));
    world.refs.clear();
    for (let i = 0; i < 10; i++) world.refs.push(dice.pick(all));
    world.best = dice.pick(all);
    if (holder === undefined) return;
    holder.one = dice.pick(all);
    for (let i = 0; i < 10; i++) holder.all.set(i, dice.pick(all));
  }

  /** Sets what the struct itself holds. */
  own(world: World, plain: Plain): void {
    for (const [name, value] of Object.entries(plain)) Reflect.set(world, name, value);
  }
}

/** Forgets all references, so that what they lead to can be removed. */
export function unrefer(space: Space, world: World, holder: Holder | undefined): void {
  space.relaxed(() => {
    world.best = init(null);
    world.refs.clear();
    const forget = (value: object): void => void Reflect.set(value, 'next', null);
    for (const each of [world.hash, world.ordered, world.tree, world.texts]) for (const value of each.values()) forget(value);
    for (const each of [world.vec, world.list, world.log, world.queue]) for (const value of each) forget(value);
    for (const [, value] of world.graph.nodes()) forget(value);
    for (const { value } of world.graph.edges()) forget(value);
    for (const group of world.groups.values()) for (const value of [group.one, ...group.many, ...group.byName.values()]) forget(value);
    for (const pair of world.pairs.values()) for (const value of pair) forget(value);
    if (holder === undefined) return;
    holder.one = init(null);
    holder.all.clear();
  });
}

/** The numbers of what the holder refers to. */
export function held(holder: Holder): unknown[] {
  return [holder.one?.id, ...Array.from({ length: 10 }, (_, i) => holder.all.get(i)?.id)];
}

/** Where some values are: those that stay must be found there again. */
export const placeOf = (value: object): string => `${objectOf(value).id} ${offsetOf(value)}`;
