/**
 * The binary form of a dump: records, each with a checksum that goes on from the one before.
 *
 *   "TWZDUMP1", then for each record: type u32, length u32, CRC-32C u32, payload, zeros up to a multiple of 4
 *
 * A data record is an offset (u32) and bytes; every other payload is JSON.
 */
import { crc32c } from '../../abi/crc32c.ts';
import { Unreadable } from './values.ts';

export const MAGIC = new TextEncoder().encode('TWZDUMP1');
export const RECORD = { head: 1, name: 2, object: 3, data: 4, end: 5 } as const;
const NAMES: ReadonlyMap<number, keyof typeof RECORD> = new Map(
  Object.entries(RECORD).map(([name, n]) => [n, name as keyof typeof RECORD]),
);
const HEADER = 12;
/** Bytes of a data record. */
export const PIECE = 1 << 18;
const PAYLOAD_MAX = 1 << 20;

export interface BinaryRecord {
  readonly type: keyof typeof RECORD;
  readonly payload: Uint8Array;
}

function checksum(type: number, payload: Uint8Array, seed: number): number {
  const words = new Int32Array(2 + Math.ceil(payload.length / 4));
  words[0] = type;
  words[1] = payload.length;
  new Uint8Array(words.buffer).set(payload, 8);
  return crc32c(words, 0, words.length, seed) >>> 0;
}

export class BinaryWriter {
  #chain = 0;

  record(type: keyof typeof RECORD, payload: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(HEADER + Math.ceil(payload.length / 4) * 4);
    const dv = new DataView(bytes.buffer);
    this.#chain = checksum(RECORD[type], payload, this.#chain);
    dv.setUint32(0, RECORD[type], true);
    dv.setUint32(4, payload.length, true);
    dv.setUint32(8, this.#chain, true);
    bytes.set(payload, HEADER);
    return bytes;
  }

  json(type: keyof typeof RECORD, value: unknown): Uint8Array {
    return this.record(type, new TextEncoder().encode(JSON.stringify(value)));
  }

  data(at: number, bytes: Uint8Array): Uint8Array {
    const payload = new Uint8Array(4 + bytes.length);
    new DataView(payload.buffer).setUint32(0, at, true);
    payload.set(bytes, 4);
    return this.record('data', payload);
  }
}

/** Takes the bytes behind the magic number as they come, and gives the records that are whole. */
export class BinaryReader {
  #chain = 0;
  #left: Uint8Array = new Uint8Array(0);

  *feed(chunk: Uint8Array): Generator<BinaryRecord> {
    const bytes = new Uint8Array(this.#left.length + chunk.length);
    bytes.set(this.#left);
    bytes.set(chunk, this.#left.length);
    const dv = new DataView(bytes.buffer);
    let at = 0;
    while (at + HEADER <= bytes.length) {
      const type = NAMES.get(dv.getUint32(at, true));
      const length = dv.getUint32(at + 4, true);
      if (type === undefined || length > PAYLOAD_MAX) throw new Unreadable('expected a record');
      const end = at + HEADER + Math.ceil(length / 4) * 4;
      if (end > bytes.length) break;
      const payload = bytes.slice(at + HEADER, at + HEADER + length);
      this.#chain = checksum(RECORD[type], payload, this.#chain);
      if (dv.getUint32(at + 8, true) !== this.#chain) throw new Unreadable('the record fails its checksum');
      yield { type, payload };
      at = end;
    }
    this.#left = bytes.slice(at);
  }

  get whole(): boolean {
    return this.#left.length === 0;
  }
}
