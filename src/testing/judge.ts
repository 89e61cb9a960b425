/**
 * The judge of one crash: opens the space on what is left of a machine, and compares what it finds with what may be found.
 *
 * One in a hundred is judged deeply, and one in twelve of those where the process died, which leaves more to know: the power goes again
 * at every point of the recovery; and after it life must go on, with a transaction more that is made durable, a closing, and further
 * power failures. One in seventy is read by `check`, too, which shares no code with the kernel's own reading.
 */
import type { ObjectId } from '../abi/id.ts';
import { LOSS_MODES, type LossPlan } from '../host/simulated/loss.ts';
import type { Random } from '../host/simulated/random.ts';
import type { SimulatedHost } from '../host/simulated/simulated.ts';
import { isTwzError, open, type OpenOptions, type Space } from '../index.ts';
import { checkSpace } from '../services/check.ts';
import { imageOf, observe, type Universe } from './facts.ts';
import type { World } from './model.ts';

export const DIRECTORY = '/space';
/** Findings of a check that a power failure may leave behind. */
const EXPECTED_FINDINGS: ReadonlySet<string> = new Set(['LogBroken']);
const DEEP = 0.01;
const DEEP_DIED = 0.08;
const CHECKED = 0.015;
const IMAGED = 0.1;

/** The space after a transaction. */
export interface State {
  readonly world: World;
  readonly text: string;
  /** Checksums of the objects' bytes. */
  readonly image: string;
}

/** What may be found after a crash: the state after transaction `first` to `last`, or `next`, which is being committed. */
export interface Allowed {
  readonly states: readonly State[];
  readonly first: number;
  readonly last: number;
  readonly next: string | undefined;
}

export class Misfit extends Error {}

export class Judge {
  readonly #settings: OpenOptions;
  readonly #universe: ReadonlyMap<ObjectId, 'doc' | 'raw'>;
  nested = 0;
  checks = 0;

  constructor(settings: OpenOptions, universe: Universe) {
    this.#settings = settings;
    this.#universe = universe;
  }

  /** Throws Misfit, or what opening the space throws. `died`: the process, not the power. `afterwards`: what may be found if the power goes after this crash. */
  async judge(host: SimulatedHost, allowed: Allowed, afterwards: Allowed, died: boolean, random: Random): Promise<void> {
    if (random.chance(CHECKED)) this.#check(host.kill());
    const again: (() => void)[] = [];
    const deep = random.chance(died ? DEEP_DIED : DEEP);
    if (deep) {
      host.onPoint = (_, call) => {
        const plan: LossPlan = { mode: random.pick(LOSS_MODES) ?? 'lose', seed: random.u32() };
        const machine = host.crash(plan);
        again.push(() => {
          this.nested++;
          inCase(`then power lost in recovery before ${call}, plan ${JSON.stringify(plan)}`, () =>
            this.#recover(machine, afterwards, random),
          );
          machine.discard();
        });
      };
    }
    const space = this.#recover(host, allowed, random);
    host.onPoint = undefined;
    for (const run of again) run();
    if (deep) await this.#goOn(host, space, random);
    host.discard();
  }

