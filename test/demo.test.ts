/** T19: the examples, run as a new user would run them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chooseHost } from '../src/host/choose.ts';
import { checkSpace } from '../src/services/check.ts';
import { THOROUGH } from './thorough.ts';

const home = mkdtempSync(join(tmpdir(), 'twizzler-demo-'));
after(() => rmSync(home, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

function run(example: string, ...args: string[]): Promise<Ended> {
  const program = fileURLToPath(new URL(`../examples/${example}`, import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, output, errors }));
  });
}

test('T1, T19 examples/first: it kills itself each time, and goes on where it was', async () => {
  const directory = join(home, 'first');
  for (let visit = 1; visit <= 3; visit++) {
    const { signal, output, errors } = await run('first/main.js', directory);
    assert.equal(signal, 'SIGKILL', errors);
    assert.equal(output, `Alice knows Bob; visit ${visit}\n`);
  }
});

/** What it must find: of verbs, and of all of it. */
const [parts, found] = THOROUGH
  ? [
      [],
      {
        synsets: /117,791 synsets/,
        nodes: /472,541 nodes +1,207,254 references, 0 of them to nothing/,
        path: /dog > canine > carnivore > placental > mammal > vertebrate > chordate > animal > organism > /,
        senses: /break 75, cut 70, run 57/,
        trees: /entity \(noun\) 82,191/,
        references: 1_207_254,
      },
    ]
  : [
      ['--parts', 'verb'],
      {
        synsets: /13,789 synsets/,
        nodes: /50,390 nodes +130,808 references, 0 of them to nothing/,
        path: /chase > pursue > travel/,
        senses: /break 59, make 49, give 44/,
        trees: /change \(verb\) 1,708/,
        references: 130_808,
      },
    ];

test('T1, T3, T15, T19 examples/wordnet: a real graph is imported, asked, killed, and whole', async (t) => {
  const directory = join(home, 'wordnet');
  const { code, output, errors } = await run('wordnet/main.js', '--dir', directory, ...parts);
  assert.equal(code, 0, `${output}${errors}`);
  assert.equal(errors, '');
  for (const part of [found.synsets, found.nodes, found.path, found.senses, found.trees]) assert.match(output, part);
  assert.match(output, /Nothing is lost/);
  assert.doesNotMatch(output, /NO {2}/);
  for (const control of ['\r', '\u001b']) assert.ok(!output.includes(control), 'colour and progress are for terminals only');
  assert.ok((output.match(/yes {2}/g) ?? []).length >= 6);
  const report = checkSpace(
    chooseHost(() => undefined),
    directory,
  );
  assert.deepEqual(
    report.findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
  assert.ok(report.pointers > found.references, `${report.pointers} typed pointers were followed by the check`);
  t.diagnostic(`${report.objects} objects, ${report.pointers} typed pointers checked`);
});
