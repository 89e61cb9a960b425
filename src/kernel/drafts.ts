/**
 * Drafts: new objects that go around the log. Each is written whole to a file of its own, which is durable before the frame that adopts it
 * is in the log. Large objects, so that their bytes are written once; shared ones, whose bytes must be where everyone maps them.
 *
 *   staging:    drafts/ID noted -> objects/../ID.staged written bit by bit, before there is a transaction -> commit, renamed to ID.draft
 *   commit:     drafts/ID noted -> objects/../ID.draft written and synced -> frame with a section `adopt` -> log synced -> renamed to ID.twz
 *   recovery:   `adopt` renames a draft that is still one; drafts that are noted and that nothing committed are removed
 *
 * A draft lies beside the place of its object, so that the renaming is one change of one directory. Its note says where to look for drafts.
 *
 * Invariants:
 *  1. What a committed `adopt` names is whole on disk, as draft or as object, wherever the frame is found after a crash.
 *  2. A file named as an object was committed, and the log is durable so far.
 *  3. What is stored into an adopted object is logged, and reaches the file by a checkpoint alone; into a shared one it is not logged at all.
 *  4. The control file goes past an `adopt` only when the draft is renamed.
 */
import { isTwzError } from '../abi/errors.ts';
import { KIND, PAGE } from '../abi/format.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import type { File } from '../host/host.ts';
import { stampedHeader } from './apply.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

const DRAFTS = 'drafts';
/** Smaller objects go through the log: syncs of their own would cost more than writing the bytes twice. */
const LARGE_MIN = 1 << 20;

/** In the directory of the object: a rename between directories may be torn. */
function draftPath(kernel: Kernel, id: ObjectId): string {
  return kernel.path(id).replace(/twz$/, 'draft');
}

/** Where an object comes bit by bit. No recovery takes that for a draft. */
export function stagedPath(kernel: Kernel, id: ObjectId): string {
  return kernel.path(id).replace(/twz$/, 'staged');
}

