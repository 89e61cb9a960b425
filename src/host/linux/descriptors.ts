/**
 * Memory that is handed to other processes as a file descriptor, and the sockets that descriptors go through.
 *
 * An image is a memfd. Whoever made it maps it for storing first, and then seals it: from then on nobody can map it for storing, write it or
 * change its length, this process included. What is handed out is another description of it, opened for reading only.
 */
import * as fs from 'node:fs';
import { TwzError } from '../../abi/errors.ts';
import type { File } from '../host.ts';
import { addressOf, lastError, libc } from './libc.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const SEALS = { seal: 1, shrink: 2, grow: 4, futureWrite: 16 } as const;

/** Memory of `length` zeros, that nothing but this process's descriptor names. */
export function createImage(name: string, length: number): File {
  const fd = libc().memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw lastError('memfd_create');
  try {
    // Who gets a descriptor of it cannot open it anew, unless it is the same user.
    fs.fchmodSync(fd, 0o400);
    fs.ftruncateSync(fd, length);
  } catch (cause) {
    fs.closeSync(fd);
    throw new TwzError('OutOfMemory', `no memory for an image of ${length} bytes`, { length }, cause);
  }
  return fd as File;
}

/** No store through any mapping that is made from now on, no write, no other length. Mappings that are there stay as they are. */
export function sealImage(image: File): void {
  const seals = SEALS.futureWrite | SEALS.shrink | SEALS.grow | SEALS.seal;
  if (libc().fcntl(image, F_ADD_SEALS, seals) !== 0) throw lastError('fcntl(F_ADD_SEALS)');
}

/** The same memory, opened for reading only. */
export function readingEnd(image: File): File {
  return fs.openSync(`/proc/self/fd/${image}`, fs.constants.O_RDONLY) as File;
}

export function closeDescriptor(fd: number): void {
  fs.closeSync(fd);
}

// --- sockets --------------------------------------------------------------------------------------------------------------------

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO = { peerCredentials: 17, receiveTimeout: 20, sendTimeout: 21 } as const;
const SCM_RIGHTS = 1;
const MSG = { peek: 2, dontWait: 0x40, noSignal: 0x4000, closeOnExec: 0x40000000 } as const;
const SHUT_RDWR = 2;
/** `struct msghdr` and `struct cmsghdr`, 64 bits. */
const MSGHDR = { size: 56, iov: 16, iovLength: 24, control: 32, controlLength: 40, flags: 48 } as const;
const CMSG = { length: 0, level: 8, type: 12, data: 16 } as const;
const PATH_MAX = 107;
/** Descriptors that are taken from one message; what there is beyond is closed by the system. */
const DESCRIPTORS_MAX = 8;

export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who was on the other side of a local socket when it was connected. */
export function peerOf(fd: number): Credentials {
  const bytes = new Uint8Array(12);
  const length = new Uint8Array(new Uint32Array([12]).buffer);
  if (libc().getsockopt(fd, SOL_SOCKET, SO.peerCredentials, bytes, length) !== 0) throw lastError('getsockopt(SO_PEERCRED)');
  const dv = new DataView(bytes.buffer);
  return { pid: dv.getInt32(0, true), uid: dv.getUint32(4, true), gid: dv.getUint32(8, true) };
}

/** A message header with room for bytes and descriptors, in memory that does not move. */
class Message {
  readonly bytes: Uint8Array;
  readonly address: number;
  readonly #dv: DataView;
  readonly #control: DataView;

  constructor(length: number) {
    const head = new Uint8Array(new SharedArrayBuffer(MSGHDR.size + 16));
    const control = new Uint8Array(new SharedArrayBuffer(CMSG.data + 4 * DESCRIPTORS_MAX));
    this.bytes = new Uint8Array(new SharedArrayBuffer(length));
    this.#dv = new DataView(head.buffer);
    this.#control = new DataView(control.buffer);
    this.address = addressOf(head);
    this.#word(MSGHDR.iov, this.address + MSGHDR.size);
    this.#word(MSGHDR.iovLength, 1);
    this.#word(MSGHDR.size, addressOf(this.bytes));
    this.#word(MSGHDR.size + 8, length);
    this.#word(MSGHDR.control, addressOf(control));
  }

