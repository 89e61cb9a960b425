/** What the figures were taken on. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { COMPILER } from './c.ts';
import { daemonVersions } from './daemons.ts';
import { ROOT } from './peers.ts';

function output(command: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(command, args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}

function peerVersion(name: string): string {
  try {
    const text = readFileSync(join(ROOT, 'bench/peers/node_modules', name, 'package.json'), 'utf8');
    return /"version": *"([^"]+)"/.exec(text)?.[1] ?? 'unknown';
  } catch {
    return 'not installed';
  }
}

const PEERS = [
  'lmdb',
  'classic-level',
  'better-sqlite3',
  '@grpc/grpc-js',
  'undici',
  'capnweb',
  'ioredis',
  'pg',
  'msgpackr',
  '@bufbuild/protobuf',
  'flatbuffers',
];

export function machine(): readonly (readonly [string, string])[] {
  const processor = cpus()[0]?.model ?? 'unknown';
  const fileSystem = output('df', ['--output=fstype', tmpdir()])?.split('\n').at(-1) ?? 'unknown';
  return [
    ['processor', `${processor}, ${cpus().length} cores`],
    ['memory', `${Math.round(totalmem() / 2 ** 30)} GiB`],
    ['system', `${process.platform} ${release()}, ${fileSystem}`],
    ['Node', process.version],
    ['C compiler', output(COMPILER, ['--version'])?.split('\n')[0] ?? 'none'],
    ['peers', PEERS.map((name) => `${name} ${peerVersion(name)}`).join(', ')],
    ['servers', daemonVersions().join(', ')],
    ['load before', (loadavg()[0] ?? 0).toFixed(2)],
    ['commit', output('git', ['describe', '--always', '--dirty']) ?? 'unknown'],
  ];
}
