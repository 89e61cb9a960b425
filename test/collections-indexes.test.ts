/**
 * T16: indexed maps against a plain map and filters over it, with undone transactions, death of the process, power failures and reopening
 * among the changes. Seed and path are printed by fast-check when a run fails; FC_SEED replays one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assign, caseless, index, indexedMap, objectOf, ref, struct, text, u32, vec, type Infer, type ObjectId } from '../src/index.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const Home = struct('Home', { street: text, number: u32 });
const Person = struct('Person', {
  name: text,
  age: u32,
  email: text,
  tags: vec(text),
  home: Home,
  get friend() {
    return ref(Person);
  },
});
const People = indexedMap(text, Person, {
  byAge: index(u32, (p) => p.age),
  byEmail: index(text, (p) => (p.email === '' ? undefined : p.email), { unique: true }),
  byTag: index(text, (p) => p.tags, { multi: true }),
  byName: index(caseless, (p) => p.name),
  byStreet: index(text, (p) => p.home.street),
});
const Club = struct('Club', { name: text, members: People, best: ref(Person) });

type Kept = { name: string; age: number; email: string; tags: string[]; street: string };
type Model = Map<string, Kept>;
type Members = Infer<typeof People>;

interface Step {
  readonly kind: 'set' | 'update' | 'throw' | 'delete' | 'clear' | 'reindex';
  readonly key: string;
  readonly value: Kept;
}
type Command = { readonly kind: 'transaction'; readonly steps: readonly Step[]; readonly undo: boolean } | Event;

const KEYS = ['', 'a', 'a\0', 'ab', 'b', 'ä', 'zz'];
const AGES = [0, 1, 2, 255, 256, 0xfffffffe, 0xffffffff];
const WORDS = ['', 'A', 'a', 'a\0', 'a\0b', 'ab', 'B', 'b', 'ÿ', 'x'.repeat(40)];
const word = fc.constantFrom(...WORDS);
const kept: fc.Arbitrary<Kept> = fc.record({
  name: word,
  age: fc.constantFrom(...AGES),
  email: fc.constantFrom('', '', 'e1', 'e2', 'e3', 'e4', 'e5'),
  tags: fc.array(word, { maxLength: 4 }),
  street: word,
});
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('set' as const, 'set', 'set', 'set', 'update', 'update', 'update', 'throw', 'delete', 'delete', 'clear', 'reindex'),
  key: fc.constantFrom(...KEYS),
  value: kept,
});
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('transaction' as const),
        steps: fc.array(step, { minLength: 1, maxLength: 8 }),
        undo: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
      }),
    },
    { weight: 1, arbitrary: event },
  ),
  { maxLength: 20 },
);

const initOf = ({ street, ...rest }: Kept): object => ({ ...rest, home: { street, number: 1 } });
const hex = (value: string): string => Buffer.from(value, 'utf8').toString('hex');
const number = (value: number): string => String(value).padStart(12, '0');
const byOrder = ([a]: readonly [string, string], [b]: readonly [string, string]): number => (a < b ? -1 : a > b ? 1 : 0);
const showModel = (model: Model): string =>
  JSON.stringify([...model].toSorted(([a], [b]) => (hex(a) < hex(b) ? -1 : 1)).map(([key, value]) => [key, Object.values(value)]));
const showMap = (map: Members): string =>
  JSON.stringify([...map].map(([key, p]) => [key, [p.name, p.age, p.email, [...p.tags], p.home.street]]));

/** The keys of the records whose index keys fulfil `fits`, in the order of an index. */
function filtered(model: Model, of: (value: Kept) => readonly string[], fits: (key: string) => boolean): string[] {
  const found = [...model].flatMap(([key, value]) =>
    [...new Set(of(value))].filter((each) => fits(each)).map((each): [string, string] => [`${each} ${hex(key)}`, key]),
  );
  return found.toSorted(byOrder).map(([, key]) => key);
}

