/** Commands that change how data lies and not what it says: migrate, defragment. */
import type { Command } from 'commander';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Space } from '../../space.ts';
import { isStruct, type Struct } from '../../lib/struct.ts';
import { superseded } from '../../lib/evolution.ts';
import type { Defragmented } from '../../services/defragment.ts';
import type { Migrated } from '../../services/evolution/all.ts';
import { EXIT, UsageError } from '../failure.ts';
import { count, err, out, plural, printable, size, table } from '../output.ts';
import { Progress, withProgress } from '../progress.ts';
import type { Ending } from '../program.ts';
import { importProgram } from '../run.ts';
import { common, findTarget, withSpace, type Common } from '../space.ts';

export function addMaintainCommands(program: Command, ending: Ending): void {
  common(program.command('migrate <file>').description('bring all objects to the structs that a program file exports'))
    .option('-t, --type <name...>', 'only structs of these names')
    .option('--leave-unreached', 'migrate objects with blocks that their roots do not reach, and leave these as they are')
    .action((file: string, options: MigrateFlags) => migrate(file, options, ending));
  common(program.command('defragment [targets...]').description('move the blocks of objects together and give back what that empties'))
    .option('--all', 'all objects of the space')
    .action(defragment);
}

// --- migrate ------------------------------------------------------------------------------------------------------------------

interface MigrateFlags extends Common {
  readonly type?: readonly string[];
  readonly leaveUnreached?: boolean;
}

type AnyStruct = Struct<Record<string, never>>;

/** The structs that a file exports, the newest where migrations lead from one to another. */
async function structsIn(file: string, names: readonly string[] | undefined): Promise<AnyStruct[]> {
  const exported = await importProgram(file);
  const structs = new Set(Object.values(exported).filter((value) => isStruct(value)));
  const newest = [...structs].filter((type) => !superseded(type));
  const unknownName = names?.find((name) => !newest.some((type) => type.name === name));
  if (unknownName !== undefined) throw new UsageError(`${file} exports no struct ${unknownName}`);
  const wanted: unknown = newest.filter(({ name }) => names === undefined || names.includes(name));
  return wanted as AnyStruct[];
}

async function migrate(file: string, options: MigrateFlags, ending: Ending): Promise<void> {
  const types = await structsIn(file, options.type);
  if (types.length === 0)
    throw new TwzError('InvalidArgument', `${file} exports no structs: export those that objects shall have`, { file });
  await withSpace(options, (space) => {
    const all = types.map((type) => {
      const done = withProgress(`migrating to ${type.name}`, 'items', (progress) =>
        space.migrate(type, { progress, unreached: options.leaveUnreached === true ? 'leave' : 'refuse' }),
      );
      return { type: type.name, version: type.version, ...done };
    });
    if (all.some(({ refused }) => refused.length > 0)) ending.code = EXIT.findings;
    if (options.json === true) {
      const plain = all.map(({ refused, ...each }) => ({
        ...each,
        refused: refused.map(({ id, error }) => ({ id, error: error.name, message: error.message })),
      }));
      out.json(plain);
    } else for (const each of all) printMigrated(each);
  });
}

function printMigrated({ type, version, objects, migrated, settled, refused }: Migrated & { type: string; version: number }): void {
  const corrected = settled === 0 ? '' : `, references to ${plural(settled, 'object')} corrected`;
  const left = refused.length === 0 ? '' : `, ${out.paint('red', `${count(refused.length)} refused`)}`;
  out.line(
    `${out.paint('magenta', type)} version ${version}: ${plural(objects, 'object')}, ${count(migrated)} migrated${corrected}${left}`,
  );
  for (const { id, error } of refused) out.line(`${out.paint('red', 'refused')}  ${id}  ${error.name}: ${printable(error.message)}`);
}

// --- defragment -----------------------------------------------------------------------------------------------------------------

interface DefragmentFlags extends Common {
  readonly all?: boolean;
}

type Row = Defragmented & { readonly id: ObjectId };

async function defragment(targets: readonly string[], options: DefragmentFlags): Promise<void> {
  if ((targets.length === 0) !== (options.all === true)) throw new UsageError('defragment takes targets, or --all');
  await withSpace(options, (space) => {
    const ids = options.all === true ? [...space.ids()].sort() : targets.map((target) => findTarget(space, target).id);
    const rows: Row[] = [];
    const left: { id: ObjectId; error: TwzError }[] = [];
    const progress = new Progress('moving');
    for (const [i, id] of ids.entries()) {
      try {
        if (options.all !== true || canMove(space, id)) rows.push({ id, ...space.defragment(id) });
      } catch (error) {
        // One object that cannot be looked into does not keep the others from it.
        if (options.all !== true || !isTwzError(error) || !['object', 'pointer', 'type'].includes(error.category)) throw error;
        left.push({ id, error });
      }
      progress.step(i + 1, ids.length);
    }
    progress.done();
    if (options.json === true) out.json({ objects: rows, left: left.map(({ id, error }) => ({ id, error: error.name })) });
    else printDefragmented(rows, left, options.all === true);
  });
}

/** Only owned objects with a schema have anything to move. */
function canMove(space: Space, id: ObjectId): boolean {
  const object = space.object(id);
  return object.kind === 'owned' && object.schema !== undefined;
}

function printDefragmented(rows: readonly Row[], left: readonly { id: ObjectId; error: TwzError }[], all: boolean): void {
  // Of a whole space only what changed.
  const shown = all ? rows.filter(({ moved, before, after }) => moved.blocks > 0 || after < before) : rows;
  if (shown.length > 0)
    table(
      out,
      [
        { head: 'OBJECT' },
        { head: 'BEFORE', right: true },
        { head: 'AFTER', right: true },
        { head: 'MOVED', right: true },
        { head: 'POINTERS', right: true },
        { head: 'STAY', right: true },
      ],
      shown.map(({ id, before, after, moved, pointers, unaccounted }) => [
        id,
        size(before),
        size(after),
        plural(moved.blocks, 'block'),
        count(pointers),
        unaccounted.blocks === 0 ? '' : size(unaccounted.bytes),
      ]),
    );
  let given = 0;
  for (const { before, after } of rows) given += before - after;
  out.line(out.paint('dim', `${plural(rows.length, 'object')} looked through, ${size(given)} given back`));
  for (const { id, error } of left) err.line(err.paint('yellow', `${id} was left as it is: ${error.name}`));
}
