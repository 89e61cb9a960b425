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
