/** Streams of Node over bytes that come and go. Only what imports this needs Node's types. */
import { Duplex } from 'node:stream';

export type { Duplex } from 'node:stream';

/** Bytes that come and go in chunks. */
export interface Pipe {
  /** Undefined at the end. */
  read(): Promise<Uint8Array | undefined>;
  write(chunk: Uint8Array): Promise<void>;
  /** Nothing more is written. */
  end(): void;
  /** Neither side goes on. */
  destroy(): void;
}

/** A pipe as a stream of Node. Reading and writing end apart from each other. */
export function duplexOver(pipe: Pipe): Duplex {
  let reading = false;
  const stream: Duplex = new Duplex({
    allowHalfOpen: true,
    read() {
      if (reading) return;
      reading = true;
      pipe.read().then(
        (chunk) => {
          reading = false;
          stream.push(chunk ?? null);
        },
        (error: unknown) => stream.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      void passOn(pipe.write(chunk), done);
    },
    final(done) {
      pipe.end();
      done();
    },
    destroy(error, done) {
      if (error !== null || !stream.writableFinished) pipe.destroy();
      done(error);
    },
  });
  return stream;
}

async function passOn(work: Promise<void>, done: (error?: Error) => void): Promise<void> {
  try {
    await work;
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  done();
}
