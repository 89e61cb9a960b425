/**
 * Kills real processes and judges what they leave.
 *
 *   at calls      a life is lived once to count its calls of the host; then it is lived again from the same directory for each of them,
 *                 and killed before it, in the middle of it and after it
 *   at instants   one life after another in the same directory, each killed from outside whenever it happens to be
 *
 * After each death `check` reads the directory, and the next process opens it. The death of a process takes nothing back that was
 * committed, relaxed or durable. So what is found is the state after the last transaction that returned, or, where the process was
 * killed between the end of a transaction's body and its return, the one with that transaction. Nothing else will do.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Host } from '../host/host.ts';
import { PortableHost } from '../host/portable/portable.ts';
import { Random } from '../host/simulated/random.ts';
import { checkSpace } from '../services/check.ts';
import { packWorld, type HostName, type Job, type Word } from './life.ts';
import { World } from './model.ts';
import { TRACELESS, instantsOf, type Bug, type Call, type Death, type Instant } from './mortal.ts';

const VICTIM = fileURLToPath(new URL('victim.js', import.meta.url));
/** Lives that one directory sees before it is closed in good order and a new one begun. */
const LIVES_MAX = 25;
/** How many calls of an opening a death in recovery is drawn from. */
const OPENING_CALLS = 24;
/** So many actions are not over before the kill comes. */
const ACTIONS_MAX = 10_000;
/** A kill at a random instant comes so many words after the start, and so many milliseconds after that. */
const WORDS_MAX = 80;
const PAUSE_MS = 4;
const OPENING_MS = 12;
/** Words of the log's tail, one of which is watched. */
const SNIPE_MAX = 6000;
const EMPTY: readonly string[] = [packWorld(new World())];
/** A process that says nothing for so long hangs. */
const SILENCE_MS = 60_000;

export interface KillingOptions {
  readonly seed: number;
  readonly host: HostName;
  /** An empty directory. */
  readonly directory: string;
  readonly bug?: Bug | undefined;
}

/** All sums of one run. */
export class Counts {
  instants = 0;
  /** Killed by another thread that saw the log's tail change. */
  appends = 0;
  calls = 0;
  /** Deaths of processes that were opening what another had left. */
  inRecovery = 0;
  /** Spaces opened after a death, and found as they must be. */
  recoveries = 0;
  checks = 0;
  committed = 0;
  /** Deaths between the end of a transaction's body and its return: it was found, or not. */
  cutFound = 0;
  cutGone = 0;
  /** Calls that a life was not at when it was lived again. */
  missed = 0;
  readonly byCall = new Map<string, number>();
  /** Kinds of calls seen, as the process was doing something to a kind of file. */
  readonly sites = new Set<string>();
  readonly sitesKilled = new Set<string>();

  get kills(): number {
    return this.instants + this.appends + this.calls;
  }

  add(other: Counts): void {
    for (const name of [
      'instants',
      'appends',
      'calls',
      'inRecovery',
      'recoveries',
      'checks',
      'committed',
      'cutFound',
      'cutGone',
      'missed',
    ] as const)
      this[name] += other[name];
    for (const [name, n] of other.byCall) this.byCall.set(name, (this.byCall.get(name) ?? 0) + n);
    for (const site of other.sites) this.sites.add(site);
    for (const site of other.sitesKilled) this.sitesKilled.add(site);
  }
}

/** Something was lost, or found that never was, or a process failed. */
export class KillingFailure extends Error {
  override readonly name = 'KillingFailure';
}

interface Outcome {
  readonly died: boolean;
  /** Which of the candidates it found; undefined: it did not come so far. */
  readonly found: number | undefined;
  /** What may be found by whoever opens the directory next. */
  readonly candidates: readonly string[];
  readonly committed: number;
  readonly dying: { readonly call: Call; readonly instant: Instant } | undefined;
  readonly calls: readonly Call[];
}

/** A directory that processes live in, one after the other. */
interface Place {
  readonly directory: string;
  /** The worlds that may be found there, packed. */
  readonly candidates: readonly string[];
  /** How the last one ended. */
  readonly state: 'new' | 'dead' | 'closed';
}

/** Where a life can be ended. */
interface Point {
  readonly base: Place | undefined;
  readonly actions: number;
  readonly seed: number;
  readonly site: string;
  /** The name of the call. */
  readonly call: string;
  readonly death: Death;
}

