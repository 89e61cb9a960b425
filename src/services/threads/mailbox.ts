/**
 * The mailbox in a control object: a ring, many to one. Where nothing else is said its records are messages: bytes, references, or values that
 * can be cloned. A reference in a message is not counted: who sends it keeps the object until it has arrived.
 */
import { TwzError } from '../../abi/errors.ts';
import { parseId } from '../../abi/id.ts';
import { deserialize, serialize } from '../../host/node-values.ts';
import { Obj } from '../../lib/object.ts';
import { isAccessor } from '../../lib/runtime.ts';
import { variableBytes, type RecordType } from '../../lib/rings/records.ts';
import type { RingOptions } from '../../lib/rings/ring.ts';
import type { Space } from '../../space.ts';
import type { Control } from './control.ts';

export interface MailboxOptions {
  /** What its records are, where they are no messages: `fixedBytes(n)`, `structRecord(Type)` and so on. */
  readonly record?: RecordType<unknown, never>;
  /** Bytes of the longest message (1023 by default). */
  readonly longest?: number;
  /** How many records have room (32 by default). */
  readonly records?: number;
}

const LONGEST = 1023;
const RECORDS = 32;
/** Where a ring says how long its records are. */
const RECORD_SIZE_AT = 16;
const KIND = { bytes: 0, reference: 1, value: 2 } as const;

export function messageRecord(longest: number): RecordType<Uint8Array> {
  return variableBytes(longest + 1);
}

/** The longest message that a mailbox takes: its records have a byte more. */
export function longestOf(control: Control): number {
  return control.words.dv.getUint32(control.get('mailbox') + RECORD_SIZE_AT, true) - 1;
}

export function mailboxRing({ record, longest = LONGEST, records = RECORDS }: MailboxOptions): RingOptions<unknown, never> {
  return { kind: 'mpsc', record: record ?? messageRecord(longest), records };
}

function tagged(kind: number, bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(bytes.length + 1);
  message[0] = kind;
  message.set(bytes, 1);
  return message;
}

/** An object, or an accessor of its root, goes as a reference. Throws WrongSpace, ValueMismatch. */
export function encodeMessage(space: Space, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return tagged(KIND.bytes, value);
  if (!(value instanceof Obj || isAccessor(value))) return tagged(KIND.value, serialize(value));
  const object = space.object(value);
  if (isAccessor(value) && value.$o !== object.rootOffset)
    throw new TwzError('ValueMismatch', 'a reference in a message leads to an object: send its root, or put the place into the object', {
      id: object.id,
    });
  return tagged(KIND.reference, new TextEncoder().encode(object.id));
}

/** Bytes, the object, or the value. Throws what opening the object throws. */
export function decodeMessage(space: Space, message: Uint8Array): unknown {
  const bytes = message.subarray(1);
  if (message[0] === KIND.bytes) return bytes;
  if (message[0] === KIND.value) return deserialize(bytes);
  space.refresh();
  return space.object(parseId(new TextDecoder().decode(bytes)));
}
