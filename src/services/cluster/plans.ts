/**
 * Why runs were where they were, and where one would be now: for whoever asks from outside. The program of a node answers, on the subject
 * `plans.<id>`: it is the one that plans.
 */
import { TwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { Chooser, PastRun } from './choosing.ts';
import type { Engine, Subscription } from './engine.ts';
import { answer, hear, heard, isRecord, numberIn, say, sayError, strange, textIn, type Head } from './messages.ts';

/** Of runs that were this many are told, and candidates of each; and of one that would be. */
const RUNS_MAX = 50;
const ASK_MS = 1500;
/** Bytes that a function is taken to have of which nothing is known. */
const CODE_BYTES = 1000;
/** Bytes of an answer; with more, fewer runs are told. */
const ANSWER_MAX = 512 << 10;

/** Where a run was or would be. */
export interface PlanTold {
  /** ID of the node. */
  readonly place: string;
  /** ID of the function, '' where none is named. */
  readonly code: string;
  readonly reason: string;
  /** Milliseconds that it was expected to take. */
  readonly expected: number;
  /** The same in words, with all that was weighed; nodes and objects are named by their IDs. */
  readonly lines: readonly string[];
}

export interface RunTold extends PlanTold {
  /** When it was asked for, in milliseconds since 1970 by the clock of that node. */
  readonly at: number;
  /** Milliseconds that it took; null while it runs. */
  readonly took: number | null;
  readonly failed: boolean;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

function told({ lines, data }: Pick<PastRun, 'lines' | 'data'>): PlanTold {
  const { place, code, reason, candidates } = data;
  const expected = (candidates.find(({ chosen }) => chosen)?.cost ?? 0) / 1000;
  return { place, code, reason, expected, lines };
}

/** The program of a node answers from now on. */
export function answerPlans(engine: Engine, { id }: { readonly id: string }, chooser: Chooser): Subscription {
  const ask = async (head: Head): Promise<Uint8Array> => {
    if (head['do'] === 'would') return say({}, encode(told(await would(chooser, head))));
    let runs = chooser.past(Math.min(RUNS_MAX, numberIn(head, 'count')));
    for (;;) {
      const body = encode(runs.map((run): RunTold => ({ ...told(run), at: run.at, took: run.took ?? null, failed: run.failed })));
      if (body.length <= ANSWER_MAX || runs.length <= 1) return say({}, body);
      runs = runs.slice(0, runs.length >> 1);
    }
  };
  return engine.subscribe(`plans.${id}`, (message) => {
    void (async () => {
      let bytes: Uint8Array;
      try {
        bytes = await ask(hear(message.bytes).head);
      } catch (error) {
        bytes = sayError(error);
      }
      answer(message, bytes);
    })();
  });
}

function encode(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

async function would(chooser: Chooser, head: Head): Promise<Pick<PastRun, 'lines' | 'data'>> {
  const { ids } = head;
  if (!Array.isArray(ids)) throw strange('it names no objects');
  const over = ids.map((id: unknown): ObjectId => {
    if (typeof id !== 'string' || !isId(id)) throw strange('what it names is no object');
    return parseId(id);
  });
  for (const id of over)
    if ((await chooser.about(id, ASK_MS)) === undefined) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
  const code = textIn(head, 'code') as ObjectId;
  const plan = await chooser.plan(over, { code, codeBytes: CODE_BYTES, values: 0, at: undefined, force: undefined }, ASK_MS);
  return chooser.explain(plan);
}

// --- who asks -----------------------------------------------------------------------------------------------------------------------

/** The last runs that a node's program has asked for, the newest first. Throws Unreachable, TimedOut. */
export async function askPastRuns(engine: Engine, node: string, count: number, ms: number): Promise<readonly RunTold[]> {
  const runs = parsed(heard(await engine.request(`plans.${node}`, say({ do: 'last', count }), ms)).body);
  if (!Array.isArray(runs)) throw strange('it tells of no runs');
  return runs.map((run: unknown): RunTold => {
    if (!isRecord(run)) throw strange('a run is none');
    return {
      ...planIn(run),
      at: numberIn(run, 'at'),
      took: run['took'] === null ? null : numberIn(run, 'took'),
      failed: run['failed'] === true,
    };
  });
}

/**
 * Where a run over these objects would be now, if that node's program asked for it. `code`: ID of a function that has run, so that what is
 * known of it counts. Throws ObjectMissing, Unreachable, TimedOut, PlanImpossible.
 */
export async function askWouldRun(engine: Engine, node: string, ids: readonly ObjectId[], code: string, ms: number): Promise<PlanTold> {
  const plan = parsed(heard(await engine.request(`plans.${node}`, say({ do: 'would', ids, code }), ms)).body);
  if (!isRecord(plan)) throw strange('a plan is none');
  return planIn(plan);
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(body));
  } catch (cause) {
    throw new TwzError('EngineCorrupt', 'what a node says of its plans is no JSON', {}, cause);
  }
}

function planIn(plan: Head): PlanTold {
  const { lines } = plan;
  if (!Array.isArray(lines)) throw strange('a plan has no lines');
  return {
    place: textIn(plan, 'place'),
    code: textIn(plan, 'code'),
    reason: textIn(plan, 'reason'),
    expected: numberIn(plan, 'expected'),
    lines: lines.map(String),
  };
}
