/**
 * One client of the local server. Whatever it sends is judged: lengths and shapes by frames.ts, rights at each request, bounds and versions
 * at each commit. What is wrong with a request is its answer; what is no frame ends the connection.
 */
import { ERRORS, TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND, LINE, PAGE_KIND, RIGHT } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { LocalLink } from '../../host/local-sockets.ts';
import { verifyingKey } from '../../kernel/security/keys.ts';
import { keyOf } from '../../kernel/security/records.ts';
import { pageEntry } from '../../kernel/allocator.ts';
import type { Handle } from '../../kernel/object.ts';
import { enter } from '../../kernel/transaction.ts';
import type { Space } from '../../space.ts';
import {
  Assembler,
  PROTOCOL_VERSION,
  bytesIn,
  decodeChanges,
  encodeFrame,
  idIn,
  numberIn,
  placesIn,
  textIn,
  toHex,
  type Changes,
  type ServeFrame,
} from './frames.ts';
import type { Holder, Image, Images } from './images.ts';
import type { Judge, Peer } from './judge.ts';

export interface SessionLimits {
  /** Images that one client has at a time. */
  readonly images: number;
  /** Capabilities that one client has shown. */
  readonly capabilities: number;
  /** Blocks and references that a client has asked for and not used yet. */
  readonly reserved: number;
}

export const SESSION_LIMITS: SessionLimits = { images: 4096, capabilities: 1024, reserved: 256 };

const CAPABILITY_BYTES = 4096;
const BLOCK_BYTES = 1 << 20;
/** Requests that wait here; the rest waits in the socket. */
const QUEUE_MAX = 16;
const UNSENT_MAX = 1 << 20;

/** What a client signs to prove that it has a key. */
export function proofMessage(nonce: Uint8Array, space: Uint8Array): Uint8Array {
  const words = new TextEncoder().encode('twizzler local server\0');
  const message = new Uint8Array(words.length + nonce.length + space.length);
  message.set(words, 0);
  message.set(nonce, words.length);
  message.set(space, words.length + nonce.length);
  return message;
}

type Answer = Readonly<Record<string, unknown>>;

export class Session implements Holder {
  readonly #space: Space;
  readonly #judge: Judge;
  readonly #images: Images;
  readonly #link: LocalLink;
  readonly #limits: SessionLimits;
  readonly #assembler = new Assembler();
  readonly #queue: ServeFrame[] = [];
  readonly #held = new Map<ObjectId, Image>();
  readonly #capabilities: Uint8Array[] = [];
  /** Blocks by object, and references by object, that it has asked for. */
  readonly #blocks = new Map<string, { readonly id: ObjectId; readonly at: number }>();
  readonly #references: { readonly id: ObjectId; readonly at: number }[] = [];
  #nonce: Uint8Array | undefined;
  #context: ObjectId | undefined;
  /** What came after the last frame of the queue is none. */
  #failure: TwzError | undefined;
  #pumping = false;
  #ended = false;

  constructor(space: Space, judge: Judge, images: Images, link: LocalLink, limits: SessionLimits, gone: () => void) {
    this.#space = space;
    this.#judge = judge;
    this.#images = images;
    this.#link = link;
    this.#limits = limits;
    link.listen(
      (bytes) => this.#hear(bytes),
      () => {
        this.end();
        gone();
      },
    );
  }

  get peer(): Peer {
    return { credentials: this.#link.peer, context: this.#context, capabilities: this.#capabilities };
  }

  // --- as a holder of images ------------------------------------------------------------------------------------------------------

  #rightsTo(h: Handle): number {
    if (h.cold) h.warm();
    return this.#judge.rightsTo(h, this.peer);
  }

