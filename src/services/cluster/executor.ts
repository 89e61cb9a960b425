/** The executor's thread: functions that other nodes send run here, on the space, one after the other. */
import { chooseHost } from '../../host/choose.ts';
import { Caller, asColleague, endColleague, sayReady } from '../../host/colleagues.ts';
import { open } from '../../space.ts';
import { lesser, type RunLimits } from '../mobility.ts';
import { agentOf } from './contact.ts';
import type { EngineOptions, Message } from './engine.ts';
import { answer, hear, idIn, numberIn, say, sayError, textIn } from './messages.ts';
import { connectNats } from './nats.ts';
import { toHex } from './record.ts';
import { Runner, type Ran } from './runner.ts';
import { limitsIn, lost, noMemory } from './tasks.ts';
import { Recorder } from './tracing.ts';

export interface ExecutorStart {
  readonly directory: string;
  readonly engine: EngineOptions;
  /** Its first word is odd while a run is under way, and says by changing that another is. Then the run's deadline, what stands for its name, and how many wait behind it. */
  readonly pulse: Int32Array;
  /** What stands for the names of runs that ended this thread before, for want of memory or otherwise: they are not begun again. */
  readonly fatal: readonly { readonly mark: number; readonly memory: boolean }[];
  /** There is a bound on what comes from other nodes. */
  readonly isBounded: boolean;
  readonly prefetch: boolean;
  /** What a run may use here. */
  readonly limits: RunLimits;
}

/** Answers that are remembered, and the bytes of one. */
const ANSWERS_MAX = 1000;
const ANSWER_MAX = 4096;
/** Objects that were stored to, of which is told. */
const STORED_MAX = 64;

function told({ ms, again, stored, gave }: Ran, recorder: Recorder | undefined): Uint8Array {
  const spans = recorder === undefined ? {} : { spans: recorder.told };
  return say({ ms, again, stored: stored.slice(0, STORED_MAX), ...spans }, gave);
}

/** What stands for a run's name: FNV-1a. */
function markOf(activation: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < activation.length; i++) hash = Math.imul(hash ^ activation.charCodeAt(i), 0x01000193);
  return hash | 0;
}

async function main(): Promise<void> {
  const { data, lines } = asColleague();
  const start = data as ExecutorStart;
  const { pulse } = start;
  const [line] = lines;
  if (line === undefined) throw new Error('an executor without an agent');
  const space = open(start.directory, { create: false, host: chooseHost(() => undefined) });
  const agent = agentOf(new Caller(line), space, { isBounded: start.isBounded, prefetch: start.prefetch });
  const engine = await connectNats(start.engine);
  const runner = new Runner(space);
  const { host } = space.kernel;
  const id = toHex(space.kernel.spaceId);

  const answers = new Map<string, Uint8Array | undefined>();
  /** What was answered lately is answered again. */
  const remember = (activation: string, bytes: Uint8Array): void => {
    answers.delete(activation);
    answers.set(activation, bytes.length > ANSWER_MAX ? undefined : bytes);
    if (answers.size <= ANSWERS_MAX) return;
    for (const first of answers.keys()) {
      answers.delete(first);
      return;
    }
  };

  const reply = (message: Message, bytes: Uint8Array, activation = ''): void => {
    if (activation !== '') remember(activation, bytes);
    // Who asks again is known by its activation.
    answer(message, bytes);
  };

  /** What was stored outlives this node before anybody hears of it. */
  const settled = async (message: Message, activation: string, ran: Ran, ms: number, recorder: Recorder | undefined): Promise<void> => {
    try {
      await agent.replicated(ran.lsn, ran.stored, ms, recorder);
      reply(message, told(ran, recorder), activation);
    } catch (error) {
      reply(message, sayError(error));
    }
  };

  const run = (message: Message): void => {
    const until = { ms: 0, at: host.now() };
    let ran: Ran;
    let activation = '';
    let recorder: Recorder | undefined;
    try {
      const { head, body } = hear(message.bytes);
      until.ms = numberIn(head, 'ms');
      activation = textIn(head, 'activation');
      const known = answers.get(activation);
      if (known !== undefined) {
        reply(message, known);
        return;
      }
      if (typeof head['trace'] === 'string') recorder = new Recorder(head['trace'], () => host.now());
      const span = recorder?.child('execute', { node: id });
      const mark = markOf(activation);
      const fatal = start.fatal.find((each) => each.mark === mark);
      if (fatal?.memory === true) throw noMemory(start.limits.heapBytes);
      if (fatal !== undefined) throw lost(activation, 'its thread has ended before it was over');
      Atomics.store(pulse, 1, Math.ceil(until.ms));
      Atomics.store(pulse, 2, mark);
      Atomics.add(pulse, 0, 1);
      try {
        agent.patience = until.ms;
        agent.span = span;
        space.refresh();
        const limits = lesser(limitsIn(head), start.limits);
        ran = agent.within(until.ms, () => runner.run(activation, idIn(head, 'code'), body, { limits }));
      } finally {
        span?.end();
        agent.span = undefined;
        Atomics.add(pulse, 0, 1);
      }
    } catch (error) {
      reply(message, sayError(error));
      return;
    }
    // What it gave before may not be in the engine yet, or may not count.
    if (ran.stored.length === 0 && !ran.again) reply(message, told(ran, recorder), activation);
    else void settled(message, activation, ran, Math.max(1, until.ms - (host.now() - until.at)), recorder);
  };

  // Those that came together are counted before the first of them begins.
  const waiting: Message[] = [];
  const drain = (): void => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      Atomics.store(pulse, 3, waiting.length);
      run(next);
    }
  };
  const subscription = engine.subscribe(`run.${id}`, (message) => {
    if (waiting.push(message) === 1) void Promise.resolve().then(drain);
  });
  await engine.flush(2000);
  sayReady(
    {},
    () => undefined,
    () => {
      subscription.close();
      void engine.close().then(() => {
        agent.close();
        space.close();
        endColleague();
      });
    },
  );
}

await main();
