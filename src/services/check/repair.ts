/**
 * Repair: mends what can be mended without guessing, and keeps a copy of everything that it changes.
 *
 * In this order: swapped files go back to their names; the log is settled into the object files, so that nothing is replayed over the
 * repair; the control file and the log's files are put right; bookkeeping in objects is rebuilt; what cannot be trusted moves to
 * `quarantine/`, byte for byte. Broken references are cleared only when asked.
 */
import { FOT, KIND, META, PAGE } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { BACKUPS_FILE } from '../../abi/log-format.ts';
import type { Host } from '../../host/host.ts';
import { CONTROL_FILE, encodeControl, readWhole, type ControlState } from './control.ts';
import { FINDINGS, Findings, type Finding, type FindingName } from './findings.ts';
import { QUARANTINE, objectPath, type SpaceImage } from './image.ts';
import { encodeSegmentHeader, segmentName } from './log-scan.ts';
import { ObjectImage } from './object-image.ts';
import { checkObject } from './object.ts';
import { rebuildObject, stamp } from './rebuild.ts';
import { clearPointers } from './typed.ts';

export interface RepairOptions {
  /** Set references that lead nowhere to null. */
  readonly clear: boolean;
}

export interface RepairStep {
  readonly action: 'moved' | 'rebuilt' | 'cleared' | 'quarantined' | 'settled' | 'truncated' | 'created' | 'skipped';
  readonly file: string;
  readonly message: string;
}

export function repair(image: SpaceImage, findings: Findings, options: RepairOptions): RepairStep[] {
  return new Repair(image, findings, options).run();
}

class Repair {
  readonly #host: Host;
  readonly #directory: string;
  readonly #image: SpaceImage;
  readonly #found: Findings;
  readonly #findings: readonly Finding[];
  readonly #options: RepairOptions;
  readonly #steps: RepairStep[] = [];

  constructor(image: SpaceImage, findings: Findings, options: RepairOptions) {
    this.#host = image.host;
    this.#directory = image.directory;
    this.#image = image;
    this.#found = findings;
    this.#findings = findings.list;
    this.#options = options;
  }

  run(): RepairStep[] {
    const control = this.#controlState();
    if (control === undefined) {
      this.#step('skipped', CONTROL_FILE, 'neither the control file nor a log segment tells which space this is; nothing was changed');
      return this.#steps;
    }
    if (this.#has('ControlVersion') || this.#has('SegmentVersion')) {
      this.#step('skipped', CONTROL_FILE, 'another version of the format; nothing was changed');
      return this.#steps;
    }
    if (this.#has('DirectoryBlocked')) {
      this.#step('skipped', CONTROL_FILE, 'a file is in the place of a directory: move it away first; nothing was changed');
      return this.#steps;
    }
    for (const { name, file } of this.#findings) if (name === 'DirectoryMissing' && file !== undefined) this.#makeDirectory(file);
    this.#settle(control);
    this.#log(control);
    this.#misplaced();
    this.#objects();
    this.#strays();
    // What is mended changes without a new version: the next backup must read everything.
    this.#host.remove(this.#path(BACKUPS_FILE));
    this.#host.syncAll(this.#directory);
    return this.#steps;
  }

  #has(...names: FindingName[]): boolean {
    return this.#findings.some((finding) => names.includes(finding.name));
  }

