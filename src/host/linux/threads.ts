/**
 * Which thread is it that holds a lock, and does it still live?
 *
 * A thread is named by the system's thread ID (22 bits) and 8 bits of a hash of when it started and of the boot: a thread ID that was
 * given out again is told from its former bearer 255 times in 256. One that is not told apart looks alive until it ends, so that no lock
 * is ever taken from a living holder.
 */
import * as fs from 'node:fs';
import type { Threads } from '../../abi/sync.ts';

const ID_BITS = 22;
const ID_MASK = 2 ** ID_BITS - 1;

interface Stat {
  /** R running, S asleep, T stopped, Z ended and not yet reaped, and so on. */
  readonly state: string;
  readonly process: string;
  readonly started: string;
  /** As wait(2) tells it; of one that has ended. */
  readonly ending: number;
}

/** Undefined where there is no such thread, or this process may not see it. */
function statOf(thread: number): Stat | undefined {
  try {
    const line = fs.readFileSync(`/proc/${thread}/stat`, 'latin1');
    // The second field is a name in parentheses, with anything in it.
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    const status = fs.readFileSync(`/proc/${thread}/status`, 'latin1');
    return {
      state: fields[0] ?? '',
      started: fields[19] ?? '',
      ending: Number(fields[49] ?? 0),
      process: /^Tgid:\s*(\d+)/m.exec(status)?.[1] ?? '?',
    };
  } catch {
    return undefined;
  }
}

export function bootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return (sum ^ (sum >>> 15)) >>> 0;
}

export class LinuxThreads implements Threads {
  readonly self: number;
  readonly #boot: string = bootId();

  constructor() {
    // This very thread: "17/task/19".
    const own = Number(fs.readlinkSync('/proc/thread-self').split('/')[2]);
    this.self = this.#name(own, statOf(own)?.started ?? '');
  }

  #name(id: number, started: string): number {
    return (id & ID_MASK) | ((hash(`${this.#boot} ${started}`) & 255) << ID_BITS);
  }

  of(pid: number): number {
    const stat = statOf(pid);
    return stat === undefined ? 0 : this.#name(pid, stat.started);
  }

  lives(thread: number): boolean {
    if (thread === this.self) return true;
    const id = thread & ID_MASK;
    try {
      process.kill(id, 0);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    }
    const stat = statOf(id);
    // Hidden from us, or gone in between: the next look tells.
    if (stat === undefined) return true;
    return stat.state !== 'Z' && stat.state !== 'X' && this.#name(id, stat.started) === thread;
  }

  ending(thread: number): number | undefined {
    const id = thread & ID_MASK;
    const stat = statOf(id);
    return stat?.state === 'Z' && this.#name(id, stat.started) === thread ? stat.ending : undefined;
  }

  show(thread: number): string {
    const id = thread & ID_MASK;
    const stat = statOf(id);
    if (stat === undefined || this.#name(id, stat.started) !== thread) return `thread ${id}, which has ended`;
    const who = stat.process === String(id) ? `process ${id}` : `thread ${id} of process ${stat.process}`;
    return stat.state === 'T' || stat.state === 't' ? `${who}, which is stopped` : stat.state === 'Z' ? `${who}, which has ended` : who;
  }

  now(): number {
    return performance.now();
  }
}
