/** The control file, read by the format alone: two slots, the valid one with the higher generation holds. */
import { crc32c } from '../../abi/crc32c.ts';
import { TwzError } from '../../abi/errors.ts';
import { CONTROL, CONTROL_FORMAT, CONTROL_MAGIC } from '../../abi/log-format.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import type { Findings } from './findings.ts';

export interface ControlState {
  readonly generation: number;
  readonly space: ObjectId;
  readonly lsn: number;
  readonly chain: number;
  readonly segmentSize: number;
}

export const CONTROL_FILE = 'space.twz';
const SEGMENT_SIZE_MIN = 65536;

/** The whole file, or undefined where there is none. */
export function readWhole(host: Host, path: string, most = 2 ** 31): Uint8Array | undefined {
  let file;
  try {
    file = host.open(path, 'read');
  } catch (error) {
    if (error instanceof TwzError && error.name === 'FileMissing') return undefined;
    throw error;
  }
  try {
    const bytes = new Uint8Array(Math.min(most, host.length(file)));
    return bytes.subarray(0, host.read(file, bytes, 0));
  } finally {
    host.close(file);
  }
}

function readSlot(bytes: Uint8Array, slot: number): ControlState | 'damaged' | 'empty' | 'version' {
  const at = slot * CONTROL.slot;
  if (at + CONTROL.length > bytes.length) return 'damaged';
  const copy = bytes.slice(at, at + CONTROL.length);
  if (copy.every((byte) => byte === 0)) return 'empty';
  const dv = new DataView(copy.buffer);
  const u64 = (offset: number): number => dv.getUint32(offset, true) + dv.getUint32(offset + 4, true) * 2 ** 32;
  if (dv.getUint32(CONTROL.magic, true) !== CONTROL_MAGIC) return 'damaged';
  if (dv.getUint32(CONTROL.checksum, true) !== crc32c(new Int32Array(copy.buffer), 0, CONTROL.checksum / 4, 0)) return 'damaged';
  if (dv.getUint32(CONTROL.format, true) !== CONTROL_FORMAT) return 'version';
  const segmentSize = dv.getUint32(CONTROL.segmentSize, true);
  // Checksummed, and still not to be believed: these decide how much is read.
  if (segmentSize < SEGMENT_SIZE_MIN || segmentSize % 4096 !== 0 || !Number.isSafeInteger(u64(CONTROL.lsn))) return 'damaged';
  return {
    generation: u64(CONTROL.generation),
    space: readId(copy, CONTROL.space),
    lsn: u64(CONTROL.lsn),
    chain: dv.getUint32(CONTROL.chain, true),
    segmentSize,
  };
}

/** The state that holds, and findings about what does not. Undefined where no slot holds. */
export function readControl(host: Host, directory: string, findings: Findings): ControlState | undefined {
  const bytes = readWhole(host, `${directory}/${CONTROL_FILE}`, CONTROL.slot * 4);
  if (bytes === undefined) {
    findings.add('ControlMissing', 'there is no control file', { file: CONTROL_FILE });
    return undefined;
  }
  if (bytes.length !== CONTROL.slot * 2) {
    findings.add('ControlLength', `the file has ${bytes.length} bytes`, {
      file: CONTROL_FILE,
      at: bytes.length,
      expected: String(CONTROL.slot * 2),
    });
  }
  let best: ControlState | undefined;
  let damaged: number | undefined;
  let versions = 0;
  for (let slot = 0; slot < 2; slot++) {
    const state = readSlot(bytes, slot);
    if (state === 'damaged') damaged = slot;
    else if (state === 'version') versions++;
    else if (state !== 'empty' && (best === undefined || state.generation > best.generation)) best = state;
  }
  if (versions > 0)
    findings.add('ControlVersion', 'a slot has a newer format version', {
      file: CONTROL_FILE,
      at: CONTROL.format,
      expected: String(CONTROL_FORMAT),
    });
  else if (best === undefined)
    findings.add('ControlDamaged', 'neither slot has its magic number and checksum', { file: CONTROL_FILE, at: 0 });
  else if (damaged !== undefined)
    findings.add('ControlSlotDamaged', `slot ${damaged} fails its checksum`, { file: CONTROL_FILE, at: damaged * CONTROL.slot });
  return versions > 0 ? undefined : best;
}

/** Both slots with one state, the second one generation older. */
export function encodeControl(state: ControlState): Uint8Array {
  const bytes = new Uint8Array(CONTROL.slot * 2);
  for (let slot = 0; slot < 2; slot++) {
    const part = new Uint8Array(CONTROL.length);
    const dv = new DataView(part.buffer);
    const u64 = (offset: number, value: number): void => {
      dv.setUint32(offset, value % 2 ** 32, true);
      dv.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
    };
    dv.setUint32(CONTROL.magic, CONTROL_MAGIC, true);
    dv.setUint32(CONTROL.format, CONTROL_FORMAT, true);
    u64(CONTROL.generation, Math.max(1, state.generation - slot));
    writeId(part, CONTROL.space, state.space);
    u64(CONTROL.lsn, state.lsn);
    dv.setUint32(CONTROL.chain, state.chain, true);
    dv.setUint32(CONTROL.segmentSize, state.segmentSize, true);
    dv.setUint32(CONTROL.checksum, crc32c(new Int32Array(part.buffer), 0, CONTROL.checksum / 4, 0), true);
    bytes.set(part, slot * CONTROL.slot);
  }
  return bytes;
}