  #recover(host: SimulatedHost, allowed: Allowed, random: Random): Space {
    const space = open(DIRECTORY, { ...this.#settings, host });
    const text = observe(space, this.#universe).join('\n');
    const image = random.chance(IMAGED) ? imageOf(space) : undefined;
    if (allowed.next === text) return space;
    for (let i = allowed.last; i >= allowed.first; i--) {
      const state = allowed.states[i];
      if (state?.text === text && (image === undefined || i === 0 || state.image === image)) return space;
    }
    throw new Misfit(misfit(allowed, text, image));
  }

  /** One more transaction, made durable, survives; so do a checkpoint and a closing. */
  async #goOn(host: SimulatedHost, space: Space, random: Random): Promise<void> {
    const universe = new Map(this.#universe);
    space.relaxed(() => {
      const obj = space.createRaw(64);
      universe.set(obj.id, 'raw');
      space.names.set('/zz', obj);
    });
    const before = observe(space, universe).join('\n');
    space.sync();
    const expect = (machine: SimulatedHost, when: string): void => {
      this.nested++;
      inCase(`recovered; a transaction more, durable; ${when}`, () => {
        const found = observe(open(DIRECTORY, { ...this.#settings, host: machine }), universe).join('\n');
        if (found !== before) throw new Misfit(difference(before, found));
      });
      machine.discard();
    };
    for (const mode of ['lose', 'random'] as const) expect(host.crash({ mode, seed: random.u32() }), `power lost, plan ${mode}`);
    const closing: (() => void)[] = [];
    host.onPoint = (_, call) => {
      if (!random.chance(0.2)) return;
      const machine = host.crash({ mode: 'random', seed: random.u32() });
      closing.push(() => expect(machine, `power lost in closing, before ${call}`));
    };
    space.close();
    host.onPoint = undefined;
    for (const run of closing) run();
    expect(host.crash({ mode: 'lose' }), 'closed, power lost');
    // What is under way keeps its file open until it ends.
    await host.run();
    if (host.openFiles.length > 0) throw new Misfit(`recovered and closed; files are left open: ${host.openFiles.join(', ')}`);
    if (host.violations.length > 0) throw new Misfit(host.violations.join('\n'));
  }

  /** An independent reader of the formats finds nothing wrong. */
  #check(host: SimulatedHost): void {
    if (!host.exists(`${DIRECTORY}/space.twz`)) return;
    this.checks++;
    const report = checkSpace(host, DIRECTORY);
    const bad = report.findings.filter((finding) => finding.severity === 'error' && !EXPECTED_FINDINGS.has(finding.name));
    if (bad.length > 0) throw new Misfit(`check finds ${JSON.stringify(bad.slice(0, 5))}`);
  }
}

/** Says what was the case when something throws. */
function inCase(what: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    throw new Misfit(`${what}:\n${describe(error)}`, { cause: error });
  }
}

function misfit({ states, first, last, next }: Allowed, text: string, image: string | undefined): string {
  const same = states.findLastIndex((state) => state.text === text);
  const range = `expected the state after transaction ${first} to ${last}${next === undefined ? '' : ' or the one being committed'}`;
  if (same < 0) return `${range}; found none that ever was. Against ${last}:\n${difference(states[last]?.text ?? '', text)}`;
  if (same < first || same > last) return `${range}; found ${same}`;
  return `state ${same} is found, but not its bytes:\n${difference(states[same]?.image ?? '', image ?? '')}`;
}

export function describe(error: unknown): string {
  if (error instanceof Misfit) return error.message;
  if (isTwzError(error)) return `${error.stack ?? error.message}${error.cause === undefined ? '' : `\ncaused by ${describe(error.cause)}`}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The lines that only one of two texts has; of lines about the same thing, the part where they part. */
export function difference(expected: string, found: string): string {
  const subject = (line: string): string => line.split(' ').slice(0, 2).join(' ');
  const left = expected.split('\n');
  const right = found.split('\n');
  const lines: string[] = [];
  for (const line of left) {
    if (right.includes(line)) continue;
    const other = right.find((each) => subject(each) === subject(line)) ?? '';
    let at = 0;
    while (at < line.length && line[at] === other[at]) at++;
    lines.push(
      `  ${subject(line)} at ${at}\n    expected  ${excerpt(line, at)}\n    found     ${other === '' ? 'nothing' : excerpt(other, at)}`,
    );
  }
  for (const line of right) if (!left.some((each) => subject(each) === subject(line))) lines.push(`  not expected  ${excerpt(line, 0)}`);
  return lines.slice(0, 6).join('\n');
}

function excerpt(line: string, at: number): string {
  const from = Math.max(0, at - 60);
  return `${from > 0 ? '…' : ''}${line.slice(from, at + 200)}${line.length > at + 200 ? '…' : ''}`;
}
