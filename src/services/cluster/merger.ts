/** The merger's thread: merge code runs here, on versions that it is handed and on nothing else. */
import { answerLine, asColleague, endColleague, sayReady, type Asked } from '../../host/colleagues.ts';
import type { AgentAnswer } from './agent.ts';
import { sayError } from './messages.ts';
import type { MergeWork } from './merge-work.ts';
import { mergeVersions } from './merging.ts';

const merge = (work: Asked): Promise<AgentAnswer> => {
  try {
    return Promise.resolve({ value: mergeVersions(work as MergeWork) });
  } catch (error) {
    return Promise.resolve({ error: sayError(error) });
  }
};

for (const line of asColleague().lines) answerLine(line, merge);
sayReady(
  {},
  () => undefined,
  () => endColleague(),
);
