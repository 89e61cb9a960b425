/** What tests do with the processes of `sync-child.ts`. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SyncWords } from '../src/abi/sync.ts';
import type { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import type { Order } from './sync-child.ts';
import { mapWords } from './sync-region.ts';
import { until } from './until.ts';

const CHILD = fileURLToPath(new URL('./sync-child.js', import.meta.url));

export function mapped(t: TestContext): { words: Region; file: string } {
  const directory = mkdtempSync(path.join(tmpdir(), 'twz-futex-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'words');
  return { words: mapWords(new LinuxHost(), file), file };
}

export async function startChild(t: TestContext, file: string): Promise<ChildProcess> {
  const child = fork(CHILD, [file], { execArgv: [] });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'message'), ['ready', undefined]);
  return child;
}

export function order(child: ChildProcess, what: Order): Promise<unknown> {
  const answer = once(child, 'message').then(([value]: unknown[]) => value);
  child.send(what);
  return answer;
}

/** Wakes until somebody was asleep there. */
export async function wakeSleeper(words: SyncWords, index: number): Promise<void> {
  await until(() => words.wake(index, 1) > 0);
}
