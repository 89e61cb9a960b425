/** G5, G16: one program over topologies: it meets its data in different places, and the owner of what it stores to may die. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test, type TestContext } from 'node:test';
import { foundServer, noServer } from './engines.ts';

const MAIN = fileURLToPath(new URL('../examples/rendezvous/main.js', import.meta.url));

interface Row {
  readonly topology?: string;
  readonly network?: string;
  readonly answers?: readonly string[];
  readonly places?: readonly string[];
  readonly flows?: readonly { readonly from: string; readonly to: string; readonly what: string; readonly bytes: number }[];
  readonly dataBytes?: number;
  readonly codeBytes?: number;
  readonly [more: string]: unknown;
}

function start(t: TestContext, ...args: string[]) {
  const env = { ...process.env, NATS_SERVER: foundServer?.path ?? '' };
  const child = spawn(process.execPath, [MAIN, '--json', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGTERM'));
  return child;
}

/** Whether namespaces of the network can be made here. */
function noNamespaces(): string | false {
  const probe = `twz-probe-${process.pid}`;
  const made = spawnSync('ip', ['netns', 'add', probe]).status === 0;
  const bridge = made && spawnSync('ip', ['-n', probe, 'link', 'add', 'bridge', 'type', 'bridge']).status === 0;
  if (made) spawnSync('ip', ['netns', 'del', probe]);
  return !bridge && 'no right to make network namespaces, or no ip (iproute2)';
}

test(
  'G5, G16 Alice, Bob and Carol: the same answers, where the data is; the owner is killed, and another takes over',
  { skip: noServer },
  async (t) => {
    const child = start(t, '--network', 'loopback', '--synsets', '1000', '--marks', '10', '--topologies', 'abc');
    let [output, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const [code] = await once(child, 'close');
    assert.equal(code, 0, `${output}${errors}`);
    const rows = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Row);
    const row = (name: string): Row => rows.find(({ topology }) => topology === name) ?? assert.fail(`no topology ${name}`);
    assert.equal(rows[0]?.network, 'loopback');
    const [a, b, c] = [row('a'), row('b'), row('c')];
    assert.equal(a.answers?.length, 6);
    assert.match(a.answers[0] ?? '', /^dog > .* > piano \(\d+ seen\)$/);
    assert.deepEqual(b.answers, a.answers);
    assert.deepEqual(c.answers, a.answers);

    // Where they ran, and so what moved, depends on what the machine has to do beside.
    for (const { places } of [a, b, c]) assert.equal(places?.length, 6);

    const { acknowledged, unknownDone, count, lost, twice, killed, owner } = row('killed');
    assert.ok(Number(acknowledged) >= 20);
    assert.deepEqual({ lost, twice, count }, { lost: 0, twice: 0, count: Number(acknowledged) + Number(unknownDone) });
    assert.equal(killed, 'alice');
    assert.notEqual(owner, 'alice');
  },
);

test('G16 in network namespaces: interrupted, it leaves nothing', { skip: noServer !== false ? noServer : noNamespaces() }, async (t) => {
  const child = start(t, '--network', 'namespaces', '--synsets', '100', '--topologies', 'a');
  const own = `twz-rdv-${child.pid}-`;
  const left = (): string => spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout;
  // Its first line: the server serves, in a namespace of its own.
  const [first] = await once(child.stdout.setEncoding('utf8'), 'data');
  assert.match(String(first), /"network":"namespaces"/);
  assert.ok(left().includes(`${own}hub`) && left().includes(`${own}dave`));
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  assert.equal(code, 1);
  assert.ok(!left().includes(own));
});
