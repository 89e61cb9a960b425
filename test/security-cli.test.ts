/** T18, P3: `twz key`, `twz ctx` and `twz cap`, as a user types them. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { objectOf, open, struct, text } from '../src/index.ts';
import { Bench } from './tools.ts';

const Note = struct('Note', { what: text });

test('T18 P3 twz key, ctx, cap: grant, hand on, explain, mask, revoke', () => {
  const bench = new Bench();
  bench.space('s').close();
  const twz = (...args: string[]): string => bench.good(...args, '-s', 's');
  const refused = (code: number, ...args: string[]): string => {
    const ran = bench.run([...args, '-s', 's']);
    assert.equal(ran.code, code, `${args.join(' ')}: ${ran.out}${ran.err}`);
    return ran.out + ran.err;
  };
  assert.match(twz('key', 'new', 'docs.pem', '-n', '/docs'), /^made key [0-9a-f]{32}; the private one is in docs\.pem\n$/);
  assert.equal(fs.statSync(bench.path('docs.pem')).mode & 0o777, 0o600);
  assert.match(refused(3, 'key', 'new', 'docs.pem'), /NotEmpty/);
  // What the rest needs, by the library: processes are dear.
  const space = open(bench.path('s'));
  const [, bob] = ['alice', 'bob'].map((name) => {
    const key = space.security.createKey();
    fs.writeFileSync(bench.path(`${name}.pem`), key.toPem());
    const id = space.security.createContext({ key: key.id });
    space.relaxed(() => space.names.set(`/${name}`, space.object(id)));
    return id;
  });
  const note = space.relaxed(() => {
    const made = space.create(Note, { what: 'the treasure' }, { key: space.names.get('/docs').id, rights: 0 });
    space.names.set('/note', made);
    return objectOf(made).id;
  });
  space.close();

  const [, granted = ''] =
    /^granted ([0-9a-f]{32}): read and write of /.exec(twz('cap', 'grant', '/note', '/alice', 'rw', '-b', 'docs.pem', '-d', '-e', '30d')) ??
    [];
  assert.match(refused(3, 'show', '/note', '--context', '/bob'), /ObjectForbidden/);
  const [, handed = ''] =
    /^delegated ([0-9a-f]{32}): read of /.exec(twz('cap', 'delegate', '/alice', granted.slice(0, 6), '/bob', 'r', '-b', 'alice.pem')) ?? [];
  assert.match(
    twz('cap', 'explain', '/note', 'rw', '--context', '/alice'),
    new RegExp(`\\+ ${granted}  rw-, until .*\\n.*\\nyes: read and write\\n$`),
  );
  assert.match(
    refused(1, 'cap', 'explain', '/note', 'rw', '--context', '/bob'),
    new RegExp(`\\+ ${handed}  r--.*\\n.*\\nno: missing write\\n$`),
  );
  twz('ctx', 'mask', '/bob', '-', '/note', '-b', 'bob.pem');
  assert.match(refused(1, 'cap', 'explain', '/note', '--context', bob ?? ''), /given r--, mask ---, override ---, all rwx: none/);
  twz('cap', 'revoke', '/alice', granted, '-b', 'docs.pem');
  const { capabilities } = bench.json('ctx', 'show', bob ?? '', '-s', 's') as { capabilities: { state: string }[] };
  assert.deepEqual(
    capabilities.map(({ state }) => state),
    ['CapabilityRevoked'],
  );
  // By a file, from one to the other.
  twz('cap', 'grant', '/note', '/alice', 'r', '-b', 'docs.pem', '-f', 'cap.bin');
  twz('cap', 'insert', 'cap.bin');
  assert.match(twz('show', note, '--context', '/alice'), /treasure/);
  assert.match(refused(2, 'cap', 'grant', '/note', '/alice', 'q', '-b', 'docs.pem'), /letters of rwx/);
});
