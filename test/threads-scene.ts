/** A space and a task in it, for the tests of threads. Threads that still run at the end are killed. */
import type { TestContext } from 'node:test';
import { spawn, threads, type Infer, type Space, type SpawnOptions, type Thread } from '../src/index.ts';
import { Ground } from './hosts.ts';
import { Task } from './threads-work.ts';
import { until } from './until.ts';

export const WORK: URL = new URL('./threads-work.js', import.meta.url);
export const KINDS = ['thread', 'process'] as const;

export interface Scene {
  readonly ground: Ground;
  readonly space: Space;
  readonly task: Infer<typeof Task>;
  start(options?: SpawnOptions): Thread;
  /** Looks at the space again and again, until it is so. */
  until(so: () => boolean): Promise<void>;
}

export function scene(t: TestContext, what: string, n = 0): Scene {
  const started: Thread[] = [];
  // Before the ground is cleared.
  t.after(async () => {
    const all = space.closed ? [] : [...started, ...threads(space)].filter((each) => !each.control.gone && each.started + each.pid > 0);
    for (const each of all) each.kill();
    await Promise.all(all.map((each) => each.waitAsync()));
  });
  const ground = new Ground('linux', t);
  const space = ground.open({ segmentSize: 1 << 20 });
  const task = space.relaxed(() => space.create(Task, { what, n }));
  return {
    ground,
    space,
    task,
    start: (options = {}) => {
      const thread = spawn(space, WORK, { argument: task, ...options });
      started.push(thread);
      return thread;
    },
    until: (so) =>
      until(() => {
        space.refresh();
        return so();
      }),
  };
}
