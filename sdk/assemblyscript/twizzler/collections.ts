/**
 * Collections: maps, sets and vectors that the host keeps; see docs/collections.md. What is found is a place in the program's memory, so a
 * number or a struct in a collection is read and stored there. `close` lets go of one that is not needed any more.
 */
import * as sys from './syscalls';
import { follow, setReference } from './pointers';
import { failed } from './program';

const scratch: usize = memory.data(16);
/** Keeps the encoded key while it is used. */
let keyText: ArrayBuffer = new ArrayBuffer(0);
let keyLength: u32 = 0;

/** Puts a key where syscalls find it. */
function keyAt<K>(key: K): usize {
  if (isString<K>()) {
    keyText = String.UTF8.encode(changetype<string>(key));
    keyLength = keyText.byteLength;
    return changetype<usize>(keyText);
  }
  store<K>(scratch, key);
  keyLength = sizeof<K>();
  return scratch;
}

let valueText: ArrayBuffer = new ArrayBuffer(0);

function encode<V>(value: V): usize {
  valueText = String.UTF8.encode(changetype<string>(value));
  return changetype<usize>(valueText);
}

/** Texts are got into this, which grows. */
let buffer: ArrayBuffer = new ArrayBuffer(256);

function buffered(length: i64): bool {
  if (length <= <i64>buffer.byteLength) return true;
  buffer = new ArrayBuffer(<i32>length);
  return false;
}

export class Collection {
  protected readonly number: u32;
  /** It is open: there is such a collection. */
  readonly ok: bool;

  /** `type`: as the schema of its object names it, such as "Vec<f64>". */
  constructor(at: usize, type: string) {
    const utf8 = String.UTF8.encode(type);
    const number = sys.collection_open_as(at, changetype<usize>(utf8), utf8.byteLength);
    this.ok = !failed(number);
    this.number = this.ok ? <u32>number : u32.MAX_VALUE;
  }

  get size(): i32 {
    return <i32>max<i64>(sys.collection_size(this.number), 0);
  }

  clear(): i64 {
    return sys.collection_truncate(this.number, 0);
  }

  close(): void {
    sys.collection_close(this.number);
  }
}

/** Goes through the elements: `while (cursor.next()) …`. */
export class Cursor<K> {
  private readonly number: i64;
  private length: i32 = 0;
  private at: ArrayBuffer = new ArrayBuffer(64);

  constructor(collection: u32, from: usize, fromLength: u32) {
    this.number = sys.cursor_open(collection, from, fromLength);
    failed(this.number);
  }

  /** False at the end, where the cursor is closed. */
  next(): bool {
    if (this.number < 0) return false;
    let length = sys.cursor_next(<u32>this.number, changetype<usize>(this.at), this.at.byteLength);
    if (length > <i64>this.at.byteLength) {
      this.at = new ArrayBuffer(<i32>length);
      length = sys.cursor_key(<u32>this.number, changetype<usize>(this.at), this.at.byteLength);
    }
    this.length = <i32>length;
    if (length >= 0) return true;
    if (length != -1) failed(length);
    this.close();
    return false;
  }

  get key(): K {
    if (isString<K>()) return changetype<K>(String.UTF8.decodeUnsafe(changetype<usize>(this.at), this.length));
    return load<K>(changetype<usize>(this.at));
  }

  /** A number. */
  value<V>(): V {
    return load<V>(this.place);
  }

  text(): string {
    let length = sys.cursor_get(<u32>this.number, changetype<usize>(buffer), buffer.byteLength);
    if (!buffered(length)) length = sys.cursor_get(<u32>this.number, changetype<usize>(buffer), buffer.byteLength);
    return failed(length) ? '' : String.UTF8.decodeUnsafe(changetype<usize>(buffer), <usize>length);
  }

  /** A struct, where it lies. */
  struct<V>(): V {
    return changetype<V>(this.place);
  }

  /** What a reference leads to. */
  reference<V>(): V | null {
    return changetype<V | null>(follow(this.place));
  }

  /** Where the value lies. */
  get place(): usize {
    const at = sys.cursor_value(<u32>this.number);
    return failed(at) ? 0 : <usize>at;
  }

  close(): void {
    sys.cursor_close(<u32>this.number);
  }
}

class Keyed<K> extends Collection {
  has(key: K): bool {
    return sys.collection_find(this.number, keyAt<K>(key), keyLength) > 0;
  }

  delete(key: K): bool {
    const was = sys.collection_remove(this.number, keyAt<K>(key), keyLength);
    failed(was);
    return was > 0;
  }

  /** Through all, in order where the collection has one. */
  cursor(): Cursor<K> {
    return new Cursor<K>(this.number, 0, 0);
  }

  /** From a key on, where the collection has an order. */
  cursorFrom(key: K): Cursor<K> {
    return new Cursor<K>(this.number, keyAt<K>(key), keyLength);
  }

  protected find(key: K): usize {
    const at = sys.collection_find(this.number, keyAt<K>(key), keyLength);
    return failed(at) ? 0 : <usize>at;
  }

