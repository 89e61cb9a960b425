/** The other process of `bench sync`: answers each change of one word of a shared object with the same in another. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SyncWords } from '../src/index.ts';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';

export const SYNC_CHILD: string = fileURLToPath(import.meta.url);
export const ASKED = 0;
export const ANSWERED = 16;
const BYTES = 4096;

/** The words of a file, as every process that maps it sees them. */
export function mapWords(directory: string): SyncWords {
  const host = new LinuxHost();
  const window = host.openWindow();
  const file = host.open(join(directory, 'words'), 'create');
  host.truncate(file, BYTES);
  window.mapShared(0, BYTES, file, 0);
  host.close(file);
  return new Region(host.futex, new Uint8Array(window.buffer, 0, BYTES));
}

/** Looks until the word has changed, `spins` times before it sleeps; with spins below zero it never sleeps. */
export function awaitChange(words: SyncWords, index: number, old: number, spins: number): void {
  const { i32 } = words;
  for (let looked = 0; Atomics.load(i32, index) === old; looked++) if (spins >= 0 && looked >= spins) words.wait(index, old);
}

export function tell(words: SyncWords, index: number, value: number, spins: number): void {
  Atomics.store(words.i32, index, value);
  if (spins >= 0) words.wake(index, 1);
}

if (process.argv[1] === SYNC_CHILD) {
  const [directory = '', rounds, spins] = process.argv.slice(2);
  const words = mapWords(directory);
  for (let i = 1; i <= Number(rounds); i++) {
    awaitChange(words, ASKED, i - 1, Number(spins));
    tell(words, ANSWERED, i, Number(spins));
  }
}
