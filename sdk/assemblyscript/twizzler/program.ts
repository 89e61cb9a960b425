/** The program itself: arguments, output, errors, its end. */
import * as sys from './syscalls';

export namespace Stream {
  export const input: u32 = 0;
  export const output: u32 = 1;
  export const errors: u32 = 2;
}

let code: i32 = 0;

/** Code of the error that a call of this library met last; 0 where there was none. `Errors` has names for them. */
export function lastError(): i32 {
  return code;
}

/** Is this result of a syscall an error? It is kept for `lastError` then. */
export function failed(result: i64): bool {
  // Pointers use all 64 bits, but for offsets that no object has.
  if (result >= 0 || result < -0xffff) return false;
  code = <i32>-result;
  return true;
}

/** What the last error of a syscall was, in words. */
export function errorText(): string {
  const length = sys.error(0, 0);
  if (length <= 0) return '';
  const text = new ArrayBuffer(<i32>length);
  sys.error(changetype<usize>(text), <u32>length);
  return String.UTF8.decode(text);
}

/** The result of a syscall, where it is none the program ends here, with the error's text and exit status 1. */
export function must(result: i64, what: string = ''): i64 {
  if (failed(result)) fail(what);
  return result;
}

/** What a call of this library gave, where it gave nothing the program ends here. */
export function mustBe<T>(value: T, what: string = ''): NonNullable<T> {
  if (changetype<usize>(value) == 0) fail(what);
  return changetype<NonNullable<T>>(value);
}

function fail(what: string): void {
  const why = errorText();
  printError(what.length == 0 ? why : why.length == 0 ? what : what + ': ' + why);
  sys.exit(1);
}

export function exit(status: i32): void {
  sys.exit(status);
}

function writeAll(stream: u32, text: string): void {
  const utf8 = String.UTF8.encode(text);
  const length = <u32>utf8.byteLength;
  let at: u32 = 0;
  while (at < length) {
    const taken = sys.write(stream, changetype<usize>(utf8) + at, length - at);
    if (taken <= 0) return;
    at += <u32>taken;
  }
}

/** Prints a line. */
export function print(line: string): void {
  writeAll(Stream.output, line + '\n');
}

export function printError(line: string): void {
  writeAll(Stream.errors, line + '\n');
}

/** Up to `capacity` bytes of input; none at its end. */
export function readInput(capacity: i32 = 4096): Uint8Array {
  const into = new Uint8Array(capacity);
  const length = sys.read(Stream.input, into.dataStart, <u32>capacity);
  return failed(length) ? new Uint8Array(0) : into.subarray(0, <i32>min(length, <i64>capacity));
}

export function argumentCount(): i32 {
  return <i32>max<i64>(sys.arguments(), 0);
}

/** One of the arguments that the program was given; empty where there is none. */
export function argument(index: i32): string {
  const length = sys.argument(index, 0, 0);
  if (failed(length) || length == 0) return '';
  const text = new ArrayBuffer(<i32>length);
  sys.argument(index, changetype<usize>(text), <u32>length);
  return String.UTF8.decode(text);
}

export function programArguments(): string[] {
  const all = new Array<string>(argumentCount());
  for (let i = 0; i < all.length; i++) all[i] = argument(i);
  return all;
}

/** Nanoseconds since some moment; never goes back. */
export function now(): i64 {
  return sys.clock(0);
}

/** Nanoseconds since 1970. */
export function time(): i64 {
  return sys.clock(1);
}

export function random(length: i32): Uint8Array {
  const bytes = new Uint8Array(length);
  sys.random(bytes.dataStart, <u32>length);
  return bytes;
}

// --- what the compiler and the runtime call --------------------------------------------------------------------------------------

export function twz_trace(message: string, count: i32 = 0, a: f64 = 0, b: f64 = 0, c: f64 = 0, d: f64 = 0, e: f64 = 0): void {
  let line = 'trace: ' + message;
  if (count > 0) line += ' ' + a.toString();
  if (count > 1) line += ' ' + b.toString();
  if (count > 2) line += ' ' + c.toString();
  if (count > 3) line += ' ' + d.toString();
  if (count > 4) line += ' ' + e.toString();
  printError(line);
}

/** What Math.random starts from. */
export function twz_seed(): f64 {
  const at = memory.data(8);
  sys.random(at, 8);
  return reinterpret<f64>((load<u64>(at) >> 12) | 0x3ff0000000000000);
}

const given = new Array<ArrayBuffer>();

/** Memory for what is given to a gate. The 32 that were asked for last are kept. */
export function twz_buffer(length: u32): usize {
  const buffer = new ArrayBuffer(<i32>length);
  given.push(buffer);
  if (given.length > 32) given.shift();
  return changetype<usize>(buffer);
}
