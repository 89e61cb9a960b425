/** Serves calls of `twz` from test/twz.ts, one after the other: lines of JSON come on descriptor 3 and go out on 4. */
import * as fs from 'node:fs';
import { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { runMain } from '../src/cli/program.ts';
import type { Reply, Request } from './twz.ts';

const REQUESTS = 3;
const REPLIES = 4;
/** Only something that hangs takes as long. */
const PATIENCE_MS = 60_000;

type Write = (chunk: string | Uint8Array, then?: unknown) => boolean;

/** Everything that a stream is given, kept. */
function kept(stream: NodeJS.WriteStream): { take: () => Buffer } {
  let chunks: Buffer[] = [];
  const write: Write = (chunk, then) => {
    chunks.push(Buffer.from(chunk));
    if (typeof then === 'function') process.nextTick(then);
    return true;
  };
  Object.defineProperty(stream, 'write', { value: write });
  return {
    take: () => {
      const all = Buffer.concat(chunks);
      chunks = [];
      return all;
    },
  };
}

const out = kept(process.stdout);
const err = kept(process.stderr);

/** What keeps this process running; finished calls may need a turn or two to be gone. */
async function leftOver(before: readonly string[]): Promise<readonly string[]> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = [...process.getActiveResourcesInfo()];
    for (const resource of before) if (left.includes(resource)) left.splice(left.indexOf(resource), 1);
    if (left.length === 0 || performance.now() > end) return left;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function serve({ args, cwd, env, input }: Request): Promise<Reply> {
  process.chdir(cwd);
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input, 'base64')]), configurable: true });
  const before = process.getActiveResourcesInfo();
  const code = await runMain(args);
  const left = await leftOver(before);
  return { code, out: out.take().toString('base64'), err: err.take().toString('base64'), left };
}

for await (const line of createInterface({ input: fs.createReadStream('', { fd: REQUESTS }) })) {
  const reply = await serve(JSON.parse(line));
  const bytes = Buffer.from(`${JSON.stringify(reply)}\n`);
  for (let at = 0; at < bytes.length;) at += fs.writeSync(REPLIES, bytes, at);
}
