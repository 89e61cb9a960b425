import type { Host, Lock } from './host.ts';

/** Keeps everybody out, for who reads or mends the files of a space. Throws SpaceBusy where somebody has it open. */
export function holdSpace(host: Host, directory: string): Lock {
  const lock = host.lock(`${directory}/lock`);
  if (!host.sharing) return lock;
  try {
    const users = host.lock(`${directory}/users`);
    return {
      release: () => {
        users.release();
        lock.release();
      },
      share: () => undefined,
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}
