/** What must happen in a process of its own: dying with a full log, and being measured from the first page on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ObjectId, open, parseId } from '../src/index.ts';
import { makeChain, nodesOf } from './graph.ts';
import { generator, nanoseconds } from './harness.ts';

const PAGE = 4096;

/** Resident bytes of this process, by the kernel's account. */
function resident(): number {
  const text = readFileSync('/proc/self/status', 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1] ?? 0) * 1024;
}

/** Fills the log with `bytes` of transactions that no checkpoint applies, and dies as by a power switch. */
function fillLog(directory: string, bytes: number, nodes: number): void {
  const space = open(directory, { checkpointBytes: bytes * 4 });
  const held = [...nodesOf(makeChain(space, nodes, 3).chain)];
  space.checkpoint();
  const random = generator(23);
  const start = space.stat().log.appended;
  let value = 0;
  while (space.stat().log.appended - start < bytes) {
    for (let i = 0; i < 100; i++) {
      space.relaxed(() => {
        const a = held[random(nodes)];
        const b = held[random(nodes)];
        if (a !== undefined) a.value = ++value;
        if (b !== undefined) b.value = ++value;
      });
    }
  }
  space.sync();
  process.kill(process.pid, 'SIGKILL');
}

/** Opens a space, reads a word of its first object, then touches `touch` bytes, page by page. */
function measureMemory(directory: string, ids: readonly ObjectId[], touch: number): void {
  const before = resident();
  const start = nanoseconds();
  const space = open(directory);
  const [id] = ids;
  if (id === undefined) throw new Error('no object given');
  let sum = space.object(id).bytes(PAGE, 1)[0] ?? 0;
  const opened = (nanoseconds() - start) / 1e6;
  const afterOpen = resident();
  for (let rest = touch, i = 0; rest > 0; i++) {
    const object = ids[i];
    if (object === undefined) throw new Error(`the space has fewer than ${touch} bytes`);
    const touched = space.object(object);
    const length = Math.min(rest, touched.size - PAGE);
    for (let at = PAGE; at < PAGE + length; at += PAGE) sum += touched.bytes(at, 1)[0] ?? 0;
    rest -= length;
  }
  console.log(JSON.stringify({ before, afterOpen, opened, afterTouch: resident(), sum }));
}

export interface MemoryFigures {
  readonly before: number;
  readonly afterOpen: number;
  readonly opened: number;
  readonly afterTouch: number;
}

/** Runs one of the above, or another program, in a child and returns what it printed. */
export function inChild(
  args: readonly (string | number)[],
  program = fileURLToPath(import.meta.url),
): {
  stdout: string;
  signal: string | null;
} {
  const child = spawnSync(process.execPath, [program, ...args.map(String)], {
    encoding: 'utf8',
  });
  if (child.status !== 0 && child.signal !== 'SIGKILL')
    throw new Error(`${args[0]} ended with ${child.status ?? child.signal ?? 'nothing'}: ${child.stderr}`);
  return { stdout: child.stdout, signal: child.signal };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [command, directory = '', ...rest] = process.argv.slice(2);
  if (command === 'fill-log') fillLog(directory, Number(rest[0]), Number(rest[1]));
  else if (command === 'memory') measureMemory(directory, (rest[1] ?? '').split(',').map(parseId), Number(rest[0]));
  else throw new Error(`no such command: ${command ?? 'none'}`);
}
