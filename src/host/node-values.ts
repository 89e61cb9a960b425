/** Values as bytes, the way Node clones them. */
import * as v8 from 'node:v8';
import { TwzError } from '../abi/errors.ts';

/** The bytes of a value that can be cloned: no functions, no handles. Throws ValueMismatch. */
export function serialize(value: unknown): Uint8Array {
  try {
    return v8.serialize(value);
  } catch (cause) {
    throw new TwzError('ValueMismatch', cause instanceof Error ? cause.message : 'the value cannot be cloned', {}, cause);
  }
}

/** Throws QueueInvalid for bytes that are no value. */
export function deserialize(bytes: Uint8Array): unknown {
  try {
    return v8.deserialize(bytes);
  } catch (cause) {
    throw new TwzError('QueueInvalid', `a message of ${bytes.length} bytes is no value`, { length: bytes.length }, cause);
  }
}

/** A time in milliseconds since 1970, as ISO 8601 writes it. */
export function textOfTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}

/** Seconds that this machine's local time is ahead of UTC at a time, in seconds since 1970. */
export function zoneAt(seconds: number): number {
  return new Date(seconds * 1000).getTimezoneOffset() * -60;
}
