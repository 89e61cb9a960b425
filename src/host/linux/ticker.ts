/** Starts and ends the thread that drives clock and timers. */
import { TwzError } from '../../abi/errors.ts';
import { startNativeThread } from '../native-threads.ts';
import { FutexCalls } from './futex-calls.ts';
import { addressOf } from './libc.ts';

/** A device's object: its file, its length, and where its root begins. */
export interface TickerPlace {
  readonly path: string;
  readonly size: number;
  readonly at: number;
}

export interface Ticker {
  /** Resolves when the thread has ended; the devices are closed by then. */
  stop(): Promise<void>;
}

/** Resolves when clock and timers run. */
export async function startTicker(places: {
  readonly clock: TickerPlace | undefined;
  readonly timer: TickerPlace | undefined;
}): Promise<Ticker> {
  const stop = new SharedArrayBuffer(64);
  const calls = new FutexCalls();
  const address = addressOf(new Uint8Array(stop));
  const file = import.meta.url.endsWith('.ts') ? './ticker-thread.ts' : './ticker-thread.js';
  const worker = startNativeThread(new URL(file, import.meta.url), {
    workerData: { stop, ...places },
    name: 'twizzler clock',
    execArgv: [],
    stdin: false,
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const end = (): void => {
    Atomics.store(new Int32Array(stop), 0, 1);
    calls.wake(address, 1);
  };
  // The thread sleeps in the system: ended by its word, not by force.
  process.once('exit', end);
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', (cause) => reject(new TwzError('DeviceFailed', 'the thread of clock and timers did not start', {}, cause)));
  });
  worker.unref();
  // Without its thread the devices show that their driver has ended.
  worker.on('error', () => process.off('exit', end));
  return {
    async stop() {
      process.off('exit', end);
      worker.ref();
      end();
      await ended;
    },
  };
}
