/**
 * Starts the drivers of a space's devices, and ends them. The objects are made in one transaction and laid out; then another one names
 * them, and they are there.
 *
 * Invariants:
 *  1. A device that has a name is laid out. Its status is `ready` while its driver serves it, and says who that is.
 *  2. One driver serves a tree of devices. Who finds a tree whose driver is dead takes it away, and puts its own there.
 */
import { CLASS, HEAD, PART } from '../../abi/device-format.ts';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { writeId } from '../../abi/id.ts';
import type { ConsoleStreams } from '../../host/console-streams.ts';
import { DeviceHead } from '../../lib/devices/head.ts';
import type { Space } from '../../space.ts';
import { DEVICES, SYSTEM, findDevice } from './open.ts';
import { Served, type DevicePlan, type Driver } from './served.ts';

export interface ClockOptions {
  /** How often the clock is set, in milliseconds; 1 by default. */
  readonly resolution?: number;
}

export interface TimerDeviceOptions {
  /** How many timers there are at a time; 256 by default. */
  readonly timers?: number;
}

export interface NetworkOptions {
  /** How many sockets there are at a time; 64 by default. */
  readonly sockets?: number;
  /** What can be reached, and listened at: this machine alone by default. */
  readonly addresses?: 'loopback' | 'all';
}

export interface BlockOptions {
  readonly file: string;
  /** Bytes. The file is made, or made longer, where it is shorter; by default it is as long as it is. */
  readonly size?: number;
  /** 512 (the default) to 4096 bytes. */
  readonly sectorSize?: number;
  readonly readOnly?: boolean;
  /** How many requests are under way at a time; 64 by default. */
  readonly requests?: number;
}

export interface DeviceOptions {
  /** The program's own input and output, or other streams. */
  readonly console?: boolean | ConsoleStreams;
  readonly clock?: boolean | ClockOptions;
  readonly timer?: boolean | TimerDeviceOptions;
  readonly entropy?: boolean;
  /** TCP and UDP. */
  readonly network?: boolean | NetworkOptions;
  /** Files as block devices, by the device's name. */
  readonly blocks?: Readonly<Record<string, BlockOptions>>;
  /** The namespace that the devices are in; `/devices` by default. */
  readonly at?: string;
}

/** A device to be: what it takes, and who drives it. */
export interface Wanted {
  readonly plan: DevicePlan;
  begin(device: Served): Driver | Promise<Driver>;
}

const settings = <T extends object>(given: boolean | T | undefined): T | undefined =>
  given === undefined || given === false ? undefined : given === true ? ({} as T) : given;

/** The devices that were asked for. What drives them is loaded here, and only where it is asked for. */
async function wantedOf(space: Space, at: string, options: DeviceOptions): Promise<Wanted[]> {
  const wanted: Wanted[] = [];
  const add = (name: string, of: DevicePlan['class'], bytes: number, begin: Wanted['begin']): void => {
    wanted.push({ plan: { name, class: of, number: wanted.length, bytes }, begin });
  };
  const streams = settings(options.console);
  if (streams !== undefined) {
    const { CONSOLE_BYTES, ConsoleDriver } = await import('./console.ts');
    add('console', 'console', CONSOLE_BYTES, (device) => new ConsoleDriver(device, streams));
  }
  const clock = settings(options.clock);
  const timer = settings(options.timer);
  if (clock !== undefined || timer !== undefined) {
    const { ClockBuilder } = await import('./clock.ts');
    const builder = new ClockBuilder(clock, timer, ({ object }) => space.kernel.path(object.id));
    for (const part of builder.devices) add(part.name, part.of, part.bytes, (device) => part.begin(device));
  }
  if (options.entropy === true) {
    const { ENTROPY_BYTES, EntropyDriver } = await import('./entropy.ts');
    add('entropy', 'entropy', ENTROPY_BYTES, (device) => new EntropyDriver(device));
  }
  const network = settings(options.network);
  if (network !== undefined) {
    const { NetworkDriver, networkBytes } = await import('./network.ts');
    const { sockets = 64, addresses = 'loopback' } = network;
    demandCount(sockets, 'sockets');
    add(
      'network',
      'network',
      networkBytes(sockets),
      (device) => new NetworkDriver(device, space, `${at}/${SOCKETS}`, sockets, addresses === 'all'),
    );
  }
  for (const [name, block] of Object.entries(options.blocks ?? {})) {
    const { BlockDriver, blockBytes } = await import('./block.ts');
    const { requests = 64 } = block;
    if (!/^[^/]+$/.test(name) || name === SYSTEM || name === SOCKETS)
      throw new TwzError('InvalidArgument', `"${name}" is no name for a block device`, { name });
    demandCount(requests, 'requests');
    add(name, 'block', blockBytes(requests), (device) => BlockDriver.start(device, space, requests, block));
  }
  return wanted;
}

/** The namespace of the objects of sockets. */
const SOCKETS = 'sockets';
const COUNT_MAX = 4096;

