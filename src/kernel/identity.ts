/** How an ID follows from what it binds. docs/formats/object.md, "Identity". */
import { META, PAGE } from '../abi/format.ts';
import { foldId, writeId, type ObjectId } from '../abi/id.ts';
import type { Host } from '../host/host.ts';

const input = new Uint8Array(48);
const inputView = new DataView(input.buffer);

/** Does the ID in a metadata page follow from what it binds? */
export function bindsId(host: Host, bytes: Uint8Array, dv: DataView): boolean {
  for (let i = 0; i < 32; i++) input[i] = bytes[META.nonce + i] as number;
  inputView.setUint32(32, dv.getUint32(META.rights, true), true);
  inputView.setUint32(36, dv.getUint32(META.kind, true), true);
  const digest = host.sha256(input);
  for (let i = 0; i < 16; i++) if (((digest[i] as number) ^ (digest[i + 16] as number)) !== bytes[META.id + i]) return false;
  return true;
}

/** ID = fold(SHA-256(nonce 16, key 16, rights u32, kind u32, zero 8)). */
export function deriveId(host: Host, nonce: Uint8Array, key: Uint8Array, rights: number, kind: number): ObjectId {
  input.set(nonce, 0);
  input.set(key, 16);
  inputView.setUint32(32, rights, true);
  inputView.setUint32(36, kind, true);
  return foldId(host.sha256(input));
}

/**
 * The nonce of an immutable object: fold(SHA-256(metadata page with ID, nonce, version and checksum zero, then the data)). So the ID
 * is the hash of the content, and of the rights and the key.
 */
export function contentNonce(host: Host, bytes: Uint8Array): Uint8Array {
  const meta = bytes.slice(0, PAGE);
  meta.fill(0, META.id, META.nonce + 16);
  meta.fill(0, META.version, META.version + 8);
  meta.fill(0, META.checksum, META.checksum + 4);
  const nonce = new Uint8Array(16);
  // A copy of the data: not every hash takes shared memory.
  writeId(nonce, 0, foldId(host.sha256(meta, bytes.slice(PAGE))));
  return nonce;
}
