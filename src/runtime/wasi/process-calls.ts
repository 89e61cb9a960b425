/** Arguments, environment, clocks, chance, and the program's end. */
import { CLOCK, ERRNO, SIGNAL_MAX, type Errno } from './numbers.ts';
import { ProgramExit } from '../exit.ts';
import type { Program } from './program.ts';

function writeTexts(p: Program, texts: readonly Uint8Array[], pointers: number, buffer: number): Errno {
  const list = p.view(pointers, texts.length * 4, 'write');
  const bytes = p.bytes(buffer, sizeOf(texts), 'write');
  let at = 0;
  for (const [i, text] of texts.entries()) {
    list.setUint32(i * 4, buffer + at, true);
    bytes.set(text, at);
    at += text.length;
  }
  return ERRNO.success;
}

const sizeOf = (texts: readonly Uint8Array[]): number => texts.reduce((sum, text) => sum + text.length, 0);

function writeSizes(p: Program, texts: readonly Uint8Array[], count: number, size: number): Errno {
  const counts = p.view(count, 4, 'write');
  p.view(size, 4, 'write').setUint32(0, sizeOf(texts), true);
  counts.setUint32(0, texts.length, true);
  return ERRNO.success;
}

export const argsGet = (p: Program, pointers: number, buffer: number): Errno => writeTexts(p, p.args, pointers, buffer);
export const argsSizesGet = (p: Program, count: number, size: number): Errno => writeSizes(p, p.args, count, size);
export const environGet = (p: Program, pointers: number, buffer: number): Errno => writeTexts(p, p.env, pointers, buffer);
export const environSizesGet = (p: Program, count: number, size: number): Errno => writeSizes(p, p.env, count, size);

/** Nanoseconds by that clock; undefined where there is none. Time that the program has used is taken to be time that went by. */
export function timeBy(p: Program, clock: number): bigint | undefined {
  if (clock === CLOCK.realtime) return p.clock.realtime();
  if (clock === CLOCK.monotonic) return p.clock.monotonic();
  if (clock === CLOCK.processCpu || clock === CLOCK.threadCpu) return p.clock.monotonic() - p.began;
  return undefined;
}

export function clockResGet(p: Program, clock: number, out: number): Errno {
  if (clock > CLOCK.threadCpu) return ERRNO.inval;
  p.view(out, 8, 'write').setBigUint64(0, p.clock.resolution, true);
  return ERRNO.success;
}

export function clockTimeGet(p: Program, clock: number, _precision: bigint, out: number): Errno {
  const time = timeBy(p, clock);
  if (time === undefined) return ERRNO.inval;
  p.view(out, 8, 'write').setBigUint64(0, time, true);
  return ERRNO.success;
}

export function randomGet(p: Program, at: number, length: number): Errno {
  const into = p.bytes(at, length, 'write');
  const piece = new Uint8Array(Math.min(65536, length));
  for (let done = 0; done < length; done += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, length - done));
    p.random(part);
    into.set(part, done);
  }
  return ERRNO.success;
}

export function procExit(p: Program, code: number): never {
  p.exit = new ProgramExit(code);
  throw p.exit;
}

/** Nobody handles signals: one that is raised ends the program, as it does by default elsewhere. 0 asks whether it could be. */
export function procRaise(p: Program, signal: number): Errno {
  if (signal > SIGNAL_MAX) return ERRNO.inval;
  if (signal === 0) return ERRNO.success;
  p.exit = new ProgramExit(128 + signal);
  throw p.exit;
}

export const schedYield = (): Errno => ERRNO.success;
