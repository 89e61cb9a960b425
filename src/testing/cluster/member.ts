/** A node of a cluster that is checked: a simulated machine with a disk, and what runs on it from one death to the next. */
import { isTwzError } from '../../abi/errors.ts';
import type { Timer } from '../../host/host.ts';
import type { LossPlan } from '../../host/simulated/loss.ts';
import { SimulatedHost } from '../../host/simulated/simulated.ts';
import type { Clock } from '../../services/cluster/core.ts';
import type { Engine } from '../../services/cluster/engine.ts';
import { mergeVersions } from '../../services/cluster/merging.ts';
import { ClusterNode } from '../../services/cluster/node.ts';
import type { PieceSizes } from '../../services/cluster/transfer.ts';
import { open, type Space } from '../../space.ts';
import type { SimulatedEngines } from './engine.ts';
import { spoil, type Spoiled } from './spoiled.ts';

const DIRECTORY = '/space';
const START_AGAIN_MS = 300;

export class Member {
  readonly name: string;
  readonly #engines: SimulatedEngines;
  readonly #spoiled: Spoiled | undefined;
  readonly #sizes: PieceSizes | undefined;
  host: SimulatedHost;
  #hostTime: number;
  #space: Space | undefined;
  #engine: Engine | undefined;
  #beginning: ClusterNode | undefined;
  /** The node that runs now. */
  node: ClusterNode | undefined;
  /** Counts its lives. */
  life = 0;
  #paused = false;
  #held: (() => void)[] = [];

  constructor(engines: SimulatedEngines, name: string, seed: number, sizes: PieceSizes | undefined, spoiled: Spoiled | undefined) {
    this.#sizes = sizes;
    this.#spoiled = spoiled;
    this.name = name;
    this.#engines = engines;
    this.host = new SimulatedHost({ seed, windowSize: 16 << 20, callMs: 0.001 });
    this.#hostTime = engines.schedule.now;
  }

  get up(): boolean {
    return this.node !== undefined;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Time as this process has it: nothing happens in it while it is stopped. */
  #clock(life: number): Clock {
    const { clock } = this.#engines;
    return {
      now: () => clock.now(),
      timer: (ms, callback): Timer =>
        clock.timer(ms, () => {
          // What a dead process had planned does not happen.
          if (life !== this.life) return;
          if (this.#paused) this.#held.push(callback);
          else callback();
        }),
    };
  }

  /** Resolves when it is there; tries as long as nobody ends it. */
  async start(): Promise<void> {
    const life = ++this.life;
    while (life === this.life) {
      const space = open(DIRECTORY, { host: this.host, segmentSize: 1 << 20, checkpointBytes: 4 << 20 });
      this.#space = space;
      const engine = await this.#engines.connect(this.name).catch((error: unknown) => {
        if (!isTwzError(error)) throw error;
        return undefined;
      });
      if (life !== this.life) {
        void engine?.close();
        return;
      }
      if (engine !== undefined) {
        this.#engine = engine;
        if (this.#spoiled !== undefined) spoil(engine, this.#spoiled);
        const node = new ClusterNode(space, engine, {
          name: this.name,
          own: true,
          clock: this.#clock(life),
          ...(this.#sizes === undefined ? {} : { sizes: this.#sizes }),
          // Logs are begun anew all the time.
          logBytes: 4000,
          merger: (work) => Promise.resolve().then(() => mergeVersions(work)),
        });
        this.#beginning = node;
        try {
          await node.start();
          if (life === this.life) this.node = node;
          return;
        } catch (error) {
          if (!isTwzError(error) || life !== this.life) {
            if (life !== this.life) return;
            throw error;
          }
          node.die();
        }
        void engine.close();
      }
      space.close();
      await new Promise<void>((resolve) => this.#engines.clock.timer(START_AGAIN_MS, resolve));
    }
  }

  /** The process dies; with a plan, the machine's power is lost as well. */
  die(plan?: LossPlan): void {
    this.life++;
    this.#paused = false;
    this.#held = [];
    this.#beginning?.die();
    this.#beginning = this.node = undefined;
    void this.#engine?.close();
    this.#engine = undefined;
    if (this.#space === undefined) return;
    this.#space = undefined;
    this.host = plan === undefined ? this.host.kill() : this.host.crash(plan);
    this.#hostTime = this.#engines.schedule.now;
  }

  /** It goes in order. */
  async stop(): Promise<void> {
    const { node } = this;
    if (node === undefined) return;
    const life = this.life;
    this.node = undefined;
    await node.stop();
    if (life !== this.life) return;
    this.life++;
    await this.#engine?.close();
    this.#engine = undefined;
    this.#space?.close();
    this.#space = undefined;
  }

  /** The process is stopped where it is, with its connection open. */
  pause(): void {
    this.#paused = true;
    this.#engines.cut(this.name);
  }

  resume(): void {
    this.#paused = false;
    this.#engines.heal(this.name);
    const held = this.#held;
    this.#held = [];
    for (const callback of held) callback();
  }

  /** Its machine has come as far as everybody else. */
  async follow(): Promise<void> {
    const { now } = this.#engines.schedule;
    if (now - this.#hostTime < 1) return;
    const ms = now - this.#hostTime;
    this.#hostTime = now;
    if (!this.#paused) await this.host.elapse(ms);
  }
}
