/** Which directory holds the space, and how it is opened. docs/cli.md, "The space". */
import type { Command } from 'commander';
import { chooseHost } from '../host/choose.ts';
import type { Host } from '../host/host.ts';
import { TwzError, isTwzError } from '../abi/errors.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import { open, type Space } from '../space.ts';
import type { Obj } from '../lib/object.ts';
import { actBy } from '../kernel/security/authority.ts';
import { ObjectImage } from '../services/check/object-image.ts';
import type { ObjectReader } from '../services/show.ts';
import { UsageError } from './failure.ts';
import { err } from './output.ts';

/** Options that every command takes. */
export interface Common {
  readonly space?: string;
  readonly json?: boolean;
  /** Security contexts to act by. */
  readonly context?: readonly string[];
}

/** Adds the options that every command takes. */
export function common(command: Command): Command {
  return command
    .option('-s, --space <dir>', 'directory of the space')
    .option('--json', 'print JSON')
    .option('--context <target>', 'act by this security context (again for more)', (value: string, before?: readonly string[]) => [
      ...(before ?? []),
      value,
    ]);
}

/** The host of this machine; one line says so if it is not the fast one. */
export function theHost(): Host {
  return chooseHost((line) => err.line(err.paint('yellow', line)));
}

const HERE = './.twizzler';

/** -s, else TWZ_SPACE, else the current directory if it is a space, else ./.twizzler. */
export function spaceDirectory(options: Common): string {
  if (options.space !== undefined) return options.space;
  const fromEnvironment = process.env['TWZ_SPACE'] ?? '';
  if (fromEnvironment !== '') return fromEnvironment;
  return theHost().exists('./space.twz') ? '.' : HERE;
}

/** --context, else TWZ_CONTEXT, with commas between. */
function contextsOf(options: Common): readonly string[] {
  return options.context ?? (process.env['TWZ_CONTEXT'] ?? '').split(',').filter((context) => context !== '');
}

/** Opens the space of a command, which must be there, and closes it whatever happens. */
export async function withSpace<T>(options: Common, use: (space: Space) => T | Promise<T>): Promise<T> {
  const space = open(spaceDirectory(options), { create: false, host: theHost() });
  try {
    const contexts = contextsOf(options);
    if (contexts.length > 0)
      actBy(
        space.kernel,
        contexts.map((context) => findTarget(space, context).id),
      );
    return await use(space);
  } finally {
    space.close();
  }
}

const PREFIX = /^[0-9a-f]{4,32}$/i;

/** An object by path, by ID, or by at least the first four digits of its ID. */
export function findTarget(space: Space, target: string): Obj {
  if (target.startsWith('/')) {
    const id = space.names.lookup(target);
    if (id === undefined) throw new TwzError('NameMissing', `nothing has the name "${target}"`, { path: target });
    return space.object(id);
  }
  if (!PREFIX.test(target))
    throw new UsageError(`"${target}" is neither a path (/…) nor an object ID nor the first four or more digits of one`);
  const digits = target.toLowerCase();
  if (isId(digits)) return space.object(digits);
  const found: ObjectId[] = [];
  for (const id of space.ids()) if (id.startsWith(digits)) found.push(id);
  const [id, other] = found;
  if (id === undefined) throw new TwzError('ObjectMissing', `no object in the space has an ID that begins with ${digits}`, { digits });
  if (other !== undefined)
    throw new UsageError(
      `${found.length} objects have IDs that begin with ${digits}: ${found.slice(0, 4).join(', ')}${found.length > 4 ? ', …' : ''}`,
    );
  return space.object(id);
}

/** The bytes of an object, for the services that read the format. Undefined where it cannot be opened. */
export function imageReader(space: Space): ObjectReader {
  return (id) => {
    try {
      return new ObjectImage(space.object(id).image());
    } catch (error) {
      if (isTwzError(error)) return undefined;
      throw error;
    }
  };
}
