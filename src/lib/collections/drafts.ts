/** What an indexed map gives of a record: a view that cannot be stored to, and a draft of the next one. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { FieldShape } from '../fields.ts';
import { assignTo, isAccessor, unfit } from '../runtime.ts';
import type { StructImage } from '../struct.ts';
import { ScratchObject } from './scratch-object.ts';

export interface FieldOf {
  readonly name: string;
  /** It is changed in place, not by being stored to. */
  readonly whole: boolean;
}

export function isWhole(shape: FieldShape): boolean {
  if (shape.kind === 'optional') return isWhole(shape.of);
  return shape.kind === 'struct' || shape.kind === 'array' || shape.kind === 'collection';
}

function readOnly(what: string): never {
  throw new TwzError(
    'NotSupported',
    `${what} is read only here, as indexes follow it: change it by \`update(key, (draft) => …)\` of the map`,
  );
}

/** The accessors of a struct without its setters; structs inside are the same. */
export function viewOf(type: StructImage): AccessorClass {
  class View extends type.accessor {}
  Object.defineProperty(View, 'name', { value: type.name });
  for (const { name, field } of type.layout.fields) {
    // oxlint-disable-next-line typescript/unbound-method -- called with its accessor
    const get = Object.getOwnPropertyDescriptor(type.accessor.prototype, name)?.get ?? (() => undefined);
    let inner: AccessorClass | undefined;
    Object.defineProperty(View.prototype, name, {
      get:
        field.describe.kind !== 'struct'
          ? get
          : function (this: object): unknown {
              const made = get.call(this) as { $h: ObjectHandle; $o: number };
              const struct: unknown = field;
              inner ??= viewOf(struct as StructImage);
              return new inner(made.$h, made.$o);
            },
      set() {
        readOnly(`${type.name}.${name}`);
      },
      enumerable: false,
    });
  }
  return View;
}

/** What a draft has been told; the draft itself has the fields alone. */
export class Drafted {
  readonly memory: ScratchObject;
  readonly record: object;
  readonly #current: object;
  readonly touched = new Map<string, unknown>();
  open = true;

  constructor(type: StructImage, current: object, home: ObjectHandle) {
    this.memory = new ScratchObject(home);
    this.record = new type.accessor(this.memory, this.memory.allocate(type.layout.size));
    this.#current = current;
  }

  read({ name, whole }: FieldOf): unknown {
    if (!this.touched.has(name)) {
      const current: unknown = Reflect.get(this.#current, name);
      if (!whole || !this.open || current === undefined) return current;
      Reflect.set(this.record, name, current);
      this.touched.set(name, undefined);
    }
    return Reflect.get(this.record, name);
  }

  write(field: FieldOf, value: unknown): void {
    const { name } = field;
    if (!this.open) throw new TwzError('NotSupported', 'the draft is stored, or refused: it can be changed no more');
    // A struct inside keeps the fields that it is not given.
    if (field.whole) this.read(field);
    Reflect.set(this.record, name, value);
    if (isAccessor(value) && value.$h === this.memory) unfit(name, value, 'a reference to what is stored; this is a draft');
    this.touched.set(name, value);
  }

  /** Stores what was touched, or throws and stores nothing. */
  store(fields: readonly FieldOf[], what: string): void {
    const content: Record<string, unknown> = {};
    for (const { name, whole } of fields)
      if (this.touched.has(name)) content[name] = whole ? Reflect.get(this.record, name) : this.touched.get(name);
    assignTo(this.#current, content, what);
  }
}

export function draftClass(fields: readonly FieldOf[]): new (drafted: Drafted) => object {
  const states = new WeakMap<object, Drafted>();
  const stateOf = (draft: object): Drafted => states.get(draft) ?? unfit('a draft', draft, 'a draft');
  // oxlint-disable-next-line typescript/no-extraneous-class -- its fields are defined below
  class Draft {
    constructor(drafted: Drafted) {
      states.set(this, drafted);
    }
  }
  for (const field of fields)
    Object.defineProperty(Draft.prototype, field.name, {
      get(this: object) {
        return stateOf(this).read(field);
      },
      set(this: object, value: unknown) {
        stateOf(this).write(field, value);
      },
      enumerable: true,
    });
  return Draft;
}
