/** What Node gives to talk in: values as bytes, and streams. */
import { Duplex } from 'node:stream';
import * as v8 from 'node:v8';
import { TwzError } from '../abi/errors.ts';

/** The bytes of a value that can be cloned: no functions, no handles. Throws ValueMismatch. */
export function serialize(value: unknown): Uint8Array {
  try {
    return v8.serialize(value);
  } catch (cause) {
    throw new TwzError('ValueMismatch', cause instanceof Error ? cause.message : 'the value cannot be cloned', {}, cause);
  }
}

/** Throws QueueInvalid for bytes that are no value. */
export function deserialize(bytes: Uint8Array): unknown {
  try {
    return v8.deserialize(bytes);
  } catch (cause) {
    throw new TwzError('QueueInvalid', `a message of ${bytes.length} bytes is no value`, { length: bytes.length }, cause);
  }
}

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
