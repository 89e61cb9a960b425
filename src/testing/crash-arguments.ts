/** What `npm run crash` takes. */
import { parseArgs } from 'node:util';
import type { HostName } from './life.ts';

export const USAGE = `Kills real processes with SIGKILL while they use a space, and judges what the next one finds.

  npm run crash -- [options]

  --kills N      stop after so many kills (default 1000)
  --seconds S    stop after so many seconds
  --seed N       seed of the first programs (default: by chance; it is printed)
  --host NAME    linux, portable or both (default both)
  --help         this text

Half of the kills come at random instants, half at a chosen call of the host: before it, after it, or in the middle of a write.
The exit code is 0 if nothing was lost, 1 if something was, and 2 for wrong arguments.`;

export interface Arguments {
  readonly kills: number;
  readonly seconds: number;
  readonly seed: number;
  readonly hosts: readonly HostName[];
}

export class WrongArgument extends Error {}

function numberOf(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (!/^\d+$/.test(value)) throw new WrongArgument(`--${name} takes a whole number, not "${value}"`);
  return Number(value);
}

export function parse(args: string[]): Arguments | undefined {
  const option = { type: 'string' } as const;
  let values: { kills?: string; seconds?: string; seed?: string; host?: string; help?: boolean };
  try {
    ({ values } = parseArgs({ args, options: { kills: option, seconds: option, seed: option, host: option, help: { type: 'boolean' } } }));
  } catch (error) {
    throw new WrongArgument(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) return undefined;
  const { host = 'both' } = values;
  const hosts = (['linux', 'portable'] as const).filter((name) => host === name || host === 'both');
  if (hosts.length === 0) throw new WrongArgument(`--host takes linux, portable or both, not "${host}"`);
  const seconds = numberOf('seconds', values.seconds, Infinity);
  return {
    // Time alone may be the limit.
    kills: numberOf('kills', values.kills, values.seconds === undefined ? 1000 : Infinity),
    seconds,
    seed: numberOf('seed', values.seed, crypto.getRandomValues(new Uint16Array(1))[0] ?? 1),
    hosts,
  };
}
