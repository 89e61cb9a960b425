/** Waiting for what nobody tells: it is looked for from time to time, so that those who are waited for have the processors. */
import assert from 'node:assert/strict';

const LOOK_MS = 4;
/** Only what hangs takes as long. */
const PATIENCE_MS = 120_000;

/** Resolves when `so` is. */
export function until(so: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  return new Promise((resolve, reject) => {
    const look = async (): Promise<void> => {
      try {
        if (await so()) return resolve();
        assert.ok(performance.now() < end, `not so after ${PATIENCE_MS / 1000} s: ${String(so)}`);
      } catch (error) {
        return reject(error);
      }
      setTimeout(() => void look(), LOOK_MS);
    };
    void look();
  });
}
