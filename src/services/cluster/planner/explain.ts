/** A plan in words, for people (`lines`) and for programs (`data`). */
import { PARTS, type Candidate, type Part, type Plan, type Reason, type Way } from './model.ts';

export interface ExplainedCandidate {
  readonly place: string;
  readonly chosen: boolean;
  readonly score: number;
  readonly cost: number;
  readonly next: number;
  readonly correction: number;
  readonly parts: Readonly<Partial<Record<Part, number>>>;
  readonly arguments: readonly { readonly family: string; readonly way: Way; readonly from: string; readonly bytes: number }[];
}

export interface Explained {
  readonly lines: readonly string[];
  readonly data: {
    readonly here: string;
    readonly code: string;
    readonly place: string;
    readonly reason: Reason;
    readonly uses: number;
    readonly candidates: readonly ExplainedCandidate[];
  };
}

const REASONS: Readonly<Record<Reason, string>> = {
  cheapest: 'the cheapest for this run',
  invested: 'dearer now, for what later runs save',
  spread: 'costs are near, and it has less to do',
  explored: 'to find out what it really takes',
  ordered: 'as ordered, or nowhere else possible',
};

const NAMES: Readonly<Record<Part, string>> = {
  request: 'asking',
  code: 'sending code',
  data: 'moving data',
  trips: 'round trips for data',
  waiting: 'waiting',
  processor: 'computing',
  result: 'result',
  ownership: 'moving ownership',
  trouble: 'failures there',
  savings: 'saved later',
};

const time = (us: number): string => {
  const size = Math.abs(us);
  if (size >= 1e6) return `${(us / 1e6).toFixed(2)} s`;
  return size >= 1000 ? `${(us / 1000).toFixed(2)} ms` : `${us.toFixed(0)} us`;
};

const bytes = (n: number): string => {
  if (n >= 1 << 20) return `${(n / (1 << 20)).toFixed(1)} MiB`;
  return n >= 1024 ? `${(n / 1024).toFixed(1)} KiB` : `${Math.round(n)} B`;
};

const WAYS: Readonly<Record<Way, string>> = { there: 'there', whole: 'whole', range: 'by range', page: 'by page' };

function line(candidate: Candidate, chosen: boolean): string {
  const moved = candidate.uses
    .filter((use) => use.way !== 'there')
    .map((use) => `${use.family} ${WAYS[use.way]} from ${use.from}, ${bytes(use.brings)}`);
  const parts = PARTS.filter((part) => Math.abs(candidate.parts[part]) >= 0.5).map(
    (part) => `${NAMES[part]} ${part === 'savings' ? '-' : ''}${time(candidate.parts[part])}`,
  );
  const seen = Math.abs(candidate.correction - 1) < 0.05 ? '' : `; seen to take ${candidate.correction.toFixed(2)} of this`;
  return `${chosen ? '*' : ' '} ${candidate.place}: ${time(candidate.cost)}${moved.length > 0 ? ` (${moved.join('; ')})` : ''}: ${parts.join(', ')}${seen}`;
}

export function explain(plan: Plan): Explained {
  const { choice, request, reason, uses } = plan;
  const candidates = plan.candidates.map((each) => ({
    place: each.place,
    chosen: each === choice,
    score: each.score,
    cost: each.cost,
    next: each.next,
    correction: each.correction,
    parts: Object.fromEntries(PARTS.filter((part) => each.parts[part] !== 0).map((part) => [part, each.parts[part]])),
    arguments: each.uses.map(({ family, way, from, brings }) => ({ family, way, from, bytes: brings })),
  }));
  const head = `run at ${choice.place}: ${REASONS[reason]}; its data was used ${uses === 1 ? 'once' : `${uses} times`} before`;
  return {
    lines: [head, ...plan.candidates.map((each) => line(each, each === choice))],
    data: { here: request.here, code: request.code.hash, place: choice.place, reason, uses, candidates },
  };
}
