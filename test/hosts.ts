/** Spaces to test on, one on each host: real files where the host has them, and the simulated machine. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test, type TestContext } from 'node:test';
import { isTwzError, type ErrorName } from '../src/abi/errors.ts';
import { META, PAGE } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import type { Host } from '../src/host/host.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PortableHost } from '../src/host/portable/portable.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { open, type OpenOptions, type Space } from '../src/index.ts';
import { headerChecksum } from '../src/kernel/kernel.ts';

export type HostName = Host['name'];
export const HOSTS: readonly HostName[] = ['linux', 'portable', 'simulated'];

const SEGMENT = 1 << 20;

/** One machine and one directory on it. Spaces that a test leaves open are let go of at its end. */
export class Ground {
  readonly name: HostName;
  readonly host: Host;
  readonly directory: string;
  readonly #spaces: Space[] = [];

  constructor(name: HostName, t: TestContext) {
    this.name = name;
    if (name === 'simulated') {
      this.host = new SimulatedHost({ wasm: true });
      this.host.makeDirectory('/tmp');
      this.directory = '/tmp/space';
    } else {
      const made = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-test-'));
      this.host = name === 'linux' ? new LinuxHost() : new PortableHost();
      this.directory = `${made}/space`;
      t.after(() => fs.rmSync(made, { recursive: true, force: true }));
    }
    t.after(() => {
      for (const space of this.#spaces) space.kernel.release();
    });
  }

  open(options: Omit<OpenOptions, 'host'> = {}, directory: string = this.directory): Space {
    const space = open(directory, { segmentSize: SEGMENT, ...options, host: this.host });
    this.#spaces.push(space);
    return space;
  }

  /** The process dies, without a word, and another one opens the space. */
  afterDeath(space: Space, options: Omit<OpenOptions, 'host'> = {}): Space {
    space.kernel.release();
    return this.open(options, space.directory);
  }

  /** Opens what was closed in good order. */
  afterClose(space: Space, options: Omit<OpenOptions, 'host'> = {}): Space {
    space.close();
    return this.open(options, space.directory);
  }

  /** Waits; on the simulated machine time passes only here. */
  async until<T>(promise: Promise<T>): Promise<T> {
    if (!(this.host instanceof SimulatedHost)) return promise;
    let done = false;
    const settled = promise.finally(() => (done = true));
    settled.catch(() => undefined);
    for (let idle = 0; !done && idle < 1000; idle++) if (await this.host.step()) idle = 0;
    return settled;
  }

  readFile(file: string): Uint8Array {
    const open = this.host.open(file, 'read');
    const bytes = new Uint8Array(this.host.length(open));
    this.host.read(open, bytes, 0);
    this.host.close(open);
    return bytes;
  }

  /** Replaces a file's content. */
  writeFile(file: string, bytes: Uint8Array): void {
    const open = this.host.open(file, 'create');
    this.host.truncate(open, bytes.length);
    this.host.write(open, bytes, 0);
    this.host.close(open);
  }
}

export function objectFile(space: Space, id: ObjectId): string {
  return `${space.directory}/objects/${id.slice(0, 2)}/${id}.twz`;
}

/** A test for each of the hosts. */
export function onHosts(
  title: string,
  body: (ground: Ground, t: TestContext) => void | Promise<void>,
  hosts: readonly HostName[] = HOSTS,
): void {
  for (const name of hosts) test(`${title} (${name})`, (t) => body(new Ground(name, t), t));
}

/** Puts the right checksum into the metadata page of an object file that a test has changed. */
export function restamp(image: Uint8Array): Uint8Array {
  const words = new Int32Array(image.slice(0, PAGE).buffer);
  words[META.checksum >> 2] = headerChecksum(words);
  image.set(new Uint8Array(words.buffer), 0);
  return image;
}

/** Runs what must throw and gives the error. */
export function thrown(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** Must be refused with that error. */
export function fails(name: ErrorName, body: () => unknown): void {
  const error = thrown(body);
  assert.ok(isTwzError(error, name), `expected ${name}, got ${String(error)}`);
}

/** As `fails`, of a promise. */
export async function rejects(name: ErrorName, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => isTwzError(error, name), `expected ${name}`);
}
