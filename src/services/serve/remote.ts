/**
 * A space as a client of its local server has it: objects to read, as memory, and transactions.
 *
 *   read(f):      read the sequences of all images, run f, read them again; anew where one has changed
 *   transact(f):  the same, with stores to private pages; then the changed lines are sent with the versions that they are changes of
 *
 * A function meets what the server must be asked first (an object that was not opened yet, a block for a longer text): it is undone, the
 * server is asked, and it runs again.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { PAGE, type Kind } from '../../abi/format.ts';
import { parseId, type ObjectId } from '../../abi/id.ts';
import { chooseHost } from '../../host/choose.ts';
import type { File, Host } from '../../host/host.ts';
import { closeDescriptor } from '../../host/linux/descriptors.ts';
import { MappedWindow } from '../../host/linux/linux.ts';
import type { SigningKey } from '../../kernel/security/keys.ts';
import { Windows } from '../../kernel/windows.ts';
import type { CollectionType } from '../../lib/collections/type.ts';
import { Obj } from '../../lib/object.ts';
import { rootOf } from '../../lib/runtime.ts';
import { accessorAt, type Instance, type Struct } from '../../lib/struct.ts';
import { PROTOCOL_VERSION, bytesIn, encodeChanges, idIn, numberIn, textIn, toHex } from './frames.ts';
import { IMAGE_MAGIC } from './image-format.ts';
import { Needed, RemoteHandle, type Home, type Need } from './remote-handle.ts';
import { proofMessage } from './session.ts';
import { Wire } from './wire.ts';

export interface ConnectOptions {
  /** The context that this client is, and its private key: as it was opened, as text in PEM, or the 32 bytes of its seed. */
  readonly context?: ObjectId;
  readonly key?: Pick<SigningKey, 'sign'> | string | Uint8Array;
  /** Capabilities for that context to show, as `bytes` of theirs gives them. What the context holds needs no showing. */
  readonly capabilities?: readonly Uint8Array[];
  /** Milliseconds to wait for an answer (default 10,000). */
  readonly patience?: number;
}

const PATIENCE_MS = 10_000;
/** How often a function is run anew because others commit, and how often because something must be asked. */
const TRIES = 100;
const NEEDS = 100_000;
/** How often a function is tried at once, before others get their turn. */
const AT_ONCE = 16;

interface Reserved {
  readonly h: RemoteHandle;
  /** The size of a block, or the target of a reference. */
  readonly what: number | ObjectId;
  readonly at: number;
  taken: boolean;
}

/** A transaction that runs. */
class Changing {
  readonly handles = new Set<RemoteHandle>();
  readonly released: (readonly [ObjectId, number])[] = [];
  readonly unreferred: (readonly [ObjectId, number])[] = [];
  readonly durable: boolean;
  spoiled: { readonly error: unknown } | undefined;

  constructor(durable: boolean) {
    this.durable = durable;
  }
}

/** Connects to the server at a local socket. Throws ServeUnreachable, ServeUnproved, ServeProtocol, and what is wrong with a capability. */
export async function connect(socket: string, options: ConnectOptions = {}): Promise<ServedSpace> {
  const host = chooseHost(() => undefined);
  if (host.name !== 'linux') throw new TwzError('NotSupported', `connecting needs the Linux host; this is the ${host.name} one`);
  const space = new ServedSpace(host, socket, options);
  await space.connect();
  return space;
}

/** Use `connect`. */
export class ServedSpace implements Home {
  readonly #host: Host;
  readonly #socket: string;
  readonly #options: ConnectOptions;
  readonly #windows: Windows;
  readonly #handles = new Map<ObjectId, RemoteHandle>();
  readonly #names = new Map<string, ObjectId>();
  readonly #shown: Uint8Array[];
  #blocks: Reserved[] = [];
  #references: Reserved[] = [];
  #wire: Wire | undefined;
  #changing: Changing | undefined;
  #need: Need | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** A function of the program runs. */
  #running = false;
  #closed = false;

