/**
 * What `check` can find. Names are stable: scripts may rely on them. `twz explain NAME` prints the page.
 *
 * An error means that data is lost or that the system will refuse to use it; a warning that something is not as it should be and no
 * data depends on it; a note that something is worth knowing and in order.
 */
import type { ObjectId } from '../../abi/id.ts';

export type Severity = 'error' | 'warning' | 'note';

/**
 * What `--repair` does about a finding. `quarantine` moves the file aside, out of the space, byte for byte; `derive` sets words of a
 * collection to what all the rest of it says.
 */
export type Mend = 'quarantine' | 'rebuild' | 'derive' | 'clear' | 'truncate' | 'remove' | 'none';

interface FindingPage {
  readonly severity: Severity;
  readonly what: string;
  readonly mend: Mend;
}

const page = (severity: Severity, mend: Mend, what: string): FindingPage => ({ severity, what, mend });

export const FINDINGS = {
  // --- the space ----------------------------------------------------------------------------------------------------------
  ControlMissing: page('error', 'rebuild', 'The control file space.twz is not there.'),
  ControlDamaged: page('error', 'rebuild', 'No slot of the control file is valid.'),
  ControlSlotDamaged: page('warning', 'rebuild', 'One slot of the control file is invalid; the other one holds.'),
  ControlVersion: page('error', 'none', 'The control file has a format version that this build does not read.'),
  ControlLength: page('warning', 'rebuild', 'The control file does not have the length of its two slots.'),
  StrayFile: page('warning', 'quarantine', 'A file lies in the space directory that the space does not know.'),
  DirectoryMissing: page('error', 'rebuild', 'A directory of the space is not there.'),
  DirectoryBlocked: page('error', 'none', 'A file is in the place of a directory of the space.'),

  // --- the log ------------------------------------------------------------------------------------------------------------
  SegmentMissing: page('error', 'rebuild', 'The log segment where replay starts is not there.'),
  SegmentHeader: page('error', 'quarantine', 'The header of a log segment is damaged, or belongs to another space or place.'),
  SegmentVersion: page('error', 'none', 'A log segment has a format version that this build does not read.'),
  SegmentLength: page('error', 'rebuild', 'A log segment is shorter or longer than its header says.'),
  LogBroken: page(
    'error',
    'truncate',
    'A frame of the log fails its checksum, and good frames follow it. They are lost, unless a power failure dropped them before they were durable: that leaves the same trace.',
  ),
  LogTorn: page(
    'note',
    'truncate',
    'The log ends in a frame that was not written to its end. That is how a power failure leaves it; nothing acknowledged is lost.',
  ),
  LogUncommitted: page('note', 'truncate', 'The log ends in frames of a transaction that never committed. They are void.'),
  LogSection: page('error', 'none', 'A committed frame of the log does not hold well-formed sections.'),
  LogObjectMissing: page('error', 'none', 'The log changes an object whose file is not there.'),

  // --- an object's file ---------------------------------------------------------------------------------------------------
  FileUnreadable: page('error', 'none', 'An object file cannot be read.'),
  FileMisplaced: page('error', 'rebuild', 'An object file lies in the wrong directory for its name.'),
  FileEmpty: page('error', 'quarantine', 'An object file is shorter than a metadata page.'),
  FileTruncated: page('error', 'quarantine', 'An object file is shorter than its header says.'),
  FileTooLong: page('warning', 'rebuild', 'An object file is longer than its header says.'),
  MetaMagic: page('error', 'quarantine', 'An object file does not begin with the magic number.'),
  MetaVersion: page('error', 'none', 'An object file has a format version that this build does not read.'),
  MetaChecksum: page('error', 'quarantine', 'The metadata page does not match its checksum.'),
  MetaField: page('error', 'quarantine', 'A field of the metadata page has a value that cannot be.'),
  IdMismatch: page('error', 'quarantine', 'The file name and the ID in the header differ: files were swapped or renamed.'),
  IdForged: page('error', 'quarantine', 'The ID does not follow from the nonce, key, default rights and kind in the header.'),
  ContentMismatch: page('error', 'quarantine', 'An immutable object does not have the content that its ID is the hash of.'),
  IdDuplicate: page('error', 'quarantine', 'Two files claim the same object.'),

  // --- pages and the allocator --------------------------------------------------------------------------------------------
  PageMapChunk: page('error', 'rebuild', 'A chunk of the page map lies outside the object or is not marked as one.'),
  PageMapEntry: page('error', 'rebuild', 'An entry of the page map cannot be.'),
  PageMapOverlap: page('error', 'rebuild', 'Two owners claim the same page.'),
  SpanClass: page('error', 'rebuild', 'A page belongs to a size class that does not exist.'),
  BumpBounds: page('error', 'rebuild', 'The unused rest of a size class lies outside its page.'),
  FreeListBounds: page('error', 'rebuild', 'A free list leads to a place that is no block of its size class.'),
  FreeListCycle: page('error', 'rebuild', 'A free list comes back to a block that it has been to.'),
  LiveCount: page('warning', 'rebuild', 'A size class counts more or fewer live blocks than there are.'),

  // --- the foreign object table -------------------------------------------------------------------------------------------
  FotChunk: page('error', 'rebuild', 'A chunk of the foreign object table lies outside the object or is not marked as one.'),
  FotEntry: page('error', 'clear', 'An entry of the foreign object table is malformed.'),
  FotFreeList: page('warning', 'rebuild', 'The free list of the foreign object table is damaged.'),
  FotCount: page('warning', 'rebuild', 'An entry counts fewer pointers than the object holds.'),
  FotOvercount: page('note', 'rebuild', 'An entry counts more pointers than the object holds.'),
  FotDuplicate: page('warning', 'none', 'Two entries lead to the same target.'),
  FotDangling: page('error', 'clear', 'An entry leads to an object that is not in the space.'),
  FotDeleted: page('note', 'clear', 'An entry leads to an object that was deleted. Following it says so.'),
  FotName: page('error', 'clear', 'A late-bound entry holds no well-formed path.'),
  FotUnresolved: page('note', 'none', 'A late-bound entry names something that is not there now.'),

  // --- typed data ---------------------------------------------------------------------------------------------------------
  RootOffset: page('error', 'none', 'The root lies outside the data of its object.'),
  RootType: page('error', 'none', 'The fingerprint of the root does not follow from the schema that the object holds.'),
  SchemaText: page('warning', 'none', 'The schema text of the object cannot be read.'),
  PointerBounds: page('error', 'clear', 'A pointer leads outside its target.'),
  PointerFree: page('error', 'clear', 'A pointer leads to memory that is not allocated.'),
  PointerFot: page('error', 'clear', 'A pointer names an entry of the foreign object table that is free or does not exist.'),
  PointerType: page('error', 'none', 'A pointer leads to a block that is too small for its type.'),
  ValueRange: page('error', 'none', 'A stored value is none of those that its field takes.'),

  // --- collections --------------------------------------------------------------------------------------------------------
  CollectionPool: page('error', 'derive', 'The table of the objects of a collection is damaged, or counts other blocks than there are.'),
  CollectionCount: page('error', 'derive', 'A collection counts more or fewer entries than it has.'),
  CollectionRecord: page('error', 'none', 'A collection leads to an entry that is no live block, or too short for its key and value.'),
  CollectionTable: page('error', 'derive', 'A table of a hash map has a mask, a depth or a count that cannot be, or is no live block.'),
  CollectionSlot: page('error', 'none', 'A slot of a hash map holds a wrong hash, or lies where its key is not looked for.'),
  CollectionNode: page('error', 'derive', 'A node of an ordered collection is missing, reached twice, or not as its layout says.'),
  CollectionOrder: page('error', 'none', 'The entries of an ordered collection are not in the order of their keys.'),
  CollectionChunk: page(
    'error',
    'none',
    'A chunk of a sequence, or the directory of its chunks, is missing, too short, or more than the sequence counts.',
  ),
  CollectionElement: page('error', 'none', 'An element of a sequence leads to text, bytes or a value that is no live block, or too short.'),
  CollectionRing: page(
    'error',
    'derive',
    'The numbers of the elements of a queue or log cannot be, or a log counts other bytes than it has.',
  ),
  CollectionText: page(
    'error',
    'derive',
    'A node or leaf of a long text is missing, counts other code units than there are, or splits a character.',
  ),
  CollectionEdge: page(
    'error',
    'derive',
    'An edge of a graph leads from or to a node that is not there, or is not listed at its ends as it should.',
  ),
  CollectionIndex: page(
    'error',
    'none',
    'An index leads to a record that is not there, or to one twice. `reindex` of the map makes it anew.',
  ),
  CollectionBalance: page('warning', 'none', 'A red-black tree is not balanced: it is right, and may be slow.'),

  // --- lifetime and names -------------------------------------------------------------------------------------------------
  TieDangling: page('note', 'none', 'An object is tied to one that is gone. The tie is of no account any more.'),
  DeletedLeft: page('warning', 'remove', 'An object is marked deleted and nothing keeps it.'),
  NamespaceDamaged: page('error', 'none', 'A namespace cannot be read.'),
  NameDangling: page('error', 'remove', 'A name leads to an object that is not in the space.'),
  NameDeleted: page('note', 'remove', 'A name leads to an object that was deleted.'),
  LinkDangling: page('note', 'none', 'A link leads to a path that is not there now.'),
} as const satisfies Record<string, FindingPage>;

