/** Clock and timers: laid out here, driven by a thread of their own. */
import { CLOCK, TIMER, TIMER_LINE, type DeviceClass } from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';
import { startTicker, type Ticker, type TickerPlace } from '../../host/linux/ticker.ts';
import type { ClockOptions, TimerDeviceOptions } from './start.ts';
import type { Driver, Served } from './served.ts';

const TIMERS = 256;
const TIMERS_MAX = 65_536;
const RESOLUTION_MS = 1;

interface Part {
  readonly name: string;
  readonly of: DeviceClass;
  readonly bytes: number;
  begin(device: Served): Promise<Driver>;
}

const placeOf = ({ object, at }: Served, path: string): TickerPlace => ({ path, size: object.size, at });

/** One thread for both: it starts with the last of them. */
export class ClockBuilder {
  readonly devices: readonly Part[];
  readonly #served = new Map<'clock' | 'timer', Served>();
  readonly #path: (device: Served) => string;
  #ticker: Ticker | undefined;

  constructor(clock: ClockOptions | undefined, timer: TimerDeviceOptions | undefined, path: (device: Served) => string) {
    this.#path = path;
    const parts: Part[] = [];
    if (clock !== undefined) {
      const { resolution = RESOLUTION_MS } = clock;
      if (!(resolution >= 0.01 && resolution <= 1000))
        throw new TwzError('OutOfRange', `a clock that is set every ${resolution} ms; expected 0.01 to 1000`, { resolution });
      parts.push({ name: 'clock', of: 'clock', bytes: CLOCK.bytes, begin: (device) => this.#begin('clock', device, parts.length) });
      this.#layOut.set('clock', (device) => {
        device.room(CLOCK.bytes);
        device.put(CLOCK.resolution, Math.round(resolution * 1e6));
      });
    }
    if (timer !== undefined) {
      const { timers = TIMERS } = timer;
      if (!(Number.isInteger(timers) && timers >= 1 && timers <= TIMERS_MAX))
        throw new TwzError('OutOfRange', `${timers} timers; expected 1 to ${TIMERS_MAX}`, { timers });
      const bytes = TIMER.bytes + timers * TIMER_LINE.bytes;
      parts.push({ name: 'timer', of: 'timer', bytes, begin: (device) => this.#begin('timer', device, parts.length) });
      this.#layOut.set('timer', (device) => {
        device.room(TIMER.bytes);
        device.put(TIMER.lines, timers);
        device.put(TIMER.linesAt, device.room(timers * TIMER_LINE.bytes));
      });
    }
    this.devices = parts;
  }

  readonly #layOut = new Map<'clock' | 'timer', (device: Served) => void>();

  async #begin(name: 'clock' | 'timer', device: Served, count: number): Promise<Driver> {
    this.#layOut.get(name)?.(device);
    this.#served.set(name, device);
    if (this.#served.size === count) {
      const place = (of: 'clock' | 'timer'): TickerPlace | undefined => {
        const served = this.#served.get(of);
        return served === undefined ? undefined : placeOf(served, this.#path(served));
      };
      this.#ticker = await startTicker({ clock: place('clock'), timer: place('timer') });
    }
    return {
      close: async () => {
        await this.#ticker?.stop();
        this.#ticker = undefined;
        device.end();
      },
    };
  }
}