interface Ear {
  word(word: Word): void;
  ended(signal: NodeJS.Signals | null, code: number | null): void;
}

/** A process that lives jobs until it is killed. It starts ahead of its first job. */
class Victim {
  readonly #child: ChildProcess;
  #ear: Ear | undefined;
  #errors = '';

  constructor() {
    this.#child = spawn(process.execPath, [VICTIM], { stdio: ['pipe', 'ignore', 'pipe', 'pipe'] });
    const { stderr } = this.#child;
    const words = this.#child.stdio[3];
    if (!(words instanceof Readable)) throw new Error('no pipe to the process');
    let rest = '';
    words.setEncoding('utf8').on('data', (data: string) => {
      const lines = (rest + data).split('\n');
      // What has no end of line was cut by death: it was not said.
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const word: Word = JSON.parse(line);
        this.#ear?.word(word);
      }
    });
    stderr?.setEncoding('utf8').on('data', (data: string) => (this.#errors += data));
    this.#child.on('close', (code, signal) => this.#ear?.ended(signal, code));
    // Its end is noticed by 'close'; what could not be written to it is of no account then.
    this.#child.stdin?.on('error', () => undefined);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Resolves when the job is done or the process dead. `hear` is told of the start and of each word. */
  live(job: Job, host: Host, hear: () => void): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      let { candidates } = job;
      let [current] = candidates;
      let found: number | undefined;
      let committed = 0;
      let dying: Outcome['dying'];
      const hangs = (): void => {
        reject(new KillingFailure(`a process hangs: it has said nothing for ${SILENCE_MS / 1000} s`));
        this.kill();
      };
      let silence = host.timer(SILENCE_MS, hangs);
      const outcome = (died: boolean, calls: readonly Call[] = []): void => {
        silence.cancel();
        this.#ear = undefined;
        resolve({ died, found, candidates, committed, dying, calls });
      };
      const word = (heard: Word): void => {
        silence.cancel();
        silence = host.timer(SILENCE_MS, hangs);
        if (heard.say === 'found') {
          found = heard.candidate;
          current = candidates[heard.candidate];
        } else if (heard.say === 'attempt') candidates = current === undefined ? [] : [current, heard.world];
        else if (heard.say === 'committed') {
          current = candidates[1];
          committed++;
        } else if (heard.say === 'dying') dying = heard;
        else if (heard.say === 'misfit') reject(new KillingFailure(heard.text));
        if ((heard.say === 'found' || heard.say === 'committed') && current !== undefined) candidates = [current];
        hear();
        if (heard.say === 'closed') outcome(false, heard.calls);
      };
      const ended = (signal: NodeJS.Signals | null, code: number | null): void => {
        if (signal === 'SIGKILL') outcome(true);
        else reject(new KillingFailure(`a process ended by itself, with ${signal ?? `code ${code}`}:\n${this.#errors}`));
      };
      this.#ear = { word, ended };
      hear();
      this.#child.stdin?.write(`${JSON.stringify(job)}\n`);
    });
  }
}

export class Killing {
  readonly #options: KillingOptions;
  readonly #random: Random;
  readonly #settings: Job['settings'];
  /** Reads directories and tells the time; on either kind of space. */
  readonly #host: Host = new PortableHost();
  #spare = new Victim();
  #busy: Victim | undefined;
  /** Alive after its job: it does the next one. */
  #idle: Victim | undefined;
  #made = 0;
  /** What is going on, for the report of a failure. */
  #doing = '';
  readonly counts = new Counts();

  constructor(options: KillingOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#settings = {
      segmentSize: 65536 * (1 + this.#random.below(3)),
      checkpointBytes: this.#random.pick([20_000, 60_000, 200_000]) ?? 0,
      objectsMax: this.#random.pick([8, 32_000]) ?? 0,
    };
  }

  /** Ends the processes that are left. */
  close(): void {
    for (const victim of [this.#spare, this.#idle, this.#busy]) victim?.kill();
  }

  /** Kills at calls while `more` says so: at each in turn, those first that are the first of their kind. */
  async atCalls(more: () => boolean): Promise<void> {
    await this.#told(async () => {
      const young = await this.#points(undefined, 3);
      const place = this.#copy(undefined);
      this.#doing = 'making a space to kill in';
      const life = await this.#live(place, { actions: 16, clock: 'virtual', ending: 'death' });
      const base = this.#died(place, life);
      const old = await this.#points(base, 12);
      for (const point of this.#inOrder([...young, ...old])) {
        if (!more()) return;
        await this.#killAt(point);
      }
      fs.rmSync(base.directory, { recursive: true });
    });
  }

