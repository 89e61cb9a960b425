/** P7: each kind of field that TypeScript declares, set by a program in AssemblyScript and read in TypeScript, and the other way. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import {
  array,
  bigU64,
  bool,
  bytes,
  f32,
  f64,
  hashSet,
  i16,
  i64,
  link,
  oneOf,
  optional,
  orderedMap,
  ref,
  struct,
  text,
  u32,
  u8,
  vec,
} from '../src/index.ts';
import { buildProgram } from '../src/services/build/build.ts';
import { compilersInstalled } from '../src/services/build/compilers.ts';
import { programs } from '../src/services/programs.ts';
import { layoutsAssemblyScript } from '../src/services/sdk/layouts-as.ts';
import { layoutsOf } from '../src/services/sdk/layouts.ts';
import { Ground } from './hosts.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-fields-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const Inner = struct('Inner', { a: u8, b: array(i16, 3), c: optional(f64) });
const Odd = struct('Odd', {
  yes: bool,
  type: u32,
  raw: bytes,
  to: link,
  inner: array(Inner, 2),
  kind: optional(oneOf('a b', 'c')),
  ordered: orderedMap(u32, Inner),
  names: hashSet(text),
  get self() {
    return ref(Odd);
  },
  big: bigU64,
  wide: i64,
  half: f32,
  get all() {
    return vec(ref(Odd));
  },
  texts: array(text, 2),
  maybe: optional(Inner),
  words: vec(text),
});

const PROGRAM = `
import { Obj, mustBe, must, transact, print } from 'twizzler';
import { Inner, Odd, OddKind } from './layouts';

function all(unused: u32): i32 {
  const o = mustBe(Odd.root(Obj.open('/odd')), 'no Odd');
  o.yes = !o.yes;
  o.type += 1;
  const raw = o.raw;
  raw[0] = raw[0] + 1;
  o.raw = raw;
  const second = o.innerAt(1);
  second.a = 200;
  second.setBAt(2, o.innerAt(0).bAt(2) - 1);
  second.c = 2.5;
  o.innerAt(0).hasC = false;
  o.kind = OddKind.c;
  const five = mustBe(o.ordered.insert(5));
  five.a = 5;
  five.setBAt(0, -5);
  o.names.add('ñ');
  o.names.delete('gone');
  const other = mustBe(o.self);
  other.type = 77;
  other.self = o;
  o.self = o;
  o.big = u64.MAX_VALUE;
  o.wide = -o.wide;
  o.half *= 2;
  o.all.push(other);
  o.all.push(o);
  o.setTextsAt(1, o.textsAt(0) + '!');
  o.setTextsAt(0, '');
  o.maybe.a = 9;
  o.hasMaybe = true;
  const words = o.words;
  words.push('two');
  words.set(0, words.get(0) + words.get(1));
  for (let c = o.ordered.cursorFrom(2); c.next(); ) print(c.key.toString() + ' ' + c.struct<Inner>().a.toString());
  return 0;
}

export function main(): i32 {
  must(transact(all), 'all');
  return 0;
}
`;

test('P7: fields of every kind cross between TypeScript and a program in AssemblyScript', async (t) => {
  if (!(await compilersInstalled()).as) {
    t.skip('needs the npm package assemblyscript');
    return;
  }
  fs.writeFileSync(path.join(scratch, 'layouts.ts'), layoutsAssemblyScript(layoutsOf({ Odd })));
  fs.writeFileSync(path.join(scratch, 'fields.ts'), PROGRAM);
  const { output } = await buildProgram(path.join(scratch, 'fields.ts'));

  const space = new Ground('linux', t).open();
  const [odd, other] = space.relaxed(() => {
    const second = space.create(Odd, { type: 1 });
    const first = space.create(Odd, {
      yes: true,
      type: 41,
      raw: Uint8Array.of(1, 2, 3),
      to: second,
      inner: [{ a: 1, b: [1, 2, -3], c: 1.5 }, { a: 2 }],
      ordered: [
        [1, { a: 1 }],
        [3, { a: 3 }],
      ],
      names: ['gone', 'stays'],
      self: second,
      wide: 2 ** 40,
      half: 0.75,
      texts: ['Grüße', 'x'],
      words: ['one'],
    });
    space.names.set('/odd', first);
    return [first, second] as const;
  });
  let printed = '';
  const compartment = programs(space).start(fs.readFileSync(output), { output: (_, data) => (printed += new TextDecoder().decode(data)) });
  assert.equal(compartment.run(), 0, printed);
  compartment.close();

  assert.equal(odd.yes, false);
  assert.equal(odd.type, 42);
  assert.deepEqual(odd.raw, Uint8Array.of(2, 2, 3));
  assert.equal(odd.to?.id, space.object(other).id);
  const [first, second] = odd.inner.toArray();
  assert.deepEqual([first?.a, first?.b.toArray(), first?.c], [1, [1, 2, -3], undefined]);
  assert.deepEqual([second?.a, second?.b.toArray(), second?.c], [200, [0, 0, -4], 2.5]);
  assert.equal(odd.kind, 'c');
  assert.deepEqual(
    Array.from(odd.ordered, ([key, { a, b }]) => [key, a, b.get(0)]),
    [
      [1, 1, 0],
      [3, 3, 0],
      [5, 5, -5],
    ],
  );
  assert.deepEqual([...odd.names].sort(), ['stays', 'ñ']);
  assert.equal(other.type, 77);
  assert.equal(other.self?.type, 42);
  assert.equal(odd.self?.type, 42);
  assert.equal(odd.big, 2n ** 64n - 1n);
  assert.equal(odd.wide, -(2 ** 40));
  assert.equal(odd.half, 1.5);
  assert.deepEqual(
    odd.all.map((each) => each?.type),
    [77, 42],
  );
  assert.deepEqual(odd.texts.toArray(), ['', 'Grüße!']);
  assert.deepEqual([odd.maybe?.a, odd.maybe?.c], [9, undefined]);
  assert.deepEqual(odd.words.toArray(), ['onetwo', 'two']);
  assert.match(printed, /^3 3\n5 5\n$/);
  // The object is whole: what was set owns its blocks, and each reference is counted.
  space.relaxed(() => {
    odd.self = null;
    other.self = null;
    odd.texts.set(1, 'Grüße! And more than fits the old block.');
    odd.words.clear();
    odd.all.clear();
  });
  assert.equal(
    space
      .object(odd)
      .fot()
      .find(({ id }) => id === space.object(other).id)?.count,
    1,
    'the link is left',
  );
});
