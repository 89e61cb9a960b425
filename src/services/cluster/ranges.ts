/**
 * Objects that are read where they are not: their pages come when they are touched, from the node that owns them. Both sides, in the agents.
 * See services/pager.ts.
 */
import { TwzError } from '../../abi/errors.ts';
import { FLAG, KIND, META, PAGE } from '../../abi/format.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { stampedHeader } from '../../kernel/apply.ts';
import { headerChecksum } from '../../kernel/header.ts';
import { wasDeleted } from '../../kernel/lifetime.ts';
import type { Handle } from '../../kernel/object.ts';
import type { PagedFacts } from '../../kernel/paged.ts';
import type { PageRequest } from '../pager.ts';
import { inWindows } from './chunks.ts';
import { deleted, left, type Core } from './core.ts';
import { membersOf, rootOfFamily } from './families.ts';
import { hear, idIn, isRecord, numberIn, say, strange, type Said } from './messages.ts';

/** Bytes of one answer. */
const RANGE = 256 << 10;
const WINDOW = 4;
const KNOWN_MAX = 10_000;

export class Ranges {
  readonly #core: Core;
  readonly #locate: (id: ObjectId, deadline: number) => Promise<string | undefined>;
  /** Where the objects are that pages are asked for. */
  readonly #nodes = new Map<ObjectId, string>();
  asked = 0;
  bytes = 0;

  constructor(core: Core, locate: (id: ObjectId, deadline: number) => Promise<string | undefined>) {
    this.#core = core;
    this.#locate = locate;
  }

  // --- of this node's for others --------------------------------------------------------------------------------------------------

  #owned(id: ObjectId): Handle {
    const { kernel } = this.#core.space;
    kernel.catchUp();
    if (!kernel.has(id) && !this.#core.table.byId.has(id) && wasDeleted(kernel, id)) throw deleted(id);
    if (!kernel.has(id)) throw new TwzError('Stale', `object ${id} is not here`, { id });
    const h = kernel.open(id);
    if (h.kind === KIND.volatile || h.kind === KIND.shared || h.kind === KIND.progressive)
      throw new TwzError('NotSupported', `object ${id} is ${h.kindName}: it does not leave its node`, { id });
    if (h.cold) h.reach();
    return h;
  }

  /** Which objects a family is of. */
  parts({ head }: Said): Uint8Array {
    const { space, table } = this.#core;
    const root = rootOfFamily(space, this.#owned(idIn(head, 'id')));
    const ids = [root.id, ...(table.byId.get(root.id)?.members ?? membersOf(root))];
    const objects = [...new Set(ids)].filter((id) => space.kernel.has(id)).map((id) => this.#owned(id));
    return say({ objects: objects.map(({ id, size, version }) => ({ id, size, version })) });
  }

  /** A range of an object, in that version. */
  range({ head }: Said): Uint8Array {
    const h = this.#owned(idIn(head, 'id'));
    const [version, at, length] = [numberIn(head, 'version'), numberIn(head, 'at'), numberIn(head, 'length')];
    if (h.version !== version)
      throw new TwzError('Stale', `object ${h.id} is at version ${h.version}, and pages of ${version} were asked for`, { id: h.id });
    if (length > RANGE || at + length > h.size) throw strange('it asks for bytes outside of the object');
    const bytes = new Uint8Array(length);
    bytes.set(h.u8.subarray(at, at + length));
    if (at < PAGE) bytes.set(headerOf(h).subarray(at, Math.min(PAGE, at + length)));
    return say({}, bytes);
  }

  // --- of others for this node ----------------------------------------------------------------------------------------------------

  /** What an object is of, whose pages will be asked for. Throws ObjectMissing, NotSupported. */
  async about(id: ObjectId, deadline: number): Promise<readonly PagedFacts[]> {
    const node = this.#core.space.has(id) ? this.#core.id : await this.#locate(id, deadline);
    if (node === undefined) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    const { head } = await this.#ask(node, { do: 'parts', id }, deadline);
    const { objects } = head;
    if (!Array.isArray(objects) || objects.length === 0) throw strange('an object is of nothing');
    if (this.#nodes.size > KNOWN_MAX) this.#nodes.clear();
    return objects.map((each: unknown): PagedFacts => {
      if (!isRecord(each)) throw strange('an object is of what is none');
      const facts = { id: idIn(each, 'id'), size: numberIn(each, 'size'), version: numberIn(each, 'version') };
      this.#nodes.set(facts.id, node);
      return facts;
    });
  }

  /** Pages that were touched. */
  async serve({ object, version, offset, length, ms }: PageRequest): Promise<Uint8Array> {
    const id = isId(object) ? parseId(object) : undefined;
    const node = id === undefined ? undefined : this.#nodes.get(id);
    if (id === undefined || node === undefined) throw new TwzError('Unreachable', `nobody knows where object ${object} is`);
    const deadline = this.#core.clock.now() + ms;
    this.asked++;
    this.bytes += length;
    const all = new Uint8Array(length);
    const starts = Array.from({ length: Math.ceil(length / RANGE) }, (_, i) => i * RANGE);
    await inWindows(starts, WINDOW, async (at) => {
      left(this.#core, deadline, 'getting pages');
      const wanted = Math.min(RANGE, length - at);
      const { body } = await this.#ask(node, { do: 'range', id, version, at: offset + at, length: wanted }, deadline);
      if (body.length !== wanted) throw strange('pages have another length');
      all.set(body, at);
    });
    return all;
  }

  async #ask(node: string, head: Readonly<Record<string, unknown>>, deadline: number): Promise<Said> {
    if (node !== this.#core.id) return this.#core.call(node, head, deadline);
    const said: Said = { head, body: new Uint8Array(0) };
    return hear(head['do'] === 'parts' ? this.parts(said) : this.range(said));
  }
}

/** The metadata page as other nodes are to have it. */
function headerOf(h: Handle): Uint8Array {
  const header = stampedHeader(h);
  if (h.kind === KIND.immutable) return header;
  const words = new Int32Array(header.buffer, header.byteOffset, PAGE / 4);
  words[META.flags >> 2] = (words[META.flags >> 2] as number) & ~FLAG.replica;
  words[META.checksum >> 2] = headerChecksum(words);
  return header;
}
