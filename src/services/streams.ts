/** Streams of Node between two programs: bytes, over a ring there and a ring back. The package's entry `twizzler/streams`. */
import type { SyncWords } from '../abi/sync.ts';
import { duplexOver, type Duplex } from '../host/node-streams.ts';
import { LONGEST, createEnds, openEnds, type Ends, type PortOptions } from './port.ts';

export { portBytes as streamBytes, type PortOptions } from './port.ts';

function streamOver({ producer, consumer }: Ends, longest: number): Duplex {
  return duplexOver({
    read: () => consumer.receiveAsync(),
    async write(chunk) {
      for (let at = 0; at < chunk.length; at += longest) await producer.submitAsync(chunk.subarray(at, at + longest));
    },
    end: () => producer.close(),
    destroy() {
      producer.close();
      consumer.close();
      producer.leave();
      consumer.leave();
    },
  });
}

/** Makes a stream at byte `at`, a multiple of 64, of memory that is zero. Back-pressure is the rings' own. */
export function createStream(words: SyncWords, at: number, options: PortOptions = {}): Duplex {
  return streamOver(createEnds(words, at, options), options.longest ?? LONGEST);
}

/** The other side of a stream that somebody made. Throws QueueInvalid. */
export function openStream(words: SyncWords, at: number, options: PortOptions = {}): Duplex {
  return streamOver(openEnds(words, at, options), options.longest ?? LONGEST);
}
