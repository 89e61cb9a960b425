/** Commands that keep copies: backup, restore. */
import { InvalidArgumentError, type Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { listBackup, restoreBackup, type PointFacts } from '../../services/backup.ts';
import { EXIT, UsageError } from '../failure.ts';
import { count, err, out, plural, printable, size, table } from '../output.ts';
import { Progress } from '../progress.ts';
import type { Ending } from '../program.ts';
import { common, theHost, withSpace, type Common } from '../space.ts';
import { natural } from './space.ts';

export function addBackupCommands(program: Command, ending: Ending): void {
  common(
    program.command('backup <dir>').description('copy the space to a new point of a backup; what an earlier point has is not copied again'),
  )
    .option('-l, --list', 'list the points instead')
    .option('--verify', 'read and check every byte of every point instead')
    .option('--full', 'read everything, and share nothing with earlier points')
    .option('--keep <points>', 'remove the oldest points, so that so many are left', atLeastOne)
    .option('--note <text>', 'a line that the list shows')
    .option('--skip-damaged', 'leave out objects that cannot be read, rather than fail')
    .action(async (directory: string, options: BackupFlags) => {
      if (options.list === true || options.verify === true) listPoints(directory, options, ending);
      else await backup(directory, options, ending);
    });
  common(
    program
      .command('restore <backup> <dir>')
      .description('make a space of a point of a backup; the directory must not be there, or be empty'),
  )
    .option('--at <point>', 'the number of the point, or a time: the last point up to then (default: the last one)')
    .action(restore);
}

interface BackupFlags extends Common {
  readonly list?: boolean;
  readonly verify?: boolean;
  readonly full?: boolean;
  readonly keep?: number;
  readonly note?: string;
  readonly skipDamaged?: boolean;
}

function atLeastOne(text: string): number {
  const n = natural(text);
  if (n < 1) throw new InvalidArgumentError('expected a number from 1 up.');
  return n;
}

async function backup(directory: string, options: BackupFlags, ending: Ending): Promise<void> {
  const { full, keep, note, skipDamaged } = options;
  const progress = new Progress('copying');
  const report = await withSpace(options, async (space) => {
    try {
      return await space.backup(directory, {
        progress: progress.step,
        ...(full === undefined ? {} : { full }),
        ...(keep === undefined ? {} : { keep }),
        ...(note === undefined ? {} : { note }),
        ...(skipDamaged === undefined ? {} : { skipDamaged }),
      });
    } finally {
      progress.done();
    }
  });
  if (report.damaged.length > 0) ending.code = EXIT.findings;
  if (options.json === true) {
    out.json(report);
    return;
  }
  for (const { id, reason } of report.damaged) err.line(`${err.paint('yellow', 'left out')} ${id}: ${printable(reason)}`);
  const removed = report.removed.length === 0 ? '' : `; removed ${plural(report.removed.length, 'old point')}`;
  out.line(
    `point ${report.point}: ${plural(report.objects, 'object')}, ${size(report.bytes)}; ${plural(report.changed, 'object')} read, ${size(report.added)} added${removed}`,
  );
}

/** `2026-11-21 14:05:09`, as people of this place read it. */
function when(time: number | undefined): string {
  return time === undefined ? '' : new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium' }).format(time);
}

function listPoints(directory: string, options: BackupFlags, ending: Ending): void {
  const progress = new Progress('verifying');
  let points: PointFacts[];
  try {
    points = listBackup(theHost(), directory, { verify: options.verify ?? false, progress: progress.step });
  } finally {
    progress.done();
  }
  if (points.some(({ problem }) => problem !== undefined)) ending.code = EXIT.findings;
  if (options.json === true) {
    out.json(points);
    return;
  }
  const right = true;
  const columns = [
    { head: 'POINT', right },
    { head: 'TAKEN' },
    { head: 'OBJECTS', right },
    { head: 'SIZE', right },
    { head: 'CHANGED', right },
    { head: 'ADDED', right },
    { head: 'NOTE' },
  ];
  const rows = points.map(({ point, time, objects = 0, bytes = 0, changed = 0, added = 0, note = '', problem }) =>
    problem === undefined
      ? [String(point), when(time), count(objects), size(bytes), count(changed), size(added), printable(note)]
      : [String(point), when(time), '', '', '', '', out.paint('red', printable(problem))],
  );
  table(out, columns, rows);
  if (options.verify === true && ending.code === EXIT.done) out.line(out.paint('green', `sound: ${plural(points.length, 'point')}`));
}

interface RestoreFlags extends Common {
  readonly at?: string;
}

/** A number of a point, or a time. */
function pointAt(backupDirectory: string, at: string): number {
  if (/^\d{1,9}$/.test(at)) return Number(at);
  const time = Date.parse(at);
  if (Number.isNaN(time)) throw new UsageError(`--at ${at}: neither the number of a point nor a time such as 2026-11-21T14:05`);
  let found: number | undefined;
  for (const { point, time: taken } of listBackup(theHost(), backupDirectory)) if (taken !== undefined && taken <= time) found = point;
  if (found === undefined)
    throw new TwzError('BackupMissing', `${backupDirectory} has no point from before ${at}`, { directory: backupDirectory, at });
  return found;
}

function restore(from: string, directory: string, options: RestoreFlags): void {
  const progress = new Progress('restoring');
  const at = options.at === undefined ? {} : { at: pointAt(from, options.at) };
  try {
    const head = restoreBackup(theHost(), from, directory, { ...at, progress: progress.step });
    progress.done();
    if (options.json === true) out.json({ directory, ...head });
    else out.line(`restored point ${head.point} to ${directory}: ${plural(head.objects, 'object')}, ${size(head.bytes)}`);
  } finally {
    progress.done();
  }
}
