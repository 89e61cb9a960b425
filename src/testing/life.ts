/**
 * One life of a process that uses a space: it opens what the lives before it left, says what it found, works, and is killed or closes.
 *
 * It tells everything before it happens and after, in words that its death cannot take back, so whoever killed it knows what must be there:
 *
 *      attempt   the model as it will be, once the body of the transaction has run and before it commits
 *      committed the transaction has returned
 */
import * as v8 from 'node:v8';
import { Worker } from 'node:worker_threads';
import { LinuxHost } from '../host/linux/linux.ts';
import { PortableHost } from '../host/portable/portable.ts';
import { Random } from '../host/simulated/random.ts';
import { open, type ObjectId, type OpenOptions, type Space } from '../index.ts';
import { Doc, briefBytes, observe } from './facts.ts';
import { difference } from './judge.ts';
import { World } from './model.ts';
import { MortalHost, type Bug, type Call, type Death, type Instant } from './mortal.ts';
import { Operations } from './operations.ts';
import type { Watched } from './sniper.ts';

export type HostName = 'linux' | 'portable';

export interface Job {
  readonly directory: string;
  readonly host: HostName;
  readonly seed: number;
  readonly settings: Pick<OpenOptions, 'segmentSize' | 'checkpointBytes' | 'objectsMax'>;
  /** The worlds that may be found, packed. */
  readonly candidates: readonly string[];
  readonly actions: number;
  readonly clock: 'virtual' | 'real';
  readonly death?: Death | undefined;
  /** Dies when this word of the log's tail changes: in the middle of an append. */
  readonly snipe?: number | undefined;
  readonly ending: 'close' | 'death';
  readonly bug?: Bug | undefined;
}

export type Word =
  | { readonly say: 'ready' }
  | { readonly say: 'found'; readonly candidate: number }
  | { readonly say: 'misfit'; readonly text: string }
  | { readonly say: 'attempt'; readonly world: string }
  | { readonly say: 'committed' }
  | { readonly say: 'dying'; readonly call: Call; readonly instant: Instant }
  | { readonly say: 'closed'; readonly calls: readonly Call[] };

interface PackedWorld {
  readonly objects: World['objects'];
  readonly names: World['names'];
}

export function packWorld({ objects, names }: World): string {
  return v8.serialize({ objects, names } satisfies PackedWorld).toString('base64');
}

export function unpackWorld(packed: string): World {
  const { objects, names }: PackedWorld = v8.deserialize(Buffer.from(packed, 'base64'));
  return new World(objects, names);
}

/** More than a frame of the smallest log holds. */
const BULK_MIN = 17_000;

/** The program's own abort. */
class Abort extends Error {}

export class Life {
  readonly #job: Job;
  readonly #say: (word: Word) => void;
  readonly #random: Random;
  readonly #host: MortalHost;
  readonly #universe = new Map<ObjectId, 'doc' | 'raw'>();
  readonly #views: Operations['views'] = new Map();
  #world = new World();
  #space: Space;

