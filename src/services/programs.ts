/**
 * Programs: WebAssembly that is kept as immutable objects, and runs in compartments over a space.
 *
 * A program's object has its module as it was given. What it becomes when it is made ready to run is kept in this process, by the content.
 */
import { TwzError } from '../abi/errors.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import { MANIFEST_SECTION, SYSCALL_ABI, type Manifest } from '../abi/syscalls.ts';
import type { Handle } from '../kernel/object.ts';
import { bytes as bytesField, text } from '../lib/fields.ts';
import type { Obj } from '../lib/object.ts';
import { struct } from '../lib/struct.ts';
import { collectionCalls } from '../runtime/calls/collections.ts';
import { Compartment, type CompartmentOptions, type Surrounding } from '../runtime/compartment.ts';
import { readManifest, withSection } from '../runtime/module/manifest.ts';
import { Program } from '../runtime/program.ts';
import type { System } from '../runtime/syscalls.ts';
import type { Authority } from '../runtime/view.ts';
import type { Space } from '../space.ts';
import { collectionTypes } from './collection-types.ts';
import { RemoteCompartment, type RemoteOptions } from './programs-remote.ts';

/** The root of a program's object. */
export const ProgramCode = struct('ProgramCode', { name: text, module: bytesField });

/** What anyone may do: the default rights of each object. */
const DEFAULTS: Authority = { rightsTo: (h) => h.rights, epoch: 0 };

/** A program: made ready, as its module's bytes, as the ID of its object, or by the path of that. */
export type ProgramSource = Program | Uint8Array | ObjectId | string;

export interface StartOptions extends Omit<CompartmentOptions, 'code'> {
  /** Says what it may do with objects; by default what anyone may. */
  readonly authority?: Authority | undefined;
}

/** Programs that were made ready are kept for so many contents. */
const KEPT = 256;
const ready = new Map<string, Program>();

export class Programs {
  readonly #space: Space;
  readonly #compartments = new Map<string, Compartment>();
  readonly #system: System;

  /** Use `programs`. */
  constructor(space: Space) {
    this.#space = space;
    this.#system = {
      kernel: space.kernel,
      transact: (body, durable) => {
        const inside = space.kernel.transaction !== undefined;
        const result = space.relaxed(body);
        if (durable && !inside) space.sync();
        return result;
      },
      names: {
        find: (path) => space.names.lookup(path),
        set: (path, h) => space.names.set(path, h.id, { replace: true }),
        remove: (path) => space.names.remove(path),
      },
      compartment: (name) => this.#compartments.get(name),
      calls: (compartment) => collectionCalls(compartment, collectionTypes),
      closed: (compartment) => {
        const { name } = compartment;
        if (name !== undefined && this.#compartments.get(name) === compartment) this.#compartments.delete(name);
      },
    };
  }

  /** Makes a module ready to run. Throws ProgramInvalid. */
  prepare(module: Uint8Array): Program {
    const { host } = this.#space.kernel;
    return keep(hexOf(host.sha256(module)), () => new Program(module));
  }

  /** Keeps a program as an immutable object, named by its content, and under a path where one is given. Inside a transaction, or one of its own. */
  install(module: Uint8Array, path?: string): ObjectId {
    const program = this.prepare(module);
    const space = this.#space;
    return space.relaxed(() => {
      const code = space.create(ProgramCode, { name: program.manifest?.name ?? '', module });
      const id = space.seal(code);
      space.delete(code);
      if (path !== undefined) {
        for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1)) {
          const parent = path.slice(0, slash);
          if (space.names.find(parent) === undefined) space.names.mkns(parent);
        }
        space.names.set(path, id, { replace: true });
      }
      return id;
    });
  }

  /** A new compartment of the program. Throws ProgramInvalid, ProgramFault, ProgramLimit. */
  start(source: ProgramSource, options: StartOptions = {}): Compartment {
    const { authority = DEFAULTS, ...rest } = options;
    const { program, code } = this.#find(source);
    const name = options.name;
    if (name !== undefined && this.#compartments.has(name))
      throw new TwzError('NameExists', `there is a compartment "${name}" already`, { name });
    const compartment = new Compartment(this.#system, program, authority, { ...rest, code });
    if (name !== undefined && !compartment.closed) this.#compartments.set(name, compartment);
    return compartment;
  }

  /** As `start`, in a thread of its own: its gates give promises. It has the rights that anyone has. */
  startThread(source: Uint8Array | ObjectId | string, options: RemoteOptions = {}): RemoteCompartment {
    this.#space.kernel.idle('starting a thread');
    if (source instanceof Uint8Array) {
      this.prepare(source);
      return new RemoteCompartment(this.#space, { module: source }, options);
    }
    const id = isId(source) ? source : this.#space.names.get(source).id;
    return new RemoteCompartment(this.#space, { code: id }, options);
  }

  /** The program of that source, ready to run. Throws ProgramInvalid. */
  load(source: ProgramSource): Program {
    return this.#find(source).program;
  }

  #find(source: ProgramSource): { readonly program: Program; readonly code: Handle | undefined } {
    if (source instanceof Program) return { program: source, code: undefined };
    if (source instanceof Uint8Array) return { program: this.prepare(source), code: undefined };
    const object = isId(source) ? this.#space.object(source) : this.#space.names.get(source);
    const code = this.#space.kernel.open(object.id);
    return { program: keep(object.id, () => new Program(moduleOf(object))), code };
  }

  /** Compartments that have a name. */
  get compartments(): ReadonlyMap<string, Compartment> {
    return this.#compartments;
  }
}

/** The module with a manifest in it, in place of one that it has. Throws ProgramInvalid. */
export function withManifest(module: Uint8Array, manifest: Omit<Manifest, 'abi'>): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify({ abi: SYSCALL_ABI, ...manifest }));
  readManifest(json);
  return withSection(module, MANIFEST_SECTION, json);
}

function moduleOf(object: Obj): Uint8Array {
  return object.root(ProgramCode).module;
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function keep(key: string, make: () => Program): Program {
  let program = ready.get(key);
  if (program === undefined) {
    program = make();
    if (ready.size >= KEPT) for (const oldest of ready.keys()) if (ready.size >= KEPT) ready.delete(oldest);
    ready.set(key, program);
  }
  return program;
}

const all = new WeakMap<Space, Programs>();

/** The programs of a space. */
export function programs(space: Space): Programs {
  let known = all.get(space);
  if (known === undefined) {
    known = new Programs(space);
    all.set(space, known);
  }
  return known;
}

export { Compartment, Program, RemoteCompartment, type RemoteOptions };
export type { CompartmentOptions, Surrounding };
export type { Limits } from '../runtime/compartment.ts';
export type { GateValue } from '../runtime/gate-values.ts';
