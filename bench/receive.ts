/**
 * From bytes that have arrived in memory to the first use of the value in them: until one leaf is read, and until all are. The others make
 * a value or read the bytes where they are, and keep nothing; ours is a persistent object afterwards, with its own ID.
 *
 *   import               `space.import` in a relaxed transaction: checked, entered in the log, then read by accessors
 *   its file, mapped     the bytes are written as the object's file (a copy to the page cache), then the object is mapped, checked and read
 *   mapped               as before, where they had arrived in the file: it is mapped and read
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { META } from '../src/abi/format.ts';
import { readId, type ObjectId } from '../src/abi/id.ts';
import { f64, open, struct, text, u32, vec, type Infer, type Space } from '../src/index.ts';
import { contest, median, nanoseconds, type Absent, type Benchmark, type Context, type Side } from './harness.ts';
import { basketOf, formats, leafOf, sumOf, type Basket, type Format } from './receive-formats.ts';

const StoredItem = struct('Item', { id: u32, quantity: u32, price: f64, weight: f64, name: text });
const StoredBasket = struct('Basket', { title: text, items: vec(StoredItem) });
type StoredBasket = Infer<typeof StoredBasket>;

function leafStored({ items }: StoredBasket): number {
  return items.get(items.length - 1).price;
}

function sumStored({ items }: StoredBasket): number {
  let sum = 0;
  items.forEach((item) => {
    sum += item.id + item.quantity + item.price + item.weight + item.name.length;
  });
  return sum;
}

interface Case {
  readonly context: Context;
  readonly basket: Basket;
  readonly bytes: number;
  readonly what: 'one leaf' | 'all leaves';
}

/** Microseconds an arrival: the median of as many as fit in a short time. `arrive` is given what is not measured first. */
function side(name: string, { context, basket, what }: Case, arrive: () => () => number, note?: string): Side {
  const expected = what === 'one leaf' ? leafOf(basket) : sumOf(basket);
  const budget = context.size(150, 2) * 1e6;
  const measure = (): number => {
    const times: number[] = [];
    for (const until = nanoseconds() + budget; times.length < 3 || (times.length < 500 && nanoseconds() < until);) {
      const use = arrive();
      const start = nanoseconds();
      const found = use();
      times.push(nanoseconds() - start);
      if (Math.abs(found - expected) > expected * 1e-9) throw new Error(`${name}: ${found} was read, not ${expected}`);
    }
    return median(times) / 1000;
  };
  return { name, measure, ...(note === undefined ? {} : { note }) };
}

function peer(one: Case, format: Format | Absent): Side | Absent {
  if ('absent' in format) return format;
  const bytes = format.write(one.basket);
  const note = `${format.name}: ${bytes.length.toLocaleString('en-US')} bytes for ${one.bytes.toLocaleString('en-US')} of JSON`;
  const arrive = one.what === 'one leaf' ? () => () => format.leaf(bytes) : () => () => format.all(bytes);
  return side(format.name, one, arrive, format.note === undefined ? note : `${note}; ${format.note}`);
}

interface Exported {
  readonly id: ObjectId;
  readonly bytes: Uint8Array;
}

/** The value as objects of ours, exported: `copies` of them, each with an ID of its own. */
function exported(directory: string, { title, items }: Basket, copies: number): Exported[] {
  const space = open(directory);
  const stored = space.relaxed(() => space.create(StoredBasket, { title }));
  for (let from = 0; from < items.length; from += 10_000) space.relaxed(() => stored.items.extend(items.slice(from, from + 10_000)));
  const all = Array.from({ length: copies }, () => {
    const copy = space.relaxed(() => space.copy(stored));
    return { id: copy.id, bytes: copy.export() };
  });
  space.close();
  return all;
}

