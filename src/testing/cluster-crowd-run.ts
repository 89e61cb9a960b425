/**
 * A crowd of nodes: processes that each have a space of their own and share objects through a real server of the engine, killed and stopped at
 * random, and the server too. What they said they did is judged as one history (cluster/history.ts), and in the end all have the same bytes.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Random } from '../host/simulated/random.ts';
import { startServer, type RunningServer } from '../services/cluster/server.ts';
import { FOUNDED, Story, type Broken, type Command, type Said, type Table, type Told } from './cluster/crowd-story.ts';

export interface ClusterCrowdOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly nodes?: number;
  /** Milliseconds between two faults, on average (default 1500); 0: none. */
  readonly every?: number;
  readonly broken?: Broken | undefined;
  readonly tell?: ((line: string) => void) | undefined;
  /** Path of nats-server. */
  readonly binary?: string;
}

export interface ClusterCrowdReport {
  readonly steps: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly effects: number;
  readonly kills: number;
  readonly stops: number;
  readonly cuts: number;
  readonly leaves: number;
  readonly servers: number;
  /** Milliseconds that the slowest step took beyond its deadline, times that its process was stopped apart. */
  readonly latest: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
}

/** So much later than its deadline nothing ends, and nobody is silent for so long, in milliseconds. */
const STUCK_MS = 30_000;
const LOOK_MS = 25;
/** A process that is asked to writes down where its threads are, if it can. */
const REPORT_MS = 1500;

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Between a node and the server: what goes over it stands still while it is cut. */
class Line {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #cut = false;

  constructor(to: number) {
    this.#server = net.createServer((near) => {
      const far = net.connect(to, '127.0.0.1');
      for (const [from, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.setNoDelay(true);
        from.on('data', (chunk) => other.write(chunk));
        from.on('error', () => other.destroy());
        from.on('close', () => {
          this.#sockets.delete(from);
          other.destroy();
        });
        if (this.#cut) from.pause();
      }
    });
  }

  /** Its port. */
  open(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        if (address !== null && typeof address === 'object') resolve(address.port);
      });
    });
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  heal(): void {
    this.#cut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

class Member {
  readonly name: string;
  readonly directory: string;
  readonly line: Line;
  readonly #url: string;
  readonly #heard: (member: Member, said: Said) => void;
  readonly running = new Map<number, Told>();
  #child: ChildProcess | undefined;
  /** Where it is: between begin and here nothing is under way. */
  phase = 'dead';
  stopped = false;
  /** When it last said something, or could go on. */
  lastSign = 0;
  /** Called at each thing it says. */
  onSaid: ((said: Said) => void) | undefined;
  closed: Promise<number | undefined> = Promise.resolve(0);

  constructor(name: string, directory: string, line: Line, url: string, heard: (member: Member, said: Said) => void) {
    this.name = name;
    this.directory = directory;
    this.line = line;
    this.#url = url;
    this.#heard = heard;
  }

  get alive(): boolean {
    return this.phase !== 'dead';
  }

  start(ended: (how: string) => void): void {
    const script = fileURLToPath(new URL('cluster-crowd-member.js', import.meta.url));
    const report = ['--report-on-signal', '--report-signal=SIGUSR2', `--report-directory=${path.dirname(this.directory)}`];
    const child = spawn(process.execPath, [...report, script, this.directory, this.name, this.#url], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.phase = 'starting';
    this.lastSign = now();
    let rest = '';
    child.stdin.on('error', () => (rest = ''));
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#hear(JSON.parse(line) as Said);
    });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint = (complaint + chunk).slice(-4000)));
    this.closed = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.phase = 'dead';
        if (signal !== 'SIGKILL' && code !== 0) ended(`ended by itself with ${code ?? signal}: ${complaint}`);
        resolve(code ?? undefined);
      });
    });
  }

  #hear(said: Said): void {
    this.lastSign = now();
    if (said.is === 'opening' || said.is === 'joining' || said.is === 'here' || said.is === 'resting' || said.is === 'leaving')
      this.phase = said.is;
    this.#heard(this, said);
    this.onSaid?.(said);
  }

  command(command: Command): void {
    this.#child?.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** Resolves when that was said; false where its end came first. */
  until(what: (said: Said) => boolean): Promise<boolean> {
    return new Promise((resolve) => {
      this.onSaid = (said) => {
        if (!what(said)) return;
        this.onSaid = undefined;
        resolve(true);
      };
      void this.closed.then(() => resolve(false));
    });
  }

  stop(): void {
    this.stopped = true;
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
    this.stopped = false;
    this.lastSign = now();
  }

  report(): void {
    if (this.alive) this.#child?.kill('SIGUSR2');
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.closed;
    this.stopped = false;
  }
}