function agree(map: Members, model: Model): void {
  assert.equal(showMap(map), showModel(model));
  assert.equal(map.size, model.size);
  assert.deepEqual(map.verify(), []);
  for (const age of AGES) {
    const at = number(age);
    const ages = (fits: (key: string) => boolean): string[] => filtered(model, (value) => [number(value.age)], fits);
    assert.deepEqual(
      [...map.by.byAge.keys({ from: age })],
      ages((each) => each >= at),
    );
    assert.deepEqual(
      [...map.by.byAge.keys({ after: age })],
      ages((each) => each > at),
    );
    assert.deepEqual(
      [...map.by.byAge.keys({ to: age })],
      ages((each) => each < at),
    );
    assert.deepEqual([...map.by.byAge.keys({ through: age, reverse: true })], ages((each) => each <= at).toReversed());
    assert.equal(map.by.byAge.count({ from: age, through: age }), ages((each) => each === at).length);
  }
  for (const each of WORDS) {
    const tags = (fits: (key: string) => boolean): string[] => filtered(model, (value) => value.tags.map(hex), fits);
    const keys = [...map.by.byTag.get(each)].map(([key]) => key);
    assert.deepEqual(
      keys,
      tags((tag) => tag === hex(each)),
    );
    assert.deepEqual(
      [...map.by.byTag.keys({ prefix: each })],
      tags((tag) => tag.startsWith(hex(each))),
    );
    assert.deepEqual(
      [...map.by.byTag.keys({ after: each })],
      tags((tag) => tag > hex(each)),
    );
    assert.deepEqual(
      [...map.by.byName.get(each)].map(([key]) => key),
      filtered(
        model,
        (value) => [value.name.toLowerCase()],
        (name) => name === each.toLowerCase(),
      ),
    );
    assert.deepEqual(
      [...map.by.byStreet.get(each)].map(([key, p]) => [key, p.home.street]),
      filtered(
        model,
        (value) => [value.street],
        (street) => street === each,
      ).map((key) => [key, each]),
    );
  }
  const emails = (fits: (key: string) => boolean): string[] => filtered(model, (value) => (value.email === '' ? [] : [value.email]), fits);
  assert.deepEqual(
    [...map.by.byEmail.keys({ after: 'e1', through: 'e3' })],
    emails((each) => each > 'e1' && each <= 'e3'),
  );
  for (const email of ['e1', 'e5']) assert.equal(map.by.byEmail.find(email)?.[0], emails((each) => each === email)[0]);
}

class Stop extends Error {}

function apply(map: Members, model: Model, { kind, key, value }: Step): void {
  const known = model.get(key);
  const clash = value.email !== '' && [...model].some(([other, { email }]) => other !== key && email === value.email);
  if (kind === 'clear') {
    map.clear();
    model.clear();
  } else if (kind === 'reindex') map.reindex();
  else if (kind === 'delete') assert.equal(map.delete(key), model.delete(key));
  else if (kind === 'set') {
    if (clash) fails('ValueMismatch', () => map.set(key, initOf(value)));
    else {
      map.set(key, initOf(value));
      model.set(key, value);
    }
  } else {
    const change = (): boolean =>
      map.update(key, (draft) => {
        draft.age = value.age;
        assert.equal(draft.age, value.age);
        draft.email = value.email;
        draft.tags.push(...value.tags);
        draft.home.street = value.street;
        if (kind === 'throw') throw new Stop();
      });
    if (known === undefined) assert.equal(change(), false);
    else if (kind === 'throw') assert.throws(change, Stop);
    else if (clash) fails('ValueMismatch', change);
    else {
      assert.equal(change(), true);
      model.set(key, { ...value, name: known.name, tags: [...known.tags, ...value.tags] });
    }
  }
}

