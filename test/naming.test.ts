/** T15: names: paths, namespaces, links, atomic renames, names that own. */
import assert from 'node:assert/strict';
import { objectOf, struct, u32, type Infer, type ObjectId, type Space } from '../src/index.ts';
import { fails, onHosts, type Ground } from './hosts.ts';

const Thing = struct('Thing', { value: u32 });
type Thing = Infer<typeof Thing>;

const thing = (space: Space, value: number): Thing => space.relaxed(() => space.create(Thing, { value }));
const idOf = (of: Thing): ObjectId => objectOf(of).id;

/** Every name there is, with what it stands for. */
function tree(space: Space, path = ''): string[] {
  return space.names.list(path === '' ? '/' : path).flatMap((entry) => {
    const full = `${path}/${entry.name}`;
    if (entry.kind === 'namespace') return [`${full}/`, ...tree(space, full)];
    if (entry.kind === 'link') return [`${full} -> ${entry.target}`];
    return [`${full} = ${space.names.get(full, Thing).value}${entry.owns ? ' owned' : ''}`];
  });
}

/** The space as the next process finds it: after a death, and after a checkpoint and a close. */
function reopened(ground: Ground, space: Space, expected: readonly string[]): Space {
  let now = ground.afterDeath(space);
  assert.deepEqual(tree(now), expected);
  now = ground.afterClose(now);
  assert.deepEqual(tree(now), expected);
  return now;
}

onHosts('T15: an object is found by its path, in namespaces as deep as one likes, by whoever opens the space', (ground) => {
  let space = ground.open();
  assert.deepEqual(space.names.list(), []);
  assert.equal(space.names.find('/a'), undefined);
  space.names.mkns('/people');
  space.names.mkns('/people/old');
  space.names.set('/people/bob', thing(space, 1));
  space.names.set('/people/old/bob', thing(space, 2));
  space.names.set('/Ünïcode ☃', thing(space, 3));
  const expected = ['/people/', '/people/bob = 1', '/people/old/', '/people/old/bob = 2', '/Ünïcode ☃ = 3'];
  assert.deepEqual(tree(space), expected);
  space = reopened(ground, space, expected);
  assert.equal(space.names.get('/people/old/bob', Thing).value, 2);
  assert.equal(space.names.get('/people/bob').id, space.names.lookup('/people/bob'));
  assert.equal(space.names.find('/people/bob/')?.id, space.names.lookup('/people/bob'), 'a slash at the end changes nothing');
});

onHosts('T15: thousands of names in one namespace: each is found, and removed names are gone', (ground) => {
  let space = ground.open();
  const count = 3000;
  space.names.mkns('/all');
  space.relaxed(() => {
    const one = space.create(Thing, { value: 7 });
    for (let i = 0; i < count; i++) space.names.set(`/all/name ${i}`, one);
  });
  space = ground.afterDeath(space);
  assert.equal(space.names.list('/all').length, count);
  space.relaxed(() => {
    for (let i = 0; i < count; i += 2) space.names.remove(`/all/name ${i}`);
  });
  for (let i = 0; i < count; i++) assert.equal(space.names.find(`/all/name ${i}`) === undefined, i % 2 === 0);
  assert.deepEqual(
    space.names.list('/all').map(({ name }) => name),
    Array.from({ length: count / 2 }, (_, i) => `name ${i * 2 + 1}`).sort(),
  );
});

onHosts('T15: what is no path, is taken, missing or of another kind is refused by name and changes nothing', (ground) => {
  const space = ground.open();
  const one = thing(space, 1);
  space.names.set('/a', one);
  space.names.mkns('/n');
  space.names.set('/n/b', one);
  const before = tree(space);
  for (const path of ['', 'a', 'a/b', '//', '/a//b', '/./a', '/..', '/a/../b', '/nul\0', `/${'x'.repeat(256)}`, `/${'☃'.repeat(86)}`]) {
    fails('NameInvalid', () => space.names.set(path, one));
    fails('NameInvalid', () => space.names.find(path));
    fails('NameInvalid', () => space.names.link('/l', path));
  }
  fails('NameInvalid', () => space.names.set('/', one));
  fails('NameExists', () => space.names.set('/a', one));
  fails('NameExists', () => space.names.mkns('/a'));
  fails('NameExists', () => space.names.link('/n', '/a'));
  fails('NameExists', () => space.names.rename('/a', '/n/b'));
  fails('NameMissing', () => space.names.get('/c'));
  fails('NameMissing', () => space.names.set('/c/d', one));
  fails('NameMissing', () => space.names.remove('/c'));
  fails('NameMissing', () => space.names.rename('/c', '/d'));
  fails('NameMissing', () => space.names.list('/c'));
  fails('NotNamespace', () => space.names.set('/a/b', one));
  fails('NotNamespace', () => space.names.list('/a'));
  fails('NamespaceNotEmpty', () => space.names.remove('/n'));
  fails('NamespaceNotEmpty', () => space.names.set('/n', one, { replace: true }));
  fails('NameInvalid', () => space.names.rename('/n', '/n/inside'));
  fails('TypeMismatch', () => space.names.get('/n', Thing));
  assert.deepEqual(tree(space), before);
  const longest = `/${'x'.repeat(255)}`;
  space.names.set(longest, one);
  assert.equal(space.names.lookup(longest), idOf(one));
});