export class ClusterCrowd {
  readonly #options: ClusterCrowdOptions;
  readonly #random: Random;
  readonly #directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-cluster-crowd-'));
  readonly #story = new Story();
  readonly #members: Member[] = [];
  readonly #faults: string[] = [];
  readonly #errors: Record<string, number> = {};
  readonly #counts = { kills: 0, stops: 0, cuts: 0, leaves: 0, servers: 0, latest: 0 };
  readonly #table: Record<string, Table[string]> = {};
  #shown: Pick<Extract<Said, { is: 'shown' }>, 'finals' | 'tallies'> = { finals: {}, tallies: {} };
  #server: RunningServer | undefined;
  #serverOpened = 0;
  #lives = 0;
  readonly #began = now();

  constructor(options: ClusterCrowdOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  #tell(line: string): void {
    this.#options.tell?.(`${((now() - this.#began) / 1000).toFixed(3).padStart(9)}  ${line}`);
  }

  #fault(fault: string): void {
    this.#faults.push(fault);
    this.#tell(`FAULT ${fault}`);
  }

  async run(): Promise<ClusterCrowdReport> {
    let effects = 0;
    try {
      await this.#begin();
      await this.#load();
      if (this.#faults.length === 0) effects = await this.#judge();
    } finally {
      if (this.#faults.some((fault) => fault.startsWith('hung'))) {
        for (const member of this.#members) member.report();
        await delay(REPORT_MS);
      }
      for (const member of this.#members) {
        member.line.close();
        await member.kill();
      }
      await this.#server?.stop();
    }
    if (this.#faults.length === 0) fs.rmSync(this.#directory, { recursive: true });
    else this.#faults.push(`the directories are in ${this.#directory}`);
    const count = (outcome: string): number => this.#story.steps.filter((step) => step.outcome === outcome).length;
    return {
      steps: this.#story.steps.length,
      acknowledged: count('done'),
      refused: count('refused'),
      unknown: count('unknown'),
      effects,
      ...this.#counts,
      errors: this.#errors,
      faults: this.#faults,
    };
  }

  // --- who is there -----------------------------------------------------------------------------------------------------------------

  async #begin(): Promise<void> {
    await this.#startServer(-1);
    const names = 'abcdefgh'.slice(0, this.#options.nodes ?? FOUNDED.length);
    for (const name of names) {
      const line = new Line(this.#server?.port ?? 0);
      const url = `nats://127.0.0.1:${await line.open()}`;
      this.#members.push(new Member(name, path.join(this.#directory, name), line, url, (member, said) => this.#hear(member, said)));
    }
    await Promise.all(
      this.#members.map(async (member, i) => {
        this.#start(member, false);
        const made = member.until(({ is }) => is === 'made');
        const all = FOUNDED.filter((_, of) => of % this.#members.length === i).flat();
        member.command({ do: 'make', names: all });
        await made;
      }),
    );
    if (this.#faults.length > 0) throw new Error(this.#faults.join('\n'));
    for (const member of this.#members) this.#go(member);
  }

  async #startServer(port: number): Promise<void> {
    const { binary } = this.#options;
    const directory = path.join(this.#directory, 'engine');
    fs.mkdirSync(directory, { recursive: true });
    this.#server = await startServer({ ...(binary === undefined ? {} : { binary }), directory, port, timeout: STUCK_MS });
    this.#serverOpened = now();
  }

  #start(member: Member, go: boolean): void {
    member.start((how) => this.#fault(`${member.name} ${how}`));
    if (go) this.#go(member);
  }

  #go(member: Member): void {
    const { seed, broken } = this.#options;
    member.command({ do: 'go', seed, life: ++this.#lives, table: this.#table, broken });
  }

  #hear(member: Member, said: Said): void {
    const { name } = member;
    const told = this.#story.hear(name, said);
    if (said.is === 'begin' && told !== undefined) member.running.set(said.tag, told);
    else if (said.is === 'end' && told !== undefined) {
      member.running.delete(said.tag);
      if (said.error !== '') this.#errors[said.error] = (this.#errors[said.error] ?? 0) + 1;
      this.#tell(`${said.tag} ${this.#story.tell(said.tag)}`);
    } else if (said.is === 'made') Object.assign(this.#table, said.table);
    else if (said.is === 'fault') this.#fault(`${name}: ${said.fault}`);
    else if (said.is === 'missing') {
      this.#tell(`${name}: nobody has ${said.id}`);
      if (this.#story.wasKept(said.id, said.tag)) this.#fault(`lost: ${name}: ${said.fault}`);
    } else if (said.is === 'shown') this.#shown = said;
    else if (said.is !== 'write' && said.is !== 'begin') this.#tell(`${name}: ${said.is}`);
  }

  #forget(member: Member): void {
    for (const told of member.running.values()) this.#story.abandon(told, now());
    member.running.clear();
  }

  // --- faults -----------------------------------------------------------------------------------------------------------------------

  async #load(): Promise<void> {
    const { seconds, every = 1500 } = this.#options;
    const end = now() + seconds * 1000;
    const under = new Set<Promise<void>>();
    let next = now() + every;
    // On a machine that is slow it takes longer until there is something to judge.
    const goesOn = (at: number): boolean =>
      at < end || (at < end + STUCK_MS && !this.#story.steps.some(({ outcome }) => outcome === 'done'));
    while (goesOn(now()) && this.#faults.length === 0) {
      await delay(LOOK_MS);
      this.#look();
      if (every === 0 || now() < next) continue;
      next = now() + every / 2 + this.#random.below(every);
      const fault = this.#something().catch((error: unknown) => this.#fault(error instanceof Error ? (error.stack ?? '') : String(error)));
      under.add(fault);
      void fault.then(() => under.delete(fault));
    }
    await Promise.all(under);
  }

  /** Nobody is stuck. */
  #look(): void {
    const at = now();
    for (const member of this.#members) {
      if (!member.alive || member.stopped) continue;
      const since = Math.max(member.lastSign, this.#serverOpened);
      if (this.#server !== undefined && at - since > STUCK_MS)
        this.#fault(`hung: ${member.name} (${member.phase}) says nothing for ${STUCK_MS} ms`);
      for (const [tag, { step, ms }] of member.running) {
        const over = at - Math.max(step.start, this.#resumed.get(member) ?? 0) - ms;
        this.#counts.latest = Math.max(this.#counts.latest, Math.round(over));
        if (over > STUCK_MS)
          this.#fault(`hung: ${this.#story.tell(tag)}, which had ${ms} ms, is still under way ${over.toFixed(0)} ms later`);
      }
      if (this.#faults.length > 0) return;
    }
  }

  readonly #resumed = new Map<Member, number>();
  readonly #busy = new Set<Member>();
  #serverBusy = false;

  async #something(): Promise<void> {
    const random = this.#random;
    const at = random.below(100);
    const ms = random.pick([30, 300, 1500, 4000]) ?? 30;
    if (at < 16) {
      if (this.#serverBusy || this.#server === undefined) return;
      this.#serverBusy = true;
      this.#counts.servers++;
      await (at < 10 ? this.#killServer(this.#server, ms) : this.#stopServer(this.#server, ms));
      this.#serverBusy = false;
      return;
    }
    const member = random.pick(this.#members.filter((each) => !this.#busy.has(each)));
    if (member === undefined) return;
    this.#busy.add(member);
    if (at < 32) await this.#stop(member, ms);
    else if (at < 42) await this.#cut(member, ms);
    else if (at < 50 && member.phase === 'here') await this.#leave(member);
    else await this.#kill(member, random.pick([0, 0, 300, 2000]) ?? 0);
    this.#busy.delete(member);
  }

  async #killServer(server: RunningServer, ms: number): Promise<void> {
    this.#tell(`server dies, ${ms} ms`);
    this.#server = undefined;
    server.kill('SIGKILL');
    await server.ended;
    await delay(ms);
    await this.#startServer(server.port);
    this.#tell('server is there again');
  }

  async #stopServer(server: RunningServer, ms: number): Promise<void> {
    this.#tell(`server is stopped, ${ms} ms`);
    server.kill('SIGSTOP');
    await delay(ms);
    server.kill('SIGCONT');
    this.#serverOpened = now();
  }

  async #stop(member: Member, ms: number): Promise<void> {
    this.#tell(`${member.name} is stopped, ${ms} ms`);
    this.#counts.stops++;
    member.stop();
    await delay(ms);
    member.resume();
    this.#resumed.set(member, now());
  }

  async #cut(member: Member, ms: number): Promise<void> {
    this.#tell(`${member.name} is cut off, ${ms} ms`);
    this.#counts.cuts++;
    member.line.cut();
    await delay(ms);
    member.line.heal();
  }

  async #leave(member: Member): Promise<void> {
    this.#tell(`${member.name} leaves`);
    this.#counts.leaves++;
    member.command({ do: 'leave' });
    await Promise.race([member.closed, delay(STUCK_MS, undefined, { ref: false })]);
    if (member.alive) {
      this.#fault(`hung: ${member.name} does not leave (${member.phase})`);
      return;
    }
    this.#forget(member);
    this.#start(member, true);
  }

  /** At any moment, or while it begins, or just when it has committed something. */
  async #kill(member: Member, ms: number): Promise<void> {
    const random = this.#random;
    this.#counts.kills++;
    const at = random.below(3);
    if (at === 1) {
      const write = member.until(({ is }) => is === 'write');
      await Promise.race([write, delay(1000)]);
      await delay(random.pick([0, 1, 3, 10]) ?? 0);
    }
    this.#tell(`${member.name} dies (${member.phase}), ${ms} ms`);
    await member.kill();
    this.#forget(member);
    await delay(ms);
    this.#start(member, true);
    if (at !== 2) return;
    // And once more, as it comes back.
    await delay(random.below(1200));
    this.#counts.kills++;
    this.#tell(`${member.name} dies (${member.phase})`);
    await member.kill();
    this.#forget(member);
    this.#start(member, true);
  }

  // --- the end ----------------------------------------------------------------------------------------------------------------------

  async #judge(): Promise<number> {
    this.#tell('calm');
    await this.#all({ do: 'rest' }, 'resting');
    for (const member of this.#members) this.#forget(member);
    for (const member of this.#members) fs.mkdirSync(this.#imagesOf(member), { recursive: true });
    if (this.#faults.length === 0)
      await this.#all((member) => ({ do: 'show', table: this.#table, directory: this.#imagesOf(member) }), 'shown');
    if (this.#faults.length > 0) return 0;
    const [first, ...others] = this.#members as [Member, ...Member[]];
    const names = new Set(this.#members.flatMap((member) => fs.readdirSync(this.#imagesOf(member))));
    for (const other of others)
      for (const name of names) {
        const [one, another] = [first, other].map((member) => path.join(this.#imagesOf(member), name)) as [string, string];
        if (!fs.existsSync(one) || !fs.existsSync(another) || fs.readFileSync(one, 'utf8') !== fs.readFileSync(another, 'utf8'))
          this.#fault(`apart: ${name} on ${other.name} is not what it is on ${first.name}: compare ${one} and ${another}`);
      }
    const { faults, effects } = this.#story.judge(this.#shown.finals, this.#shown.tallies);
    for (const fault of faults.slice(0, 5)) this.#fault(fault);
    if (faults.length > 5) this.#fault(`and ${faults.length - 5} more`);
    return effects;
  }

  #at({ phase, running }: Member): string {
    return `${phase}, ${[...running.keys()].map((tag) => this.#story.tell(tag)).join('; ')}`;
  }

  #imagesOf(member: Member): string {
    return path.join(this.#directory, `${member.name}-images`);
  }

  async #all(command: Command | ((member: Member) => Command), answer: Said['is']): Promise<void> {
    const done = this.#members.map(async (member) => {
      const heard = member.until(({ is }) => is === answer);
      member.command(typeof command === 'function' ? command(member) : command);
      const said = await Promise.race([heard, delay(2 * STUCK_MS, 'late', { ref: false })]);
      if (said === 'late') this.#fault(`hung: ${member.name} is not ${answer} after ${2 * STUCK_MS} ms: ${this.#at(member)}`);
      else if (!said) this.#fault(`${member.name} ended before it was ${answer}`);
    });
    await Promise.all(done);
  }
}
