/**
 * Schema evolution, the side that programs see: `migration` says how a struct came from its predecessor. The work is done by
 * services/evolution, which enters itself here: this layer knows that it may be there, not how it works.
 */
import { TwzError } from '../abi/errors.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import type { Init, Instance, Struct, StructImage } from './struct.ts';

export interface MigrationOptions<P, F> {
  /** Fields that had another name: `{ fullName: 'name' }`, new name first. */
  readonly renamed?: { readonly [K in keyof F]?: keyof P & string };
  /** What fields hold that the older struct did not have. Else zero, empty, null or absent. */
  readonly defaults?: Init<F>;
  /**
   * Code for what cannot be carried over by itself. `old` is the struct as it was, with all that it refers to in the object as it was;
   * `fresh` has its same-named, renamed and defaulted fields filled already. It runs inside a transaction; what it throws undoes the
   * migration. What lies in other objects is read through `fresh`, which migrates them; through `old` only as long as they are old, too.
   * In the object itself references of `fresh` can be stored, but what they lead to may not be there yet.
   */
  readonly migrate?: (old: Instance<P>, fresh: Instance<F>) => void;
}

/** What is kept of a declared migration. */
export interface Migration {
  readonly from: StructImage;
  readonly to: StructImage;
  readonly renamed: ReadonlyMap<string, string>;
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly code: ((old: object, fresh: object) => void) | undefined;
}

const declared = new WeakMap<StructImage, Migration[]>();
const replaced = new WeakSet<StructImage>();

/** Does a migration lead from it? What it finds is not remembered: its successor may find the same later, and it is something else then. */
export function superseded(type: StructImage): boolean {
  return replaced.has(type);
}

/**
 * Declares how data of the struct `from` becomes data of `to`. Needed only where names changed, where defaults are wanted, or where code
 * is: fields of the same name that fit are carried over without it. Migrations chain: one from version 1 to 2 and one from 2 to 3 take
 * data from 1 to 3. Throws TypeInvalid.
 */
export function migration<P, F>(from: Struct<P>, to: Struct<F>, options: MigrationOptions<P, F> = {}): void {
  const wrong = (reason: string): never => {
    throw new TwzError('TypeInvalid', `migration of ${from.name} version ${from.version} to ${to.name} version ${to.version}: ${reason}`);
  };
  if (from.name === to.name && from.version >= to.version) wrong('the version must rise');
  const before = declared.get(to) ?? [];
  if (before.some((each) => each.from === from)) wrong('it was declared already');
  const renamed = new Map<string, string>();
  for (const [name, old] of Object.entries(options.renamed ?? {})) if (typeof old === 'string') renamed.set(name, old);
  const { migrate } = options;
  replaced.add(from);
  declared.set(to, [
    ...before,
    {
      from,
      to,
      renamed,
      defaults: { ...options.defaults },
      code: migrate === undefined ? undefined : (old, fresh) => migrate(old as Instance<P>, fresh as Instance<F>),
    },
  ]);
}

/** The migrations that lead to a struct directly. */
export function migrationsTo(type: StructImage): readonly Migration[] {
  return declared.get(type) ?? [];
}

/** What opening asks for when an object's types are not known to be the program's. */
export interface Evolution {
  /** Makes the root a `type`, or throws what forbids it. */
  root(h: ObjectHandle, type: StructImage): void;
  /** A pointer of `type` leads into an object whose types were not compared with the program's yet. */
  enter(h: ObjectHandle, type: StructImage): void;
  /** Where the struct lies that was at `at` when the pointer was stored. */
  forward(h: ObjectHandle, at: number, type: StructImage): number;
  /** Where the struct lay that lies at `at`, before it was moved: the place that keys name. Throws NotSupported where that is not known. */
  origin(h: ObjectHandle, at: number, type: StructImage): number;
}

let installed: Evolution | undefined;

export function evolution(): Evolution | undefined {
  return installed;
}

export function useEvolution(by: Evolution): void {
  installed = by;
}