/** Says that there may be a draft, so that nobody need look for drafts among the objects. */
function notePath(kernel: Kernel, id: ObjectId): string {
  return `${kernel.directory}/${DRAFTS}/${id}`;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

// --- commit -------------------------------------------------------------------------------------------------------------------

/** Is it better to write this object, which the running transaction made, to a draft than to the log? `lines` of it were stored to. */
export function isLarge(kernel: Kernel, h: Handle, lines: number): boolean {
  return h.staged !== undefined || (lines * 2 >= h.size >>> 6 && !h.volatile && h.raw === undefined && mayBeDraft(kernel, h.id, h.size));
}

export function mayBeDraft(kernel: Kernel, id: ObjectId, size: number): boolean {
  return (
    size >= Math.min(LARGE_MIN, kernel.options.segmentSize / 8) &&
    // Nothing may be overwritten that a lost end of the log would bring back.
    !kernel.checkpointer.awaitsRemoval(id) &&
    !kernel.host.exists(kernel.path(id))
  );
}

/** Makes the directories that drafts of these lie in, and notes that there may be some. */
export function prepareDraft(kernel: Kernel, ...ids: readonly ObjectId[]): void {
  const { host, directory } = kernel;
  for (const parent of [`${directory}/${DRAFTS}`, ...ids.map((id) => parentOf(kernel.path(id)))])
    if (!host.exists(parent)) host.makeDirectory(parent);
  // Who made them may not have made their names durable.
  host.syncDirectory(directory);
  host.syncDirectory(`${directory}/objects`);
  for (const id of ids) host.close(host.open(notePath(kernel, id), 'create'));
  host.syncDirectory(`${directory}/${DRAFTS}`);
}

/** Before the first frame: writes new objects where no one looks, durably. Where that fails, nothing has happened. */
export function writeDrafts(kernel: Kernel, handles: readonly Handle[]): void {
  const { host } = kernel;
  for (const h of handles) h.adopted = true;
  const unprepared = handles.filter(({ staged }) => staged === undefined);
  if (unprepared.length > 0) prepareDraft(kernel, ...unprepared.map(({ id }) => id));
  for (const h of handles) {
    const { staged } = h;
    const path = draftPath(kernel, h.id);
    if (staged !== undefined) {
      host.rename(stagedPath(kernel, h.id), path);
      host.write(staged.file, stampedHeader(h, 1), 0);
      host.sync(staged.file);
      showDraft(kernel, h, staged.file);
    } else {
      const file = host.open(path, 'create');
      try {
        host.truncate(file, 0);
        host.write(file, stampedHeader(h, 1), 0);
        host.write(file, h.u8.subarray(PAGE), PAGE);
        host.sync(file);
        showDraft(kernel, h, file);
      } finally {
        host.close(file);
      }
    }
    host.syncDirectory(parentOf(kernel.path(h.id)));
  }
}

/** The image shows the file from now on: so it takes no memory of its own, and a copy nothing of its original's file. */
function showDraft(kernel: Kernel, h: Handle, file: File): void {
  const { slot } = h;
  // A shared one is mapped when it has its name, once.
  if (h.kind === KIND.shared || h.imageFile !== undefined || slot?.window.maps !== true) return;
  if (!h.fileMapped && kernel.mappings >= kernel.options.objectsMax) return;
  slot.window.mapPrivate(slot.at, h.size, file, 0);
  kernel.setMapped(h, true);
}

/** The frames are in the log: the draft becomes the object's file. */
export function placeDraft(kernel: Kernel, h: Handle): void {
  const { host } = kernel;
  try {
    kernel.log.sync();
    adoptDraft(kernel, h.id);
    host.syncDirectory(parentOf(kernel.path(h.id)));
    host.remove(notePath(kernel, h.id));
    if (h.staged !== undefined) h.staged.isPlaced = true;
    h.staged = undefined;
  } catch (cause) {
    kernel.log.fail(cause, `object ${h.id} was created, and could not be put in its place`);
  }
}

/** The transaction was undone. */
export function dropDraft(kernel: Kernel, h: Handle): void {
  // Its frame may be in the log all the same.
  if (!h.adopted || kernel.log.failure !== undefined) return;
  try {
    // It may be tried again.
    if (h.staged !== undefined) kernel.host.rename(draftPath(kernel, h.id), stagedPath(kernel, h.id));
    else removeDraft(kernel, h.id);
  } catch (error) {
    // The next recovery removes it.
    if (!isTwzError(error)) throw error;
  }
}

// --- adopting -----------------------------------------------------------------------------------------------------------------

export function isDraft(kernel: Kernel, id: ObjectId): boolean {
  return kernel.host.exists(draftPath(kernel, id));
}

/** A draft that was committed becomes the object. False where there is none. */
export function adoptDraft(kernel: Kernel, id: ObjectId): boolean {
  if (!isDraft(kernel, id)) return false;
  try {
    kernel.host.rename(draftPath(kernel, id), kernel.path(id));
  } catch (error) {
    // Another process was first.
    if (!isTwzError(error, 'FileMissing')) throw error;
  }
  return true;
}

/** As `adoptDraft`, for an object that another process has committed just now. */
export function helpDraft(kernel: Kernel, id: ObjectId): boolean {
  if (!isDraft(kernel, id)) return kernel.host.exists(kernel.path(id));
  kernel.log.sync();
  return adoptDraft(kernel, id);
}

export function removeDraft(kernel: Kernel, id: ObjectId): void {
  const { host } = kernel;
  const note = notePath(kernel, id);
  if (!host.exists(note)) return;
  for (const path of [draftPath(kernel, id), stagedPath(kernel, id)]) {
    if (!host.exists(path)) continue;
    host.remove(path);
    host.syncDirectory(parentOf(path));
  }
  host.remove(note);
}

/** After the log was replayed, and nobody else has the space open: what is still a draft was never committed. */
export function removeDrafts(kernel: Kernel): void {
  const { host, directory } = kernel;
  if (!host.exists(`${directory}/${DRAFTS}`)) return;
  for (const name of host.list(`${directory}/${DRAFTS}`)) if (isId(name)) removeDraft(kernel, name);
}
