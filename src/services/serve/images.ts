/**
 * Images of objects for clients: memory that they can only read, and that the server brings up to date at each commit.
 *
 * Invariants:
 *  1. Who reads an even sequence, then loads, then reads the same sequence, has loaded from one committed state. With several images, whose
 *     sequences are all read before and after, from one state of all of them: all are odd before the first of them changes.
 *  2. An image is sealed before its descriptor leaves this process.
 *  3. Before an image shows a change, each of its holders was judged again. If one may not read any more, nobody is shown the change in
 *     this image: it is withdrawn, and the others open another.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND, PAGE } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { File } from '../../host/host.ts';
import { closeDescriptor, createImage, readingEnd, sealImage } from '../../host/linux/descriptors.ts';
import { MappedWindow } from '../../host/linux/linux.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { Windows, type Slot } from '../../kernel/windows.ts';
import { IMAGE, IMAGE_MAGIC, IMAGE_STATE } from './image-format.ts';

/** Who has the descriptor of an image. */
export interface Holder {
  /** May it still read the object? */
  mayRead(h: Handle): boolean;
  /** The image changes no more. */
  lost(id: ObjectId): void;
}

export class Image {
  readonly h: Handle;
  readonly slot: Slot;
  readonly capacity: number;
  /** For reading only: what is handed out. */
  readonly end: File;
  readonly head: Int32Array;
  readonly words: Int32Array;
  readonly holders = new Set<Holder>();
  version = -1;
  /** Its end is closed: the number may be another file's by now. */
  gone = false;
  /** What it counts for. */
  readonly bytes: number;
  stop: () => void = () => undefined;

  constructor(h: Handle, slot: Slot, end: File) {
    const { buffer } = slot.window;
    this.h = h;
    this.slot = slot;
    this.end = end;
    this.bytes = h.size;
    this.capacity = 2 ** slot.order - PAGE;
    this.head = new Int32Array(buffer, slot.at, PAGE / 4);
    this.words = new Int32Array(buffer, slot.at + PAGE, this.capacity / 4);
  }

  set(state: number): void {
    const { head, h } = this;
    Atomics.store(head, IMAGE.state, state);
    Atomics.store(head, IMAGE.size, h.size);
    Atomics.store(head, IMAGE.versionLow, h.version | 0);
    Atomics.store(head, IMAGE.versionHigh, Math.floor(h.version / 2 ** 32));
  }

  /** Stores the words that differ. */
  copy(): void {
    const { h, words } = this;
    if (h.cold) h.warm();
    const from = h.words;
    for (let i = 0; i < from.length; i++) {
      const word = from[i] as number;
      if (words[i] !== word) words[i] = word;
    }
    this.version = h.version;
  }
}

export class Images {
  readonly #kernel: Kernel;
  readonly #windows: Windows;
  readonly #bytesMax: number;
  readonly #images = new Map<ObjectId, Image>();
  #due = false;
  bytes = 0;

  constructor(kernel: Kernel, bytesMax: number) {
    this.#kernel = kernel;
    this.#bytesMax = bytesMax;
    this.#windows = new Windows(kernel.host, Math.max(1, Math.ceil(bytesMax / 2 ** 30)) + 1);
  }

  get count(): number {
    return this.#images.size;
  }

  /** The image of an object, for one who may read it. Throws ServeLimit, NotSupported. */
  hold(h: Handle, holder: Holder): Image {
    if (h.cold) h.warm();
    let image = this.#images.get(h.id);
    if (image === undefined) {
      image = this.#make(h);
      this.#images.set(h.id, image);
    } else this.flush();
    image.holders.add(holder);
    return image;
  }

