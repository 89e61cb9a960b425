/** How the peers of the rendezvous walk: each connects to what runs already, by a port that may have a delay before it. */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect as openSocket } from 'node:net';
import { connect } from '@nats-io/transport-node';
import { POSTGRES_USER } from './daemons.ts';
import type { Absent } from './harness.ts';
import {
  capnWeb,
  grpc,
  ioredis,
  pg,
  undici,
  webSockets,
  type PgClient,
  type PromisedCursor,
  type RedisClient,
  type RemoteCursor,
  type RemoteRing,
} from './network-peers.ts';
import { betterSqlite3, isAbsent } from './peers.ts';
import { decodePair, encodePair, type Ring, type Walk, type Walked } from './rendezvous-ring.ts';
import { GRPC_NEXT, GRPC_STREAM, GRPC_WALK, NATS_SUBJECT } from './rendezvous-server.ts';

/** Ports of this machine, those of what is there. */
export interface Places {
  readonly http: number;
  readonly echo: number;
  readonly grpc: number | undefined;
  readonly redis: number | Absent;
  readonly postgres: number | Absent;
  readonly nats: number | Absent;
}

export interface Connected {
  readonly walk: Walk | Probe;
  close(): unknown;
}

/** Does what each walk must do at the least, and walks nowhere. */
export type Probe = () => Promise<undefined>;

export interface Walker {
  readonly name: string;
  readonly note?: string;
  /** A round trip a hop, or work that grows with the hops in such a way that a longer walk is not worth waiting for. */
  readonly scaledFrom?: 'round trips' | number;
  /** No rival: what there is without us. */
  readonly reference?: true;
  connect(places: Places, through: (port: number) => Promise<number>): Promise<Connected | Absent>;
}

/** A walk that asks for each node. */
function hopByHop(next: (at: number) => Promise<readonly [number, number]>): Walk {
  return async (start, hops) => {
    let at = start;
    let sum = 0;
    for (let i = 0; i < hops; i++) {
      const [to, value] = await next(at);
      sum += value;
      at = to;
    }
    return { at, sum };
  };
}

const absent = (name: string, why = 'not installed: npm run bench:peers'): Absent => ({ name, absent: why });

// --- gRPC ---

async function grpcClient(places: Places, through: (port: number) => Promise<number>) {
  const library = grpc();
  if (isAbsent(library) || places.grpc === undefined) return undefined;
  return new library.Client(`127.0.0.1:${await through(places.grpc)}`, library.credentials.createInsecure());
}

/** As the generated stubs do it: a promise around the callback. */
function grpcCalls(name: string, path: string, walker: (call: (a: number, b: number) => Promise<readonly [number, number]>) => Walk) {
  return async (places: Places, through: (port: number) => Promise<number>): Promise<Connected | Absent> => {
    const client = await grpcClient(places, through);
    if (client === undefined) return absent(name);
    const call = (a: number, b: number): Promise<readonly [number, number]> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, encodePair, decodePair, [a, b], (error, pair) => {
          if (pair === undefined) reject(error ?? new Error('no answer'));
          else resolve(pair);
        });
      });
    return { walk: walker(call), close: () => client.close() };
  };
}

const grpcCall: Walker = {
  name: 'gRPC, a call a hop',
  scaledFrom: 'round trips',
  connect: grpcCalls('gRPC, a call a hop', GRPC_NEXT, (call) => hopByHop((at) => call(at, 0))),
};

const grpcMade: Walker = {
  name: 'gRPC, a method made for the walk',
  note: 'a method that somebody wrote and deployed at the server for this walk',
  reference: true,
  connect: grpcCalls('gRPC, a method made for the walk', GRPC_WALK, (call) => async (start, hops) => {
    const [at, sum] = await call(start, hops);
    return { at, sum };
  }),
};

const grpcStream: Walker = {
  name: 'gRPC, a message a hop',
  note: 'one stream in both directions, kept open',
  scaledFrom: 'round trips',
  async connect(places, through) {
    const client = await grpcClient(places, through);
    if (client === undefined) return absent(this.name);
    const stream = client.makeBidiStreamRequest(GRPC_STREAM, encodePair, decodePair);
    const waiting: { resolve: (pair: readonly [number, number]) => void; reject: (error: Error) => void }[] = [];
    let closed = false;
    stream.on('data', (pair) => waiting.shift()?.resolve(pair));
    stream.on('error', (error) => {
      if (!closed) for (const { reject } of waiting.splice(0)) reject(error);
    });
    const next = (at: number): Promise<readonly [number, number]> =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        stream.write([at, 0]);
      });
    return {
      walk: hopByHop(next),
      close() {
        closed = true;
        stream.cancel();
        client.close();
      },
    };
  },
};

// --- HTTP ---

function pairOf(answer: unknown): readonly [number, number] {
  if (!Array.isArray(answer) || answer.length !== 2) throw new Error('not a pair');
  return [Number(answer[0]), Number(answer[1])];
}

