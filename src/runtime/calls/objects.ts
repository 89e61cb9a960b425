/** Syscalls about objects: making, mapping, blocks in them, pointers between them, names, transactions. */
import { TwzError } from '../../abi/errors.ts';
import { KIND, META, PAGE, RIGHT, RIGHTS_ALL, type Kind } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { createObject, deleteObject } from '../../kernel/lifetime.ts';
import type { Handle } from '../../kernel/object.ts';
import type { Compartment } from '../compartment.ts';
import type { Handlers, System } from '../syscalls.ts';
import type { Mapping } from '../view.ts';

/** Bits of a pointer that are the offset (abi/format.ts). */
const OFFSET_BITS = 40n;
const OFFSET_MASK = (1n << OFFSET_BITS) - 1n;
const STAT_BYTES = 28;

/** Thrown by a transaction whose function gave a negative number. */
class Abandoned extends Error {
  override readonly name = 'Abandoned';
  readonly result: number;

  constructor(result: number) {
    super('the function of a transaction gave a negative number');
    this.result = result;
  }
}

export function objectCalls(compartment: Compartment, system: System): Handlers {
  const { kernel, view, authority } = compartment;

  const open = (id: ObjectId, want: number): Handle => {
    const h = kernel.open(id);
    if ((authority.rightsTo(h, want) & want) !== want)
      throw new TwzError('ObjectForbidden', `the program has not the right to ${rightsText(want)} object ${id}`, { id, rights: want });
    return h;
  };
  const readable = (address: number): Mapping => {
    const { mapping } = view.place(address);
    const { h, rights } = mapping;
    if ((rights & RIGHT.read) === 0)
      throw new TwzError('ObjectForbidden', `the program has not the right to read object ${h.id}`, { id: h.id });
    return mapping;
  };
  const writable = (address: number): { mapping: Mapping; offset: number } => {
    const place = view.place(address);
    const { h, rights } = place.mapping;
    if ((rights & RIGHT.write) === 0)
      throw new TwzError('ObjectForbidden', `the program has not the right to write object ${h.id}`, { id: h.id });
    return place;
  };
  const inTransaction = (what: string): void => {
    if (kernel.transaction === undefined) throw new TwzError('NotInTransaction', `${what} outside a transaction`);
  };
  /** The FOT index and the rest of a pointer from one object to another. */
  const pointer = (index: number, offset: number): bigint => BigInt.asIntN(64, (BigInt(index) << OFFSET_BITS) | BigInt(offset));
  const refer = (from: Mapping, target: Handle, offset: number): bigint => {
    if (target === from.h) return pointer(0, offset);
    inTransaction('a reference was made');
    return pointer(from.h.refer(target), offset);
  };
  const split = (value: bigint): { index: number; offset: number } => {
    const bits = BigInt.asUintN(64, value);
    return { index: Number(bits >> OFFSET_BITS), offset: Number(bits & OFFSET_MASK) };
  };

  return {
    object_create: (a) => {
      const kindNumber = a.u32();
      const rights = a.u32();
      const size = a.u32();
      const put = a.idOut();
      inTransaction('an object was created');
      const kind = (Object.entries(KIND) as [Kind, number][]).find(([, number]) => number === kindNumber)?.[0];
      if (kind === undefined || kindNumber > KIND.shared)
        throw new TwzError('InvalidArgument', `there is no kind ${kindNumber} of objects`, { kind: kindNumber });
      if (rights > RIGHTS_ALL) throw new TwzError('InvalidArgument', `${rights} are no rights`, { rights });
      const h = createObject(kernel, { kind, rights, reserve: size });
      put(h.id);
      return 0;
    },
    object_delete: (a) => {
      const id = a.id();
      inTransaction('an object was deleted');
      deleteObject(kernel, open(id, RIGHT.write));
      return 0;
    },
    object_map: (a) => {
      const id = a.id();
      const rights = a.u32() & RIGHTS_ALL;
      return view.map(kernel.open(id), rights | RIGHT.read).at;
    },
    object_unmap: (a) => {
      view.unmap(a.u32());
      return 0;
    },
    object_at: (a) => {
      const { mapping, offset } = view.place(a.u32());
      a.idOut()(mapping.h.id);
      return offset;
    },
    object_stat: (a) => {
      const id = a.id();
      const into = a.buffer();
      const h = kernel.open(id);
      const granted = authority.rightsTo(h, RIGHTS_ALL) & RIGHTS_ALL;
      if (granted === 0) throw new TwzError('ObjectForbidden', `the program has no right to object ${id}`, { id });
      const bytes = new Uint8Array(STAT_BYTES);
      const stat = new DataView(bytes.buffer);
      stat.setUint32(0, h.size, true);
      stat.setUint32(4, h.kind, true);
      stat.setUint32(8, granted, true);
      stat.setUint32(12, h.dv.getUint32(META.root, true), true);
      stat.setBigUint64(16, BigInt(h.version), true);
      stat.setUint32(24, h.dv.getUint32(META.fotCount, true), true);
      return a.fill(into, bytes);
    },
    object_root: (a) => view.rootOf(readable(a.u32())),
    object_set_root: (a) => {
      const { mapping, offset } = writable(a.u32());
      inTransaction('a root was set');
      const { h } = mapping;
      if (offset < PAGE || offset >= h.size) throw new TwzError('OutOfRange', `offset ${offset} can be no root`, { id: h.id, offset });
      h.setU32(META.root, offset);
      return 0;
    },
    allocate: (a) => {
      const { mapping } = writable(a.u32());
      const size = a.u32();
      inTransaction('a block was allocated');
      const at = mapping.h.allocateWithin(size, mapping.capacity);
      if (at === 0)
        throw new TwzError(
          'ProgramLimit',
          `object ${mapping.h.id} has no room for ${size} bytes where it is mapped (${mapping.capacity} bytes)`,
          {
            id: mapping.h.id,
          },
        );
      return mapping.at + at;
    },
    release: (a) => {
      const { mapping, offset } = writable(a.u32());
      inTransaction('a block was given back');
      mapping.h.release(offset);
      return 0;
    },
    refer: (a) => {
      const from = writable(a.u32());
      const to = view.place(a.u32());
      return refer(from.mapping, to.mapping.h, to.offset);
    },
    refer_id: (a) => {
      const from = writable(a.u32());
      const id = a.id();
      const offset = a.u32();
      return refer(from.mapping, kernel.open(id), offset);
    },
    resolve: (a) => {
      const mapping = readable(a.u32());
      const { index, offset } = split(a.i64());
      const rights = a.u32() & RIGHTS_ALL;
      const target = index === 0 ? mapping : view.map(mapping.h.follow(index, 0), rights | RIGHT.read);
      // To an object as a whole, and bound late: what is meant is the root.
      const root = index !== 0 && offset === 0 ? view.rootOf(target) : 0;
      if (root !== 0) return root;
      if (offset < PAGE || offset >= target.h.size)
        throw new TwzError('PointerCorrupt', `a pointer to offset ${offset} of object ${target.h.id}`);
      return target.at + offset;
    },
    unrefer: (a) => {
      const { mapping } = writable(a.u32());
      const { index } = split(a.i64());
      inTransaction('a reference was removed');
      if (index !== 0) mapping.h.unrefer(index);
      return 0;
    },
    transact: (a) => {
      const run = compartment.tableFunction(a.u32());
      const argument = a.u32();
      const durable = a.u32() === 1;
      const stack = compartment.stackTop;
      try {
        return system.transact(() => {
          view.discard();
          compartment.stackTop = stack;
          view.prepare();
          try {
            const result = run(argument);
            if (result < 0) throw new Abandoned(result);
            view.collect();
            return result;
          } catch (error) {
            view.discard();
            throw error;
          }
        }, durable);
      } catch (error) {
        compartment.stackTop = stack;
        if (error instanceof Abandoned) return error.result;
        throw error;
      }
    },
    name_find: (a) => {
      const path = a.text();
      const put = a.idOut();
      const id = system.names.find(path);
      if (id === undefined) throw new TwzError('NameMissing', `nothing has the name ${path}`, { path });
      put(id);
      return 0;
    },
    name_set: (a) => {
      const path = a.text();
      const id = a.id();
      inTransaction('a name was set');
      system.names.set(path, kernel.open(id));
      return 0;
    },
    name_remove: (a) => {
      const path = a.text();
      inTransaction('a name was removed');
      system.names.remove(path);
      return 0;
    },
  };
}

function rightsText(rights: number): string {
  return Object.entries(RIGHT)
    .filter(([, bit]) => (rights & bit) !== 0)
    .map(([name]) => name)
    .join(', ');
}
