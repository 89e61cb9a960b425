/**
 * An object as a client of the local server sees it: a mapping of the server's image. What may be written is mapped privately, so that a
 * transaction's stores stay here; what may only be read is mapped so that a store would end this process.
 */
import { TwzError } from '../../abi/errors.ts';
import { FOT, FOT_FLAG, LINE_WORDS, META, PAGE, RIGHT, type Kind } from '../../abi/format.ts';
import type { FotEntry, ObjectHandle, WasmView } from '../../abi/handle.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import type { SyncWords } from '../../abi/sync.ts';
import { entryAt } from '../../kernel/fot.ts';
import type { Slot } from '../../kernel/windows.ts';
import type { ChangedLine } from './frames.ts';
import { IMAGE, IMAGE_STATE } from './image-format.ts';

const NO_VIEW = new DataView(new ArrayBuffer(0));
const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new Int32Array(0);
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What must be asked of the server before a function can go on: it runs again then. */
export type Need =
  | { readonly kind: 'object'; readonly id: ObjectId }
  | { readonly kind: 'name'; readonly path: string }
  | { readonly kind: 'block'; readonly id: ObjectId; readonly size: number }
  | { readonly kind: 'reference'; readonly id: ObjectId; readonly target: ObjectId };

/** Thrown through the program's function. */
export class Needed extends Error {
  readonly need: Need;

  constructor(need: Need) {
    super('something must be asked of the server first');
    this.need = need;
  }
}

/** The client, as its handles need it. */
export interface Home {
  /** The handle of an object that was opened. Throws Needed. */
  find(id: ObjectId): RemoteHandle;
  resolve(path: string): ObjectId;
  /** The handle joins the running transaction. Throws NotInTransaction. */
  join(h: RemoteHandle): void;
  block(h: RemoteHandle, size: number): number;
  giveBack(h: RemoteHandle, at: number): void;
  reference(h: RemoteHandle, target: RemoteHandle): number;
  dropReference(h: RemoteHandle, index: number): void;
  spoil(error: unknown): void;
}

export class RemoteHandle implements ObjectHandle {
  readonly id: ObjectId;
  readonly idWords: Int32Array;
  dv: DataView = NO_VIEW;
  u8: Uint8Array = NO_BYTES;
  words: Int32Array = NO_WORDS;
  size = 0;
  cold = true;
  dirty: Uint8Array = NO_BYTES;
  fot: (RemoteHandle | undefined)[] = [];
  turn = 0;
  used = false;
  judged: object | undefined;
  entered: object | undefined;
  kindName: Kind = 'owned';
  rights = 0;
  version = 0;
  slot: Slot | undefined;
  /** Bytes of the slot that are mapped. */
  mapped = 0;
  /** Why it cannot be used, where that is so. */
  refusal: TwzError | undefined;
  /** Sequence of what the views show. */
  seen = -1;
  /** It is part of the running transaction: the version that it began with. */
  base: number | undefined;
  readonly lines = new Map<number, Int32Array>();
  readonly #home: Home;
  #head: Int32Array = NO_WORDS;

  constructor(home: Home, id: ObjectId) {
    this.#home = home;
    this.id = id;
    const bytes = new Uint8Array(16);
    writeId(bytes, 0, id);
    this.idWords = new Int32Array(bytes.buffer);
  }

  // --- the image ------------------------------------------------------------------------------------------------------------------

  /** Shows an image from now on. */
  place(slot: Slot, mapped: number, rights: number, kind: Kind): void {
    this.slot = slot;
    this.mapped = mapped;
    this.rights = rights;
    this.kindName = kind;
    this.refusal = undefined;
    this.#head = new Int32Array(slot.window.buffer, slot.at, PAGE / 4);
    this.seen = -1;
  }

  /** Lets go of the views. */
  unplace(why: TwzError | undefined): Slot | undefined {
    const { slot } = this;
    this.slot = undefined;
    this.#head = NO_WORDS;
    this.refusal = why;
    this.cold = true;
    this.dv = NO_VIEW;
    this.u8 = NO_BYTES;
    this.words = NO_WORDS;
    this.turn++;
    return slot;
  }

