/**
 * Lists of references, as imports store them: cells of a value and the next cell, each a block of its own, so that a program can put
 * one in or take one out.
 *
 *   const Person = struct('Person', { name: text, get friends() { return refs(Person); } });
 *   for (const friend of each(alice.friends)) ...
 */
import type { Field } from '../../lib/fields.ts';
import { ref, struct, type Instance, type Struct } from '../../lib/struct.ts';

export interface ListFields<F> {
  readonly value: Field<Instance<F> | null>;
  readonly next: Field<Instance<ListFields<F>> | null>;
}

const lists = new WeakMap<object, object>();

/** The struct of a list's cells: one for each type, named after it. */
export function listOf<F>(type: Struct<F>): Struct<ListFields<F>> {
  let list = lists.get(type) as Struct<ListFields<F>> | undefined;
  if (list === undefined) {
    const made: Struct<ListFields<F>> = struct(`${type.name}List`, {
      get value() {
        return ref(type);
      },
      get next() {
        return ref(made);
      },
    });
    list = made;
    lists.set(type, list);
  }
  return list;
}

/** A field that holds a list of references to `type`. */
export function refs<F>(type: Struct<F>): Field<Instance<ListFields<F>> | null> {
  return ref(listOf(type));
}

/** What a list refers to, in order. Null references are passed over. */
export function* each<F>(list: Instance<ListFields<F>> | null): Generator<Instance<F>> {
  for (let cell = list; cell !== null;) {
    const { value, next }: { value: Instance<F> | null; next: Instance<ListFields<F>> | null } = cell;
    if (value !== null) yield value;
    cell = next;
  }
}
