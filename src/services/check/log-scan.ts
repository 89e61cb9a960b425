/**
 * The redo log, read by the format alone. Frames are chained by their checksums, so reading goes from a known position forward; where
 * the position is not known, the first frame of the oldest segment is taken on trust and the chain must hold from there.
 */
import { crc32c } from '../../abi/crc32c.ts';
import { LINE } from '../../abi/format.ts';
import {
  OPERATION,
  FRAME,
  FRAME_COMMIT,
  FRAME_MAX,
  LOG_FORMAT,
  LOG_MAGIC,
  SECTION,
  SEGMENT,
  SEGMENT_HEADER,
} from '../../abi/log-format.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { readWhole } from './control.ts';
import type { Findings } from './findings.ts';

export type Operation = keyof typeof OPERATION;

export interface LogSection {
  readonly id: ObjectId;
  readonly operation: Operation;
  readonly size: number;
  readonly version: number;
  readonly lines: number;
  /** The lines' bytes: a word of mask and number, then the 8-byte words that the mask tells. */
  readonly body: Uint8Array;
}

export interface LogFrame {
  readonly lsn: number;
  readonly bytes: number;
  readonly checksum: number;
  readonly salt: number;
  readonly commit: boolean;
  readonly file: string;
  /** Undefined where they are not well formed. */
  readonly sections: readonly LogSection[] | undefined;
}

export interface LogPosition {
  readonly lsn: number;
  /** Checksum of the frame before; undefined: unknown, take the frame's own on trust. */
  readonly chain: number | undefined;
}

export interface SegmentInfo {
  readonly name: string;
  readonly sequence: number;
  readonly size: number;
  readonly space: ObjectId;
  readonly valid: boolean;
}

export const segmentName = (sequence: number): string => `${String(sequence).padStart(8, '0')}.log`;

export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{8,})\.log$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** Reads a segment's header and reports what is wrong with it. */
export function readSegmentHeader(host: Host, directory: string, name: string, findings?: Findings): SegmentInfo | undefined {
  const file = `log/${name}`;
  const bytes = readWhole(host, `${directory}/${file}`, SEGMENT_HEADER);
  if (bytes === undefined) return undefined;
  const sequence = segmentNumber(name) ?? 0;
  const bad = (at: number, message: string, expected?: string): SegmentInfo => {
    findings?.add('SegmentHeader', message, { file, at, expected });
    return { name, sequence, size: 0, space: '' as ObjectId, valid: false };
  };
  if (bytes.length < SEGMENT_HEADER)
    return bad(bytes.length, `the segment ends inside its header, at ${bytes.length}`, `${SEGMENT_HEADER} bytes`);
  const dv = view(bytes);
  if (dv.getUint32(SEGMENT.magic, true) !== LOG_MAGIC)
    return bad(SEGMENT.magic, 'the magic number is wrong', `0x${LOG_MAGIC.toString(16)}`);
  const checksum = crc32c(new Int32Array(bytes.slice(0, SEGMENT.checksum).buffer), 0, SEGMENT.checksum / 4, 0);
  if (dv.getUint32(SEGMENT.checksum, true) !== checksum)
    return bad(SEGMENT.checksum, 'the header fails its checksum', `0x${checksum.toString(16)}`);
  const format = dv.getUint32(SEGMENT.format, true);
  const info = { name, sequence, size: dv.getUint32(SEGMENT.size, true), space: readId(bytes, SEGMENT.space) };
  if (format !== LOG_FORMAT) {
    findings?.add('SegmentVersion', `the format version is ${format}`, { file, at: SEGMENT.format, expected: String(LOG_FORMAT) });
    return { ...info, valid: false };
  }
  if (dv.getUint32(SEGMENT.sequence, true) !== sequence)
    return bad(SEGMENT.sequence, `the header says segment ${dv.getUint32(SEGMENT.sequence, true)}`, String(sequence));
  return { ...info, valid: true };
}

/** The header page of a segment. */
export function encodeSegmentHeader(space: ObjectId, sequence: number, size: number): Uint8Array {
  const header = new Uint8Array(SEGMENT_HEADER);
  const dv = view(header);
  dv.setUint32(SEGMENT.magic, LOG_MAGIC, true);
  dv.setUint32(SEGMENT.format, LOG_FORMAT, true);
  dv.setUint32(SEGMENT.sequence, sequence, true);
  dv.setUint32(SEGMENT.size, size, true);
  writeId(header, SEGMENT.space, space);
  dv.setUint32(SEGMENT.checksum, crc32c(new Int32Array(header.buffer), 0, SEGMENT.checksum / 4, 0), true);
  return header;
}

