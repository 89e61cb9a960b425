/**
 * Sequences against plain models: a simulated machine, one collection on it, and commands: transactions of steps, aborts, death of the
 * process, loss of power, closing, checkpoints, snapshots. Pools are made small, so that every run spans objects.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { META, PAGE_KIND } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import { LOSS_MODES, type LossMode } from '../src/host/simulated/loss.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import {
  hashMap,
  open,
  struct,
  text,
  u32,
  type CollectionType,
  type CollectionUsage,
  type Infer,
  type Snapshot,
  type Space,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';

const SETTINGS = { segmentSize: 65536, checkpointBytes: 400_000, objectsMax: 2000, mappedMax: 1 << 28 } as const;
/** Where the space is on the simulated machine. */
const DIRECTORY = '/space';

export const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

export class Fail extends Error {}

/** What elements refer to. */
export const Target = struct('Target', { n: u32 });
export type Target = Infer<typeof Target>;
export const TARGETS = 4;

interface Cleared {
  clear(): void;
  usage(): CollectionUsage;
}

/** A collection and its model. */
export interface Subject<A extends Cleared, I, M, S> {
  readonly name: string;
  readonly type: CollectionType<A, I>;
  readonly nothing: I;
  /** An empty model. */
  empty(): M;
  clone(model: M): M;
  readonly step: fc.Arbitrary<S>;
  /** Does a step to both. What it throws aborts the transaction. */
  apply(step: S, collection: A, model: M, world: Targets): void;
  /** What both should have in the same form. */
  show(collection: A): unknown;
  expect(model: M): unknown;
}

export interface Targets {
  target(n: number): Target;
}

type Command<S> =
  | { readonly kind: 'transaction'; readonly steps: readonly S[]; readonly fail: boolean; readonly sync: boolean }
  | { readonly kind: 'power'; readonly mode: LossMode; readonly seed: number }
  | { readonly kind: 'kill' | 'close' | 'checkpoint' | 'freeze' };

type Reader = Pick<Space, 'get'>;

/** Where the collection stands: the root of an object, a field, a value in a map. */
const PLACES = ['root', 'field', 'value'] as const;

class World<A extends Cleared, I, M, S> implements Targets {
  readonly #subject: Subject<A, I, M, S>;
  #host = new SimulatedHost();
  #space: Space;
  readonly #id: ObjectId;
  readonly #targets: readonly ObjectId[];
  readonly #find: (reader: Reader) => A;
  /** What the collection may be after a loss of power: the state when all was last durable, and each one since. */
  #models: M[];
  #frozen: { readonly snapshot: Snapshot; readonly model: M } | undefined;
  readonly #before: string;
  readonly #ids: number;

  constructor(subject: Subject<A, I, M, S>, place: (typeof PLACES)[number]) {
    this.#subject = subject;
    const space = (this.#space = open(DIRECTORY, { ...SETTINGS, host: this.#host }));
    this.#targets = space.relaxed(() => Array.from({ length: TARGETS }, (_, n) => space.object(space.create(Target, { n })).id));
    const Holder = struct('Holder', { before: u32, it: subject.type, after: text });
    const Map = hashMap(text, subject.type);
    // The first deletion makes the object that notes deletions.
    space.relaxed(() => space.delete(space.create(Target)));
    this.#ids = [...space.ids()].length;
    this.#id = space.relaxed(() => {
      if (place === 'root') return space.object(space.create(subject.type)).id;
      if (place === 'field') return space.object(space.create(Holder, { after: 'x' })).id;
      return space.object(space.create(Map, [['k', subject.nothing]])).id;
    });
    this.#find = (reader) => {
      if (place === 'root') return reader.get(this.#id, subject.type);
      if (place === 'field') return reader.get(this.#id, Holder).it as A;
      const found = reader.get(this.#id, Map).get('k');
      assert.ok(found !== undefined);
      return found;
    };
    this.#models = [subject.empty()];
    this.#before = this.#live();
    space.sync();
  }

  target(n: number): Target {
    return this.#space.get(this.#targets[n % TARGETS] as ObjectId, Target);
  }

  get #model(): M {
    return this.#models.at(-1) as M;
  }

  /** Blocks in use at home: by size class, and the large ones. */
  #live(): string {
    const page = new DataView(this.#space.object(this.#id).bytes(0, 4096).buffer);
    const counts = Array.from({ length: 32 }, (_, c) => page.getUint32(META.classes + c * 16 + 12, true));
    const pages = this.#space.object(this.#id).size / 4096;
    assert.ok(pages <= 1024);
    let large = 0;
    for (let i = 0; i < pages; i++) if ((page.getUint16(META.pageMap + i * 2, true) & 15) === PAGE_KIND.largeHead) large++;
    return `${counts.join(',')}; ${large}`;
  }

