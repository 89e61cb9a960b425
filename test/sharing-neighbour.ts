/** Another process in the space of a test: does what it is told, a line at a time, and answers with a line of JSON. Argument: directory. */
import { createInterface } from 'node:readline';
import * as fs from 'node:fs';
import { open, type Space } from '../src/index.ts';
import { Big, Counter, Shelf } from './sharing-types.ts';

const [directory = ''] = process.argv.slice(2);
let space: Space | undefined;

const answer = (value: unknown): void => void fs.writeSync(1, `${JSON.stringify(value)}\n`);
const here = (): Space => (space ??= open(directory, { patience: 60_000 }));

const deeds: Readonly<Record<string, (...args: readonly string[]) => unknown>> = {
  open: () => here().stat().members.length,
  close: () => {
    space?.close();
    space = undefined;
    return 'closed';
  },
  add: (name = '', n = '1') =>
    here().relaxed(() => {
      const counter = here().names.get(name, Counter);
      counter.n += Number(n);
      return counter.n;
    }),
  /** As many transactions. */
  spree: (name = '', n = '1') => {
    for (let i = 0; i < Number(n); i++) here().relaxed(() => void here().names.get(name, Counter).n++);
    return Number(n);
  },
  put: (key = '', value = '') => here().relaxed(() => void here().names.get('/shelf', Shelf).set(key, value)) ?? 'put',
  fill: (name = '', from = '0', to = '0', value = '0') =>
    here().relaxed(() => {
      const { data } = here().names.get(name, Big);
      for (let i = Number(from); i < Number(to); i++) data.set(i, Number(value));
      return data.length;
    }),
  create: (name = '') =>
    here().relaxed(() => {
      here().names.set(name, here().create(Counter, { n: 1 }));
      return here().names.get(name).id;
    }),
  remove: (name = '') =>
    here().relaxed(() => {
      const target = here().names.get(name);
      here().names.remove(name);
      return here().delete(target);
    }),
  checkpoint: () => {
    here().checkpoint();
    return 'done';
  },
  /** Stays in a transaction that has changed a counter. */
  hang: (name = '') =>
    here().relaxed(() => {
      here().names.get(name, Counter).n += 1000;
      answer('hanging');
      for (;;);
    }),
  /** Dies with what it has published, and something half done. */
  die: () => process.kill(process.pid, 'SIGKILL'),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const [deed = '', ...args] = line.split(' ');
  try {
    answer(deeds[deed]?.(...args));
  } catch (error) {
    answer({ error: error instanceof Error ? error.name : String(error) });
  }
});
