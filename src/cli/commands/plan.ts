/** `twz plan`: why the runs of a node were where they were, and where one would be now. docs/cli.md, "Many machines". */
import { InvalidArgumentError, type Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { NodeInfo } from '../../services/cluster/node.ts';
import type { PlanTold, RunTold } from '../../services/cluster/plans.ts';
import { open } from '../../space.ts';
import { duration, out, printable } from '../output.ts';
import { findTarget, spaceDirectory, theHost } from '../space.ts';
import { ASK_MS, reaching, withEngine, type Reaching } from './cluster.ts';

const RUNS = 5;

interface PlanFlags extends Reaching {
  readonly n?: number;
  readonly code?: string;
}

export function addPlanCommand(program: Command): void {
  reaching(
    program
      .command('plan [node] [references...]')
      .description(
        'say why the last runs of a node were where they were; with references, where a run over them would be now. ' +
          'A node is named by its name, its ID, or the directory of its space',
      ),
  )
    .option('-n <count>', `how many runs (default: ${RUNS})`, count)
    .option('--code <id>', 'a function that has run, so that what is known of it counts')
    .action(plan);
}

function count(text: string): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < 1 || n > 50) throw new InvalidArgumentError('expected a number from 1 to 50.');
  return n;
}

interface Named {
  /** What it is called where it is in no space that can be looked into. */
  readonly node: string;
  readonly ids: readonly ObjectId[];
}

/** The node of a directory's space, with the references that its names lead to. */
function inDirectory(directory: string, references: readonly string[]): Named {
  const space = open(directory, { create: false, host: theHost() });
  try {
    return { node: space.stat().id, ids: references.map((each) => idOf(each) ?? findTarget(space, each).id) };
  } finally {
    space.close();
  }
}

function idOf(text: string): ObjectId | undefined {
  return isId(text.toLowerCase()) ? parseId(text.toLowerCase()) : undefined;
}

function named(node: string | undefined, references: readonly string[], known: readonly NodeInfo[]): Named {
  const found = known.find(({ id, name }) => id === node || name === node);
  if (found === undefined) return inDirectory(node ?? spaceDirectory({}), references);
  const ids = references.map((each) => {
    const id = idOf(each);
    if (id === undefined)
      throw new TwzError('InvalidArgument', `${printable(each)} is no ID: names are looked up in the space of a directory`);
    return id;
  });
  return { node: found.id, ids };
}

async function plan(node: string | undefined, references: readonly string[], flags: PlanFlags): Promise<void> {
  const { askPastRuns, askWouldRun } = await import('../../services/cluster/plans.ts');
  await withEngine(flags, async (engine) => {
    const { listNodes } = await import('../../services/cluster/watching.ts');
    const known = await listNodes(engine, ASK_MS);
    const { node: id, ids } = named(node, references, known);
    const info = known.find((each) => each.id === id);
    if (info === undefined) throw new TwzError('NodeUnknown', `the space ${id} has not joined`, { id });
    const withNames = (text: string): string => printable(known.reduce((all, each) => all.replaceAll(each.id, each.name), text));
    if (ids.length > 0) {
      const would = await askWouldRun(engine, id, ids, flags.code ?? '', 2 * ASK_MS);
      if (flags.json === true) out.json({ node: id, name: info.name, would });
      else tell(would, withNames);
      return;
    }
    const runs = await askPastRuns(engine, id, flags.n ?? RUNS, ASK_MS);
    if (flags.json === true) out.json({ node: id, name: info.name, runs });
    else if (runs.length === 0) out.line(`${printable(info.name)} has asked for no run yet`);
    else
      for (const [i, run] of runs.entries()) {
        if (i > 0) out.line();
        tellRun(run, theHost().time(), withNames);
      }
  });
}

function tellRun(run: RunTold, now: number, withNames: (text: string) => string): void {
  const what = run.took === null ? 'still runs' : `${run.failed ? 'failed after' : 'took'} ${duration(run.took)}`;
  out.line(out.paint('bold', `${duration(Math.max(0, now - run.at))} ago: ${what}, expected ${duration(run.expected)}; code ${run.code}`));
  tell(run, withNames);
}

function tell({ lines }: PlanTold, withNames: (text: string) => string): void {
  const [first = '', ...weighed] = lines;
  out.line(withNames(first));
  for (const line of weighed) out.line(line.startsWith('*') ? out.paint('green', withNames(line)) : withNames(line));
}
