/**
 * Engines with a known bug. The checker must find each of them, or it would not find a like bug of ours.
 *
 *   expected-ignored  an append is stored whatever the last record is: two owners at once
 *   apart             records that belong together are appended one by one
 *   acknowledged      what may have been stored, or not, is taken for stored
 */
import { isTwzError } from '../../abi/errors.ts';
import type { Append, Appended, Engine } from '../../services/cluster/engine.ts';

export const SPOILED = ['expected-ignored', 'apart', 'acknowledged'] as const;
export type Spoiled = (typeof SPOILED)[number];

export function spoil(engine: Engine, how: Spoiled): void {
  const append = engine.append.bind(engine);
  const appendAll = engine.appendAll.bind(engine);
  const anyhow = async (each: Append, ms: number): Promise<Append> => {
    try {
      return { ...each, expected: (await engine.last(each.log, ms))?.seq ?? 0 };
    } catch (error) {
      // An append never throws.
      if (!isTwzError(error)) throw error;
      return each;
    }
  };
  const believed = (done: Appended, seq: number): Appended => (done.kind === 'unknown' ? { kind: 'done', seq: seq + 1 } : done);
  if (how === 'expected-ignored') {
    engine.append = async (each, ms) => append(await anyhow(each, ms), ms);
    engine.appendAll = async (all, ms) => appendAll(await Promise.all(all.map((each) => anyhow(each, ms))), ms);
  } else if (how === 'apart') {
    engine.appendAll = async (all, ms) => {
      let done: Appended = { kind: 'refused' };
      for (const each of all) {
        done = await append(each, ms);
        if (done.kind !== 'done') return done;
      }
      return done;
    };
  } else {
    engine.append = async (each, ms) => believed(await append(each, ms), each.expected);
    engine.appendAll = async (all, ms) => believed(await appendAll(all, ms), Math.max(...all.map(({ expected }) => expected)));
  }
}