  constructor(host: Host, socket: string, options: ConnectOptions) {
    this.#host = host;
    this.#socket = socket;
    this.#options = options;
    this.#shown = [...(options.capabilities ?? [])];
    this.#windows = new Windows(host, 1024);
  }

  // --- the connection -------------------------------------------------------------------------------------------------------------

  /** Connects, or connects anew: proves who it is, and shows what it has. */
  async connect(): Promise<Wire> {
    if (this.#closed) throw new TwzError('SpaceClosed', 'the client was closed');
    if (this.#wire?.gone === false) return this.#wire;
    this.#wire?.close();
    this.#wire = undefined;
    const wire = new Wire(this.#socket, this.#options.patience ?? PATIENCE_MS);
    try {
      const { head } = await wire.ask('hello', { version: PROTOCOL_VERSION });
      const { context } = this.#options;
      if (context !== undefined) {
        const signature = this.#sign(proofMessage(bytesIn(head, 'nonce', 64), bytesIn(head, 'space', 64)));
        await wire.ask('prove', { context, signature: toHex(signature) });
      }
      for (const each of this.#shown) await wire.ask('show', { capability: toHex(each) });
    } catch (error) {
      wire.close();
      throw error;
    }
    // What another server had reserved is not this one's; and its images are opened anew when they are used.
    this.#blocks = [];
    this.#references = [];
    this.#names.clear();
    for (const h of this.#handles.values()) this.#forget(h, undefined);
    this.#wire = wire;
    return wire;
  }

  #sign(message: Uint8Array): Uint8Array {
    const { key } = this.#options;
    const { ed25519 } = this.#host;
    if (key === undefined) throw new TwzError('InvalidArgument', 'to be a context takes its key');
    if (typeof key === 'object' && 'sign' in key) return key.sign(message);
    return ed25519.signer(typeof key === 'string' ? ed25519.fromPem(key) : key)(message);
  }

  /** Shows the server another capability. */
  async show(capability: Uint8Array): Promise<void> {
    const wire = await this.connect();
    await wire.ask('show', { capability: toHex(capability) });
    this.#shown.push(capability);
  }

  /** Is there a server that answers? Without it images stay as they are. */
  get connected(): boolean {
    return this.#wire?.gone === false;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wire?.close();
    for (const h of this.#handles.values()) h.unplace(new TwzError('SpaceClosed', 'the client was closed', { id: h.id }));
    this.#windows.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // --- opening --------------------------------------------------------------------------------------------------------------------

  /** The root of an object. Throws ObjectMissing, ObjectForbidden, TypeMismatch, ServeGone, ServeUnreachable, ServeLimit. */
  async get<C, I>(id: ObjectId, type: CollectionType<C, I>): Promise<C>;
  async get<F>(id: ObjectId, type: Struct<F>): Promise<Instance<F>>;
  async get<F>(id: ObjectId, type: Struct<F>): Promise<Instance<F>> {
    return this.read(() => {
      const h = this.find(parseId(id));
      return accessorAt(type, h, rootOf(h, type));
    });
  }

  async object(id: ObjectId): Promise<Obj> {
    return this.read(() => new Obj(this.find(parseId(id))));
  }

  /** What a path names, where this client may read it. */
  async lookup(path: string): Promise<ObjectId | undefined> {
    const { head } = await (await this.connect()).ask('lookup', { path });
    return head['object'] === undefined ? undefined : idIn(head, 'object');
  }

  /** Lets go of an object: it is opened anew when it is used again. */
  async release(id: ObjectId): Promise<void> {
    const h = this.#handles.get(id);
    if (h?.slot === undefined) return;
    this.#forget(h, undefined);
    if (this.connected) await this.#wire?.ask('close', { object: id });
  }

  #forget(h: RemoteHandle, why: TwzError | undefined): void {
    const slot = h.unplace(why);
    if (slot !== undefined) this.#windows.give(slot, true);
  }

  async #open(id: ObjectId): Promise<void> {
    const wire = await this.connect();
    const { head, descriptor } = await wire.ask('open', { object: id });
    if (descriptor === undefined) throw new TwzError('ServeProtocol', 'the server opens an object and gives no descriptor');
    const h = this.#handles.get(id) ?? new RemoteHandle(this, id);
    try {
      this.#map(h, descriptor as File, numberIn(head, 'bytes', 2 ** 32), numberIn(head, 'rights', 7), kindIn(textIn(head, 'kind', 16)));
    } finally {
      closeDescriptor(descriptor);
    }
    this.#handles.set(id, h);
  }

  #map(h: RemoteHandle, file: File, bytes: number, rights: number, kind: Kind): void {
    if (bytes < 2 * PAGE || this.#host.length(file) !== bytes) throw new TwzError('ServeProtocol', `an image of ${bytes} bytes`);
    const slot = this.#windows.take(bytes);
    if (slot === undefined || !(slot.window instanceof MappedWindow))
      throw new TwzError('ServeLimit', 'there is no address space for another image: release some');
    slot.window.show(slot.at, bytes, file, kind === 'immutable' || (rights & 2) === 0 ? 'read' : 'private');
    if (new Int32Array(slot.window.buffer, slot.at, 1)[0] !== IMAGE_MAGIC) {
      this.#windows.give(slot, true);
      throw new TwzError('ServeProtocol', 'what the server gave is no image');
    }
    this.#forget(h, undefined);
    h.place(slot, bytes, rights, kind);
  }

  // --- reading and changing -------------------------------------------------------------------------------------------------------

  /**
   * Runs a plain synchronous function that sees all objects as one commit left them, and returns what it returns. It may run more than
   * once. What it returns is not watched over: a field that is read later is read then.
   */
  read<T>(body: () => T): Promise<T> {
    return this.#inTurn(() => this.#run(body, undefined));
  }

  /**
   * Runs a plain synchronous function as a transaction that the server commits, and returns what it returned. It may run more than once,
   * with its stores undone in between. Survives the death of the server at once, and a power failure some 10 ms later; `durable`: when it resolves.
   * Throws ObjectForbidden, TransactionOvertaken, ServeGone: then it is not known whether it was committed.
   */
  transact<T>(body: () => T, { durable = false }: { readonly durable?: boolean } = {}): Promise<T> {
    return this.#inTurn(async () => {
      for (let tries = 1; ; tries++) {
        const changing = new Changing(durable);
        try {
          return await this.#run(body, changing);
        } catch (error) {
          if (tries >= TRIES || !isTwzError(error, 'TransactionOvertaken')) throw error;
        }
      }
    });
  }

  /** One after the other: they share the images. */
  #inTurn<T>(what: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(what);
    // Whoever called learns of it; the next one has its turn all the same.
    this.#turn = Promise.allSettled([turn]);
    return turn;
  }

  async #run<T>(body: () => T, changing: Changing | undefined): Promise<T> {
    let needs = 0;
    const patience = this.#options.patience ?? PATIENCE_MS;
    const end = this.#host.now() + patience;
    for (let tries = 1; ; tries++) {
      await this.#current();
      const before = this.#sequences();
      const outcome = before === undefined ? undefined : this.#attempt(body, changing);
      const need = this.#need;
      this.#need = undefined;
      if (outcome !== undefined && before !== undefined && need === undefined && this.#unchanged(before)) {
        if ('error' in outcome) {
          this.#undo(changing);
          throw outcome.error;
        }
        if (changing !== undefined) await this.#commit(changing);
        return outcome.value;
      }
      this.#undo(changing);
      if (need !== undefined) {
        if (++needs > NEEDS) throw new TwzError('ServeLimit', `a function needed more than ${NEEDS} things of the server`);
        await this.#satisfy(need);
      } else if (this.#host.now() > end) {
        throw new TwzError('TransactionOvertaken', `others changed what the function looked at for ${patience} ms, each time that it ran`);
      } else if (tries % AT_ONCE === 0) await new Promise<void>((resolve) => this.#host.soon(resolve));
    }
  }

  #attempt<T>(body: () => T, changing: Changing | undefined): { readonly value: T } | { readonly error: unknown } {
    this.#changing = changing;
    this.#running = true;
    for (const each of [...this.#blocks, ...this.#references]) each.taken = false;
    try {
      const value = body();
      if (typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function')
        throw new TwzError('TransactionAsync', 'the function returned a promise; nothing was changed');
      if (changing?.spoiled !== undefined) throw changing.spoiled.error;
      return { value };
    } catch (error) {
      return { error };
    } finally {
      this.#changing = undefined;
      this.#running = false;
    }
  }

  /** All images that are held are those of now, and the server is there. */
  async #current(): Promise<void> {
    await this.connect();
    for (const h of this.#handles.values()) {
      if (h.slot === undefined) continue;
      const { state } = h;
      if (state === 'live') continue;
      const { id } = h;
      this.#forget(h, state === 'deleted' ? new TwzError('ObjectDeleted', `object ${id} was deleted`, { id }) : undefined);
    }
  }

  /** The sequence of each image, if nothing is being changed just now. */
  #sequences(): Map<RemoteHandle, number> | undefined {
    const sequences = new Map<RemoteHandle, number>();
    for (const h of this.#handles.values()) {
      if (h.slot === undefined) continue;
      const { sequence } = h;
      if (sequence % 2 !== 0) return undefined;
      sequences.set(h, sequence);
    }
    for (const [h, sequence] of sequences) h.refresh(sequence);
    return sequences;
  }

  #unchanged(before: ReadonlyMap<RemoteHandle, number>): boolean {
    // What was loaded was loaded before the sequences are looked at again, on every processor.
    Atomics.add(FENCE, 0, 0);
    for (const [h, sequence] of before) if (h.sequence !== sequence || h.state !== 'live') return false;
    return true;
  }

