/**
 * A program that has nothing but memory and threadSync: `devices-program.js DIRECTORY PART ARGUMENT`. What it found it stores into the shared object
 * `/report`: its length at the root, then JSON.
 */
import { isId, open, threadSync, type SyncWords } from '../src/index.ts';
import {
  at,
  claim,
  endRing,
  knock,
  put,
  receiveBytes,
  receiveSlot,
  submitBytes,
  submitSlot,
  whileWord,
  wordAt,
  type Plain,
} from './devices-plain.ts';

const [directory = '', part = '', argument = ''] = process.argv.slice(2);
const space = open(directory);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function device(name: string): Plain {
  const object = space.names.get(`/devices/${name}`);
  return { words: object.sync(), root: object.rootOffset };
}

function report(value: unknown): void {
  const object = space.names.get('/report');
  const { u8, i32 }: SyncWords = object.sync();
  const bytes = encoder.encode(JSON.stringify(value));
  u8.set(bytes, object.rootOffset + 4);
  Atomics.store(i32, object.rootOffset >> 2, bytes.length);
  threadSync([{ wake: wordAt(object.sync(), object.rootOffset) }]);
}

function useClock(): unknown {
  const { words, root } = device('clock');
  const body = root + 512;
  const times = new BigInt64Array(words.i32.buffer, words.i32.byteOffset + body + 8, 2);
  const read = (): [bigint, bigint] => {
    for (;;) {
      const sequence = at(words, body);
      const [monotonic, wall] = [Atomics.load(times, 0), Atomics.load(times, 1)];
      if (sequence % 2 === 0 && at(words, body) === sequence) return [monotonic, wall];
    }
  };
  const first = read();
  let again = read();
  // It goes on by itself.
  while (again[0] === first[0]) again = read();
  return { resolution: at(words, body + 4), monotonic: String(first[0]), wall: String(first[1]), later: again[0] > first[0] };
}

function useTimer(): unknown {
  const timer = device('timer');
  const { words, root } = timer;
  const line = claim(timer, at(words, root + 516), at(words, root + 512), 64, 4);
  const times = new BigInt64Array(words.i32.buffer, words.i32.byteOffset + line + 16, 2);
  const order = (deadline: bigint, period: bigint, flags: number): void => {
    Atomics.store(times, 0, deadline);
    Atomics.store(times, 1, period);
    put(words, line + 32, flags);
    Atomics.add(words.i32, (line + 8) >> 2, 1);
    knock(timer);
  };
  const fired = at(words, line);
  const began = at(device('clock').words, device('clock').root + 512);
  order(20_000_000n, 10_000_000n, 1);
  whileWord(timer, line, fired);
  const after = at(device('clock').words, device('clock').root + 512) - began;
  whileWord(timer, line, fired + 1);
  order(0n, 0n, 2);
  whileWord(timer, line + 4, words.threads.self);
  return { fired: at(words, line) - fired >= 2, ticks: after > 0 };
}

function useEntropy(): unknown {
  const entropy = device('entropy');
  const ring = at(entropy.words, entropy.root + 512);
  return Array.from({ length: 200 }, () => Buffer.from(receiveSlot(entropy, ring) ?? []).toString('hex'));
}

function useConsole(): unknown {
  const console_ = device('console');
  const { words, root } = console_;
  submitSlot(console_, at(words, root + 524), encoder.encode('name? '));
  const name = decoder.decode(receiveSlot(console_, at(words, root + 528)));
  submitSlot(console_, at(words, root + 524), encoder.encode(`hello ${name}`));
  return { name, columns: at(words, root + 512), rows: at(words, root + 516) };
}

