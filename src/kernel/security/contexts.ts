/** Security contexts: objects that hold capabilities and masks. What one says is read once, and again when the object has changed. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { META, PAGE, RIGHT, RIGHTS_ALL } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import {
  CAPABILITY,
  CONTEXT,
  CONTEXT_FLAG,
  ITEM,
  ITEMS_MAX,
  MASK,
  STATEMENT,
  decodeContext,
  delegationsIn,
  encodeContext,
  itemTarget,
  type ContextImage,
  type Mask,
} from '../../abi/security-format.ts';
import type { Kernel } from '../kernel.ts';
import type { Handle } from '../object.ts';
import type { Slot } from '../windows.ts';
import { changing, createRecord } from './records.ts';

export interface ContextOptions {
  /** The verifying key of whoever hands on what the context holds; its owner also changes masks. */
  readonly key?: ObjectId;
  /** Default rights of the context itself: to read with a key, else all. */
  readonly rights?: number;
  /** Rights that it lets through at most (default all). */
  readonly globalMask?: number;
  readonly undetachable?: boolean;
}

const RESERVED = 256;

/** An empty context. Inside a transaction. */
export function createContext(kernel: Kernel, options: ContextOptions): Handle {
  const { key, globalMask = RIGHTS_ALL, undetachable = false } = options;
  const rights = options.rights ?? (key === undefined ? RIGHTS_ALL : RIGHT.read);
  demandMask(globalMask);
  const image = { flags: undetachable ? CONTEXT_FLAG.undetachable : 0, globalMask, masks: [], items: [] };
  return createRecord(kernel, { rights, ...(key === undefined ? {} : { key }) }, encodeContext(image, RESERVED), RESERVED);
}

export function demandMask(rights: number): void {
  if (!Number.isInteger(rights) || rights < 0 || rights > RIGHTS_ALL)
    throw new TwzError('InvalidArgument', `${rights} is no mask: bits of ${RIGHTS_ALL}`, { rights });
}

/** What a context says now. Throws ContextInvalid. */
export function readContext(h: Handle): ContextImage {
  const image = tryContext(h);
  if (typeof image === 'string') throw new TwzError('ContextInvalid', `object ${h.id} is no context: ${image}`, { id: h.id });
  return image;
}

function tryContext(h: Handle): ContextImage | string {
  h.reach();
  const at = h.dv.getUint32(META.root, true);
  if (at < PAGE || at + CONTEXT.header > h.size) return 'it has no root';
  const used = h.dv.getUint32(at + CONTEXT.used, true);
  if (used < CONTEXT.header || at + used > h.size) return 'it runs past the object';
  return decodeContext(h.u8.subarray(at, at + used));
}

/**
 * Adds a chain to what a context holds; false where it is there. As `changeContext`, but what is there is not read and written anew: a
 * context may hold thousands. Inside a transaction.
 */
export function addItem(h: Handle, item: Uint8Array): boolean {
  h.reach();
  const at = h.dv.getUint32(META.root, true);
  if (at < PAGE || at + CONTEXT.header > h.size || h.dv.getUint32(at, true) !== CONTEXT.magic) readContext(h);
  const used = h.dv.getUint32(at + CONTEXT.used, true);
  const count = h.dv.getUint32(at + CONTEXT.items, true);
  const room = h.dv.getUint32(at + CONTEXT.reserved, true);
  const held = at + Math.max(used, room) > h.size ? undefined : holdsItem(h.u8.subarray(at, at + used), item);
  if (held === undefined) readContext(h);
  if (held === true) return false;
  const length = ITEM.header + item.length;
  if (count >= ITEMS_MAX || used + length > room) {
    changeContext(h, (image) => ({ ...image, items: [...image.items, item] }));
    return true;
  }
  changing(h, () => {
    const to = at + used;
    h.markRange(to, length);
    h.dv.setUint32(to + ITEM.bytes, item.length, true);
    h.dv.setUint32(to + ITEM.delegations, delegationsIn(item), true);
    h.u8.set(item, to + ITEM.header);
    h.setU32(at + CONTEXT.items, count + 1);
    h.setU32(at + CONTEXT.used, used + length);
  });
  return true;
}