  #word(at: number, value: number): void {
    this.#dv.setBigUint64(at, BigInt(value), true);
  }

  /** Of `bytes`, this many are meant. */
  length(count: number): void {
    this.#word(MSGHDR.size + 8, count);
  }

  carry(fd: number | undefined): void {
    this.#word(MSGHDR.controlLength, fd === undefined ? 0 : CMSG.data + 4);
    if (fd === undefined) return;
    this.#control.setBigUint64(CMSG.length, BigInt(CMSG.data + 4), true);
    this.#control.setInt32(CMSG.level, SOL_SOCKET, true);
    this.#control.setInt32(CMSG.type, SCM_RIGHTS, true);
    this.#control.setInt32(CMSG.data, fd, true);
  }

  expect(): void {
    this.#word(MSGHDR.controlLength, this.#control.byteLength);
  }

  /** Descriptors that came with what was received. */
  carried(): number[] {
    const room = Number(this.#dv.getBigUint64(MSGHDR.controlLength, true));
    if (room < CMSG.data) return [];
    const length = Number(this.#control.getBigUint64(CMSG.length, true));
    if (this.#control.getInt32(CMSG.level, true) !== SOL_SOCKET || this.#control.getInt32(CMSG.type, true) !== SCM_RIGHTS) return [];
    const found: number[] = [];
    for (let at = CMSG.data; at + 4 <= Math.min(length, room); at += 4) found.push(this.#control.getInt32(at, true));
    return found;
  }
}

/** Sends bytes, with a descriptor, on a socket that does not block: 'full' where there is no room, and nothing was sent. Throws ServeGone. */
export function sendDescriptor(socket: number, bytes: Uint8Array, fd: number): 'sent' | 'full' {
  const { sendmsg, errno, errors } = libc();
  const message = new Message(bytes.length);
  message.bytes.set(bytes);
  message.carry(fd);
  const sent = sendmsg(socket, message.address, MSG.dontWait | MSG.noSignal);
  if (sent === bytes.length) return 'sent';
  if (sent < 0 && errno() === errors['EAGAIN']) return 'full';
  throw new TwzError('ServeGone', 'a descriptor could not be sent: the other side is gone');
}

const RECEIVE_BYTES = 65536;

/** The client's end of a local socket: one who asks and waits for the answer. */
export class LocalEnd {
  readonly #fd: number;
  readonly #message = new Message(RECEIVE_BYTES);
  #closed = false;
  #receiving = false;

  /** Throws ServeUnreachable. */
  constructor(path: string, patienceMs: number) {
    const address = new Uint8Array(2 + PATH_MAX + 1);
    const name = new TextEncoder().encode(path);
    if (name.length > PATH_MAX || name.length === 0 || name.includes(0))
      throw new TwzError('InvalidArgument', `the path of a socket has 1 to ${PATH_MAX} bytes`, { path });
    address[0] = AF_UNIX;
    address.set(name, 2);
    const { socket, connect, setsockopt } = libc();
    const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw lastError('socket');
    this.#fd = fd;
    const time = new Uint8Array(new BigInt64Array([BigInt(Math.floor(patienceMs / 1000)), BigInt((patienceMs % 1000) * 1000)]).buffer);
    setsockopt(fd, SOL_SOCKET, SO.receiveTimeout, time, time.length);
    setsockopt(fd, SOL_SOCKET, SO.sendTimeout, time, time.length);
    if (connect(fd, address, 2 + name.length + 1) === 0) return;
    const cause = lastError(`connect ${path}`);
    fs.closeSync(fd);
    throw new TwzError('ServeUnreachable', `nobody serves at ${path}`, { path, errno: String(cause.context['errno']) }, cause);
  }

  /** Throws ServeGone. */
  send(bytes: Uint8Array): void {
    const { sendmsg } = libc();
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(RECEIVE_BYTES, bytes.length - at);
      const message = new Message(count);
      message.bytes.set(bytes.subarray(at, at + count));
      message.carry(undefined);
      const sent = this.#closed ? -1 : sendmsg(this.#fd, message.address, MSG.noSignal);
      if (sent <= 0) throw new TwzError('ServeGone', 'the connection to the server has ended');
      at += sent;
    }
  }

  /** Some bytes, and the descriptors that came with them. No bytes: the other side is gone, or too slow. */
  receive(): Promise<{ readonly bytes: Uint8Array; readonly descriptors: readonly number[] }> {
    const message = this.#message;
    message.expect();
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        resolve({ bytes: new Uint8Array(0), descriptors: [] });
        return;
      }
      this.#receiving = true;
      libc().recvmsgAsync(this.#fd, message.address, MSG.closeOnExec, (error, count) => {
        this.#receiving = false;
        if (this.#closed) fs.closeSync(this.#fd);
        if (error !== null) reject(error);
        else if (count <= 0) resolve({ bytes: new Uint8Array(0), descriptors: [] });
        else resolve({ bytes: message.bytes.slice(0, count), descriptors: message.carried() });
      });
    });
  }

  /** Has the other side ended it? Asks the system, and waits for nothing. */
  get ended(): boolean {
    if (this.#closed) return true;
    if (this.#receiving) return false;
    const message = this.#message;
    message.carry(undefined);
    const { recvmsg, errno, errors } = libc();
    const count = recvmsg(this.#fd, message.address, MSG.peek | MSG.dontWait);
    return count === 0 || (count < 0 && errno() !== errors['EAGAIN']);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // Whoever waits in the system comes back, and closes it then: its number must not become another file's before.
    if (this.#receiving) libc().shutdown(this.#fd, SHUT_RDWR);
    else fs.closeSync(this.#fd);
  }
}
