/** Starting threads: a control object in the space, and a program that says in it how it goes. */
import { TwzError } from '../../abi/errors.ts';
import { startProcess, startThread, type Program, type ProgramOptions } from '../../host/programs.ts';
import type { Obj } from '../../lib/object.ts';
import { createRing, ringBytes } from '../../lib/rings/ring.ts';
import type { Space, Target } from '../../space.ts';
import { ERROR_BYTES, FLAG, REPR_VERSION, REQUEST, STATUS, ThreadRepr, type Control, type ControlPlace } from './control.ts';
import { mailboxRing, type MailboxOptions } from './mailbox.ts';
import { controlOf, enterThread, tableOf } from './table.ts';
import { Thread } from './thread.ts';

export interface SpawnOptions {
  /** `thread`: a worker thread of this process (the default). `process`: a process of its own. */
  readonly as?: 'thread' | 'process';
  /** What its main function finds as `argument`: an object of the space, an accessor of its root, or its ID. */
  readonly argument?: Target;
  /** For people; by default the name of the module's file. */
  readonly name?: string;
  readonly mailbox?: MailboxOptions;
  /** What becomes of a process when the thread that spawned it ends: it goes on (`stay`, the default), is asked to `stop`, or ends (`end`). */
  readonly orphan?: 'stay' | 'stop' | 'end';
  /** Options of Node for it; by default those of this process. */
  readonly execArgv?: readonly string[];
  /** Whether it prints where this process does (default true). */
  readonly prints?: boolean;
}

/** What a program is started with. */
export interface Start {
  readonly directory: string;
  readonly place: ControlPlace;
  readonly number: number;
  readonly module: string;
  readonly orphan: 'stay' | 'stop' | 'end';
}

const MODULE_BYTES_MAX = 4096;

/** Throws InvalidArgument for what names no module. */
export function moduleUrl(module: string | URL): string {
  const text = String(module);
  const url = text.startsWith('/') ? `file://${encodeURI(text)}` : text;
  if (!/^(file|data):/.test(url) || url.length > MODULE_BYTES_MAX)
    throw new TwzError(
      'InvalidArgument',
      `"${text.slice(0, 200)}" names no module: expected a URL, such as new URL('./worker.js', import.meta.url), or an absolute path`,
    );
  return url;
}

