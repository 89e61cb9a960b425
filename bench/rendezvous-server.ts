/**
 * The other process of the rendezvous, for the peers that are libraries: gRPC, HTTP, Cap'n Web, SQLite behind HTTP, and a subscriber of
 * NATS. `rendezvous-server.js NODES NATS-PORT` prints the ports that it listens on, and ends with its standard input.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect } from '@nats-io/transport-node';
import { capnWeb, grpc, webSockets, type Grpc, type GrpcMethod, type GrpcStream } from './network-peers.ts';
import { betterSqlite3, isAbsent } from './peers.ts';
import { decodePair, encodePair, ringOf, walkRing, type Ring, type Walked } from './rendezvous-ring.ts';

export const RENDEZVOUS_SERVER: string = fileURLToPath(import.meta.url);

export interface Ports {
  readonly http: number;
  /** Bare TCP: what comes is sent back. */
  readonly echo: number;
  /** Null where the library is not there. */
  readonly grpc: number | null;
}

export const NATS_SUBJECT = 'rendezvous.next';

const METHOD = {
  requestSerialize: encodePair,
  requestDeserialize: decodePair,
  responseSerialize: encodePair,
  responseDeserialize: decodePair,
} as const;
export const GRPC_NEXT = '/Ring/Next';
export const GRPC_STREAM = '/Ring/Stream';
export const GRPC_WALK = '/Ring/Walk';
const unary = (path: string): GrpcMethod => ({ ...METHOD, path, requestStream: false, responseStream: false });

function next({ next: links, value }: Ring, at: number): [number, number] {
  return [links[at] ?? 0, value[at] ?? 0];
}

function serveGrpc({ Server, ServerCredentials }: Grpc, ring: Ring): Promise<number> {
  const server = new Server();
  server.addService(
    {
      next: unary(GRPC_NEXT),
      stream: { ...METHOD, path: GRPC_STREAM, requestStream: true, responseStream: true },
      walk: unary(GRPC_WALK),
    },
    {
      next: ({ request: [at] }, answer) => answer(null, next(ring, at)),
      stream(call: GrpcStream) {
        call.on('data', ([at]) => call.write(next(ring, at)));
        call.on('end', () => call.end());
        call.on('error', () => call.end());
      },
      walk({ request: [start, hops] }, answer) {
        const { at, sum } = walkRing(ring, start, hops);
        answer(null, [at, sum]);
      },
    },
  );
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

/** One recursive query, prepared once; undefined where SQLite is not there. */
function sqliteWalk(ring: Ring): ((start: number, hops: number) => Walked) | undefined {
  const Sqlite = betterSqlite3();
  if (isAbsent(Sqlite)) return undefined;
  const db = new Sqlite(':memory:');
  db.exec('CREATE TABLE nodes(id INTEGER PRIMARY KEY, next INTEGER NOT NULL, value INTEGER NOT NULL)');
  const insert = db.prepare('INSERT INTO nodes VALUES (?, ?, ?)');
  db.transaction(() => {
    for (const [id, to] of ring.next.entries()) insert.run(id, to, ring.value[id] ?? 0);
  })();
  const query = db.prepare(`WITH RECURSIVE walk(at, sum, hops) AS (
      SELECT ?, 0, 0
      UNION ALL SELECT nodes.next, walk.sum + nodes.value, walk.hops + 1 FROM walk JOIN nodes ON nodes.id = walk.at WHERE walk.hops < ?
    ) SELECT at, sum FROM walk WHERE hops = ?`);
  return (start, hops) => query.get(start, hops, hops) as Walked;
}

async function serveHttp(ring: Ring): Promise<number> {
  const inSqlite = sqliteWalk(ring);
  const server = createServer((request, response) => {
    const [, what, first, second] = (request.url ?? '').split('/');
    const found =
      what === 'node'
        ? next(ring, Number(first))
        : what === 'sqlite' && inSqlite !== undefined
          ? inSqlite(Number(first), Number(second))
          : undefined;
    const body = found === undefined ? '' : JSON.stringify(found);
    response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
  serveCapnWeb(server, ring);
  server.keepAliveTimeout = 600_000;
  return listening(server);
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A place in the ring is an object: so the next can be asked for before it is known where it is. */
function serveCapnWeb(server: ReturnType<typeof createServer>, ring: Ring): void {
  const [rpc, ws] = [capnWeb(), webSockets()];
  if (isAbsent(rpc) || isAbsent(ws)) return;
  class Cursor extends rpc.RpcTarget {
    readonly #at: number;
    readonly #sum: number;
    constructor(at: number, sum: number) {
      super();
      this.#at = at;
      this.#sum = sum;
    }
    next() {
      const [to, value] = next(ring, this.#at);
      return new Cursor(to, this.#sum + value);
    }
    walked() {
      return { at: this.#at, sum: this.#sum };
    }
  }
  class RemoteRing extends rpc.RpcTarget {
    get(at: number) {
      return next(ring, at);
    }
    cursor(start: number) {
      return new Cursor(start, 0);
    }
  }
  new ws.WebSocketServer({ server }).on('connection', (socket) => {
    rpc.newWebSocketRpcSession(socket, new RemoteRing());
  });
}

async function serveNats(port: number, ring: Ring): Promise<void> {
  const connection = await connect({ servers: `127.0.0.1:${port}` });
  connection.subscribe(NATS_SUBJECT, {
    callback(error, message) {
      if (error !== null) throw error;
      message.respond(encodePair(next(ring, decodePair(message.data)[0])));
    },
  });
  await connection.flush();
}

async function main(nodes: number, natsPort: number): Promise<void> {
  const ring = ringOf(nodes);
  if (natsPort > 0) await serveNats(natsPort, ring);
  const library = grpc();
  const ports: Ports = {
    http: await serveHttp(ring),
    echo: await listening(createTcpServer({ noDelay: true }, (socket) => socket.pipe(socket).on('error', () => socket.destroy()))),
    grpc: isAbsent(library) ? null : await serveGrpc(library, ring),
  };
  console.log(JSON.stringify(ports));
  process.stdin.once('end', () => process.exit(0)).resume();
}

if (process.argv[1] === RENDEZVOUS_SERVER) await main(Number(process.argv[2]), Number(process.argv[3]));
