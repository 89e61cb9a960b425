/** A place in ordinary memory where a record can be made and judged before anything of it is stored: an object to accessors, to none else. */
import { TwzError } from '../../abi/errors.ts';
import { PAGE, RIGHT, type Kind } from '../../abi/format.ts';
import type { FotEntry, ObjectHandle, WasmView } from '../../abi/handle.ts';

/** What it is made for. Without it, what may be referred to is not asked. */
type ScratchHome = Pick<ObjectHandle, 'id' | 'kindName'> & Partial<Pick<ObjectHandle, 'demandTarget'>>;

export class ScratchObject implements ObjectHandle {
  readonly id: ObjectHandle['id'];
  /** Nothing can name it. */
  readonly idWords: Int32Array = new Int32Array(4);
  dv: DataView;
  u8: Uint8Array;
  /** Nothing is dirty, so that every store asks `mark`, which does nothing. */
  readonly dirty: Uint8Array = new Uint8Array(0);
  readonly fot: (ObjectHandle | undefined)[] = [undefined];
  readonly cold: boolean = false;
  readonly rights: number = RIGHT.read;
  readonly version: number = 0;
  readonly turn = 0;
  readonly kindName: Kind;
  used = false;
  judged: object | undefined;
  entered: object | undefined;
  readonly #home: ScratchHome;
  #end: number = PAGE;

  /** For content that shall go to `home`. */
  constructor(home: ScratchHome, u8: Uint8Array = new Uint8Array(PAGE * 2)) {
    this.#home = home;
    this.id = home.id;
    this.kindName = home.kindName;
    this.u8 = u8;
    this.dv = new DataView(u8.buffer, u8.byteOffset, u8.length);
  }

  get size(): number {
    return this.u8.length;
  }

  granted(): number {
    return this.rights;
  }

  warm(): void {
    this.used = true;
  }

  reach(): void {
    this.used = true;
  }

  mark(): void {
    this.used = true;
  }

  markRange(): void {
    this.used = true;
  }

  allocate(size: number): number {
    const at = this.#end;
    this.#end = (at + size + 15) & ~15;
    if (this.#end > this.u8.length) {
      const u8 = new Uint8Array(this.#end * 2);
      u8.set(this.u8);
      this.u8 = u8;
      this.dv = new DataView(u8.buffer);
    }
    return at;
  }

  allocateWithin(size: number, limit: number): number {
    return this.#end + size > limit ? 0 : this.allocate(size);
  }

  /** All of it goes at once. */
  release(): void {
    this.used = true;
  }

  follow(index: number, at: number): ObjectHandle {
    return this.fot[index] ?? this.corrupt(at, 'a reference by name has no target before it is stored');
  }

  remember(index: number, target: ObjectHandle): void {
    this.fot[index] = target;
  }

  refer(target: ObjectHandle): number {
    if (target === this) return 0;
    const known = this.fot.indexOf(target, 1);
    return known > 0 ? known : this.fot.push(target) - 1;
  }

  referAsKey(target: ObjectHandle): number {
    return this.refer(target);
  }

  referAsPart(): number {
    return this.#refuse();
  }

  unreferPart(): void {
    this.#refuse();
  }

  parts(): readonly ObjectHandle[] {
    return [];
  }

  demandTarget(target: ObjectHandle): void {
    this.#home.demandTarget?.(target);
  }

  /** Nothing of it is stored. */
  spoil(): void {
    this.used = true;
  }

  referAs(from: ObjectHandle, index: number): number {
    return this.refer(from.follow(index, 0));
  }

  referByName(): number {
    return this.fot.push(undefined) - 1;
  }

  unrefer(): void {
    this.used = true;
  }

  fotEntries(): Iterable<FotEntry> {
    return [];
  }

  extend(): ObjectHandle {
    throw new TwzError('ObjectTooLarge', 'a record of an indexed map is too large to be judged before it is stored', { id: this.id });
  }

  belongTo(): void {
    this.#refuse();
  }

  remove(): void {
    this.#refuse();
  }

  retarget(): void {
    this.#refuse();
  }

  expose(): void {
    this.#refuse();
  }

  unexpose(): void {
    this.#refuse();
  }

  wasm(): WasmView {
    return this.#refuse();
  }

  pin(): void {
    this.used = true;
  }

  unpin(): void {
    this.used = true;
  }

  sync(): never {
    return this.#refuse();
  }

  get generation(): number {
    return this.#refuse();
  }

  image(): Uint8Array {
    return this.#refuse();
  }

  corrupt(at: number, reason: string): never {
    throw new TwzError('PointerCorrupt', `a record that is not stored yet, at ${at}: ${reason}`, { at });
  }

  #refuse(): never {
    throw new TwzError('NotSupported', 'a draft is no object: nothing but its fields can be used');
  }
}
