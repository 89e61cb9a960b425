/** A client of a local server in a process of its own, as another user where it is told to be: for serve-*.test.ts. Prints one line of JSON. */
import * as fs from 'node:fs';
import { connect, isTwzError, ref, struct, text, u32, type ObjectId } from '../src/index.ts';
import { MAP, PROT, libc } from '../src/host/linux/libc.ts';
import { Wire } from '../src/services/serve/wire.ts';

export const Leaf = struct('ServedLeaf', { n: u32, name: text });
export const Pair = struct('ServedPair', {
  n: u32,
  name: text,
  get other() {
    return ref(Leaf);
  },
});

/** What is seen of a call that may be refused. */
async function outcome(what: () => unknown): Promise<unknown> {
  try {
    return (await what()) ?? 'done';
  } catch (error) {
    return isTwzError(error) ? error.name : error instanceof Error && 'code' in error ? error.code : String(error);
  }
}

const NOBODY = 65534;
const SYS_PRCTL: Readonly<Record<string, number>> = { x64: 157, arm64: 167 };
const PR_SET_DUMPABLE = 4;

/** Another user from now on; it can look at its own descriptors all the same. */
function becomeNobody(): void {
  // Loaded before: another user need not be able to read the files of this package.
  const { syscall } = libc();
  process.setgroups?.([]);
  process.setgid?.(NOBODY);
  process.setuid?.(NOBODY);
  syscall(SYS_PRCTL[process.arch] ?? 157, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
}

/** What it can do with the descriptor of an image, past the library. */
export async function tamper(socket: string, id: string): Promise<Record<string, unknown>> {
  const wire = new Wire(socket, 60_000);
  await wire.ask('hello', { version: 1 });
  const { head, descriptor: fd = -1 } = await wire.ask('open', { object: id });
  const bytes = Number(head['bytes']);
  const { mmap, mprotect, errno, errors } = libc();
  const why = (): string => Object.keys(errors).find((name) => errors[name] === errno()) ?? String(errno());
  const mapped = (prot: number, flags: number, file = fd): string => (mmap(0, bytes, prot, flags, file, 0) === -1 ? why() : 'mapped');
  const reading = mmap(0, bytes, PROT.read, MAP.shared, fd, 0);
  const path = `/proc/self/fd/${fd}`;
  const reopened = ((): number => {
    try {
      return fs.openSync(path, 'r+');
    } catch {
      return -1;
    }
  })();
  const results = {
    read: await outcome(() => fs.readSync(fd, new Uint8Array(16), 0, 16, 0)),
    mapForReading: reading > 0 ? 'mapped' : why(),
    mapPrivately: mapped(PROT.readWrite, MAP.private),
    mapForWriting: mapped(PROT.readWrite, MAP.shared),
    protectForWriting: mprotect(reading, 4096, PROT.readWrite) === 0 ? 'done' : why(),
    write: await outcome(() => fs.writeSync(fd, new Uint8Array(16), 0, 16, 4096)),
    truncate: await outcome(() => fs.ftruncateSync(fd, 4096)),
    reopen: reopened < 0 ? 'refused' : 'opened',
    reopenedMap: reopened < 0 ? 'refused' : mapped(PROT.readWrite, MAP.shared, reopened),
    reopenedWrite: reopened < 0 ? 'refused' : await outcome(() => fs.writeSync(reopened, new Uint8Array(16), 0, 16, 4096)),
    reopenedTruncate: reopened < 0 ? 'refused' : await outcome(() => fs.ftruncateSync(reopened, 4096)),
  };
  wire.close();
  return results;
}

/** What another user finds. */
async function stranger(socket: string, id: ObjectId, directory: string): Promise<unknown> {
  const result: Record<string, unknown> = { uid: process.getuid?.() };
  result['list'] = await outcome(() => fs.readdirSync(directory).length);
  result['file'] = await outcome(() => fs.readFileSync(`${directory}/objects/${id.slice(0, 2)}/${id}.twz`).length);
  using space = await connect(socket);
  result['lookup'] = (await space.lookup('/pair')) ?? 'nothing';
  result['read'] = await outcome(async () => {
    const pair = await space.get(id, Pair);
    return space.read(() => [pair.n, pair.other?.n]);
  });
  result['write'] = await outcome(async () => {
    const pair = await space.get(id, Pair);
    return space.transact(() => (pair.n += 1));
  });
  result['tamper'] = await outcome(() => tamper(socket, id));
  return result;
}

/** Reads two objects that are always changed together, again and again. */
async function watcher(socket: string, id: ObjectId, until: number): Promise<unknown> {
  using space = await connect(socket);
  const pair = await space.get(id, Pair);
  let [reads, torn, last, changes] = [0, 0, 0, 0];
  await space.read(() => pair.other?.n);
  process.stdout.write('ready\n');
  while (last < until) {
    const [a, b, name] = await space.read(() => [pair.n, pair.other?.n, pair.name]);
    reads++;
    if (a !== b || name !== `${'x'.repeat((a ?? 0) % 40)}${a}`) torn++;
    if (a !== last) changes++;
    last = a ?? 0;
  }
  return { reads, torn, changes };
}

if (process.argv[2] !== undefined && import.meta.url.endsWith(String(process.argv[1]?.split('/').at(-1)))) {
  const [role, user, socket = '', id = '', more = ''] = process.argv.slice(2);
  if (user === 'nobody') becomeNobody();
  const result = await (role === 'stranger' ? stranger(socket, id as ObjectId, more) : watcher(socket, id as ObjectId, Number(more)));
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