function walkedOf(answer: unknown): Walked {
  if (typeof answer !== 'object' || answer === null || !('at' in answer) || !('sum' in answer)) throw new Error('not the end of a walk');
  return { at: Number(answer.at), sum: Number(answer.sum) };
}

function getJson(agent: Agent, port: number, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(JSON.parse(text)));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

const keptAlive = (): Agent => new Agent({ keepAlive: true, maxSockets: 1 });

const http: Walker = {
  name: 'HTTP (node:http), a request a hop',
  note: 'HTTP: connections are kept alive, nodes are JSON',
  scaledFrom: 'round trips',
  async connect(places, through) {
    const [agent, port] = [keptAlive(), await through(places.http)];
    return { walk: hopByHop(async (at) => pairOf(await getJson(agent, port, `/node/${at}`))), close: () => agent.destroy() };
  },
};

const httpUndici: Walker = {
  name: 'HTTP (undici), a request a hop',
  scaledFrom: 'round trips',
  async connect(places, through) {
    const library = undici();
    if (isAbsent(library)) return absent(this.name);
    const client = new library.Client(`http://127.0.0.1:${await through(places.http)}`);
    const next = async (at: number) => pairOf(await (await client.request({ path: `/node/${at}`, method: 'GET' })).body.json());
    return { walk: hopByHop(next), close: () => client.close() };
  },
};

const sqlite: Walker = {
  name: 'SQLite in a server, one query',
  note: 'SQLite: better-sqlite3 in memory, WITH RECURSIVE over its primary key, prepared, behind one HTTP request',
  async connect(places, through) {
    const library = betterSqlite3();
    if (isAbsent(library)) return absent(this.name, library.absent);
    const [agent, port] = [keptAlive(), await through(places.http)];
    return {
      walk: async (start, hops) => walkedOf(await getJson(agent, port, `/sqlite/${start}/${hops}`)),
      close: () => agent.destroy(),
    };
  },
};

// --- Cap'n Web ---

/** Calls that are under way together: what a chain of them costs grows with its square. */
const CHAIN = 200;

/** Each call is made on what the one before it will return; who waits is the last of a chain. */
function pipelined(ring: RemoteRing): Walk {
  return async (start, hops) => {
    let cursor: RemoteCursor = ring.cursor(start);
    for (let done = 0; done < hops;) {
      let last: PromisedCursor | undefined;
      for (const until = Math.min(hops, done + CHAIN); done < until; done++) {
        const following = cursor.next();
        cursor[Symbol.dispose]();
        cursor = last = following;
      }
      if (done < hops && last !== undefined) cursor = await last;
    }
    const { at, sum } = await cursor.walked();
    cursor[Symbol.dispose]();
    return { at, sum };
  };
}

function capnWebWalker(shape: Omit<Walker, 'connect'>, walk: (ring: RemoteRing) => Walk): Walker {
  return {
    ...shape,
    async connect(places, through) {
      const [rpc, ws] = [capnWeb(), webSockets()];
      if (isAbsent(rpc) || isAbsent(ws)) return absent(shape.name);
      const socket = new ws.WebSocket(`ws://127.0.0.1:${await through(places.http)}`);
      await new Promise<void>((resolve, reject) => {
        socket.addEventListener('open', resolve);
        socket.addEventListener('error', () => reject(new Error('no WebSocket')));
      });
      const ring = rpc.newWebSocketRpcSession(socket);
      return { walk: walk(ring), close: () => ring[Symbol.dispose]() };
    },
  };
}

const capnWebCall = capnWebWalker({ name: "Cap'n Web, a call a hop", scaledFrom: 'round trips' }, (ring) =>
  hopByHop(async (at) => pairOf(await ring.get(at))),
);

const capnWebPipelined = capnWebWalker(
  {
    name: "Cap'n Web, pipelined",
    note: "Cap'n Web, pipelined: chains of 200 calls, each on what the one before it will return; possible only where nodes are objects and the number of hops is known beforehand, as it is here, otherwise it is a call a hop",
    scaledFrom: 1000,
  },
  pipelined,
);

// --- Redis ---

const LUA = `
local at, sum = ARGV[1], 0
for i = 1, tonumber(ARGV[2]) do
  local node = redis.call('HMGET', at, 'n', 'v')
  at = node[1]
  sum = sum + node[2]
end
return { tonumber(at), sum }`;

/** Enters the ring: done once, whatever the links. */
export async function fillRedis(port: number, { next, value }: Ring): Promise<void> {
  const library = ioredis();
  if (isAbsent(library)) return;
  const client = new library.Redis({ host: '127.0.0.1', port });
  for (let from = 0; from < next.length; from += 10_000) {
    const pipeline = client.pipeline();
    for (let id = from; id < Math.min(next.length, from + 10_000); id++) pipeline.hset(String(id), 'n', next[id] ?? 0, 'v', value[id] ?? 0);
    await pipeline.exec();
  }
  await client.quit();
}

