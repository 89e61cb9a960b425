/** T16: much at once: ordered maps take what ascends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import { Random } from '../src/host/simulated/random.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { bytes, objectOf, open, orderedMap, text, u32, type OrderedMap } from '../src/index.ts';
import { onHosts, thrown, type Ground } from './hosts.ts';

// --- ordered maps -----------------------------------------------------------------------------------------------------------------

const Map32 = orderedMap(text, bytes);
type Loaded = OrderedMap<string, Uint8Array>;

/** Ascending from `from` on: runs of neighbours, then a leap that shares less with what was before. */
function* ascending(random: Random, from: string, count: number): Generator<string> {
  let last = from;
  for (let i = 0; i < count; i++) {
    const cut = random.below(last.length + 1);
    const digit = cut < last.length ? last.charCodeAt(cut) + 1 + random.below(2) : 48 + random.below(10);
    last = random.chance(0.6)
      ? `${last}${random.below(10)}`.slice(0, 30)
      : digit > 122
        ? `${last}0`
        : last.slice(0, cut) + String.fromCharCode(digit);
    if (last.length > 29) last = `${last.slice(0, 5)}z`;
    yield last;
  }
}

function agrees(map: Loaded, model: Map<string, number>): void {
  const keys = [...model.keys()].sort();
  assert.deepEqual([...map.keys()], keys);
  for (const key of keys) {
    assert.equal(map.get(key)?.[0], model.get(key), key);
    assert.equal(map.has(`${key}!`), model.has(`${key}!`));
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`T16: loading is as setting one by one, whatever the keys share, seed ${seed}`, () => {
    const random = new Random(seed);
    const host = new SimulatedHost({ seed });
    const space = open('/space', { host });
    const map: Loaded = space.relaxed(() => space.create(Map32));
    const model = new Map<string, number>();
    const highest = (): string => [...model.keys()].sort().at(-1) ?? '';
    const value = new Uint8Array(1);
    for (let round = 0; round < 12; round++) {
      space.relaxed(() => {
        const keys = [...new Set(ascending(random, highest() || '5', random.below(160)))].filter((key) => key > highest()).sort();
        // The same bytes again and again, as of one who reads a file; now and then the map is used meanwhile.
        const entries = function* (): Generator<[string, Uint8Array]> {
          for (const key of keys) {
            const last = highest();
            if (random.chance(0.04) && last !== '') {
              map.delete(last);
              model.delete(last);
            }
            value[0] = random.below(256);
            model.set(key, value[0]);
            yield [key, value];
          }
        };
        map.load(entries());
        for (let i = random.below(6); i > 0; i--) {
          const key = String(random.below(1000));
          map.set(key, Uint8Array.of(i));
          model.set(key, i);
        }
        const from = random.pick([...model.keys()]) ?? '';
        if (random.chance(0.3)) {
          map.deleteRange({ from });
          for (const key of model.keys()) if (key >= from) model.delete(key);
        }
      });
      agrees(map, model);
    }
    space.close();
  });
}

onHosts('T16: a load that fails has added what came before, and the transaction decides', (ground: Ground) => {
  const space = ground.open();
  const map: Loaded = space.relaxed(() => space.create(Map32));
  const numbers = space.relaxed(() => space.create(orderedMap(u32, u32)));
  space.relaxed(() => {
    const some: [string, Uint8Array][] = ['a', 'b', 'c', 'c'].map((key) => [key, new Uint8Array(2)]);
    assert.ok(
      isTwzError(
        thrown(() => map.load(some)),
        'OutOfRange',
      ),
    );
    assert.ok(
      isTwzError(
        thrown(() => map.load([['b', new Uint8Array(1)]])),
        'OutOfRange',
      ),
    );
    assert.deepEqual([...map.keys()], ['a', 'b', 'c']);
    const wrong: [number, number][] = [
      [1, 1],
      [2, 2],
      [3, -1],
    ];
    assert.ok(
      isTwzError(
        thrown(() => numbers.load(wrong)),
        'OutOfRange',
      ),
    );
    assert.deepEqual([...numbers], wrong.slice(0, 2));
    numbers.load(Array.from({ length: 500 }, (_, i) => [10 + i, i]));
    assert.equal(numbers.get(509), 499);
    assert.equal(numbers.size, 502);
  });
  assert.equal(ground.afterDeath(space).get(objectOf(map).id, Map32).size, 3);
});
