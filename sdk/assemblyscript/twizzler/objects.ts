/** Objects: made, found, mapped, changed. */
import * as sys from './syscalls';
import { forgetMappings, objectBase } from './pointers';
import { failed } from './program';

export namespace Kind {
  export const owned: u32 = 1;
  export const volatile: u32 = 3;
  export const shared: u32 = 4;
}

export namespace Rights {
  export const read: u32 = 1;
  export const write: u32 = 2;
  export const execute: u32 = 4;
}

/** 128 bits that name an object. */
export class ObjectId {
  private readonly bytes: StaticArray<u8> = new StaticArray<u8>(16);

  /** The address of its 16 bytes, for syscalls. */
  get at(): usize {
    return changetype<usize>(this.bytes);
  }

  static copyOf(at: usize): ObjectId {
    const id = new ObjectId();
    memory.copy(id.at, at, 16);
    return id;
  }

  /** From 32 hexadecimal digits; null where it is anything else. */
  static parse(text: string): ObjectId | null {
    if (text.length != 32) return null;
    const id = new ObjectId();
    for (let i = 0; i < 32; i++) {
      const c = text.charCodeAt(i) | 0x20;
      const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : c >= 0x61 && c <= 0x66 ? c - 0x57 : 16;
      if (digit == 16) return null;
      id.bytes[i >> 1] = <u8>((id.bytes[i >> 1] << 4) | digit);
    }
    return id;
  }

  equals(other: ObjectId): bool {
    return memory.compare(this.at, other.at, 16) == 0;
  }

  get isZero(): bool {
    return (load<u64>(this.at) | load<u64>(this.at, 8)) == 0;
  }

  toString(): string {
    let text = '';
    for (let i = 0; i < 16; i++) {
      const byte = this.bytes[i];
      text += '0123456789abcdef'.charAt(byte >> 4) + '0123456789abcdef'.charAt(byte & 15);
    }
    return text;
  }
}

export class ObjectStat {
  size: u32 = 0;
  kind: u32 = 0;
  /** Rights that this program has. */
  rights: u32 = 0;
  /** Offset of the root. */
  root: u32 = 0;
  /** Commits that changed it. */
  version: u64 = 0;
  references: u32 = 0;
}

/** An object that is mapped. */
export class Obj {
  /** Address of its first byte. */
  readonly base: usize;

  constructor(base: usize) {
    this.base = base;
  }

  /** Makes an object and maps it; in a transaction. Null where that fails. */
  static create(size: u32 = 0, kind: u32 = Kind.owned, rights: u32 = 3): Obj | null {
    const id = new ObjectId();
    if (failed(sys.object_create(kind, rights, size, id.at))) return null;
    return Obj.map(id);
  }

  /** Null where there is no such object. A right that is not given is missed at the access, not here. */
  static map(id: ObjectId, rights: u32 = 3): Obj | null {
    const at = sys.object_map(id.at, rights);
    return failed(at) ? null : new Obj(<usize>at);
  }

  /** The object that a place lies in. */
  static of(place: usize): Obj | null {
    const base = objectBase(place);
    return base == 0 ? null : new Obj(base);
  }

  /** The object of that name, mapped. */
  static open(path: string, rights: u32 = 3): Obj | null {
    const id = Obj.find(path);
    return id === null ? null : Obj.map(id, rights);
  }

  static find(path: string): ObjectId | null {
    const utf8 = String.UTF8.encode(path);
    const id = new ObjectId();
    return failed(sys.name_find(changetype<usize>(utf8), utf8.byteLength, id.at)) ? null : id;
  }

  static remove(id: ObjectId): i64 {
    return sys.object_delete(id.at);
  }

  static unname(path: string): i64 {
    const utf8 = String.UTF8.encode(path);
    return sys.name_remove(changetype<usize>(utf8), utf8.byteLength);
  }

  get id(): ObjectId {
    const id = new ObjectId();
    failed(sys.object_at(this.base, id.at));
    return id;
  }

  /** Gives it a name, in a transaction. */
  name(path: string): i64 {
    const utf8 = String.UTF8.encode(path);
    return sys.name_set(changetype<usize>(utf8), utf8.byteLength, this.id.at);
  }

  stat(): ObjectStat | null {
    const at = memory.data(32);
    if (failed(sys.object_stat(this.id.at, at, 32))) return null;
    const stat = new ObjectStat();
    stat.size = load<u32>(at);
    stat.kind = load<u32>(at, 4);
    stat.rights = load<u32>(at, 8);
    stat.root = load<u32>(at, 12);
    stat.version = load<u64>(at, 16);
    stat.references = load<u32>(at, 24);
    return stat;
  }

  /** Address of the root, whatever its type; 0 where there is none. */
  get root(): usize {
    const at = sys.object_root(this.base);
    return failed(at) ? 0 : <usize>at;
  }

  /** Makes a place in the object its root, of the type that the schema describes; in a transaction. */
  setRoot(at: usize, schema: string): i64 {
    const result = sys.object_set_root(at);
    if (failed(result)) return result;
    const utf8 = String.UTF8.encode(schema);
    return sys.object_set_types(this.base, changetype<usize>(utf8), utf8.byteLength);
  }

  /** A zeroed block in it, in a transaction; 0 where there is no room. */
  allocate(size: u32): usize {
    const at = sys.allocate(this.base, size);
    return failed(at) ? 0 : <usize>at;
  }

  unmap(): i64 {
    forgetMappings();
    return sys.object_unmap(this.base);
  }
}

/**
 * Runs a function as a transaction: all its stores to objects happen, or none. It may be called again from the start, so what it changes
 * outside of objects must bear that. What it gives is the result; where that is below 0, nothing is changed.
 */
export function transact(run: (argument: u32) => i32, argument: u32 = 0, durable: bool = false): i64 {
  forgetMappings();
  const result = sys.transact(run.index, argument, durable ? 1 : 0);
  forgetMappings();
  failed(result);
  return result;
}
