/**
 * Kernels with a bug each, made from the built one by changing a line. The simulation must find every one of them: a step of the
 * protocol that can be left out without its noticing is a step that it does not test.
 *
 *   node dist/test/simulation-mutants.js [NAME...] [--points N]
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLAIN } from './plain.ts';

export interface Mutant {
  readonly name: string;
  /** Below src/kernel. */
  readonly file: string;
  /** Found exactly once in the built file. */
  readonly from: string;
  readonly to: string;
}

export const MUTANTS: readonly Mutant[] = [
  // Drafts.
  { name: 'draft-unsynced', file: 'drafts.js', from: 'host.sync(file);', to: '' },
  { name: 'draft-unnamed', file: 'drafts.js', from: '}\n        host.syncDirectory(parentOf(kernel.path(h.id)));', to: '}' },
  { name: 'draft-nowhere', file: 'drafts.js', from: 'host.syncDirectory(`${directory}/objects`);', to: '' },
  { name: 'draft-not-adopted', file: 'recovery.js', from: 'adoptDraft(kernel, h.id);', to: '' },
  {
    name: 'draft-adopted-before-log',
    file: 'drafts.js',
    from: 'kernel.log.sync();\n        adoptDraft(kernel, h.id);',
    to: 'adoptDraft(kernel, h.id);',
  },
  { name: 'draft-recovered-before-log', file: 'recovery.js', from: 'this.#keepLog();\n            adoptDraft(', to: 'adoptDraft(' },
  {
    name: 'draft-placed-unnamed',
    file: 'drafts.js',
    from: 'adoptDraft(kernel, h.id);\n        host.syncDirectory(parentOf(kernel.path(h.id)));',
    to: 'adoptDraft(kernel, h.id);',
  },
  // The log.
  { name: 'segment-unsynced', file: 'segments.js', from: 'host.sync(file);\n            host.rename(', to: 'host.rename(' },
  {
    name: 'segment-unnamed',
    file: 'segments.js',
    from: 'host.rename(draft, path);\n            host.syncDirectory(this.#directory);',
    to: 'host.rename(draft, path);',
  },
  {
    name: 'dead-segment-unnamed',
    file: 'segments.js',
    from: 'this.#host.syncDirectory(this.#directory);\n            this.#namesSynced',
    to: 'this.#namesSynced',
  },
  {
    name: 'in-place-over-unsynced',
    file: 'log.js',
    from: 'this.written === end || this.synced !== this.written ||',
    to: 'this.written === end ||',
  },
  { name: 'flush-over-unsynced', file: 'log.js', from: 'this.written < end && this.synced === this.written', to: 'this.written < end' },
  { name: 'in-place-not-through', file: 'log.js', from: 'this.#host.write(segment.through,', to: 'this.#host.write(segment.file,' },
  {
    name: 'flush-of-what-came-later',
    file: 'log.js',
    from: '.then(() => this.#publish(end))',
    to: '.then(() => this.#publish(this.end))',
  },
  { name: 'inherited-log-believed', file: 'log.js', from: 'this.synced = checkpoint;', to: 'this.synced = at.lsn;' },
  {
    name: 'recycled-under-a-write',
    file: 'segments.js',
    from: 'sequence >= first || (segment?.writing ?? 0) > 0',
    to: 'sequence >= first',
  },
  {
    name: 'recycled-too-far',
    file: 'segments.js',
    from: 'const first = this.sequenceOf(lsn);',
    to: 'const first = this.sequenceOf(lsn) + 1;',
  },
  { name: 'tail-not-adopted', file: 'log.js', from: 'this.#host.write(segment.file, frames, first % this.segmentSize);', to: '' },
  { name: 'tail-adopted-unsynced', file: 'log.js', from: 'if (durable)\n            this.#host.syncAll(this.#directory);', to: '' },
  { name: 'every-frame-commits', file: 'log.js', from: 'commit ? FRAME_COMMIT : 0', to: 'FRAME_COMMIT' },
  // The checkpoint.
  { name: 'files-unsynced', file: 'checkpoint.js', from: 'this.applyAll();\n        this.#syncApplied();', to: 'this.applyAll();' },
  { name: 'files-before-log', file: 'checkpoint.js', from: 'if (h.lastLsn > log.synced)\n            log.sync();', to: '' },
  {
    name: 'removal-before-log',
    file: 'checkpoint.js',
    from: 'return;\n        log.sync();\n        // Who committed',
    to: 'return;\n        // Who committed',
  },
  { name: 'removal-unsynced', file: 'checkpoint.js', from: 'this.#unsynced.add(parentOf(path));', to: '' },
  {
    name: 'inherited-files-unsynced',
    file: 'checkpoint.js',
    from: 'this.#inherited = kernel.recovery.bytes > 0;',
    to: 'this.#inherited = false;',
  },
  {
    name: 'overtaken-files-unsynced',
    file: 'checkpoint.js',
    from: 'new Set([...this.#syncing, ...this.#unsynced]);\n        try {\n            if',
    to: 'new Set(this.#unsynced);\n        try {\n            if',
  },
  {
    name: 'slices-end-too-late',
    file: 'checkpoint.js',
    from: 'await this.#syncLater();\n        if (!this.#stopped)\n            this.#advance(at);',
    to: 'await this.#syncLater();\n        if (!this.#stopped)\n            this.#advance({ lsn: log.end, chain: log.chain });',
  },
  { name: 'file-unnamed', file: 'apply.js', from: 'unsynced.add(parent);', to: '' },
  { name: 'directory-unnamed', file: 'apply.js', from: 'unsynced.add(`${directory}/objects`);', to: '' },
  { name: 'header-unsynced', file: 'control.js', from: 'CONTROL.slot);\n    host.sync(file);', to: 'CONTROL.slot);' },
  // Recovery.
  { name: 'frames-unchecked', file: 'recovery.js', from: '=== words[at + 1] >>> 0 ? length : 0', to: '>= 0 ? length : 0' },
  {
    name: 'torn-page-kept',
    file: 'recovery.js',
    from: "const store = h.state === 'live';",
    to: "const store = h.state === 'live' && (h.fileSize === 0 || words[6] !== from[section + 6]);",
  },
  { name: 'open-transaction-kept', file: 'recovery.js', from: 'if (!ends) {', to: 'if (false) {' },
  {
    name: 'spilled-before-log',
    file: 'recovery.js',
    from: 'if (!this.spilled)\n            kernel.host.syncAll(kernel.directory);',
    to: '',
  },
  {
    name: 'dead-space-unnamed',
    file: 'recovery.js',
    from: 'if (!fresh && control.generation === 0)\n            host.syncDirectory(directory);',
    to: '',
  },
  {
    name: 'space-unnamed',
    file: 'recovery.js',
    from: '    host.rename(draft, `${directory}/space.twz`);\n    host.syncDirectory(directory);',
    to: '    host.rename(draft, `${directory}/space.twz`);',
  },
];

