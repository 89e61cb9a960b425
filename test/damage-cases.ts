/** The kinds of damage that corruption.test.ts plants, and what must come of each. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { FOT, KIND, META, PAGE, PAGE_KIND, SIZE_CLASSES } from '../src/abi/format.ts';
import { CONTROL, FRAME } from '../src/abi/log-format.ts';
import type { ErrorName } from '../src/abi/errors.ts';
import { open, type ObjectId } from '../src/index.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { Person, SEGMENT_SIZE, edit, editObject, fieldOffset, fileOf, host, type Fixture } from './damage.ts';

export interface Case {
  readonly what: string;
  /** A space that a process left behind dead, instead of one that was closed. */
  readonly crashed?: boolean;
  readonly plant: (fixture: Fixture) => void;
  /** What check must find, at least. */
  readonly finds: readonly FindingName[];
  /** The objects concerned; the others must be as before. 'all': the space does not open. */
  readonly harms: 'all' | ((fixture: Fixture) => readonly ObjectId[]);
  /** What opening the space, or the objects concerned, gives. Left out: it works. */
  readonly error?: readonly ErrorName[];
  /** What is left after a repair. Left out: nothing. */
  readonly left?: readonly FindingName[];
  /** Not mended: the repair changes nothing. */
  readonly stays?: boolean;
}

export const people = (it: Fixture): ObjectId[] => [it.alice, it.bob, it.carol, it.hub, it.large, it.sealed, ...it.leaves];
const alice = (fixture: Fixture): ObjectId[] => [fixture.alice];
const nobody = (): ObjectId[] => [];
const control = (fixture: Fixture): string => path.join(fixture.directory, 'space.twz');
const segment = (fixture: Fixture): string => path.join(fixture.directory, 'log', '00000001.log');
const truncate = (fixture: Fixture, to: (length: number) => number): void =>
  fs.truncateSync(fileOf(fixture, fixture.alice), to(fs.statSync(fileOf(fixture, fixture.alice)).size));
/** Names and references that lead to an object that repair had to take away. */
const MISSED: readonly FindingName[] = ['FotDangling', 'NameDangling'];
const rootOf = (view: DataView): number => view.getUint32(META.root, true);
const classAt = (size: number): number => META.classes + SIZE_CLASSES.indexOf(size) * 16;
/** The size class of a Person. */
const PERSON_CLASS = classAt(SIZE_CLASSES.find((size) => size >= Person.layout.size) ?? 0);

/** Where the k-th frame of the log lies in its segment. */
function frameAt(view: DataView, from: number, k: number): number {
  let at = from;
  for (let i = 0; i < k; i++) at += view.getUint32(at + FRAME.length, true);
  return at;
}

/** Offset in the segment where replay starts. */
function replayAt(fixture: Fixture): number {
  const bytes = fs.readFileSync(control(fixture));
  const slots = [0, CONTROL.slot].filter((at) => bytes.readUInt32LE(at) !== 0);
  return Math.max(...slots.map((at) => Number(bytes.readBigUInt64LE(at + CONTROL.lsn)))) % SEGMENT_SIZE;
}

