/**
 * The engine of many machines, simulated: every node's connection, the network and the server in one process, in virtual time, in an order
 * that the seed gives. The protocol above the connection is the real one (services/cluster), the server a model (jetstream-model.ts).
 *
 * Nothing happens but in `step`, and in what calls it: `run`, `until`, `elapse`, or `drive`, which steps whenever there is something to do.
 */
import type { Clock } from '../../host/clock.ts';
import type { Timer } from '../../host/host.ts';
import { Random } from '../../host/simulated/random.ts';
import { Schedule } from '../../host/simulated/schedule.ts';
import type { Engine } from '../../services/cluster/engine.ts';
import { openJetStream } from '../../services/cluster/jetstream.ts';
import { JetStreamModel } from './jetstream-model.ts';
import { Network, type Weather } from './network.ts';

export interface SimulatedEnginesOptions {
  readonly seed: number;
  /** Version of the server that is acted: before 2.11 no lease ends by itself, before 2.12 nothing is atomic (default 2.15.1). */
  readonly version?: string;
  /** Bytes of a message (default 1 MiB). */
  readonly maxPayload?: number;
  readonly weather?: Partial<Weather>;
}

const OPEN_MS = 60_000;
/** 2026-01-01, where virtual time begins. */
const BEGIN = 1_767_225_600_000;

/** Says when something was added. */
class Agenda extends Schedule {
  added: (() => void) | undefined;

  override at(ms: number, fire: () => void): Timer {
    this.added?.();
    return super.at(ms, fire);
  }
}

export class SimulatedEngines {
  readonly schedule: Schedule;
  readonly #agenda = new Agenda();
  readonly random: Random;
  /** Virtual time, for all that runs with these engines. */
  readonly clock: Clock;
  readonly #network: Network;
  #driving = false;

  constructor(options: SimulatedEnginesOptions) {
    this.random = new Random(options.seed);
    const schedule = this.#agenda;
    this.schedule = schedule;
    this.clock = {
      now: () => BEGIN + schedule.now,
      timer: (ms, callback) => schedule.at(Math.max(0, ms), callback),
      soon: (callback) => void schedule.at(0, callback),
    };
    const model = new JetStreamModel(this.clock, { version: options.version ?? '2.15.1', maxPayload: options.maxPayload ?? 1 << 20 });
    this.#network = new Network(schedule, this.random, this.clock, model, { latency: [0.1, 1], loss: 0, ...options.weather });
  }

  /** A connection of a node. Takes virtual time: see `run`. */
  connect(node: string, space = 'sim'): Promise<Engine> {
    return openJetStream(this.#network.connect(node), { servers: [], space }, OPEN_MS);
  }

  // --- faults -----------------------------------------------------------------------------------------------------------------------

  /** From now on nothing of that node reaches the server, and the other way round. */
  cut(node: string): void {
    this.#network.cut(node);
  }

  heal(node: string): void {
    this.#network.heal(node);
  }

  /** Everything takes so much longer on its way to and from that node. */
  delay(node: string, ms: number): void {
    this.#network.delay(node, ms);
  }

  /** From now on any packet is lost with that chance. */
  lose(chance: number): void {
    this.#network.weather.loss = chance;
  }

  /** The server dies. What it has stored is there when it is started again. */
  killServer(): void {
    this.#network.kill();
  }

  startServer(): void {
    this.#network.start();
  }

  /** The server is stopped, with its connections open. */
  pauseServer(): void {
    this.#network.pause();
  }

  resumeServer(): void {
    this.#network.resume();
  }

  // --- time -------------------------------------------------------------------------------------------------------------------------

  /** The next thing that happens, if it does within `ms`. */
  step(ms?: number): Promise<boolean> {
    return this.schedule.step(ms);
  }

  /** Steps until the promise is settled. Throws where nothing is left to happen before. */
  async run<T>(promise: Promise<T>): Promise<T> {
    const state = { settled: false };
    const watched = promise.finally(() => (state.settled = true));
    // The one who runs it gets the rejection, at the end.
    watched.catch((error: unknown) => error);
    while (!state.settled && (await this.step()));
    if (!state.settled) throw new Error('nothing is left to happen, and the promise is not settled');
    return watched;
  }

  /** Steps until it is so. Throws where that is not within `ms` of virtual time. */
  async until(so: () => boolean, ms = 60_000): Promise<void> {
    const end = this.schedule.now + ms;
    while (!so()) if (!(await this.step(end - this.schedule.now))) throw new Error(`not so within ${ms} ms`);
  }

  /** Lets so much virtual time pass. */
  async elapse(ms: number): Promise<void> {
    const end = this.schedule.now + ms;
    while (await this.step(end - this.schedule.now));
    this.schedule.now = end;
  }

  /** Steps whenever there is something to do, until `close` of what it gives: time flies. */
  drive(): { close(): void } {
    this.#driving = true;
    void (async () => {
      while (this.#driving) {
        if (!(await this.step())) await new Promise<void>((resolve) => (this.#agenda.added = resolve));
      }
    })();
    return {
      close: () => {
        this.#driving = false;
        this.#agenda.added?.();
      },
    };
  }
}