export interface Caught {
  readonly seed: number;
  readonly step: number;
}

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/** The first failure that the simulation of this kernel finds, in so many crash points; undefined where it finds none. */
export function simulateMutant(mutant: Mutant, points: number): Caught | undefined {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-mutant-'));
  try {
    fs.cpSync(PLAIN, path.join(directory, 'src'), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'));
    fs.writeFileSync(path.join(directory, 'package.json'), '{ "type": "module" }');
    const file = path.join(directory, 'src', 'kernel', mutant.file);
    const parts = fs.readFileSync(file, 'utf8').split(mutant.from);
    if (parts.length !== 2) throw new Error(`mutant ${mutant.name}: what it changes is ${parts.length - 1} times in ${mutant.file}`);
    fs.writeFileSync(file, parts.join(mutant.to));
    const run = spawnSync(process.execPath, [path.join(directory, 'src', 'testing', 'sim.js'), '--points', String(points)], {
      encoding: 'utf8',
    });
    const found = /FAILED {2}seed (\d+), step (\d+)/.exec(run.stderr);
    if (found !== null) return { seed: Number(found[1]), step: Number(found[2]) };
    if (run.status !== 0) throw new Error(`mutant ${mutant.name}: the simulation did not run\n${run.stderr}`);
    return undefined;
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

function main(args: readonly string[]): void {
  const at = args.indexOf('--points');
  const points = at < 0 ? 6000 : Number(args[at + 1]);
  const names = at < 0 ? args : args.toSpliced(at, 2);
  const chosen = MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name));
  let missed = 0;
  for (const mutant of chosen) {
    const caught = simulateMutant(mutant, points);
    if (caught === undefined) missed++;
    console.log(
      `${mutant.name}: ${caught === undefined ? `NOT caught in ${points} points` : `caught by seed ${caught.seed} at step ${caught.step}`}`,
    );
  }
  console.log(`${chosen.length - missed} of ${chosen.length} caught`);
  process.exitCode = missed === 0 && chosen.length > 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
