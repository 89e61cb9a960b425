/** Another process, with contexts of its own, that does what it is told, a line at a time, and answers with a line of JSON. Argument: directory. */
import * as fs from 'node:fs';
import { createInterface } from 'node:readline';
import { isTwzError, open, parseId, type Space } from '../src/index.ts';
import { Secret } from './security-world.ts';

const [directory = ''] = process.argv.slice(2);
let space: Space | undefined;
let kept: { n: number } | undefined;

const answer = (value: unknown): void => void fs.writeSync(1, `${JSON.stringify(value)}\n`);
const here = (): Space => {
  if (space === undefined) throw new Error('the space is not open');
  return space;
};

/** The name of the right that is missing, or what came of it. */
function judged(deed: () => unknown): unknown {
  try {
    return deed();
  } catch (error) {
    if (isTwzError(error)) return `${error.name} ${String(error.context['missing'] ?? '')}`.trim();
    throw error;
  }
}

const deeds: Readonly<Record<string, (...args: readonly string[]) => unknown>> = {
  open: (...contexts) => {
    space = open(directory, { contexts: contexts.map(parseId), patience: 60_000 });
    return space.security.active;
  },
  read: (id = '') => judged(() => here().get(parseId(id), Secret).n),
  /** Keeps an accessor. */
  keep: (id = '') => {
    kept = here().get(parseId(id), Secret);
    return kept.n;
  },
  /** Reads through it, as a program does that has just called the space for something else. */
  again: () => {
    here().refresh();
    return judged(() => kept?.n);
  },
  write: (id = '', n = '0') => judged(() => here().relaxed(() => (here().get(parseId(id), Secret).n = Number(n)))),
  epoch: () => here().kernel.authority?.epoch,
  /** Begins a transaction that has read, waits in it for a file, and then stores. */
  dwell: (id = '', file = '') => {
    let tries = 0;
    const outcome = judged(() =>
      here().relaxed(() => {
        const found = here().get(parseId(id), Secret);
        const before = found.n;
        if (++tries === 1) answer('inside');
        while (!fs.existsSync(file));
        found.n = before + 1;
        return found.n;
      }),
    );
    return [outcome, tries];
  },
  close: () => {
    space?.close();
    space = undefined;
    return 'closed';
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const [deed = '', ...args] = line.split(' ');
  answer(deeds[deed]?.(...args) ?? null);
});
