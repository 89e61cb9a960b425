/**
 * Registers in a stream that keeps one message a subject. One that is deleted leaves a mark, which goes after a while; revisions are the
 * stream's sequences and grow through that.
 */
import { isTwzError } from '../../abi/errors.ts';
import type { Clock } from '../../host/clock.ts';
import type { Timer } from '../../host/host.ts';
import type { Register, Subscription } from './engine.ts';
import { Deadline, type Stored, type Stream } from './stream.ts';
import { checkName, patternsOf, type Header, type Wire } from './wire.ts';

/** On the mark that a deleted register leaves. */
const GONE = 'Twz-Gone';
/** On the mark that the server leaves where a message's time was over. */
const MARKER = 'Nats-Marker-Reason';
const TTL = 'Nats-TTL';
const GONE_SECONDS = 3600;
const RESYNC_MS = 10_000;
const AGAIN_MS = 500;
/** What is published again may be lost between servers although the connection holds: from time to time a watch looks. */
const LOOK_MS = 10_000;
const ATTEMPTS = 4;
const NO_BYTES = new Uint8Array(0);

export const isGone = (stored: Stored): boolean => stored.header(GONE) !== '' || stored.header(MARKER) !== '';

export class Registers {
  readonly stream: Stream;
  readonly #wire: Wire;
  readonly #root: string;
  readonly #live: string;

  /** `root` and `live` are subjects, a dot at their end. */
  constructor(wire: Wire, stream: Stream, root: string, live: string) {
    this.#wire = wire;
    this.stream = stream;
    this.#root = root;
    this.#live = live;
  }

