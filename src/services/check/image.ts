/**
 * A space as it is on disk, without the kernel: control file, log, object files, and each object's bytes as recovery would give them.
 * Nothing is written. The caller holds the lock.
 */
import { PAGE, OBJECT_SIZE_MAX } from '../../abi/format.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import { BACKUPS_FILE, SEGMENT_HEADER } from '../../abi/log-format.ts';
import { isTwzError } from '../../abi/errors.ts';
import type { Host } from '../../host/host.ts';
import { CONTROL_FILE, readControl, readWhole, type ControlState } from './control.ts';
import { Findings } from './findings.ts';
import {
  LogReader,
  eachWord,
  readSegmentHeader,
  segmentName,
  segmentNumber,
  type LogFrame,
  type LogSection,
  type SegmentInfo,
} from './log-scan.ts';

/** An object's bytes, and whether they come from the file alone (so that the stamped checksum holds). */
export interface ObjectBytes {
  readonly bytes: Uint8Array;
  readonly stamped: boolean;
}

/** Directory names in a space. */
const DIRECTORIES = ['objects', 'log'] as const;
/** What the programs leave that have the space open. */
const LIVE_FILES = ['lock', 'users', 'live', 'members', 'node.lock'];
/** Files that the log directory holds besides segments. */
const LOG_FILES = /^(tail|draft|spare\d+)$/;
export const QUARANTINE = 'quarantine';

export class SpaceImage {
  readonly host: Host;
  readonly directory: string;
  readonly findings: Findings;
  readonly control: ControlState | undefined;
  readonly segments: readonly SegmentInfo[];
  /** Where the log ends, with the checksum of its last frame. */
  end: { readonly lsn: number; readonly chain: number | undefined };
  /** Where the last committed transaction ends. */
  committed: { readonly lsn: number; readonly chain: number | undefined };
  transactions = 0;
  /** Object files by ID: path below the space directory. */
  readonly files = new Map<ObjectId, string>();
  /** Committed sections that have not reached the object files for certain, by object, in order. */
  readonly #pending = new Map<ObjectId, LogSection[]>();
  readonly blocked = new Set<string>();

  constructor(host: Host, directory: string, findings: Findings = new Findings()) {
    this.host = host;
    this.directory = directory;
    this.findings = findings;
    this.#scanTop();
    this.control = readControl(host, directory, findings);
    this.segments = this.#scanLogDirectory();
    this.#scanObjects();
    this.end = this.committed = this.start;
    this.#readLog();
  }

  /** Where reading of the log begins. */
  get start(): { lsn: number; chain: number | undefined } {
    if (this.control !== undefined) return { lsn: this.control.lsn, chain: this.control.chain };
    const oldest = this.segments.find((segment) => segment.valid);
    return oldest === undefined ? { lsn: 0, chain: undefined } : { lsn: oldest.sequence * oldest.size + SEGMENT_HEADER, chain: undefined };
  }

  get segmentSize(): number {
    return this.control?.segmentSize ?? this.segments.find((segment) => segment.valid)?.size ?? 0;
  }

  // --- files --------------------------------------------------------------------------------------------------------------

  list(path: string): string[] | undefined {
    try {
      return this.host.list(`${this.directory}/${path}`).sort();
    } catch (error) {
      if (isTwzError(error, 'FileMissing')) return undefined;
      throw error;
    }
  }

