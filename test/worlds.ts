/** Nodes of one space over a simulated engine, in virtual time, to be tested step by step. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { LossPlan } from '../src/host/simulated/loss.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { isTwzError, open, type ErrorName, type ObjectId } from '../src/index.ts';
import type { Engine } from '../src/services/cluster/engine.ts';
import { ClusterNode, type NodeOptions } from '../src/services/cluster/node.ts';
import { SimulatedEngines, type SimulatedEnginesOptions } from '../src/testing/cluster/engine.ts';

export class World {
  readonly engines: SimulatedEngines;
  readonly #hosts = new Map<string, SimulatedHost>();
  readonly #nodes = new Map<string, { readonly node: ClusterNode; readonly engine: Engine }>();

  constructor(t: TestContext, options: Partial<SimulatedEnginesOptions> = {}) {
    const engines = new SimulatedEngines({ seed: 7, ...options });
    this.engines = engines;
    const step = engines.step.bind(engines);
    // Their disks have come as far as everybody else.
    engines.step = async (ms) => {
      const before = engines.schedule.now;
      const stepped = await step(ms);
      for (const host of this.#hosts.values()) await host.elapse(engines.schedule.now - before);
      return stepped;
    };
    t.after(() => {
      for (const name of [...this.#nodes.keys()]) this.die(name);
    });
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.engines.run(promise);
  }

  async node(name: string, options: Partial<NodeOptions> = {}): Promise<ClusterNode> {
    const host = this.#hosts.get(name) ?? new SimulatedHost({ seed: 1 + this.#hosts.size, windowSize: 16 << 20, callMs: 0 });
    this.#hosts.set(name, host);
    const engine = await this.run(this.engines.connect(name));
    const space = open('/space', { host, segmentSize: 1 << 20, checkpointBytes: 4 << 20 });
    const node = new ClusterNode(space, engine, { name, own: true, clock: this.engines.clock, ...options });
    this.#nodes.set(name, { node, engine });
    await this.run(node.start());
    return node;
  }

  async stop(name: string): Promise<void> {
    const { node, engine } = this.#take(name);
    await this.run(node.stop());
    await this.run(engine.close());
    node.space.close();
  }

  /** Its process dies; with a plan, the machine's power is lost as well. */
  die(name: string, plan?: LossPlan): void {
    const { node, engine } = this.#take(name);
    node.die();
    void engine.close();
    const host = this.#hosts.get(name);
    assert.ok(host);
    this.#hosts.set(name, plan === undefined ? host.kill() : host.crash(plan));
  }

  #take(name: string): { readonly node: ClusterNode; readonly engine: Engine } {
    const there = this.#nodes.get(name);
    assert.ok(there);
    this.#nodes.delete(name);
    return there;
  }

  async bring(node: ClusterNode, ...ids: readonly ObjectId[]): Promise<void> {
    for (const id of ids) assert.ok(await this.run(node.bring(id, node.clock.now() + 5000)), id);
  }

  own(node: ClusterNode, id: ObjectId): Promise<void> {
    return this.run(node.own(id, node.clock.now() + 5000));
  }

  /** Commits, and waits until it is in the engine for good. */
  async commit(node: ClusterNode, ids: readonly ObjectId[], body: () => void): Promise<void> {
    node.space.relaxed(body);
    await this.run(node.replicated(node.space.kernel.log.end, ids, node.clock.now() + 5000));
  }

  async fails(name: ErrorName, promise: Promise<unknown>): Promise<void> {
    await assert.rejects(
      this.run(promise),
      (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
    );
  }
}
