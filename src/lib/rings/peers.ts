/**
 * Who takes part in a ring: a word for each, with its thread's number and its role. Who finds that a peer's thread has ended gives on
 * what it held, and only then frees the word for another.
 */
import { TwzError } from '../../abi/errors.ts';
import { THREAD_MASK, type SyncWords } from '../../abi/sync.ts';
import { ringAll } from './bell.ts';
import { KIND, ROLE, WORD, isMany, type RingShape, type Role } from './layout.ts';
import { giveOn } from './slots.ts';

/** The first two words are for a role that only one can have. */
const ALONE = { producer: 0, consumer: 1 } as const;
const MANY = { producer: KIND.manyProducers, consumer: KIND.manyConsumers } as const;

export class Peers {
  readonly #words: SyncWords;
  readonly #shape: RingShape;

  constructor(words: SyncWords, shape: RingShape) {
    this.#words = words;
    this.#shape = shape;
  }

  #word(entry: number): number {
    return this.#shape.word + WORD.peers + entry;
  }

  /** Takes part from now on; returns the number of the word. Throws QueueTaken. */
  enter(role: Role): number {
    const { i32, threads } = this.#words;
    const { kind, peers } = this.#shape;
    const [first, end] = (kind & MANY[role]) === 0 ? [ALONE[role], ALONE[role] + 1] : [2, peers];
    for (const look of [false, true]) {
      for (let entry = first; entry < end; entry++) {
        if (look) this.#inspect(entry);
        if (Atomics.compareExchange(i32, this.#word(entry), 0, threads.self | ROLE[role]) === 0) return entry;
      }
    }
    if (end - first > 1)
      throw new TwzError('QueueTaken', `the ring has ${peers - 2} peers, and is made for no more`, { role, peers: peers - 2 });
    const who = threads.show(Atomics.load(i32, this.#word(first)) & THREAD_MASK);
    throw new TwzError('QueueTaken', `the ring is made for one ${role}, and that is ${who}`, { role });
  }

  leave(entry: number): void {
    Atomics.store(this.#words.i32, this.#word(entry), 0);
  }

  /** Looks who died: gives on what they held. Returns how many. */
  inspect(): number {
    let dead = 0;
    for (let entry = 0; entry < this.#shape.peers; entry++) if (this.#inspect(entry)) dead++;
    return dead;
  }

  #inspect(entry: number): boolean {
    const words = this.#words;
    const shape = this.#shape;
    const at = this.#word(entry);
    const found = Atomics.load(words.i32, at);
    if (found === 0 || words.threads.lives(found & THREAD_MASK)) return false;
    const lost = isMany(shape) ? giveOn(words, shape, entry + 1, at, found) : 0;
    if (lost > 0) Atomics.add(words.i32, shape.word + WORD.abandoned, lost);
    if (Atomics.compareExchange(words.i32, at, found, 0) === found)
      Atomics.add(words.i32, shape.word + ((found & ROLE.producer) !== 0 ? WORD.producersLost : WORD.consumersLost), 1);
    ringAll(words, shape.word + WORD.sleepers);
    ringAll(words, shape.word + WORD.waiters);
    return true;
  }

  /** How many take part in this role, as far as is known. */
  count(role: Role): number {
    let count = 0;
    for (let entry = 0; entry < this.#shape.peers; entry++)
      if ((Atomics.load(this.#words.i32, this.#word(entry)) & ROLE[role]) !== 0) count++;
    return count;
  }
}