  check(): void {
    const { show, expect } = this.#subject;
    assert.deepEqual(show(this.#find(this.#space)), expect(this.#model));
    if (this.#frozen !== undefined)
      assert.deepEqual(show(this.#find(this.#frozen.snapshot)), expect(this.#frozen.model), 'the snapshot moved');
  }

  run(command: Command<S>): void {
    switch (command.kind) {
      case 'transaction':
        this.#transact(command);
        break;
      case 'checkpoint':
        this.#space.checkpoint();
        this.#models = [this.#model];
        break;
      case 'freeze':
        this.#thaw();
        this.#frozen = { snapshot: this.#space.snapshot(), model: this.#subject.clone(this.#model) };
        break;
      case 'close':
        this.#thaw();
        this.#space.close();
        this.#models = [this.#model];
        this.#space = open(DIRECTORY, { ...SETTINGS, host: this.#host });
        break;
      case 'kill':
        this.#next(this.#host.kill());
        break;
      case 'power':
        this.#next(this.#host.crash({ mode: command.mode, seed: command.seed }));
        this.#found();
        break;
    }
  }

  #next(host: SimulatedHost): void {
    this.#frozen = undefined;
    this.#host.discard();
    this.#host = host;
    this.#space = open(DIRECTORY, { ...SETTINGS, host });
  }

  /** After a loss of power: which of the states is it? */
  #found(): void {
    const shown = JSON.stringify(this.#subject.show(this.#find(this.#space)));
    const found = this.#models.findLastIndex((model) => JSON.stringify(this.#subject.expect(model)) === shown);
    assert.ok(found >= 0, `none of the ${this.#models.length} states that may be found`);
    // What was found is not durable by that.
    this.#models.length = found + 1;
  }

  #thaw(): void {
    this.#frozen?.snapshot.close();
    this.#frozen = undefined;
  }

  #transact({ steps, fail, sync }: Extract<Command<S>, { kind: 'transaction' }>): void {
    const model = this.#subject.clone(this.#model);
    try {
      this.#space.relaxed(() => {
        const collection = this.#find(this.#space);
        for (const step of steps) this.#subject.apply(step, collection, model, this);
        if (fail) throw new Fail();
      });
      this.#models.push(model);
    } catch (error) {
      if (!(error instanceof Fail)) throw error;
    }
    if (!sync) return;
    this.#space.sync();
    this.#models = [this.#model];
  }

  /** Check finds nothing in objects. A power failure may leave frames in the log that look lost, and were never durable. */
  sound(): void {
    this.run({ kind: 'close' });
    this.#space.close();
    const { findings } = checkSpace(this.#host, DIRECTORY);
    assert.deepEqual(
      findings.filter(({ object, severity }) => object !== undefined && severity !== 'note'),
      [],
    );
    this.#space = open(DIRECTORY, { ...SETTINGS, host: this.#host });
  }

  /** Nothing is left of it when it is cleared, and nothing at all when its object is deleted. */
  end(): number {
    this.#thaw();
    const { objects } = this.#find(this.#space).usage();
    this.#space.relaxed(() => this.#find(this.#space).clear());
    assert.deepEqual(this.#find(this.#space).usage(), { objects: 1, blocks: 0, bytes: 0 });
    assert.equal(this.#live(), this.#before, 'blocks are left at home');
    assert.equal([...this.#space.ids()].length, this.#ids + 1, 'objects are left');
    this.#space.close();
    this.#host.discard();
    return objects;
  }

  discard(): void {
    this.#host.discard();
  }
}

function commands<S>(step: fc.Arbitrary<S>): fc.Arbitrary<Command<S>[]> {
  const transaction: fc.Arbitrary<Command<S>> = fc.record({
    kind: fc.constant('transaction' as const),
    steps: fc.array(step, { minLength: 1, maxLength: 6 }),
    fail: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
    sync: fc.boolean(),
  });
  const power: fc.Arbitrary<Command<S>> = fc.record({
    kind: fc.constant('power' as const),
    mode: fc.constantFrom(...LOSS_MODES),
    seed: fc.nat(),
  });
  const other: fc.Arbitrary<Command<S>> = fc.record({ kind: fc.constantFrom('kill' as const, 'close', 'checkpoint', 'freeze') });
  return fc.array(fc.oneof({ weight: 9, arbitrary: transaction }, { weight: 1, arbitrary: power }, { weight: 3, arbitrary: other }), {
    minLength: 4,
    maxLength: 30,
  });
}

/** Runs a subject through many histories; says how many objects the largest took. */
export function hold<A extends Cleared, I, M, S>(subject: Subject<A, I, M, S>, runs: number): number {
  const limits = { ...POOL_LIMITS };
  Object.assign(POOL_LIMITS, { home: 24 << 10, member: 160 << 10 });
  let most = 0;
  try {
    fc.assert(
      fc.property(fc.constantFrom(...PLACES), commands(subject.step), (place, history) => {
        const world = new World(subject, place);
        try {
          for (const command of history) {
            world.run(command);
            world.check();
          }
          world.run({ kind: 'kill' });
          world.check();
          world.sound();
          most = Math.max(most, world.end());
        } finally {
          world.discard();
        }
      }),
      {
        seed: SEED,
        numRuns: Number(process.env['FC_RUNS'] ?? runs),
        includeErrorInReport: true,
        endOnFailure: process.env['FC_SHRINK'] === undefined,
      },
    );
  } finally {
    Object.assign(POOL_LIMITS, limits);
  }
  return most;
}
