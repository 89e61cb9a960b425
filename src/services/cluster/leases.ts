/**
 * Leases: registers in memory whose messages go after a time of their own. Servers before 2.11 keep them; there the time stands in a
 * header, and who looks judges by the server's clock.
 */
import type { Register, Subscription } from './engine.ts';
import { byKey, isGone, same, type Registers } from './registers.ts';
import type { Deadline, Stored } from './stream.ts';
import { checkName, type Header } from './wire.ts';

const LASTS = 'Twz-Lease';
const GONE_SECONDS = 60;
const ATTEMPTS = 4;
const NO_BYTES = new Uint8Array(0);

export class Leases {
  readonly #registers: Registers;
  /** Sequences of those that this connection has, by name. */
  readonly #held = new Map<string, number>();

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  get #ends(): boolean {
    return this.#registers.stream.has('allow_msg_ttl');
  }

  async take(name: string, bytes: Uint8Array, ttl: number, ms: number): Promise<boolean> {
    checkName(name, 'lease');
    const deadline = this.#registers.deadline(ms, name);
    const headers: Header[] = [this.#ends ? ['Nats-TTL', `${Math.max(1, Math.ceil(ttl / 1000))}s`] : [LASTS, String(Math.ceil(ttl))]];
    let expected = this.#held.get(name) ?? 0;
    this.#held.delete(name);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const seq = await this.#registers.store(name, bytes, expected, deadline.left(), headers);
      if (seq !== undefined) {
        this.#held.set(name, seq);
        return true;
      }
      const stored = await this.#registers.last(name, deadline.left());
      if (stored !== undefined && !same(stored.bytes, bytes) && (await this.#lives(stored, deadline))) return false;
      expected = stored?.seq ?? 0;
    }
    return false;
  }

  async release(name: string, bytes: Uint8Array, ms: number): Promise<void> {
    checkName(name, 'lease');
    const deadline = this.#registers.deadline(ms, name);
    this.#held.delete(name);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stored = await this.#registers.last(name, deadline.left());
      if (stored === undefined || isGone(stored) || !same(stored.bytes, bytes)) return;
      const gone = await this.#registers.store(name, NO_BYTES, stored.seq, deadline.left(), this.#registers.goneHeaders(GONE_SECONDS));
      if (gone !== undefined) return;
    }
  }

  async list(prefix: string, ms: number): Promise<Register[]> {
    const deadline = this.#registers.deadline(ms, 'leases');
    const all = await this.#registers.all(prefix, ms);
    const found: Register[] = [];
    for (const [key, stored] of all) {
      if (await this.#lives(stored, deadline)) found.push({ key, bytes: stored.bytes, revision: stored.seq });
    }
    return found.sort(byKey);
  }

  watch(prefix: string, listener: (lease: Register) => void): Subscription {
    return this.#registers.watch(prefix, listener, (stored) => (this.#ends ? undefined : Number(stored.header(LASTS))));
  }

  async #lives(stored: Stored, deadline: Deadline): Promise<boolean> {
    if (isGone(stored)) return false;
    if (this.#ends) return true;
    return (await this.#registers.stream.age(stored, deadline.left())) <= Number(stored.header(LASTS));
  }
}
