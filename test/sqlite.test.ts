/** T21: SQLite on objects: its pages are an object's, its commits the space's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../src/services/sqlite.ts';
import { fails, onHosts, type Ground } from './hosts.ts';
import { begin, transferOf } from './sqlite-victim.ts';
import { amount } from './thorough.ts';

const VICTIM = fileURLToPath(new URL('sqlite-victim.js', import.meta.url));

/** Runs the victim and kills it in the midst of its work, when it has said `lines`; gives the last transfer that it said was committed. */
function kill(ground: Ground, lines: number, durability: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VICTIM, ground.directory, ground.name, durability], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    let seen = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      seen += chunk.toString().split('\n').length - 1;
      if (seen >= lines) child.kill('SIGKILL');
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`ended by ${signal ?? code}`));
      else resolve(Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1)));
    });
  });
}

/** Balances and journal after transfers 0 … last. */
function model(last: number): { readonly balances: number[]; readonly journal: Map<number, string> } {
  const balances = Array.from({ length: 512 }, () => 1000);
  const journal = new Map<number, string>();
  for (let n = 0; n <= last; n++) {
    const { from, to, amount, note } = transferOf(n);
    balances[from] = (balances[from] ?? 0) - amount;
    balances[to] = (balances[to] ?? 0) + amount;
    journal.set(n, note);
    if (n % 50 === 49) for (const old of journal.keys()) if (old % 3 === 0 && old < n) journal.delete(old);
  }
  return { balances, journal };
}

onHosts(
  'T21: a process is killed in the midst of transactions, again and again; the next finds the last that had returned, whole',
  async (ground, t) => {
    let lasted = 0;
    for (const [lines, durability] of [
      [1, 'relaxed'],
      [amount(100, 300), 'relaxed'],
      [40, 'durable'],
    ] as const) {
      const said = await kill(ground, lines, durability);
      const space = ground.open();
      const database = openDatabase(space, '/bank', { durability: 'relaxed' });
      assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
      const last = Number(database.prepare('SELECT max(n) FROM journal').pluck().get());
      // One more may have been committed than it had time to say.
      assert.ok(last === said || last === said + 1, `said ${said}, found ${last}`);
      const { balances, journal } = model(last);
      assert.deepEqual(database.prepare('SELECT balance FROM account ORDER BY id').pluck().all(), balances);
      assert.deepEqual(new Map(database.prepare('SELECT n, note FROM journal ORDER BY n').raw().all() as [number, string][]), journal);
      lasted = last;
      database.close();
      space.close();
    }
    t.diagnostic(`${lasted + 1} transfers, three kills`);
  },
  ['linux', 'portable'],
);

onHosts(
  'T21: a database is made, filled, closed and opened again; names, types and what is no database',
  (ground) => {
    const space = ground.open();
    const database = openDatabase(space, '/bank');
    begin(database);
    assert.equal(database.prepare('SELECT sum(balance) FROM account').pluck().get(), 512_000);
    database.close();
    database.close();
    fails('SqliteClosed', () => database.exec('SELECT 1'));
    space.relaxed(() => space.names.set('/other', space.createRaw(100)));
    fails('NotDatabase', () => openDatabase(space, '/other'));
    fails('NameMissing', () => openDatabase(space, '/none', { create: false }));
    fails('NameMissing', () => openDatabase(space, '/none', { readonly: true }));
    const again = openDatabase(ground.afterClose(space), '/bank', { readonly: true });
    assert.equal(again.prepare('SELECT count(*) FROM account').pluck().get(), 512);
    fails('SqliteFailed', () => again.exec('DELETE FROM account'));
    again.close();
  },
  ['linux', 'portable'],
);