export type FindingName = keyof typeof FINDINGS;

export interface Finding {
  readonly name: FindingName;
  readonly severity: Severity;
  /** The object, where one is concerned. */
  readonly object?: ObjectId | undefined;
  /** The file, relative to the space directory, where no object is concerned or the file says more. */
  readonly file?: string | undefined;
  /** Byte offset in the object or file. */
  readonly at?: number | undefined;
  readonly message: string;
  readonly expected?: string | undefined;
}

/** Collects findings; more than `MOST` of one name in one object are counted, not kept. */
export class Findings {
  static readonly MOST = 20;
  readonly list: Finding[] = [];
  /** How many were found of each name, kept or not. */
  readonly counts = new Map<FindingName, number>();
  readonly #kept = new Map<string, number>();

  add(name: FindingName, message: string, where: Pick<Finding, 'object' | 'file' | 'at' | 'expected'> = {}): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    const key = `${name} ${where.object ?? where.file ?? ''}`;
    const kept = (this.#kept.get(key) ?? 0) + 1;
    this.#kept.set(key, kept);
    if (kept <= Findings.MOST) this.list.push({ name, severity: FINDINGS[name].severity, message, ...where });
  }

  readonly #derived = new Map<ObjectId, Map<number, number>>();

  /** A word of a collection that follows from all the rest of it. */
  derived(id: ObjectId, at: number, value: number): void {
    const known = this.#derived.get(id) ?? new Map<number, number>();
    this.#derived.set(id, known.set(at, value));
  }

