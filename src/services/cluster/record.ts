/**
 * Records of an object's log in the engine, byte for byte.
 *
 *   0   magic "TZR1"        4   kind (u8)           5   zero (3)          8   epoch (u32)       12  partners (u32)
 *   16  group (f64)         24  owner (16)          40  hash of the record before (16)          56  length of the body (u32)
 *   60  seal (u32)                         64  partners: family (16), group (f64)      then the body
 *
 * Little-endian. The hash of a record is the first half of SHA-256 over all of it but the seal, which is the four bytes that follow in that
 * SHA-256. So records are chained, and one that is missing or altered is found by whoever reads. A log begins with an epoch or a base. Groups count the records that change something.
 */
import { TwzError } from '../../abi/errors.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';

const MAGIC = 0x31525a54; // "TZR1"
const HEADER = 64;
const PARTNER = 24;

export const RECORD_KIND = {
  /** Another owner from here on. Body: none. */
  epoch: 1,
  /** What was committed. Body: sections, each behind its length in bytes (u32). */
  redo: 2,
  /** As `redo`; the body is a list of chunks that have it. */
  redoInChunks: 3,
  /** The whole family as it is after `group`. Body: a list of chunks that have its sections. What was before is needed no more. */
  base: 4,
  /**
   * The family was deleted: the last record of its log, and from then on the only one that anybody needs. It follows on whatever was before
   * it. Body: none.
   */
  end: 5,
} as const;

/** Milliseconds that the end of a family is kept: who learns of it later learns that there is no such object. */
export const TOMBSTONE_MS = 30 * 24 * 3_600_000;

export interface Partner {
  readonly family: ObjectId;
  readonly group: number;
}

export interface FamilyRecord {
  readonly kind: number;
  readonly epoch: number;
  readonly group: number;
  /** ID of the node. */
  readonly owner: string;
  /** 32 hexadecimal digits; zeros for the first. */
  readonly before: string;
  /** Families whose records were written together with this one, all or none. */
  readonly partners: readonly Partner[];
  readonly body: Uint8Array;
}

export const NO_HASH = '0'.repeat(32);

/** A record with its hash. */
export interface Sealed {
  readonly bytes: Uint8Array;
  readonly hash: string;
}

function digest(host: Host, bytes: Uint8Array): Uint8Array {
  return host.sha256(bytes.subarray(0, 60), bytes.subarray(64));
}

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

function fromHex(text: string, into: Uint8Array): void {
  for (let i = 0; i < 16; i++) into[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
}

export function encodeRecord(host: Host, record: FamilyRecord): Sealed {
  const { partners, body } = record;
  const at = HEADER + partners.length * PARTNER;
  const bytes = new Uint8Array(at + body.length);
  const dv = new DataView(bytes.buffer);
  dv.setUint32(0, MAGIC, true);
  dv.setUint8(4, record.kind);
  dv.setUint32(8, record.epoch, true);
  dv.setUint32(12, partners.length, true);
  dv.setFloat64(16, record.group, true);
  fromHex(record.owner, bytes.subarray(24, 40));
  fromHex(record.before, bytes.subarray(40, 56));
  dv.setUint32(56, body.length, true);
  for (const [i, { family, group }] of partners.entries()) {
    writeId(bytes, HEADER + i * PARTNER, family);
    dv.setFloat64(HEADER + i * PARTNER + 16, group, true);
  }
  bytes.set(body, at);
  const sha = digest(host, bytes);
  bytes.set(sha.subarray(16, 20), 60);
  return { bytes, hash: toHex(sha.subarray(0, 16)) };
}

/** Throws EngineCorrupt. */
export function decodeRecord(host: Host, log: string, bytes: Uint8Array): FamilyRecord & { readonly hash: string } {
  const corrupt = (reason: string): TwzError => new TwzError('EngineCorrupt', `a record of ${log}: ${reason}`, { log });
  if (bytes.length < HEADER) throw corrupt('it is cut off');
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dv.getUint32(0, true) !== MAGIC) throw corrupt('it is none of ours');
  const sha = digest(host, bytes);
  if (sha.subarray(16, 20).some((byte, i) => byte !== bytes[60 + i])) throw corrupt('it was altered');
  const partners = dv.getUint32(12, true);
  const at = HEADER + partners * PARTNER;
  if (at + dv.getUint32(56, true) !== bytes.length) throw corrupt('its length is not what it says');
  const [kind, group] = [dv.getUint8(4), dv.getFloat64(16, true)];
  if (kind < RECORD_KIND.epoch || kind > RECORD_KIND.end || !Number.isSafeInteger(group) || group < 0) throw corrupt('it means nothing');
  return {
    kind,
    epoch: dv.getUint32(8, true),
    group,
    owner: toHex(bytes.subarray(24, 40)),
    before: toHex(bytes.subarray(40, 56)),
    partners: Array.from({ length: partners }, (_, i) => ({
      family: readId(bytes, HEADER + i * PARTNER),
      group: dv.getFloat64(HEADER + i * PARTNER + 16, true),
    })),
    body: bytes.subarray(at),
    hash: toHex(sha.subarray(0, 16)),
  };
}

/** Sections one behind the other. */
export function joinSections(sections: readonly Int32Array[]): Uint8Array {
  let length = 0;
  for (const words of sections) length += 4 + words.length * 4;
  const bytes = new Uint8Array(length);
  const dv = new DataView(bytes.buffer);
  let at = 0;
  for (const words of sections) {
    dv.setUint32(at, words.length * 4, true);
    bytes.set(new Uint8Array(words.buffer, words.byteOffset, words.length * 4), at + 4);
    at += 4 + words.length * 4;
  }
  return bytes;
}

/** They show the bytes where these lie as words do. Throws EngineCorrupt. */
export function splitSections(bytes: Uint8Array): Int32Array[] {
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sections: Int32Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = at + 4 <= bytes.length ? dv.getUint32(at, true) : Infinity;
    if (length % 4 !== 0 || at + 4 + length > bytes.length) throw new TwzError('EngineCorrupt', 'a list of changes is cut off');
    if ((bytes.byteOffset + at) % 4 === 0) sections.push(new Int32Array(bytes.buffer, bytes.byteOffset + at + 4, length / 4));
    else {
      const words = new Int32Array(length / 4);
      new Uint8Array(words.buffer).set(bytes.subarray(at + 4, at + 4 + length));
      sections.push(words);
    }
    at += 4 + length;
  }
  return sections;
}