/** Sleeps until the driver is gone: on an interrupt that never comes. */
function useUntilGone(): unknown {
  const { words, root } = device('entropy');
  const value = at(words, root + 256);
  report('waiting');
  try {
    whileWord({ words, root }, root + 256, value);
    return `status ${at(words, root + 128)}`;
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
}

// --- the network ----------------------------------------------------------------------------------------------------------------

const network = (): Plain => device('network');

interface Socket {
  readonly line: number;
  readonly part: Plain;
}

/** The object of the socket that has the line. */
function socketAt({ words }: Plain, line: number): Socket {
  const id = Buffer.from(words.u8.slice(line + 96, line + 112)).toString('hex');
  space.refresh();
  if (!isId(id)) throw new Error(id);
  const object = space.object(id);
  return { line, part: { words: object.sync(), root: object.rootOffset } };
}

/** Asks for a socket at a port of this machine: 1 connects, 2 listens, 3 binds. */
function ask(command: number, port: number): Socket | number {
  const net = network();
  const { words, root } = net;
  const line = claim(net, at(words, root + 516), at(words, root + 512), 128, 0);
  const address = line + (command === 1 ? 64 : 32);
  put(words, address, 4);
  put(words, address + 4, port);
  words.u8.set([127, 0, 0, 1], address + 8);
  put(words, line + 16, 8);
  put(words, line + 4, 1);
  put(words, line + 8, command);
  knock(net);
  whileWord(net, line + 4, 1);
  return at(words, line + 4) === 4 ? at(words, line + 12) : socketAt(net, line);
}

function socket(command: number, port: number): Socket {
  const found = ask(command, port);
  if (typeof found === 'number') throw new Error(`error ${found}`);
  return found;
}

const input = ({ part: { words, root } }: Socket): number => at(words, root + 516);
const output = ({ part: { words, root } }: Socket): number => at(words, root + 512);
const receive = (from: Socket): Uint8Array | undefined => receiveBytes(from.part, input(from));
const send = (to: Socket, bytes: Uint8Array): unknown => submitBytes(to.part, output(to), bytes);

/** Ends what is sent, and gives the line back. */
function close(from: Socket): void {
  const net = network();
  endRing(from.part, output(from));
  put(net.words, from.line + 8, 4);
  knock(net);
}

/** Listens, says where, and gives back what one connection sends, to its end. */
function echo(): unknown {
  const net = network();
  const listener = socket(2, 0);
  const port = at(net.words, listener.line + 36);
  report({ port });
  const number = new DataView((receive(listener) as Uint8Array).buffer).getUint32(0, true);
  const line = at(net.words, net.root + 516) + number * 128;
  Atomics.store(net.words.i32, line >> 2, net.words.threads.self);
  const connection = socketAt(net, line);
  let bytes = 0;
  for (let got = receive(connection); got !== undefined; got = receive(connection)) {
    bytes += got.length;
    send(connection, got);
  }
  close(connection);
  close(listener);
  whileWord(net, line, net.words.threads.self);
  return bytes;
}

function askWeb(port: number): unknown {
  const connection = socket(1, port);
  send(connection, encoder.encode('GET / HTTP/1.0\r\n\r\n'));
  let text = '';
  for (let got = receive(connection); got !== undefined; got = receive(connection)) text += decoder.decode(got);
  close(connection);
  return { text, refused: ask(1, 1) };
}

/** Gives a datagram back to who sent it. */
function answerDatagram(): unknown {
  const bound = socket(3, 0);
  report({ port: at(network().words, bound.line + 36) });
  const datagram = receive(bound) as Uint8Array;
  send(bound, datagram);
  close(bound);
  return decoder.decode(datagram.subarray(32));
}

// --- a block device -------------------------------------------------------------------------------------------------------------

/** Runs one request to its end: its error, 0 for none. */
function transfer(command: number, sector: number, count: number, id: string, offset: number): number {
  const disk = device('disk');
  const { words, root } = disk;
  const line = claim(disk, at(words, root + 532), at(words, root + 528), 64, 4);
  put(words, line + 8, command);
  put(words, line + 12, 0);
  Atomics.store(new BigInt64Array(words.i32.buffer, words.i32.byteOffset + line + 16, 1), 0, BigInt(sector));
  put(words, line + 24, count);
  put(words, line + 28, offset);
  words.u8.set(Buffer.from(id, 'hex'), line + 32);
  put(words, line, 1);
  knock(disk);
  whileWord(disk, line, 1);
  whileWord(disk, line, 2);
  const error = at(words, line) === 4 ? at(words, line + 12) : 0;
  put(words, line, 0);
  put(words, line + 4, 0);
  return error;
}

function useBlock(): unknown {
  const pages = space.names.get('/pages');
  const { u8 } = pages.sync();
  const [from, to] = [pages.rootOffset, pages.rootOffset + 4096];
  const { words, root } = device('disk');
  for (let i = 0; i < 1024; i++) u8[from + i] = i * 7;
  const errors = [
    transfer(2, 5, 2, pages.id, from),
    transfer(3, 0, 0, '0'.repeat(32), 0),
    transfer(1, 4, 4, pages.id, to),
    transfer(1, 1_000_000, 1, pages.id, to),
    transfer(1, 0, 1, pages.id, 0),
    transfer(9, 0, 1, pages.id, to),
  ];
  const same = Array.from({ length: 1024 }, (_, i) => u8[to + 512 + i] === u8[from + i]).every(Boolean);
  const discard = transfer(4, 5, 1, pages.id, 0);
  const again = transfer(1, 5, 1, pages.id, to);
  return { size: at(words, root + 512), sectors: at(words, root + 520), errors, same, discarded: [discard, again, u8[to], u8[to + 511]] };
}

const PARTS: Readonly<Record<string, () => unknown>> = {
  clock: useClock,
  timer: useTimer,
  entropy: useEntropy,
  console: useConsole,
  gone: useUntilGone,
  echo,
  web: () => askWeb(Number(argument)),
  datagram: answerDatagram,
  block: useBlock,
};

const value = PARTS[part]?.();
// Nothing of Node's was open meanwhile, but the pipes that it was started with.
const open_ = process.getActiveResourcesInfo().filter((each) => /TCP|UDP|FSReq|Timeout/.test(each));
report({ value, open: open_ });
space.close();