for (const nested of [false, true])
  test(`an indexed map ${nested ? 'in a struct' : 'as a root'} is what a plain map and filters are`, () => {
    fc.assert(
      fc.property(commands, (all) => {
        const machine = new Machine<Model>(new Map(), (model) => new Map(model));
        const id: ObjectId = machine.space.relaxed(
          () => objectOf(nested ? machine.space.create(Club, { name: 'club' }) : machine.space.create(People)).id,
        );
        machine.space.sync();
        const map = (): Members => (nested ? machine.space.get(id, Club).members : machine.space.get(id, People));
        for (const each of all) {
          if (each.kind === 'transaction')
            machine.transact(() => {
              for (const one of each.steps) {
                apply(map(), machine.model, one);
                assert.deepEqual(map().verify(), []);
              }
            }, each.undo);
          else machine.happen(each, (model) => (model === undefined ? showMap(map()) : showModel(model)));
          agree(map(), machine.model);
        }
        machine.end();
      }),
      { seed: SEED, numRuns: amount(10, 25) },
    );
  });

test('records are read only outside update, and what an indexed map refuses leaves it as it was', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  space.relaxed(() => {
    const club = space.create(Club, {
      members: [
        ['ann', { name: 'Ann', age: 30, email: 'e1', tags: ['x'] }],
        ['bob', { name: 'Bob', age: 40, email: 'e2' }],
      ],
    });
    const { members } = club;
    const ann = members.get('ann') as Infer<typeof Person>;
    const before = showMap(members);
    fails('NotSupported', () => (ann.age = 5));
    fails('NotSupported', () => (ann.home.street = 'x'));
    fails('NotSupported', () => assign(ann, { age: 5 }));
    fails('OutOfRange', () => members.set('ann', { age: -1 }));
    fails('OutOfRange', () => members.update('ann', (draft) => ((draft.name = 'no'), (draft.age = -1))));
    fails('ValueMismatch', () => members.set('cid', { email: 'e1', tags: ['y'] }));
    fails('ValueMismatch', () => members.update('bob', (draft) => ((draft.email = 'e1'), draft.tags.push('y'))));
    fails('ValueMismatch', () =>
      assign(club, {
        members: [
          ['a', { email: 'e' }],
          ['b', { email: 'e' }],
        ],
      }),
    );
    fails('ValueMismatch', () => members.by.byEmail.keys({ from: 5 as never }));
    fails('OutOfRange', () => members.by.byAge.keys({ prefix: 5 }));
    fails('TypeInvalid', () => indexedMap(u32, Person, { 'no name': index(u32, (p) => p.age) }));
    assert.equal(showMap(members), before);
    assert.deepEqual(members.verify(), []);
    // A record is what references lead to and copies are made of.
    club.best = ann;
    members.set('dan', ann.email === 'e1' ? { name: 'Dan', friend: ann } : {});
    members.update('dan', (draft) => assign(draft.home, { street: 'Elm', number: 2 }));
    members.update('dan', (draft) => Object.assign(draft, { home: { street: 'Oak' } }));
    assert.deepEqual([members.get('dan')?.home.street, members.get('dan')?.home.number], ['Oak', 2]);
    assert.equal(members.get('dan')?.friend?.name, 'Ann');
    members.set('ann', ann);
    assert.equal(club.best.tags.length, 1);
    // What changes a record around the map is found, and mended.
    club.best.age = 31;
    assert.deepEqual(members.verify(), [
      { index: 'byAge', key: 'ann', problem: 'missing' },
      { index: 'byAge', key: 'ann', problem: 'stray' },
    ]);
    members.reindex();
    assert.deepEqual(members.verify(), []);
    assert.deepEqual(
      [...members.by.byAge.get(31)].map(([key]) => key),
      ['ann'],
    );
  });
  machine.end();
});

test('another spelling of a collated key is the same record', () => {
  const machine = new Machine(0, (n) => n);
  machine.space.relaxed(() => {
    const map = machine.space.create(indexedMap(caseless, Home, { byNumber: index(u32, (home) => home.number, { unique: true }) }));
    map.set('Bob', { number: 1 }).set('BOB', { number: 2 }).set('bob', { number: 2, street: 'Elm' });
    assert.deepEqual([...map.by.byNumber.keys()], ['Bob']);
    assert.deepEqual(map.verify(), []);
    assert.ok(map.delete('bOB'));
    assert.equal(map.by.byNumber.count(), 0);
  });
  machine.end();
});