function nameOf(url: string): string {
  return url.startsWith('data:') ? 'data' : decodeURIComponent(url.replace(/[?#].*$/, '').replace(/^.*\//, '')).replace(/\.\w+$/, '');
}

/** Throws NotSupported, TransactionNested, SpaceClosed. */
export function demandSharing(space: Space): void {
  const { kernel } = space;
  if (!kernel.host.sharing)
    throw new TwzError(
      'NotSupported',
      `threads have the space open together, and the ${kernel.host.name} host has no shared memory for that`,
    );
  kernel.idle('spawn');
}

/** Makes the control object and enters it into the table, in one transaction. */
export function makeThread(space: Space, module: string, flags: number, options: SpawnOptions): Thread {
  const { argument, name = nameOf(module), orphan = 'stay' } = options;
  const ring = mailboxRing(options.mailbox ?? {});
  const bytes = ringBytes(ring);
  const { self } = space.kernel.host.futex.threads;
  const object = space.relaxed(() => {
    let made: Obj | undefined;
    enterThread(space, argument === undefined ? null : space.object(argument), (number) => {
      const repr = space.create(
        ThreadRepr,
        { version: REPR_VERSION, flags, status: STATUS.sleeping, self, parent: self, number, orphan, name, module },
        { kind: 'shared' },
      );
      made = space.object(repr);
      // A ring begins on a line; blocks of a page or more do.
      repr.mailbox = made.allocate(Math.max(bytes, 4096));
      repr.errorAt = made.allocate(ERROR_BYTES);
      return made;
    });
    return made;
  });
  if (object === undefined) throw new TwzError('InvalidArgument', 'no control object was made');
  const thread = new Thread(space, object);
  createRing(object.sync(), thread.repr.mailbox, ring);
  return thread;
}

/** Starts the program of a thread whose control object is there. Resolves when it has ended. */
export function startProgram(space: Space, thread: Thread, options: Pick<SpawnOptions, 'execArgv' | 'prints'>): Promise<void> {
  const { control } = thread;
  const { kernel } = space;
  const object = space.object(thread.id);
  const start: Start = {
    directory: kernel.directory,
    place: { path: kernel.path(thread.id), size: object.size, root: object.rootOffset },
    number: thread.number,
    module: thread.module,
    orphan: thread.repr.orphan,
  };
  const main = new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url);
  const how: ProgramOptions = { name: thread.name, execArgv: options.execArgv, prints: options.prints ?? true };
  // It joins at once, even while this thread blocks.
  if (kernel.live?.sole === true) kernel.welcome();
  const turn = control.turn;
  let program: Program;
  try {
    program = thread.as === 'process' ? startProcess(main, start, how) : startThread(main, start, how);
  } catch (cause) {
    fail(control, cause, turn);
    throw cause;
  }
  thread.program = program;
  control.set('pid', program.pid);
  if (thread.as === 'process') {
    const { threads } = control.words;
    const child = program.pid === 0 ? 0 : threads.of(program.pid);
    if (child !== 0) control.handOver(threads.self, child);
  } else terminateWhenAsked(space, control, program, turn);
  return program.ended.then(({ code, signal, error }) => {
    if (control.gone) return;
    if (error !== undefined) fail(control, error, turn);
    else if (signal !== 0) control.settle('killed', 128 + signal, turn);
    // Who comes to its end says so itself: a thread that did not was terminated, and a process could not begin.
    else if (thread.as === 'thread') control.settle('killed', 128 + SIGKILL, turn);
    else control.settle('exited', code, turn);
  });
}

const SIGKILL = 9;

function fail(control: Control, cause: unknown, turn: number): void {
  const { name, message, stack = '' } = cause instanceof Error ? cause : new Error(String(cause));
  if (control.turn !== turn || control.outcome.reason !== undefined) return;
  control.setError({ name, message, stack });
  control.settle('failed', 1, turn);
}

/** How often a process looks whether one of its threads is to be ended, in milliseconds. */
const ASKED_MS = 50;
/**
 * How long a thread has to end by itself when it is killed: from when its main function has begun, and while it is loading code. Node does not expect
 * a thread to be terminated within native code: the whole process may go. While that is loaded, the host does not.
 */
const BEGUN_MS = 250;
const LOADING_MS = 10_000;

function terminateWhenAsked({ kernel }: Space, control: Control, program: Program, turn: number): void {
  const { host } = kernel;
  const begun = control.get('started');
  let asked: number | undefined;
  const look = (): void => {
    if (control.gone || control.turn !== turn || control.state === STATUS.exited) return;
    if (asked === undefined && control.requested(REQUEST.kill)) asked = host.now();
    const patience = control.get('started') > begun ? BEGUN_MS : LOADING_MS;
    if (asked !== undefined && host.now() - asked > patience) program.terminate();
    else host.timer(ASKED_MS, look);
  };
  kernel.host.timer(ASKED_MS, look);
}

/**
 * Starts a module as a thread: a worker thread of this process, or a process. Its function `main`, or its default export, is called with a
 * `ThreadSelf`. Throws NotSupported, InvalidArgument, TransactionNested, and what creating an object throws.
 */
export function spawn(space: Space, module: string | URL, options: SpawnOptions = {}): Thread {
  demandSharing(space);
  const thread = makeThread(space, moduleUrl(module), options.as === 'process' ? FLAG.process : 0, options);
  void startProgram(space, thread, options);
  return thread;
}

/** The threads of the space, those that ended lately among them, by number. */
export function threads(space: Space): Thread[] {
  const found: Thread[] = [];
  for (const entry of tableOf(space)?.threads.values() ?? []) {
    const there = controlOf(space, entry);
    if (there !== undefined) found.push(new Thread(space, there.object));
  }
  return found;
}

/** The thread that a control object stands for: one that another process spawned. Throws NotShared, TypeMismatch, ObjectMissing. */
export function threadOf(space: Space, control: Target): Thread {
  return new Thread(space, space.object(control));
}
