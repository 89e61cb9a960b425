/** Cursors and the functions on accessors. They are functions so that every name stays free for fields. */
import { TwzError } from '../abi/errors.ts';
import type { RawCursor, RawReader } from './emit.ts';
import { Obj } from './object.ts';
import { assignTo, isAccessor } from './runtime.ts';
import type { Init, Instance, Struct } from './struct.ts';

/** An accessor that moves: following a reference allocates nothing. Its object stays mapped until it is closed. */
export type Cursor<F> = Instance<F> & {
  /**
   * Moves through a reference field; false where it is null. A reference to another type moves `into`, a cursor of that type.
   * Throws as reading the field would.
   */
  follow<K extends keyof F & string>(field: K, into?: object): boolean;
};

const cursors = new WeakSet<object>();

/** A cursor on an accessor. Close it with `closeCursor` so that its object can be moved again. */
export function cursor<F>(type: Struct<F>, at: Instance<F>): Cursor<F> {
  if (!isAccessor(at)) throw new TwzError('InvalidArgument', 'expected an accessor');
  if (at.$h.cold) at.$h.warm();
  const made: object = new type.cursor(at.$h, at.$o);
  cursors.add(made);
  return made as Cursor<F>;
}

/**
 * The fastest way to read: each field is a function of a position, which the program keeps in a variable of its own.
 *
 *     const r = reader(Node, first);
 *     for (let at = offsetOf(first); at !== 0; at = r.next(at)) sum += r.value(at);
 *
 * A reference to the same type gives the next position, 0 for null; where it leads into another object the reader goes along, and
 * positions from before are no longer its own. A position that it did not give is checked against the object's bounds by each read.
 */
export type Reader<F> = {
  readonly [K in keyof Instance<F> & keyof F]: (at: number) => Exclude<Instance<F>[K], null> extends Instance<F> ? number : Instance<F>[K];
};

/** A reader of the object that an accessor lies in. The object stays mapped where it is until `closeCursor`. */
export function reader<F>(type: Struct<F>, at: Instance<F>): Reader<F> {
  if (!isAccessor(at)) throw new TwzError('InvalidArgument', 'expected an accessor');
  if (at.$h.cold) at.$h.warm();
  const made: object = new type.reader(at.$h);
  cursors.add(made);
  return made as Reader<F>;
}

/** Puts a cursor on another accessor, or a reader into its object. */
export function moveCursor<F>(moved: Cursor<F> | Reader<F>, to: Instance<F>): void {
  const raw: unknown = moved;
  if (!isAccessor(to)) throw new TwzError('InvalidArgument', 'expected an accessor');
  if (to.$h.cold) to.$h.warm();
  (raw as RawCursor).$moveTo(to.$h, to.$o);
}

/** Lets go of the object of a cursor or a reader. */
export function closeCursor(closed: object): void {
  if (cursors.delete(closed)) (closed as RawReader).$h.unpin();
}

function placed(accessor: unknown): { $h: Obj['handle']; $o: number } {
  if (!isAccessor(accessor)) throw new TwzError('InvalidArgument', 'expected an accessor');
  return accessor;
}

/** The object that an accessor lies in. */
export function objectOf(accessor: object): Obj {
  return new Obj(placed(accessor).$h);
}

/** Its offset there, in bytes. */
export function offsetOf(accessor: object): number {
  return placed(accessor).$o;
}

/** Do two accessors mean the same place? */
export function same(a: object | null, b: object | null): boolean {
  if (a === null || b === null) return a === b;
  const left = placed(a);
  const right = placed(b);
  return left.$o === right.$o && left.$h.id === right.$h.id;
}

/** Sets several fields. Inside a transaction. */
export function assign<F>(accessor: Instance<F>, init: Init<F>): void {
  assignTo(placed(accessor), init, 'assign');
}