  protected make(key: K): usize {
    const at = sys.collection_insert(this.number, keyAt<K>(key), keyLength);
    return failed(at) ? 0 : <usize>at;
  }
}

export class SetOf<K> extends Keyed<K> {
  has(key: K): bool {
    return sys.collection_get(this.number, keyAt<K>(key), keyLength, 0, 0) >= 0;
  }

  add(key: K): i64 {
    return sys.collection_put(this.number, keyAt<K>(key), keyLength, 0, 0);
  }
}

/** A map to numbers, truth values or text. */
export class MapOf<K, V> extends Keyed<K> {
  has(key: K): bool {
    return sys.collection_get(this.number, keyAt<K>(key), keyLength, 0, 0) >= 0;
  }

  /** The value of a key, or `missing`. */
  get(key: K, missing: V): V {
    const at = keyAt<K>(key);
    if (isString<V>()) {
      let length = sys.collection_get(this.number, at, keyLength, changetype<usize>(buffer), buffer.byteLength);
      if (!buffered(length)) length = sys.collection_get(this.number, at, keyLength, changetype<usize>(buffer), buffer.byteLength);
      if (length < 0) return missing;
      return changetype<V>(String.UTF8.decodeUnsafe(changetype<usize>(buffer), <usize>length));
    }
    const found = sys.collection_find(this.number, at, keyLength);
    return found <= 0 ? missing : load<V>(<usize>found);
  }

  /** In a transaction. */
  set(key: K, value: V): i64 {
    const at = keyAt<K>(key);
    if (isString<V>()) return sys.collection_put(this.number, at, keyLength, encode<V>(value), valueText.byteLength);
    const place = sys.collection_insert(this.number, at, keyLength);
    if (failed(place)) return place;
    store<V>(<usize>place, value);
    return 0;
  }
}

/** A map to structs. */
export class MapOfStructs<K, V> extends Keyed<K> {
  /** The struct where it lies. */
  get(key: K): V | null {
    return changetype<V | null>(this.find(key));
  }

  /** As `get`, and makes what is missing, of zeros; in a transaction. */
  insert(key: K): V | null {
    return changetype<V | null>(this.make(key));
  }
}

/** A map to references. */
export class MapOfReferences<K, V> extends Keyed<K> {
  get(key: K): V | null {
    const at = this.find(key);
    return changetype<V | null>(at == 0 ? 0 : follow(at));
  }

  /** In a transaction. */
  set(key: K, to: V): i64 {
    const at = this.make(key);
    return at == 0 ? -1 : setReference(at, changetype<usize>(to));
  }
}

class Sequence extends Collection {
  get length(): i32 {
    return this.size;
  }

  /** Drops all elements from `length` on, in a transaction. */
  truncate(length: i32): i64 {
    return sys.collection_truncate(this.number, length);
  }

  /** Where an element lies; 0 where there is none. */
  at(index: i32): usize {
    const at = sys.collection_at(this.number, index);
    return failed(at) ? 0 : <usize>at;
  }

  protected make(): usize {
    const at = sys.collection_push(this.number);
    return failed(at) ? 0 : <usize>at;
  }

  cursor(): Cursor<u32> {
    return new Cursor<u32>(this.number, 0, 0);
  }
}

/** A vector, list or log of numbers, truth values or text. */
export class VecOf<V> extends Sequence {
  /** An index that is not there ends the program, as with an array. */
  get(index: i32): V {
    if (isString<V>()) {
      let length = sys.element_get(this.number, index, changetype<usize>(buffer), buffer.byteLength);
      if (!buffered(length)) length = sys.element_get(this.number, index, changetype<usize>(buffer), buffer.byteLength);
      if (length < 0) throw new RangeError('no such element');
      return changetype<V>(String.UTF8.decodeUnsafe(changetype<usize>(buffer), <usize>length));
    }
    const at = this.at(index);
    if (at == 0) throw new RangeError('no such element');
    return load<V>(at);
  }

  set(index: i32, value: V): i64 {
    if (isString<V>()) return sys.element_put(this.number, index, encode<V>(value), valueText.byteLength);
    const at = this.at(index);
    if (at == 0) return -1;
    store<V>(at, value);
    return 0;
  }

  /** In a transaction. */
  push(value: V): i64 {
    if (isString<V>()) return sys.element_put(this.number, this.size, encode<V>(value), valueText.byteLength);
    const at = this.make();
    if (at == 0) return -1;
    store<V>(at, value);
    return 0;
  }
}

export class VecOfStructs<V> extends Sequence {
  /** The struct where it lies. */
  get(index: i32): V | null {
    return changetype<V | null>(this.at(index));
  }

  /** A new one of zeros at the end, in a transaction. */
  push(): V | null {
    return changetype<V | null>(this.make());
  }
}

export class VecOfReferences<V> extends Sequence {
  get(index: i32): V | null {
    const at = this.at(index);
    return changetype<V | null>(at == 0 ? 0 : follow(at));
  }

  /** In a transaction. */
  push(to: V): i64 {
    const at = this.make();
    return at == 0 ? -1 : setReference(at, changetype<usize>(to));
  }
}
