/** Syscalls about what lies in objects by their types: roots, text, collections. Rights are judged at each call. */
import { TwzError } from '../../abi/errors.ts';
import { PAGE, RIGHT } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { Handle } from '../../kernel/object.ts';
import { loadBytes, storeBytes } from '../../lib/runtime.ts';
import type { Buffer } from '../arguments.ts';
import { Collections, type CollectionTypes, type Place } from '../collections.ts';
import type { Compartment } from '../compartment.ts';
import type { Handler, Handlers } from '../syscalls.ts';

/** What `cursor_next` gives at the end, and what asks for a value that is not there. No error has this code. */
const NONE = -1;

export function collectionCalls(compartment: Compartment, types: CollectionTypes): Handlers {
  const { kernel, view, authority } = compartment;
  const collections = new Collections(types);

  const demand = (h: ObjectHandle, want: number): Handle => {
    if (!(h instanceof Handle)) throw new TwzError('StaleReference', `object ${h.id} is of another space`, { id: h.id });
    if ((authority.rightsTo(h, want) & want) !== want)
      throw new TwzError('ObjectForbidden', `the program has not the right to ${want === RIGHT.read ? 'read' : 'write'} object ${h.id}`, {
        id: h.id,
      });
    return h;
  };
  const changing = (h: ObjectHandle): Handle => {
    if (kernel.transaction === undefined) throw new TwzError('NotInTransaction', `object ${h.id} was changed outside a transaction`);
    return demand(h, RIGHT.read | RIGHT.write);
  };
  /** Where a value lies in the program's memory. A part of a collection may lie in an object that was not mapped yet. */
  const address = ({ h, at }: Place): number => {
    const mapping = view.map(demand(h, RIGHT.read), RIGHT.read | RIGHT.write);
    if (mapping.uses > 1) mapping.uses--;
    return mapping.at + at;
  };
  /** A place where something with 8 bytes begins. */
  const fieldAt = (at: number): { readonly h: Handle; readonly offset: number } => {
    const { mapping, offset } = view.place(at);
    const { h } = mapping;
    if (h.cold) h.warm();
    if (offset < PAGE || offset % 4 !== 0 || offset + 8 > h.size)
      throw new TwzError('OutOfRange', `no field can lie at offset ${offset} of object ${h.id}`, { id: h.id, offset });
    return { h, offset };
  };
  const reading = (number: number): number => {
    demand(collections.homeOf(number), RIGHT.read);
    return number;
  };
  const writing = (number: number): number => {
    changing(collections.homeOf(number));
    return number;
  };
  const walking = (cursor: number): number => {
    demand(collections.homeOfCursor(cursor), RIGHT.read);
    return cursor;
  };
  const filled = (give: (into: Buffer, data: Uint8Array) => number, into: Buffer, data: Uint8Array | undefined): number =>
    data === undefined ? NONE : give(into, data);

  const byKey: Handlers = {
    collection_find: (a) => {
      const place = collections.find(reading(a.u32()), a.bytes());
      return place === undefined ? 0 : address(place);
    },
    collection_insert: (a) => address(collections.insert(writing(a.u32()), a.bytes())),
    collection_remove: (a) => (collections.remove(writing(a.u32()), a.bytes()) ? 1 : 0),
    collection_get: (a) => {
      const [number, key, into] = [reading(a.u32()), a.bytes(), a.buffer()];
      return filled((at, data) => a.fill(at, data), into, collections.get(number, key));
    },
    collection_put: nothing((a) => {
      const [number, key, value] = [writing(a.u32()), a.bytes(), a.bytes()];
      collections.put(number, key, value.slice());
    }),
  };
  const byPlace: Handlers = {
    collection_at: (a) => address(collections.at(reading(a.u32()), a.u32())),
    collection_push: (a) => address(collections.push(writing(a.u32()))),
    collection_truncate: nothing((a) => collections.truncate(writing(a.u32()), a.u32())),
    element_get: (a) => {
      const [number, index, into] = [reading(a.u32()), a.u32(), a.buffer()];
      return a.fill(into, collections.elementGet(number, index));
    },
    element_put: nothing((a) => {
      const [number, index, value] = [writing(a.u32()), a.u32(), a.bytes()];
      collections.elementPut(number, index, value.slice());
    }),
  };
  const cursors: Handlers = {
    cursor_open: (a) => collections.cursorOpen(reading(a.u32()), a.bytes()),
    cursor_next: (a) => {
      const [cursor, into] = [walking(a.u32()), a.buffer()];
      return filled((at, data) => a.fill(at, data), into, collections.cursorNext(cursor));
    },
    cursor_key: (a) => {
      const [cursor, into] = [walking(a.u32()), a.buffer()];
      return a.fill(into, collections.cursorKey(cursor));
    },
    cursor_value: (a) => address(collections.cursorValue(walking(a.u32()))),
    cursor_get: (a) => {
      const [cursor, into] = [walking(a.u32()), a.buffer()];
      return a.fill(into, collections.cursorGet(cursor));
    },
    cursor_close: nothing((a) => collections.cursorClose(a.u32())),
  };
  return {
    ...byKey,
    ...byPlace,
    ...cursors,
    collection_open: (a) => {
      const { h, offset } = fieldAt(a.u32());
      return collections.open(demand(h, RIGHT.read), offset);
    },
    collection_open_as: (a) => {
      const { h, offset } = fieldAt(a.u32());
      const type = a.text();
      return collections.open(demand(h, RIGHT.read), offset, type);
    },
    collection_close: nothing((a) => collections.close(a.u32())),
    collection_size: (a) => collections.size(reading(a.u32())),
    text_get: (a) => {
      const { h, offset } = fieldAt(a.u32());
      const into = a.buffer();
      return a.fill(into, loadBytes(demand(h, RIGHT.read), offset));
    },
    text_set: nothing((a) => {
      const { h, offset } = fieldAt(a.u32());
      const value = a.bytes().slice();
      storeBytes(changing(h), offset, value);
    }),
    object_root_as: (a) => {
      const { mapping } = view.place(a.u32());
      const root = collections.rootAs(demand(mapping.h, RIGHT.read), a.i64());
      return root === 0 ? 0 : mapping.at + root;
    },
    object_set_types: nothing((a) => {
      const { mapping } = view.place(a.u32());
      const schema = a.text();
      collections.setTypes(changing(mapping.h), schema);
    }),
  };
}

function nothing(body: (...given: Parameters<Handler>) => void): Handler {
  return (a) => {
    body(a);
    return 0;
  };
}
