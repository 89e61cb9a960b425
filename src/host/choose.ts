/** Picks the best host that this machine has. Falling back says so in one line, through `notice`. */
import { isTwzError } from '../abi/errors.ts';
import type { Host } from './host.ts';
import { LinuxHost } from './linux/linux.ts';
import { PortableHost } from './portable/portable.ts';

let chosen: Host | undefined;

/** The linux host where mmap and koffi are to be had, else the portable one; `notice` then gets one line that says why. */
export function chooseHost(notice: (line: string) => void): Host {
  chosen ??= linuxHost(notice) ?? new PortableHost();
  return chosen;
}

function linuxHost(notice: (line: string) => void): Host | undefined {
  const consequence = 'objects are copied into memory, not mapped';
  if (process.platform !== 'linux') {
    notice(`twizzler: ${consequence}: ${process.platform} has no mmap host`);
    return undefined;
  }
  try {
    return new LinuxHost();
  } catch (error) {
    if (!isTwzError(error, 'HostUnavailable')) throw error;
    notice(`twizzler: ${consequence}: ${error.message}`);
    return undefined;
  }
}
