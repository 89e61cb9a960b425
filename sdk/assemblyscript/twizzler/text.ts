/** Fields of text and bytes: {offset u32, length u32} of a block in the same object. They are read where they lie. */
import * as sys from './syscalls';
import { objectBase } from './pointers';

export function textOf(field: usize): string {
  const length = load<u32>(field, 4);
  return length == 0 ? '' : String.UTF8.decodeUnsafe(objectBase(field) + load<u32>(field), length);
}

/** In a transaction. */
export function setText(field: usize, value: string): i64 {
  const utf8 = String.UTF8.encode(value);
  return sys.text_set(field, changetype<usize>(utf8), utf8.byteLength);
}

/** A copy. */
export function bytesOf(field: usize): Uint8Array {
  const length = load<u32>(field, 4);
  const bytes = new Uint8Array(<i32>length);
  if (length != 0) memory.copy(bytes.dataStart, objectBase(field) + load<u32>(field), length);
  return bytes;
}

/** In a transaction. */
export function setBytes(field: usize, value: Uint8Array): i64 {
  return sys.text_set(field, value.dataStart, value.byteLength);
}
