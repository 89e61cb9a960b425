/** The control file `space.twz`: which space this is, and where replay starts. Layout in abi/log-format.ts. */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError } from '../abi/errors.ts';
import { CONTROL, CONTROL_FORMAT, CONTROL_MAGIC } from '../abi/log-format.ts';
import type { File, Host } from '../host/host.ts';

export interface Control {
  readonly generation: number;
  /** 16 bytes. */
  readonly space: Uint8Array;
  readonly lsn: number;
  readonly chain: number;
  readonly segmentSize: number;
}

const CHECKED_WORDS = CONTROL.checksum >> 2;

export function encodeControl(control: Control): Uint8Array {
  const bytes = new Uint8Array(CONTROL.slot);
  const view = new DataView(bytes.buffer);
  view.setUint32(CONTROL.magic, CONTROL_MAGIC, true);
  view.setUint32(CONTROL.format, CONTROL_FORMAT, true);
  view.setBigUint64(CONTROL.generation, BigInt(control.generation), true);
  bytes.set(control.space, CONTROL.space);
  view.setBigUint64(CONTROL.lsn, BigInt(control.lsn), true);
  view.setUint32(CONTROL.chain, control.chain, true);
  view.setUint32(CONTROL.segmentSize, control.segmentSize, true);
  view.setUint32(CONTROL.checksum, crc32c(new Int32Array(bytes.buffer), 0, CHECKED_WORDS, 0), true);
  return bytes;
}

function decodeSlot(bytes: Uint8Array): Control | 'version' | undefined {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  if (view.getUint32(CONTROL.magic, true) !== CONTROL_MAGIC) return undefined;
  if (crc32c(new Int32Array(copy.buffer), 0, CHECKED_WORDS, 0) !== view.getUint32(CONTROL.checksum, true)) return undefined;
  if (view.getUint32(CONTROL.format, true) !== CONTROL_FORMAT) return 'version';
  return {
    generation: Number(view.getBigUint64(CONTROL.generation, true)),
    space: copy.slice(CONTROL.space, CONTROL.space + 16),
    lsn: Number(view.getBigUint64(CONTROL.lsn, true)),
    chain: view.getUint32(CONTROL.chain, true),
    segmentSize: view.getUint32(CONTROL.segmentSize, true),
  };
}

/** The newer valid slot. Throws SpaceCorrupt or SpaceVersion. */
export function readControl(host: Host, path: string): Control {
  const bytes = new Uint8Array(2 * CONTROL.slot);
  const file = host.open(path, 'read');
  try {
    host.read(file, bytes, 0);
  } finally {
    host.close(file);
  }
  let best: Control | undefined;
  for (const slot of [bytes.subarray(0, CONTROL.slot), bytes.subarray(CONTROL.slot)]) {
    const control = decodeSlot(slot);
    if (control === 'version') throw new TwzError('SpaceVersion', `${path} has a format that this build does not read`, { path });
    if (control !== undefined && (best === undefined || control.generation > best.generation)) best = control;
  }
  // Checksummed, and still not to be believed: these decide how much is read and allocated.
  if (best === undefined || best.segmentSize < 65536 || best.segmentSize % 4096 !== 0 || !Number.isSafeInteger(best.lsn)) {
    throw new TwzError('SpaceCorrupt', `${path} has no valid slot`, { path });
  }
  return best;
}

/** Writes the slot that does not hold the current generation, durably. */
export function writeControl(host: Host, file: File, control: Control): void {
  host.write(file, encodeControl(control), (control.generation % 2) * CONTROL.slot);
  host.sync(file);
}
