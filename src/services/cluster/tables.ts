/** Objects in which a node keeps what is its own, by name. */
import { RIGHTS_ALL } from '../../abi/format.ts';
import type { Authority } from '../../kernel/security/authority.ts';
import type { CollectionType } from '../../lib/collections/type.ts';
import type { Space } from '../../space.ts';

/** The collection at that path, made where it is missing. */
export function ownTable<C>(space: Space, path: string, type: CollectionType<C, never>): C {
  return space.relaxed(() => {
    const known = space.names.lookup(path);
    if (known !== undefined) return space.get(known, type);
    const made = space.create(type);
    space.names.set(path, made as object);
    return made;
  });
}

const OWN: Authority = { epoch: 0, rightsTo: () => RIGHTS_ALL };

/** With what is the node's own, whoever it runs a function for. */
export function privately<T>({ kernel }: Space, body: () => T): T {
  if (kernel.authority === undefined) return body();
  const { acting } = kernel;
  kernel.acting = OWN;
  try {
    return body();
  } finally {
    kernel.acting = acting;
  }
}