  toDerive(): ReadonlyMap<ObjectId, ReadonlyMap<number, number>> {
    return this.#derived;
  }

  readonly #clearable = new Map<ObjectId, Set<number>>();
  readonly #counted = new Map<ObjectId, Map<number, number>>();

  /** A pointer that leads nowhere: all of them, while the list keeps only some. */
  clearable(id: ObjectId, at: number): void {
    const known = this.#clearable.get(id);
    if (known === undefined) this.#clearable.set(id, new Set([at]));
    else known.add(at);
  }

  toClear(id: ObjectId): number[] {
    return [...(this.#clearable.get(id) ?? [])];
  }

  objectsToClear(): IterableIterator<ObjectId> {
    return this.#clearable.keys();
  }

  /** The FOT entry has this many pointers. */
  counted(id: ObjectId, index: number, pointers: number): void {
    const known = this.#counted.get(id) ?? new Map<number, number>();
    this.#counted.set(id, known.set(index, pointers));
  }

  toCount(id: ObjectId): ReadonlyMap<number, number> {
    return this.#counted.get(id) ?? new Map();
  }

  of(severity: Severity): number {
    let sum = 0;
    for (const [name, n] of this.counts) if (FINDINGS[name].severity === severity) sum += n;
    return sum;
  }
}
