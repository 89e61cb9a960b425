/**
 * The view of a compartment: its own 4 GiB of address space, in which its heap and the objects lie that it has mapped.
 *
 *   immutable, in its file   the file, for reading
 *   shared                   the file itself: stores are everyone's at once
 *   others                   the image that the kernel's handle has, privately: loads see what the handle sees; a page that is stored to is copied
 *
 * Stores to the latter are possible only while a transaction runs. Whenever the program gives way to the host then, `collect` compares the
 * copied pages with the image, makes ordinary stores of what differs, and drops the copies. So what other programs and the host see and
 * what this one sees is the same again, and aborting needs no more than to drop them.
 *
 * Invariants, while the program runs:
 *  1. A page of an object can be loaded from only with the right to read it, and stored to only with the right to write it; the metadata page never.
 *     From SHARED_FROM on, a page that can be loaded from can be stored to.
 *  2. No page is copied unless a transaction runs that `collect` or `discard` will follow.
 *  3. What is mapped stays mapped while threads of the program run.
 */
import { TwzError } from '../abi/errors.ts';
import { KIND, LINE, LINE_WORDS, META, PAGE, RIGHT } from '../abi/format.ts';
import type { File, Window } from '../host/host.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Handle } from '../kernel/object.ts';
import type { Authority } from '../kernel/security/authority.ts';
import { shareImage } from '../kernel/shared-image.ts';
import type { Access, GuestMemory } from './guest.ts';
import { MEMORY_SIZE, OBJECTS_FROM, SHARED_FROM, STOP_AREA } from './layout.ts';
import { Places, pagesOf } from './places.ts';

export type { Authority };

/** Bytes of address space for an object that may grow, by how many objects are mapped before it. Collections go on in other objects past 16 MiB. */
const ROOMS = [
  { objects: 32, bytes: 32 << 20 },
  { objects: 512, bytes: 1 << 20 },
] as const;

export interface Mapping {
  readonly h: Handle;
  readonly at: number;
  /** Bytes of address space that it has. */
  readonly capacity: number;
  /** What was asked for. */
  readonly wanted: number;
  /** What is given, by the authority. */
  rights: number;
  /** How it is mapped now. */
  kind: 'file' | 'shared' | 'image' | 'nothing';
  image: File | undefined;
  /** Bytes of it that are mapped. */
  size: number;
  /** Its pages can be stored to now. */
  writable: boolean;
  /** How often it was asked for. */
  uses: number;
}

export interface ViewLimits {
  /** Bytes of the heap. */
  readonly memory: number;
  /** Objects mapped at once. */
  readonly objects: number;
}

export class View implements GuestMemory {
  readonly window: Window;
  readonly #kernel: Kernel;
  readonly #authority: Authority;
  readonly #limits: ViewLimits;
  readonly #objects = new Places(OBJECTS_FROM, SHARED_FROM);
  readonly #shared = new Places(SHARED_FROM, STOP_AREA);
  /** By address. */
  readonly #mappings: Mapping[] = [];
  readonly #byHandle = new Map<Handle, Mapping>();
  #epoch: number;
  #writing = false;

  /** `window`: with a heap of that limit, and no rights anywhere else. */
  constructor(kernel: Kernel, window: Window, authority: Authority, limits: ViewLimits) {
    this.#kernel = kernel;
    this.window = window;
    this.#authority = authority;
    this.#limits = limits;
    this.#epoch = authority.epoch;
  }

  // --- mapping ------------------------------------------------------------------------------------------------------------