  constructor(job: Job, say: (word: Word) => void) {
    this.#job = job;
    this.#say = say;
    this.#random = new Random(job.seed);
    this.#host = new MortalHost(job.host === 'linux' ? new LinuxHost() : new PortableHost(), {
      seed: job.seed + 1,
      clock: job.clock,
      death: job.death,
      bug: job.bug,
      lastWords: (call, instant) => say({ say: 'dying', call, instant }),
    });
    this.#space = this.#open();
  }

  #open(): Space {
    this.#host.phase = 'open';
    const space = open(this.#job.directory, { ...this.#job.settings, host: this.#host });
    this.#host.phase = 'read';
    return space;
  }

  /** The whole life. False where what is found is wrong. */
  async run(): Promise<boolean> {
    if (!this.#find()) return false;
    if (this.#job.snipe !== undefined) await this.#awaitSniper(this.#job.snipe);
    for (let i = 0; i < this.#job.actions; i++) {
      await this.#act();
      if (this.#job.clock === 'virtual') await this.#host.quiet();
    }
    this.#agree('at the end of a life');
    if (this.#job.ending === 'death') this.#dieAtWork();
    this.#close();
    this.#say({ say: 'closed', calls: this.#host.calls });
    return true;
  }

  #find(): boolean {
    const worlds = this.#job.candidates.map(unpackWorld);
    for (const world of worlds) for (const { id, kind } of world.objects.values()) this.#universe.set(id, kind);
    const found = observe(this.#space, this.#universe).join('\n');
    const texts = worlds.map((world) => world.toLines().join('\n'));
    const candidate = texts.indexOf(found);
    const world = worlds[candidate];
    if (world === undefined) {
      const differences = texts.map(
        (text, i) => `not state ${i + 1} of the ${texts.length} that may be found:\n${difference(text, found)}`,
      );
      this.#say({ say: 'misfit', text: differences.join('\n') });
      return false;
    }
    this.#world = world;
    this.#say({ say: 'found', candidate });
    return true;
  }

  /** Leaves something behind that only the log's newest end has. */
  #dieAtWork(): never {
    for (let i = 0; i < 3; i++) this.#relaxed();
    process.kill(process.pid, 'SIGKILL');
    throw new Error('unreachable: the process was killed');
  }

  async #awaitSniper(word: number): Promise<void> {
    const { tail } = this.#host;
    if (tail === undefined) return;
    const watched: Watched = { buffer: tail.buffer, at: tail.at, word: word % (tail.length / 4) };
    const sniper = new Worker(new URL('sniper.js', import.meta.url), { workerData: watched });
    await new Promise((resolve) => sniper.once('message', resolve));
  }

  /** The living space is as the model says. */
  #agree(when: string): void {
    this.#host.phase = 'read';
    const expected = this.#world.toLines().join('\n');
    const found = observe(this.#space, this.#universe).join('\n');
    if (found !== expected) throw new Error(`${when} the space differs from the model:\n${difference(expected, found)}`);
  }

  async #act(): Promise<void> {
    const at = this.#random.below(100);
    const host = this.#host;
    if (at < 46) this.#relaxed();
    else if (at < 56) this.#bulk();
    else if (at < 68) await this.#durable();
    else if (at < 74) await Promise.all([this.#durable(), this.#durable()]);
    else if (at < 80) await this.#idle();
    else if (at < 85) {
      host.phase = 'sync';
      this.#space.sync();
    } else if (at < 94) {
      host.phase = 'checkpoint';
      this.#space.checkpoint();
    } else if (at < 97) this.#agree('in a life');
    else {
      this.#close();
      this.#space = this.#open();
      this.#agree('reopened');
    }
  }

  /** What waits for the event loop, and for time to pass, gets both. */
  async #idle(): Promise<void> {
    this.#host.phase = 'background';
    if (this.#job.clock === 'virtual') this.#host.pass(1 + this.#random.below(10));
    await this.#host.quiet();
  }

  /** The body of a transaction, and the world as it will be; undefined: it aborts. */
  #draft(): { readonly body: () => void; readonly world: World | undefined } {
    const world = this.#world.clone();
    const operations = new Operations(this.#space, world, this.#random, this.#universe, this.#views);
    const aborts = this.#random.chance(0.08);
    const count = 1 + this.#random.below(5);
    const nested = this.#random.chance(0.1);
    const body = (): void => {
      operations.run(count);
      if (nested) this.#space.relaxed(() => operations.run(2));
      if (aborts) throw new Abort();
      this.#say({ say: 'attempt', world: packWorld(world) });
    };
    return { body, world: aborts ? undefined : world };
  }

  #relaxed(): void {
    this.#host.phase = 'commit';
    const { body, world } = this.#draft();
    try {
      this.#space.relaxed(body);
    } catch (error) {
      if (!(error instanceof Abort)) throw error;
    }
    this.#settle(world);
  }

  /** A transaction of several frames, which may go on in the next segment of the log. */
  #bulk(): void {
    const doc = this.#random.pick(this.#world.docs().filter(({ immutable }) => !immutable));
    if (doc === undefined) return;
    this.#host.phase = 'commit';
    const body = this.#random.bytes(BULK_MIN + this.#random.below(BULK_MIN));
    const world = this.#world.clone();
    world.change(doc.id, { values: { ...doc.values, body: briefBytes(body) } });
    this.#space.relaxed(() => {
      this.#space.get(doc.id, Doc).body = body;
      this.#say({ say: 'attempt', world: packWorld(world) });
    });
    this.#settle(world);
  }

  /** The body runs and commits at once, and only the disk is waited for: the death of the process takes nothing back from here on. */
  async #durable(): Promise<void> {
    this.#host.phase = 'commit';
    const { body, world } = this.#draft();
    const commits = this.#space.stat().transactions.commits;
    const promise = this.#space.durable(body);
    if (this.#space.stat().transactions.commits > commits) this.#settle(world);
    try {
      await promise;
    } catch (error) {
      if (!(error instanceof Abort)) throw error;
    }
  }

  #settle(world: World | undefined): void {
    if (world !== undefined) {
      this.#say({ say: 'committed' });
      this.#world = world;
    }
    for (const id of this.#views.keys()) if (!this.#world.objects.has(id)) this.#views.delete(id);
    if (this.#random.chance(0.4)) this.#releaseViews();
  }

  #releaseViews(): void {
    for (const { obj } of this.#views.values()) obj.releaseRaw();
    this.#views.clear();
  }

  #close(): void {
    this.#host.phase = 'close';
    this.#releaseViews();
    this.#space.close();
  }
}
