/** The node that owns what is stored to is killed in the middle of it: another takes over, and nothing that was acknowledged is lost. */
import type { Member, Name, Party } from './party.ts';

export interface Survived {
  readonly killed: Name;
  readonly owner: Name;
  readonly acknowledged: number;
  /** Runs of which nobody knows whether they were done, and how many of them were. */
  readonly unknown: number;
  readonly unknownDone: number;
  readonly count: number;
  readonly lost: number;
  readonly twice: number;
  /** Milliseconds from the kill to the first run that was acknowledged after it. */
  readonly ms: number;
}

/** How long a run may take before it counts as unknown, in milliseconds. */
const RUN_MS = 2000;
const UNKNOWN_MAX = 1000;

/** Kills Alice after so many runs, and goes on for so many more. */
export async function killOwner(party: Party, marksBefore: number, marksAfter: number): Promise<Survived> {
  const [alice, bob, carol] = [party.get('alice'), party.get('bob'), party.get('carol')];
  const tally = await alice.ask({ do: 'tally' });
  const done = new Set<number>();
  const unknown = new Set<number>();
  let [number, killedAt, took] = [0, 0, 0];
  /** One run after the other. */
  const store = async (member: Member): Promise<void> => {
    while (took === 0 || done.size < marksBefore + marksAfter) {
      const mine = ++number;
      const from = performance.now();
      const { ok } = await member.ask({ do: 'mark', tally, number: mine, ms: RUN_MS });
      (ok ? done : unknown).add(mine);
      if (ok && killedAt > 0 && took === 0 && from > killedAt) took = performance.now() - killedAt;
      if (killedAt === 0 && done.size >= marksBefore) {
        alice.kill();
        killedAt = performance.now();
      }
      if (unknown.size > UNKNOWN_MAX) throw new Error(`no other node takes over: ${unknown.size} runs have failed`);
    }
  };
  await Promise.all([store(bob), store(carol)]);
  await alice.gone;
  const marks = await bob.ask({ do: 'marks', tally });
  const there = new Set(marks);
  return {
    killed: 'alice',
    owner: party.nameOf(await carol.ask({ do: 'owner', tally })),
    acknowledged: done.size,
    unknown: unknown.size,
    unknownDone: [...unknown].filter((each) => there.has(each)).length,
    count: marks.length,
    lost: [...done].filter((each) => !there.has(each)).length,
    twice: marks.length - there.size,
    ms: took,
  };
}
