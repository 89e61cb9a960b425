/** Data mobility: families that go from node to node as a whole. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { sectionOf } from '../../kernel/sections.ts';
import { inWindows, PIECE } from './chunks.ts';
import { left, type Core } from './core.ts';
import { joinSections, toHex } from './record.ts';
import { numberIn, say, strange, textIn, type Said } from './messages.ts';

/** Bytes of pieces that go along with the first answer. */
const FIRST = 512 << 10;
const KEEP_MS = 30_000;
const WINDOW = 4;

interface Offered {
  readonly bytes: Uint8Array;
  readonly until: number;
}

/** Families that are being sent, as they were when they were asked for. */
export class Offers {
  readonly #core: Core;
  readonly #offers = new Map<string, Offered>();
  #next = 0;
  sent = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** The answer to who asked for these objects. */
  offer(ids: readonly ObjectId[], facts: Readonly<Record<string, unknown>>): Uint8Array {
    const { kernel } = this.#core.space;
    const bytes = joinSections(ids.map((id) => sectionOf(kernel.open(id))));
    this.sent += bytes.length;
    if (bytes.length <= FIRST) return say({ ...facts, bytes: bytes.length }, bytes);
    const now = this.#core.clock.now();
    for (const [token, { until }] of this.#offers) if (until < now) this.#offers.delete(token);
    const token = String(++this.#next);
    this.#offers.set(token, { bytes, until: now + KEEP_MS });
    return say({ ...facts, bytes: bytes.length, token, hash: toHex(kernel.host.sha256(bytes)) }, bytes.subarray(0, FIRST));
  }

  piece({ head }: Said): Uint8Array {
    const offered = this.#offers.get(textIn(head, 'token'));
    const at = numberIn(head, 'at');
    if (offered === undefined || at >= offered.bytes.length) throw new TwzError('Stale', 'what was offered is offered no more');
    if (at + PIECE >= offered.bytes.length) this.#core.clock.timer(KEEP_MS, () => this.#offers.delete(textIn(head, 'token')));
    return say({}, offered.bytes.subarray(at, at + PIECE));
  }
}

/** The rest of what another node has offered. */
export async function receive(core: Core, node: string, { head, body }: Said, deadline: number): Promise<Uint8Array> {
  const length = numberIn(head, 'bytes');
  if (length > 2 ** 31) throw strange(`${length} bytes are too many`);
  if (body.length === length) return body;
  const token = textIn(head, 'token');
  const all = new Uint8Array(length);
  all.set(body);
  const starts: number[] = [];
  for (let at = body.length; at < length; at += PIECE) starts.push(at);
  await inWindows(starts, WINDOW, async (at) => {
    left(core, deadline, 'receiving an object');
    const piece = await core.call(node, { do: 'piece', token, at }, deadline);
    if (piece.body.length !== Math.min(PIECE, length - at)) throw strange('a piece has another length');
    all.set(piece.body, at);
  });
  if (toHex(core.space.kernel.host.sha256(all)) !== textIn(head, 'hash')) throw strange('what came is not what was offered');
  return all;
}
