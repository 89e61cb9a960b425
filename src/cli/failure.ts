/**
 * How `twz` ends. docs/cli.md lists the exit codes.
 *
 *   0  done        1  findings (check) or refused input (import)        2  wrong usage        3  operating error
 *   4  a bug in twizzler        130  interrupted
 */
import { ERRORS, TwzError, type ErrorName } from '../abi/errors.ts';
import { err, printable, toJson } from './output.ts';

export const EXIT = { done: 0, findings: 1, usage: 2, failed: 3, bug: 4, interrupted: 130 } as const;

/** Hints that fit the command line better than the general remedy. */
const HINTS: Partial<Record<ErrorName, string>> = {
  SpaceMissing: 'create one with `twz init`, or say where it is with `-s DIR` or TWZ_SPACE',
  SpaceBusy: 'close the other programs first: this needs the space for itself',
  NameMissing: 'list what there is with `twz ls` or `twz tree`',
  NamespaceNotEmpty: 'add `-r` to remove all that is below',
  EngineLost: 'start a nats-server there, name others with `--servers` or TWZ_SERVERS, or let `twz join --dev` start one',
  NameExists: 'add `-f` to replace it, or choose another name',
};

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Prints one error and returns the exit code for it. */
export function report(error: unknown, json: boolean): number {
  if (error instanceof TwzError) {
    if (json) err.line(toJson({ ...error.toJSON(), hint: hintFor(error.name) }));
    else {
      err.line(`${err.paint('red', 'twz:')} ${err.paint('bold', error.name)} (${error.code}): ${printable(error.message)}`);
      err.line(err.paint('dim', `     ${hintFor(error.name)}; more: twz explain ${error.code}`));
    }
    return EXIT.failed;
  }
  if (error instanceof UsageError) {
    if (json) err.line(toJson({ error: 'Usage', message: error.message }));
    else err.line(`${err.paint('red', 'twz:')} ${printable(error.message)}`);
    return EXIT.usage;
  }
  const problem = error instanceof Error ? error : new Error(String(error));
  if (json) err.line(toJson({ error: 'Bug', message: problem.message, stack: problem.stack }));
  else err.line(`${err.paint('red', 'twz: bug:')} ${problem.stack ?? problem.message}`);
  return EXIT.bug;
}

function hintFor(name: ErrorName): string {
  const text = HINTS[name] ?? ERRORS[name].remedy;
  return text.replace(/\.$/, '').replace(/^[A-Z]/, (c) => c.toLowerCase());
}
