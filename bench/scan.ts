/** Reading in order: the whole map, forwards and backwards, and ranges of a hundred entries from a random key on. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isAbsent } from './peers.ts';
import { INTEGER, TEXT, draws, touch, valueOf, type Keys } from './entries.ts';
import { contest, nanoseconds, shuffled, type Absent, type Benchmark, type Context, type Side } from './harness.ts';
import { lmdbInC } from './kv.ts';
import { fillStore, inLevel, inLmdb, inSqlite, oursOrdered, type Span, type Store } from './stores.ts';

const ROWS = 100;

type Scan<K> = (span: Span<K>) => number | Promise<number>;

/** Rows a second over spans that together have `rows` rows whose touched bytes add up to `sum`. */
function scanning<K>(name: string, scan: Scan<K>, spans: readonly Span<K>[], rows: number, sum: number, note?: string): Side {
  return {
    name,
    async measure() {
      let found = 0;
      const start = nanoseconds();
      for (const span of spans) {
        const part = scan(span);
        // Awaiting what is there already would cost the synchronous ones a turn.
        found += typeof part === 'number' ? part : await part;
      }
      const spent = nanoseconds() - start;
      if (found !== sum) throw new Error(`${name} read ${found}, and ${sum} was written`);
      return (rows * 1e9) / spent;
    },
    ...(note === undefined ? {} : { note }),
  };
}

interface Case<K> {
  readonly name: string;
  readonly spans: readonly Span<K>[];
  readonly rows: number;
  readonly sum: number;
  readonly target: number | undefined;
  /** How the C program is told. */
  readonly c: string;
}

function cases<K extends string | number>(context: Context, keys: Keys<K>, count: number): readonly Case<K>[] {
  const ranges = context.size(3000, 5);
  const touched = Array.from({ length: count }, (_, i) => touch(valueOf(i)));
  const all = touched.reduce((sum, each) => sum + each, 0);
  const starts = [...draws(ranges, count - ROWS, 21)];
  const part = (from: number): number => touched.slice(from, from + ROWS).reduce((sum, each) => sum + each, 0);
  return [
    { name: 'all, forwards', spans: [{}], rows: count, sum: all, target: 10, c: 'forwards' },
    { name: 'all, backwards', spans: [{ reverse: true }], rows: count, sum: all, target: 10, c: 'reverse' },
    {
      name: `ranges of ${ROWS}`,
      spans: starts.map((from) => ({ start: keys.of(from), limit: ROWS })),
      rows: ranges * ROWS,
      sum: starts.reduce((sum, from) => sum + part(from), 0),
      target: undefined,
      c: 'ranges',
    },
  ];
}

async function scans<K extends string | number>(whole: Context, keys: Keys<K>): Promise<void> {
  const context = { ...whole, directory: join(whole.directory, keys.c) };
  mkdirSync(context.directory);
  const count = context.size(1_000_000, 1000);
  const order = shuffled(count, 3);
  const ordered = oursOrdered(context.directory, keys);
  const lmdbStore = await inLmdb(context.directory, keys, 'noSync');
  const sqlite = await inSqlite(context.directory, keys);
  const level = await inLevel(context.directory, keys);
  const peers = [lmdbStore, sqlite, level].flatMap((store) => ('absent' in store ? [] : [store]));
  for (const store of [ordered, ...peers]) {
    context.progress(`scan: ${count} entries for ${store.name}`);
    await fillStore(
      store,
      keys,
      count,
      (i) => valueOf(i),
      (i) => order[i] ?? 0,
    );
  }
  const c = lmdbInC(context.directory, keys, count);
  for (const { name, spans, rows, sum, target, c: mode } of cases(context, keys, count)) {
    const peer = (store: Store<K> | Absent, as: string): Side | Absent =>
      'absent' in store ? { ...store, name: as } : scanning(as, (span) => store.scan(span), spans, rows, sum);
    const inC: Side | Absent = isAbsent(c.program)
      ? { ...c.program, name: 'lmdb, C' }
      : {
          name: 'lmdb, C',
          measure() {
            const [each = Number.NaN] = isAbsent(c.program) ? [] : c.program.run(['scan', c.path, keys.c, count, mode, spans.length]);
            return 1e9 / each;
          },
        };
    await contest(context, 'scan', {
      name: `${name}, ${keys.name}`,
      unit: 'rows/s',
      better: 'higher',
      ours: [
        { side: scanning('orderedMap, cursor', (span: Span<K>) => ordered.scan(span), spans, rows, sum) },
        { side: scanning('orderedMap, range, copies', (span: Span<K>) => ordered.iterate(span), spans, rows, sum) },
      ],
      peers: [
        { side: peer(lmdbStore, 'lmdb, getRange'), targets: [target, undefined] },
        { side: peer(sqlite, 'better-sqlite3') },
        { side: peer(level, 'classic-level') },
        { side: inC },
      ],
    });
  }
  for (const store of [ordered, ...peers]) await store.close();
}

export const scan: Benchmark = {
  name: 'scan',
  about: 'Reading 1M entries of 100 bytes in order, forwards and backwards, and ranges of 100; put in at random.',
  async run(context) {
    await scans(context, TEXT);
    await scans(context, INTEGER);
  },
};