  mayRead(h: Handle): boolean {
    return (this.#rightsTo(h) & RIGHT.read) !== 0;
  }

  lost(id: ObjectId): void {
    this.#held.delete(id);
  }

  // --- frames ---------------------------------------------------------------------------------------------------------------------

  #hear(bytes: Uint8Array): void {
    if (this.#ended || this.#failure !== undefined) return;
    try {
      for (const frame of this.#assembler.add(bytes)) this.#queue.push(frame);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      // What came before is answered first.
      this.#failure = error;
    }
    if (this.#queue.length >= QUEUE_MAX) this.#link.pause();
    if (!this.#pumping) void this.#pump();
  }

  /** Nothing sensible can follow: it is told why, and cut off. */
  #refuse(error: TwzError): void {
    if (this.#ended) return;
    this.end();
    this.#link.write(encodeFrame({ re: 0, error: error.toJSON() }));
    this.#link.end();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    for (let frame = this.#queue.shift(); frame !== undefined && !this.#ended; frame = this.#queue.shift()) {
      await this.#answer(frame);
      if (this.#link.waiting > UNSENT_MAX) await this.#link.drained();
      if (this.#queue.length === 0) this.#link.resume();
    }
    this.#pumping = false;
    if (this.#failure !== undefined) this.#refuse(this.#failure);
  }

  async #answer(frame: ServeFrame): Promise<void> {
    let re = 0;
    try {
      re = numberIn(frame.head, 're');
      const what = textIn(frame.head, 'ask', 32);
      if (this.#nonce === undefined && what !== 'hello') throw new TwzError('ServeProtocol', 'the first request is "hello"');
      if (what === 'open') {
        for (let sent = false; !sent && !this.#ended;) {
          const { image, answer } = this.#open(frame);
          sent = await this.#link.writeDescriptor(encodeFrame({ re, ...answer }), () => (image.gone ? undefined : image.end));
        }
      } else {
        const answer = this.#simple(what, frame);
        if (what === 'commit' && frame.head['durable'] === true) await this.#space.syncAsync();
        this.#link.write(encodeFrame({ re, ...answer }));
      }
    } catch (error) {
      if (!isTwzError(error)) throw error;
      if (re === 0) this.#refuse(error);
      else this.#link.write(encodeFrame({ re, error: shown(error) }));
    }
  }

  #simple(what: string, { head, body }: ServeFrame): Answer {
    switch (what) {
      case 'hello':
        return this.#hello(head);
      case 'prove':
        return this.#prove(head);
      case 'show':
        return this.#show(head);
      case 'close':
        return this.#close(head);
      case 'lookup':
        return this.#lookup(head);
      case 'allocate':
        return this.#allocate(head);
      case 'refer':
        return this.#refer(head);
      case 'commit':
        return this.#commit(head, body);
      default:
        throw new TwzError('ServeProtocol', `there is no request "${what}"`);
    }
  }

  // --- who it is ------------------------------------------------------------------------------------------------------------------

  #hello(head: ServeFrame['head']): Answer {
    const version = numberIn(head, 'version');
    if (version !== PROTOCOL_VERSION)
      throw new TwzError('ServeProtocol', `the client speaks version ${version}; this server speaks ${PROTOCOL_VERSION}`, { version });
    const { kernel } = this.#space;
    this.#nonce ??= kernel.host.random(32);
    return { version: PROTOCOL_VERSION, space: toHex(kernel.spaceId), nonce: toHex(this.#nonce), user: this.#link.peer.uid };
  }

  /** It is the context whose key has signed what was drawn for this connection. */
  #prove(head: ServeFrame['head']): Answer {
    const { kernel } = this.#space;
    const context = idIn(head, 'context');
    const signature = bytesIn(head, 'signature', 64);
    const h = this.#there(context);
    const id = keyOf(h);
    const key = id === undefined ? undefined : verifyingKey(kernel, id);
    const message = proofMessage(this.#nonce ?? new Uint8Array(0), kernel.spaceId);
    if (key === undefined || signature.length !== 64 || !kernel.host.ed25519.verify(key, message, signature))
      throw new TwzError('ServeUnproved', `the signature is not by the key of context ${context}`, { context });
    this.#context = context;
    return {};
  }

  #show(head: ServeFrame['head']): Answer {
    if (this.#capabilities.length >= this.#limits.capabilities)
      throw new TwzError('ServeLimit', `a client shows ${this.#limits.capabilities} capabilities at most`);
    const capability = bytesIn(head, 'capability', CAPABILITY_BYTES);
    this.#judge.accept(capability, this.peer);
    this.#capabilities.push(capability);
    return {};
  }

  // --- reading --------------------------------------------------------------------------------------------------------------------

  /** An object that it has the right to. Throws ObjectMissing, ObjectForbidden. */
  #demand(id: ObjectId, right: keyof typeof RIGHT): Handle {
    const { kernel } = this.#space;
    kernel.catchUp();
    const h = this.#there(id);
    const rights = this.#rightsTo(h);
    if ((rights & RIGHT[right]) === 0)
      throw new TwzError('ObjectForbidden', `object ${id} does not give this client the right to ${right}`, { id, rights });
    return h;
  }

  /** Handles are kept: none is made for what is not there. */
  #there(id: ObjectId): Handle {
    const { kernel } = this.#space;
    if (!kernel.has(id)) throw new TwzError('ObjectMissing', `object ${id} is not in the space`, { id });
    return kernel.open(id);
  }

  #open({ head }: ServeFrame): { readonly image: Image; readonly answer: Answer } {
    const id = idIn(head, 'object');
    const h = this.#demand(id, 'read');
    if (!this.#held.has(id) && this.#held.size >= this.#limits.images)
      throw new TwzError('ServeLimit', `a client has ${this.#limits.images} images at most`);
    const image = this.#images.hold(h, this);
    this.#held.set(id, image);
    return { image, answer: { bytes: 2 ** image.slot.order, rights: this.#rightsTo(h), defaults: h.rights, kind: h.kindName } };
  }

  #close(head: ServeFrame['head']): Answer {
    const id = idIn(head, 'object');
    const image = this.#held.get(id);
    if (image === undefined) return {};
    this.#held.delete(id);
    this.#images.release(image, this);
    return {};
  }

  /** What a path names, where it may be read. A name that leads to something else is told as one that is not there. */
  #lookup(head: ServeFrame['head']): Answer {
    const id = this.#space.names.lookup(textIn(head, 'path'));
    if (id === undefined) return {};
    const { kernel } = this.#space;
    return kernel.has(id) && this.mayRead(kernel.open(id)) ? { object: id } : {};
  }

  // --- writing --------------------------------------------------------------------------------------------------------------------

  /** Makes an object that it may write part of the running transaction, whatever its default rights. */
  #enlist(id: ObjectId): Handle {
    const h = this.#demand(id, 'write');
    if (h.kind === KIND.immutable) throw new TwzError('ObjectImmutable', `object ${id} is immutable`, { id });
    const { kernel } = this.#space;
    const { transaction } = kernel;
    if (transaction === undefined) throw new TwzError('NotInTransaction', 'a commit outside a transaction');
    enter(kernel, transaction, h);
    return h;
  }

  #reserve(): void {
    if (this.#blocks.size + this.#references.length >= this.#limits.reserved)
      throw new TwzError('ServeLimit', `a client has ${this.#limits.reserved} blocks and references at most that it has not used`);
  }

  /** A block for what the client is about to store. It is its own until a commit says that it is used. */
  #allocate(head: ServeFrame['head']): Answer {
    const id = idIn(head, 'object');
    const size = numberIn(head, 'size', BLOCK_BYTES);
    if (size === 0) throw new TwzError('ServeProtocol', 'a block of no bytes');
    this.#reserve();
    const at = this.#space.relaxed(() => this.#enlist(id).allocate(size));
    this.#blocks.set(`${id} ${at}`, { id, at });
    this.#images.flush();
    return { at };
  }

  /** The index by which one object refers to another, counted once. Who passes a reference on need not be able to follow it. */
  #refer(head: ServeFrame['head']): Answer {
    const id = idIn(head, 'object');
    const target = idIn(head, 'target');
    this.#reserve();
    const at = this.#space.relaxed(() => this.#enlist(id).refer(this.#there(target)));
    if (at !== 0) this.#references.push({ id, at });
    this.#images.flush();
    return { index: at };
  }

  #commit(head: ServeFrame['head'], body: Uint8Array): Answer {
    const changes = decodeChanges(body);
    const released = placesIn(head, 'released', 4096);
    const unreferred = placesIn(head, 'unreferred', 4096);
    const [used, referred] = [placesIn(head, 'used', 4096), placesIn(head, 'referred', 4096)];
    this.#space.relaxed(() => {
      const joined = new Map(changes.map((each) => [each.id, this.#judged(each)]));
      for (const each of changes) store(this.#joined(joined, each.id), each);
      for (const { id, at } of released) this.#joined(joined, id).release(at);
      for (const { id, at } of unreferred) this.#joined(joined, id).unrefer(at);
    });
    for (const { id, at } of used) this.#blocks.delete(`${id} ${at}`);
    for (const { id, at } of referred) {
      const found = this.#references.findIndex((each) => each.id === id && each.at === at);
      if (found >= 0) this.#references.splice(found, 1);
    }
    // Before the answer: who has it finds what it committed in its images.
    this.#images.flush();
    const { kernel } = this.#space;
    kernel.log.pace();
    return { versions: Object.fromEntries(changes.map(({ id }) => [id, kernel.open(id).version])) };
  }

  #judged({ id, base }: Changes): Handle {
    const h = this.#enlist(id);
    if (h.version !== base)
      throw new TwzError('TransactionOvertaken', `object ${id} is at version ${h.version}, and the changes are of ${base}`, {
        id,
        version: h.version,
        base,
      });
    return h;
  }

  #joined(joined: ReadonlyMap<ObjectId, Handle>, id: ObjectId): Handle {
    const h = joined.get(id);
    if (h === undefined) throw new TwzError('ServeProtocol', `the commit gives back places in object ${id}, and no version of it`);
    return h;
  }

