/**
 * The redo log, byte for byte. docs/formats/log.md is the long form.
 *
 *   log/00000001.log      segment: header page, then frames up to the segment's size
 *   log/tail              the newest frames, mapped: they survive the death of the process before they reach a segment
 *
 *   segment               frame                            section (an object)               line
 *   0  magic              0  length (bytes, 8-aligned)     0  object ID (16)                 0  mask << 24 | line number
 *   4  format             4  checksum                      16 operation                      4  for each bit of the mask, from
 *   8  sequence number    8  LSN (u64)                     20 size of the object after          the lowest: the 8-byte word
 *   12 segment size       16 salt                          24 version after (u64)
 *   16 space ID (16)      20 flags                         32 number of lines
 *   32 checksum           24 sections                      36 zero
 *                         28 zero                          40 lines
 *                         32 sections
 *
 * Invariants:
 *  1. LSN = segment number x segment size + offset of the frame in its segment. LSNs only grow.
 *  2. A frame's checksum is the CRC-32C of its bytes from 8 to its end, seeded with the checksum of the frame before it. So a
 *     frame left behind by an earlier, lost history never continues a new one, whatever its LSN.
 *  3. The salt is drawn anew each time a space is opened, so that a retried transaction does not repeat a lost one's bytes.
 *  4. A frame lies in one segment. Where the next does not fit, the log goes on in the next segment.
 *  5. A transaction is the frames up to and including one with the COMMIT flag. Frames after the last COMMIT are void.
 */

import { LINE_WORDS } from './format.ts';

export const LOG_MAGIC = 0x4c5a5754; // "TWZL"
export const LOG_FORMAT = 1;
export const SEGMENT_HEADER = 4096;
export const SEGMENT = { magic: 0, format: 4, sequence: 8, size: 12, space: 16, checksum: 32 } as const;

export const FRAME = { length: 0, checksum: 4, lsn: 8, salt: 16, flags: 20, sections: 24, header: 32 } as const;
export const FRAME_COMMIT = 1;
export const FRAME_MAX = 1 << 20;

export const SECTION = { id: 0, operation: 16, size: 20, version: 24, lines: 32, header: 40 } as const;
export const OPERATION = { change: 1, create: 2, remove: 3, adopt: 4 } as const;

/** The index behind a section that begins at a word; past `end` where it is cut off. */
export function sectionEnd(words: Int32Array, section: number, end: number): number {
  let at = section + (SECTION.header >> 2);
  for (let left = words[section + (SECTION.lines >> 2)] as number; left > 0 && at <= end; left--) {
    let bits = (words[at++] as number) >>> 24;
    if (bits === 0) {
      const run = words[at++] as number;
      if (!(run > 0)) return end + 1;
      at += run * LINE_WORDS;
      left -= run - 1;
    }
    for (; bits !== 0; bits &= bits - 1) at += 2;
  }
  return at;
}

/** The version of its object that a section leads to. */
export function sectionVersion(words: Int32Array, section: number): number {
  const at = section + (SECTION.version >> 2);
  return ((words[at] as number) >>> 0) + (words[at + 1] as number) * 2 ** 32;
}

/** Which points of which backups were taken of this very directory. docs/formats/backup.md */
export const BACKUPS_FILE = 'backups.json';

/** The control file `space.twz`: two slots of 4096 bytes, written in turn; the valid one with the higher generation holds. */
export const CONTROL_MAGIC = 0x535a5754; // "TWZS"
export const CONTROL_FORMAT = 1;
export const CONTROL = {
  slot: 4096,
  magic: 0,
  format: 4,
  generation: 8, // u64
  space: 16, // 16
  lsn: 32, // u64: replay starts here
  chain: 40, // u32: checksum of the frame before that LSN
  segmentSize: 44, // u32
  checksum: 64,
  length: 68,
} as const;
