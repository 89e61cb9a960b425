/**
 * T12, T13: how a control object is told that its thread has ended, in every order of its steps that makes a difference, with the real code, and
 * with the thread killed at any of them; and with a bug each, which must be found. Bounds: one thread that ends or dies, two that look, one restart.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { SyncWords } from '../src/abi/sync.ts';
import type * as ControlCode from '../src/services/threads/control.ts';
import { explore, type Program } from '../src/testing/explorer/explore.ts';
import { PLAIN } from './plain.ts';

const CONTROL = new URL('services/threads/control.js', PLAIN);
const ROOT = 64;

type Code = typeof ControlCode;
type Told = string;

async function codeIn(file: URL): Promise<Code> {
  return (await import(file.href)) as Code;
}

const shown = (control: ControlCode.Control): Told => `${control.turn} ${control.outcome.reason} ${control.outcome.code}`;

/** Looks, and sleeps in between, until it has ended. */
function wait(control: ControlCode.Control, exited: number): Told {
  const { words } = control;
  for (;;) {
    if (control.look()) return shown(control);
    const now = control.get('status');
    if ((now & 0xff) !== exited) words.wait(control.index('status'), now, 20);
  }
}

/** Comes to its end in good order. */
function run(control: ControlCode.Control, code: number): Told {
  control.move(['sleeping'], 'running');
  control.settle('returned', code);
  return shown(control);
}

/** `parent`: who has a moment to say how the first of the explored threads died; itself: nobody. */
function begin({ Control, STATUS }: Code, parent: number) {
  return (words: SyncWords): void => {
    const control = new Control(words, ROOT);
    control.set('status', STATUS.sleeping);
    control.set('self', 1);
    control.set('parent', parent);
  };
}

function ensure(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** One runs, or is killed; others wait. */
function ends(code: Code, waiters: number): Program<Told> {
  const { Control, STATUS } = code;
  return {
    bytes: 4096,
    prepare: begin(code, 2),
    threads: [
      (words) => run(new Control(words, ROOT), 3),
      ...Array.from(
        { length: waiters },
        () =>
          (words: SyncWords): Told =>
            wait(new Control(words, ROOT), STATUS.exited),
      ),
    ],
    mortal: [0],
    check: ({ results, words, died }) => {
      const control = new Control(words, ROOT);
      ensure(waiters === 1 || results[1] === results[2], `one was told ${results[1]}, the other ${results[2]}`);
      ensure(died !== undefined || results[1] === '0 returned 3', `it returned, and was told to have ${results[1]}`);
      ensure(control.get('status') === 255 && control.get('ended') === 1, `status ${control.get('status')}, ended ${control.get('ended')}`);
    },
  };
}

/** One runs, or is killed; one waits for that and runs in its place; a third looks meanwhile. */
function again(code: Code): Program<Told> {
  const { Control, STATUS } = code;
  return {
    bytes: 4096,
    prepare: begin(code, 1),
    threads: [
      (words) => run(new Control(words, ROOT), 3),
      (words) => {
        const control = new Control(words, ROOT);
        wait(control, STATUS.exited);
        control.again(2);
        // Others go on, until none can.
        words.wait(control.index('request'), 0, 20);
        return run(control, 7);
      },
      (words) => `${new Control(words, ROOT).look()}`,
    ],
    mortal: [0],
    check: ({ words }) => {
      const control = new Control(words, ROOT);
      ensure(shown(control) === '1 returned 7', `the second turn ended so: ${shown(control)}`);
      ensure(
        control.get('status') === (256 | 255) && control.get('ended') === 2,
        `status ${control.get('status')}, ended ${control.get('ended')}`,
      );
    },
  };
}

const PROGRAMS = {
  'one waits for another, which returns or is killed': (code: Code) => ends(code, 1),
  'two wait for one that returns or is killed': (code: Code) => ends(code, 2),
  'one is started again while another looks': again,
} as const;

for (const [name, preemptions] of [
  ['one waits for another, which returns or is killed', 1],
  ['two wait for one that returns or is killed', 0],
  ['one is started again while another looks', 1],
] as const) {
  test(`T13 explored, orders with at most ${preemptions} preemptions: ${name}`, async (t) => {
    const { failure, executions, steps, complete, cut } = explore(PROGRAMS[name](await codeIn(CONTROL)), { preemptions });
    assert.equal(failure, undefined, `${failure?.message}\n${failure?.trace.join('\n')}`);
    t.diagnostic(`${executions} executions, ${steps} steps, ${cut} cut`);
    assert.ok(complete && cut === 0 && executions > 20, `${executions} executions, ${cut} cut`);
  });
}

interface Mutant {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly found: keyof typeof PROGRAMS;
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'is not completed by who finds it half told',
    from: `this.complete(turn);
        else if`,
    to: `;
        else if`,
    found: 'one waits for another, which returns or is killed',
  },
  {
    name: 'is told dead without a look at whether it lives',
    from: "!threads.lives(this.get('self'))",
    to: 'true',
    found: 'one waits for another, which returns or is killed',
  },
  {
    name: 'can be ended for a turn that is over',
    from: 'const open = (turn & 0xff) << 8;',
    to: "const open = this.get('reason') & 0xff00;",
    found: 'one is started again while another looks',
  },
  { name: 'completes another turn', from: '|| now >>> TURN_SHIFT !== turn', to: '', found: 'one is started again while another looks' },
  {
    name: 'begins a turn before who answers for it stands there',
    from: `this.set('self', parent);
        this.set('parent', parent);
        this.set('request', 0);
        this.set('reason', (turn & 0xff) << 8);
        this.set('status', (turn << TURN_SHIFT) | STATUS.sleeping);`,
    to: `this.set('reason', (turn & 0xff) << 8);
        this.set('status', (turn << TURN_SHIFT) | STATUS.sleeping);
        this.set('self', parent);
        this.set('parent', parent);`,
    found: 'one is started again while another looks',
  },
];

for (const { name, from, to, found } of MUTANTS) {
  test(`T13 explored: finds a control object that ${name}`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'twz-control-'));
    try {
      const squeeze = (text: string): string => text.replaceAll(/\/\/.*$/gm, '').replaceAll(/\s+/g, ' ');
      // What it imports is that of this build.
      const built = squeeze(readFileSync(CONTROL, 'utf8')).replaceAll(
        /'(\.\.\/[^']+)'/g,
        (_, path: string) => `'${new URL(path, CONTROL).href}'`,
      );
      assert.equal(built.split(squeeze(from)).length, 2, 'the place for the bug is there once');
      const file = join(directory, 'control.mjs');
      writeFileSync(
        file,
        built.replace(squeeze(from), () => to),
      );
      const { failure, executions } = explore(PROGRAMS[found](await codeIn(pathToFileURL(file))), { preemptions: 1, steps: 400 });
      assert.notEqual(failure, undefined, `not found in ${executions} executions`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
