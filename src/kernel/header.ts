/** The metadata page of an object, checked against itself, the length of the object and its ID. */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError } from '../abi/errors.ts';
import { META, OBJECT_FORMAT, OBJECT_MAGIC, PAGE } from '../abi/format.ts';
import { readId } from '../abi/id.ts';
import type { Host } from '../host/host.ts';
import { bindsId } from './identity.ts';
import type { Handle } from './object.ts';

const ZERO_WORD = new Int32Array(1);

/** CRC-32C of the metadata page with its checksum field zero. */
export function headerChecksum(words: Int32Array): number {
  const field = META.checksum >> 2;
  const before = crc32c(words, 0, field, 0);
  return crc32c(words, field + 1, PAGE >> 2, crc32c(ZERO_WORD, 0, 1, before));
}

/** Throws ObjectCorrupt, ObjectVersion, ObjectForged. The content of an immutable object is another matter. */
export function checkHeader(host: Host, h: Handle): void {
  const { dv, id } = h;
  const corrupt = (reason: string): TwzError => new TwzError('ObjectCorrupt', `object ${id}: ${reason}`, { id });
  if (dv.getUint32(META.magic, true) !== OBJECT_MAGIC) throw corrupt('the file does not begin as an object');
  const format = dv.getUint32(META.format, true);
  if (format !== OBJECT_FORMAT)
    throw new TwzError('ObjectVersion', `object ${id} has format ${format}; this build reads ${OBJECT_FORMAT}`, { id, format });
  if (headerChecksum(h.words) !== dv.getUint32(META.checksum, true)) throw corrupt('the checksum of the metadata page does not match');
  const size = dv.getUint32(META.size, true);
  if (size !== h.size) throw corrupt(`the header says ${size} bytes, the file has ${h.size}`);
  const { idWords } = h;
  for (let i = 0; i < 4; i++) {
    if (h.words[(META.id >> 2) + i] === idWords[i]) continue;
    const written = readId(h.u8, META.id);
    throw new TwzError('ObjectForged', `the file of object ${id} holds object ${written}`, { id, written });
  }
  if (!bindsId(host, h.u8, dv))
    throw new TwzError('ObjectForged', `object ${id}: the ID does not follow from nonce, key, rights and kind`, { id });
}
