/** The nodes of one topology: processes that join one space, and end with this one. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { NODE, type Asked, type Joined, type Marked, type Ran, type Settings, type Stat } from './node.ts';
import type { Network } from './network.ts';
import type { Data } from './program.ts';

export type Name = 'alice' | 'bob' | 'carol' | 'dave';

/** How long a node has to end when it is asked to, in milliseconds. */
const STOP_MS = 3000;

/** Which processor a node has: the strong one has one for itself, the others share another. Undefined where that cannot be had. */
function pinned(speed: number): readonly string[] {
  const command = ['taskset', '-c', speed > 1 ? '1' : '0'] as const;
  return spawnSync(command[0], [...command.slice(1), 'true']).status === 0 ? command : [];
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Member {
  readonly name: Name;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #gone: Promise<unknown>;
  #number = 0;
  #joined: Joined | undefined;

  constructor(command: readonly string[], name: Name) {
    this.name = name;
    const [program = '', ...rest] = command;
    this.#child = spawn(program, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#gone = once(this.#child, 'exit').then(
      () => this.#lost(),
      (error: unknown) => this.#lost(String(error)),
    );
    this.#child.on('message', (message) => this.#heard(message));
  }

  #lost(why = 'it has ended'): void {
    for (const { reject } of this.#waiting.values()) reject(new Error(`${this.name}: ${why}`));
    this.#waiting.clear();
  }

  #heard(message: unknown): void {
    const { number, value, error } = message as { readonly number: number; readonly value?: unknown; readonly error?: string };
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error !== undefined) waiting?.reject(new Error(`${this.name}: ${error}`));
    else waiting?.resolve(value);
  }

  #answer(number: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) reject(new Error(`${this.name} has ended`));
      else this.#waiting.set(number, { resolve, reject });
    });
  }

  async join(): Promise<void> {
    this.#joined = (await this.#answer(0)) as Joined;
  }

  get joined(): Joined {
    if (this.#joined === undefined) throw new Error(`${this.name} has not joined`);
    return this.#joined;
  }

  ask(asked: Asked & { readonly do: 'ask' }): Promise<Ran>;
  ask(asked: Asked & { readonly do: 'stat' }): Promise<Stat>;
  ask(asked: Asked & { readonly do: 'mark' }): Promise<Marked>;
  ask(asked: Asked & { readonly do: 'marks' }): Promise<number[]>;
  ask(asked: Asked & { readonly do: 'tally' | 'owner' }): Promise<string>;
  ask(asked: Asked & { readonly do: 'busy' | 'idle' | 'loaded' | 'stop' }): Promise<undefined>;
  ask(asked: Asked & { readonly do: 'create' }): Promise<Partial<Data>>;
  ask(asked: Asked): Promise<unknown> {
    const number = ++this.#number;
    const answer = this.#answer(number);
    if (this.#waiting.has(number)) this.#child.send({ number, asked }, (error) => error !== null && this.#lost(error.message));
    return answer;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  get gone(): Promise<unknown> {
    return this.#gone;
  }

  /** Asked to, it leaves; else it is killed. */
  async stop(): Promise<void> {
    const late = setTimeout(() => this.kill(), STOP_MS);
    try {
      if (this.#joined !== undefined) await this.ask({ do: 'stop' });
    } catch (error) {
      // It has ended before.
      if (!(error instanceof Error)) throw error;
    }
    if (this.#child.connected) this.#child.disconnect();
    await this.#gone;
    clearTimeout(late);
  }
}

export interface Place {
  readonly network: Network;
  readonly directory: string;
  readonly part: string;
}

const present = new Set<Member>();
process.once('exit', () => {
  for (const member of present) member.kill();
});

export class Party {
  readonly members = new Map<Name, Member>();
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  /** Starts a node that joins. Its speed is told against the others. */
  async invite(name: Name, speed = 1): Promise<void> {
    const { network, directory, part } = this.#place;
    const own = join(directory, name);
    // Bob has a program and nothing to compute for others with.
    const settings: Settings = { name, directory: own, server: network.server, space: 'rendezvous', speed, runs: name !== 'bob', part };
    const member = new Member([...network.at(name), ...pinned(speed), process.execPath, NODE, JSON.stringify(settings)], name);
    present.add(member);
    this.members.set(name, member);
    await member.join();
  }

  get(name: Name): Member {
    const found = this.members.get(name);
    if (found === undefined) throw new Error(`${name} is not there`);
    return found;
  }

  nameOf(id: string): Name {
    for (const { name, joined } of this.members.values()) if (joined.id === id) return name;
    throw new Error(`nobody has the ID ${id}`);
  }

  async stats(): Promise<Map<Name, Stat>> {
    const all = await Promise.all(
      [...this.members.values()].map(async (member) => [member.name, await member.ask({ do: 'stat' })] as const),
    );
    return new Map(all);
  }

  async stop(): Promise<void> {
    const members = [...this.members.values()];
    await Promise.all(members.map((member) => member.stop()));
    for (const member of members) present.delete(member);
  }
}