onHosts('T15: a link stands for another path, now or later; a circle of links is an error, not a hang', (ground) => {
  let space = ground.open();
  space.names.link('/best', '/n/first');
  assert.equal(space.names.find('/best'), undefined);
  space.names.mkns('/n');
  space.names.set('/n/first', thing(space, 1));
  space.names.link('/m', '/n');
  space.names.link('/n/up', '/m');
  assert.equal(space.names.get('/best', Thing).value, 1);
  assert.equal(space.names.get('/m/first', Thing).value, 1);
  assert.equal(space.names.get('/m/up/up/first', Thing).value, 1);
  space.names.set('/m/second', thing(space, 2));
  assert.equal(space.names.get('/n/second', Thing).value, 2);
  space.names.link('/x', '/y');
  space.names.link('/y', '/x');
  fails('LinkLoop', () => space.names.get('/x'));
  fails('LinkLoop', () => space.names.set('/x/a', thing(space, 3)));
  space = reopened(ground, space, [
    '/best -> /n/first',
    '/m -> /n',
    '/n/',
    '/n/first = 1',
    '/n/second = 2',
    '/n/up -> /m',
    '/x -> /y',
    '/y -> /x',
  ]);
  // Removing a link removes the link.
  space.names.remove('/best');
  space.names.remove('/x');
  assert.equal(space.names.get('/n/first', Thing).value, 1);
  assert.equal(space.names.find('/y'), undefined);
});

onHosts('T15: a rename is atomic: alone, over another name, with a namespace and all in it, and undone by an abort', (ground) => {
  let space = ground.open();
  space.names.mkns('/n');
  space.names.mkns('/n/deep');
  space.names.set('/n/deep/a', thing(space, 1));
  space.names.set('/b', thing(space, 2));
  space.names.rename('/n/deep', '/moved');
  space.names.rename('/b', '/moved/b');
  space.names.rename('/moved/b', '/moved/a', { replace: true });
  let expected = ['/moved/', '/moved/a = 2', '/n/'];
  space = reopened(ground, space, expected);
  assert.throws(
    () =>
      space.relaxed(() => {
        space.names.rename('/moved', '/n/again');
        space.names.set('/new', space.create(Thing, { value: 9 }));
        assert.equal(space.names.get('/n/again/a', Thing).value, 2);
        throw new Error('no');
      }),
    /no/,
  );
  assert.deepEqual(tree(space), expected);
  // Two names change places in one transaction: nobody sees one of them missing.
  space.names.set('/x', thing(space, 10));
  space.names.set('/y', thing(space, 20));
  const snapshot = space.snapshot();
  space.relaxed(() => {
    space.names.rename('/x', '/swap');
    space.names.rename('/y', '/x');
    space.names.rename('/swap', '/y');
  });
  snapshot.close();
  expected = [...expected, '/x = 20', '/y = 10'];
  space = reopened(ground, space, expected);
});

onHosts('T15: a name that owns its object takes it along, a plain name does not', (ground) => {
  let space = ground.open();
  const [owned, plain, replaced, inside] = [1, 2, 3, 4].map((value) => thing(space, value)) as [Thing, Thing, Thing, Thing];
  const ids = [owned, plain, replaced, inside].map(idOf) as [ObjectId, ObjectId, ObjectId, ObjectId];
  space.names.set('/owned', owned, { owns: true });
  space.names.set('/plain', plain);
  space.names.set('/replaced', replaced, { owns: true });
  space.names.mkns('/n');
  space.names.set('/n/inside', inside, { owns: true });
  space.names.rename('/owned', '/kept');
  assert.equal(space.names.get('/kept', Thing).value, 1, 'a rename keeps it');
  space.names.set('/replaced', plain, { replace: true });
  space.names.remove('/kept');
  space.names.remove('/plain');
  space.names.remove('/n', { recursive: true });
  const there = (): boolean[] => ids.map((id) => space.has(id));
  assert.deepEqual(there(), [false, true, false, false]);
  space = reopened(ground, space, ['/replaced = 2']);
  assert.deepEqual(there(), [false, true, false, false]);
  fails('ObjectDeleted', () => space.object(ids[0]));
});
