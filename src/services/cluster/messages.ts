/**
 * What nodes say to each other: a head of JSON, and bytes behind it.
 *
 *   0  length of the head (u32)   4  head (UTF-8)   then the body
 *
 * Each side judges the other's messages as hostile: what is not as expected is EngineCorrupt.
 */
import { ERRORS, TwzError, isTwzError, type ErrorName } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { Message } from './engine.ts';

export type Head = Readonly<Record<string, unknown>>;

export interface Said {
  readonly head: Head;
  readonly body: Uint8Array;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const NOTHING = new Uint8Array(0);

export function strange(reason: string): TwzError {
  return new TwzError('EngineCorrupt', `a message of another node: ${reason}`);
}

export function say(head: Head, body: Uint8Array = NOTHING): Uint8Array {
  const { message, body: room } = sayRoom(head, body.length);
  room.set(body);
  return message;
}

/** A message whose body is written to its place; in `spare`, where that is large enough. */
export function sayRoom(head: Head, length: number, spare?: Uint8Array): { readonly message: Uint8Array; readonly body: Uint8Array } {
  const text = encoder.encode(JSON.stringify(head));
  const all = 4 + text.length + length;
  const message = spare !== undefined && spare.length >= all ? spare.subarray(0, all) : new Uint8Array(all);
  new DataView(message.buffer, message.byteOffset).setUint32(0, text.length, true);
  message.set(text, 4);
  return { message, body: message.subarray(4 + text.length) };
}

/** The same message with another head of the same length. */
export function sayAgain(message: Uint8Array, head: Head): Uint8Array {
  message.set(encoder.encode(JSON.stringify(head)), 4);
  return message;
}

export function hear(bytes: Uint8Array): Said {
  if (bytes.length < 4) throw strange('it is cut off');
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  if (4 + length > bytes.length) throw strange('it is cut off');
  let head: unknown;
  try {
    head = JSON.parse(decoder.decode(bytes.subarray(4, 4 + length)));
  } catch (cause) {
    throw new TwzError('EngineCorrupt', 'a message of another node is no JSON', {}, cause);
  }
  if (!isRecord(head)) throw strange('its head is no object');
  return { head, body: bytes.subarray(4 + length) };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function textIn(head: Head, name: string): string {
  const value = head[name];
  if (typeof value !== 'string') throw strange(`"${name}" is no text`);
  return value;
}

export function numberIn(head: Head, name: string): number {
  const value = head[name];
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw strange(`"${name}" is no number`);
  return value;
}

export function idIn(head: Head, name: string): ObjectId {
  const value = head[name];
  if (typeof value !== 'string' || !isId(value)) throw strange(`"${name}" is no ID`);
  return parseId(value);
}

/** An error as it goes to another node. `head`: what else is said. */
export function sayError(error: unknown, head: Head = {}): Uint8Array {
  if (error instanceof TwzError) return say({ ...head, error: error.name, message: error.message, context: { ...error.context } });
  const message = error instanceof Error ? error.message : String(error);
  return say({ ...head, error: 'RunFailed', message, context: { error: error instanceof Error ? error.name : typeof error } });
}

/** Answers who asked, if somebody did. Where that cannot be, who asked learns nothing, and asks again or lets its deadline say so. */
export function answer({ reply }: Message, bytes: Uint8Array): void {
  try {
    reply?.(bytes);
  } catch (error) {
    if (!isTwzError(error)) throw error;
  }
}

/** What was heard, or the error that was. */
export function heard(bytes: Uint8Array): Said {
  const said = hear(bytes);
  const { error, message, context } = said.head;
  if (error === undefined) return said;
  throw new TwzError(isErrorName(error) ? error : 'RunFailed', String(message), contextOf(context));
}

/** What another thread of this process failed by, as what it was there. */
export function fromThread(error: unknown): unknown {
  if (!(error instanceof Error) || isTwzError(error) || !isErrorName(error.name)) return error;
  return new TwzError(error.name, error.message, contextOf('context' in error ? error.context : undefined), error);
}

function contextOf(context: unknown): Record<string, string | number | boolean> {
  const known: Record<string, string | number | boolean> = {};
  if (!isRecord(context)) return known;
  for (const [name, value] of Object.entries(context))
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') known[name] = value;
  return known;
}

function isErrorName(name: unknown): name is ErrorName {
  return typeof name === 'string' && Object.hasOwn(ERRORS, name);
}
