/**
 * The process that gets killed. `half`: changes thousands of synsets in one transaction that never ends. `busy`: commits small
 * transactions without pause, and says so after each. It never closes the space and never waits for the disk.
 */
import { writeSync } from 'node:fs';
import { open, struct, u32, type Infer } from '../../src/index.ts';
import { openImport } from '../../src/services/import.ts';
import { Synset } from './graph.ts';

/** What the busy one writes: both numbers in the same transaction, in two objects. */
export const Tally = struct('Tally', { count: u32 });
export type Tally = Infer<typeof Tally>;
export const TALLIES = ['/demo/left', '/demo/right'] as const;

/** Synsets that `half` has changed when it says that it may be killed; or half of them where there are fewer. */
const SPOILED = 20_000;

function half(directory: string): void {
  const space = open(directory);
  const wordnet = openImport(space, 'wordnet');
  const synsets = wordnet.collections.find(({ name }) => name === 'synsets')?.count ?? 0;
  const enough = Math.min(SPOILED, Math.ceil(synsets / 2));
  space.relaxed(() => {
    let spoiled = 0;
    for (;;) {
      for (const synset of wordnet.all('synsets', Synset)) {
        synset.gloss = 'lost';
        synset.hypernyms = null;
        synset.senses = null;
        if (++spoiled === enough) writeSync(1, `${spoiled}\n`);
      }
    }
  });
}

function busy(directory: string): void {
  const space = open(directory);
  const [left, right] = TALLIES.map((path) => space.names.get(path, Tally));
  if (left === undefined || right === undefined) return;
  for (;;) {
    space.relaxed(() => {
      left.count++;
      right.count++;
    });
    writeSync(1, `${left.count}\n`);
  }
}

const [, , task, directory] = process.argv;
if (directory !== undefined && task === 'half') half(directory);
if (directory !== undefined && task === 'busy') busy(directory);
