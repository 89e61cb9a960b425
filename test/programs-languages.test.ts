/**
 * P7: the same structure is read and written in turn by programs in TypeScript, AssemblyScript, C and Rust. What each has to say of it is
 * compared with what a plain model says.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Reading, Station } from '../examples/programs/station.ts';
import { RIGHT } from '../src/abi/format.ts';
import { struct, u32, type Infer, type Space } from '../src/index.ts';
import type { Authority } from '../src/runtime/view.ts';
import { buildProgram } from '../src/services/build/build.ts';
import { compilersInstalled } from '../src/services/build/compilers.ts';
import { programs } from '../src/services/programs.ts';
import { Ground } from './hosts.ts';

type Station = Infer<typeof Station>;

const EXAMPLES = fileURLToPath(new URL('../../examples/programs/', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-languages-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const LANGUAGES = {
  AssemblyScript: { is: 'as', source: 'assemblyscript/visit.ts', needs: 'the npm package assemblyscript' },
  C: { is: 'c', source: 'c/visit.c', needs: 'clang and lld' },
  Rust: { is: 'rust', source: 'rust/visit.rs', needs: 'rustc with the target wasm32-unknown-unknown' },
} as const;
type Language = keyof typeof LANGUAGES;

const built = new Map<Language, Uint8Array>();
before(async () => {
  const installed = await compilersInstalled();
  for (const [language, { is, source }] of Object.entries(LANGUAGES) as [Language, (typeof LANGUAGES)[Language]][]) {
    if (!installed[is]) continue;
    const output = path.join(scratch, `${is}.wasm`);
    await buildProgram(path.join(EXAMPLES, source), { output });
    built.set(language, fs.readFileSync(output));
  }
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(space: Space, language: Language, target: string, authority?: Authority): Ran {
  const said = ['', '', ''];
  const module = built.get(language);
  assert.ok(module !== undefined);
  const compartment = programs(space).start(module, {
    arguments: [target],
    authority,
    output: (stream, data) => (said[stream] += new TextDecoder().decode(data)),
  });
  try {
    return { code: compartment.run(), out: said[1] ?? '', err: said[2] ?? '' };
  } finally {
    compartment.close();
  }
}

/** What a visit does, in TypeScript. */
function visit(space: Space, station: Station, me: string): void {
  space.relaxed(() => {
    station.turns += 1;
    station.place.x += 0.5;
    station.readings.push({ sensor: me, value: station.turns, kind: 'wind', checked: station.turns });
    station.latest.set(me, station.turns);
    station.writers.set(me, (station.writers.get(me) ?? 0) + 1);
    station.next ??= station;
  });
}

/** What there must be after those visits. */
function said(name: string, visits: readonly string[]): string {
  const latest = new Map(visits.map((who, i) => [who, i + 1]));
  const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
  return `${name}: ${visits.length} turns, sum ${sum(visits.keys()) + visits.length}, latest ${sum(latest.values())}, by ${visits.join(' ')}\n`;
}

function demandVisits(station: Station, visits: readonly string[]): void {
  assert.equal(station.turns, visits.length);
  assert.equal(station.place.x, visits.length / 2);
  assert.deepEqual(
    Array.from(station.readings, ({ sensor, value, kind, checked }) => ({ sensor, value, kind, checked })),
    visits.map((sensor, i) => ({ sensor, value: i + 1, kind: 'wind', checked: i + 1 })),
  );
  assert.deepEqual(new Map(station.latest), new Map(visits.map((who, i) => [who, i + 1])));
  for (const [who, times] of station.writers) assert.equal(times, visits.filter((each) => each === who).length);
}

