/** Finds devices by the names of the space, and opens them as programs use them. */
import type { DeviceClass, DeviceStatus } from '../../abi/device-format.ts';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { ClockDevice, TimerDevice } from '../../lib/devices/clock.ts';
import { ConsoleDevice } from '../../lib/devices/console.ts';
import { EntropyDevice } from '../../lib/devices/entropy.ts';
import { BlockDevice } from '../../lib/devices/block.ts';
import { NetworkDevice } from '../../lib/devices/network.ts';
import { DeviceHead } from '../../lib/devices/head.ts';
import type { Obj } from '../../lib/object.ts';
import type { Space } from '../../space.ts';

export const DEVICES = '/devices';
/** The root of the tree: the bus that the devices are on. */
export const SYSTEM = 'system';

export interface DeviceEntry {
  readonly path: string;
  readonly name: string;
  readonly class: DeviceClass;
  readonly number: number;
  readonly id: ObjectId;
  readonly status: DeviceStatus;
}

/** A class's device, as a program uses it. */
export interface DeviceClasses {
  readonly console: ConsoleDevice;
  readonly clock: ClockDevice;
  readonly timer: TimerDevice;
  readonly entropy: EntropyDevice;
  readonly network: NetworkDevice;
  readonly block: BlockDevice;
}

type Openers = { readonly [C in keyof DeviceClasses]: (head: DeviceHead, space: Space) => DeviceClasses[C] };

const OPENERS: Openers = {
  console: (head) => new ConsoleDevice(head),
  clock: (head) => new ClockDevice(head),
  timer: (head) => new TimerDevice(head),
  entropy: (head) => new EntropyDevice(head),
  network: (head, space) =>
    new NetworkDevice(head, (id) => {
      space.refresh();
      return headOf(space.object(id), 'socket');
    }),
  block: (head) => new BlockDevice(head),
};

function headOf(object: Obj, expected?: DeviceClass): DeviceHead {
  if (object.kind !== 'shared') throw new TwzError('DeviceInvalid', `object ${object.id} is ${object.kind}: no device`, { id: object.id });
  return new DeviceHead(object.sync(), object.rootOffset, expected);
}

/** The object of that name; undefined where it is gone, as in a space that was restored from a backup: shared objects are in none. */
export function findDevice(space: Space, path: string): Obj | undefined {
  try {
    return space.names.find(path);
  } catch (error) {
    if (isTwzError(error, 'ObjectMissing') || isTwzError(error, 'ObjectDeleted')) return undefined;
    throw error;
  }
}

/** The devices of a space, in the order of their bus. None where nobody has started any. Throws DeviceInvalid. */
export function devices(space: Space, at: string = DEVICES): DeviceEntry[] {
  space.refresh();
  const bus = findDevice(space, `${at}/${SYSTEM}`);
  if (bus === undefined) return [];
  return headOf(bus, 'bus')
    .parts()
    .map(({ id }) => {
      const head = headOf(space.object(id));
      return { path: `${at}/${head.name}`, name: head.name, class: head.class, number: head.number, id, status: head.status };
    });
}

/**
 * Opens a device: by its class, which is its name where nothing else is said, or by its path. Throws DeviceMissing, DeviceInvalid, and
 * DeviceGone where its driver has ended.
 */
export function openDevice<C extends keyof DeviceClasses>(space: Space, of: C, path: string = `${DEVICES}/${of}`): DeviceClasses[C] {
  space.refresh();
  const object = findDevice(space, path);
  if (object === undefined) throw new TwzError('DeviceMissing', `there is no device ${path}`, { path });
  return OPENERS[of](headOf(object, of), space);
}