  #step(action: RepairStep['action'], file: string, message: string): void {
    this.#steps.push({ action, file, message });
  }

  // --- files --------------------------------------------------------------------------------------------------------------

  #path(file: string): string {
    return `${this.#directory}/${file}`;
  }

  #makeDirectory(file: string): void {
    this.#host.makeDirectory(this.#path(file));
    this.#step('created', file, 'made the directory');
  }

  /** A name in the quarantine that is not taken. */
  #quarantineName(file: string): string {
    this.#host.makeDirectory(this.#path(QUARANTINE));
    const base = `${QUARANTINE}/${file.slice(file.lastIndexOf('/') + 1)}`;
    let name = base;
    for (let n = 2; this.#host.exists(this.#path(name)); n++) name = `${base}.${n}`;
    return name;
  }

  #quarantine(file: string, why: string): void {
    const to = this.#quarantineName(file);
    this.#host.rename(this.#path(file), this.#path(to));
    this.#step('quarantined', file, `${why}: moved to ${to}`);
  }

  #keepCopy(file: string): void {
    const bytes = readWhole(this.#host, this.#path(file));
    if (bytes !== undefined) this.#write(this.#quarantineName(file), bytes);
  }

  /** Writes a file whole: it has the old or the new content, whatever happens. */
  #write(file: string, bytes: Uint8Array): void {
    const draft = this.#path(`${file}.draft`);
    this.#host.remove(draft);
    const handle = this.#host.open(draft, 'create');
    try {
      this.#host.write(handle, bytes, 0);
      this.#host.sync(handle);
    } finally {
      this.#host.close(handle);
    }
    this.#host.rename(draft, this.#path(file));
  }

  // --- control file and log ---------------------------------------------------------------------------------------------------

  /** The state that holds, or, without one, what the oldest segment tells: replay of the whole log from its first frame. */
  #controlState(): ControlState | undefined {
    const { control, segments, start } = this.#image;
    if (control !== undefined) return control;
    const oldest = segments.find((segment) => segment.valid);
    if (oldest === undefined) return undefined;
    return { generation: 1, space: oldest.space, lsn: start.lsn, chain: 0, segmentSize: oldest.size };
  }

  /** Writes what the log has into the object files, then moves the control file past it. */
  #settle(control: ControlState): void {
    const image = this.#image;
    const pending = [...image.pending()];
    for (const id of pending) {
      const file = objectPath(id);
      const object = image.object(id);
      if (object === undefined) {
        if (image.removed(id)) this.#host.remove(this.#path(file));
        continue;
      }
      if (object.bytes.length < PAGE) continue;
      this.#host.makeDirectory(this.#path(file.slice(0, file.lastIndexOf('/'))));
      const copy = new ObjectImage(object.bytes.slice());
      copy.dv.setBigUint64(META.version, BigInt(image.version(id) ?? 0), true);
      stamp(copy);
      this.#write(file, copy.bytes);
      image.files.set(id, file);
    }
    const moved = image.committed.lsn !== control.lsn;
    if (!moved && !this.#has('ControlMissing', 'ControlDamaged', 'ControlSlotDamaged', 'ControlLength')) return;
    this.#host.syncAll(this.#directory);
    const { lsn, chain } = image.committed;
    if (this.#host.exists(this.#path(CONTROL_FILE))) this.#keepCopy(CONTROL_FILE);
    this.#write(CONTROL_FILE, encodeControl({ ...control, generation: control.generation + 2, lsn, chain: chain ?? 0 }));
    this.#host.syncDirectory(this.#directory);
    if (pending.length > 0)
      this.#step('settled', 'log', `wrote ${image.transactions} transactions to the files of ${pending.length} objects`);
    this.#step('rebuilt', CONTROL_FILE, `replay starts at ${lsn}`);
    image.forgetLog();
  }

  /** Clears the log behind its end and puts segment files right. What is cut off is kept in the quarantine. */
  #log(control: ControlState): void {
    const { committed, segments } = this.#image;
    const { segmentSize } = control;
    const last = Math.floor(committed.lsn / segmentSize);
    const cut = this.#has('LogBroken', 'LogTorn', 'LogUncommitted');
    for (const segment of segments) {
      const file = `log/${segment.name}`;
      const wrong = this.#findings.some((finding) => finding.file === file && ['SegmentHeader', 'SegmentLength'].includes(finding.name));
      if (segment.sequence > last && (cut || wrong)) this.#quarantine(file, 'lies behind the end of the log');
      else if (segment.sequence < last && wrong) this.#quarantine(file, 'is not needed any more');
      else if (segment.sequence === last && (cut || wrong)) this.#rewriteSegment(file, segment.sequence, control);
    }
    if (this.#has('SegmentMissing') && !this.#host.exists(this.#path(`log/${segmentName(last)}`)))
      this.#rewriteSegment(`log/${segmentName(last)}`, last, control);
    if (cut && this.#host.exists(this.#path('log/tail'))) this.#quarantine('log/tail', 'belongs to the end that was cut off');
  }

  #rewriteSegment(file: string, sequence: number, control: ControlState): void {
    const old = readWhole(this.#host, this.#path(file)) ?? new Uint8Array(0);
    if (old.length > 0) this.#keepCopy(file);
    const bytes = new Uint8Array(control.segmentSize);
    const end = this.#image.committed.lsn % control.segmentSize;
    bytes.set(old.subarray(0, Math.min(end, old.length)));
    bytes.set(encodeSegmentHeader(control.space, sequence, control.segmentSize));
    this.#write(file, bytes);
    this.#step('truncated', file, `ends at ${end}; the old segment is kept in ${QUARANTINE}/`);
  }

  // --- objects ------------------------------------------------------------------------------------------------------------

  /** Files that hold another object than their name says go where they belong, if that is certain and free. */
  #misplaced(): void {
    const wrong: { id: ObjectId; file: string }[] = [];
    for (const { name, object, file } of this.#findings) {
      if (object === undefined) continue;
      if (name === 'IdMismatch') wrong.push({ id: object, file: this.#image.files.get(object) ?? objectPath(object) });
      if (name === 'FileMisplaced' && file !== undefined) wrong.push({ id: object, file });
    }
    const moves: { from: string; to: string }[] = [];
    for (const { file } of wrong) {
      const bytes = readWhole(this.#host, this.#path(file));
      if (bytes === undefined || bytes.length < PAGE) continue;
      const found = new ObjectImage(bytes).id;
      const trial = new Findings();
      checkObject(this.#host, found, bytes, trial, { stamped: true });
      if (trial.of('error') > 0) continue;
      const from = this.#quarantineName(file);
      this.#host.rename(this.#path(file), this.#path(from));
      moves.push({ from, to: objectPath(found) });
    }
    for (const { from, to } of moves) {
      if (this.#host.exists(this.#path(to))) {
        this.#step('quarantined', to, `the object that this file names has a file already: kept as ${from}`);
        continue;
      }
      this.#host.makeDirectory(this.#path(to.slice(0, to.lastIndexOf('/'))));
      this.#host.rename(this.#path(from), this.#path(to));
      this.#step('moved', to, 'holds the object of this name');
    }
  }

  #objects(): void {
    const byObject = new Map<ObjectId, Set<FindingName>>();
    for (const { name, object } of this.#findings) {
      if (object === undefined) continue;
      const names = byObject.get(object) ?? new Set();
      byObject.set(object, names.add(name));
    }
    for (const id of this.#found.toDerive().keys()) if (!byObject.has(id)) byObject.set(id, new Set());
    for (const [id, names] of byObject) {
      const file = objectPath(id);
      if (!this.#host.exists(this.#path(file))) continue;
      if ([...names].some((name) => name === 'IdMismatch' || name === 'IdDuplicate' || name === 'FileMisplaced')) {
        if (this.#stillWrong(id, file)) this.#quarantine(file, 'holds another object');
      } else if ([...names].some((name) => FINDINGS[name].mend === 'quarantine')) {
        this.#quarantine(file, `cannot be trusted (${[...names].join(', ')})`);
      } else this.#mend(id, file, names);
    }
    for (const { name, file } of this.#findings)
      if (name === 'IdDuplicate' && file !== undefined && this.#host.exists(this.#path(file)))
        this.#quarantine(file, 'a second file of the object');
  }

  #stillWrong(id: ObjectId, file: string): boolean {
    const bytes = readWhole(this.#host, this.#path(file));
    if (bytes === undefined || bytes.length < PAGE) return true;
    const trial = new Findings();
    return !checkObject(this.#host, id, bytes, trial, { stamped: true }).usable;
  }

  #mend(id: ObjectId, file: string, names: ReadonlySet<FindingName>): void {
    const derived = this.#found.toDerive().get(id);
    if (derived === undefined && ![...names].some((name) => ['rebuild', 'clear'].includes(FINDINGS[name].mend))) return;
    const bytes = readWhole(this.#host, this.#path(file));
    if (bytes === undefined) return;
    const image = new ObjectImage(bytes);
    if (image.u32(META.kind) === KIND.immutable) {
      this.#step('skipped', file, 'the object is immutable: its ID is the hash of what it holds');
      return;
    }
    const done: string[] = [];
    const isAsked = (mend: string): boolean => [...names].some((name) => FINDINGS[name].mend === mend);
    const clears = this.#options.clear && isAsked('clear');
    if (clears) done.push(...clearPointers(this.#found, this.#image, id, image));
    for (const [at, value] of derived ?? []) image.dv.setUint32(at, value, true);
    if (derived !== undefined) done.push(`set words of collections to what all the rest of them says: ${derived.size}`);
    if (isAsked('rebuild')) done.push(...this.#recount(id, image));
    if (isAsked('rebuild') || clears) done.push(...rebuildObject(image));
    const size = image.u32(META.size);
    const cut = names.has('FileTooLong') && size <= bytes.length;
    if (done.length === 0 && !cut) return;
    this.#keepCopy(file);
    stamp(image);
    this.#write(file, cut ? bytes.subarray(0, size) : bytes);
    if (cut) this.#step('truncated', file, `to ${size} bytes`);
    for (const what of done) this.#step(what.startsWith('set references') ? 'cleared' : 'rebuilt', file, what);
  }

  /** An entry that counts too few pointers gets the number that was found. */
  #recount(id: ObjectId, image: ObjectImage): string[] {
    const counts = this.#found.toCount(id);
    for (const [index, pointers] of counts) {
      const entry = image.fotEntry(index);
      if (entry !== undefined) image.dv.setUint32(entry.at + FOT.count, pointers, true);
    }
    return counts.size === 0 ? [] : [`corrected FOT counts: ${counts.size}`];
  }

  #strays(): void {
    for (const { name, file } of this.#findings)
      if (name === 'StrayFile' && file !== undefined && this.#host.exists(this.#path(file)))
        this.#quarantine(file, 'is no part of the space');
  }
}
