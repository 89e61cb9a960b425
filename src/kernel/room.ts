/**
 * Rooms: memory for a WebAssembly program that has objects beside it.
 *
 *   window   | room: guard, stack, data, heap | objects that the program has pointers to ...
 *
 * A room lies at address 0 of a window that was opened for it, so that the program can be linked for that address and be compiled once for
 * all rooms. Objects that it reaches are moved into the same window, into slots with room to grow, and are pinned there.
 */
import { TwzError } from '../abi/errors.ts';
import type { WasmMemory } from '../host/wasm-memory.ts';
import type { Kernel } from './kernel.ts';
import { CLEAN, type Handle } from './object.ts';
import type { Slot } from './windows.ts';

/** Bytes at the start that nothing may touch: a null pointer, or a stack that has overflown, traps there. */
const GUARD = 65536;

export class Room {
  readonly #kernel: Kernel;
  readonly #slot: Slot;
  readonly memory: WasmMemory;

  /** Throws NotSupported where the host has no such memory. */
  constructor(kernel: Kernel, bytes: number) {
    this.#kernel = kernel;
    const slot = kernel.windows.takeApart(bytes);
    const memory = slot?.window.memory;
    if (slot === undefined || memory === undefined)
      throw new TwzError('NotSupported', 'this host has no WebAssembly memory behind its objects, or too little of it');
    this.#slot = slot;
    this.memory = memory;
    this.#slot.window.protect(0, GUARD, 'none');
  }

  /** Gives an object a slot of `bytes` in this window, and pins it there. False where there is none. Not while it is pinned elsewhere. */
  admit(h: Handle, bytes: number): boolean {
    if (h.cold) h.warm();
    const { slot } = h;
    if (slot === undefined) throw h.gone();
    if (slot.window !== this.#slot.window || 2 ** slot.order < bytes) {
      if (h.pins > 0)
        throw new TwzError('ObjectPinned', `object ${h.id} cannot move while raw views of it are held`, { id: h.id, size: h.size });
      const larger = this.#kernel.windows.takeIn(this.#slot.window, Math.max(bytes, h.size));
      if (larger === undefined) return false;
      this.#move(h, slot, larger);
    }
    h.pin();
    return true;
  }

  #move(h: Handle, from: Slot, to: Slot): void {
    const kernel = this.#kernel;
    h.pins++;
    let mapped: boolean;
    try {
      mapped = kernel.copyImage(h, to, h.size, 'current');
    } catch (error) {
      kernel.windows.give(to, true);
      throw error;
    } finally {
      h.pins--;
    }
    h.place(to, h.size);
    kernel.windows.give(from, h.fileMapped);
    kernel.setMapped(h, mapped);
    if (h.dirty !== CLEAN) h.dirty = new Uint8Array(h.capacity >>> 6);
  }

  /** Gives the memory back. False where that would cost more than keeping it. */
  close(): boolean {
    if (this.#kernel.closed) return true;
    if (!this.#slot.window.maps) return false;
    this.#slot.window.protect(0, GUARD, 'readWrite');
    this.#kernel.windows.give(this.#slot, false);
    return true;
  }
}
