/**
 * The table of a space's threads: it tells them to everyone, and keeps what they were started with. It has the IDs of their control objects, no
 * references: those do not go into backups, and must not be missed there. A control object comes and goes in one transaction with its entry.
 */
import { TwzError } from '../../abi/errors.ts';
import { parseId } from '../../abi/id.ts';
import type { Obj } from '../../lib/object.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { link, text, u32 } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { Control } from './control.ts';

/** Where it has its name. */
export const THREADS = '/threads';
/** The control objects of so many threads that have ended are kept; `spawn` lets go of those that ended before. */
export const ENDED_MAX = 32;

const ThreadEntry = struct('ThreadEntry', { control: text, argument: link });
type ThreadEntry = Infer<typeof ThreadEntry>;
const ThreadTable = struct('ThreadTable', { next: u32, threads: orderedMap(u32, ThreadEntry) });
type ThreadTable = Infer<typeof ThreadTable>;

/** Undefined where no thread was ever spawned in the space. */
export function tableOf(space: Space): ThreadTable | undefined {
  space.refresh();
  return space.names.find(THREADS) === undefined ? undefined : space.names.get(THREADS, ThreadTable);
}

function makeTable(space: Space): ThreadTable {
  const known = tableOf(space);
  if (known !== undefined) return known;
  const table = space.create(ThreadTable, { next: 1 });
  space.names.set(THREADS, table);
  return table;
}

/** Undefined where the control object is gone: it was deleted, or is of a space that this one was copied from. */
export function controlOf(space: Space, entry: ThreadEntry): { readonly object: Obj; readonly control: Control } | undefined {
  const id = parseId(entry.control);
  if (!space.has(id)) return undefined;
  const object = space.object(id);
  return { object, control: new Control(object.sync(), object.rootOffset) };
}

/** Enters a thread. Inside a transaction. */
export function enterThread(space: Space, argument: Obj | null, make: (number: number) => Obj): number {
  const table = makeTable(space);
  sweep(space, table);
  const number = table.next;
  table.next = number + 1;
  table.threads.set(number, { control: make(number).id, argument });
  return number;
}

/** Takes out what has ended, the last of them apart. */
function sweep(space: Space, table: ThreadTable): void {
  if (table.threads.size <= ENDED_MAX) return;
  const ended = [...table.threads.keys()].filter((number) => {
    const entry = table.threads.get(number);
    const found = entry === undefined ? undefined : controlOf(space, entry);
    return found === undefined || found.control.look();
  });
  for (const number of ended.slice(0, Math.max(0, ended.length - ENDED_MAX))) removeThread(space, number);
}

/** Inside a transaction. */
export function removeThread(space: Space, number: number): void {
  const table = tableOf(space);
  const entry = table?.threads.get(number);
  if (table === undefined || entry === undefined) return;
  const found = controlOf(space, entry);
  table.threads.delete(number);
  if (found !== undefined) space.delete(found.object);
}

/** What the thread was started with. Throws ThreadEnded where it was released. */
export function argumentOf(space: Space, number: number): Obj | null {
  const entry = tableOf(space)?.threads.get(number);
  if (entry === undefined) throw new TwzError('ThreadEnded', `thread ${number} is not in the table of threads any more`, { number });
  return entry.argument;
}
