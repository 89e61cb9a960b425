/**
 * Module hooks for programs as they are written: TypeScript is stripped of its types as it is loaded, and `twizzler` is this package, wherever the program
 * lies. Runs in the loader's own thread.
 */
import { stripTypes } from './strip-types.ts';

interface Data {
  /** URL of each entry of this package. */
  readonly entries: Readonly<Record<string, string>>;
}

interface Resolved {
  readonly url: string;
  readonly format?: string | null;
  readonly shortCircuit?: boolean;
}

interface Loaded {
  readonly format: string;
  readonly source?: string | ArrayBuffer | Uint8Array | null;
  readonly shortCircuit?: boolean;
}

let entries: Data['entries'] = {};

export function initialize(data: Data): void {
  entries = data.entries;
}

export async function resolve(
  specifier: string,
  context: object,
  next: (specifier: string, context: object) => Promise<Resolved>,
): Promise<Resolved> {
  const own = entries[specifier];
  return own === undefined ? next(specifier, context) : { url: own, format: 'module', shortCircuit: true };
}

export async function load(url: string, context: object, next: (url: string, context: object) => Promise<Loaded>): Promise<Loaded> {
  if (!/\.m?ts($|\?)/.test(url)) return next(url, context);
  const { source } = await next(url, { ...context, format: 'module' });
  const text = typeof source === 'string' ? source : new TextDecoder().decode(source ?? new Uint8Array(0));
  return { format: 'module', source: stripTypes(text, url), shortCircuit: true };
}
