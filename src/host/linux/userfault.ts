/** Page faults served by a thread: the side of whoever reads. Started with the first use; one for each thread that has paged objects. */
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import * as fs from 'node:fs';
import { PAGE } from '../../abi/format.ts';
import { TwzError } from '../../abi/errors.ts';
import type { Window } from '../host.ts';
import { startNativeThread } from '../native-threads.ts';
import type { PageCounters, PageLimits, PageSource, PagedRegion, PagedWhat, Pages } from '../pages.ts';
import { openUserfault, registerRange, unregisterRange, type Descriptors } from './userfault-calls.ts';
import type { FaultCommand, FaultThreadData } from './userfault-thread.ts';
import { CONTROL_BYTES, PAGE_STATE, REGION, RegionWords, monotonic } from './userfault-words.ts';

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

function ended(object: string): TwzError {
  return new TwzError('HostUnavailable', 'the thread that serves page faults has ended', { id: object });
}

class UserfaultRegion implements PagedRegion {
  readonly #pages: UserfaultPages;
  readonly #window: Window;
  readonly #at: number;
  readonly #what: PagedWhat;
  readonly number: number;
  readonly words = new RegionWords(new SharedArrayBuffer(CONTROL_BYTES));
  readonly states: Uint8Array;

  constructor(pages: UserfaultPages, window: Window, at: number, what: PagedWhat, number: number) {
    this.#pages = pages;
    this.#window = window;
    this.#at = at;
    this.#what = what;
    this.number = number;
    this.states = new Uint8Array(new SharedArrayBuffer(what.size / PAGE));
  }

  begin(ms: number): number {
    const { words } = this;
    if (words.state === REGION.dead) throw this.error();
    if (!this.#pages.alive) throw ended(this.#what.object);
    if (words.state === REGION.closed) throw new TwzError('PagedClosed', 'the paged object was closed', { id: this.#what.object });
    // Nothing that failed before is read now.
    if (words.failing) this.recover();
    this.allow(ms);
    return words.failures;
  }

  allow(ms: number): void {
    this.words.until = ms === 0 ? 0 : monotonic() + ms;
  }

  failedSince(mark: number): boolean {
    return this.words.failures !== mark || !this.#pages.alive;
  }

  error(): TwzError {
    return this.words.failing ? this.words.error(this.#what.object) : ended(this.#what.object);
  }

  recover(): void {
    const { words, states } = this;
    words.lock();
    try {
      if (words.state !== REGION.open) return;
      for (let page = states.indexOf(PAGE_STATE.failed); page >= 0; page = states.indexOf(PAGE_STATE.failed, page + 1)) {
        states[page] = PAGE_STATE.absent;
        this.#window.drop(this.#at + page * PAGE, PAGE);
      }
      words.recover();
    } finally {
      words.unlock();
    }
  }

  prefetch(at: number, length: number): void {
    const from = Math.max(0, Math.floor(at / PAGE));
    const to = Math.min(this.states.length, Math.ceil((at + length) / PAGE));
    if (from < to) this.#pages.tell({ kind: 'prefetch', region: this.number, from, to });
  }

  resident(at: number): boolean {
    return Atomics.load(this.states, Math.floor(at / PAGE)) === PAGE_STATE.shown;
  }

  counters(): PageCounters {
    return this.words.counters();
  }

  close(): void {
    const { words } = this;
    words.lock();
    try {
      if (words.state === REGION.open) {
        words.state = REGION.closed;
        words.fail('PagedClosed', 'the paged object was closed');
        if (this.#pages.alive) this.#pages.unregister(this.#at, this.#window, this.#what.size);
      }
    } finally {
      words.unlock();
    }
    this.#pages.closed(this);
  }
}

export class UserfaultPages implements Pages {
  readonly #descriptors: Descriptors;
  readonly #commands: MessagePort;
  readonly #worker: Worker;
  readonly #sources = new WeakMap<PageSource, number>();
  readonly #regions = new Set<UserfaultRegion>();
  #lastSource = 0;
  #lastRegion = 0;
  readonly #alive = new Int32Array(new SharedArrayBuffer(4)).fill(1);

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors;
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    port1.unref();
    const faultThread: FaultThreadData = { descriptors, commands: port2, alive: this.#alive };
    const file = import.meta.url.endsWith('.ts') ? './userfault-thread.ts' : './userfault-thread.js';
    this.#worker = startNativeThread(new URL(file, import.meta.url), {
      workerData: { faultThread },
      transferList: [port2],
      name: 'twizzler pages',
      execArgv: [],
      stdin: false,
    });
    // Who reads is told by the regions, which are dead then.
    this.#worker.on('error', () => undefined);
    this.#worker.unref();
    // It sleeps in the system: ended by a bell, not by force.
    process.once('exit', () => this.tell({ kind: 'stop' }));
  }

  get bell(): number {
    return this.#descriptors.bell;
  }

  /** Does the thread serve faults? */
  get alive(): boolean {
    return Atomics.load(this.#alive, 0) === 1;
  }

  tell(command: FaultCommand, transfer: readonly MessagePort[] = []): void {
    this.#commands.postMessage(command, [...transfer]);
    fs.writeSync(this.#descriptors.bell, ONE);
  }

  open(window: Window, at: number, what: PagedWhat, source: PageSource, limits: PageLimits): PagedRegion {
    const { address } = window;
    if (address === undefined) throw new TwzError('NotSupported', 'the window has no address', { id: what.object });
    const region = new UserfaultRegion(this, window, at, what, ++this.#lastRegion);
    this.tell({
      kind: 'open',
      region: region.number,
      source: this.#source(source),
      address: address + at,
      control: region.words.shared,
      states: region.states,
      what: { object: what.object, version: what.version, size: what.size },
      limits,
    });
    // Memory of its own, none of it touched: a page that is there is not heard of.
    window.clear(at, what.size, true);
    try {
      registerRange(this.#descriptors.faults, address + at, what.size);
      if (!this.alive) throw ended(what.object);
    } catch (error) {
      this.tell({ kind: 'close', region: region.number });
      throw error;
    }
    this.#regions.add(region);
    return region;
  }

  #source(source: PageSource): number {
    const known = this.#sources.get(source);
    if (known !== undefined) return known;
    const port = source.take() as MessagePort | undefined;
    if (port === undefined) throw new TwzError('InvalidArgument', 'the source was closed');
    const number = ++this.#lastSource;
    this.#sources.set(source, number);
    this.tell({ kind: 'source', source: number, port }, [port]);
    return number;
  }

  unregister(at: number, window: Window, length: number): void {
    unregisterRange(this.#descriptors.faults, (window.address ?? 0) + at, length);
  }

  closed(region: UserfaultRegion): void {
    if (this.#regions.delete(region)) this.tell({ kind: 'close', region: region.number });
  }
}

let started: UserfaultPages | undefined;
let isRefused = false;

/** Those of this thread. Undefined where the system does not give page faults to this process, or who served them has failed. */
export function pagesOfThread(): Pages | undefined {
  if (started === undefined && !isRefused) {
    const descriptors = openUserfault();
    isRefused = descriptors === undefined;
    if (descriptors !== undefined) started = new UserfaultPages(descriptors);
  }
  return started?.alive === true ? started : undefined;
}
