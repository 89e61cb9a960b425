/** What talks to another process, declared as far as the benchmarks call it; see peers.ts. */
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Absent } from './harness.ts';
import { load } from './peers.ts';

// --- gRPC ---

type Pair = readonly [number, number];
type Encode = (pair: Pair) => Buffer;
type Decode = (bytes: Uint8Array) => Pair;

export interface GrpcStream {
  write(pair: Pair): unknown;
  end(): void;
  cancel(): void;
  on(event: 'data', listener: (pair: Pair) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface GrpcClient {
  makeUnaryRequest(
    path: string,
    encode: Encode,
    decode: Decode,
    argument: Pair,
    callback: (error: Error | null, pair?: Pair) => void,
  ): unknown;
  makeBidiStreamRequest(path: string, encode: Encode, decode: Decode): GrpcStream;
  close(): void;
}

export interface GrpcMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: Encode;
  readonly requestDeserialize: Decode;
  readonly responseSerialize: Encode;
  readonly responseDeserialize: Decode;
}

type GrpcUnary = (call: { readonly request: Pair }, answer: (error: null, pair: Pair) => void) => void;
type GrpcStreaming = (call: GrpcStream) => void;

export interface Grpc {
  readonly Client: new (address: string, credentials: object) => GrpcClient;
  readonly Server: new () => {
    addService(service: Readonly<Record<string, GrpcMethod>>, handlers: Readonly<Record<string, GrpcUnary | GrpcStreaming>>): void;
    bindAsync(address: string, credentials: object, callback: (error: Error | null, port: number) => void): void;
  };
  readonly credentials: { createInsecure(): object };
  readonly ServerCredentials: { createInsecure(): object };
}

export function grpc(): Grpc | Absent {
  return load<Grpc>('@grpc/grpc-js');
}

// --- HTTP ---

export interface UndiciClient {
  request(options: { readonly path: string; readonly method: 'GET' }): Promise<{ readonly body: { json(): Promise<unknown> } }>;
  close(): Promise<void>;
}

export interface Undici {
  readonly Client: new (origin: string) => UndiciClient;
}

export function undici(): Undici | Absent {
  return load<Undici>('undici');
}

// --- Cap'n Web, over WebSocket ---

export interface Socket {
  addEventListener(event: 'open' | 'close' | 'error', listener: () => void): void;
}

export interface WebSockets {
  readonly WebSocket: new (url: string) => Socket;
  readonly WebSocketServer: new (options: { readonly server: HttpServer }) => {
    on(event: 'connection', listener: (socket: Socket, request: IncomingMessage) => void): void;
  };
}

/** A place in a walk, which keeps the sum of what it left behind. */
export interface RemoteCursor extends Disposable {
  next(): PromisedCursor;
  walked(): Promise<{ readonly at: number; readonly sum: number }> & Disposable;
}

/** Further calls are made on it before it is known where it is. */
export interface PromisedCursor extends RemoteCursor, Promise<RemoteCursor> {
  readonly [Symbol.toStringTag]: string;
}

export interface RemoteRing extends Disposable {
  get(at: number): Promise<readonly [number, number]> & Disposable;
  cursor(start: number): PromisedCursor;
}

export interface CapnWeb {
  readonly RpcTarget: new () => object;
  newWebSocketRpcSession(socket: Socket, served?: object): RemoteRing;
}

export function webSockets(): WebSockets | Absent {
  return load<WebSockets>('ws');
}

/** It asks the global WebSocket for the names of states, and Node has one from 22 on. */
export function capnWeb(): CapnWeb | Absent {
  const sockets = webSockets();
  if ('absent' in sockets) return sockets;
  if (!('WebSocket' in globalThis)) Object.assign(globalThis, { WebSocket: sockets.WebSocket });
  return load<CapnWeb>('capnweb');
}

// --- Redis, PostgreSQL ---

export interface RedisClient {
  hmget(key: string, ...fields: readonly string[]): Promise<readonly (string | null)[]>;
  hset(key: string, ...fieldsAndValues: readonly (string | number)[]): Promise<unknown>;
  pipeline(): { hset(key: string, ...fieldsAndValues: readonly (string | number)[]): unknown; exec(): Promise<unknown> };
  script(command: 'LOAD', text: string): Promise<unknown>;
  evalsha(sha: string, keys: number, ...args: readonly (string | number)[]): Promise<unknown>;
  quit(): Promise<unknown>;
}

export interface Ioredis {
  readonly Redis: new (options: { readonly host: string; readonly port: number }) => RedisClient;
}

export function ioredis(): Ioredis | Absent {
  return load<Ioredis>('ioredis');
}

export interface PgClient {
  connect(): Promise<unknown>;
  query(query: string): Promise<unknown>;
  query(query: {
    readonly name: string;
    readonly text: string;
    readonly values: readonly unknown[];
    readonly rowMode: 'array';
  }): Promise<{ readonly rows: readonly (readonly unknown[])[] }>;
  end(): Promise<void>;
}

export interface Pg {
  readonly Client: new (options: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  }) => PgClient;
}

export function pg(): Pg | Absent {
  return load<Pg>('pg');
}
