/** poll_oneoff: files and streams are always ready, so it waits for nothing but clocks. */
import { CLOCK, ERRNO, EVENT, RIGHTS, SUBCLOCK_ABSTIME, type Errno } from './numbers.ts';
import { timeBy } from './process-calls.ts';
import type { Program } from './program.ts';
import { errnoOf } from './refusal.ts';

const SUBSCRIPTIONS_MAX = 4096;
const EVENT_BYTES = 32;

interface Subscription {
  readonly userdata: bigint;
  readonly type: number;
  /** Nanoseconds by the monotonic clock; undefined for one that is ready now. */
  readonly due: bigint | undefined;
  readonly errno: Errno;
  readonly bytes: number;
}

function read(p: Program, view: DataView, at: number, now: bigint): Subscription {
  const userdata = view.getBigUint64(at, true);
  const type = view.getUint8(at + 8);
  const ready = (errno: Errno, bytes = 0): Subscription => ({ userdata, type, due: undefined, errno, bytes });
  if (type === EVENT.clock) {
    // `wasi_unstable` has an identifier before it.
    const clock = at + (p.older ? 24 : 16);
    const id = view.getUint32(clock, true);
    const timeout = view.getBigUint64(clock + 8, true);
    const time = timeBy(p, id);
    if (time === undefined || id > CLOCK.monotonic) return ready(ERRNO.inval);
    const absolute = (view.getUint16(clock + 24, true) & SUBCLOCK_ABSTIME) !== 0;
    return { userdata, type, due: now + (absolute ? timeout - time : timeout), errno: ERRNO.success, bytes: 0 };
  }
  if (type !== EVENT.fdRead && type !== EVENT.fdWrite) return ready(ERRNO.inval);
  try {
    const d = p.descriptor(view.getUint32(at + 16, true), RIGHTS.pollFdReadwrite);
    const left = d.kind === 'file' && type === EVENT.fdRead ? Math.max(0, d.file.size() - d.position) : 1;
    return ready(ERRNO.success, left);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return ready(errno);
  }
}

export function pollOneoff(p: Program, from: number, to: number, count: number, out: number): Errno {
  if (count === 0 || count > SUBSCRIPTIONS_MAX) return ERRNO.inval;
  const bytes = p.older ? 56 : 48;
  const given = p.view(from, count * bytes, 'read');
  p.view(to, count * EVENT_BYTES, 'write');
  p.view(out, 4, 'write');
  const began = p.clock.monotonic();
  const all = Array.from({ length: count }, (_, i) => read(p, given, i * bytes, began));
  for (;;) {
    const now = p.clock.monotonic();
    const ready = all.filter(({ due }) => due === undefined || due <= now);
    if (ready.length > 0) return report(p, ready, to, out);
    // All of them are in the future, or some would be ready.
    const first = all.reduce((least, { due = now }) => (least < due ? least : due), all[0]?.due ?? now);
    p.clock.pause(first - now);
  }
}

function report(p: Program, ready: readonly Subscription[], to: number, out: number): Errno {
  const view = p.view(to, ready.length * EVENT_BYTES, 'write');
  for (const [i, { userdata, type, errno, bytes }] of ready.entries()) {
    const at = i * EVENT_BYTES;
    view.setBigUint64(at, userdata, true);
    view.setBigUint64(at + 8, BigInt(errno) | (BigInt(type) << 16n), true);
    view.setBigUint64(at + 16, BigInt(bytes), true);
    view.setBigUint64(at + 24, 0n, true);
  }
  p.view(out, 4, 'write').setUint32(0, ready.length, true);
  return ERRNO.success;
}