  /** Maps an object, or finds where it is mapped. Without the right to read it there is only its place. */
  map(h: Handle, wanted: number): Mapping {
    let known = this.#byHandle.get(h);
    if (known !== undefined && h.size > known.capacity) {
      // It has outgrown its place; what there is of it there stays.
      this.#byHandle.delete(h);
      wanted |= known.wanted;
      known = undefined;
    }
    if (known !== undefined && (known.wanted & wanted) === wanted) {
      known.uses++;
      return known;
    }
    if (known !== undefined) return this.#widen(known, wanted);
    if (this.#mappings.length >= this.#limits.objects)
      throw new TwzError('ProgramLimit', `the compartment has ${this.#limits.objects} objects mapped, as many as it may (limits.objects)`, {
        limit: this.#limits.objects,
      });
    if (h.cold) h.reach();
    const raw = h.kind === KIND.shared && (wanted & RIGHT.write) !== 0 && (this.#judge(h, wanted) & RIGHT.write) !== 0;
    const { at, capacity } = this.#room(h, raw);
    if (at === undefined)
      throw new TwzError('ProgramLimit', `no ${capacity} bytes of address space are left in the compartment`, {
        id: h.id,
        bytes: capacity,
      });
    const mapping: Mapping = {
      h,
      at,
      capacity,
      wanted,
      rights: 0,
      kind: 'nothing',
      image: undefined,
      size: 0,
      writable: false,
      uses: 1,
    };
    this.#insert(mapping);
    try {
      this.#show(mapping);
    } catch (error) {
      this.#remove(mapping);
      throw error;
    }
    return mapping;
  }

  /** The same object with more rights than before: shared ones have another place then, the rest stay. */
  #widen(mapping: Mapping, wanted: number): Mapping {
    const both = mapping.wanted | wanted;
    const moves = mapping.h.kind === KIND.shared && mapping.at < SHARED_FROM && (this.#judge(mapping.h, both) & RIGHT.write) !== 0;
    if (moves) {
      // Pointers to the old place stay good: it is kept.
      this.#byHandle.delete(mapping.h);
      return this.map(mapping.h, both);
    }
    const wider = { ...mapping, wanted: both, uses: mapping.uses + 1 };
    this.#mappings[this.#mappings.indexOf(mapping)] = wider;
    this.#byHandle.set(mapping.h, wider);
    this.#show(wider);
    return wider;
  }

  /** Address space for an object: with room to grow as long as few are mapped, because what a program has the address of does not move. */
  #room(h: Handle, raw: boolean): { readonly at: number | undefined; readonly capacity: number } {
    const fixed = h.kind === KIND.immutable || h.kind === KIND.shared;
    const least = fixed ? pagesOf(h.size) : h.capacity;
    const ample = fixed ? 0 : (ROOMS.find(({ objects }) => this.#mappings.length < objects)?.bytes ?? 0);
    const places = raw ? this.#shared : this.#objects;
    if (ample > least) {
      const at = places.take(ample);
      if (at !== undefined) return { at, capacity: ample };
    }
    return { at: places.take(least), capacity: least };
  }

  #judge(h: Handle, wanted: number): number {
    return this.#authority.rightsTo(h, wanted) & wanted;
  }

  #insert(mapping: Mapping): void {
    let i = this.#mappings.length;
    while (i > 0 && (this.#mappings[i - 1] as Mapping).at > mapping.at) i--;
    this.#mappings.splice(i, 0, mapping);
    this.#byHandle.set(mapping.h, mapping);
  }

  #remove(mapping: Mapping): void {
    const { h, at, capacity } = mapping;
    this.#hide(mapping);
    this.#mappings.splice(this.#mappings.indexOf(mapping), 1);
    if (this.#byHandle.get(h) === mapping) this.#byHandle.delete(h);
    (at >= SHARED_FROM ? this.#shared : this.#objects).give(at, capacity);
  }

  unmap(at: number): void {
    const mapping = this.at(at);
    if (--mapping.uses === 0) this.#remove(mapping);
  }

  #hide(mapping: Mapping): void {
    if (mapping.kind === 'nothing') return;
    this.window.clear(mapping.at, mapping.capacity, true);
    this.window.protect(mapping.at, mapping.capacity, 'none');
    mapping.kind = 'nothing';
    mapping.image = undefined;
    mapping.size = 0;
    mapping.writable = false;
  }

  /** Maps it as it is now, with the rights that are given now; over what was mapped before, so that threads of the program never miss it. */
  #show(mapping: Mapping): void {
    const { h, at } = mapping;
    if (h.state === 'live') {
      if (h.cold) h.reach();
      mapping.rights = this.#judge(h, mapping.wanted);
    }
    if (h.state !== 'live' || (mapping.rights & RIGHT.read) === 0 || mapping.size > h.size) this.#hide(mapping);
    if (h.state !== 'live' || (mapping.rights & RIGHT.read) === 0) return;
    mapping.image = undefined;
    mapping.writable = false;
    const size = Math.min(h.size, mapping.capacity);
    mapping.size = size;
    if (h.kind === KIND.shared) {
      mapping.kind = 'shared';
      mapping.writable = at >= SHARED_FROM && (mapping.rights & RIGHT.write) !== 0;
      this.#mapFile(mapping);
      // Where shared objects can be stored to, what can be loaded can be stored: atomics rely on it.
      if (mapping.writable) this.window.protect(at, PAGE, 'none');
      else this.window.protect(at, size, 'read');
    } else if (h.kind === KIND.immutable && h.fileSize === h.size && h.imageFile === undefined && h.pendingPages.length === 0) {
      mapping.kind = 'file';
      this.#mapFile(mapping);
      this.window.protect(at, size, 'read');
    } else {
      mapping.kind = 'image';
      mapping.image = shareImage(this.#kernel, h);
      this.window.mapPrivate(at, size, mapping.image, 0);
      this.window.protect(at, size, 'read');
      this.#allow(mapping, this.#writing);
    }
  }

  /** What others store to a shared object shows here, too; an immutable one is mapped for itself. */
  #mapFile({ h, at, size }: Mapping): void {
    const { host } = this.#kernel;
    const shared = h.kind === KIND.shared;
    const file = host.open(this.#kernel.path(h.id), shared ? 'write' : 'read');
    try {
      if (shared) this.window.mapShared(at, size, file, 0);
      else this.window.mapPrivate(at, size, file, 0);
    } finally {
      host.close(file);
    }
  }

  /** The mapping at an address. Throws GuestFault. */
  at(address: number): Mapping {
    const mapping = this.#find(address);
    if (mapping === undefined) throw new TwzError('GuestFault', `no object is mapped at ${hex(address)}`, { at: address });
    return mapping;
  }

  #find(address: number): Mapping | undefined {
    let from = 0;
    let to = this.#mappings.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.#mappings[middle] as Mapping).at <= address) from = middle + 1;
      else to = middle;
    }
    const mapping = this.#mappings[from - 1];
    return mapping !== undefined && address < mapping.at + mapping.capacity ? mapping : undefined;
  }

  get mappings(): readonly Mapping[] {
    return this.#mappings;
  }

  // --- running ------------------------------------------------------------------------------------------------------------

  /** Before the program runs: what is mapped is as it is now. */
  prepare(): void {
    const writing = this.#kernel.transaction !== undefined;
    this.#writing = writing;
    this.#authority.look?.();
    if (this.#epoch !== this.#authority.epoch) {
      this.#epoch = this.#authority.epoch;
      for (const mapping of this.#mappings) if (mapping.rights !== this.#judge(mapping.h, mapping.wanted)) this.#show(mapping);
    }
    for (const mapping of this.#mappings) {
      const { h } = mapping;
      if (h.state !== 'live') this.#hide(mapping);
      else if (mapping.kind === 'image') {
        if (mapping.image !== h.imageFile) this.#show(mapping);
        else if (mapping.size !== h.size && mapping.size !== mapping.capacity) this.#resize(mapping);
        else if (mapping.writable !== writing) this.#allow(mapping, writing);
      } else if (mapping.kind === 'nothing' && (mapping.rights & RIGHT.read) !== 0) this.#show(mapping);
    }
  }

  #resize(mapping: Mapping): void {
    const { h, at, size, image } = mapping;
    const now = Math.min(h.size, mapping.capacity);
    if (image === undefined || now <= size) {
      this.#show(mapping);
      return;
    }
    this.window.mapPrivate(at + size, now - size, image, size);
    // First as the rest of it is, then all of it as it is to be.
    this.window.protect(at + size, now - size, mapping.writable ? 'readWrite' : 'read');
    mapping.size = now;
    this.#allow(mapping, this.#writing);
  }

  #allow(mapping: Mapping, writing: boolean): void {
    const may = writing && (mapping.rights & RIGHT.write) !== 0 && mapping.h.kind !== KIND.immutable;
    if (may === mapping.writable) return;
    this.window.protect(mapping.at + PAGE, mapping.size - PAGE, may ? 'readWrite' : 'read');
    mapping.writable = may;
  }

