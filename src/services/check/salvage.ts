/**
 * Salvage: writes all of a damaged space that can be read to a new one, and changes nothing in the old.
 *
 * Repair mends in place and takes away what it cannot trust; this goes further, because the original stays. An object is saved if its
 * identity can be proved: the ID is the hash of nonce, key, rights and kind. What else is wrong in its metadata page is put right:
 *
 *   one flipped bit         found by the checksum, exactly
 *   a file that was cut     zeros stand for what is gone
 *   rights, kind, size      those that give the ID back; the size of the file
 *   allocator, page map     rebuilt as by repair: memory in doubt counts as in use
 *
 * A collection in which something is wrong stays as it is, as far as repair cannot mend it; what can be read of it is copied to a new one
 * beside it, in /lost/collections (salvage-collections.ts).
 *
 * What cannot be proved is copied to the new space's quarantine, byte for byte. References to it give ObjectMissing. Names of a namespace
 * that is damaged are collected one by one; objects that lost their names get new ones in /lost.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND, META, OBJECT_FORMAT, OBJECT_MAGIC, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE, RIGHTS_ALL } from '../../abi/format.ts';
import { isId, readId, type ObjectId } from '../../abi/id.ts';
import { holdSpace } from '../../host/hold.ts';
import type { Host } from '../../host/host.ts';
import { open, type Space } from '../../space.ts';
import { SpaceDraft } from '../draft.ts';
import { schemaOf } from '../show.ts';
import { CONTROL_FILE, readWhole } from './control.ts';
import { Findings } from './findings.ts';
import { QUARANTINE, SpaceImage } from './image.ts';
import { WELL_KNOWN, readableEntries, wellKnownId, type NameRecord } from './names.ts';
import { ObjectImage } from './object-image.ts';
import { boundId, checkObject, metaChecksum } from './object.ts';
import { rebuildObject, stamp } from './rebuild.ts';
import { saveCollections, type SavedCollection } from './salvage-collections.ts';

export interface SalvageReport {
  readonly space: ObjectId;
  /** Objects in the new space that come from the old one. */
  readonly objects: number;
  readonly bytes: number;
  /** Of those, the ones that were put right. */
  readonly mended: readonly { readonly id: ObjectId; readonly what: string }[];
  /** Files that could not be used; copies are in the new space's quarantine. */
  readonly lost: readonly { readonly file: string; readonly reason: string }[];
  /** Namespaces that were made anew, and names that were collected for them. */
  readonly names: number;
  /** Objects that were given a name in /lost. */
  readonly found: number;
  /** What could be read of damaged collections. */
  readonly collections: readonly SavedCollection[];
}

interface Saved {
  readonly bytes: Uint8Array;
  readonly what: readonly string[];
}

/** Throws SpaceMissing, SpaceBusy; NotEmpty where `out` is not. */
export function salvageSpace(host: Host, directory: string, out: string, progress?: (done: number, total: number) => void): SalvageReport {
  if (!host.exists(`${directory}/objects`) && !host.exists(`${directory}/${CONTROL_FILE}`))
    throw new TwzError('SpaceMissing', `${directory} holds no space`, { directory });
  const lock = holdSpace(host, directory);
  try {
    return new Salvage(host, directory, out).run(progress);
  } finally {
    lock.release();
  }
}

const isUsable = (host: Host, id: ObjectId, bytes: Uint8Array): boolean =>
  bytes.length >= OBJECT_SIZE_MIN && checkObject(host, id, bytes, new Findings(), { stamped: true }).usable;

class Salvage {
  readonly #host: Host;
  readonly #out: string;
  readonly #image: SpaceImage;
  readonly #mended: { id: ObjectId; what: string }[] = [];
  readonly #lost: { file: string; reason: string }[] = [];
  readonly #saved = new Map<ObjectId, string>();
  /** Namespaces that cannot be kept as they are, and the names that can be read in them. */
  readonly #damaged = new Map<ObjectId, readonly NameRecord[]>();
  #bytes = 0;

  constructor(host: Host, directory: string, out: string) {
    this.#host = host;
    this.#out = out;
    this.#image = new SpaceImage(host, directory);
  }

