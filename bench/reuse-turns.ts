/**
 * A value that several processes read and write in turn: what one of them does when it is its turn. Ours is an object of the space; theirs is
 * JSON in a key of a NATS KV bucket, spoken to with the plain client: each read gets it, or a subscription keeps a copy.
 */
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { array, f64, parseId, struct, u32, type Space } from '../src/index.ts';
import type { Cluster } from '../src/services/cluster/cluster.ts';
import { nanoseconds } from './harness.ts';

const NUMBERS = 16;
export const Shared = struct('Shared', { count: u32, values: array(f64, NUMBERS) });

export type Manner = 'ours' | 'get' | 'watched';

export interface TurnsAsked {
  readonly manner: Manner;
  /** Of the object, or of the key. */
  readonly id: string;
  readonly writes: number;
  readonly reads: number;
}

export interface Turned {
  /** Microseconds. */
  readonly took: number;
  /** How often it was written to so far. */
  readonly count: number;
}

/** One who takes part. */
interface Party {
  write(): Promise<number>;
  read(): number | Promise<number>;
}

interface Value {
  readonly count: number;
  readonly values: readonly number[];
}

export const BUCKET = 'bench';
const MS = 30_000;
const subject = (key: string): string => `$KV.${BUCKET}.${key}`;

export async function makeBucket(client: NatsConnection): Promise<void> {
  const config = {
    name: `KV_${BUCKET}`,
    subjects: [`$KV.${BUCKET}.>`],
    storage: 'file',
    max_msgs_per_subject: 1,
    discard: 'new',
    allow_direct: true,
    allow_rollup_hdrs: true,
    deny_delete: true,
  };
  const answer = await client.request(`$JS.API.STREAM.CREATE.KV_${BUCKET}`, JSON.stringify(config), { timeout: MS });
  const { error } = answer.json<{ readonly error?: { readonly description: string } }>();
  if (error !== undefined) throw new Error(error.description);
}

export async function makeKey(client: NatsConnection, key: string): Promise<void> {
  const value: Value = { count: 0, values: Array.from({ length: NUMBERS }, (_, i) => i) };
  await client.request(subject(key), JSON.stringify(value), { timeout: MS });
}

const summed = (values: Iterable<number>): number => {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
};

function ourParty(space: Space, cluster: Cluster, id: string): Party {
  const shared = space.get(parseId(id), Shared);
  return {
    async write() {
      return cluster.commit(() => {
        const i = shared.count % NUMBERS;
        shared.values.set(i, (shared.values.get(i) ?? 0) + 1);
        return ++shared.count;
      });
    },
    read: () => summed(shared.values),
  };
}

async function keyParty(client: NatsConnection, key: string, watched: boolean): Promise<Party> {
  const get = async (): Promise<{ readonly value: Value; readonly seq: string }> => {
    const found = await client.request(`$JS.API.DIRECT.GET.KV_${BUCKET}.${subject(key)}`, undefined, { timeout: MS });
    return { value: found.json<Value>(), seq: found.headers?.get('Nats-Sequence') ?? '' };
  };
  let copy = (await get()).value;
  if (watched) client.subscribe(subject(key), { callback: (_error, message) => void (copy = message.json<Value>()) });
  await client.flush();
  return {
    async write() {
      for (;;) {
        const { value, seq } = await get();
        const values = [...value.values];
        const i = value.count % NUMBERS;
        values[i] = (values[i] ?? 0) + 1;
        const expected = headers();
        expected.set('Nats-Expected-Last-Subject-Sequence', seq);
        const next: Value = { count: value.count + 1, values };
        const done = await client.request(subject(key), JSON.stringify(next), { timeout: MS, headers: expected });
        // Somebody was first.
        if (done.json<{ readonly error?: unknown }>().error !== undefined) continue;
        copy = next;
        return next.count;
      }
    },
    read: watched ? () => summed(copy.values) : async () => summed((await get()).value.values),
  };
}

const parties = new Map<string, Promise<Party>>();
let client: Promise<NatsConnection> | undefined;

export async function turnsOf(space: Space, cluster: Cluster, server: string, { manner, id, writes, reads }: TurnsAsked): Promise<Turned> {
  const name = `${manner} ${id}`;
  let known = parties.get(name);
  if (known === undefined) {
    client ??= manner === 'ours' ? undefined : connect({ servers: server });
    known =
      client === undefined || manner === 'ours'
        ? Promise.resolve(ourParty(space, cluster, id))
        : keyParty(await client, id, manner === 'watched');
    parties.set(name, known);
  }
  const party = await known;
  const begun = nanoseconds();
  let count = 0;
  let sum = 0;
  for (let i = 0; i < writes; i++) count = await party.write();
  for (let i = 0; i < reads; i++) {
    const read = party.read();
    sum += typeof read === 'number' ? read : await read;
  }
  const took = (nanoseconds() - begun) / 1000;
  if (sum < 0) throw new Error('something was expected');
  return { took, count };
}

export async function endTurns(): Promise<void> {
  await (await client)?.close();
}
