/**
 * Passing over WebAssembly's instructions: what follows each opcode. Those that are not listed here are refused, so that none slips by
 * that a later V8 may know.
 */
import { invalid, type Reader } from './bytes.ts';

export type Immediate =
  | 'none'
  | 'block'
  | 'index'
  | 'twoIndexes'
  | 'branches'
  | 'types'
  | 'memory'
  | 'number'
  | 'four'
  | 'eight'
  | 'memoryIndex'
  | 'heapType';

/** What follows the opcodes of one byte. */
const IMMEDIATES: (Immediate | undefined)[] = Array.from({ length: 256 });

function define(immediate: Immediate, from: number, to = from): void {
  for (let code = from; code <= to; code++) IMMEDIATES[code] = immediate;
}

define('none', 0x00, 0x01);
define('block', 0x02, 0x04);
define('none', 0x05);
define('none', 0x0b);
define('index', 0x0c, 0x0d);
define('branches', 0x0e);
define('none', 0x0f);
define('index', 0x10);
define('twoIndexes', 0x11);
define('index', 0x12);
define('twoIndexes', 0x13);
define('none', 0x1a, 0x1b);
define('types', 0x1c);
define('index', 0x20, 0x26);
define('memory', 0x28, 0x3e);
define('memoryIndex', 0x3f, 0x40);
define('number', 0x41, 0x42);
define('four', 0x43);
define('eight', 0x44);
define('none', 0x45, 0xc4);
define('heapType', 0xd0);
define('none', 0xd1);
define('index', 0xd2);

export const OPCODE = { loop: 0x03, end: 0x0b, call: 0x10, memorySize: 0x3f, memoryGrow: 0x40 } as const;
export const PREFIX = { bulk: 0xfc, vector: 0xfd, atomic: 0xfe } as const;

/** An access to memory: its alignment and its offset. */
export function skipMemory(reader: Reader): void {
  if ((reader.u32() & 0x40) !== 0) throw invalid('a second memory', reader.at);
  reader.u32();
}

/** Passes over what follows an opcode of one byte. */
export function skipImmediate(reader: Reader, code: number): void {
  switch (IMMEDIATES[code]) {
    case 'none':
      return;
    case 'block':
    case 'number':
    case 'heapType':
      reader.skipNumber();
      return;
    case 'index':
      reader.u32();
      return;
    case 'twoIndexes':
      reader.u32();
      reader.u32();
      return;
    case 'branches':
      for (let left = reader.u32() + 1; left > 0; left--) reader.u32();
      return;
    case 'types':
      for (let left = reader.u32(); left > 0; left--) reader.skipNumber();
      return;
    case 'memory':
      skipMemory(reader);
      return;
    case 'four':
      reader.skip(4);
      return;
    case 'eight':
      reader.skip(8);
      return;
    case 'memoryIndex':
      if (reader.u8() !== 0) throw invalid('a second memory', reader.at);
      return;
    case undefined:
      throw invalid(`instruction 0x${code.toString(16)} is not supported`, reader.at - 1);
  }
}

/** Passes over what follows 0xfd and the number of the instruction. */
export function skipVector(reader: Reader, code: number): void {
  if (code <= 11 || code === 92 || code === 93) skipMemory(reader);
  else if (code === 12 || code === 13) reader.skip(16);
  else if (code >= 21 && code <= 34) reader.skip(1);
  else if (code >= 84 && code <= 91) {
    skipMemory(reader);
    reader.skip(1);
  } else if (code > 0x113) throw invalid(`vector instruction ${code} is not supported`, reader.at);
}

/** Of the bulk instructions those that only tables and conversions see: how many indexes follow. Undefined: one of memory, or none. */
export function bulkIndexes(code: number): number | undefined {
  if (code <= 7) return 0;
  if (code === 12 || code === 14) return 2;
  if (code === 9 || code === 13 || (code >= 15 && code <= 17)) return 1;
  return undefined;
}