  run(progress?: (done: number, total: number) => void): SalvageReport {
    const { control, segments, segmentSize } = this.#image;
    const space =
      control?.space ?? segments.find(({ valid }) => valid)?.space ?? this.#spaceFromObjects() ?? readId(this.#host.random(16), 0);
    const draft = new SpaceDraft(this.#host, this.#out, {
      space,
      segmentSize: segmentSize === 0 ? 16 << 20 : segmentSize,
      lsn: this.#image.committed.lsn,
    });
    try {
      const files = this.#files();
      for (const [i, { id, file }] of files.entries()) {
        this.#take(draft, id, file);
        progress?.(i + 1, files.length);
      }
      for (const id of this.#image.ids()) if (!this.#image.files.has(id)) this.#take(draft, id, undefined);
      draft.finish();
    } catch (error) {
      draft.discard();
      throw error;
    }
    const { names, found } = this.#names(space);
    const collections = saveCollections(this.#host, this.#out, (id, what) => this.#mended.push({ id, what }));
    return { space, objects: this.#saved.size, bytes: this.#bytes, mended: this.#mended, lost: this.#lost, names, found, collections };
  }

  /** Every file below objects/, those first that lie where they belong. */
  #files(): { id: ObjectId | undefined; file: string }[] {
    const right: { id: ObjectId | undefined; file: string }[] = [];
    const strays: { id: ObjectId | undefined; file: string }[] = [];
    for (const shelf of this.#image.list('objects') ?? []) {
      for (const name of this.#image.list(`objects/${shelf}`) ?? []) {
        const id = name.replace(/\.twz$/, '');
        const file = `objects/${shelf}/${name}`;
        if (isId(id) && this.#image.files.get(id) === file) right.push({ id, file });
        else strays.push({ id: isId(id) ? id : undefined, file });
      }
    }
    return [...right, ...strays];
  }

  /** A namespace is the root if it stands for the space: the root's nonce is the space's ID but for the last byte. */
  #spaceFromObjects(): ObjectId | undefined {
    for (const id of this.#image.ids()) {
      const bytes = this.#read(() => this.#image.file(id));
      if (typeof bytes === 'string' || bytes === undefined || !isUsable(this.#host, id, bytes)) continue;
      const nonce = bytes.slice(META.nonce, META.nonce + 16);
      for (const n of Object.values(WELL_KNOWN)) {
        const candidate = nonce.slice();
        candidate[15] = (candidate[15] ?? 0) ^ n;
        const other = n === WELL_KNOWN.root ? WELL_KNOWN.system : WELL_KNOWN.root;
        const space = readId(candidate, 0);
        if (this.#image.files.has(wellKnownId(this.#host, space, other))) return space;
      }
    }
    return undefined;
  }

  // --- one object -------------------------------------------------------------------------------------------------------------

  #read<T>(work: () => T): T | string {
    try {
      return work();
    } catch (error) {
      if (isTwzError(error)) return `${error.name}: ${error.message}`;
      throw error;
    }
  }

  #take(draft: SpaceDraft, id: ObjectId | undefined, file: string | undefined): void {
    // Deleted by the log, which the file has not heard of.
    if (id !== undefined && this.#image.removed(id)) return;
    const known = id !== undefined && (file === undefined || this.#image.files.get(id) === file);
    const read = this.#read(() => {
      if (!known) return { bytes: readWhole(this.#host, `${this.#image.directory}/${file ?? ''}`, OBJECT_SIZE_MAX + PAGE), stamped: true };
      return this.#image.object(id) ?? { bytes: undefined, stamped: true };
    });
    const where = file ?? `log: object ${id ?? ''}`;
    if (typeof read === 'string') {
      this.#lost.push({ file: where, reason: read });
      return;
    }
    if (read.bytes === undefined) return;
    const bytes = read.bytes.slice();
    if (!read.stamped && bytes.length >= PAGE) {
      const image = new ObjectImage(bytes);
      image.dv.setBigUint64(META.version, BigInt((id === undefined ? undefined : this.#image.version(id)) ?? 0), true);
      stamp(image);
    }
    const named = id === undefined ? undefined : salvageObject(this.#host, id, bytes);
    const inside = bytes.length < PAGE ? undefined : readId(bytes, META.id);
    if (id !== undefined && named !== undefined) this.#save(draft, id, named, where);
    else if (inside !== undefined && inside !== id && isUsable(this.#host, inside, bytes))
      this.#save(draft, inside, { bytes, what: [`its file was ${where}`] }, where);
    else this.#setAside(draft, where, bytes);
  }

  #setAside(draft: SpaceDraft, where: string, bytes: Uint8Array): void {
    draft.file(`${QUARANTINE}/${where.slice(where.lastIndexOf('/') + 1)}`, bytes);
    const findings = new Findings();
    const id = where.replace(/^.*\/|\.twz$/g, '');
    if (bytes.length >= PAGE && isId(id)) checkObject(this.#host, id, bytes, findings, { stamped: true });
    this.#lost.push({ file: where, reason: findings.list[0]?.message ?? `${bytes.length} bytes that are no object` });
  }

  #save(draft: SpaceDraft, id: ObjectId, saved: Saved, where: string): void {
    const before = this.#saved.get(id);
    if (before !== undefined) {
      draft.file(`${QUARANTINE}/${where.slice(where.lastIndexOf('/') + 1)}.second`, saved.bytes);
      this.#lost.push({ file: where, reason: `object ${id} was saved from ${before}` });
      return;
    }
    this.#saved.set(id, where);
    const image = new ObjectImage(saved.bytes);
    const schema = schemaOf(image);
    if (typeof schema !== 'string' && schema.root === 'Namespace') {
      const { entries, damaged } = readableEntries(this.#host, id, image);
      if (damaged || saved.what.length > 0) {
        this.#damaged.set(id, entries);
        draft.file(`${QUARANTINE}/${id}.twz`, saved.bytes);
        this.#mended.push({ id, what: `a damaged namespace: its ${entries.length} names were collected` });
        return;
      }
    }
    this.#bytes += saved.bytes.length;
    draft.object(id, saved.bytes);
    for (const what of saved.what) this.#mended.push({ id, what });
  }

  // --- names ------------------------------------------------------------------------------------------------------------------

  #names(id: ObjectId): { names: number; found: number } {
    const rootId = wellKnownId(this.#host, id, WELL_KNOWN.root);
    const lostRoot = !this.#saved.has(rootId) && this.#image.files.has(rootId);
    const missing = this.#damaged.size > 0 || lostRoot || this.#lost.length > 0;
    if (!missing) return { names: 0, found: 0 };
    const space = open(this.#out, { host: this.#host });
    try {
      return space.relaxed(() => {
        const names = this.#damaged.size === 0 ? 0 : this.#rename(space, rootId);
        return { names, found: this.#nameLost(space) };
      });
    } finally {
      space.close();
    }
  }

  /** Makes the damaged namespaces anew, from the root down. */
  #rename(space: Space, rootId: ObjectId): number {
    let names = 0;
    const seen = new Set<ObjectId>();
    const fill = (path: string, id: ObjectId): void => {
      for (const { name, kind, target, owns, path: to } of this.#damaged.get(id) ?? []) {
        const full = `${path}/${name}`;
        const isDamaged = target !== undefined && this.#damaged.has(target);
        try {
          if (kind === 'link') space.names.link(full, to, { relative: true });
          else if (kind === 'namespace' && isDamaged) space.names.mkns(full);
          else if (target !== undefined && space.has(target)) adopt(space, full, kind, target, owns);
          else continue;
          names++;
        } catch (error) {
          if (!isTwzError(error) || error.category !== 'naming') throw error;
        }
      }
    };
    const walk = (path: string, id: ObjectId): void => {
      if (seen.has(id)) return;
      seen.add(id);
      if (this.#damaged.has(id)) fill(path, id);
      const below =
        this.#damaged.get(id)?.map(({ name, target, kind }) => ({ name, id: target, kind })) ?? space.names.list(path === '' ? '/' : path);
      for (const { name, id: to, kind } of below) {
        if (kind !== 'namespace' || to === undefined) continue;
        // In a sound namespace the name of a damaged one leads nowhere now.
        if (this.#damaged.has(to) && !this.#damaged.has(id)) {
          space.names.remove(`${path}/${name}`);
          space.names.mkns(`${path}/${name}`);
          names++;
        }
        if (this.#damaged.has(to) || space.has(to)) walk(`${path}/${name}`, to);
      }
    };
    if (this.#damaged.has(rootId) || space.has(rootId)) walk('', rootId);
    return names;
  }

  /** What nothing leads to any more. */
  #nameLost(space: Space): number {
    const reached = new Set<ObjectId>();
    const own = new Set(Object.values(WELL_KNOWN).map((n) => wellKnownId(this.#host, readId(space.kernel.spaceId, 0), n)));
    const ids = [...space.ids()];
    for (const id of ids) for (const entry of space.object(id).fot()) if (entry.id !== undefined && entry.id !== id) reached.add(entry.id);
    const lost = ids.filter((id) => !reached.has(id) && !own.has(id) && this.#saved.has(id));
    if (lost.length === 0) return 0;
    if (space.names.lookup('/lost') === undefined) space.names.mkns('/lost');
    for (const id of lost) space.names.set(`/lost/${id}`, id);
    return lost.length;
  }
}

/** A name for what is there; a sound namespace below a damaged one keeps its own names. */
function adopt(space: Space, path: string, kind: NameRecord['kind'], target: ObjectId, owns: boolean): void {
  if (kind !== 'namespace') {
    space.names.set(path, target, { owns });
    return;
  }
  space.names.adopt(path, target);
}

// --- the metadata page --------------------------------------------------------------------------------------------------------

/** The object as it can be proved to be of that ID; undefined where it cannot. */
export function salvageObject(host: Host, id: ObjectId, bytes: Uint8Array): Saved | undefined {
  const header = mendHeader(host, id, bytes);
  if (header === undefined) return undefined;
  const image = new ObjectImage(header.bytes);
  if (image.bytes.length > image.size) {
    const cut = salvageObject(host, id, image.bytes.slice(0, image.size));
    return cut === undefined ? undefined : { bytes: cut.bytes, what: [...header.what, ...cut.what] };
  }
  if (image.u32(META.kind) === KIND.immutable) return header;
  const findings = new Findings();
  checkObject(host, id, header.bytes, findings, { stamped: true });
  if (findings.of('error') + findings.of('warning') === 0) return header;
  const done = rebuildObject(image);
  stamp(image);
  return { bytes: image.bytes, what: [...header.what, ...done] };
}

function mendHeader(host: Host, id: ObjectId, original: Uint8Array): Saved | undefined {
  if (original.length < PAGE) return undefined;
  if (isUsable(host, id, original)) return { bytes: original, what: [] };
  const what: string[] = [];
  const lengthened = toSize(original);
  if (lengthened !== original) what.push(`its last ${lengthened.length - original.length} bytes are gone: zeros stand for them`);
  if (isUsable(host, id, lengthened)) return { bytes: lengthened, what };
  const flipped = flippedBit(original);
  if (flipped !== undefined) {
    const bytes = original.slice();
    bytes[flipped >> 3] = (bytes[flipped >> 3] ?? 0) ^ (1 << (flipped & 7));
    const whole = toSize(bytes);
    const gone = whole.length - bytes.length;
    const cut = gone === 0 ? [] : [`its last ${gone} bytes are gone: zeros stand for them`];
    if (isUsable(host, id, whole)) return { bytes: whole, what: [`a bit of byte ${flipped >> 3} had flipped`, ...cut] };
  }
  return proved(host, id, lengthened, what);
}

/** As long as the header says, where that can be. */
function toSize(bytes: Uint8Array): Uint8Array {
  const size = new ObjectImage(bytes).u32(META.size);
  if (size <= bytes.length || size > OBJECT_SIZE_MAX || size % PAGE !== 0) return bytes;
  const whole = new Uint8Array(size);
  whole.set(bytes);
  return whole;
}

/** The one bit of the metadata page that makes its checksum right. */
function flippedBit(bytes: Uint8Array): number | undefined {
  const page = bytes.slice(0, PAGE);
  const stored = new ObjectImage(page).u32(META.checksum);
  const wrong = (stored ^ metaChecksum(page)) >>> 0;
  if (wrong === 0) return undefined;
  // A bit of the checksum itself.
  if ((wrong & (wrong - 1)) === 0) return META.checksum * 8 + Math.log2(wrong);
  for (let bit = 0; bit < PAGE * 8; bit++) {
    const byte = bit >> 3;
    const before = page[byte] ?? 0;
    page[byte] = before ^ (1 << (bit & 7));
    const found = metaChecksum(page) === stored;
    page[byte] = before;
    if (found) return bit;
  }
  return undefined;
}

/** Without a checksum to go by: nonce, key, rights and kind must give the ID; the rest is as it is, or as the file is. */
function proved(host: Host, id: ObjectId, original: Uint8Array, before: readonly string[]): Saved | undefined {
  const length = Math.ceil(original.length / PAGE) * PAGE;
  const bytes = new Uint8Array(Math.max(OBJECT_SIZE_MIN, length));
  bytes.set(original);
  const image = new ObjectImage(bytes);
  const what = [...before];
  const put = (field: number, value: number, name: string): void => {
    if (image.u32(field) === value) return;
    what.push(`${name} was ${image.u32(field)}: set to ${value}`);
    image.dv.setUint32(field, value, true);
  };
  const kinds = [image.u32(META.kind), ...Object.values(KIND)];
  const rights = [image.u32(META.rights), ...Array.from({ length: RIGHTS_ALL + 1 }, (_, i) => i)];
  const trial = new ObjectImage(bytes.slice(0, PAGE));
  for (const kind of kinds) {
    for (const right of rights) {
      trial.dv.setUint32(META.kind, kind, true);
      trial.dv.setUint32(META.rights, right, true);
      if (boundId(host, trial) !== id) continue;
      put(META.kind, kind, 'the kind');
      put(META.rights, right, 'the rights');
      put(META.magic, OBJECT_MAGIC, 'the magic number');
      if (image.u32(META.format) !== OBJECT_FORMAT) return undefined;
      for (let i = 0; i < 16; i++) bytes[META.id + i] = Number.parseInt(id.slice(i * 2, i * 2 + 2), 16);
      const size = image.u32(META.size);
      if (size % PAGE !== 0 || size < OBJECT_SIZE_MIN || size > bytes.length) put(META.size, bytes.length, 'the size');
      stamp(image);
      if (what.length === before.length) what.push('its metadata page failed its checksum');
      return isUsable(host, id, bytes) ? { bytes, what } : undefined;
    }
  }
  return undefined;
}