export const CASES: readonly Case[] = [
  // --- files ----------------------------------------------------------------------------------------------------------------
  {
    what: 'an object file cut by a page',
    plant: (it) => truncate(it, (n) => n - PAGE),
    finds: ['FileTruncated'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'an object file cut in the middle of a page',
    plant: (it) => truncate(it, (n) => n - 1000),
    finds: ['FileTruncated'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'an object file cut in its header',
    plant: (it) => truncate(it, () => 100),
    finds: ['FileEmpty'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'an empty object file',
    plant: (it) => truncate(it, () => 0),
    finds: ['FileEmpty'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'an object file with a page too many',
    plant: (it) => truncate(it, (n) => n + PAGE),
    finds: ['FileTooLong'],
    harms: alice,
    error: ['ObjectCorrupt'],
  },
  {
    what: 'a deleted object file',
    plant: (it) => fs.rmSync(fileOf(it, it.alice)),
    finds: ['FotDangling', 'NameDangling'],
    harms: alice,
    error: ['ObjectMissing'],
    left: MISSED,
  },
  {
    what: 'a directory in the place of an object file',
    plant: directoryForFile,
    finds: ['FileUnreadable'],
    harms: alice,
    error: ['IoError', 'ObjectCorrupt'],
    stays: true,
  },
  {
    what: 'two object files that were swapped',
    plant: (it) => {
      const third = `${fileOf(it, it.alice)}.swap`;
      fs.renameSync(fileOf(it, it.alice), third);
      fs.renameSync(fileOf(it, it.bob), fileOf(it, it.alice));
      fs.renameSync(third, fileOf(it, it.bob));
    },
    finds: ['IdMismatch'],
    harms: (it) => [it.alice, it.bob],
    error: ['ObjectForged'],
  },
  {
    what: 'an object file under the name of another that is lost',
    plant: (it) => fs.copyFileSync(fileOf(it, it.bob), fileOf(it, it.alice)),
    finds: ['IdMismatch'],
    harms: alice,
    error: ['ObjectForged'],
    left: MISSED,
  },
  {
    what: 'a second file of an object on another shelf',
    plant: (it) => {
      const shelf = path.join(it.directory, 'objects', it.bob.startsWith('00') ? '01' : '00');
      fs.mkdirSync(shelf, { recursive: true });
      fs.copyFileSync(fileOf(it, it.bob), path.join(shelf, `${it.bob}.twz`));
    },
    finds: ['IdDuplicate'],
    harms: nobody,
  },
  {
    what: 'an object file on the wrong shelf',
    plant: (it) => {
      const shelf = path.join(it.directory, 'objects', it.alice.startsWith('00') ? '01' : '00');
      fs.mkdirSync(shelf, { recursive: true });
      fs.renameSync(fileOf(it, it.alice), path.join(shelf, `${it.alice}.twz`));
    },
    finds: ['FileMisplaced'],
    harms: alice,
    error: ['ObjectMissing'],
  },
  {
    what: 'files that nobody knows',
    plant: (it) => {
      fs.writeFileSync(path.join(it.directory, 'notes.txt'), 'x');
      fs.writeFileSync(path.join(it.directory, 'log', 'notes.txt'), 'x');
      fs.writeFileSync(path.join(it.directory, 'objects', it.alice.slice(0, 2), 'notes.txt'), 'x');
    },
    finds: ['StrayFile'],
    harms: nobody,
  },
  // --- header ---------------------------------------------------------------------------------------------------------------
  {
    what: 'a wrong magic number',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.magic, 0x12345678)),
    finds: ['MetaMagic'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'another format version',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.format, 7, true)),
    finds: ['MetaVersion'],
    harms: alice,
    error: ['ObjectVersion'],
    stays: true,
  },
  {
    what: 'a flipped bit in the rights',
    plant: (it) => flip(fileOf(it, it.alice), META.rights, 1),
    finds: ['MetaChecksum'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'a flipped bit in the page map',
    plant: (it) => flip(fileOf(it, it.alice), META.pageMap + 3, 4),
    finds: ['MetaChecksum'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'rights forged, and the checksum with them',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.rights, 5, true)),
    finds: ['IdForged'],
    harms: alice,
    error: ['ObjectForged'],
    left: MISSED,
  },
  {
    what: 'a size that is no number of pages',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.size, 12345, true)),
    finds: ['MetaField'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'a zeroed metadata page',
    plant: (it) => edit(fileOf(it, it.alice), (_view, bytes) => bytes.fill(0, 0, PAGE)),
    finds: ['MetaMagic'],
    harms: alice,
    error: ['ObjectCorrupt'],
    left: MISSED,
  },
  {
    what: 'changed content of an immutable object',
    plant: (it) => editObject(it, it.sealed, (view, bytes) => (bytes[rootOf(view) + fieldOffset('age')] = 99)),
    finds: ['ContentMismatch'],
    harms: (it) => [it.sealed],
    error: ['ObjectForged'],
    left: MISSED,
  },
  {
    what: 'an owned object that says that it is immutable',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.kind, KIND.immutable, true)),
    finds: ['IdForged'],
    harms: alice,
    error: ['ObjectForged'],
    left: MISSED,
  },
  // --- pages and allocator ----------------------------------------------------------------------------------------------------
  {
    what: 'a page of no known kind',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint16(META.pageMap + 2, 13, true)),
    finds: ['PageMapEntry'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a page of a size class that does not exist',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint16(META.pageMap + 2, PAGE_KIND.span | (60 << 4), true)),
    finds: ['SpanClass'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a page that is marked as FOT and is none',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint16(META.pageMap + 2, PAGE_KIND.fot, true)),
    finds: ['PageMapEntry'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a page of the FOT that is marked as free',
    plant: (it) =>
      editObject(it, it.hub, (view) => view.setUint16(META.pageMap + view.getUint32(META.fotChunks, true) * 2, PAGE_KIND.free, true)),
    finds: ['PageMapOverlap'],
    harms: (it) => [it.hub],
  },
  {
    what: 'a page-map chunk outside the object',
    plant: (it) => editObject(it, it.large, (view) => view.setUint32(META.pageChunks, 0xfffff, true)),
    finds: ['PageMapChunk'],
    harms: (it) => [it.large],
    error: ['PointerCorrupt'],
    stays: true,
  },
  {
    what: 'a free list that leads outside the object',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(PERSON_CLASS, 1 << 29, true)),
    finds: ['FreeListBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a free list that leads into the middle of a block',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(PERSON_CLASS, it.hole + 8, true)),
    finds: ['FreeListBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a free list that goes in a circle',
    plant: (it) => edit(fileOf(it, it.alice), (view) => view.setUint32(it.hole, it.hole, true)),
    finds: ['FreeListCycle'],
    harms: alice,
  },
  {
    what: 'a free list that holds a live block',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(PERSON_CLASS, it.dave, true)),
    finds: ['PointerFree'],
    harms: alice,
    left: ['PointerFree'],
  },
  {
    what: 'an unused rest outside its page',
    plant: (it) => editObject(it, it.alice, (view) => moveRest(view, 1 << 28)),
    finds: ['BumpBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'an unused rest in a page of another class',
    plant: (it) => editObject(it, it.alice, (view) => moveRest(view, view.getUint32(META.schema, true) & ~(PAGE - 1))),
    finds: ['BumpBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a wrong number of live blocks',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(PERSON_CLASS + 12, 77, true)),
    finds: ['LiveCount'],
    harms: nobody,
  },
  // --- FOT ------------------------------------------------------------------------------------------------------------------
  {
    what: 'a flipped bit in the target of a FOT entry',
    plant: (it) => edit(fileOf(it, it.hub), (view, bytes) => flipIn(bytes, hubEntry(view) + FOT.target + 3, 16)),
    finds: ['FotDangling'],
    harms: (it) => [it.hub],
    error: ['ObjectMissing'],
    left: [],
  },
  {
    what: 'a FOT entry that is no longer in use',
    plant: (it) => edit(fileOf(it, it.hub), (view) => view.setUint32(hubEntry(view) + FOT.flags, 0, true)),
    finds: ['FotEntry', 'PointerFot'],
    harms: (it) => [it.hub],
    error: ['FotCorrupt'],
  },
  {
    what: 'a FOT whose chunk lies outside the object',
    plant: (it) => editObject(it, it.hub, (view) => view.setUint32(META.fotChunks, 0xfffff, true)),
    finds: ['FotChunk'],
    harms: (it) => [it.hub],
    error: ['PointerCorrupt', 'FotCorrupt'],
    stays: true,
  },
  {
    what: 'a FOT that has more entries than room',
    plant: (it) => editObject(it, it.hub, (view) => view.setUint32(META.fotCount, 1 << 20, true)),
    finds: ['FotEntry'],
    harms: (it) => [it.hub],
    stays: true,
  },
  {
    what: 'a FOT free list that leads to an entry in use',
    plant: (it) => editObject(it, it.hub, (view) => view.setUint32(META.fotFree, 3, true)),
    finds: ['FotFreeList'],
    harms: nobody,
  },
  {
    what: 'a FOT entry that counts too few pointers',
    plant: (it) => editObject(it, it.carol, (view) => view.setUint32(META.fot + FOT.entry + FOT.count, 0, true)),
    finds: ['FotCount'],
    harms: nobody,
  },
  // --- typed data -----------------------------------------------------------------------------------------------------------
  {
    what: 'a pointer that leads outside the object',
    plant: (it) => pointer(it, 0, 1 << 30),
    finds: ['PointerBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a pointer into the metadata page',
    plant: (it) => pointer(it, 0, 64),
    finds: ['PointerBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a pointer past 2^32',
    plant: (it) => pointer(it, 0x10, 4096),
    finds: ['PointerBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  { what: 'a pointer to memory that was given back', plant: (it) => pointer(it, 0, it.hole), finds: ['PointerFree'], harms: alice },
  {
    what: 'a pointer through a FOT entry that does not exist',
    plant: (it) => pointer(it, 4000 << 8, 4096),
    finds: ['PointerFot'],
    harms: alice,
    error: ['FotCorrupt'],
  },
  {
    what: 'a pointer that is not aligned',
    plant: (it) => pointer(it, 0, it.dave + 1),
    finds: ['PointerBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a text that runs out of the object',
    plant: (it) => edit(fileOf(it, it.alice), (view) => view.setUint32(rootOf(view) + fieldOffset('name') + 4, 1 << 30, true)),
    finds: ['PointerBounds'],
    harms: alice,
    error: ['PointerCorrupt'],
  },
  {
    what: 'a value that its enumeration does not have',
    plant: (it) => edit(fileOf(it, it.alice), (view) => view.setUint8(rootOf(view) + fieldOffset('mood'), 200)),
    finds: ['ValueRange'],
    harms: alice,
    error: ['PointerCorrupt'],
    stays: true,
  },
  {
    what: 'a root outside the object',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.root, 1 << 29, true)),
    finds: ['RootOffset'],
    harms: alice,
    error: ['PointerCorrupt'],
    stays: true,
  },
  {
    what: 'a root of another type',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.rootType, 1, true)),
    finds: ['RootType'],
    harms: alice,
    error: ['TypeMismatch'],
    stays: true,
  },
  {
    what: 'a schema text outside the object',
    plant: (it) => editObject(it, it.alice, (view) => view.setUint32(META.schema, 1 << 29, true)),
    finds: ['SchemaText'],
    harms: nobody,
    stays: true,
  },
  {
    what: 'a zeroed page of data',
    plant: (it) =>
      edit(fileOf(it, it.alice), (view, bytes) =>
        bytes.fill(0, view.getUint32(META.schema, true) & ~(PAGE - 1), (view.getUint32(META.schema, true) & ~(PAGE - 1)) + PAGE),
      ),
    finds: ['SchemaText'],
    harms: alice,
    stays: true,
  },
  // --- names ----------------------------------------------------------------------------------------------------------------
  {
    what: 'a chain of names that goes in a circle',
    plant: circleOfNames,
    finds: ['NamespaceDamaged'],
    harms: nobody,
    error: ['PointerCorrupt'],
    stays: true,
  },
  // --- control file ---------------------------------------------------------------------------------------------------------
  {
    what: 'one slot of the control file damaged',
    plant: (it) => flip(control(it), olderSlot(it) + CONTROL.lsn, 1),
    finds: ['ControlSlotDamaged'],
    harms: nobody,
  },
  {
    what: 'both slots of the control file damaged',
    plant: (it) => [0, CONTROL.slot].forEach((at) => flip(control(it), at + CONTROL.generation, 1)),
    finds: ['ControlDamaged'],
    harms: 'all',
    error: ['SpaceCorrupt'],
  },
  {
    what: 'the control file emptied',
    plant: (it) => fs.truncateSync(control(it), 0),
    finds: ['ControlDamaged'],
    harms: 'all',
    error: ['SpaceCorrupt'],
  },
  {
    what: 'the control file lost',
    plant: (it) => fs.rmSync(control(it)),
    finds: ['ControlMissing'],
    harms: 'all',
    error: ['SpaceCorrupt'],
  },
  // --- directories ----------------------------------------------------------------------------------------------------------
  {
    what: 'a file in the place of the log directory',
    plant: (it) => fileForDirectory(it, 'log'),
    finds: ['DirectoryBlocked'],
    harms: 'all',
    error: ['FileMissing', 'LogCorrupt'],
    stays: true,
  },
  {
    what: 'a file in the place of a shelf',
    plant: (it) => fileForDirectory(it, `objects/${it.alice.slice(0, 2)}`),
    finds: ['StrayFile'],
    harms: (it) => people(it).filter((id) => id.slice(0, 2) === it.alice.slice(0, 2)),
    error: ['ObjectMissing'],
    left: MISSED,
  },
  // --- log ------------------------------------------------------------------------------------------------------------------
  {
    what: 'a flipped bit in a frame in the middle of the log',
    crashed: true,
    plant: (it) => {
      loseTail(it);
      edit(segment(it), (view, bytes) => flipIn(bytes, frameAt(view, replayAt(it), 20) + FRAME.header + 60, 1));
    },
    finds: ['LogBroken'],
    // A power failure before the sync leaves the same trace, so the space opens with what came before.
    harms: (it) => [it.bob, it.carol],
  },
  { what: 'the last frame of the log torn', crashed: true, plant: tearLastFrame, finds: [], harms: (it) => [it.bob, it.carol] },
  {
    what: 'the log segment cut',
    crashed: true,
    plant: (it) => fs.truncateSync(segment(it), SEGMENT_SIZE / 2),
    finds: ['SegmentLength'],
    harms: nobody,
  },
  {
    what: 'the log segment lost',
    crashed: true,
    plant: (it) => {
      loseTail(it);
      fs.rmSync(segment(it));
    },
    finds: ['SegmentMissing'],
    harms: 'all',
    error: ['LogCorrupt'],
  },
  {
    what: 'a damaged header of a log segment',
    crashed: true,
    plant: (it) => flip(segment(it), 16, 1),
    finds: ['SegmentHeader'],
    harms: nobody,
  },
];

/** The unused rest of Person's size class, all of a page at `at`; the free list is empty. */
function moveRest(view: DataView, at: number): void {
  view.setUint32(PERSON_CLASS, 0, true);
  view.setUint32(PERSON_CLASS + 4, at, true);
  view.setUint32(PERSON_CLASS + 8, at + PAGE, true);
}

function flipIn(bytes: Uint8Array, at: number, bit: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ bit;
}

function flip(file: string, at: number, bit: number): void {
  edit(file, (_view, bytes) => flipIn(bytes, at, bit));
}

/** An entry of the hub's FOT that lies in a chunk, where no checksum covers it. */
function hubEntry(view: DataView): number {
  return view.getUint32(META.fotChunks, true) * PAGE + 5 * FOT.entry;
}

/** Changes the pointer from Alice to Dave. */
function pointer(fixture: Fixture, high: number, low: number): void {
  edit(fileOf(fixture, fixture.alice), (view) => {
    const at = rootOf(view) + fieldOffset('friend');
    view.setUint32(at, low, true);
    view.setUint32(at + 4, high, true);
  });
}

function directoryForFile(fixture: Fixture): void {
  fs.rmSync(fileOf(fixture, fixture.alice));
  fs.mkdirSync(fileOf(fixture, fixture.alice));
}

function fileForDirectory(fixture: Fixture, name: string): void {
  const directory = path.join(fixture.directory, name);
  fs.rmSync(directory, { recursive: true });
  fs.writeFileSync(directory, 'no directory');
}

function olderSlot(fixture: Fixture): number {
  const bytes = fs.readFileSync(control(fixture));
  const generation = (slot: number): number =>
    bytes.readUInt32LE(slot) === 0 ? -1 : Number(bytes.readBigUInt64LE(slot + CONTROL.generation));
  return generation(0) < generation(CONTROL.slot) ? 0 : CONTROL.slot;
}

/** The first entry of some chain in /people points to itself. */
function circleOfNames(fixture: Fixture): void {
  const space = open(fixture.directory, { host });
  const id = space.names.lookup('/people');
  space.close();
  assert.ok(id !== undefined);
  edit(fileOf(fixture, id), (view) => {
    const root = rootOf(view);
    const table = view.getUint32(root + 8, true);
    for (let bucket = 0; bucket < view.getUint32(root + 4, true); bucket++) {
      const entry = view.getUint32(table + bucket * 4, true);
      if (entry !== 0) view.setUint32(entry + 32, entry, true);
    }
  });
}

function loseTail(fixture: Fixture): void {
  fs.rmSync(path.join(fixture.directory, 'log', 'tail'), { force: true });
}

/** The last transaction reached the disk in part, and the tail is gone: as a power failure leaves it. */
function tearLastFrame(fixture: Fixture): void {
  loseTail(fixture);
  edit(segment(fixture), (view, bytes) => {
    const last = frameAt(view, replayAt(fixture), 49);
    bytes.fill(0, last + 40, last + view.getUint32(last, true));
  });
}
