/**
 * Appending without owning: an append-only object's owner is its sequencer. Who wants to append asks it; the answer says where it landed.
 *
 *   append  ->  the owner, wherever it is  ->  one transaction: the element, and a note of the activation  ->  published  ->  its number
 *
 * Invariants:
 *  1. The note lies in the object itself, and goes where its ownership goes: an activation that is asked for again, of a later owner too,
 *     is answered with the number that it got. What the notes reach no more is refused and never done twice.
 *  2. Nobody hears a number before the element outlives the node that gave it.
 *
 *   notes (META.ledger)   0 count (u32)  4 room (u32)  16 entries of 32 bytes, in a ring: activation (16), number (f64), time (f64)
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND, META } from '../../abi/format.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import { isReplica } from '../../kernel/afar.ts';
import type { Handle } from '../../kernel/object.ts';
import { run } from '../../kernel/transaction.ts';
import type { Log } from '../../lib/collections/queue.ts';
import { typesOf } from '../dynamic.ts';
import { left, type Core } from './core.ts';
import type { Family } from './families.ts';
import { idIn, numberIn, say, textIn, type Said } from './messages.ts';
import type { Publisher } from './publisher.ts';
import { decodeValues, strangersIn } from './values.ts';

const CALL_MS = 2000;
const RETRY_MS = 20;
const ROOM = 255;
const ENTRY = 32;
const HEAD = 16;
/** Clocks of two nodes may differ by so many milliseconds. */
const SKEW_MS = 5000;
const REMEMBERED = 10_000;

/** What it needs of its node. */
export interface SequencerNode extends Core {
  readonly publisher: Publisher;
  bring(id: ObjectId, deadline: number): Promise<boolean>;
  own(id: ObjectId, deadline: number): Promise<void>;
  replicated(lsn: number, ids: readonly ObjectId[], deadline: number): Promise<void>;
  locate(id: ObjectId, deadline: number): Promise<string | undefined>;
}

interface Asked {
  readonly id: ObjectId;
  readonly activation: string;
  readonly values: Uint8Array;
  /** How long ago it was asked for first, in milliseconds, and whether it was before. */
  readonly age: number;
  readonly again: boolean;
}

/** What one owner, in one epoch, has appended since. */
interface Memory {
  readonly epoch: number;
  readonly since: number;
  readonly numbers: Map<string, number>;
}

export class Sequencer {
  readonly #node: SequencerNode;
  readonly #memories = new Map<ObjectId, Memory>();
  /** Who answered last for what is not here. */
  readonly #owners = new Map<ObjectId, string>();
  readonly #logs = new Map<ObjectId, Log<unknown>>();
  /** Elements that were appended here for other nodes. */
  sequenced = 0;

  constructor(node: SequencerNode) {
    this.#node = node;
  }

