/** Runs the hostile programs, and prints what became of each as a line of JSON. A process of its own: see hostile-programs.ts. */
import { open, struct, u32 } from '../src/index.ts';
import { isTwzError } from '../src/abi/errors.ts';
import { RIGHT } from '../src/abi/format.ts';
import { ProgramExit } from '../src/runtime/exit.ts';
import type { Authority } from '../src/runtime/view.ts';
import { programs } from '../src/services/programs.ts';
import { HOSTILE, type Hostile } from './hostile-programs.ts';
import { wat } from './wat.ts';

const space = open(process.argv[2] ?? '');
const Victim = struct('Victim', { n: u32 });
const victim = space.relaxed(() => {
  const made = space.create(Victim, { n: 1 });
  space.names.set('/object', made, { replace: true });
  return made;
});
const { id } = space.object(victim);
const reading: Authority = { rightsTo: (h) => (h.id === id ? RIGHT.read : h.rights), epoch: 0 };

function run({ text, limits, transaction }: Hostile): { error?: string; message?: string; result?: string } {
  const returns = /\(func \(export "go"\) \(param \$id i32\)\s*\(result (i32|i64)\)/.exec(text)?.[1];
  const parameters = ['reference'] as const;
  const gates = {
    go: returns === undefined ? { parameters } : { parameters, result: returns === 'i64' ? ('i64' as const) : ('i32' as const) },
  };
  try {
    const compartment = programs(space).start(wat(`(module ${text})`, gates), {
      authority: reading,
      limits: { memory: 4 << 20, time: 5000, ...limits },
    });
    try {
      const call = (): unknown => compartment.call('go', id);
      const given = transaction === true ? space.relaxed(call) : call();
      return { result: String(given) };
    } finally {
      if (!compartment.closed) compartment.close();
    }
  } catch (thrown) {
    if (thrown instanceof ProgramExit) return { result: String(thrown.exitCode) };
    if (isTwzError(thrown)) return { error: thrown.name, message: thrown.message };
    throw thrown;
  }
}

for (const hostile of HOSTILE) {
  const became = run(hostile);
  // The neighbour is as it was, and the space goes on.
  space.relaxed(() => (victim.n += 1));
  process.stdout.write(`${JSON.stringify({ name: hostile.name, ...became, n: victim.n })}\n`);
}
space.close();
