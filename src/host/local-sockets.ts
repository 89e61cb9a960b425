/** Serving at a local socket: bytes by Node's own, descriptors past it. */
import * as fs from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { TwzError, isTwzError } from '../abi/errors.ts';
import type { File } from './host.ts';
import { peerOf, sendDescriptor, type Credentials } from './linux/descriptors.ts';

/** How often a full socket is looked at again, in milliseconds, and how often at most. */
const RETRY_MS = 20;
const RETRIES = 500;
const NOTHING = new Uint8Array(0);

/** One client, as the server sees it. */
export interface LocalLink {
  readonly peer: Credentials;
  readonly gone: boolean;
  /** Bytes that the client has not taken yet. */
  readonly waiting: number;
  /** `hear` gets what comes; `gone` is called once, at the end. */
  listen(hear: (bytes: Uint8Array) => void, gone: () => void): void;
  write(bytes: Uint8Array): void;
  /** Nothing more is heard until `resume`. */
  pause(): void;
  resume(): void;
  /** Resolves when the client has taken everything, or is gone. */
  drained(): Promise<void>;
  /**
   * Sends bytes with a descriptor, after all that was written before. `file` is asked each time, as descriptors are closed meanwhile: false
   * where it gives none any more. A client that does not take it is cut off.
   */
  writeDescriptor(bytes: Uint8Array, file: () => File | undefined): Promise<boolean>;
  /** Ends it, once what was written is taken; or at once. */
  end(atOnce?: boolean): void;
}

class SocketLink implements LocalLink {
  readonly peer: Credentials;
  readonly #socket: Socket;
  readonly #fd: number;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#fd = descriptorOf(socket);
    this.peer = peerOf(this.#fd);
  }

  listen(hear: (bytes: Uint8Array) => void, gone: () => void): void {
    this.#socket.on('data', hear);
    // What went wrong does not matter: the client is gone.
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.once('close', gone);
  }

  get gone(): boolean {
    return this.#socket.destroyed;
  }

  get waiting(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  async drained(): Promise<void> {
    if (this.#socket.writableLength === 0 || this.#socket.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#socket.once('close', resolve);
      this.#socket.write(NOTHING, () => {
        this.#socket.off('close', resolve);
        resolve();
      });
    });
  }

  async writeDescriptor(bytes: Uint8Array, file: () => File | undefined): Promise<boolean> {
    await this.drained();
    for (let tries = 0; tries < RETRIES && !this.#socket.destroyed; tries++) {
      const fd = file();
      if (fd === undefined) return false;
      if (send(this.#fd, bytes, fd) !== 'full') return true;
      await new Promise<void>((resolve) => {
        setTimeout(resolve, RETRY_MS);
      });
    }
    this.#socket.destroy();
    return true;
  }

  end(atOnce = false): void {
    if (atOnce) this.#socket.destroy();
    else this.#socket.destroySoon();
  }
}

function send(socket: number, bytes: Uint8Array, fd: number): 'sent' | 'full' | 'gone' {
  try {
    return sendDescriptor(socket, bytes, fd);
  } catch (error) {
    // Its socket will say so itself.
    if (!isTwzError(error, 'ServeGone')) throw error;
    return 'gone';
  }
}

/** The number that Node keeps for itself. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null && 'fd' in handle ? handle.fd : undefined;
  if (typeof fd !== 'number' || fd < 0) throw new TwzError('HostUnavailable', 'this Node.js does not say which descriptor a socket has');
  return fd;
}

export interface LocalServer {
  /** Takes no more clients, and ends those that there are. */
  close(): Promise<void>;
}

/** Whether somebody answers at a socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Listens at `path`, which everybody may connect to. What a server that died left there is replaced. Throws ServeTaken. */
export async function listenLocally(path: string, arrived: (link: LocalLink) => void): Promise<LocalServer> {
  if (fs.existsSync(path)) {
    if (!fs.lstatSync(path).isSocket() || (await answers(path)))
      throw new TwzError('ServeTaken', `${path} is there already: another server's socket, or no socket`, { path });
    fs.rmSync(path);
  }
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let link: LocalLink;
    try {
      link = new SocketLink(socket);
    } catch {
      // It was gone before anybody could ask who it is.
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    arrived(link);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new TwzError('ServeTaken', `${path}: ${cause.message}`, { path }, cause)));
    server.listen({ path, readableAll: true, writableAll: true, backlog: 64 }, resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** The user that this process runs as. */
export function ownUser(): number {
  return process.geteuid?.() ?? 0;
}

/** Nobody but its owner may look into the directory from now on. Throws ServeExposed where that cannot be had. */
export function closeToOthers(directory: string): void {
  const { uid, mode } = fs.statSync(directory);
  if (uid !== ownUser() && ownUser() !== 0)
    throw new TwzError('ServeExposed', `${directory} belongs to user ${uid}, not to the one that serves it`, { directory, uid });
  if ((mode & 0o77) === 0) return;
  try {
    fs.chmodSync(directory, 0o700);
  } catch (cause) {
    throw new TwzError('ServeExposed', `${directory} can be read by other users, and its mode cannot be changed`, { directory }, cause);
  }
}