  /** In a transaction, when the program has given way: what it stored becomes part of the transaction. */
  collect(): void {
    if (!this.#writing) return;
    let from = MEMORY_SIZE;
    let to = 0;
    for (const { kind, writable, at, size } of this.#mappings) {
      if (kind !== 'image' || !writable) continue;
      from = Math.min(from, at);
      to = Math.max(to, at + size);
    }
    if (from >= to) return;
    const ranges = this.window.privatePages(from, to - from) ?? Uint32Array.of(0, to - from);
    try {
      for (let i = 0; i < ranges.length; i += 2) this.#takeAll(from + (ranges[i] as number), from + (ranges[i + 1] as number));
    } finally {
      for (let i = 0; i < ranges.length; i += 2)
        this.window.drop(from + (ranges[i] as number), (ranges[i + 1] as number) - (ranges[i] as number));
    }
  }

  /** Copied pages, which may be of several objects that lie side by side. */
  #takeAll(from: number, to: number): void {
    while (from < to) {
      const mapping = this.#find(from);
      if (mapping === undefined) return;
      const end = Math.min(to, mapping.at + mapping.size);
      if (mapping.kind === 'image' && mapping.writable) this.#take(mapping, from - mapping.at, end - mapping.at);
      from = Math.max(end, from + PAGE);
    }
  }

