/** One process of a crowd: steps through its part for ever, and says after each step that it is done. Arguments: directory, member, crowd, seed. */
import { setImmediate } from 'node:timers/promises';
import * as fs from 'node:fs';
import { open } from '../index.ts';
import { act, actionOf, torn, visit, type Town } from './crowd-load.ts';

const [directory = '', memberText = '0', membersText = '1', seedText = '1'] = process.argv.slice(2);
const [member, members, seed] = [Number(memberText), Number(membersText), Number(seedText)];

const space = open(directory, { objectsMax: 40, checkpointBytes: 300_000, patience: 30_000 });
const town = visit(space, members);
const snapshot = space.snapshot();
const before: Town = {
  accounts: town.accounts.map((account) => snapshot.of(account)),
  board: snapshot.of(town.board),
  journals: town.journals.map((journal) => snapshot.of(journal)),
};

function check(where: string, state: Town): void {
  const fault = torn(state);
  if (fault === undefined) return;
  fs.writeSync(2, `member ${member}, ${where}: ${fault}\n`);
  process.exit(9);
}

let step = town.journals[member]?.step ?? 0;
for (;;) {
  for (let i = 0; i < 40; i++) {
    const next = step + 1;
    const action = actionOf(seed, member, next);
    const body = (): void => act(space, town, member, next, action);
    if (next % 29 === 0) await space.durable(body);
    else space.relaxed(body);
    step = next;
    fs.writeSync(1, `${step}\n`);
    if (step % 37 === 0) check('between transactions', town);
    if (step % 101 === 0) {
      snapshot.advance();
      check('snapshot', before);
    }
  }
  // What others do meanwhile must not be seen in the snapshot.
  check('snapshot after others', before);
  await setImmediate();
}