  /** One holder less; an image that nobody has goes. */
  release(image: Image, holder: Holder): void {
    image.holders.delete(holder);
    if (image.holders.size === 0 && this.#images.get(image.h.id) === image) this.#drop(image);
  }

  #make(h: Handle): Image {
    if (h.kind !== KIND.owned && h.kind !== KIND.immutable)
      throw new TwzError('NotSupported', `object ${h.id} is ${h.kindName}: only owned and immutable objects are served`, { id: h.id });
    // Untouched pages are no memory: there is room to grow in.
    const order = Math.max(16, Math.ceil(Math.log2(PAGE + h.size * (h.kind === KIND.immutable ? 1 : 2))));
    if (this.bytes + h.size > this.#bytesMax)
      throw new TwzError('ServeLimit', `images take ${this.bytes} bytes, and there may be ${this.#bytesMax}`, { bytes: this.bytes });
    const slot = this.#windows.take(2 ** order);
    if (slot === undefined) throw new TwzError('ServeLimit', 'there is no address space for another image');
    let end: File;
    try {
      end = imageIn(slot, h.id);
    } catch (error) {
      this.#windows.give(slot, true);
      throw error;
    }
    const image = new Image(h, slot, end);
    this.bytes += image.bytes;
    image.head[IMAGE.magic] = IMAGE_MAGIC;
    image.copy();
    image.set(IMAGE_STATE.live);
    image.stop = this.#kernel.watch(h, { changed: () => this.#soon(), ended: () => this.#soon() });
    return image;
  }

  /** All that changes until the event loop comes round is shown at once. */
  #soon(): void {
    if (this.#due) return;
    this.#due = true;
    this.#kernel.host.soon(() => {
      this.#due = false;
      if (!this.#kernel.closed) this.flush();
    });
  }

  /** Shows what was committed by now. */
  flush(): void {
    const changed: Image[] = [];
    for (const image of this.#images.values()) {
      const { h } = image;
      if (h.state !== 'live') this.#withdraw(image, IMAGE_STATE.deleted);
      else if (!h.cold && h.version === image.version) continue;
      else if (!isShowable(image)) this.#withdraw(image, IMAGE_STATE.withdrawn);
      else if (h.version !== image.version) changed.push(image);
    }
    for (const { head } of changed) Atomics.add(head, IMAGE.sequence, 1);
    for (const image of changed) {
      image.copy();
      image.set(IMAGE_STATE.live);
    }
    for (const { head } of changed) Atomics.add(head, IMAGE.sequence, 1);
  }

  /** Somebody may have lost a right: withdraws what one of those who have it may not read any more. */
  review(): void {
    for (const image of this.#images.values()) if (!isShowable(image)) this.#withdraw(image, IMAGE_STATE.withdrawn);
  }

  #withdraw(image: Image, state: number): void {
    Atomics.store(image.head, IMAGE.state, state);
    const holders = [...image.holders];
    image.holders.clear();
    this.#drop(image);
    for (const holder of holders) holder.lost(image.h.id);
  }

  #drop(image: Image): void {
    this.#images.delete(image.h.id);
    image.stop();
    this.bytes -= image.bytes;
    image.gone = true;
    closeDescriptor(image.end);
    this.#windows.give(image.slot, true);
  }

  close(): void {
    for (const image of this.#images.values()) this.#withdraw(image, IMAGE_STATE.withdrawn);
    this.#windows.close();
  }
}

/** It has room for the object as it is now, and all who have it may read that. */
function isShowable({ h, capacity, holders }: Image): boolean {
  try {
    if (h.cold) h.warm();
    return h.size <= capacity && [...holders].every((holder) => holder.mayRead(h));
  } catch (error) {
    // It cannot be read any more, by anybody.
    if (!isTwzError(error)) throw error;
    return false;
  }
}

/** Puts memory for an image into a slot, and gives its end for reading. Only the mapping keeps the other end. */
function imageIn(slot: Slot, id: ObjectId): File {
  const { window, at, order } = slot;
  if (!(window instanceof MappedWindow)) throw new TwzError('HostUnavailable', 'images need the Linux host');
  const file = createImage(`twizzler ${id}`, 2 ** order);
  try {
    window.show(at, 2 ** order, file, 'write');
    sealImage(file);
    return readingEnd(file);
  } finally {
    closeDescriptor(file);
  }
}
