/**
 * What this node knows of runs that have been: what they gave, by their names. In an object of the space, stored with what the run stored, and
 * shared as that is, though nobody else asks for it: where another node came before what a run stored, what is known of the run goes with that.
 */
import type { ObjectId } from '../../abi/id.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { bytes, f64, text } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { ownTable, privately } from './tables.ts';

const Activation = struct('ClusterActivation', { when: f64, gave: bytes });
const Table = hashMap(text, Activation);
const PATH = '/cluster-activations';
/** How long it is known that a run has been, in milliseconds. */
export const REMEMBER_MS = 3_600_000;
const FORGET = 4;
const NOTHING = new Uint8Array(0);

export class Activations {
  readonly #space: Space;
  /** How many commits there were when there was no table of them: it is looked up once for all commits. */
  #noneAt = -1;

  constructor(space: Space) {
    this.#space = space;
  }

  /** Looked up each time: a transaction that made it may have been undone. */
  #known(): Infer<typeof Table> {
    return ownTable(this.#space, PATH, Table);
  }

  /** The ID of the table, which is made where it is missing. */
  get id(): ObjectId {
    return this.#space.object(this.#known()).id;
  }

  /** What a run gave; undefined where it is not known to have ended. */
  gave(name: string): Uint8Array | undefined {
    const gave = this.#look(name);
    return gave === undefined || gave.length === 0 ? undefined : gave;
  }

  /** It had begun, at least. */
  begun(name: string): boolean {
    return this.#look(name) !== undefined;
  }

  #look(name: string): Uint8Array | undefined {
    const { names, kernel } = this.#space;
    if (this.#noneAt === kernel.commits) return undefined;
    return privately(this.#space, () => {
      if (names.lookup(PATH) === undefined) {
        this.#noneAt = kernel.commits;
        return undefined;
      }
      return this.#known().get(name)?.gave.slice();
    });
  }

  /** Notes what a run gave, or, without that, that it begins. Inside a transaction. */
  note(name: string, gave: Uint8Array = NOTHING): void {
    this.#noneAt = -1;
    privately(this.#space, () => {
      const known = this.#known();
      const now = this.#space.kernel.host.time();
      known.set(name, { when: now, gave });
      let looked = 0;
      for (const [key, { when }] of known) {
        if (++looked > FORGET) break;
        if (when + REMEMBER_MS < now) known.delete(key);
      }
    });
  }
}