  // --- end ------------------------------------------------------------------------------------------------------------------------

  /** What it held is let go of; what it had asked for and not used is given back. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue.length = 0;
    for (const image of this.#held.values()) this.#images.release(image, this);
    this.#held.clear();
    if (!this.#space.closed) for (const { id, at } of this.#blocks.values()) this.#giveBack(id, (h) => h.release(at));
    if (!this.#space.closed) for (const { id, at } of this.#references) this.#giveBack(id, (h) => h.unrefer(at));
    this.#blocks.clear();
    this.#references.length = 0;
  }

  #giveBack(id: ObjectId, how: (h: Handle) => void): void {
    const { kernel } = this.#space;
    try {
      this.#space.relaxed(() => {
        const h = kernel.open(id);
        if (kernel.transaction !== undefined) enter(kernel, kernel.transaction, h);
        how(h);
      });
    } catch (error) {
      // The object is gone, or the client has stored something else where the block was.
      if (!isTwzError(error)) throw error;
    }
  }
}

/** Where the program's data lies: blocks. Metadata, the table of references and the map of pages are the server's own. */
const DATA: ReadonlySet<number> = new Set([PAGE_KIND.span, PAGE_KIND.largeHead, PAGE_KIND.largeRest]);

function store(h: Handle, { id, lines }: Changes): void {
  let known = -1;
  for (const { line, mask, words } of lines) {
    const at = line * LINE;
    const page = at >>> 12;
    if (at + LINE > h.size)
      throw new TwzError('OutOfRange', `line ${line} lies outside of object ${id}, which has ${h.size} bytes`, { id, at, size: h.size });
    if (page !== known && !DATA.has(pageEntry(h, page) & 15))
      throw new TwzError('ObjectForbidden', `line ${line} of object ${id} is none of a block: that is not a client's to change`, {
        id,
        at,
      });
    known = page;
    h.mark(at);
    for (let i = 0; i < words.length; i++) if ((mask & (1 << (i >>> 1))) !== 0) h.words[at / 4 + i] = words[i] as number;
  }
}

/** An error as a client gets it. Errors of the server's own system are told without paths. */
function shown(error: TwzError): object {
  if (ERRORS[error.name].category !== 'storage' && ERRORS[error.name].category !== 'host') return error.toJSON();
  return { error: error.name, code: error.code, category: error.category, message: 'the server failed', context: {} };
}
