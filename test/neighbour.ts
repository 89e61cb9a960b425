/** Another process in the space of a test. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

/** A process that does as it is told: see sharing-neighbour.ts, or the program named. */
export class Neighbour {
  readonly process: ChildProcess;
  readonly #lines: string[] = [];
  #waiting: ((line: string) => void) | undefined;

  constructor(t: TestContext, directory: string, program = 'sharing-neighbour.js') {
    const file = fileURLToPath(new URL(program, import.meta.url));
    const child = spawn(process.execPath, [file, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process = child;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting === undefined) this.#lines.push(line);
      else waiting(line);
    });
    t.after(() => this.kill());
  }

  async does(...words: readonly (string | number)[]): Promise<unknown> {
    this.process.stdin?.write(`${words.join(' ')}\n`);
    return this.hears();
  }

  /** What it says next. */
  async hears(): Promise<unknown> {
    return JSON.parse(await this.#line());
  }

  #line(): Promise<string> {
    const line = this.#lines.shift();
    return line === undefined ? new Promise((resolve) => (this.#waiting = resolve)) : Promise.resolve(line);
  }

  kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.process.once('close', () => resolve());
      this.process.kill('SIGKILL');
    });
  }
}
