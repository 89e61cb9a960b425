/** Adds to counters in a database that others change, too: each by one, as often as it is told. Arguments: directory, rounds, index. */
import { open } from '../src/index.ts';
import { openDatabase } from '../src/services/sqlite.ts';

const [, , directory = '', rounds = '0', index = '0'] = process.argv;
const space = open(directory);
const database = openDatabase(space, '/counters', { durability: 'relaxed' });
const read = database.prepare('SELECT n FROM counter WHERE id = ?').pluck();
const write = database.prepare('UPDATE counter SET n = ? WHERE id = ?');
const log = database.prepare('INSERT INTO log(who, round) VALUES (?, ?)');
const step = database.transaction((round: number) => {
  const id = round % 5;
  write.run(Number(read.get(id)) + 1, id);
  log.run(Number(index), round);
});
for (let round = 0; round < Number(rounds); round++) step(round);
database.close();
space.close();