  /** Kills at random instants while `more` says so. */
  async atInstants(more: () => boolean): Promise<void> {
    await this.#told(async () => {
      while (more()) {
        const directory = this.#directory();
        let place: Place = { directory, candidates: EMPTY, state: 'new' };
        for (let life = 0; life < LIVES_MAX && more(); life++) {
          const append = this.#options.host === 'linux' && this.#random.chance(0.5);
          this.#doing = `life ${life + 1} in ${directory}, killed ${append ? 'in an append' : 'at a random instant'}`;
          place = append ? await this.#killInAppend(place) : await this.#killSoon(place);
        }
        this.#doing = `the last life in ${directory}`;
        await this.#after(place);
      }
    });
  }

  async #killSoon(place: Place): Promise<Place> {
    const words = this.#random.chance(0.2) ? 0 : 1 + this.#random.below(WORDS_MAX);
    const ms = this.#random.below(words === 0 ? OPENING_MS : PAUSE_MS);
    let heard = 0;
    const outcome = await this.#live(place, { actions: ACTIONS_MAX, clock: 'real' }, (kill) => {
      if (heard++ !== words) return;
      if (ms === 0) kill();
      else this.#host.timer(ms, kill);
    });
    if (!outcome.died) throw new KillingFailure('a process outlived its job');
    this.counts.instants++;
    return this.#died(place, outcome);
  }

  /** Kills in the middle of an append to the log's tail; where the log never comes to that place, a little later. */
  async #killInAppend(place: Place): Promise<Place> {
    const snipe = this.#random.below(SNIPE_MAX);
    let heard = 0;
    let late = false;
    const outcome = await this.#live(place, { actions: ACTIONS_MAX, clock: 'real', snipe }, (kill) => {
      if (heard++ !== 4 * WORDS_MAX) return;
      late = true;
      kill();
    });
    if (!outcome.died) throw new KillingFailure('a process outlived its job');
    this.counts[late ? 'instants' : 'appends']++;
    return this.#died(place, outcome);
  }

  /** Says what was going on when something throws. */
  async #told(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      const what =
        error instanceof Error ? (error instanceof KillingFailure ? error.message : (error.stack ?? error.message)) : String(error);
      throw new KillingFailure(`${this.#doing} (kill ${this.counts.kills}, settings ${JSON.stringify(this.#settings)}):\n${what}`, {
        cause: error,
      });
    }
  }

  // --- at calls ---------------------------------------------------------------------------------------------------------------

  /** Lives a life to its end and counts its calls: what can be killed where. */
  async #points(base: Place | undefined, actions: number): Promise<Point[]> {
    const seed = this.#random.u32();
    this.#doing = `counting the calls of a life of seed ${seed}`;
    const place = this.#copy(base);
    const { calls } = await this.#live(place, { actions, seed, clock: 'virtual' });
    fs.rmSync(place.directory, { recursive: true });
    const points: Point[] = [];
    for (const [i, call] of calls.entries()) {
      // That is the comparing with the model, which only looks.
      if (call.phase === 'read') continue;
      for (const instant of instantsOf(call)) {
        const site = `${instant} ${call.name} of ${call.on} in ${call.phase}`;
        this.counts.sites.add(site);
        points.push({ base, actions, seed, site, call: call.name, death: { call: i + 1, instant } });
      }
    }
    return points;
  }

  /** Each kind once before any comes again; those first that leave a trace. */
  #inOrder(points: readonly Point[]): Point[] {
    const seen = new Map<string, number>();
    const shuffled = points.map((point) => ({ point, key: this.#random.u32(), rank: 0 })).sort((a, b) => a.key - b.key);
    for (const each of shuffled) {
      each.rank = seen.get(each.point.site) ?? 0;
      seen.set(each.point.site, each.rank + 1);
    }
    const traceless = (point: Point): number => (TRACELESS.has(point.call) ? 1 : 0);
    return shuffled.sort((a, b) => a.rank - b.rank || traceless(a.point) - traceless(b.point)).map(({ point }) => point);
  }

  async #killAt(point: Point): Promise<void> {
    const { base, actions, seed, death, site } = point;
    let place = this.#copy(base);
    this.#doing = `a life of seed ${seed} in ${place.directory}, killed at call ${death.call}, ${site}`;
    const life = await this.#live(place, { actions, seed, death, clock: 'virtual' });
    if (!life.died) {
      this.counts.missed++;
      fs.rmSync(place.directory, { recursive: true });
      return;
    }
    this.counts.sitesKilled.add(site);
    place = this.#diedAtCall(place, life);
    // And killed again while it opens what the first death left.
    for (let again = 0; again < 2 && this.#random.chance(0.25); again++) {
      const second: Death = { call: 1 + this.#random.below(OPENING_CALLS), instant: this.#random.chance(0.5) ? 'before' : 'after' };
      this.#doing += `; then at call ${second.call}`;
      const outcome = await this.#live(place, { actions: 0, death: second, clock: 'virtual' });
      place = outcome.died ? this.#diedAtCall(place, outcome) : { ...place, candidates: outcome.candidates, state: 'closed' };
    }
    await this.#after(place);
  }

  #diedAtCall(place: Place, outcome: Outcome): Place {
    if (outcome.dying === undefined) throw new KillingFailure('a process was killed before it came to the call');
    const { name } = outcome.dying.call;
    this.counts.calls++;
    this.counts.byCall.set(name, (this.counts.byCall.get(name) ?? 0) + 1);
    return this.#died(place, outcome);
  }

  // --- lives and deaths -------------------------------------------------------------------------------------------------------

  /** Tells `hear` of the start and of each word. */
  async #live(
    place: Place,
    job: Pick<Job, 'actions' | 'clock' | 'death' | 'snipe'> & Partial<Pick<Job, 'seed' | 'ending'>>,
    hear: (kill: () => void) => void = () => undefined,
  ): Promise<Outcome> {
    const victim = this.#idle ?? this.#spare;
    if (victim === this.#spare) this.#spare = new Victim();
    this.#idle = undefined;
    this.#busy = victim;
    const { host, bug } = this.#options;
    const { directory, candidates, state } = place;
    const all: Job = { seed: this.#random.u32(), ending: 'close', host, settings: this.#settings, bug, directory, candidates, ...job };
    const outcome = await victim.live(all, this.#host, () => hear(() => victim.kill()));
    if (!outcome.died) this.#idle = victim;
    this.counts.committed += outcome.committed;
    if (state === 'dead' && outcome.found !== undefined) {
      this.counts.recoveries++;
      if (candidates.length === 2) this.counts[outcome.found === 1 ? 'cutFound' : 'cutGone']++;
    }
    return outcome;
  }

  /** What a death leaves, as `check` reads it. */
  #died(place: Place, outcome: Outcome): Place {
    if (place.state === 'dead' && outcome.found === undefined) this.counts.inRecovery++;
    const unborn = place.state === 'new' && outcome.found === undefined && !this.#host.exists(`${place.directory}/space.twz`);
    if (!unborn) this.#check(place.directory);
    return { directory: place.directory, candidates: outcome.candidates, state: unborn ? 'new' : 'dead' };
  }

  /** Life goes on after a death, and ends well. */
  async #after(place: Place): Promise<void> {
    const outcome = await this.#live(place, { actions: 3, clock: 'virtual' });
    if (outcome.died || outcome.found === undefined) throw new KillingFailure('the life after a death did not reach its end');
    this.#check(place.directory);
    fs.rmSync(place.directory, { recursive: true });
  }

  #check(directory: string): void {
    this.counts.checks++;
    const bad = checkSpace(this.#host, directory).findings.filter(({ severity }) => severity !== 'note');
    if (bad.length > 0) throw new KillingFailure(`check finds ${JSON.stringify(bad.slice(0, 5))}`);
  }

  #directory(): string {
    return `${this.#options.directory}/${this.#options.host}-${this.#options.seed}-${++this.#made}`;
  }

  #copy(base: Place | undefined): Place {
    const directory = this.#directory();
    if (base === undefined) return { directory, candidates: EMPTY, state: 'new' };
    fs.cpSync(base.directory, directory, { recursive: true });
    return { ...base, directory };
  }
}
