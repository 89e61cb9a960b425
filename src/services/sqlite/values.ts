/** Values between SQL and JavaScript: cells of wasm/sqlite/api.c, parameters, results of functions. */
import { TwzError } from '../../abi/errors.ts';
import { SCRATCH_BYTES, type Engine } from './engine.ts';

/** What a column may hold. An integer is a number, or a bigint where that was asked for (`safeIntegers`). */
export type SqlValue = number | string | bigint | Uint8Array | null;
/** What a parameter may be. */
export type SqlInput = SqlValue | boolean;

const TYPE = { integer: 1, float: 2, text: 3, blob: 4, null: 5, wide: 6 } as const;
const CELL_WORDS = 4;
const WIDE_MIN = -(2n ** 63n);
const WIDE_MAX = 2n ** 63n - 1n;

/** The value in the cell that begins at this word. */
export function readCell({ words, numbers, bytes }: Engine, cell: number, wide: boolean): SqlValue {
  switch (words[cell]) {
    case TYPE.integer: {
      const value = numbers[(cell >> 1) + 1] as number;
      return wide ? BigInt(value) : value;
    }
    case TYPE.float:
      return numbers[(cell >> 1) + 1] as number;
    case TYPE.text: {
      const from = (words[cell + 2] as number) >>> 0;
      const n = words[cell + 1] as number;
      return n < 0 ? bytes.latin1Slice(from, from - n - 1) : bytes.utf8Slice(from, from + n);
    }
    case TYPE.blob: {
      const from = (words[cell + 2] as number) >>> 0;
      const copy = new Uint8Array(words[cell + 1] as number);
      copy.set(bytes.subarray(from, from + copy.length));
      return copy;
    }
    case TYPE.wide: {
      const value = (BigInt(words[cell + 3] as number) << 32n) | BigInt((words[cell + 2] as number) >>> 0);
      if (!wide) throw new TwzError('OutOfRange', `the integer ${value} is no safe number: use safeIntegers()`);
      return value;
    }
    default:
      return null;
  }
}

export const wordOfCell = (first: number, index: number): number => first + index * CELL_WORDS;

function refuse(value: unknown, where: string): never {
  throw new TwzError('InvalidArgument', `${where}: expected null, a number, a bigint, a boolean, a string or bytes, not ${typeof value}`);
}

function wideParts(value: bigint, where: string): [low: number, high: number] {
  if (value < WIDE_MIN || value > WIDE_MAX) throw new TwzError('OutOfRange', `${where}: ${value} does not fit 64 bits`);
  return [Number(BigInt.asIntN(32, value)), Number(value >> 32n)];
}

/** Binds one parameter. `lasting`: for longer than this call, so that text and bytes are copied. */
export function bindValue(engine: Engine, statement: number, index: number, value: unknown, lasting: boolean): number {
  const { program, bytes } = engine;
  switch (typeof value) {
    case 'number':
      if ((value | 0) === value && !Object.is(value, -0)) return program.twz_bind_int(statement, index, value);
      if (Number.isSafeInteger(value) && value !== 0)
        return program.twz_bind_wide(statement, index, value | 0, Math.floor(value / 2 ** 32));
      return program.twz_bind_double(statement, index, value);
    case 'string': {
      const most = value.length * 3;
      if (engine.scratchUsed + most <= SCRATCH_BYTES && !lasting) {
        const at = engine.scratch + engine.scratchUsed;
        const n = bytes.utf8Write(value, at, most);
        engine.scratchUsed += n;
        return program.twz_bind_text(statement, index, at, n, 0);
      }
      const n = Buffer.byteLength(value);
      const at = engine.allocate(n);
      bytes.utf8Write(value, at, n);
      return program.twz_bind_text(statement, index, at, n, 1);
    }
    case 'bigint': {
      const [low, high] = wideParts(value, `parameter ${index}`);
      return program.twz_bind_wide(statement, index, low, high);
    }
    case 'boolean':
      return program.twz_bind_int(statement, index, value ? 1 : 0);
    default: {
      if (value === null) return program.twz_bind_null(statement, index);
      if (!(value instanceof Uint8Array)) refuse(value, `parameter ${index}`);
      if (engine.scratchUsed + value.length <= SCRATCH_BYTES && !lasting) {
        const at = engine.scratch + engine.scratchUsed;
        bytes.set(value, at);
        engine.scratchUsed += value.length;
        return program.twz_bind_blob(statement, index, at, value.length, 0);
      }
      const at = engine.allocate(value.length);
      bytes.set(value, at);
      return program.twz_bind_blob(statement, index, at, value.length, 1);
    }
  }
}

/** Hands the result of a function of the host's to SQLite. */
export function giveResult(engine: Engine, context: number, value: unknown): void {
  const { program, bytes } = engine;
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) program.twz_result_wide(context, value | 0, Math.floor(value / 2 ** 32));
    else program.twz_result_double(context, value);
  } else if (typeof value === 'bigint') program.twz_result_wide(context, ...wideParts(value, 'the result of a function'));
  else if (typeof value === 'boolean') program.twz_result_wide(context, value ? 1 : 0, 0);
  else if (typeof value === 'string') {
    const n = Buffer.byteLength(value);
    const at = engine.allocate(n);
    bytes.utf8Write(value, at, n);
    program.twz_result_text(context, at, n);
  } else if (value instanceof Uint8Array) {
    const at = engine.allocate(value.length);
    bytes.set(value, at);
    program.twz_result_blob(context, at, value.length);
  } else if (value === null || value === undefined) program.twz_result_null(context);
  else refuse(value, 'the result of a function');
}
