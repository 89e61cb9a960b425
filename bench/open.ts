/**
 * Opening: there is no load step, so the size of a space must not matter; what was in the log when the process died is replayed.
 */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ObjectId, open as openSpace } from '../src/index.ts';
import { inChild } from './child.ts';
import { Chain } from './graph.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, nanoseconds } from './harness.ts';
import { makeLarge, makeMany } from './big-spaces.ts';
import { betterSqlite3, isAbsent, lmdb } from './peers.ts';

/** Opens, reads a field of one object, closes. The clock stops at the answer. */
function opening(name: string, directory: string, id: ObjectId, note?: string): Side {
  return {
    name,
    measure() {
      const start = nanoseconds();
      const space = openSpace(directory);
      const { count } = space.get(id, Chain);
      const spent = nanoseconds() - start;
      space.close();
      if (count !== 0) throw new Error(`the root says ${count}`);
      return spent / 1e6;
    },
    ...(note === undefined ? {} : { note }),
  };
}

async function openingLmdb(directory: string, records: number): Promise<Side | Absent> {
  const name = `lmdb of ${records} records`;
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const options = {
    path: join(directory, 'open.lmdb'),
    keyEncoding: 'uint32',
    encoding: 'binary',
  } as const;
  const store = peer.open(options);
  await store.transaction(() => {
    for (let i = 0; i < records; i++) void store.put(i, Buffer.alloc(100, i & 255));
  });
  await store.flushed;
  await store.close();
  return {
    name,
    async measure() {
      const start = nanoseconds();
      const again = peer.open(options);
      const record = again.getBinary(records >> 1);
      const spent = nanoseconds() - start;
      await again.close();
      if (record?.length !== 100) throw new Error('lmdb lost a record');
      return spent / 1e6;
    },
  };
}

function openingSqlite(directory: string, records: number): Side | Absent {
  const name = `better-sqlite3 of ${records} records`;
  const Sqlite = betterSqlite3();
  if (isAbsent(Sqlite)) return { name, absent: Sqlite.absent };
  const path = join(directory, 'open.sqlite');
  const db = new Sqlite(path);
  db.exec('CREATE TABLE record (id INTEGER PRIMARY KEY, data BLOB)');
  const insert = db.prepare('INSERT INTO record VALUES (?, ?)');
  db.transaction(() => {
    for (let i = 0; i < records; i++) insert.run(i, Buffer.alloc(100, i & 255));
  })();
  db.close();
  return {
    name,
    measure() {
      const start = nanoseconds();
      const again = new Sqlite(path);
      const row = again.prepare('SELECT data FROM record WHERE id = ?').get(records >> 1);
      const spent = nanoseconds() - start;
      again.close();
      if (typeof row !== 'object') throw new Error('SQLite lost a record');
      return spent / 1e6;
    },
  };
}

async function recovery(context: Context): Promise<void> {
  const bytes = context.size(100_000_000, 200_000);
  const directory = join(context.directory, 'crashed');
  context.progress('open: filling a log of 100 MB and killing the process');
  const { signal } = inChild(['fill-log', directory, bytes, context.size(1_000_000, 1000)]);
  if (signal !== 'SIGKILL') throw new Error('the process that fills the log was to be killed');
  const copy = join(context.directory, 'recovering');
  await compare(context, 'open', {
    name: `recovery of ${Math.round(bytes / 1e6)} MB of log`,
    unit: 'ms',
    better: 'lower',
    limit: 1000,
    peers: [],
    ours: {
      name: 'open after SIGKILL',
      note: 'the log holds transactions of two fields in two random nodes of 1M, none of them applied to the object file',
      measure() {
        rmSync(copy, { recursive: true, force: true });
        cpSync(directory, copy, { recursive: true });
        const start = nanoseconds();
        const space = openSpace(copy);
        const spent = nanoseconds() - start;
        space.close();
        return spent / 1e6;
      },
    },
  });
}

async function run(context: Context): Promise<void> {
  const small = join(context.directory, 'small');
  const big = join(context.directory, 'big');
  const many = join(context.directory, 'many');
  context.progress('open: making the spaces');
  const [smallId] = makeLarge(small, context.size(10 << 20, 1 << 20));
  const [bigId] = makeLarge(big, context.size(10 * 2 ** 30, 8 << 20));
  const [manyId] = makeMany(many, context.size(10_000, 50));
  if (smallId === undefined || bigId === undefined || manyId === undefined) throw new Error('a space is empty');
  const records = context.size(1_000_000, 1000);
  const reference = opening('10 MB', small, smallId);
  await compare(context, 'open', {
    name: 'open and read a field',
    unit: 'ms',
    better: 'lower',
    limit: 5,
    ours: opening('10 GB', big, bigId, 'the 10 GB are 20 objects of 512 MiB, sparse files with a byte written in every MiB'),
    peers: [
      { side: reference, target: 2, reference: true },
      { side: await openingLmdb(context.directory, records) },
      { side: openingSqlite(context.directory, records) },
    ],
  });
  await compare(context, 'open', {
    name: 'open and read a field',
    unit: 'ms',
    better: 'lower',
    ours: opening('10,000 objects', many, manyId),
    peers: [{ side: reference, reference: true }],
  });
  await recovery(context);
}

export const open: Benchmark = {
  name: 'open',
  about: 'Opening a small and a large space in a running process, and recovery after the death of one.',
  run,
};