/** Nothing is imported twice: a space that has had an object takes another way. */
function imported(one: Case, directory: string, all: readonly Exported[], use: (basket: StoredBasket) => number) {
  let space = open(directory);
  let next = 0;
  const renew = (): void => {
    space.close();
    rmSync(directory, { recursive: true });
    space = open(directory);
    next = 0;
  };
  const arrive = (): (() => number) => {
    if (next === all.length) renew();
    const arrived = all[next++];
    return () => {
      if (arrived === undefined) return Number.NaN;
      space.relaxed(() => space.import(arrived.bytes));
      return use(space.get(arrived.id, StoredBasket));
    };
  };
  const note = `ours: ${all[0]?.bytes.length.toLocaleString('en-US')} bytes for ${one.bytes.toLocaleString('en-US')} of JSON`;
  return { side: side('import', one, arrive, note), close: () => space.close() };
}

/** Object files that stand one after another, as an export has them. */
function filesIn(bytes: Uint8Array): { id: ObjectId; bytes: Uint8Array }[] {
  const files: { id: ObjectId; bytes: Uint8Array }[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const file = bytes.subarray(at, at + view.getUint32(at + META.size, true));
    files.push({ id: readId(file, META.id), bytes: file });
    at += file.length;
  }
  return files;
}

/** A space is opened anew for each: in one that has had the object before, it would be mapped already. */
function mapped(one: Case, directory: string, { id, bytes }: Exported, use: (basket: StoredBasket) => number) {
  const files = filesIn(bytes).map((file) => ({ ...file, path: join(directory, 'objects', file.id.slice(0, 2), `${file.id}.twz`) }));
  const write = (): void => {
    for (const file of files) writeFileSync(file.path, file.bytes);
  };
  let space: Space | undefined;
  const reopened = (): Space => {
    space?.close();
    space = open(directory);
    return space;
  };
  // The space knows it, and has files like those that will arrive.
  const known = reopened();
  known.relaxed(() => known.import(bytes));
  const sides = [
    side('its file, mapped', one, () => {
      const fresh = reopened();
      return () => {
        write();
        return use(fresh.get(id, StoredBasket));
      };
    }),
    side('mapped', one, () => {
      const fresh = reopened();
      return () => use(fresh.get(id, StoredBasket));
    }),
  ];
  return { sides, close: () => space?.close() };
}

async function run(whole: Context): Promise<void> {
  const context = { ...whole, rounds: Math.min(whole.rounds, 5) };
  const sizes = [
    { size: '1 KB', bytes: 1e3, copies: 256 },
    { size: '100 KB', bytes: 1e5, copies: 32 },
    { size: '10 MB', bytes: 1e7, copies: 6 },
  ];
  for (const { size, bytes, copies } of context.quick ? sizes.slice(0, 1) : sizes) {
    // An item is 78 bytes of JSON or so.
    const basket = basketOf(Math.round(bytes / 84));
    const length = JSON.stringify(basket).length;
    const all = exported(join(context.directory, `source of ${size}`), basket, context.size(copies, 4));
    const [source] = all;
    if (source === undefined) continue;
    for (const what of ['one leaf', 'all leaves'] as const) {
      const one: Case = { context, basket, what, bytes: length };
      const use = what === 'one leaf' ? leafStored : sumStored;
      const place = (name: string): string => join(context.directory, `${size} ${what} ${name}`);
      const first = imported(one, place('import'), all, use);
      const others = mapped(one, place('mapped'), source, use);
      await contest(context, 'receive', {
        name: `${size}, ${what}`,
        unit: 'us',
        better: 'lower',
        ours: [first.side, ...others.sides].map((ours) => ({ side: ours })),
        peers: formats().map((format) => ({ side: peer(one, format) })),
      });
      first.close();
      others.close();
    }
  }
}

export const receive: Benchmark = {
  name: 'receive',
  about:
    'bytes of 1 KB, 100 KB and 10 MB arrive: until one leaf is read, and until all are, beside JSON, msgpackr, protobuf-es and FlatBuffers',
  run,
};