test('P7: one structure is read and written in turn by TypeScript and by programs in every language', (t) => {
  const left = (Object.keys(LANGUAGES) as Language[]).filter((language) => !built.has(language));
  if (left.length > 0) t.diagnostic(`left out: ${left.map((language) => `${language} (needs ${LANGUAGES[language].needs})`).join(', ')}`);
  if (built.size === 0) {
    t.skip('no compiler is installed');
    return;
  }
  const ground = new Ground('linux', t);
  let space = ground.open();
  space.relaxed(() => space.names.set('/station', space.create(Station, { name: 'Göttingen ☂' })));
  let station = space.names.get('/station').root(Station);
  const visits: string[] = [];
  for (let round = 0; round < 3; round++) {
    visit(space, station, 'TypeScript');
    visits.push('TypeScript');
    for (const language of built.keys()) {
      visits.push(language);
      assert.deepEqual(run(space, language, '/station'), { code: 0, out: said('Göttingen ☂', visits), err: '' });
      demandVisits(station, visits);
    }
    // The process dies, and another one goes on.
    space = ground.afterDeath(space);
    station = space.names.get('/station').root(Station);
    demandVisits(station, visits);
  }
  t.diagnostic(`${visits.length} visits by ${built.size + 1} languages`);
});

for (const language of Object.keys(LANGUAGES) as Language[]) {
  const { needs } = LANGUAGES[language];
  test(`P7: ${language}: what is no station, or may not be written, is refused, and is as it was`, (t) => {
    if (!built.has(language)) {
      t.skip(`needs ${needs}`);
      return;
    }
    const space = new Ground('linux', t).open();
    const Other = struct('Other', { turns: u32, more: u32 });
    const other = space.relaxed(() => {
      const made = space.create(Other, { turns: 7 });
      space.names.set('/other', made);
      space.names.set('/station', space.create(Station, { name: 'x' }));
      return made;
    });
    assert.notEqual(run(space, language, '/other').code, 0);
    assert.equal(other.turns, 7);
    const reader: Authority = { rightsTo: (h) => h.rights & RIGHT.read, epoch: 0 };
    // A store to what may not be written traps; a call says so.
    let refused: unknown;
    try {
      const { code } = run(space, language, '/station', reader);
      refused = code === 0 ? undefined : code;
    } catch (error) {
      refused = error;
    }
    assert.notEqual(refused, undefined);
    demandVisits(space.names.get('/station').root(Station), []);
    // The same with the right to.
    assert.equal(run(space, language, '/station').code, 0);
    assert.equal(space.names.get('/station').root(Station).turns, 1);
  });

  test(`P7: ${language}: a pointer to another object is followed, and many visits make the object grow where it is mapped`, (t) => {
    if (!built.has(language)) {
      t.skip(`needs ${needs}`);
      return;
    }
    const space = new Ground('linux', t).open();
    const [a, b] = space.relaxed(() => {
      const next = space.create(Station, { name: 'b', turns: 1 });
      const first = space.create(Station, { name: 'a', next });
      space.names.set('/a', first);
      return [first, next] as const;
    });
    const before = space.object(a).size;
    const visits: string[] = [language];
    const { out } = run(space, language, '/a');
    // C and Rust compare places, AssemblyScript what lies there.
    assert.equal(out.includes(', lost'), language !== 'AssemblyScript');
    assert.equal(a.next?.name, 'b');
    assert.equal(b.turns, 1);
    for (let i = 0; i < 150; i++) {
      visit(space, a, 'TypeScript');
      visits.push('TypeScript');
    }
    for (let i = 0; i < 12; i++) {
      assert.equal(run(space, language, '/a').code, 0);
      visits.push(language);
    }
    demandVisits(a, visits);
    assert.ok(space.object(a).size > before);
  });
}

test('P7: an object that a program makes is one of TypeScript’s structs', (t) => {
  if (!built.has('AssemblyScript')) {
    t.skip(`needs ${LANGUAGES.AssemblyScript.needs}`);
    return;
  }
  const ground = new Ground('linux', t);
  const space = ground.open();
  const { code, out } = run(space, 'AssemblyScript', '/made');
  assert.deepEqual({ code, out }, { code: 0, out: said('made by AssemblyScript', ['AssemblyScript']) });
  const again = ground.afterDeath(space);
  const station = again.names.get('/made').root(Station);
  demandVisits(station, ['AssemblyScript']);
  assert.throws(() => again.names.get('/made').root(Reading), { name: 'TypeMismatch' });
  visit(again, station, 'TypeScript');
  demandVisits(station, ['AssemblyScript', 'TypeScript']);
});
