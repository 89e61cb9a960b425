/** `twz files`: files and directories of programs, and real ones into the space and back. */
import type { Command } from 'commander';
import { basename, join } from 'node:path';
import { readStandardInput, realPieces, writeRealFile, writeStandardOutput } from '../../host/real-files.ts';
import { contentOf, exportFiles, fileAt, importFiles, placeAt, putFile, type Transferred } from '../../services/files/transfer.ts';
import { SpaceTree } from '../../services/files/tree.ts';
import { out, plural, printable, size as sizeText, table } from '../output.ts';
import { withProgress } from '../progress.ts';
import { common, withSpace, type Common } from '../space.ts';

interface Force extends Common {
  readonly force?: boolean;
}

const replacing = (command: Command): Command => command.option('-f, --force', 'replace what is there');

export function addFileCommands(program: Command): void {
  const files = program.command('files').description('files and directories of programs: import, export, ls, cat, put, get');
  common(files.command('ls [path]').description('list a directory, with kind, size and time'))
    .option('-R, --recursive', 'with all that is below')
    .action((path: string | undefined, options: Common & { recursive?: boolean }) =>
      withSpace(options, (space) => list(new SpaceTree(space), path ?? '/', options)),
    );
  common(files.command('cat <paths...>').description('write what is in files to standard output')).action(
    (paths: string[], options: Common) =>
      withSpace(options, (space) => {
        for (const path of paths) for (const piece of contentOf(fileAt(new SpaceTree(space), path))) writeStandardOutput(1, piece);
      }),
  );
  replacing(common(files.command('put <file> <path>').description('copy a real file to a path; `-` is standard input'))).action(
    (file: string, path: string, options: Force) => withSpace(options, (space) => put(new SpaceTree(space), file, path, options)),
  );
  replacing(common(files.command('get <path> [file]').description('copy a file out of the space; `-` is standard output'))).action(
    (path: string, file: string | undefined, options: Force) =>
      withSpace(options, (space) => get(new SpaceTree(space), path, file, options)),
  );
  replacing(
    common(files.command('import <directory> <path>').description('copy a real directory, with all that is in it, to a path')),
  ).action((directory: string, path: string, options: Force) =>
    withSpace(options, (space) => transferred('importing', options, (given) => importFiles(new SpaceTree(space), directory, path, given))),
  );
  replacing(common(files.command('export <path> <directory>').description('copy a directory out of the space'))).action(
    (path: string, directory: string, options: Force) =>
      withSpace(options, (space) =>
        transferred('exporting', options, (given) => exportFiles(new SpaceTree(space), path, directory, given)),
      ),
  );
}

interface Row {
  readonly path: string;
  readonly kind: string;
  readonly size: number;
  readonly modified: bigint;
  readonly target?: string;
}

function* rows(tree: SpaceTree, path: string, below: string, recursive: boolean): Generator<Row> {
  const directory = tree.open(path);
  for (const { name } of directory.entries()) {
    const node = directory.find(name);
    if (node === undefined) continue;
    const { kind, size, modified } = node.stat();
    yield { path: `${below}${name}`, kind, size, modified, ...(node.kind === 'link' ? { target: node.target } : {}) };
    if (recursive && kind === 'directory') yield* rows(tree, join(path, name), `${below}${name}/`, true);
  }
}

const TIME = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium', timeZone: 'UTC' });

function list(tree: SpaceTree, path: string, options: Common & { recursive?: boolean }): void {
  const found = [...rows(tree, path, '', options.recursive === true)];
  if (options.json === true) {
    out.json(found);
    return;
  }
  const when = (modified: bigint): string => (modified === 0n ? '' : TIME.format(Number(modified / 1_000_000n)));
  table(
    out,
    [{ head: 'KIND' }, { head: 'SIZE', right: true }, { head: 'MODIFIED' }, { head: 'NAME' }],
    found.map((row) => [
      row.kind,
      row.kind === 'directory' ? '' : sizeText(row.size),
      when(row.modified),
      row.target === undefined ? printable(row.path) : `${printable(row.path)} -> ${printable(row.target)}`,
    ]),
  );
}

function* standardInput(): Generator<Uint8Array> {
  const piece = new Uint8Array(65536);
  for (let n = readStandardInput(piece); n > 0; n = readStandardInput(piece)) yield piece.subarray(0, n);
}

function put(tree: SpaceTree, file: string, path: string, options: Force): void {
  const { directory, name } = placeAt(tree, path, true);
  const size = putFile(tree, directory, name, file === '-' ? standardInput() : realPieces(file), { replace: options.force ?? false });
  if (options.json === true) out.json({ path, bytes: size });
}

function get(tree: SpaceTree, path: string, file: string | undefined, options: Force): void {
  const from = fileAt(tree, path);
  if (file === '-') {
    for (const piece of contentOf(from)) writeStandardOutput(1, piece);
    return;
  }
  const to = file ?? basename(path);
  writeRealFile(to, contentOf(from), from.stat().modified, options.force ?? false);
  if (options.json === true) out.json({ file: to, bytes: from.size() });
}

type Given = Parameters<typeof importFiles>[3];

function transferred(doing: string, options: Force, run: (given: Given) => Transferred): void {
  const result = withProgress(doing, 'items', (step) => run({ replace: options.force ?? false, progress: (_path, files) => step(files) }));
  if (options.json === true) {
    out.json(result);
    return;
  }
  out.line(
    `${plural(result.files, 'file')}, ${plural(result.directories, 'directory', 'directories')}, ${plural(result.links, 'link')}, ${sizeText(result.bytes)}`,
  );
  for (const { path, reason } of result.skipped) out.line(`left out: ${printable(path)}: ${printable(reason)}`);
}
