/** A space on the simulated machine whose process dies and whose power fails, and what of its commits must be there afterwards. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isTwzError } from '../src/abi/errors.ts';
import type { LossMode } from '../src/host/simulated/loss.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { open, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';

/** What ends a transaction that shall be undone. */
export class Undone extends Error {}

const DIRECTORY = '/space';

export type Event =
  | { readonly kind: 'die' | 'close' | 'checkpoint' | 'sync' }
  | { readonly kind: 'power'; readonly mode: LossMode; readonly seed: number };

export const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constantFrom('die' as const, 'close', 'checkpoint', 'sync') }),
  fc.record({
    kind: fc.constant('power' as const),
    mode: fc.constantFrom<LossMode>('lose', 'torn', 'hole', 'first', 'random'),
    seed: fc.nat(),
  }),
);

/** `M` is the model; states are compared as the text that `show` makes of them. */
export class Machine<M> {
  #host = new SimulatedHost();
  #space: Space;
  /** Models of the commits since the last sync, the synced one first: a power failure leaves one of them. */
  #states: M[];
  readonly #copy: (model: M) => M;
  model: M;

  constructor(model: M, copy: (model: M) => M) {
    this.#space = this.#open();
    this.#copy = copy;
    this.model = model;
    this.#states = [copy(model)];
  }

  get space(): Space {
    return this.#space;
  }

  #open(): Space {
    return open(DIRECTORY, { host: this.#host, segmentSize: 1 << 18 });
  }

  /** Runs a transaction that changes the model as well; undone, both are as before. */
  transact(body: () => void, undo: boolean): void {
    const before = this.#copy(this.model);
    try {
      this.#space.relaxed(() => {
        body();
        if (undo) throw new Undone();
      });
      this.#states.push(this.#copy(this.model));
    } catch (error) {
      if (!(error instanceof Undone) && !isTwzError(error)) throw error;
      assert.ok(undo, String(error));
      this.model = before;
    }
  }

  #synced(): void {
    this.#states = [this.#copy(this.model)];
  }

  /** `show` is asked for the state that the space is in, and for that of a model. */
  happen(what: Event, show: (model?: M) => string): void {
    switch (what.kind) {
      case 'sync':
        this.#space.sync();
        this.#synced();
        break;
      case 'checkpoint':
        this.#space.checkpoint();
        this.#synced();
        break;
      case 'close':
        this.#space.close();
        this.#synced();
        this.#space = this.#open();
        break;
      case 'die':
        this.#host = this.#next(this.#host.kill());
        this.#space = this.#open();
        break;
      case 'power': {
        this.#host = this.#next(this.#host.crash({ mode: what.mode, seed: what.seed }));
        this.#space = this.#open();
        const found = show();
        const index = this.#states.findLastIndex((each) => show(each) === found);
        const state = this.#states[index];
        assert.ok(state !== undefined, `after a power failure (${what.mode}) there is what no commit since the last sync left: ${found}`);
        this.model = this.#copy(state);
        // What was found beyond the synced may have come from the log's tail: another power failure can still take it.
        this.#states = this.#states.slice(0, index + 1);
        break;
      }
    }
  }

  #next(host: SimulatedHost): SimulatedHost {
    this.#host.discard();
    return host;
  }

  /** Check finds nothing in objects. A power failure may leave frames in the log that look lost, and were never durable. */
  sound(): void {
    this.#space.close();
    this.#synced();
    const { findings } = checkSpace(this.#host, DIRECTORY);
    assert.deepEqual(
      findings.filter(({ object, severity }) => object !== undefined && severity !== 'note'),
      [],
    );
    this.#space = this.#open();
  }

  /** The machine is not used any more. */
  end(): void {
    this.sound();
    this.#space.kernel.release();
    this.#host.discard();
  }
}