const NAMES: Readonly<Record<number, Operation>> = Object.fromEntries(
  Object.entries(OPERATION).map(([name, code]) => [code, name as Operation]),
);

/** The sections of a frame's bytes; undefined where they are not well formed. */
export function readSections(frame: Uint8Array): LogSection[] | undefined {
  const dv = view(frame);
  const sections: LogSection[] = [];
  let at: number = FRAME.header;
  for (let left = dv.getUint32(FRAME.sections, true); left > 0; left--) {
    if (at + SECTION.header > frame.length) return undefined;
    const code = dv.getUint32(at + SECTION.operation, true);
    const operation = NAMES[code];
    const lines = dv.getUint32(at + SECTION.lines, true);
    const size = dv.getUint32(at + SECTION.size, true);
    const start = at + SECTION.header;
    const end = operation === undefined ? undefined : endOfLines(dv, start, lines, size);
    if (operation === undefined || end === undefined) return undefined;
    const version = dv.getUint32(at + SECTION.version, true) + dv.getUint32(at + SECTION.version + 4, true) * 2 ** 32;
    sections.push({ id: readId(frame, at), operation, size, version, lines, body: frame.subarray(start, end) });
    at = end;
  }
  return at <= frame.length && frame.length - at < 8 ? sections : undefined;
}

const bitsOf = (mask: number): number => {
  let n = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) n++;
  return n;
};

/** Where the lines end, or undefined where one is not well formed or outside the object. */
function endOfLines(dv: DataView, start: number, lines: number, size: number): number | undefined {
  let at = start;
  for (let left = lines; left > 0;) {
    if (at + 8 > dv.byteLength) return undefined;
    const head = dv.getUint32(at, true);
    const mask = head >>> 24;
    const run = mask === 0 ? dv.getUint32(at + 4, true) : 1;
    if (run === 0 || run > left || ((head & 0xffffff) + run) * LINE > size) return undefined;
    at += mask === 0 ? 8 + run * LINE : 4 + bitsOf(mask) * 8;
    left -= run;
  }
  return at <= dv.byteLength ? at : undefined;
}

/** Calls back with each 8-byte word that a section stores. */
export function eachWord(section: LogSection, visit: (at: number, bytes: Uint8Array) => void): void {
  const dv = view(section.body);
  let at = 0;
  for (let left = section.lines; left > 0; left--) {
    const head = dv.getUint32(at, true);
    at += 4;
    if (head >>> 24 === 0) {
      const run = dv.getUint32(at, true);
      for (let i = 4; i < 4 + run * LINE; i += 8) visit((head & 0xffffff) * LINE + i - 4, section.body.subarray(at + i, at + i + 8));
      at += 4 + run * LINE;
      left -= run - 1;
      continue;
    }
    for (let bit = 0; bit < 8; bit++) {
      if ((head & (1 << (24 + bit))) === 0) continue;
      visit((head & 0xffffff) * 64 + bit * 8, section.body.subarray(at, at + 8));
      at += 8;
    }
  }
}

/** Reads frames one after the other. */
export class LogReader {
  readonly #host: Host;
  readonly #directory: string;
  readonly #segmentSize: number;
  #sequence = -1;
  #bytes: Uint8Array | undefined;
  #tail: Uint8Array | undefined;
  lsn: number;
  chain: number | undefined;
  /** Frames were found in the tail that are in no segment. */
  inTail = false;

  constructor(host: Host, directory: string, segmentSize: number, from: LogPosition) {
    this.#host = host;
    this.#directory = directory;
    this.#segmentSize = segmentSize;
    this.lsn = from.lsn;
    this.chain = from.chain;
  }

  segment(sequence: number): Uint8Array | undefined {
    if (sequence !== this.#sequence) {
      this.#sequence = sequence;
      this.#bytes = readWhole(this.#host, `${this.#directory}/log/${segmentName(sequence)}`, this.#segmentSize);
    }
    return this.#bytes;
  }

