/**
 * node dist/bench/engine.js [--durable] [--rounds N]
 *
 * What the engine's adapter costs above the client that it is made of: the same calls on the same server, in turns. A program of its own, since
 * it needs a nats-server (scripts/nats-server). A figure of single calls is the median of a round, since a server is a process of its own.
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import type { Engine } from '../src/services/cluster/engine.ts';
import { connectNats } from '../src/services/cluster/nats.ts';
import { startServer, type ServerOptions } from '../src/services/cluster/server.ts';
import { compare, concurrently, median, type Context, type Result, type Side } from './harness.ts';
import { table } from './report.ts';

const MS = 30_000;
const SPACE = 'bench';
const CHUNK = 512 * 1024;
const RECORD = new Uint8Array(200).fill(1);

/** Microseconds of a call, one at a time. */
function single(name: string, count: number, call: () => Promise<unknown>): Side {
  const measure = async (): Promise<number> => {
    const took: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await call();
      took.push((performance.now() - start) * 1000);
    }
    return median(took);
  };
  return { name, measure };
}

/** Megabytes a second, four at a time. Each round has names of its own. */
function chunks(name: string, count: number, call: (chunk: string) => Promise<unknown>): Side {
  let round = 0;
  const measure = async (): Promise<number> => {
    round++;
    const start = performance.now();
    await concurrently(count, 4, (i) => call(`${round}-${i}`));
    return (count * CHUNK) / 1000 / (performance.now() - start);
  };
  return { name, measure };
}

async function requests(context: Context, engine: Engine, client: NatsConnection, servant: NatsConnection): Promise<void> {
  const count = context.size(2000, 20);
  engine.subscribe('echo', ({ bytes, reply }) => reply?.(bytes));
  servant.subscribe('echo', { callback: (_error, message) => void message.respond(message.data) });
  await engine.flush(MS);
  await servant.flush();
  await compare(context, 'engine', {
    name: 'request and answer, 200 bytes',
    unit: 'us',
    better: 'lower',
    ours: single('request', count, () => engine.request('echo', RECORD, MS)),
    peers: [{ side: single('the client', count, () => client.request('echo', RECORD, { timeout: MS })), target: 1.05 }],
  });
}

async function appends(context: Context, engine: Engine, client: NatsConnection): Promise<void> {
  const count = context.size(2000, 20);
  let ours = 0;
  let theirs = 0;
  const append = async (): Promise<void> => {
    const appended = await engine.append({ log: 'ours', bytes: RECORD, expected: ours }, MS);
    if (appended.kind !== 'done') throw new Error(appended.kind);
    ours = appended.seq;
  };
  const publish = async (): Promise<void> => {
    const expected = headers();
    expected.set('Nats-Expected-Last-Subject-Sequence', String(theirs));
    theirs = (await client.request(`${SPACE}.log.theirs`, RECORD, { timeout: MS, headers: expected })).json<{ seq: number }>().seq;
  };
  await compare(context, 'engine', {
    name: 'append by compare-and-set, 200 bytes',
    unit: 'us',
    better: 'lower',
    ours: single('append', count, append),
    peers: [{ side: single('the client', count, publish), target: 1.05 }],
  });
}

async function transfers(context: Context, engine: Engine, client: NatsConnection): Promise<void> {
  const count = context.size(64, 2);
  const bytes = new Uint8Array(CHUNK).map((_, i) => i * 31);
  const put = async (chunk: string): Promise<void> => {
    const answer = (await client.request(`${SPACE}.chunk.theirs-${chunk}`, bytes, { timeout: MS })).json<{ error?: unknown }>();
    if (answer.error !== undefined) throw new Error(JSON.stringify(answer.error));
  };
  await compare(context, 'engine', {
    name: 'chunks of 512 KiB put',
    unit: 'MB/s',
    better: 'higher',
    ours: chunks('putChunk', count, (chunk) => engine.putChunk(`ours-${chunk}`, bytes, MS)),
    peers: [{ side: chunks('the client', count, put), target: 0.6 }],
  });
  const got = (length: number | undefined): void => {
    if (length !== CHUNK) throw new Error(`${length} bytes`);
  };
  const direct = `$JS.API.DIRECT.GET.${SPACE}-chunk.${SPACE}.chunk`;
  await compare(context, 'engine', {
    name: 'chunks of 512 KiB got',
    unit: 'MB/s',
    better: 'higher',
    ours: chunks('getChunk', count, async (chunk) => got((await engine.getChunk(`ours-1-${chunk.split('-')[1]}`, MS))?.length)),
    peers: [
      {
        side: chunks('the client', count, async (chunk) =>
          got((await client.request(`${direct}.theirs-1-${chunk.split('-')[1]}`, new Uint8Array(0), { timeout: MS })).data.length),
        ),
        target: 0.6,
      },
    ],
  });
}

export async function measureEngine(quick: boolean, rounds: number, options: ServerOptions): Promise<Result[]> {
  const results: Result[] = [];
  const context: Context = {
    quick,
    rounds,
    directory: '',
    size: (full, tiny) => (quick ? tiny : full),
    progress: () => undefined,
    report: (result) => results.push(result),
  };
  const server = await startServer(options);
  const [client, servant] = await Promise.all([connect({ servers: server.url }), connect({ servers: server.url })]);
  const engine = await connectNats({ servers: [server.url], space: SPACE });
  try {
    await requests(context, engine, client, servant);
    await appends(context, engine, client);
    await transfers(context, engine, client);
  } finally {
    await Promise.all([engine.close(), client.close(), servant.close()]);
    await server.stop();
  }
  return results;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values } = parseArgs({ options: { durable: { type: 'boolean', default: false }, rounds: { type: 'string', default: '7' } } });
  const binary = process.env['NATS_SERVER'];
  const options = { durable: values.durable, ...(binary === undefined ? {} : { binary }) };
  console.log(table(await measureEngine(false, Number(values.rounds), options)));
}
