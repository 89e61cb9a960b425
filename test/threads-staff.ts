/** A supervisor and its children, for the tests of supervised threads. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { isTwzError, supervise, type ChildSpec, type Infer, type SuperviseOptions, type Supervisor } from '../src/index.ts';
import { WORK, scene, type Scene } from './threads-scene.ts';
import { Task } from './threads-work.ts';

export interface Staff extends Scene {
  readonly tasks: readonly Infer<typeof Task>[];
  readonly supervisor: Supervisor;
}

export type Part = Partial<ChildSpec> & { readonly what: string; readonly n?: number };

/** A supervisor of children that are named a, b, c, each with a task. Stopped at the end. */
export function staff(t: TestContext, parts: readonly Part[], options: SuperviseOptions = {}): Staff {
  const made: Supervisor[] = [];
  t.after(async () => {
    await made[0]?.stop().catch((error: unknown) => assert.ok(isTwzError(error, 'SupervisorGaveUp')));
  });
  const ground = scene(t, 'nothing');
  const { space } = ground;
  const tasks = parts.map(({ what, n = 0 }) => space.relaxed(() => space.create(Task, { what, n })));
  const specs = parts.map((part, i): ChildSpec => ({ name: 'abc'.charAt(i), module: WORK, argument: tasks[i] as object, ...part }));
  const supervisor = supervise(space, specs, { backoff: { first: 1, most: 10 }, ...options });
  made.push(supervisor);
  return { ...ground, tasks, supervisor };
}

/** How each child is, and how often it was started again. */
export const childrenOf = ({ supervisor }: Staff): unknown[] =>
  [...supervisor.state.children].map(({ status, restarts }) => [status, restarts]);
