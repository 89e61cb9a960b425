/** A thread in which a node runs a function at a time, for as long as it takes, by the contexts that it was started with. */
import { parseId } from '../../abi/id.ts';
import { chooseHost } from '../../host/choose.ts';
import { Caller, asColleague, endColleague, sayReady } from '../../host/colleagues.ts';
import { open } from '../../space.ts';
import { Job, runBody, runItems } from './bodies.ts';
import { agentOf } from './contact.ts';
import type { HandStart } from './hands.ts';
import { sayError } from './messages.ts';
import { Mobile } from './mobile.ts';
import { toHex } from './record.ts';
import type { Work, Worked } from './tasks.ts';
import { Recorder, traced, type Span } from './tracing.ts';

type Done = Omit<Worked, 'spans'>;

const NOTHING = new Uint8Array(0);

async function main(): Promise<void> {
  const { data, lines } = asColleague();
  const { directory, name, contexts, isBounded, prefetch, patience } = data as HandStart;
  const [line] = lines;
  if (line === undefined) throw new Error('a thread without an agent');
  const space = open(directory, { create: false, host: chooseHost(() => undefined), contexts: contexts.map(parseId) });
  const agent = agentOf(new Caller(line), space, { patience, isBounded, prefetch });
  const id = toHex(space.kernel.spaceId);
  const mobile = new Mobile({
    space,
    id,
    name,
    agent,
    patience,
    request: async (subject, bytes, ms) => (await agent.ask({ do: 'request', subject, bytes, ms })) as Uint8Array,
  });
  const { core } = mobile;

  const plain = async ({ activation, code, values, limits, ms }: Work): Promise<Done> => {
    const ran = core.runner.run(activation, code, values, { limits });
    if (ran.stored.length > 0 || ran.again) await agent.replicated(ran.lsn, ran.stored, ms);
    return { gave: ran.gave, stored: ran.stored };
  };

  const work = async (given: Work): Promise<Worked> => {
    const { trace } = given;
    const recorder = trace === undefined ? undefined : new Recorder(trace, () => space.kernel.host.now());
    try {
      const done = await traced(recorder, 'execute', { node: id }, async (span) => {
        agent.span = span;
        return doing(given, span);
      });
      return { ...done, spans: recorder?.told };
    } finally {
      agent.span = undefined;
    }
  };

  const doing = async (given: Work, span: Span | undefined): Promise<Done> => {
    const { kind, activation, named, depth, ms, limits, code, values } = given;
    agent.patience = Math.min(ms, patience);
    space.refresh();
    if (kind === 'plain') return plain(given);
    const job = new Job(core, { activation, named, depth, ms, limits, span });
    const gave =
      kind === 'async'
        ? await runBody(core, job, code, values)
        : await runItems(core, job, code, values, async (item) => (await agent.ask({ do: 'yielded', item })) === true);
    return { gave: gave ?? NOTHING, stored: [...job.stored] };
  };

  sayReady(
    {},
    () => undefined,
    () => undefined,
  );
  for (;;) {
    const given = (await agent.ask({ do: 'work' })) as Work | undefined;
    if (given === undefined) break;
    try {
      await agent.ask({ do: 'worked', ...(await work(given)) });
    } catch (error) {
      await agent.ask({ do: 'failed', error: sayError(error) });
    }
  }
  agent.close();
  space.close();
  endColleague();
}

await main();
