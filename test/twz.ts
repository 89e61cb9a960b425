/**
 * The command `twz`, called as a user types it. The first call in a test file is a process of its own. The later ones are served, one after
 * the other, by one process (twz-served.ts) that has the modules loaded: to load them takes longer than most commands do.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.ts';

export const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
const SERVED = fileURLToPath(new URL('twz-served.js', import.meta.url));
/** These import a file of the user, which a process does only once, or read the standard input without the event loop. */
const ALONE: ReadonlySet<string> = new Set(['run', 'migrate', 'files']);
const CHUNK = 65_536;

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Call {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input: string | Uint8Array;
}

/** What goes to the process that serves, and what comes back: each a line of JSON. Bytes are in base64. */
export interface Request extends Omit<Call, 'input'> {
  readonly input: string;
}

export interface Reply {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** What would have kept a process of its own from ending. */
  readonly left: readonly string[];
}

/** The process that serves, reached without the event loop: a call ends before it returns, as with spawnSync. */
class Served {
  readonly #requests: number;
  readonly #replies: number;

  constructor() {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-served-'));
    const [requests, replies] = [path.join(directory, 'requests'), path.join(directory, 'replies')];
    assert.equal(spawnSync('mkfifo', [requests, replies]).status, 0, 'mkfifo');
    // Opened for both first: a pipe that has one side only keeps whoever opens it waiting.
    const both = [fs.openSync(requests, 'r+'), fs.openSync(replies, 'r+')];
    this.#requests = fs.openSync(requests, 'w');
    this.#replies = fs.openSync(replies, 'r');
    const theirs = [fs.openSync(requests, 'r'), fs.openSync(replies, 'w')] as const;
    const [reads, writes] = theirs;
    spawn(process.execPath, [SERVED], { stdio: ['ignore', 'ignore', 'inherit', reads, writes] }).unref();
    for (const file of [...both, ...theirs]) fs.closeSync(file);
    fs.rmSync(directory, { recursive: true });
  }

  call({ args, cwd, env, input }: Call): Ran {
    const request: Request = { args, cwd, env, input: Buffer.from(input).toString('base64') };
    const bytes = Buffer.from(`${JSON.stringify(request)}\n`);
    for (let at = 0; at < bytes.length;) at += fs.writeSync(this.#requests, bytes, at);
    const { code, out, err, left }: Reply = JSON.parse(this.#line());
    assert.deepEqual(left, [], `twz ${args.join(' ')}: a process of its own would not have ended`);
    return { code, out: Buffer.from(out, 'base64').toString('utf8'), err: Buffer.from(err, 'base64').toString('utf8') };
  }

  #line(): string {
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.alloc(CHUNK);
      const read = fs.readSync(this.#replies, chunk);
      assert.ok(read > 0, 'the process that serves twz has died');
      chunks.push(chunk.subarray(0, read));
      // One reply to one request: nothing follows the end of the line.
      if (chunk[read - 1] === 10) return Buffer.concat(chunks).toString('utf8');
    }
  }
}

let called = false;
let served: Served | undefined;

function alone({ args, cwd, env, input }: Call): Ran {
  const result = spawnSync(process.execPath, [MAIN, ...args], { cwd, input, encoding: 'utf8', maxBuffer: 64 << 20, env });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

/** A command that stays until it is told to end: a process of its own. */
export interface Staying {
  readonly pid: number;
  /** Resolves to what the pattern finds in its output, when it does; fails where the process ends before. */
  said(pattern: RegExp): Promise<RegExpExecArray>;
  end(signal: NodeJS.Signals): Promise<Ran>;
}

export function startTwz({ args, cwd, env }: Omit<Call, 'input'>): Staying {
  called = true;
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  const ended = new Promise<Ran>((resolve) => child.once('close', (code) => resolve({ code, ...said })));
  return {
    pid: child.pid ?? 0,
    said: async (pattern) => {
      let over: Ran | undefined;
      void ended.then((ran) => (over = ran));
      let found: RegExpExecArray | null = null;
      await until(() => {
        found = pattern.exec(said.out);
        assert.ok(found !== null || over === undefined, `twz ${args.join(' ')} ended and did not say ${String(pattern)}: ${over?.err}`);
        return found !== null;
      });
      return found ?? assert.fail();
    },
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}

export function runTwz(call: Call): Ran {
  const [command = ''] = call.args;
  const first = !called;
  called = true;
  if (first || ALONE.has(command)) return alone(call);
  served ??= new Served();
  return served.call(call);
}
