/**
 * A transaction that changes a field in each of two random nodes of 1M, without waiting for the disk: what it left survives the
 * death of the process at once, and a power failure a few milliseconds later.
 *
 * Every so many transactions everybody lets the event loop turn, as a server would: the log is synced behind the program's back, and
 * a figure that leaves this out is no figure.
 */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Space, open } from '../src/index.ts';
import { compile } from './c.ts';
import { type Node, makeChain, nodesOf } from './graph.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, generator, rateAsync } from './harness.ts';
import { type LmdbOptions, betterSqlite3, isAbsent, lmdb } from './peers.ts';

const TURN = 256;

/** Transactions a second of `transaction`, which is handed two random nodes and a value never written before. */
function side(
  name: string,
  nodes: number,
  transactions: number,
  transaction: (a: number, b: number, value: number) => void,
  note?: string,
): Side {
  const random = generator(11);
  let value = 0;
  const measure = (): Promise<number> =>
    rateAsync(transactions, async () => {
      for (let done = 0; done < transactions;) {
        for (const end = Math.min(done + TURN, transactions); done < end; done++) transaction(random(nodes), random(nodes), ++value);
        await setImmediate();
      }
    });
  return { name, measure, ...(note === undefined ? {} : { note }) };
}

function ours(space: Space, nodes: readonly Node[], transactions: number): Side {
  return side('accessors', nodes.length, transactions, (a, b, value) => {
    space.relaxed(() => {
      const first = nodes[a];
      const second = nodes[b];
      if (first !== undefined) first.value = value;
      if (second !== undefined) second.value = value + 1;
    });
  });
}

async function inLmdb(
  name: string,
  options: Omit<LmdbOptions, 'keyEncoding' | 'encoding'>,
  nodes: number,
  transactions: number,
  note: string,
): Promise<Side | Absent> {
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const store = peer.open({ ...options, keyEncoding: 'uint32', encoding: 'binary' });
  await store.transaction(() => {
    for (let i = 0; i < nodes; i++) void store.put(i, Buffer.alloc(16, i & 255));
  });
  const change = (key: number, value: number): void => {
    const record = store.getBinary(key);
    if (record === undefined) throw new Error(`lmdb lost record ${key}`);
    new DataView(record.buffer, record.byteOffset).setUint32(0, value, true);
    store.putSync(key, record);
  };
  return side(
    name,
    nodes,
    transactions,
    (a, b, value) => {
      store.transactionSync(() => {
        change(a, value);
        change(b, value + 1);
      });
    },
    note,
  );
}

function inSqlite(directory: string, synchronous: 'OFF' | 'NORMAL', nodes: number, transactions: number, note: string): Side | Absent {
  const name = `better-sqlite3, WAL, synchronous=${synchronous}`;
  const Sqlite = betterSqlite3();
  if (isAbsent(Sqlite)) return { name, absent: Sqlite.absent };
  const db = new Sqlite(join(directory, `relaxed-${synchronous}.sqlite`));
  db.pragma('journal_mode = WAL');
  db.pragma(`synchronous = ${synchronous}`);
  db.pragma('cache_size = -200000');
  db.exec('CREATE TABLE node (id INTEGER PRIMARY KEY, value INTEGER, key INTEGER, next INTEGER)');
  const insert = db.prepare('INSERT INTO node VALUES (?, ?, ?, ?)');
  db.transaction(() => {
    for (let i = 0; i < nodes; i++) insert.run(i, i, i, (i + 1) % nodes);
  })();
  const update = db.prepare('UPDATE node SET value = ? WHERE id = ?');
  const both = db.transaction((a: number, b: number, value: number) => {
    update.run(value, a);
    update.run(value + 1, b);
  });
  return side(name, nodes, transactions, both, note);
}

function inPmdk(directory: string, nodes: number, transactions: number): Side | Absent {
  const name = 'PMDK libpmemobj, C';
  const program = compile(directory, 'pmdk', { source: 'pmdk.c', libraries: ['pmemobj'] });
  if (isAbsent(program)) return { name, absent: program.absent };
  let seed = 1;
  return {
    name,
    note: 'PMDK: one thread, PMEM_IS_PMEM_FORCE=1, so that it survives the death of the process like the others and, on a disk, not a power failure',
    measure() {
      const [each] = program.run([join(directory, 'pool'), nodes, transactions, seed++], {
        PMEM_IS_PMEM_FORCE: '1',
      });
      if (each === undefined) throw new Error('the PMDK program printed nothing');
      return 1e9 / each;
    },
  };
}

async function run(context: Context): Promise<void> {
  const nodes = context.size(1_000_000, 1000);
  const many = context.size(300_000, 500);
  const fewer = context.size(30_000, 200);
  const space = open(join(context.directory, 'space'));
  context.progress(`relaxed: making ${nodes} nodes for everybody`);
  const held = [...nodesOf(makeChain(space, nodes, 7).chain)];
  space.checkpoint();
  const peers = [
    {
      side: await inLmdb(
        'lmdb, noSync',
        { path: join(context.directory, 'a.lmdb'), noSync: true },
        nodes,
        fewer,
        'lmdb noSync: a power failure may corrupt the file',
      ),
      target: 5,
    },
    {
      side: await inLmdb(
        'lmdb, noSync and write map',
        { path: join(context.directory, 'b.lmdb'), noSync: true, useWritemap: true },
        nodes,
        fewer,
        'lmdb with a write map: a power failure may corrupt the file, a stray store, too',
      ),
      target: 5,
    },
    {
      side: await inLmdb(
        'lmdb, default',
        { path: join(context.directory, 'c.lmdb') },
        nodes,
        Math.ceil(fewer / 30),
        'lmdb default: transactionSync waits for the disk',
      ),
    },
    {
      side: inSqlite(
        context.directory,
        'NORMAL',
        nodes,
        fewer,
        'SQLite NORMAL: a power failure may lose what came after the last WAL checkpoint, never corrupts',
      ),
      target: 5,
    },
    {
      side: inSqlite(context.directory, 'OFF', nodes, fewer, 'SQLite OFF: a power failure may corrupt the file'),
      target: 5,
    },
    { side: inPmdk(context.directory, nodes, many) },
  ];
  const name = `two fields in two random nodes of ${nodes.toLocaleString('en-US')}`;
  await compare(context, 'relaxed', {
    name,
    unit: 'tx/s',
    better: 'higher',
    limit: 300_000,
    ours: ours(space, held, many),
    peers,
  });
  space.close();
}

export const relaxed: Benchmark = {
  name: 'relaxed',
  about: 'Transactions that do not wait for the disk: two fields in two random nodes of 1M.',
  run,
};
