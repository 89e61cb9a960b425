/** A place to try tools in: the command as a user types it, and spaces to use it on. For the tools-*.test.ts. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import {
  array,
  bytes,
  f64,
  i64,
  link,
  oneOf,
  open,
  optional,
  ref,
  struct,
  text,
  u32,
  u8,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { chooseHost } from '../src/host/choose.ts';
import { runTwz, type Ran } from './twz.ts';

export const host = chooseHost(() => undefined);

/** A directory of its own, gone when the process ends. */
export class Bench {
  readonly home = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-tools-'));

  constructor() {
    process.on('exit', () => fs.rmSync(this.home, { recursive: true, force: true }));
  }

  path(name: string): string {
    return path.join(this.home, name);
  }

  run(args: readonly string[], input: string | Uint8Array = ''): Ran {
    return runTwz({ args, cwd: this.home, input, env: { PATH: process.env['PATH'], HOME: this.home, TWZ_HISTORY: '', TZ: 'UTC' } });
  }

  /** Runs a command that must succeed. */
  good(...args: string[]): string {
    const ran = this.run(args);
    assert.equal(ran.code, 0, `twz ${args.join(' ')}: ${ran.err}${ran.out}`);
    return ran.out;
  }

  json(...args: string[]): Record<string, unknown> {
    const value: unknown = JSON.parse(this.good(...args, '--json'));
    assert.ok(typeof value === 'object' && value !== null);
    return value as Record<string, unknown>;
  }

  /** Runs a command that must fail with this error. */
  bad(error: string, ...args: string[]): Ran {
    const ran = this.run(args);
    assert.ok(ran.err.startsWith(`twz: ${error} `), `twz ${args.join(' ')}: ${ran.err}${ran.out}`);
    assert.equal(ran.code, 3);
    return ran;
  }

  space(name: string): Space {
    return open(this.path(name), { segmentSize: 1 << 18, host });
  }
}

export const Thing = struct('Thing', {
  name: text,
  count: u32,
  mood: oneOf('calm', 'angry'),
  weight: optional(f64),
  big: i64,
  small: array(u8, 3),
  photo: bytes,
  owner: link,
  get next() {
    return ref(Thing);
  },
});
export type Thing = Infer<typeof Thing>;

/** Numbers from a seed. */
export function chance(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Everything in a space, byte for byte, versions and checksums of the metadata page included. */
export function contentOf(space: Space): Map<ObjectId, string> {
  const content = new Map<ObjectId, string>();
  for (const id of space.ids()) content.set(id, Buffer.from(host.sha256(space.object(id).export())).toString('hex'));
  return content;
}
