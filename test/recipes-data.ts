/** What the tests of the recipes and their processes agree on. */
import { fork, type ChildProcess } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { CacheOptions } from '../examples/cache/cache.ts';
import type { QueueOptions } from '../examples/jobs/jobs.ts';
import { hashMap, struct, text, u32, type Infer, type Space } from '../src/index.ts';

export const Ledger = hashMap(text, u32);

/** A map under a name, for the processes to count in. */
export function ledgerIn(space: Space): Infer<typeof Ledger> {
  return space.relaxed(() => {
    const made = space.create(Ledger);
    space.names.set('/ledger', made);
    return made;
  });
}

export const Page = struct('Page', { body: text, maker: u32 });
export const CACHE: CacheOptions = { max: 64, shards: 4 };
/** A busy machine may cost a job a lease or two. */
export const QUEUE: QueueOptions = { lease: 400, attempts: 6, backoff: () => 1 };

export interface Task {
  readonly plan: 'plain' | 'fails once' | 'poison' | 'dies before' | 'dies within' | 'dies after' | 'deadly' | 'stalls';
}

const WORKER = fileURLToPath(new URL('recipes-worker.js', import.meta.url));

interface Told {
  readonly value?: unknown;
  readonly steps?: number;
  readonly done?: string;
}

/** Another process of the same program. */
export class Colleague {
  readonly process: ChildProcess;
  readonly gone: Promise<void>;
  readonly ready: Promise<unknown>;
  readonly #waiting: { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }[] = [];
  told: (what: Told) => void = () => undefined;
  complaint = '';

  constructor(t: TestContext, directory: string) {
    this.process = fork(WORKER, [directory], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    this.ready = this.#answer();
    this.ready.catch(() => this.complaint);
    this.gone = new Promise((resolve) =>
      this.process.once('close', () => {
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the process ended: ${this.complaint}`));
        resolve();
      }),
    );
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.complaint += text));
    this.process.on('message', (message: Told) => {
      if ('value' in message) this.#waiting.shift()?.resolve(message.value);
      else this.told(message);
    });
    t.after(() => this.kill());
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => void this.#waiting.push({ resolve, reject }));
  }

  async does(deed: string, ...args: readonly unknown[]): Promise<unknown> {
    await this.ready;
    const answer = this.#answer();
    this.process.send({ deed, args });
    return answer;
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.gone;
  }
}

/** Numbers that follow from a seed. */
export function drawing(seed: number): (below: number) => number {
  let random = seed >>> 0;
  return (below) => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return Math.floor((random / 2 ** 32) * below);
  };
}