function demandCount(count: number, what: string): void {
  if (!(Number.isInteger(count) && count >= 1 && count <= COUNT_MAX))
    throw new TwzError('OutOfRange', `${count} ${what}; expected 1 to ${COUNT_MAX}`, { count });
}

/** Devices that this thread drives. */
export class Devices {
  readonly #space: Space;
  readonly #at: string;
  readonly #bus: Served;
  readonly #devices: readonly Served[];
  readonly #drivers: readonly Driver[];
  #closing: Promise<void> | undefined;

  constructor(space: Space, at: string, bus: Served, served: readonly Served[], drivers: readonly Driver[]) {
    this.#space = space;
    this.#at = at;
    this.#bus = bus;
    this.#devices = served;
    this.#drivers = drivers;
    // Until the devices are closed, or the space is.
    void bus.run(() => bus.idle()).then(() => (this.#closing === undefined ? this.close() : undefined));
  }

  /** Names of the devices. */
  get names(): string[] {
    return this.#devices.map(({ name }) => name);
  }

  /** Ends all devices: whoever waits for one is told, what it held is closed, and nothing is left of it. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#bus.end();
    await Promise.all(this.#drivers.map((driver) => driver.close()));
    if (!this.#space.closed) unname(this.#space, this.#at, this.#bus);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Takes the tree away, if it is still this one. */
function unname(space: Space, at: string, bus: Served): void {
  space.relaxed(() => {
    if (space.names.lookup(`${at}/${SYSTEM}`) === bus.object.id) space.names.remove(at, { recursive: true });
  });
}

/** Where somebody serves devices there: DeviceBusy. */
function demandVacant(space: Space, at: string): void {
  const there = findDevice(space, `${at}/${SYSTEM}`);
  if (there === undefined) return;
  try {
    const head = new DeviceHead(there.sync(), there.rootOffset, 'bus');
    if (head.status !== 'ready') return;
    const driver = head.words.threads.show(head.load(HEAD.driver));
    throw new TwzError('DeviceBusy', `the devices in ${at} are served by ${driver}`, { at });
  } catch (error) {
    if (!isTwzError(error, 'DeviceInvalid')) throw error;
  }
}

function layOutBus(bus: Served, devices: readonly Served[]): void {
  const { u8, dv, i32 } = bus.words;
  const table = bus.room(devices.length * PART.bytes);
  for (const [i, device] of devices.entries()) {
    const at = table + i * PART.bytes;
    writeId(u8, at + PART.id, device.object.id);
    dv.setUint32(at + PART.class, CLASS[device.class], true);
    dv.setUint32(at + PART.number, i, true);
  }
  Atomics.store(i32, (bus.at + HEAD.partsAt) >>> 2, table);
  Atomics.store(i32, (bus.at + HEAD.parts) >>> 2, devices.length);
}

/**
 * Starts devices, each as an object of the space that programs find by its name, `/devices/console` and so on. This thread drives them,
 * as its event loop comes to it, until `close`; clock and timers have a thread of their own. Throws DeviceBusy, InvalidArgument, and
 * NotSupported on a host that cannot share memory.
 */
export async function startDevices(space: Space, options: DeviceOptions): Promise<Devices> {
  const { host } = space.kernel;
  const { at = DEVICES } = options;
  if (!host.sharing || host.name !== 'linux')
    throw new TwzError('NotSupported', `devices need memory that processes share: not on the ${host.name} host`, { host: host.name });
  demandVacant(space, at);
  const wanted = await wantedOf(space, at, options);
  const plans: DevicePlan[] = [
    { name: SYSTEM, class: 'bus', number: 0, bytes: wanted.length * PART.bytes + 64 },
    ...wanted.map(({ plan }) => plan),
  ];
  // A page at least, so that what begins on a line of 64 in the root does so in the object.
  const objects = space.relaxed(() =>
    plans.map(({ bytes }) => space.createRaw(Math.max(4096, HEAD.bytes + bytes + 64), { kind: 'shared', counted: true })),
  );
  const served = objects.map((object, i) => new Served(object, host, plans[i] as DevicePlan));
  const [bus, ...parts] = served as [Served, ...Served[]];
  layOutBus(bus, parts);
  bus.ready();
  const drivers: Driver[] = [];
  try {
    for (const [i, device] of parts.entries()) drivers.push(await (wanted[i] as Wanted).begin(device));
    space.relaxed(() => {
      demandVacant(space, at);
      if (space.names.lookup(at) !== undefined) space.names.remove(at, { recursive: true });
      space.names.mkns(at);
      for (const device of served) space.names.set(`${at}/${device.name}`, device.object, { owns: true });
    });
  } catch (error) {
    bus.end();
    await Promise.all(drivers.map((driver) => driver.close()));
    if (!space.closed) space.relaxed(() => objects.forEach((object) => void space.delete(object)));
    throw error;
  }
  return new Devices(space, at, bus, parts, drivers);
}
