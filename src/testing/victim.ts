/** The process that is killed: gets jobs on its standard input, a line each, and lives them one after the other. */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Life, type Job, type Word } from './life.ts';

/** Not the standard output: a worker thread makes that one write later. */
const WORDS = 3;

/** Written to the pipe when this returns: whoever reads it will have it, whatever becomes of this process. */
function say(word: Word): void {
  const line = Buffer.from(`${JSON.stringify(word)}\n`);
  for (let at = 0; at < line.length;) at += writeSync(WORDS, line, at);
}

say({ say: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const job: Job = JSON.parse(line);
  if (!(await new Life(job, say).run())) break;
}
