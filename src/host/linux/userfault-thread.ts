/**
 * The thread that serves page faults. It sleeps in the system until a page is touched or somebody rings, and never waits for anything else: it
 * has no event loop, and takes messages from its ports itself. So nothing that a thread which stands still in a fault could hold keeps it.
 *
 * Where it fails it first marks all regions dead; then the descriptor is closed, which wakes whoever waits.
 */
import { receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { loadNative } from '../native-threads.ts';
import type { PageAnswer, PageLimits, PageQuestion, PagedWhat } from '../pages.ts';
import { FaultCalls, type Descriptors } from './userfault-calls.ts';
import { FaultRegion, type FaultMemory } from './userfault-region.ts';
import { REGION, RegionWords, monotonic } from './userfault-words.ts';

export type FaultCommand =
  | { readonly kind: 'source'; readonly source: number; readonly port: MessagePort }
  | {
      readonly kind: 'open';
      readonly region: number;
      readonly source: number;
      readonly address: number;
      readonly control: SharedArrayBuffer;
      readonly states: Uint8Array;
      readonly what: PagedWhat;
      readonly limits: PageLimits;
    }
  | { readonly kind: 'prefetch'; readonly region: number; readonly from: number; readonly to: number }
  | { readonly kind: 'close'; readonly region: number }
  | { readonly kind: 'stop' };

export interface FaultThreadData {
  readonly descriptors: Descriptors;
  readonly commands: MessagePort;
  /** 1 as long as the descriptors are open. */
  readonly alive: Int32Array;
}

const PAGE = 4096;
/** Longest single sleep, in milliseconds: in between the thread can be ended. */
const SLICE_MS = 250;

interface Open {
  readonly region: FaultRegion;
  readonly source: number;
  readonly address: number;
  readonly end: number;
}

class FaultThread {
  readonly #calls: FaultCalls;
  readonly #commands: MessagePort;
  readonly #sources = new Map<number, MessagePort>();
  readonly #regions = new Map<number, Open>();
  /** By address. */
  readonly #ordered: Open[] = [];
  /** Those in which somebody may wait. */
  readonly #awaited = new Set<FaultRegion>();
  /** Who asked, by number of the question. */
  readonly #asked = new Map<number, number>();
  #last = 0;
  #stopped = false;
  readonly #alive: Int32Array;

  constructor({ descriptors, commands, alive }: FaultThreadData) {
    this.#calls = new FaultCalls(descriptors);
    this.#commands = commands;
    this.#alive = alive;
  }

  run(): void {
    while (!this.#stopped) {
      const rung = this.#calls.sleep(Math.min(SLICE_MS, this.#deadline() - monotonic()));
      // Commands first: a region is announced before it is touched.
      if (rung) this.#listen();
      for (const address of this.#calls.faults()) this.#fault(address);
      const now = monotonic();
      for (const region of this.#awaited) if (region.deadline <= now) region.expire(now);
    }
    for (const port of this.#sources.values()) port.close();
    this.#commands.close();
    this.end('the program ends');
  }

  /** Nobody must believe what it reads from now on. */
  end(reason: string): void {
    for (const { region } of this.#regions.values()) {
      // The lock may be held by this very thread.
      region.words.state = REGION.dead;
      region.words.fail('HostUnavailable', reason);
    }
    Atomics.store(this.#alive, 0, 0);
    this.#calls.end();
  }

  /** The earliest of all; forgets where nobody waits any more. */
  #deadline(): number {
    let earliest = Infinity;
    for (const region of this.#awaited) {
      const { deadline } = region;
      if (deadline === Infinity) this.#awaited.delete(region);
      earliest = Math.min(earliest, deadline);
    }
    return earliest;
  }

  /** Place of the first region that ends behind the address. */
  #place(address: number): number {
    let low = 0;
    let high = this.#ordered.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ordered[middle] as Open).end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #find(address: number): Open | undefined {
    const open = this.#ordered[this.#place(address)];
    return open !== undefined && address >= open.address && open.region.words.state === REGION.open ? open : undefined;
  }

  #fault(address: number): void {
    let open = this.#find(address);
    if (open === undefined) {
      this.#listen();
      open = this.#find(address);
    }
    // Of a region that was closed meanwhile: that woke who waited.
    if (open === undefined) return;
    this.#awaited.add(open.region);
    open.region.fault((address - open.address) / PAGE, monotonic());
  }

  #listen(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#commands);
      if (received === undefined) break;
      const command: FaultCommand = received.message;
      this.#obey(command);
    }
    for (const port of this.#sources.values()) {
      for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
        const answer: PageAnswer = received.message;
        const region = this.#asked.get(answer.number);
        this.#asked.delete(answer.number);
        if (region !== undefined) this.#regions.get(region)?.region.answer(answer, monotonic());
      }
    }
  }

  #obey(command: FaultCommand): void {
    switch (command.kind) {
      case 'source':
        this.#sources.set(command.source, command.port);
        return;
      case 'open':
        this.#open(command);
        return;
      case 'prefetch':
        this.#regions.get(command.region)?.region.prefetch(command.from, command.to, monotonic());
        return;
      case 'close':
        this.#close(command.region);
        return;
      case 'stop':
        this.#stopped = true;
    }
  }

  #open({ region: number, source, address, control, states, what, limits }: Extract<FaultCommand, { kind: 'open' }>): void {
    const calls = this.#calls;
    const memory: FaultMemory = {
      show: (page, bytes) => calls.show(address + page * PAGE, bytes),
      zero: (page) => calls.zero(address + page * PAGE),
      wake: (page) => calls.wake(address + page * PAGE),
    };
    const ask = (question: Omit<PageQuestion, 'number'>): number => {
      const asked: PageQuestion = { ...question, number: ++this.#last };
      this.#asked.set(asked.number, number);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
      this.#sources.get(source)?.postMessage(asked);
      return asked.number;
    };
    const region = new FaultRegion(new RegionWords(control), states, what, limits, memory, ask);
    const open: Open = { region, source, address, end: address + what.size };
    this.#regions.set(number, open);
    this.#ordered.splice(this.#place(address), 0, open);
  }

  #close(number: number): void {
    const open = this.#regions.get(number);
    if (open === undefined) return;
    this.#regions.delete(number);
    this.#ordered.splice(this.#ordered.indexOf(open), 1);
    this.#awaited.delete(open.region);
  }
}

if (workerData !== null && 'faultThread' in workerData) {
  loadNative();
  const data: FaultThreadData = workerData.faultThread;
  const thread = new FaultThread(data);
  try {
    thread.run();
  } catch (error) {
    thread.end(`the thread that serves page faults failed: ${error instanceof Error ? error.message : String(error)}`);
    throw error;
  }
}
