/** T1: data that is used by load and store, and nothing else, outlives a process that was killed; and its size does not matter to opening it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { File, Host } from '../src/host/host.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { objectOf, open, ref, struct, u32, type Infer, type Space } from '../src/index.ts';
import { onHosts, type Ground } from './hosts.ts';
import { KEYS, Leaf, OBJECTS, wordOf } from './kill-victim.ts';

const VICTIM = fileURLToPath(new URL('kill-victim.js', import.meta.url));

/** Runs the victim and kills it when it has said something. */
function kill(ground: Ground): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VICTIM, ground.directory, ground.name], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', () => child.kill('SIGKILL'));
    child.on('error', reject);
    child.on('close', (code, signal) => (signal === 'SIGKILL' ? resolve() : reject(new Error(`ended by ${signal ?? code}`))));
  });
}

/** Keys in order, every reference up and down followed. */
function walk(leaf: Leaf | null, parent: Leaf | null, keys: number[], objects: Set<string>): void {
  if (leaf === null) return;
  walk(leaf.left, leaf, keys, objects);
  assert.equal(leaf.word, wordOf(leaf.key));
  assert.equal(leaf.spoilt, false);
  assert.equal(leaf.parent?.key, parent?.key);
  keys.push(leaf.key);
  objects.add(objectOf(leaf).id);
  walk(leaf.right, leaf, keys, objects);
}

function walkAll(space: Space): void {
  const keys: number[] = [];
  const objects = new Set<string>();
  walk(space.names.get('/tree', Leaf).left, null, keys, objects);
  assert.deepEqual(
    keys,
    Array.from({ length: KEYS }, (_, key) => key),
  );
  assert.equal(objects.size, OBJECTS);
}

onHosts(
  'T1: a structure over several objects is built, the process killed in a transaction over all of it, and the next one walks it',
  async (ground, t) => {
    await kill(ground);
    const space = ground.open();
    const { recovery } = space.stat();
    t.diagnostic(`${recovery.transactions} transactions recovered from ${recovery.bytes} bytes of log`);
    walkAll(space);
    walkAll(ground.afterDeath(space));
  },
  ['linux', 'portable'],
);

// --- size -----------------------------------------------------------------------------------------------------------------------

const Far = struct('KillFar', {
  value: u32,
  get next() {
    return ref(Far);
  },
});
type Far = Infer<typeof Far>;

/** A host that writes down what is asked of it: calls, and bytes read or mapped by reading. */
function counted(calls: string[]): Host {
  const real = new LinuxHost();
  const kinds = new Map<File, string>();
  const kindOf = (path: string): string =>
    path.endsWith('.twz') && path.includes('/objects/') ? 'object' : path.slice(path.lastIndexOf('/') + 1);
  return new Proxy(real, {
    get(host, name) {
      const value: unknown = Reflect.get(host, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const [first] = args;
        const result: unknown = Reflect.apply(value, host, args);
        if (name === 'open' && typeof first === 'string') kinds.set(result as File, kindOf(first));
        if (name === 'read') calls.push(`read ${String(result)} bytes of ${kinds.get(first as File)}`);
        else if (name !== 'now') calls.push(String(name) + (typeof first === 'string' ? ` ${kindOf(first)}` : ''));
        return result;
      };
    },
  });
}

const FILES = 10;

/** A ring through the first and last bytes of large objects. */
function fill(space: Space, bytes: number): void {
  space.relaxed(() => {
    let last: Far | undefined;
    for (let i = 0; i < FILES; i++) {
      const first = space.create(Far, { value: i });
      objectOf(first).allocate(bytes);
      // What is allocated page by page comes after it.
      const far = space.make(Far, first, { value: i + FILES });
      first.next = far;
      if (last === undefined) space.names.set('/ring', first);
      else last.next = first;
      last = far;
    }
    if (last !== undefined) last.next = space.names.get('/ring', Far);
  });
}

onHosts(
  'T1: opening 10 GB, and the first steps in it, cost what they cost in 10 MB: the same calls, and no byte more is read',
  (ground, t) => {
    const costs: { readonly bytes: number; readonly opening: string[]; readonly walking: string[] }[] = [];
    for (const bytes of [1_000_000, 1_040_000_000]) {
      const directory = `${ground.directory}-${bytes}`;
      // One segment holds the page maps of all of it.
      const made = ground.open({ segmentSize: 16 << 20 }, directory);
      fill(made, bytes);
      made.close();
      const calls: string[] = [];
      const resident = process.memoryUsage.rss();
      const space = open(directory, { host: counted(calls) });
      const opening = calls.splice(0);
      const values: number[] = [];
      let total = 0;
      let at: Far | null = space.names.get('/ring', Far);
      do {
        values.push(at.value);
        if (at.value >= FILES) total += objectOf(at).size;
        at = at.next;
      } while (at !== null && at.value !== 0);
      assert.deepEqual(
        values,
        Array.from({ length: 2 * FILES }, (_, i) => (i >> 1) + (i % 2) * FILES),
      );
      assert.ok(total >= FILES * bytes);
      const grown = process.memoryUsage.rss() - resident;
      assert.ok(grown < 200 << 20, `${grown} bytes of memory for ${total}`);
      costs.push({ bytes: total, opening, walking: calls.splice(0) });
      space.close();
    }
    const [small, large] = costs;
    assert.ok(small !== undefined && large !== undefined && large.bytes > 10e9 && small.bytes < 11e6);
    t.diagnostic(
      `opening: ${large.opening.length} calls, walking: ${large.walking.length}, for ${small.bytes} and for ${large.bytes} bytes`,
    );
    assert.deepEqual(large.opening, small.opening);
    // Address space is taken by windows of 4 GiB; nothing is read for it.
    const reached = (walking: readonly string[]): string[] => walking.filter((call) => call !== 'openWindow');
    assert.deepEqual(reached(large.walking), reached(small.walking));
  },
  ['linux'],
);