  #scanTop(): void {
    const known = new Set<string>([
      ...DIRECTORIES,
      CONTROL_FILE,
      ...LIVE_FILES,
      QUARANTINE,
      BACKUPS_FILE,
      `${BACKUPS_FILE}.draft`,
      'space.draft',
      // New objects before their transaction is committed; the next opening removes what is left of them.
      'drafts',
    ]);
    for (const name of this.list('') ?? []) {
      if (!known.has(name)) this.findings.add('StrayFile', `${name} is no part of a space`, { file: name });
    }
    for (const name of DIRECTORIES) {
      if (this.list(name) !== undefined) continue;
      if (this.host.exists(`${this.directory}/${name}`)) {
        this.blocked.add(name);
        this.findings.add('DirectoryBlocked', `${name} is a file`, { file: name, expected: 'a directory' });
      } else this.findings.add('DirectoryMissing', `there is no directory ${name}`, { file: name });
    }
  }

  #scanLogDirectory(): SegmentInfo[] {
    const segments: SegmentInfo[] = [];
    for (const name of this.list('log') ?? []) {
      const sequence = segmentNumber(name);
      if (sequence === undefined) {
        if (!LOG_FILES.test(name)) this.findings.add('StrayFile', `log/${name} is no part of a log`, { file: `log/${name}` });
        continue;
      }
      // Done with, and perhaps on its way to a new place: a rename that the power took back leaves the old name on it.
      if (this.control !== undefined && sequence < Math.floor(this.control.lsn / this.control.segmentSize)) continue;
      const info = readSegmentHeader(this.host, this.directory, name, this.findings);
      if (info === undefined) continue;
      segments.push(info);
      if (info.valid) this.#checkSegment(info);
    }
    return segments.sort((a, b) => a.sequence - b.sequence);
  }

  #checkSegment(info: SegmentInfo): void {
    const file = `log/${info.name}`;
    const handle = this.host.open(`${this.directory}/${file}`, 'read');
    const length = this.host.length(handle);
    this.host.close(handle);
    if (length !== info.size)
      this.findings.add('SegmentLength', `the segment has ${length} bytes`, {
        file,
        at: Math.min(length, info.size),
        expected: String(info.size),
      });
    if (this.control !== undefined && (info.space !== this.control.space || info.size !== this.control.segmentSize)) {
      this.findings.add('SegmentHeader', `the segment is of space ${info.space}, with segments of ${info.size}`, {
        file,
        expected: `${this.control.space}, ${this.control.segmentSize}`,
      });
    }
  }

  #scanObjects(): void {
    for (const shelf of this.list('objects') ?? []) {
      const names = this.list(`objects/${shelf}`);
      if (names === undefined || !/^[0-9a-f]{2}$/.test(shelf))
        this.findings.add('StrayFile', `objects/${shelf} is no shelf of objects`, { file: `objects/${shelf}` });
      for (const name of names ?? []) this.#scanObjectFile(`objects/${shelf}`, name);
    }
  }

  #scanObjectFile(shelf: string, name: string): void {
    const path = `${shelf}/${name}`;
    // One that is being created, or comes.
    if (/\.(draft|staged)$/.test(name) && isId(name.slice(0, name.indexOf('.')))) return;
    const id = name.endsWith('.twz') ? name.slice(0, -4) : '';
    if (!isId(id)) {
      this.findings.add('StrayFile', `${path} is not named as an object file`, { file: path });
      return;
    }
    const right = `objects/${id.slice(0, 2)}` === shelf;
    const other = this.files.get(id);
    if (!right) {
      const taken = other !== undefined || this.host.exists(`${this.directory}/${objectPath(id)}`);
      if (taken) this.findings.add('IdDuplicate', `${path} and ${objectPath(id)} claim object ${id}`, { object: id, file: path });
      else this.findings.add('FileMisplaced', `${path} lies on the wrong shelf`, { object: id, file: path, expected: objectPath(id) });
      if (taken) return;
    }
    this.files.set(id, path);
  }

  // --- the log ------------------------------------------------------------------------------------------------------------

  /** Every frame from where reading begins, or from `lsn`. */
  reader(): LogReader | undefined {
    return this.segmentSize === 0 ? undefined : new LogReader(this.host, this.directory, this.segmentSize, this.start);
  }

  #readLog(): void {
    const reader = this.reader();
    if (reader === undefined) return;
    const first = segmentName(Math.floor(this.start.lsn / this.segmentSize));
    let open: LogFrame[] = [];
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      open.push(frame);
      if (!frame.commit) continue;
      for (const part of open) this.#take(part);
      open = [];
      this.transactions++;
      this.committed = { lsn: reader.lsn, chain: reader.chain };
    }
    this.end = { lsn: reader.lsn, chain: reader.chain };
    this.#checkEnd(reader, first, open);
  }

  #checkEnd(reader: LogReader, first: string, open: readonly LogFrame[]): void {
    const { findings } = this;
    const at = reader.lsn % this.segmentSize;
    const file = `log/${segmentName(Math.floor(reader.lsn / this.segmentSize))}`;
    // A space that has logged nothing yet has no segment.
    const fresh = this.segments.length === 0 && this.files.size === 0 && this.transactions === 0;
    if (this.control !== undefined && !fresh && !this.segments.some((segment) => segment.name === first)) {
      findings.add('SegmentMissing', `replay starts in log/${first}, which is not there`, { file: `log/${first}` });
    }
    const beyond = reader.inTail ? undefined : reader.beyond();
    if (beyond !== undefined) {
      findings.add('LogBroken', `the log ends at ${reader.lsn}, and good frames go on at ${beyond}`, {
        file,
        at,
        expected: 'frames without a gap',
      });
    } else if (reader.torn) findings.add('LogTorn', `the frame at ${reader.lsn} is not whole`, { file, at });
    if (open.length > 0)
      findings.add('LogUncommitted', `frames at the end that belong to no committed transaction: ${open.length}`, { file, at });
  }

  #take(frame: LogFrame): void {
    if (frame.sections === undefined) {
      this.findings.add('LogSection', `the frame at ${frame.lsn} is not well formed`, {
        file: frame.file,
        at: frame.lsn % this.segmentSize,
      });
      return;
    }
    for (const section of frame.sections) {
      const list = this.#pending.get(section.id);
      // What came before a creation or a removal is of no account.
      if (list === undefined || section.operation !== 'change') this.#pending.set(section.id, [section]);
      else list.push(section);
    }
  }

  // --- objects ------------------------------------------------------------------------------------------------------------

  /** Objects that recovery would give, in order of their IDs. */
  ids(): ObjectId[] {
    const ids = new Set(this.files.keys());
    for (const [id, sections] of this.#pending) {
      if (sections[0]?.operation === 'remove') ids.delete(id);
      else if (sections[0]?.operation === 'create' || (sections[0]?.operation === 'adopt' && this.#drafted(id))) ids.add(id);
    }
    return [...ids].sort();
  }

  /** IDs that the log changes though they are neither in a file nor created by it. */
  *withoutFile(): Generator<ObjectId> {
    for (const [id, sections] of this.#pending)
      if ((sections[0]?.operation === 'change' || (sections[0]?.operation === 'adopt' && !this.#drafted(id))) && !this.files.has(id))
        yield id;
  }

  /** Objects that the log has something for. */
  pending(): IterableIterator<ObjectId> {
    return this.#pending.keys();
  }

  /** The version that the log gives an object. */
  version(id: ObjectId): number | undefined {
    return this.#pending.get(id)?.at(-1)?.version;
  }

  /** The object files have all that the log had: from here on they count alone. */
  forgetLog(): void {
    this.#pending.clear();
  }

  /** Was the object removed as far as the log reaches back? */
  removed(id: ObjectId): boolean {
    return this.#pending.get(id)?.[0]?.operation === 'remove';
  }

  /** What the log adopts may be a draft by its name yet. */
  #draft(id: ObjectId): string {
    return `${this.directory}/${objectPath(id).replace(/twz$/, 'draft')}`;
  }

  #drafted(id: ObjectId): boolean {
    return this.host.exists(this.#draft(id));
  }

  /** The object's file as it is. */
  file(id: ObjectId): Uint8Array | undefined {
    const path = this.files.get(id);
    if (path !== undefined) return readWhole(this.host, `${this.directory}/${path}`, OBJECT_SIZE_MAX + PAGE);
    if (this.#pending.get(id)?.[0]?.operation !== 'adopt' || !this.#drafted(id)) return undefined;
    return readWhole(this.host, this.#draft(id), OBJECT_SIZE_MAX + PAGE);
  }

  /** The object with all that the log has for it. Undefined where there is none. */
  object(id: ObjectId): ObjectBytes | undefined {
    const sections = this.#pending.get(id) ?? [];
    const first = sections[0];
    if (first?.operation === 'remove') return undefined;
    const created = first?.operation === 'create';
    const file = created ? new Uint8Array(0) : this.file(id);
    if (file === undefined) return undefined;
    if (first === undefined || (first.operation === 'adopt' && sections.length === 1)) return { bytes: file, stamped: true };
    const size = sections.reduce((most, section) => Math.max(most, section.size), 0);
    const bytes = new Uint8Array(Math.max(size, file.length));
    bytes.set(file);
    for (const section of sections) eachWord(section, (at, word) => bytes.set(word, at));
    const last = sections.at(-1)?.size ?? 0;
    // A file longer than the last size is one that a transaction in the log has not cut yet.
    return { bytes: bytes.subarray(0, created || file.length < last ? last : Math.max(last, file.length)), stamped: false };
  }
}

export function objectPath(id: ObjectId): string {
  return `objects/${id.slice(0, 2)}/${id}.twz`;
}
