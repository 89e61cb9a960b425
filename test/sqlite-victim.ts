/**
 * Transfers between accounts, a line each on standard output when it is committed, until it is killed. Arguments: directory, host, durability.
 * The state after transfer n follows from n alone.
 */
import { writeSync } from 'node:fs';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PortableHost } from '../src/host/portable/portable.ts';
import { open } from '../src/index.ts';
import { openDatabase, type Database } from '../src/services/sqlite.ts';

export const ACCOUNTS = 400;

/** What transfer `n` does, by multiplication alone: the model of the test does the same. */
export function transferOf(n: number): { readonly from: number; readonly to: number; readonly amount: number; readonly note: string } {
  return {
    from: Math.imul(n + 1, 0x9e3779b1) >>> 23,
    to: Math.imul(n + 7, 0x85ebca6b) >>> 23,
    amount: (n % 97) + 1,
    note: `transfer ${n} `.repeat((n % 40) + 1),
  };
}

export function begin(database: Database): void {
  database.exec(`CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS journal(n INTEGER PRIMARY KEY, note TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS by_note ON journal(note)`);
  const add = database.prepare('INSERT OR IGNORE INTO account VALUES (?, 1000)');
  database.transaction(() => {
    for (let i = 0; i < 512; i++) add.run(i);
  })();
}

if (process.argv[1]?.endsWith('sqlite-victim.js') === true) {
  const [, , directory = '', host, durability] = process.argv;
  const space = open(directory, { host: host === 'linux' ? new LinuxHost() : new PortableHost(), checkpointBytes: 1 << 20 });
  const database = openDatabase(space, '/bank', { durability: durability === 'durable' ? 'durable' : 'relaxed' });
  begin(database);
  const change = database.prepare('UPDATE account SET balance = balance + ? WHERE id = ?');
  const note = database.prepare('INSERT INTO journal VALUES (?, ?)');
  const forget = database.prepare('DELETE FROM journal WHERE n % 3 = 0 AND n < ?');
  const first = database.prepare('SELECT coalesce(max(n) + 1, 0) FROM journal').pluck().get();
  if (typeof first !== 'number') throw new Error('no number');
  const transfer = database.transaction((n: number) => {
    const { from, to, amount, note: text } = transferOf(n);
    change.run(-amount, from);
    change.run(amount, to);
    note.run(n, text);
    if (n % 50 === 49) forget.run(n);
  });
  for (let n = first; ; n++) {
    transfer(n);
    writeSync(1, `${n}\n`);
  }
}
