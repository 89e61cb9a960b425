/** What a ring's records are: bytes of one length, bytes of different lengths, or a struct in place. */
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';
import { NULL_ID } from '../../abi/id.ts';
import { ScratchObject } from '../collections/scratch-object.ts';
import type { Field } from '../fields.ts';
import { assignTo } from '../runtime.ts';
import { accessorAt, type Init, type Instance, type Layout, type Struct } from '../struct.ts';
import type { RecordShape } from './layout.ts';

/** Records in one ring's memory. `T` is what is received, `I` what can be submitted. */
export interface PlacedRecords<T, I> {
  /** Bytes that the value takes. Throws ValueMismatch, OutOfRange. */
  measure(value: I): number;
  write(at: number, value: I, length: number): void;
  /** A copy, which stays. */
  read(at: number, length: number): T;
  /** The record itself, good until it is published or released. */
  view(at: number, length: number): T;
}

export interface RecordType<T, I = T> extends RecordShape {
  readonly name: string;
  place(words: SyncWords): PlacedRecords<T, I>;
}

// --- bytes ------------------------------------------------------------------------------------------------------------------

const SIZE_MAX = 1 << 28;

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size < 1 || size > SIZE_MAX)
    throw new TwzError('OutOfRange', `records of ${size} bytes; expected 1 to ${SIZE_MAX}`, { size });
}

function checkBytes(value: unknown): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TwzError('ValueMismatch', 'a record of bytes is a Uint8Array');
}

const placeBytes =
  (measure: (value: Uint8Array) => number) =>
  ({ u8 }: SyncWords): PlacedRecords<Uint8Array, Uint8Array> => ({
    measure,
    write: (at, value) => u8.set(value, at),
    read: (at, length) => u8.slice(at, at + length),
    view: (at, length) => u8.subarray(at, at + length),
  });

/** Records of `size` bytes each. */
export function fixedBytes(size: number): RecordType<Uint8Array> {
  checkSize(size);
  return {
    name: `bytes(${size})`,
    size,
    variable: false,
    fingerprint: [0, 0],
    place: placeBytes((value) => {
      checkBytes(value);
      if (value.length !== size)
        throw new TwzError('OutOfRange', `a record of ${value.length} bytes in a ring of records of ${size}`, {
          length: value.length,
          size,
        });
      return size;
    }),
  };
}

/** Records of up to `longest` bytes. */
export function variableBytes(longest: number): RecordType<Uint8Array> {
  checkSize(longest);
  return {
    name: `bytes(up to ${longest})`,
    size: longest,
    variable: true,
    fingerprint: [0, 0],
    place: placeBytes((value) => {
      checkBytes(value);
      if (value.length > longest)
        throw new TwzError('OutOfRange', `a record of ${value.length} bytes in a ring of records of up to ${longest}`, {
          length: value.length,
          size: longest,
        });
      return value.length;
    }),
  };
}

// --- structs ----------------------------------------------------------------------------------------------------------------

const NOWHERE = { id: NULL_ID, kindName: 'volatile' } as const;

/** Memory that no object's rules apply to, for accessors to plain fields: a ring's, or copies of records. */
class RecordMemory extends ScratchObject {
  /** No store needs a mark. */
  override readonly dirty: Uint8Array;

  constructor(u8: Uint8Array, dv: DataView) {
    super(NOWHERE, u8);
    this.dv = dv;
    this.dirty = new Uint8Array((u8.length + 63) >>> 6).fill(1);
  }

  override corrupt(at: number, reason: string): never {
    throw new TwzError('QueueInvalid', `a record at ${at}: ${reason}`, { at });
  }
}

/** Text, bytes, references and collections lie elsewhere: a record is only what lies in the struct itself. */
function refuseFarFields(name: string, field: Field<unknown, never>): void {
  const { kind, type } = field.describe;
  if (kind === 'text' || kind === 'bytes' || kind === 'link' || kind === 'ref' || kind === 'collection')
    throw new TwzError('TypeInvalid', `${name}: a ring's record has no ${type}: what lies elsewhere is handed over as a number`, { name });
  if ('layout' in field) refuseFarStructs(name, (field as Field<unknown, never> & { readonly layout: Layout }).layout);
  if (field.of !== undefined) refuseFarFields(`${name}[]`, field.of as Field<unknown, never>);
}

function refuseFarStructs(name: string, layout: Layout): void {
  for (const { name: field, field: of } of layout.fields) refuseFarFields(`${name}.${field}`, of);
}

/** Copies of records share a buffer of about this many bytes, and go when none of them is in use. */
const SLAB = 4096;

/** Records that are structs: accessors in place. All fields must lie in the struct itself; throws TypeInvalid. */
export function structRecord<F>(type: Struct<F>): RecordType<Instance<F>, Init<F>> {
  const { size, fingerprint } = type.layout;
  refuseFarStructs(type.name, type.layout);
  return {
    name: type.name,
    size,
    variable: false,
    fingerprint: [fingerprint.low | 0, fingerprint.high | 0],
    place({ u8, dv }) {
      const memory = new RecordMemory(u8, dv);
      let slab: RecordMemory | undefined;
      let end = 0;
      const step = (size + 7) & ~7;
      return {
        measure: () => size,
        write(at, value) {
          u8.fill(0, at, at + size);
          assignTo(accessorAt(type, memory, at), value, type.name);
        },
        read(at) {
          if (slab === undefined || end + step > slab.u8.length) {
            const bytes = new Uint8Array(Math.max(SLAB, step));
            slab = new RecordMemory(bytes, new DataView(bytes.buffer));
            end = 0;
          }
          const to = end;
          end += step;
          slab.u8.set(u8.subarray(at, at + size), to);
          return accessorAt(type, slab, to);
        },
        view: (at) => accessorAt(type, memory, at),
      };
    },
  };
}
