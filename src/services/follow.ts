/**
 * Following a space that another process has open: its log is read as it grows, without the lock and without that process knowing.
 *
 * Every commit stands in the mapped tail at once and in a segment soon after, each frame chained to the one before by its checksum. So a
 * frame that continues the chain is whole and committed history; anything else is not there yet. Who falls behind by more than a
 * checkpoint begins again at the control file's position, and is told how much was missed.
 */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError, isTwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { Host } from '../host/host.ts';
import { readControl, type ControlState } from './check/control.ts';
import { Findings } from './check/findings.ts';
import { readSections, segmentName, type LogSection } from './check/log-scan.ts';

export interface Followed {
  readonly lsn: number;
  /** Bytes of log. */
  readonly bytes: number;
  readonly sections: readonly LogSection[];
}

interface Position {
  readonly lsn: number;
  readonly chain: number;
}

interface Frame {
  readonly bytes: number;
  readonly commit: boolean;
  readonly checksum: number;
  readonly sections: readonly LogSection[];
}

const TAIL_MAX = 4 << 20;
const READ = 1 << 18;

export class LogFollower {
  readonly #host: Host;
  readonly #directory: string;
  #control: ControlState;
  /** Behind the last committed frame that was read. */
  #at: Position;
  /** Where the next frame may stand in the tail. */
  #tailAt = 0;
  /** Bytes of log that went by unseen. */
  missed = 0;

  /** Throws SpaceMissing, SpaceCorrupt. */
  constructor(host: Host, directory: string) {
    this.#host = host;
    this.#directory = directory;
    if (!host.exists(`${directory}/space.twz`)) throw new TwzError('SpaceMissing', `${directory} holds no space`, { directory });
    const control = readControl(host, directory, new Findings());
    if (control === undefined) throw new TwzError('SpaceCorrupt', `${directory}/space.twz has no valid slot`, { directory });
    this.#control = control;
    this.#at = control;
  }

  get space(): ObjectId {
    return this.#control.space;
  }

  /** Where replay would start now. */
  get checkpoint(): number {
    return this.#control.lsn;
  }

  get lsn(): number {
    return this.#at.lsn;
  }

  /** Committed transactions since the last call; `most` bytes of log of them, about. */
  poll(most = Infinity): Followed[] {
    const control = readControl(this.#host, this.#directory, new Findings());
    if (control !== undefined) this.#control = control;
    const found = this.#read(most);
    if (found.length === 0 && this.#control.lsn > this.#at.lsn) {
      // The log went on and was recycled before it was read.
      this.missed += this.#control.lsn - this.#at.lsn;
      this.#at = this.#control;
      return this.#read(most);
    }
    return found;
  }

  #read(most: number): Followed[] {
    const found: Followed[] = [];
    let taken = 0;
    let first = this.#at.lsn;
    let open: LogSection[] = [];
    let at: Position = this.#at;
    while (taken < most) {
      const next = this.#next(at);
      if (next === undefined) break;
      at = { lsn: next.lsn + next.frame.bytes, chain: next.frame.checksum };
      if (open.length === 0) first = next.lsn;
      open.push(...next.frame.sections);
      if (!next.frame.commit) continue;
      found.push({ lsn: first, bytes: at.lsn - first, sections: open });
      taken += at.lsn - first;
      open = [];
      this.#at = at;
    }
    this.#window = undefined;
    return found;
  }

  /** A part of a file that was read in this poll, and where it begins. */
  #window: { readonly file: string; readonly at: number; readonly bytes: Uint8Array } | undefined;

  #bytes(file: string, at: number, length: number): Uint8Array {
    const window = this.#window;
    if (window?.file === file && at >= window.at && at + length <= window.at + window.bytes.length)
      return window.bytes.subarray(at - window.at, at - window.at + length);
    try {
      const handle = this.#host.open(`${this.#directory}/log/${file}`, 'read');
      try {
        const bytes = new Uint8Array(Math.max(READ, length));
        const n = this.#host.read(handle, bytes, at);
        this.#window = { file, at, bytes: bytes.subarray(0, n) };
        return bytes.subarray(0, Math.min(n, length));
      } finally {
        this.#host.close(handle);
      }
    } catch (error) {
      if (isTwzError(error, 'FileMissing')) return new Uint8Array(0);
      throw error;
    }
  }

  /** The frame that continues the chain: in its segment, at the start of the next one, or in the tail. */
  #next(at: Position): { readonly lsn: number; readonly frame: Frame } | undefined {
    const { segmentSize } = this.#control;
    const sequence = Math.floor(at.lsn / segmentSize);
    const behind = (sequence + 1) * segmentSize + SEGMENT_HEADER;
    for (const lsn of [at.lsn, behind]) {
      const frame = this.#frame(segmentName(Math.floor(lsn / segmentSize)), lsn % segmentSize, { lsn, chain: at.chain });
      if (frame !== undefined) return { lsn, frame };
    }
    return this.#inTail(at, behind);
  }

  #inTail(at: Position, behind: number): { readonly lsn: number; readonly frame: Frame } | undefined {
    const size = Math.min(TAIL_MAX, this.#control.segmentSize);
    for (const lsn of [at.lsn, behind]) {
      const frame = this.#frame('tail', this.#tailAt, { lsn, chain: at.chain });
      if (frame === undefined) continue;
      this.#tailAt += frame.bytes;
      return { lsn, frame };
    }
    // It began anew, or this is the first look: frame by frame from its start.
    for (let offset = 0; offset + FRAME.header <= size;) {
      const head = this.#bytes('tail', offset, FRAME.header);
      if (head.length < FRAME.header) return undefined;
      const dv = new DataView(head.buffer, head.byteOffset, head.length);
      const length = dv.getUint32(FRAME.length, true);
      if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0) return undefined;
      const lsn = dv.getUint32(FRAME.lsn, true) + dv.getUint32(FRAME.lsn + 4, true) * 2 ** 32;
      if (lsn === at.lsn || lsn === behind) {
        const frame = this.#frame('tail', offset, { lsn, chain: at.chain });
        if (frame !== undefined) {
          this.#tailAt = offset + frame.bytes;
          return { lsn, frame };
        }
      }
      if (lsn > behind) return undefined;
      offset += length;
    }
    return undefined;
  }

  #frame(file: string, offset: number, { lsn, chain }: Position): Frame | undefined {
    const head = this.#bytes(file, offset, FRAME.header);
    if (head.length < FRAME.header) return undefined;
    const dv = new DataView(head.buffer, head.byteOffset, head.length);
    const length = dv.getUint32(FRAME.length, true);
    if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0) return undefined;
    if (dv.getUint32(FRAME.lsn, true) !== lsn % 2 ** 32 || dv.getUint32(FRAME.lsn + 4, true) !== Math.floor(lsn / 2 ** 32))
      return undefined;
    const bytes = this.#bytes(file, offset, length).slice();
    if (bytes.length < length) return undefined;
    const words = new Int32Array(bytes.buffer);
    const checksum = (words[FRAME.checksum >> 2] ?? 0) >>> 0;
    if (crc32c(words, FRAME.lsn >> 2, length >> 2, chain) >>> 0 !== checksum) return undefined;
    const sections = readSections(bytes);
    if (sections === undefined) return undefined;
    return { bytes: length, checksum, sections, commit: ((words[FRAME.flags >> 2] ?? 0) & FRAME_COMMIT) !== 0 };
  }
}
