/** Records with a request's number before them: 16 bytes (number, status, two free words), then the record, or the text of an error. */
import type { RecordType } from './records.ts';

const HEAD = 16;

export const STATUS = { done: 0, failed: 1, cancelled: 2 } as const;

export interface Tagged<T> {
  readonly id: number;
  readonly status: number;
  /** Undefined where the request was not done. */
  readonly value: T | undefined;
  /** Why it failed. */
  readonly text: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** As much of a text as `limit` bytes hold. */
function encoded(text: string, limit: number): Uint8Array {
  const bytes = encoder.encode(text);
  let end = Math.min(bytes.length, limit);
  // Not within a character.
  while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** `room`: bytes for the text of an error, 0 where there is none. */
export function tagged<T, I>(inner: RecordType<T, I>, room: number): RecordType<Tagged<T>, Tagged<I>> {
  const size = HEAD + Math.max(inner.size, room);
  return {
    name: `tagged ${inner.name}`,
    size,
    variable: inner.variable || room > 0,
    fingerprint: [inner.fingerprint[0] ^ 0x74616764, inner.fingerprint[1] ^ size],
    place(words) {
      const { dv, u8 } = words;
      const records = inner.place(words);
      const show = (at: number, length: number, value: (at: number, length: number) => T): Tagged<T> => {
        const status = dv.getUint32(at + 4, true);
        const done = status === STATUS.done;
        return {
          id: dv.getUint32(at, true),
          status,
          value: done ? value(at + HEAD, length - HEAD) : undefined,
          text: done ? '' : decoder.decode(u8.slice(at + HEAD, at + length)),
        };
      };
      return {
        measure: ({ status, value, text }) =>
          HEAD + (status === STATUS.done ? records.measure(value as I) : encoded(text, size - HEAD).length),
        write(at, { id, status, value, text }, length) {
          dv.setUint32(at, id, true);
          dv.setUint32(at + 4, status, true);
          if (status === STATUS.done) records.write(at + HEAD, value as I, length - HEAD);
          else u8.set(encoded(text, size - HEAD), at + HEAD);
        },
        read: (at, length) => show(at, length, (...of) => records.read(...of)),
        view: (at, length) => show(at, length, (...of) => records.view(...of)),
      };
    },
  };
}