  /** Appends, wherever the owner is; gives the element's number. Throws ObjectMissing, NotSupported, Unreachable, TimedOut. */
  async append(id: ObjectId, values: Uint8Array, activation: string, deadline: number): Promise<number> {
    const { clock } = this.#node;
    const began = clock.now();
    let node: string | undefined;
    for (let tries = 0; ; tries++) {
      const ms = left(this.#node, deadline, `appending to object ${id}`);
      const asked: Asked = { id, activation, values, age: clock.now() - began, again: tries > 0 };
      const here = this.#ownerHere(id);
      if (here === this.#node.id) {
        const number = await this.#appendHere(asked, deadline);
        if (number !== undefined) return number;
        // It was let go of, or went astray: who wanted it has it in a moment, or nobody has.
        await this.#node.pause(Math.min(RETRY_MS, left(this.#node, deadline, `appending to object ${id}`)));
        if (tries > 2 && this.#node.table.byId.get(id)?.role === 'replica') await this.#node.own(id, deadline);
        continue;
      }
      try {
        node ??= here ?? this.#owners.get(id) ?? (await this.#node.locate(id, deadline));
        if (node === undefined) {
          // Nobody who is there owns it: whoever can have it succeeds.
          await this.#node.own(id, deadline);
          continue;
        }
        const { age, again } = asked;
        const { head } = await this.#node.call(
          node,
          { do: 'append', id, activation, age, again, ms },
          Math.min(deadline, clock.now() + CALL_MS),
          values,
        );
        const { moved } = head;
        if (moved === undefined) {
          if (here === undefined) this.#remember(id, node);
          return numberIn(head, 'number');
        }
        this.#owners.delete(id);
        node = typeof moved === 'string' && isId(moved) && moved !== node ? moved : undefined;
      } catch (error) {
        if (isTwzError(error, 'TimedOut') && error.context['forgotten'] === true) throw error;
        if (isTwzError(error, 'Unreachable')) {
          if (node === undefined) throw error;
          this.#owners.delete(id);
          node = undefined;
          if (here !== undefined) await this.#node.own(id, deadline);
        } else if (!isTwzError(error, 'TimedOut') && !isTwzError(error, 'Fenced')) throw error;
      }
      await this.#node.pause(Math.min(RETRY_MS, left(this.#node, deadline, `appending to object ${id}`)));
    }
  }

  #remember(id: ObjectId, node: string): void {
    if (this.#owners.size >= REMEMBERED) this.#owners.clear();
    this.#owners.set(id, node);
  }

  /** What another node asks of the owner. */
  async answer({ head, body }: Said): Promise<Uint8Array> {
    const asked: Asked = {
      id: idIn(head, 'id'),
      activation: textIn(head, 'activation'),
      values: body,
      age: numberIn(head, 'age'),
      again: head['again'] === true,
    };
    const owner = this.#ownerHere(asked.id);
    if (owner !== this.#node.id) return say({ moved: owner ?? '' });
    const number = await this.#appendHere(asked, this.#node.clock.now() + numberIn(head, 'ms'));
    if (number === undefined) return say({ moved: this.#ownerHere(asked.id) ?? '' });
    this.sequenced++;
    return say({ number });
  }

  /** The owner, as far as it is known here; undefined where the object is not here. Throws NotSupported. */
  #ownerHere(id: ObjectId): string | undefined {
    const { space, table } = this.#node;
    space.refresh();
    if (!space.has(id)) return undefined;
    const h = space.kernel.open(id);
    if (h.kind !== KIND['append-only'])
      throw new TwzError('NotSupported', `object ${id} is ${h.kindName}: who stores to it owns it`, { id });
    return table.byMember.get(id)?.owner ?? this.#node.id;
  }

  /** Undefined: it is owned here no more. Those that come at a time are published together. */
  async #appendHere(asked: Asked, deadline: number): Promise<number | undefined> {
    const { space, publisher, table } = this.#node;
    const { kernel } = space;
    const { id, values } = asked;
    for (const stranger of strangersIn(space, values)) await this.#node.bring(stranger, deadline);
    if (this.#ownerHere(id) !== this.#node.id) return undefined;
    const family = table.byId.get(id);
    const strayed = family?.strayed;
    const memory = this.#memoryOf(id, family);
    const number = publisher.aloud(() => run(kernel, () => this.#appended(asked, memory)));
    const lsn = kernel.seen;
    kernel.log.pace();
    kernel.checkpointer.pace();
    if (number === undefined) return undefined;
    // Of more than the notes hold at a time each is known still.
    memory.numbers.set(asked.activation, number);
    await this.#node.replicated(lsn, [id], deadline);
    // It may have been noted by a commit that another owner came before: whoever owns it now knows.
    const now = table.byId.get(id);
    if (now?.role !== 'owner' || (family !== undefined && (now !== family || now.strayed !== strayed))) return undefined;
    return number;
  }

  #memoryOf(id: ObjectId, family: Family | undefined): Memory {
    const epoch = family?.epoch ?? 0;
    const known = this.#memories.get(id);
    if (known !== undefined && known.epoch === epoch && known.numbers.size < REMEMBERED) return known;
    const memory: Memory = { epoch, since: this.#node.clock.now(), numbers: new Map() };
    this.#memories.set(id, memory);
    return memory;
  }

  /** In the transaction. */
  #appended({ id, activation, values, age, again }: Asked, memory: Memory): number | undefined {
    const { space, clock } = this.#node;
    const { kernel } = space;
    const h = kernel.open(id);
    if (h.cold) h.warm();
    if (isReplica(h)) return undefined;
    const known = memory.numbers.get(activation);
    if (known !== undefined) return known;
    const key = kernel.host.sha256(new TextEncoder().encode(activation)).subarray(0, 16);
    const noted = numberOf(h, key);
    if (noted !== undefined) return noted;
    const now = kernel.host.time();
    if (again && memory.since > clock.now() - age && !reachesBack(h, now - age - SKEW_MS))
      throw new TwzError('TimedOut', `object ${id}: it may have been appended before, and that is known no more`, { id, forgotten: true });
    const log = this.#logOf(id);
    const number = log.append(decodeValues(space, values));
    note(h, key, number, now);
    return number;
  }

  #logOf(id: ObjectId): Log<unknown> {
    const known = this.#logs.get(id);
    if (known !== undefined) return known;
    const { space } = this.#node;
    const object = space.object(id);
    const root: unknown = object.root(typesOf(object).type);
    const log = root as Log<unknown>;
    if (this.#logs.size >= REMEMBERED) this.#logs.clear();
    this.#logs.set(id, log);
    return log;
  }
}

function ledgerOf(h: Handle): { readonly at: number; readonly count: number; readonly room: number } | undefined {
  const at = h.dv.getUint32(META.ledger, true);
  if (at === 0) return undefined;
  if (at + HEAD > h.size) h.corrupt(META.ledger, 'the list of appends lies outside');
  const [count, room] = [h.dv.getUint32(at, true), h.dv.getUint32(at + 4, true)];
  if (room === 0 || at + HEAD + room * ENTRY > h.size) h.corrupt(at, 'the list of appends lies outside');
  return { at, count, room };
}

function numberOf(h: Handle, key: Uint8Array): number | undefined {
  const ledger = ledgerOf(h);
  if (ledger === undefined) return undefined;
  const { at, count, room } = ledger;
  for (let i = Math.min(count, room) - 1; i >= 0; i--) {
    const entry = at + HEAD + i * ENTRY;
    if (key.every((byte, n) => h.u8[entry + n] === byte)) return h.dv.getFloat64(entry + 16, true);
  }
  return undefined;
}

/** Is all that was appended by activations since then in the notes? */
function reachesBack(h: Handle, time: number): boolean {
  const ledger = ledgerOf(h);
  if (ledger === undefined || ledger.count < ledger.room) return true;
  const { at, count, room } = ledger;
  return h.dv.getFloat64(at + HEAD + (count % room) * ENTRY + 24, true) < time;
}

function note(h: Handle, key: Uint8Array, number: number, time: number): void {
  if (h.dv.getUint32(META.ledger, true) === 0) {
    const made = h.allocate(HEAD + ROOM * ENTRY);
    h.setU32(META.ledger, made);
    h.setU32(made + 4, ROOM);
  }
  const { at, count, room } = ledgerOf(h) ?? h.corrupt(META.ledger, 'the list of appends is missing');
  const entry = at + HEAD + (count % room) * ENTRY;
  h.markRange(entry, ENTRY);
  h.u8.set(key, entry);
  h.dv.setFloat64(entry + 16, number, true);
  h.dv.setFloat64(entry + 24, time, true);
  h.setU32(at, count + 1);
}
