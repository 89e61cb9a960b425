/** The other side of a bare queue of requests: a worker thread that gives each back as it came. */
import { fileURLToPath } from 'node:url';
import { isMainThread, workerData } from 'node:worker_threads';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { openRequests } from '../src/lib/rings/requests.ts';
import { CALL_RECORDS } from '../src/services/programs-remote.ts';

export const PROGRAMS_CHILD: string = fileURLToPath(import.meta.url);

if (!isMainThread) {
  const { words }: { words: SharedArrayBuffer } = workerData;
  const responder = openRequests(new Region(new LinuxHost().futex, new Uint8Array(words)), 0, CALL_RECORDS).responder();
  for (let request = responder.receive(); request !== undefined; request = responder.receive())
    responder.complete(request.id, request.value);
  responder.leave();
}