  #take({ h, at }: Mapping, from: number, to: number): void {
    const theirs = new Int32Array(this.window.buffer, at + from, (to - from) >> 2);
    const { words } = h;
    const first = from >> 2;
    for (let line = from / LINE; line < to / LINE; line++) {
      const start = line * LINE_WORDS;
      for (let i = start; i < start + LINE_WORDS; i++) {
        if (words[i] === theirs[i - first]) continue;
        if (h.serial !== h.kernel.serial || h.dirty[line] !== 1) h.mark(line * LINE);
        for (let j = i; j < start + LINE_WORDS; j++) words[j] = theirs[j - first] as number;
        break;
      }
    }
  }

  /** The transaction will not be committed: what the program stored is gone. */
  discard(): void {
    if (!this.#writing) return;
    for (const mapping of this.#mappings) {
      if (mapping.kind === 'image' && mapping.writable) this.window.drop(mapping.at, mapping.size);
    }
  }

  /** Lets go of all objects. */
  close(): void {
    for (const mapping of [...this.#mappings]) this.#remove(mapping);
  }

  // --- what syscalls may touch ----------------------------------------------------------------------------------------------

  bytes(at: number, length: number, access: Access): Uint8Array {
    const from = at >>> 0;
    this.#demand(from, length, access);
    return new Uint8Array(this.window.buffer, from, length);
  }

  view(at: number, length: number, access: Access): DataView {
    const from = at >>> 0;
    this.#demand(from, length, access);
    return new DataView(this.window.buffer, from, length);
  }

  #demand(from: number, length: number, access: Access): void {
    if (length >= 0 && from + length <= this.#limits.memory) return;
    if (!(length >= 0 && from + length <= MEMORY_SIZE)) throw this.#fault(from, length, access);
    const mapping = this.#find(from);
    if (mapping === undefined || mapping.kind === 'nothing' || from + length > mapping.at + mapping.size)
      throw this.#fault(from, length, access);
    const header = from < mapping.at + PAGE;
    if (header && (access === 'write' || from >= SHARED_FROM)) throw this.#fault(from, length, access);
    if (access === 'write' && !mapping.writable) throw this.#fault(from, length, access);
  }

  #fault(at: number, length: number, access: Access): TwzError {
    return new TwzError('GuestFault', `the program has no right to ${access} ${length} bytes at ${hex(at)}`, { at, length, access });
  }

  /** An address as the object at it and the offset there. Throws GuestFault. */
  place(address: number): { readonly mapping: Mapping; readonly offset: number } {
    const mapping = this.at(address >>> 0);
    return { mapping, offset: (address >>> 0) - mapping.at };
  }

  /** The root of what is mapped there; 0 for none. */
  rootOf({ h, at }: Mapping): number {
    const root = h.dv.getUint32(META.root, true);
    return root === 0 ? 0 : at + root;
  }
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
