/** How a call is refused, and which error number an error of the space becomes. */
import { TwzError, type ErrorName } from '../../abi/errors.ts';
import { ERRNO, type Errno } from './numbers.ts';

/** Leaves a call with an error number; never leaves this directory. */
export class Refusal extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

/** One for each number: programs that probe do it a million times, and nobody reads where it came from. */
const REFUSALS = new Map<Errno, Refusal>(Object.values(ERRNO).map((errno) => [errno, new Refusal(errno)]));

export function refuse(errno: Errno): never {
  throw REFUSALS.get(errno) ?? new Refusal(errno);
}

const NUMBERS: Partial<Readonly<Record<ErrorName, Errno>>> = {
  NameMissing: ERRNO.noent,
  NameExists: ERRNO.exist,
  NameInvalid: ERRNO.inval,
  NotNamespace: ERRNO.notdir,
  NamespaceNotEmpty: ERRNO.notempty,
  LinkLoop: ERRNO.loop,
  ObjectMissing: ERRNO.noent,
  ObjectDeleted: ERRNO.stale,
  ObjectForbidden: ERRNO.acces,
  ObjectImmutable: ERRNO.perm,
  ObjectTooLarge: ERRNO.fbig,
  ReadOnly: ERRNO.rofs,
  DiskFull: ERRNO.nospc,
  OutOfMemory: ERRNO.nomem,
  TooManyFiles: ERRNO.mfile,
  NotSupported: ERRNO.notsup,
  FilesQuota: ERRNO.dquot,
};

/** Undefined for what is no operating error: a bug, or the end of the program. */
export function errnoOf(error: unknown): Errno | undefined {
  if (error instanceof Refusal) return error.errno;
  return error instanceof TwzError ? (NUMBERS[error.name] ?? ERRNO.io) : undefined;
}
