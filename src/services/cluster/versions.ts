/**
 * Versions of a progressive object, as its log in the engine (`versions.<id>`) has them. Anybody appends to it. A record is a message
 * (messages.ts): { format: 1, vector, hash, chunks }, and behind it the sections of the object and its parts, and of its merge code; or the
 * list of chunks that have them.
 *
 * A vector says for each node how many of its versions this one contains. Of two with the same vector, both contain the same; the one of the
 * greater hash is taken, by everybody.
 */
import { TwzError } from '../../abi/errors.ts';
import type { Host } from '../../host/host.ts';
import { hear, isRecord, say, textIn } from './messages.ts';
import { toHex } from './record.ts';

const FORMAT = 1;

export type Vector = ReadonlyMap<string, number>;

export interface Version {
  readonly vector: Vector;
  /** Of its sections: 32 hexadecimal digits. */
  readonly hash: string;
  readonly chunks: boolean;
  readonly body: Uint8Array;
}

/** Place of a version in the order of containing. */
export type Order = 'same' | 'before' | 'after' | 'apart';

export function compare(a: Vector, b: Vector): Order {
  let [less, more] = [false, false];
  for (const [node, count] of a) {
    const other = b.get(node) ?? 0;
    if (count > other) more = true;
    else if (count < other) less = true;
  }
  for (const [node, count] of b) if (count > 0 && !a.has(node)) less = true;
  if (less && more) return 'apart';
  if (less) return 'before';
  return more ? 'after' : 'same';
}

export function joined(a: Vector, b: Vector): Vector {
  const both = new Map(a);
  for (const [node, count] of b) both.set(node, Math.max(count, both.get(node) ?? 0));
  return both;
}

/** What both contain. */
export function common(a: Vector, b: Vector): Vector {
  const both = new Map<string, number>();
  for (const [node, count] of a) {
    const least = Math.min(count, b.get(node) ?? 0);
    if (least > 0) both.set(node, least);
  }
  return both;
}

export function raised(vector: Vector, node: string): Vector {
  return new Map(vector).set(node, (vector.get(node) ?? 0) + 1);
}

export function textOfVector(vector: Vector): string {
  return JSON.stringify(Object.fromEntries([...vector].sort(([a], [b]) => (a < b ? -1 : 1))));
}

export function vectorIn(told: unknown): Vector {
  const vector = new Map<string, number>();
  if (!isRecord(told)) throw new TwzError('EngineCorrupt', 'a version says nothing of what it contains');
  for (const [node, count] of Object.entries(told)) {
    if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0)
      throw new TwzError('EngineCorrupt', 'a version says nothing of what it contains');
    vector.set(node, count);
  }
  return vector;
}

export function hashOf(host: Host, bytes: Uint8Array): string {
  return toHex(host.sha256(bytes).subarray(0, 16));
}

export function encodeVersion({ vector, hash, chunks, body }: Version): Uint8Array {
  return say({ format: FORMAT, vector: Object.fromEntries(vector), hash, chunks }, body);
}

/** Throws EngineCorrupt. */
export function decodeVersion(host: Host, log: string, bytes: Uint8Array): Version {
  const { head, body } = hear(bytes);
  if (head['format'] !== FORMAT) throw new TwzError('EngineCorrupt', `a record of ${log} is no version`, { log });
  const hash = textIn(head, 'hash');
  const chunks = head['chunks'] === true;
  if (!chunks && hash !== hashOf(host, body)) throw new TwzError('EngineCorrupt', `a record of ${log} was altered`, { log });
  return { vector: vectorIn(head['vector']), hash, chunks, body };
}

/** Those that no other contains; of those that contain the same, the one of the greatest hash. By their hashes. */
export function headsOf(versions: readonly Version[]): Version[] {
  const heads: Version[] = [];
  for (const version of versions) {
    let counts = true;
    for (let i = 0; i < heads.length && counts;) {
      const head = heads[i] as Version;
      const order = compare(version.vector, head.vector);
      if (order === 'before' || (order === 'same' && version.hash <= head.hash)) counts = false;
      else if (order === 'apart') i++;
      else heads.splice(i, 1);
    }
    if (counts) heads.push(version);
  }
  return heads.sort((a, b) => (a.hash < b.hash ? -1 : 1));
}