  async get(key: string, ms: number): Promise<Register | undefined> {
    const stored = await this.stream.last(this.#subject(key), ms);
    return stored === undefined || isGone(stored) ? undefined : { key, bytes: stored.bytes, revision: stored.seq };
  }

  deadline(ms: number, what: string): Deadline {
    return new Deadline(this.#wire.clock, ms, what);
  }

  /** The stored message as it is, mark or not. */
  last(key: string, ms: number): Promise<Stored | undefined> {
    return this.stream.last(this.#subject(key), ms);
  }

  async set(key: string, bytes: Uint8Array, revision: number, ms: number): Promise<number | undefined> {
    const deadline = this.deadline(ms, key);
    let expected = revision;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const set = await this.store(key, bytes, expected, deadline.left());
      if (set !== undefined || revision !== 0) return set;
      // What is not there may have left a mark.
      const stored = await this.last(key, deadline.left());
      if (stored !== undefined && !isGone(stored)) return undefined;
      expected = stored?.seq ?? 0;
    }
    return undefined;
  }

  async unset(key: string, revision: number, ms: number): Promise<boolean> {
    if (revision === 0) return false;
    return (await this.store(key, NO_BYTES, revision, ms, this.goneHeaders())) !== undefined;
  }

  goneHeaders(seconds: number = GONE_SECONDS): Header[] {
    return [[GONE, '1'], ...(this.stream.has('allow_msg_ttl') ? [[TTL, `${seconds}s`] as const] : [])];
  }

  /** The new sequence, or undefined where the last is not the expected one. Throws where that is not known. */
  async store(key: string, bytes: Uint8Array, expected: number, ms: number, headers?: readonly Header[]): Promise<number | undefined> {
    const appended = await this.stream.append(this.#subject(key), bytes, expected, ms, headers);
    if (appended.kind === 'done') return appended.seq;
    if (appended.kind === 'refused') return undefined;
    throw this.stream.lost(key);
  }

  /** What is stored below a prefix from a sequence on, marks too, the newest of each key. */
  async all(prefix: string, ms: number, from = 1): Promise<Map<string, Stored>> {
    const found = new Map<string, Stored>();
    const take = (stored: Stored): void => {
      const key = stored.subject.slice(this.#root.length);
      if ((found.get(key)?.seq ?? 0) < stored.seq) found.set(key, stored);
    };
    await Promise.all(patternsOf(prefix).map((pattern) => this.stream.scan(this.#root + pattern, from, ms, take)));
    return found;
  }

  async keys(prefix: string, ms: number): Promise<Register[]> {
    return [...(await this.all(prefix, ms))]
      .filter(([, stored]) => !isGone(stored))
      .map(([key, { bytes, seq }]) => ({ key, bytes, revision: seq }))
      .sort(byKey);
  }

  watch(prefix: string, listener: (register: Register) => void, lasts?: Lasts): Subscription {
    const heard = (take: (key: string, stored: Stored) => void): readonly Subscription[] =>
      patternsOf(prefix).map((pattern) =>
        this.stream.subscribe(this.#live + pattern, (stored) => take(stored.subject.slice(this.#root.length), stored)),
      );
    return new Watch(this.#wire, (from) => this.all(prefix, RESYNC_MS, from), heard, listener, lasts);
  }

  #subject(key: string): string {
    return this.#root + checkName(key, 'key');
  }
}

export const byKey = (a: Register, b: Register): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

/** Milliseconds after which a register ends though nobody says so; undefined: it stays. */
export type Lasts = (stored: Stored) => number | undefined;

/**
 * Tells of every change once, in the order of revisions for each key. What was missed while there was no connection is found by listing
 * all again; a deletion whose mark is gone by then is told of by what is no longer there.
 */
class Watch implements Subscription {
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #all: (from: number) => Promise<Map<string, Stored>>;
  readonly #listener: (register: Register) => void;
  readonly #lasts: Lasts | undefined;
  readonly #known = new Map<string, Register>();
  readonly #ends = new Map<string, Timer>();
  readonly #subscriptions: readonly Subscription[];
  #again: Timer | undefined;
  #running = false;
  #stale = false;
  #whole = true;
  /** The last sequence that a listing gave. */
  #listed = 0;
  #closed = false;

  constructor(
    wire: Wire,
    all: (from: number) => Promise<Map<string, Stored>>,
    hear: (take: (key: string, stored: Stored) => void) => readonly Subscription[],
    listener: (register: Register) => void,
    lasts: Lasts | undefined,
  ) {
    this.#wire = wire;
    this.#clock = wire.clock;
    this.#all = all;
    this.#listener = listener;
    this.#lasts = lasts;
    this.#subscriptions = [
      ...hear((key, stored) => this.#take(key, stored)),
      wire.onState((connected) => {
        if (connected) this.#resync(true);
      }),
    ];
    this.#resync(true);
  }

  close(): void {
    this.#closed = true;
    for (const subscription of this.#subscriptions) subscription.close();
    for (const end of this.#ends.values()) end.cancel();
    this.#again?.cancel();
  }

  /** `whole`: all is listed, else what has come since the last listing. */
  #resync(whole: boolean): void {
    this.#whole ||= whole;
    this.#stale = true;
    if (this.#running || this.#closed || this.#wire.closed) return;
    this.#running = true;
    this.#again?.cancel();
    void this.#list().then((done) => {
      this.#running = false;
      if (this.#closed) return;
      if (done && this.#stale) this.#resync(false);
      else this.#again = this.#clock.timer(done ? LOOK_MS : AGAIN_MS, () => this.#resync(false));
    });
  }

  /** False: it could not be done now. */
  async #list(): Promise<boolean> {
    const whole = this.#whole;
    this.#stale = false;
    this.#whole = false;
    const before = whole ? [...this.#known.values()] : [];
    try {
      await this.#wire.flush(RESYNC_MS);
      const all = await this.#all(whole ? 1 : this.#listed + 1);
      if (this.#closed) return true;
      for (const [key, stored] of all) {
        this.#listed = Math.max(this.#listed, stored.seq);
        this.#take(key, stored);
      }
      for (const register of before) {
        const { key, revision } = register;
        if (this.#known.get(key) !== register) continue;
        if (register.bytes === undefined) this.#known.delete(key);
        else if (!all.has(key)) this.#tell({ key, bytes: undefined, revision: revision + 1 });
      }
      return true;
    } catch (error) {
      if (!isTwzError(error)) throw error;
      this.#whole ||= whole;
      return false;
    }
  }

  #take(key: string, stored: Stored): void {
    if (this.#closed) return;
    const known = this.#known.get(key);
    if (known !== undefined && known.revision >= stored.seq) return;
    const bytes = isGone(stored) ? undefined : stored.bytes;
    if (this.#lasts !== undefined) {
      this.#ends.get(key)?.cancel();
      const ms = bytes === undefined ? undefined : this.#lasts(stored);
      if (ms === undefined) this.#ends.delete(key);
      else
        this.#ends.set(
          key,
          this.#clock.timer(ms, () => this.#ended(key)),
        );
    }
    const register = { key, bytes, revision: stored.seq };
    // What was not there is not told of; leases that are renewed neither.
    if ((known?.bytes === undefined && bytes === undefined) || (this.#renews && same(known?.bytes, bytes))) this.#known.set(key, register);
    else this.#tell(register);
  }

  get #renews(): boolean {
    return this.#lasts !== undefined;
  }

  #ended(key: string): void {
    this.#ends.delete(key);
    const known = this.#known.get(key);
    if (known?.bytes !== undefined) this.#tell({ key, bytes: undefined, revision: known.revision });
  }

  #tell(register: Register): void {
    this.#known.set(register.key, register);
    try {
      this.#listener(register);
    } catch (error) {
      this.#clock.soon(() => {
        throw error;
      });
    }
  }
}

export function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}
