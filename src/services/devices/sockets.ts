/**
 * The objects of sockets: two rings each, made some at a time as they are needed, used again and again. A socket's rings are laid out anew
 * for each use; who had it before has left them by then, or is dead.
 */
import { SOCKET, SOCKET_RECORD, SOCKET_RECORDS } from '../../abi/device-format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { variableBytes } from '../../lib/rings/records.ts';
import { createRing, ringBytes, type RingOptions } from '../../lib/rings/ring.ts';
import type { Consumer, Producer } from '../../lib/rings/sides.ts';
import type { Space } from '../../space.ts';
import { Served, line } from './served.ts';

const RING: RingOptions<Uint8Array> = { kind: 'spsc', record: variableBytes(SOCKET_RECORD), records: SOCKET_RECORDS };
const RING_BYTES = ringBytes(RING);
const BYTES = SOCKET.bytes + line(RING_BYTES) * 2;
const OBJECT_BYTES = line(SOCKET.body + BYTES + 64);
/** How many are made at once: a transaction that makes objects waits for the disk. */
const BATCH = 8;

/** Programs that died are found by looking at the owners of all sockets. */
const SIDE = { patience: 10_000 } as const;

export interface Rings {
  /** What the program sends. */
  readonly output: Consumer<Uint8Array>;
  /** What the program receives. */
  readonly input: Producer<Uint8Array>;
}

export class SocketObjects {
  readonly #space: Space;
  readonly #path: string;
  readonly #served: Served[] = [];
  readonly #most: number;

  /** Named below `path`. */
  constructor(space: Space, path: string, most: number) {
    this.#space = space;
    this.#path = path;
    this.#most = most;
  }

  /** The object of the socket of that number. */
  get(number: number): Served {
    while (this.#served.length <= number) this.#make(Math.min(BATCH, this.#most - this.#served.length));
    return this.#served[number] as Served;
  }

  get made(): readonly Served[] {
    return this.#served;
  }

  #make(count: number): void {
    const space = this.#space;
    const from = this.#served.length;
    const objects = space.relaxed(() => {
      if (space.names.lookup(this.#path) === undefined) space.names.mkns(this.#path);
      return Array.from({ length: count }, (_, i) => {
        const object = space.createRaw(OBJECT_BYTES, { kind: 'shared' });
        space.names.set(`${this.#path}/${from + i}`, object, { owns: true });
        return object;
      });
    });
    for (const [i, object] of objects.entries()) {
      const served = new Served(object, space.kernel.host, { name: `socket ${from + i}`, class: 'socket', number: from + i, bytes: BYTES });
      served.room(SOCKET.bytes);
      served.put(SOCKET.output, served.room(RING_BYTES));
      served.put(SOCKET.input, served.room(RING_BYTES));
      served.ready();
      this.#served.push(served);
    }
  }

  idOf(number: number): ObjectId {
    return this.get(number).object.id;
  }

  /** New rings for a new use. */
  rings(number: number): Rings {
    const served = this.get(number);
    const { words } = served;
    const [output, input] = [SOCKET.output, SOCKET.input].map((offset) => {
      const at = served.get(offset);
      words.u8.fill(0, at, at + RING_BYTES);
      return createRing(words, at, RING);
    });
    if (output === undefined || input === undefined) throw new Error('a socket has two rings');
    return { output: output.consumer(SIDE), input: input.producer(SIDE) };
  }
}
