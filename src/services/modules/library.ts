/** What a module finds: the data types of this package to import, and the space that its function is called with. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { RIGHT } from '../../abi/format.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { CreateOptions } from '../../kernel/lifetime.ts';
import { blob } from '../../lib/collections/blob.ts';
import { graph } from '../../lib/collections/graph.ts';
import { hashMap, hashSet } from '../../lib/collections/hash-map.ts';
import { index, indexedMap } from '../../lib/collections/indexed-map.ts';
import { caseless, collation, tuple } from '../../lib/collections/keys.ts';
import { list } from '../../lib/collections/list.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { log, queue } from '../../lib/collections/queue.ts';
import { redBlackTree } from '../../lib/collections/red-black-tree.ts';
import { textDocument } from '../../lib/collections/text-document.ts';
import type { CollectionType } from '../../lib/collections/type.ts';
import { vec } from '../../lib/collections/vec.ts';
import { assign, closeCursor, cursor, moveCursor, objectOf, offsetOf, reader, same } from '../../lib/cursor.ts';
import {
  array,
  bigI64,
  bigU64,
  bool,
  bytes,
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  link,
  oneOf,
  optional,
  text,
  u16,
  u32,
  u64,
  u8,
} from '../../lib/fields.ts';
import type { Obj } from '../../lib/object.ts';
import { ref, struct, type Init, type Instance, type Struct } from '../../lib/struct.ts';
import type { Space, Target } from '../../space.ts';

/** Of what this package exports: what describes, makes and walks data. Not what opens spaces, starts programs or reaches devices. */
export const LIBRARY: Readonly<Record<string, unknown>> = {
  ...{ TwzError, isTwzError, RIGHT, isId, parseId },
  ...{ struct, ref, array, bigI64, bigU64, bool, bytes, f32, f64, i16, i32, i64, i8, link, oneOf, optional, text, u16, u32, u64, u8 },
  ...{ assign, closeCursor, cursor, moveCursor, objectOf, offsetOf, reader, same },
  ...{ blob, graph, hashMap, hashSet, index, indexedMap, caseless, collation, tuple },
  ...{ orderedMap, list, log, queue, textDocument, redBlackTree, vec },
};

/** The space as a module has it: objects, names and transactions. */
export class ModuleSpace {
  readonly #space: Space;

  constructor(space: Space) {
    this.#space = space;
    Object.freeze(this);
  }

  relaxed<T>(body: () => T): T {
    return this.#space.relaxed(body);
  }

  durable<T>(body: () => T): Promise<T> {
    return this.#space.durable(body);
  }

  create<C, I>(type: CollectionType<C, I>, init?: I, options?: CreateOptions): C;
  create<F>(type: Struct<F>, init?: Init<F>, options?: CreateOptions): Instance<F>;
  create<F>(type: Struct<F>, init?: Init<F>, options?: CreateOptions): Instance<F> {
    return this.#space.create(type, init, options);
  }

  make<C, I>(type: CollectionType<C, I>, where: Target, init?: I): C;
  make<F>(type: Struct<F>, where: Target, init?: Init<F>): Instance<F>;
  make<F>(type: Struct<F>, where: Target, init?: Init<F>): Instance<F> {
    return this.#space.make(type, where, init);
  }

  free(accessor: object): void {
    this.#space.free(accessor);
  }

  get<C, I>(id: ObjectId, type: CollectionType<C, I>): C;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F>;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F> {
    return this.#space.get(id, type);
  }

  object(target: Target): Obj {
    return this.#space.object(target);
  }

  has(id: ObjectId): boolean {
    return this.#space.has(id);
  }

  copy(target: Target, options?: CreateOptions): Obj {
    return this.#space.copy(target, options);
  }

  seal(target: Target): ObjectId {
    return this.#space.seal(target);
  }

  delete(target: Target): 'deleted' | 'kept' {
    return this.#space.delete(target);
  }

  tie(target: Target, to: Target): void {
    this.#space.tie(target, to);
  }

  untie(target: Target, to: Target): void {
    this.#space.untie(target, to);
  }

  /** The object that a path names, or undefined. */
  lookup(path: string): ObjectId | undefined {
    return this.#space.names.lookup(path);
  }
}