  async #satisfy(need: Need): Promise<void> {
    const wire = await this.connect();
    switch (need.kind) {
      case 'object':
        await this.#open(need.id);
        return;
      case 'name': {
        const id = await this.lookup(need.path);
        if (id === undefined)
          throw new TwzError('NameUnresolved', `nothing that this client may read has the name "${need.path}"`, { path: need.path });
        this.#names.set(need.path, id);
        return;
      }
      case 'block': {
        const { head } = await wire.ask('allocate', { object: need.id, size: need.size });
        this.#blocks.push({ h: this.find(need.id), what: need.size, at: numberIn(head, 'at', 2 ** 30), taken: false });
        return;
      }
      case 'reference': {
        const { head } = await wire.ask('refer', { object: need.id, target: need.target });
        this.#references.push({ h: this.find(need.id), what: need.target, at: numberIn(head, 'index', 2 ** 24), taken: false });
      }
    }
  }

  async #commit(changing: Changing): Promise<void> {
    const handles = [...changing.handles];
    const changes = handles.map((h) => ({ id: h.id, base: h.base ?? 0, lines: h.changes() }));
    const [released, unreferred] = [[...changing.released], [...changing.unreferred]];
    const [used, referred] = [this.#blocks.filter(({ taken }) => taken), this.#references.filter(({ taken }) => taken)];
    // Until the server has committed it, it is nobody's to see.
    this.#undo(changing);
    if (released.length + unreferred.length === 0 && changes.every(({ lines }) => lines.length === 0)) return;
    const places = (reserved: readonly Reserved[]): unknown[] => reserved.map(({ h, at }) => [h.id, at]);
    const head = { released, unreferred, used: places(used), referred: places(referred), durable: changing.durable };
    const wire = await this.connect();
    await wire.ask('commit', head, encodeChanges(changes));
    this.#blocks = this.#blocks.filter((each) => !used.includes(each));
    this.#references = this.#references.filter((each) => !referred.includes(each));
    await this.#show(handles);
  }

  /** Who reads a field next finds what was committed, though the image be another by now. */
  async #show(handles: readonly RemoteHandle[]): Promise<void> {
    try {
      await this.#current();
      for (const h of handles) if (h.cold && h.refusal === undefined) await this.#open(h.id);
      this.#sequences();
    } catch (error) {
      // It is committed all the same. What is wrong will be found by whoever reads it.
      if (!isTwzError(error)) throw error;
    }
  }

  #undo(changing: Changing | undefined): void {
    if (changing === undefined) return;
    for (const h of changing.handles) h.leave();
    changing.handles.clear();
    changing.spoiled = undefined;
    changing.released.length = 0;
    changing.unreferred.length = 0;
  }

  // --- for handles ----------------------------------------------------------------------------------------------------------------

  #ask(need: Need): never {
    if (!this.#running)
      throw new TwzError('StaleReference', 'an object that is not open any more: use it in a function for `read` or `transact`');
    this.#need ??= need;
    throw new Needed(need);
  }

  find(id: ObjectId): RemoteHandle {
    const h = this.#handles.get(id);
    if (h === undefined || h.cold) {
      if (h?.refusal !== undefined) throw h.refusal;
      return this.#ask({ kind: 'object', id });
    }
    return h;
  }

  resolve(path: string): ObjectId {
    return this.#names.get(path) ?? this.#ask({ kind: 'name', path });
  }

  join(h: RemoteHandle): void {
    if (this.#changing === undefined)
      throw new TwzError('NotInTransaction', `object ${h.id} was stored to outside a transaction`, { id: h.id });
    this.#changing.handles.add(h);
  }

  /** Metadata that is the server's to change: the object must be part of the transaction all the same. */
  #joined(h: RemoteHandle): Changing {
    h.mark(0);
    if (this.#changing === undefined)
      throw new TwzError('NotInTransaction', `object ${h.id} was changed outside a transaction`, { id: h.id });
    return this.#changing;
  }

  block(h: RemoteHandle, size: number): number {
    this.#joined(h);
    const found = this.#blocks.find((each) => !each.taken && each.h === h && each.what === size);
    if (found === undefined) return this.#ask({ kind: 'block', id: h.id, size });
    found.taken = true;
    return found.at;
  }

  giveBack(h: RemoteHandle, at: number): void {
    const { released } = this.#joined(h);
    const found = this.#blocks.find((each) => each.taken && each.h === h && each.at === at);
    if (found !== undefined) {
      found.taken = false;
      // Whoever takes it again finds it as it was.
      h.markRange(at, Number(found.what));
      h.u8.fill(0, at, at + Number(found.what));
    } else released.push([h.id, at]);
  }

  reference(h: RemoteHandle, target: RemoteHandle): number {
    this.#joined(h);
    const found = this.#references.find((each) => !each.taken && each.h === h && each.what === target.id);
    if (found === undefined) return this.#ask({ kind: 'reference', id: h.id, target: target.id });
    found.taken = true;
    return found.at;
  }

  dropReference(h: RemoteHandle, index: number): void {
    const { unreferred } = this.#joined(h);
    const found = this.#references.find((each) => each.taken && each.h === h && each.at === index);
    if (found !== undefined) found.taken = false;
    else unreferred.push([h.id, index]);
  }

  spoil(error: unknown): void {
    if (this.#changing !== undefined) this.#changing.spoiled ??= { error };
  }
}

const FENCE = new Int32Array(new SharedArrayBuffer(4));

function kindIn(text: string): Kind {
  if (text === 'owned' || text === 'immutable') return text;
  throw new TwzError('ServeProtocol', `the server serves an object that is ${text}`);
}
