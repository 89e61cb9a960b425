/** What console.log shows. Without this it would show the kernel behind every accessor. */
import { TwzError } from '../abi/errors.ts';

/** The method by which Node's console asks an object. */
export const INSPECT = Symbol.for('nodejs.util.inspect.custom');

type Inspect = (value: unknown, options: object) => string;

/** An accessor shows its fields, and what they refer to, as deep as is asked for. */
export function inspectAccessor(accessor: object, depth: number, options: object, inspect: Inspect): string {
  const { name } = accessor.constructor;
  if (depth < 0) return `[${name}]`;
  const fields: Record<string, unknown> = {};
  const type: unknown = Object.getPrototypeOf(accessor);
  for (const [field, property] of Object.entries(Object.getOwnPropertyDescriptors(type))) {
    if (!('get' in property) || field.startsWith('$')) continue;
    try {
      fields[field] = Reflect.get(accessor, field);
    } catch (error) {
      fields[field] = new Unreadable(error);
    }
  }
  return `${name} ${inspect(fields, { ...options, depth })}`;
}

/** An array shows its elements. */
export function inspectArray(array: { toArray(): unknown[] }, depth: number, options: object, inspect: Inspect): string {
  return depth < 0 ? '[Array]' : inspect(array.toArray(), { ...options, depth });
}

/** A field that cannot be read shows why. */
class Unreadable {
  readonly #error: unknown;

  constructor(error: unknown) {
    this.#error = error;
  }

  [INSPECT](): string {
    return `<${this.#error instanceof TwzError ? this.#error.name : String(this.#error)}>`;
  }
}
