/**
 * What a page costs that comes when it is touched. The source is a thread of this process, with everything in memory: what is measured is the
 * way there and back, without a network.
 *
 * The reference of a touch that asks is the same question without a fault: a message to the same thread, and its answer waited for.
 */
import { objectOf, open, struct, u32, vec, type ObjectId, type Space } from '../src/index.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import type { Window } from '../src/host/host.ts';
import { PAGE_LIMITS, createPageSource, type PageLimits, type PageSource, type PagedRegion } from '../src/host/pages.ts';
import { pageIn } from '../src/services/pager.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, median, nanoseconds, rate, timeEach } from './harness.ts';
import { startSource } from './paging-child.ts';

const PAGE = 4096;
const MB = 1e6;
const NO_FAULTS = 'this machine gives no page faults to programs';

/** Runs with a new region of `bytes` bytes. */
function inRegion(
  window: Window,
  source: PageSource,
  bytes: number,
  limits: Partial<PageLimits>,
  use: (words: Int32Array, region: PagedRegion) => number,
): number {
  const { pages } = new LinuxHost();
  if (pages === undefined) throw new Error(NO_FAULTS);
  const region = pages.open(window, 0, { object: 'zeros', version: 1, size: bytes }, source, { ...PAGE_LIMITS, ...limits });
  try {
    const mark = region.begin(600_000);
    const result = use(new Int32Array(window.buffer, 0, bytes / 4), region);
    if (region.failedSince(mark)) throw region.error();
    return result;
  } finally {
    region.close();
    window.clear(0, bytes, true);
  }
}

/** Microseconds a page. `ready`: pages that came with another one and were not shown yet; the others are asked for one by one. */
function touches(window: Window, source: PageSource, count: number, ready: boolean): () => number {
  return () =>
    inRegion(window, source, count * 16 * PAGE, ready ? {} : { first: PAGE }, (words, region) => {
      const taken: number[] = [];
      let sum = 0;
      const touch = (page: number): number => {
        const start = nanoseconds();
        sum += words[page * 1024] ?? 1;
        return nanoseconds() - start;
      };
      for (let i = 0; i < count; i++) {
        // From the last to the first: no touch goes on where another one was.
        const page = (count - 1 - i) * 16;
        if (ready) touch(page);
        taken.push(touch(ready ? page + 2 : page));
      }
      const { ready: found, questions } = region.counters();
      if (sum !== 0 || (ready ? found : questions) < count * 0.9) throw new Error('the pages came otherwise');
      return median(taken) / 1000;
    });
}

function asked(source: PageSource, count: number): Side {
  const into = new Uint8Array(new SharedArrayBuffer(PAGE));
  const what = { object: 'zeros', version: 1, size: count * PAGE };
  return {
    name: 'the same question, no fault',
    measure: () =>
      timeEach(count, () => {
        for (let i = 0; i < count; i++) source.fetch(what, i * PAGE, into, 10_000);
      }) / 1000,
  };
}

/** Bytes a second, in MB: all pages in order. */
function scan(window: Window, source: PageSource, bytes: number): () => number {
  return () =>
    inRegion(window, source, bytes, {}, (words) => {
      let sum = 0;
      const perSecond = rate(bytes / MB, () => {
        for (let at = 0; at < words.length; at += 1024) sum += words[at] ?? 1;
      });
      if (sum !== 0) throw new Error('zeros were expected');
      return perSecond;
    });
}

function wholeThenScan(window: Window, source: PageSource, bytes: number): () => number {
  return () => {
    const words = new Int32Array(window.buffer, 0, bytes / 4);
    let sum = 0;
    const perSecond = rate(bytes / MB, () => {
      for (let at = 0; at < bytes; at += PAGE_LIMITS.ahead)
        source.fetch(
          { object: 'zeros', version: 1, size: bytes },
          at,
          new Uint8Array(window.buffer, at, Math.min(PAGE_LIMITS.ahead, bytes - at)),
          10_000,
        );
      for (let at = 0; at < words.length; at += 1024) sum += words[at] ?? 1;
    });
    window.clear(0, bytes, true);
    if (sum !== 0) throw new Error('zeros were expected');
    return perSecond;
  };
}

const Row = struct('Row', { values: vec(u32) });

interface Rows {
  readonly space: Space;
  readonly id: ObjectId;
  readonly file: Uint8Array;
  readonly count: number;
}

function rowsIn(directory: string, count: number): Rows {
  const space = open(directory);
  const row = space.relaxed(() => space.create(Row, { values: Array.from({ length: count }, (_, i) => i & 255) }));
  const bytes = objectOf(row).export();
  const file = new Uint8Array(new SharedArrayBuffer(bytes.length));
  file.set(bytes);
  return { space, id: objectOf(row).id, file, count };
}

/** Loads of what is here already, beside the same of an object of the space. */
async function loads(context: Context, { space, id, file, count }: Rows, source: PageSource): Promise<void> {
  const paged = pageIn(space, source, [{ id, size: file.length, version: 1 }]);
  const own = space.get(id, Row).values;
  const far = paged.read(() => paged.root(Row).values);
  const sumOf = (from: typeof own): void => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += from.get(i);
    if (sum === 0) throw new Error('something was expected');
  };
  await compare(context, 'paging', {
    name: 'vec.get, pages here',
    unit: 'ns',
    better: 'lower',
    ours: { name: 'paged object', measure: () => paged.read(() => timeEach(count, () => sumOf(far))) },
    peers: [{ side: { name: 'object of the space', measure: () => timeEach(count, () => sumOf(own)) }, reference: true }],
  });
}

async function run(context: Context): Promise<void> {
  const host = new LinuxHost();
  const { pages } = host;
  const absent: Absent = { name: 'an object fetched whole', absent: NO_FAULTS };
  if (pages === undefined) {
    const ours: Side = { name: 'by touch', measure: () => Number.NaN };
    await compare(context, 'paging', { name: 'first touch of a page', unit: 'us', better: 'lower', ours, peers: [{ side: absent }] });
    return;
  }
  const window = host.openWindow();
  const rows = rowsIn(`${context.directory}/rows`, context.size(1_000_000, 2000));
  const plain = createPageSource(undefined);
  const far = createPageSource(pages);
  const workers = [await startSource(plain.end), await startSource(far.end, new Map([[rows.id, rows.file]]))];
  const count = context.size(1000, 20);
  const bytes = context.size(256, 4) << 20;
  const side = (name: string, measure: () => number): Side => ({ name, measure });
  await compare(context, 'paging', {
    name: 'first touch of a page',
    unit: 'us',
    better: 'lower',
    ours: side('asked for', touches(window, far.source, count, false)),
    peers: [
      { side: asked(plain.source, count), reference: true },
      { side: side('at hand, not shown', touches(window, far.source, count, true)), reference: true },
    ],
  });
  await compare(context, 'paging', {
    name: 'reading in order, nothing here',
    unit: 'MB/s',
    better: 'higher',
    ours: side('by touch', scan(window, far.source, bytes)),
    peers: [{ side: side('fetched whole, then read', wholeThenScan(window, plain.source, bytes)), reference: true }],
  });
  await loads(context, rows, far.source);
  for (const worker of workers) await worker.terminate();
  rows.space.close();
  window.close();
}

export const paging: Benchmark = {
  name: 'paging',
  about: 'pages that come when they are touched: one, many in order, and loads once they are here',
  run,
};
