/** A process that serves requests, echoes messages or streams: `requests-child.js FILE PART`. */
/* oxlint-disable unicorn/prefer-add-event-listener -- a port has one handler, as its property */
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { openPort, openRequests } from '../src/index.ts';
import { openStream } from '../src/services/streams.ts';
import { BYTES, RECORDS, REQUESTS_AT } from './requests-region.ts';
import { mapWords } from './sync-region.ts';

const [file = '', part = ''] = process.argv.slice(2);
const words = mapWords(new LinuxHost(), file, BYTES);
const tell = (message: unknown): void => void process.send?.(message);

/** Doubles numbers; 13 is refused; those from 1000 on wait until they are cancelled; 666 kills this process. */
async function serve(): Promise<void> {
  const responder = openRequests(words, REQUESTS_AT, RECORDS).responder();
  tell('ready');
  const held: (() => void)[] = [];
  await responder.serve(async ({ value }, isCancelled) => {
    if (value === 13) throw new RangeError('thirteen is unlucky');
    if (value === 666) process.kill(process.pid, 'SIGKILL');
    // Odd ones are completed when the next even one is.
    if (value % 2 === 1) await new Promise<void>((resolve) => held.push(resolve));
    else for (const go of held.splice(0)) go();
    while (value >= 1000 && !isCancelled()) await new Promise((resolve) => setImmediate(resolve));
    return { value: value * 2 };
  });
  tell('served');
  process.disconnect();
}

function echo(): void {
  const port = openPort(words, REQUESTS_AT);
  port.onmessage = ({ data }) => port.postMessage({ got: data });
  port.onclose = () => process.disconnect();
  tell('ready');
}

async function invert(): Promise<void> {
  const stream = openStream(words, REQUESTS_AT, { longest: 512, messages: 4 });
  tell('ready');
  await pipeline(
    stream,
    new Transform({
      transform: (chunk: Uint8Array, _encoding, done) =>
        done(
          null,
          chunk.map((byte) => byte ^ 255),
        ),
    }),
    stream,
  );
  process.disconnect();
}

if (part === 'serve') void serve();
else if (part === 'echo') echo();
else void invert();
