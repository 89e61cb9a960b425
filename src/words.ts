/** Words of plain shared memory: for threads that share a buffer and have no space open. */
import type { SyncWords } from './abi/sync.ts';
import { chooseHost } from './host/choose.ts';
import { Region } from './host/futex.ts';

/**
 * The words of a SharedArrayBuffer, or of a part of it, for `threadSync` and locks. Between processes the same works on shared objects:
 * `obj.sync()`. Throws WordMisaligned.
 */
export function sharedWords(buffer: SharedArrayBuffer, offset = 0, length: number = buffer.byteLength - offset): SyncWords {
  return new Region(chooseHost(() => undefined).futex, new Uint8Array(buffer, offset, length));
}
