/** One process of a space is its node at a time: it holds the lock on the file `node.lock`, which says which one that is. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { Host, Lock } from '../../host/host.ts';

const LENGTH_MAX = 32;

/** Throws AlreadyJoined. */
export function becomeNode(host: Host, directory: string): Lock {
  const path = `${directory}/node.lock`;
  let lock: Lock;
  try {
    lock = host.lock(path);
  } catch (error) {
    if (!isTwzError(error, 'SpaceBusy')) throw error;
    const pid = pidIn(host, path);
    const who = pid === undefined ? 'another process' : `process ${pid}`;
    throw new TwzError(
      'AlreadyJoined',
      `${directory} has joined already: ${who} is its node`,
      { directory, ...(pid === undefined ? {} : { pid }) },
      error,
    );
  }
  try {
    writePid(host, path, String(host.pid));
  } catch (error) {
    lock.release();
    throw error;
  }
  return {
    release: () => {
      // Nobody is named who is gone.
      if (host.exists(path)) writePid(host, path, '');
      lock.release();
    },
    share: () => lock.share(),
  };
}

function writePid(host: Host, path: string, text: string): void {
  const file = host.open(path, 'write');
  try {
    host.truncate(file, 0);
    if (text !== '') host.write(file, new TextEncoder().encode(text), 0);
  } finally {
    host.close(file);
  }
}

/** It has the lock before it has said who it is. */
function pidIn(host: Host, path: string): number | undefined {
  const bytes = new Uint8Array(LENGTH_MAX);
  const pid = Number(new TextDecoder().decode(bytes.subarray(0, host.readFile(path, bytes))));
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}
