/** Sockets of the operating system, in the shape that a driver wants: bytes are asked for, and a write resolves when there is room again. */
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { TwzError, type ErrorName } from '../abi/errors.ts';

export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

const NAMES: Readonly<Record<string, ErrorName>> = {
  ECONNREFUSED: 'ConnectionRefused',
  ECONNRESET: 'ConnectionReset',
  EPIPE: 'ConnectionReset',
  EADDRINUSE: 'AddressTaken',
  EADDRNOTAVAIL: 'AddressInvalid',
  EINVAL: 'AddressInvalid',
};

export function socketError(what: string, cause: unknown): TwzError {
  if (cause instanceof TwzError) return cause;
  const errno = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unknown';
  return new TwzError(
    NAMES[errno] ?? 'DeviceFailed',
    `${what}: ${cause instanceof Error ? cause.message : String(cause)}`,
    { errno },
    cause,
  );
}

const show = ({ host, port }: SocketAddress): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

// --- TCP --------------------------------------------------------------------------------------------------------------------------

/** A connection. */
export class Link {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly #socket: Socket;
  #ended = false;
  #failure: TwzError | undefined;
  #stir: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.local = { host: socket.localAddress ?? '', port: socket.localPort ?? 0 };
    this.remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    socket.setNoDelay(true);
    const ended = (): void => {
      this.#ended = true;
      this.#stir?.();
    };
    socket.on('readable', () => this.#stir?.());
    socket.on('end', ended);
    socket.on('close', ended);
    socket.on('error', (error) => {
      this.#failure = socketError(show(this.remote), error);
      ended();
    });
  }

  /** Bytes that have come, undefined at the end. Throws ConnectionReset. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk: unknown = this.#socket.read();
      if (chunk instanceof Uint8Array) return chunk;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#stir = resolve));
    }
  }

  /** Resolves when the system has the bytes. Throws ConnectionReset. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) =>
        error === null || error === undefined ? resolve() : reject(socketError(show(this.remote), error)),
      );
    });
  }

  /** Nothing more is written. Resolves when the other side can know. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      else {
        this.#socket.once('close', resolve);
        this.#socket.end(resolve);
      }
    });
  }

  /** Neither side goes on. `reset`: the other side is told that it was broken off. */
  destroy(reset = false): void {
    if (reset) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }
}

/** Throws ConnectionRefused and the like. */
export function connectLink(to: SocketAddress, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: to.host, port: to.port, allowHalfOpen: true });
    const giveUp = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true });
    const failed = (error: Error): void => {
      signal.removeEventListener('abort', giveUp);
      reject(socketError(show(to), error));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      signal.removeEventListener('abort', giveUp);
      resolve(new Link(socket));
    });
  });
}

export interface Listening {
  readonly local: SocketAddress;
  close(): Promise<void>;
}

/** Throws AddressTaken and the like. */
export function listenForLinks(at: SocketAddress, backlog: number, arrived: (link: Link) => void): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => arrived(new Link(socket)));
    server.once('error', (error) => reject(socketError(show(at), error)));
    server.listen({ host: at.host, port: at.port, backlog }, () => {
      const { address, port } = server.address() as AddressInfo;
      resolve({
        local: { host: address, port },
        close: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}

// --- UDP --------------------------------------------------------------------------------------------------------------------------

export interface Datagrams {
  readonly local: SocketAddress;
  send(bytes: Uint8Array, to: SocketAddress): Promise<void>;
  close(): Promise<void>;
}

/** Throws AddressTaken and the like. */
export function bindDatagrams(at: SocketAddress, arrived: (bytes: Uint8Array, from: SocketAddress) => void): Promise<Datagrams> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({ type: at.host.includes(':') ? 'udp6' : 'udp4' });
    const failed = (error: Error): void => reject(socketError(show(at), error));
    socket.once('error', failed);
    socket.on('message', (bytes, { address, port }) => arrived(bytes, { host: address, port }));
    socket.bind({ address: at.host, port: at.port, exclusive: true }, () => {
      const { address, port } = socket.address();
      // What a later error says is known by the datagram that does not come back.
      socket.on('error', () => undefined);
      socket.off('error', failed);
      resolve({
        local: { host: address, port },
        send: (bytes, to) =>
          new Promise((sent, failedTo) => {
            socket.send(bytes, to.port, to.host, (error) => (error === null ? sent() : failedTo(socketError(show(to), error))));
          }),
        close: () => new Promise((done) => socket.close(() => done())),
      });
    });
  });
}