function redisWalker(shape: Omit<Walker, 'connect'>, walker: (client: RedisClient) => Promise<Walk>): Walker {
  return {
    ...shape,
    async connect({ redis }, through) {
      const library = ioredis();
      if (isAbsent(library)) return absent(shape.name);
      if (typeof redis !== 'number') return absent(shape.name, redis.absent);
      const client = new library.Redis({ host: '127.0.0.1', port: await through(redis) });
      return { walk: await walker(client), close: () => client.quit() };
    },
  };
}

const redisCall = redisWalker({ name: 'Redis, a HMGET a hop', scaledFrom: 'round trips' }, async (client) =>
  hopByHop(async (at) => pairOf(await client.hmget(String(at), 'n', 'v'))),
);

const redisLua = redisWalker({ name: 'Redis, Lua at the server', note: 'Redis: a hash a node' }, async (client) => {
  const sha = String(await client.script('LOAD', LUA));
  return async (start, hops) => {
    const [at, sum] = pairOf(await client.evalsha(sha, 0, start, hops));
    return { at, sum };
  };
});

// --- PostgreSQL ---

const SQL = `WITH RECURSIVE walk(at, sum, hops) AS (
    SELECT $1::int, 0::bigint, 0
    UNION ALL SELECT nodes.next, walk.sum + nodes.value, walk.hops + 1 FROM walk JOIN nodes ON nodes.id = walk.at WHERE walk.hops < $2::int
  ) SELECT at, sum FROM walk WHERE hops = $2::int`;

function client(port: number): PgClient | undefined {
  const library = pg();
  return isAbsent(library) ? undefined : new library.Client({ host: '127.0.0.1', port, user: POSTGRES_USER, database: 'postgres' });
}

export async function fillPostgres(port: number, { next, value }: Ring): Promise<void> {
  const connection = client(port);
  if (connection === undefined) return;
  await connection.connect();
  await connection.query('CREATE TABLE nodes(id int NOT NULL, next int NOT NULL, value int NOT NULL)');
  await connection.query({
    name: 'fill',
    text: 'INSERT INTO nodes SELECT * FROM unnest($1::int[], $2::int[], $3::int[])',
    values: [[...next.keys()], [...next], [...value]],
    rowMode: 'array',
  });
  // All that a hop needs is in the index.
  await connection.query('CREATE UNIQUE INDEX by_id ON nodes(id) INCLUDE (next, value)');
  await connection.query('VACUUM ANALYZE nodes');
  await connection.end();
}

const postgres: Walker = {
  name: 'PostgreSQL, one recursive query',
  note: 'PostgreSQL: WITH RECURSIVE, prepared, an index that holds the whole node, its planner told to use it',
  async connect({ postgres: server }, through) {
    if (isAbsent(pg())) return absent(this.name);
    if (typeof server !== 'number') return absent(this.name, server.absent);
    const connection = client(await through(server));
    if (connection === undefined) return absent(this.name);
    await connection.connect();
    // It takes the recursion for a hundred rows, and would read the whole table for each.
    for (const setting of [
      'enable_hashjoin = off',
      'enable_mergejoin = off',
      'enable_seqscan = off',
      'plan_cache_mode = force_generic_plan',
    ])
      await connection.query(`SET ${setting}`);
    return {
      async walk(start, hops) {
        const { rows } = await connection.query({ name: 'walk', text: SQL, values: [start, hops], rowMode: 'array' });
        const [at, sum] = pairOf(rows[0]);
        return { at, sum };
      },
      close: () => connection.end(),
    };
  },
};

// --- NATS ---

const nats: Walker = {
  name: 'NATS, a request a hop',
  scaledFrom: 'round trips',
  async connect({ nats: server }, through) {
    if (typeof server !== 'number') return absent(this.name, server.absent);
    const connection = await connect({ servers: `127.0.0.1:${await through(server)}` });
    const next = async (at: number) => decodePair((await connection.request(NATS_SUBJECT, encodePair([at, 0]))).data);
    return { walk: hopByHop(next), close: () => connection.close() };
  },
};

// --- the floor ---

const bare: Walker = {
  name: 'bare TCP, one round trip',
  note: 'bare TCP: 8 bytes there and back, and no walk; what nobody can be faster than who asks at all',
  reference: true,
  async connect({ echo }, through) {
    const socket = openSocket({ port: await through(echo), host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const bytes = Buffer.alloc(8);
    const walk: Probe = () =>
      new Promise((resolve) => {
        socket.once('data', () => resolve(undefined));
        socket.write(bytes);
      });
    return { walk, close: () => socket.destroy() };
  },
};

export const WALKERS: readonly Walker[] = [
  grpcCall,
  grpcStream,
  http,
  httpUndici,
  nats,
  capnWebCall,
  redisCall,
  capnWebPipelined,
  redisLua,
  postgres,
  sqlite,
  grpcMade,
  bare,
];