  get sequence(): number {
    return Atomics.load(this.#head, IMAGE.sequence);
  }

  /** Whether its image is one that changes with the object. */
  get state(): 'live' | 'withdrawn' | 'deleted' {
    if (this.slot === undefined) return 'withdrawn';
    const state = Atomics.load(this.#head, IMAGE.state);
    return state === IMAGE_STATE.live ? 'live' : state === IMAGE_STATE.deleted ? 'deleted' : 'withdrawn';
  }

  /** The image has come to this even sequence: takes its size and version over. Throws ServeProtocol. */
  refresh(sequence: number): void {
    const { slot } = this;
    if (slot === undefined || sequence === this.seen) return;
    const head = this.#head;
    const size = Atomics.load(head, IMAGE.size);
    if (size < PAGE || size % PAGE !== 0 || size > this.mapped - PAGE)
      throw new TwzError('ServeProtocol', `the server's image of object ${this.id} says that it has ${size} bytes`);
    this.version = (Atomics.load(head, IMAGE.versionLow) >>> 0) + Atomics.load(head, IMAGE.versionHigh) * 2 ** 32;
    this.seen = sequence;
    this.turn++;
    this.fot = [];
    this.judged = undefined;
    this.entered = undefined;
    if (this.size === size && !this.cold) return;
    this.size = size | 0;
    const { buffer } = slot.window;
    this.dv = new DataView(buffer, slot.at + PAGE, size);
    this.u8 = new Uint8Array(buffer, slot.at + PAGE, size);
    this.words = new Int32Array(buffer, slot.at + PAGE, size >> 2);
    this.dirty = new Uint8Array(size >>> 6);
    this.cold = false;
  }

  warm(): void {
    if (this.cold) this.#home.find(this.id);
  }

  reach(): void {
    this.warm();
  }

  granted(): number {
    return this.rights;
  }

  // --- stores ---------------------------------------------------------------------------------------------------------------------

  mark(at: number): void {
    if (this.cold) this.warm();
    const line = at >>> 6;
    if (this.dirty[line] === 1) return;
    if (this.base === undefined) {
      const { id } = this;
      if (this.kindName === 'immutable') throw new TwzError('ObjectImmutable', `object ${id} is immutable`, { id });
      if ((this.rights & RIGHT.write) === 0)
        throw new TwzError('ObjectForbidden', `object ${id} does not give this client the right to write`, { id, rights: this.rights });
      this.#home.join(this);
      this.base = this.version;
    }
    this.lines.set(line, this.words.slice(line * LINE_WORDS, (line + 1) * LINE_WORDS));
    this.dirty[line] = 1;
  }

  markRange(at: number, length: number): void {
    const last = (at + length - 1) >>> 6;
    for (let line = at >>> 6; line <= last; line++) if (this.dirty[line] !== 1) this.mark(line << 6);
  }

  /** What the transaction changed, by line. */
  changes(): ChangedLine[] {
    const changed: ChangedLine[] = [];
    for (const [line, old] of [...this.lines].sort(([a], [b]) => a - b)) {
      const words = this.words.slice(line * LINE_WORDS, (line + 1) * LINE_WORDS);
      let mask = 0;
      for (let i = 0; i < LINE_WORDS; i += 2) if (words[i] !== old[i] || words[i + 1] !== old[i + 1]) mask |= 1 << (i >>> 1);
      if (mask !== 0) changed.push({ line, mask, words });
    }
    return changed;
  }

  /** The transaction has ended: its private pages go, and the image shows through. */
  leave(): void {
    if (this.base === undefined) return;
    this.base = undefined;
    for (const line of this.lines.keys()) this.dirty[line] = 0;
    if (this.lines.size > 0) this.slot?.window.drop(this.slot.at + PAGE, this.mapped - PAGE);
    this.lines.clear();
    this.turn++;
  }

  allocate(size: number): number {
    const at = this.#home.block(this, size);
    if (at + size > this.size) this.corrupt(at, 'the server gave a block outside the object');
    return at;
  }

  allocateWithin(size: number, limit: number): number {
    // How much it would grow is known where it grows.
    return this.size >= limit ? 0 : this.allocate(size);
  }

  release(at: number): void {
    this.#home.giveBack(this, at);
  }

  // --- references -----------------------------------------------------------------------------------------------------------------

  #entry(index: number): FotEntry | undefined {
    if (index === 0 || index >= this.dv.getUint32(META.fotCount, true)) return undefined;
    const at = entryAt(this, index);
    if (at === 0) return undefined;
    const flags = this.dv.getUint32(at + FOT.flags, true);
    if ((flags & FOT_FLAG.used) === 0) return undefined;
    const count = this.dv.getUint32(at + FOT.count, true);
    if ((flags & FOT_FLAG.name) === 0) return { index, count, id: readId(this.u8, at), path: undefined, resolver: undefined };
    const resolverAt = this.dv.getUint32(at + FOT.resolver, true);
    const path = this.#text(this.dv.getUint32(at, true));
    return { index, count, id: undefined, path, resolver: resolverAt === 0 ? '' : this.#text(resolverAt) };
  }

  #text(at: number): string {
    if (at < PAGE || at + 4 > this.size) return this.corrupt(at, 'a name lies outside the object');
    const length = this.dv.getUint32(at, true);
    if (length > 65536 || at + 4 + length > this.size) return this.corrupt(at, 'a name lies outside the object');
    return decoder.decode(this.u8.slice(at + 4, at + 4 + length));
  }

  *fotEntries(): Generator<FotEntry> {
    if (this.cold) this.warm();
    const end = this.dv.getUint32(META.fotCount, true);
    for (let index = 1; index < end; index++) {
      if (entryAt(this, index) === 0) return;
      const entry = this.#entry(index);
      if (entry !== undefined) yield entry;
    }
  }

  follow(index: number, at: number): RemoteHandle {
    if (this.cold) this.warm();
    const entry = this.#entry(index);
    if (entry === undefined)
      throw new TwzError('FotCorrupt', `object ${this.id} at offset ${at}: the pointer names FOT entry ${index}, which is not in use`, {
        id: this.id,
        at,
        index,
      });
    if (entry.id !== undefined) return this.#home.find(entry.id);
    if (entry.resolver !== '')
      throw new TwzError('ResolverMissing', `object ${this.id} refers to a name by the resolver "${entry.resolver}"`, { id: this.id });
    return this.#home.find(this.#home.resolve(entry.path ?? ''));
  }

  remember(index: number, target: ObjectHandle): void {
    if (target instanceof RemoteHandle && this.#entry(index)?.id !== undefined) this.fot[index] = target;
  }

  refer(target: ObjectHandle): number {
    if (!(target instanceof RemoteHandle))
      throw new TwzError('WrongSpace', `object ${target.id} was not opened by this client`, { id: target.id });
    return target === this ? 0 : this.#home.reference(this, target);
  }

  unrefer(index: number): void {
    this.#home.dropReference(this, index);
  }

  demandTarget(target: ObjectHandle): void {
    if (!(target instanceof RemoteHandle))
      throw new TwzError('WrongSpace', `object ${target.id} was not opened by this client`, { id: target.id });
  }

  spoil(error: unknown): void {
    this.#home.spoil(error);
  }

  /** The object's bytes. What the server stamps when it writes the file is not in them. */
  image(): Uint8Array {
    if (this.cold) this.warm();
    return this.u8.slice();
  }

  pin(): void {
    if (this.cold) this.warm();
  }

  unpin(): void {
    this.used = true;
  }

  // --- what the server alone can do -------------------------------------------------------------------------------------------------

  #not(what: string): never {
    throw new TwzError('NotSupported', `object ${this.id}: a client of the local server cannot ${what}`, { id: this.id });
  }

  parts(): readonly ObjectHandle[] {
    return this.#not('take an object with its parts apart');
  }

  referAsKey(): number {
    return this.#not('store a reference as a key');
  }

  referAsPart(): number {
    return this.#not('let a collection go on in another object');
  }

  unreferPart(): void {
    this.#not('let a collection go on in another object');
  }

  referAs(): number {
    return this.#not('move references between objects');
  }

  referByName(): number {
    return this.#not('bind a reference late');
  }

  extend(): ObjectHandle {
    return this.#not('let a collection go on in another object');
  }

  belongTo(): void {
    this.#not('let a collection go on in another object');
  }

  remove(): void {
    this.#not('remove objects');
  }

  retarget(): void {
    this.#not('point references elsewhere');
  }

  expose(): void {
    this.#not('have raw views');
  }

  unexpose(): void {
    this.#not('have raw views');
  }

  wasm(): WasmView {
    return this.#not('have raw views');
  }

  sync(): SyncWords {
    return this.#not('share words');
  }

  get generation(): number {
    return this.#not('share words');
  }

  corrupt(at: number, reason: string): never {
    throw new TwzError('PointerCorrupt', `object ${this.id} at offset ${at}: ${reason}`, { id: this.id, at });
  }
}