/** Undefined where the record is damaged. */
function holdsItem(record: Uint8Array, item: Uint8Array): boolean | undefined {
  const dv = new DataView(record.buffer, record.byteOffset, record.length);
  let at = CONTEXT.header + dv.getUint32(CONTEXT.masks, true) * MASK.size;
  const nonce = new DataView(item.buffer, item.byteOffset).getUint32(STATEMENT.nonce, true);
  let found = false;
  while (at < record.length) {
    if (at + ITEM.header > record.length) return undefined;
    const length = dv.getUint32(at + ITEM.bytes, true);
    const from = at + ITEM.header;
    if (length < CAPABILITY.size || from + length > record.length) return undefined;
    // Hardly two have a nonce in common.
    if (dv.getUint32(from + STATEMENT.nonce, true) === nonce && length === item.length)
      found ||= item.every((byte, i) => record[from + i] === byte);
    at = from + length;
  }
  return at === record.length ? found : undefined;
}

/** Changes what a context says. Whether that is allowed was asked before. Inside a transaction. */
export function changeContext(h: Handle, change: (image: ContextImage) => ContextImage): void {
  const image = readContext(h);
  const wanted = change(image);
  changing(h, () => {
    const at = h.dv.getUint32(META.root, true);
    const reserved = h.dv.getUint32(at + CONTEXT.reserved, true);
    const used = h.dv.getUint32(at + CONTEXT.used, true);
    const bytes = encodeContext(wanted, reserved);
    if (bytes.length <= reserved) {
      h.markRange(at, Math.max(bytes.length, used));
      if (bytes.length < used) h.u8.fill(0, at + bytes.length, at + used);
      h.u8.set(bytes, at);
      return;
    }
    const room = bytes.length * 2;
    const to = h.allocate(room);
    const moved = encodeContext(wanted, room);
    h.markRange(to, moved.length);
    h.u8.set(moved, to);
    h.release(at);
    h.setU32(META.root, to);
  });
}

/** A context that authorities of this kernel have attached, or had. */
export class LoadedContext {
  readonly h: Handle;
  /** Raised when it says something else than before. */
  generation = 0;
  /** Undefined: deleted, or damaged. Then it gives nothing at all, not even default rights: its masks are not known. */
  image: ContextImage | undefined;
  readonly masks = new Map<ObjectId, Mask>();
  readonly items = new Map<ObjectId, Uint8Array[]>();
  #slot: Slot | undefined;
  #version = -1;
  #turn = -1;
  #gone = false;
  #undetachable = false;

  constructor(h: Handle) {
    this.h = h;
    this.refresh();
  }

  /** Where it cannot be read any more: as it was last. */
  get undetachable(): boolean {
    return this.#undetachable;
  }

  /** It was stored to by the running transaction. */
  invalidate(): void {
    this.#version = -1;
  }

  /** Reads it again if it may have changed. */
  refresh(): void {
    const { h } = this;
    if (h.slot !== undefined && h.slot === this.#slot && h.version === this.#version && h.turn === this.#turn && h.state === 'live') return;
    if (this.#gone && h.state !== 'live') return;
    this.#take();
    this.#gone = h.state !== 'live';
    this.#slot = h.slot;
    this.#version = h.version;
    this.#turn = h.turn;
    this.generation++;
  }

  #read(): ContextImage | undefined {
    if (this.h.state !== 'live') return undefined;
    try {
      const image = tryContext(this.h);
      return typeof image === 'string' ? undefined : image;
    } catch (error) {
      // Its file is gone, or damaged: that is for those who use it by its ID to hear.
      if (isTwzError(error)) return undefined;
      throw error;
    }
  }

  #take(): void {
    this.masks.clear();
    this.items.clear();
    this.image = undefined;
    const image = this.#read();
    if (image === undefined) return;
    this.image = image;
    this.#undetachable = (image.flags & CONTEXT_FLAG.undetachable) !== 0;
    for (const mask of image.masks) this.masks.set(mask.target, mask);
    for (const item of image.items) {
      const target = itemTarget(item);
      const those = this.items.get(target);
      if (those === undefined) this.items.set(target, [item]);
      else those.push(item);
    }
  }
}
