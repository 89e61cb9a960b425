/** Spaces that have nothing, and sources that have what was made elsewhere: for the tests of paged objects. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { hashMap, objectOf, ref, struct, text, u32, vec, type Infer, type ObjectId, type Space } from '../src/index.ts';
import { pageIn, pageSource, type PagedObject, type PagedOptions } from '../src/services/pager.ts';
import { Ground, type HostName } from './hosts.ts';
import { TestSource, exported, type Exported } from './paging-source.ts';

const BY_TOUCH = new LinuxHost().pages !== undefined;
export const NO_FAULTS: string | false = BY_TOUCH ? false : 'this machine gives no page faults to programs';

export type How = 'by touch' | 'whole';
export type Way = readonly [HostName, How];
const WAYS: readonly Way[] = [
  ['linux', 'by touch'],
  ['portable', 'whole'],
];
export const ALL_WAYS: readonly Way[] = [...WAYS, ['linux', 'whole'], ['simulated', 'whole']];

export interface World {
  readonly space: Space;
  readonly source: TestSource;
  /** The first object that was exported. */
  readonly paged: PagedObject;
}

/** A space that has nothing, and a source that has what was exported. */
export async function world(
  t: TestContext,
  ground: Ground,
  how: How,
  { files, facts }: Exported,
  options: PagedOptions = {},
): Promise<World> {
  const space = ground.open();
  const source = await TestSource.start(pageSource(space, { whole: how === 'whole' }), files);
  t.after(() => source.stop());
  const paged = pageIn(space, source.source, facts, options);
  assert.equal(paged.byTouch, how === 'by touch');
  return { space, source, paged };
}

export function inWays(
  title: string,
  body: (t: TestContext, ground: Ground, how: How) => Promise<void>,
  ways: readonly Way[] = WAYS,
): void {
  for (const [host, how] of ways)
    test(`${title} (${host}, ${how})`, { skip: how === 'by touch' && NO_FAULTS }, (t) => body(t, new Ground(host, t), how));
}

export const Person = struct('Person', {
  name: text,
  age: u32,
  visits: vec(u32),
  tags: hashMap(text, u32),
  get friend() {
    return ref(Person);
  },
  get elsewhere() {
    return ref(Person);
  },
});
export type Person = Infer<typeof Person>;

export const idOf = (accessor: object): ObjectId => objectOf(accessor).id;

/** Two people who know each other, in one object each, and a third one whom both refer to and who is not exported. */
export function people(t: TestContext): { readonly all: Exported; readonly third: Uint8Array; readonly thirdId: ObjectId } {
  const space = new Ground('simulated', t).open();
  const [alice, , carol] = space.relaxed(() => {
    const three = ['Alice', 'Bob', 'Carol'].map((name, age) =>
      space.create(Person, { name, age: age + 30, visits: [1, 2, 3], tags: [[name, age]] }),
    ) as [Person, Person, Person];
    const [a, b, c] = three;
    a.friend = b;
    b.friend = a;
    a.elsewhere = c;
    a.visits.push(...Array.from({ length: 20_000 }, (_, i) => i));
    space.names.set('/carol', c);
    b.elsewhere = space.late(Person, '/carol');
    return three;
  });
  const exports = [alice, alice.friend as Person].map((each) => objectOf(each).export());
  return { all: exported(...exports), third: objectOf(carol).export(), thirdId: idOf(carol) };
}
