/**
 * A crowd: several processes in one space, killed and stopped at random, and a checker among them. It is a fault where an acknowledged step
 * is lost, a transfer is torn, a snapshot moves, or somebody makes no step for long.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { checkSpace } from '../services/check.ts';
import { LinuxHost } from '../host/linux/linux.ts';
import { open } from '../index.ts';
import { Expected, found, torn, visit, wrong } from './crowd-load.ts';

export interface CrowdOptions {
  readonly members: number;
  readonly seconds: number;
  readonly seed: number;
  /** Milliseconds between two kills, on average. */
  readonly every: number;
}

export interface CrowdReport {
  readonly steps: number;
  readonly kills: number;
  readonly stops: number;
  readonly checks: number;
  /** Steps a second of the slowest and the fastest member. */
  readonly slowest: number;
  readonly fastest: number;
  readonly faults: readonly string[];
}

/** No process may live so long without a step, in milliseconds. */
const STILL_MS = 20_000;

class Member {
  readonly number: number;
  acknowledged = 0;
  lastStep = performance.now();
  /** Has this process made a step? */
  stepped = false;
  readonly faults: string[];
  #process: ChildProcess | undefined;
  readonly #args: readonly string[];

  constructor(number: number, args: readonly string[], faults: string[]) {
    this.number = number;
    this.#args = args;
    this.faults = faults;
  }

  start(): void {
    const script = fileURLToPath(new URL('crowd-member.js', import.meta.url));
    const child = spawn(process.execPath, [script, ...this.#args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    this.stepped = false;
    this.lastStep = performance.now();
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      const last = lines.at(-1);
      if (last === undefined) return;
      this.acknowledged = Number(last);
      this.lastStep = performance.now();
      this.stepped = true;
    });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk));
    child.on('close', (code, signal) => {
      if (signal !== 'SIGKILL')
        this.faults.push(`member ${this.number} ended by itself with ${code ?? signal}: ${complaint.slice(0, 2000)}`);
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}

export async function crowd(options: CrowdOptions): Promise<CrowdReport> {
  const { members: count, seconds, seed, every } = options;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-crowd-'));
  const faults: string[] = [];
  let random = seed >>> 0;
  const below = (n: number): number => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return Math.floor((random / 2 ** 32) * n);
  };
  const space = open(directory, { segmentSize: 131072, checkpointBytes: 300_000, patience: 30_000 });
  found(space, count);
  const town = visit(space, count);
  const members = Array.from({ length: count }, (_, i) => new Member(i, [directory, String(i), String(count), String(seed)], faults));
  const expected = members.map((_, i) => new Expected(seed, i));
  for (const member of members) member.start();
  let [kills, stops, checks] = [0, 0, 0];
  const check = (): void => {
    const acknowledged = members.map((member) => member.acknowledged);
    space.refresh();
    checks++;
    const fault = torn(town);
    if (fault !== undefined) faults.push(fault);
    for (const [i, model] of expected.entries()) {
      model.advance(acknowledged[i] ?? 0);
      const bad = wrong(town, i, model);
      if (bad !== undefined) faults.push(`member ${i}: ${bad}`);
    }
  };
  const end = performance.now() + seconds * 1000;
  const made = (): number => expected.reduce((sum, model) => sum + model.step, 0);
  // On a machine that is slow it takes longer until there is something to judge.
  const goesOn = (now: number): boolean => now < end || (now < end + STILL_MS && (kills === 0 || made() === 0));
  try {
    while (goesOn(performance.now()) && faults.length === 0) {
      await delay(every / 2 + below(every));
      const victim = members[below(count)] as Member;
      // Some die while they open the space, most at work.
      if (!victim.stepped && below(4) > 0) continue;
      if (below(10) === 0) {
        stops++;
        victim.signal('SIGSTOP');
        await delay(below(200));
        victim.signal('SIGCONT');
      } else {
        kills++;
        await victim.kill();
        victim.start();
      }
      check();
      for (const member of members)
        if (performance.now() - member.lastStep > STILL_MS) faults.push(`member ${member.number} has made no step for ${STILL_MS} ms`);
    }
  } finally {
    for (const member of members) await member.kill();
  }
  check();
  const steps = expected.map((model) => model.step);
  const ids = [...space.ids()].length;
  space.reclaim();
  space.close();
  const report = checkSpace(new LinuxHost(), directory);
  if (report.errors + report.warnings > 0) faults.push(`check finds ${JSON.stringify(report.findings.slice(0, 5))}`);
  const again = open(directory);
  const left = [...again.ids()].length;
  if (left !== ids) faults.push(`${ids - left} objects of ${ids} were only there to be reclaimed`);
  const later = visit(again, count);
  for (const [i, model] of expected.entries()) {
    const bad = wrong(later, i, model);
    if (bad !== undefined) faults.push(`after all, member ${i}: ${bad}`);
  }
  again.close();
  if (faults.length === 0) fs.rmSync(directory, { recursive: true });
  return {
    steps: made(),
    kills,
    stops,
    checks,
    slowest: Math.round(Math.min(...steps) / seconds),
    fastest: Math.round(Math.max(...steps) / seconds),
    faults: faults.length === 0 ? [] : [...faults, `the space is in ${directory}`],
  };
}