  /** The frame at `offset` of `bytes` if it is the one that `lsn` and the chain call for. */
  #frameAt(bytes: Uint8Array, offset: number, lsn: number, file: string, chain = this.chain): LogFrame | undefined {
    if (offset < 0 || offset + FRAME.header > bytes.length) return undefined;
    const dv = view(bytes);
    const length = dv.getUint32(offset + FRAME.length, true);
    if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0 || offset + length > bytes.length) return undefined;
    const written = dv.getUint32(offset + FRAME.lsn, true) + dv.getUint32(offset + FRAME.lsn + 4, true) * 2 ** 32;
    if (written !== lsn) return undefined;
    const frame = bytes.subarray(offset, offset + length);
    const checksum = dv.getUint32(offset + FRAME.checksum, true);
    // Frames lie at multiples of 8, but the buffer they were read into may not.
    const words = new Int32Array(frame.slice().buffer);
    if (chain !== undefined && crc32c(words, FRAME.lsn / 4, length / 4, chain) >>> 0 !== checksum) return undefined;
    return {
      lsn,
      bytes: length,
      checksum,
      salt: dv.getUint32(offset + FRAME.salt, true),
      commit: (dv.getUint32(offset + FRAME.flags, true) & FRAME_COMMIT) !== 0,
      file,
      sections: readSections(frame),
    };
  }

  #inSegments(): LogFrame | undefined {
    const sequence = Math.floor(this.lsn / this.#segmentSize);
    const here = this.segment(sequence);
    const found =
      here === undefined ? undefined : this.#frameAt(here, this.lsn % this.#segmentSize, this.lsn, `log/${segmentName(sequence)}`);
    if (found !== undefined) return found;
    const next = readNextHead(this.#host, this.#directory, sequence + 1, this.#segmentSize);
    if (next === undefined) return undefined;
    return this.#frameAt(next, SEGMENT_HEADER, (sequence + 1) * this.#segmentSize + SEGMENT_HEADER, `log/${segmentName(sequence + 1)}`);
  }

  /** The tail begins with some frame and goes on without gaps. */
  #inTail(): LogFrame | undefined {
    this.#tail ??= readWhole(this.#host, `${this.#directory}/log/tail`) ?? new Uint8Array(0);
    const tail = this.#tail;
    if (tail.length < FRAME.header) return undefined;
    const dv = view(tail);
    const next = (Math.floor(this.lsn / this.#segmentSize) + 1) * this.#segmentSize + SEGMENT_HEADER;
    for (let at = 0; at + FRAME.header <= tail.length;) {
      const length = dv.getUint32(at + FRAME.length, true);
      if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0) return undefined;
      const lsn = dv.getUint32(at + FRAME.lsn, true) + dv.getUint32(at + FRAME.lsn + 4, true) * 2 ** 32;
      if (lsn === this.lsn || lsn === next) {
        const frame = this.#frameAt(tail, at, lsn, 'log/tail');
        if (frame !== undefined) return frame;
      }
      at += length;
    }
    return undefined;
  }

  next(): LogFrame | undefined {
    let frame = this.inTail ? undefined : this.#inSegments();
    if (frame === undefined) {
      frame = this.#inTail();
      if (frame === undefined) return undefined;
      this.inTail = true;
    }
    this.lsn = frame.lsn + frame.bytes;
    this.chain = frame.checksum;
    return frame;
  }

  /** After the end: a frame further on in this segment or in a later one whose successor continues it. Such a frame was written and cannot be reached. */
  beyond(): number | undefined {
    const first = Math.floor(this.lsn / this.#segmentSize);
    for (let sequence = first; ; sequence++) {
      const bytes = this.segment(sequence);
      if (bytes === undefined) return undefined;
      const from = sequence === first ? (this.lsn % this.#segmentSize) + 8 : SEGMENT_HEADER;
      const dv = view(bytes);
      for (let at = from; at + FRAME.header <= bytes.length; at += 8) {
        const lsn = sequence * this.#segmentSize + at;
        if (dv.getUint32(at + FRAME.lsn, true) !== lsn % 2 ** 32) continue;
        const frame = this.#frameAtUnchained(bytes, at, lsn, sequence);
        if (frame === undefined) continue;
        if (this.#frameAt(bytes, at + frame.bytes, lsn + frame.bytes, frame.file, frame.checksum) !== undefined) return lsn;
      }
    }
  }

  #frameAtUnchained(bytes: Uint8Array, at: number, lsn: number, sequence: number): LogFrame | undefined {
    const { chain } = this;
    this.chain = undefined;
    try {
      return this.#frameAt(bytes, at, lsn, `log/${segmentName(sequence)}`);
    } finally {
      this.chain = chain;
    }
  }

  /** Does a frame begin, by its length and LSN, where the log ends? Then it was torn. */
  get torn(): boolean {
    const sequence = Math.floor(this.lsn / this.#segmentSize);
    const bytes = this.segment(sequence);
    return bytes !== undefined && this.#frameAtUnchained(bytes, this.lsn % this.#segmentSize, this.lsn, sequence) !== undefined;
  }
}

function readNextHead(host: Host, directory: string, sequence: number, size: number): Uint8Array | undefined {
  return readWhole(host, `${directory}/log/${segmentName(sequence)}`, Math.min(size, SEGMENT_HEADER + FRAME_MAX));
}
