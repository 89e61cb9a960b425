/**
 * The program that is a thread: it opens the space, calls the main function of the module that it was started for, and says in the control
 * object how that ended. Whatever way it ends, that is said last, when the space is closed; who is killed is told by others.
 */
import { TwzError } from '../../abi/errors.ts';
import { parseId } from '../../abi/id.ts';
import { chooseHost } from '../../host/choose.ts';
import { endWithParent, startedWith } from '../../host/programs.ts';
import { acceptTypeScript } from '../../host/typescript.ts';
import { open, type Space } from '../../space.ts';
import { CODE_MAX, REQUEST, mapControl, type Control, type ThreadReason } from './control.ts';
import { ThreadSelf } from './self.ts';
import type { Start } from './spawn.ts';

type Main = (thread: ThreadSelf) => unknown;

/** How often a thread looks whether who spawned it lives, where it is to end with it, in milliseconds. */
const PARENT_MS = 100;
/** How often a thread looks whether it is killed, in milliseconds; and its code then, as if by SIGKILL. */
const KILLED_MS = 50;
const KILLED = 137;
/** Node's own code for a program that waits for nothing. */
const UNSETTLED = 13;

class Running {
  readonly #control: Control;
  readonly #turn: number;
  readonly #start: Start;
  #space: Space | undefined;
  #self: ThreadSelf | undefined;
  #reason: ThreadReason = 'exited';
  #killed = false;
  #over = false;

  constructor(start: Start) {
    this.#start = start;
    const { threads } = host.futex;
    this.#control = mapControl(host, start.place);
    this.#turn = this.#control.turn;
    // It is there itself now. Who was told that it died, because who started it did, was told right.
    this.#control.set('self', threads.self);
    this.#control.set('pid', process.pid);
    if (this.#control.outcome.reason !== undefined) process.exit(1);
    if (start.orphan !== 'stay') this.#follow(start.orphan);
    this.#heed();
    process.on('uncaughtExceptionMonitor', (error: unknown) => this.#failed(error));
    process.on('beforeExit', () => this.#stalled());
    process.on('exit', (code) => this.#end(code));
  }

  async run(): Promise<void> {
    try {
      const main = await this.#load();
      const self = this.#demandSelf();
      if (this.#control.requested(REQUEST.kill)) this.#die();
      this.#control.add('started', 1);
      this.#control.move(['sleeping', 'suspended'], 'running');
      const code = exitCode(await main(self));
      this.#reason = 'returned';
      this.#leave(code);
    } catch (error) {
      this.#failed(error);
      this.#leave(1);
    }
  }

  #demandSelf(): ThreadSelf {
    const { directory, number, place } = this.#start;
    const space = open(directory, { create: false, host });
    this.#space = space;
    const id = parseId(place.path.replace(/^.*\/|\.twz$/g, ''));
    const self = new ThreadSelf(space, this.#control, id, number, () => this.#die());
    this.#self = self;
    return self;
  }

  async #load(): Promise<Main> {
    const { module } = this.#start;
    if (/^file:.*\.m?ts$/.test(module)) acceptTypeScript();
    const exported: Readonly<Record<string, unknown>> = await import(module);
    const main = exported['main'] ?? exported['default'];
    if (typeof main === 'function') return main as Main;
    throw new TwzError('ThreadModule', `${module.slice(0, 200)} exports no function main, and none as default`, { module });
  }

  /** Looks from time to time whether who spawned it lives. */
  #follow(orphan: 'stop' | 'end'): void {
    const { threads } = host.futex;
    // Also where it does not give way to its event loop.
    if (orphan === 'end') endWithParent();
    host.timer(PARENT_MS, () => {
      if (this.#over) return;
      if (threads.lives(this.#control.get('parent'))) this.#follow(orphan);
      else if (orphan === 'stop') this.#control.request(REQUEST.stop);
      else process.exit(1);
    });
  }

  /** Looks from time to time whether it is to end. A process is killed by the system. */
  #heed(): void {
    host.timer(KILLED_MS, () => {
      if (this.#over) return;
      if (this.#control.requested(REQUEST.kill)) this.#die();
      this.#heed();
    });
  }

  /** It is killed: nothing is completed, nobody waited for. */
  #die(): never {
    this.#killed = true;
    process.exit(KILLED);
  }

  #failed(cause: unknown): void {
    const { name, message, stack = '' } = cause instanceof Error ? cause : new Error(String(cause));
    this.#reason = 'failed';
    this.#control.setError({ name, message, stack });
  }

  #stalled(): void {
    if (this.#over) return;
    this.#failed(new TwzError('ThreadModule', 'the main function waits for something that never comes'));
    process.exit(UNSETTLED);
  }

  /** The program ends, whatever else is open. */
  #leave(code: number): void {
    process.exit(code);
  }

  /** The last thing that happens here. */
  #end(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#self?.end();
    try {
      if (this.#killed) this.#space?.kernel.release();
      else this.#space?.close();
    } catch (error) {
      this.#space?.kernel.release();
      if (this.#reason !== 'failed') this.#failed(error);
    }
    this.#control.settle(this.#killed ? 'killed' : this.#reason, Math.min(Math.max(code, 0), CODE_MAX), this.#turn);
  }
}

function exitCode(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= CODE_MAX) return value;
  throw new TwzError(
    'ThreadModule',
    `the main function gave ${typeof value === 'number' ? value : `a ${typeof value}`}; expected nothing, or an integer from 0 to ${CODE_MAX}`,
  );
}

const host = chooseHost(() => undefined);
void new Running(startedWith(process.argv[2]) as Start).run();
