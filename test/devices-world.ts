/** What the tests of devices have in common: spaces, drivers and programs of their own. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { open, startDevices, type DeviceOptions, type Devices, type Space } from '../src/index.ts';

export const PROGRAM = fileURLToPath(new URL('./devices-program.js', import.meta.url));
const DRIVER = fileURLToPath(new URL('./devices-driver.js', import.meta.url));

interface World {
  readonly space: Space;
  readonly devices: Devices;
}

/** A space that is let go of at the end of its test. */
export function place(t: TestContext): Space {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-devices-'));
  const space = open(`${made}/space`, { segmentSize: 1 << 20 });
  t.after(() => {
    space.close();
    fs.rmSync(made, { recursive: true, force: true });
  });
  return space;
}

export async function world(t: TestContext, options: DeviceOptions): Promise<World> {
  const space = place(t);
  space.relaxed(() => space.names.set('/report', space.createRaw(65_536, { kind: 'shared' })));
  const started = await startDevices(space, options);
  t.after(() => started.close());
  return { space, devices: started };
}

export function reported(space: Space): unknown {
  const object = space.names.get('/report');
  const { i32, u8 } = object.sync();
  const length = Atomics.load(i32, object.rootOffset >> 2);
  return length === 0 ? undefined : JSON.parse(new TextDecoder().decode(u8.slice(object.rootOffset + 4, object.rootOffset + 4 + length)));
}

export async function ended(child: ChildProcess): Promise<void> {
  const [code, signal]: unknown[] =
    child.exitCode === null && child.signalCode === null ? await once(child, 'exit') : [child.exitCode, child.signalCode];
  assert.deepEqual([code, signal], [0, null]);
}

/** Resolves with the report once there is one. */
export async function firstReport(space: Space): Promise<unknown> {
  const report = space.names.get('/report');
  const words = report.sync();
  while (Atomics.load(words.i32, report.rootOffset >> 2) === 0) await words.waitAsync(report.rootOffset >> 2, 0, 1000);
  return reported(space);
}

/** Runs a program of plain words to its end: what it found. */
export async function runs(space: Space, part: string, argument = ''): Promise<unknown> {
  await ended(spawn(process.execPath, [PROGRAM, space.directory, part, argument], { stdio: ['ignore', 'ignore', 'inherit'] }));
  const { value, open }: { value?: unknown; open?: unknown } = reported(space) as object;
  assert.deepEqual(open, []);
  return value;
}

export async function drive(t: TestContext, directory: string, options: object): Promise<ChildProcess> {
  const child = spawn(process.execPath, [DRIVER, directory, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
  return child;
}
