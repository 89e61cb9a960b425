/**
 * A web server that has no socket, no clock, no timer and no terminal, but the objects that stand for them: it imports nothing of Node's. It
 * runs in a space whose devices somebody drives. Where it listens it says in the object `/web`.
 *
 *   /  a greeting   /time  by the clock   /random  16 bytes   /later  after 30 ms, by a timer
 */
import {
  openDevice,
  struct,
  u32,
  type ClockDevice,
  type Connection,
  type ConsoleDevice,
  type EntropyDevice,
  type Space,
  type TimerDevice,
} from '../../src/index.ts';

/** In a shared object: the port, for whoever wants to ask. */
export const Web = struct('Web', { port: u32 });

const HEAD_MAX = 8192;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

interface Machine {
  readonly clock: ClockDevice;
  readonly timer: TimerDevice;
  readonly entropy: EntropyDevice;
  readonly terminal: ConsoleDevice;
}

interface Answer {
  readonly status: string;
  readonly body: string;
}

async function answer(path: string, { clock, timer, entropy }: Machine): Promise<Answer> {
  const status = '200 OK';
  if (path === '/') return { status, body: 'made of objects\n' };
  if (path === '/time') return { status, body: `${new Date(Number(clock.wall() / 1_000_000n)).toISOString()}\n` };
  if (path === '/random')
    return { status, body: `${[...(await entropy.bytes(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}\n` };
  if (path === '/later') {
    using pause = timer.arm({ after: 30 });
    await pause.wait();
    return { status, body: 'now\n' };
  }
  return { status: '404 Not Found', body: 'there is nothing\n' };
}

/** The head of the next request; undefined at the end. `rest` is what came behind it. */
async function headOf(connection: Connection, rest: string): Promise<{ head: string; rest: string } | undefined> {
  for (let text = rest; ;) {
    const end = text.indexOf('\r\n\r\n');
    if (end >= 0) return { head: text.slice(0, end), rest: text.slice(end + 4) };
    const bytes = text.length > HEAD_MAX ? undefined : await connection.receive();
    if (bytes === undefined) return undefined;
    text += decoder.decode(bytes);
  }
}

/** Serves one connection to its end, request by request. */
async function converse(connection: Connection, machine: Machine): Promise<void> {
  using _ = connection;
  for (let next = await headOf(connection, ''); next !== undefined; next = await headOf(connection, next.rest)) {
    const [method = '', path = ''] = next.head.split(' ');
    const { status, body } = method === 'GET' ? await answer(path, machine) : { status: '405 Method Not Allowed', body: '' };
    await connection.send(
      encoder.encode(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\nContent-Type: text/plain\r\n\r\n${body}`),
    );
    await machine.terminal.write(`${connection.remote.host} ${method} ${path} ${status}\n`);
  }
}

/** Serves until the network is gone. */
export async function serve(space: Space): Promise<void> {
  const machine: Machine = {
    clock: openDevice(space, 'clock'),
    timer: openDevice(space, 'timer'),
    entropy: openDevice(space, 'entropy'),
    terminal: openDevice(space, 'console'),
  };
  const listener = await openDevice(space, 'network').listen();
  const web = space.names.get('/web', Web);
  web.port = listener.local.port;
  const { words, index } = { words: space.object(web).sync(), index: space.object(web).rootOffset >> 2 };
  words.wake(index);
  for await (const connection of listener)
    void converse(connection, machine).catch((error: unknown) => machine.terminal.write(`a connection broke: ${String(error)}\n`));
}
