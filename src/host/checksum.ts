/** CRC-32 as zlib has it, at the speed of the processor: finds what was damaged on its way. Against who alters on purpose it is nothing. */
import { crc32 } from 'node:zlib';

/** Eight hexadecimal digits. */
export function checksumOf(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, '0');
}
