/** Numbers by the name of their type, for conversions between them. */
import { assert } from '../../abi/errors.ts';

export function loadNumber(from: DataView, at: number, type: string): number | bigint {
  switch (type) {
    case 'bool':
      return from.getUint8(at) === 0 ? 0 : 1;
    case 'u8':
      return from.getUint8(at);
    case 'i8':
      return from.getInt8(at);
    case 'u16':
      return from.getUint16(at, true);
    case 'i16':
      return from.getInt16(at, true);
    case 'u32':
      return from.getUint32(at, true);
    case 'i32':
      return from.getInt32(at, true);
    case 'f32':
      return from.getFloat32(at, true);
    default:
      assert(false, `no number of type ${type} is widened`);
  }
}

export function storeNumber(to: DataView, at: number, type: string, value: number | bigint): void {
  switch (type) {
    case 'u8':
      to.setUint8(at, Number(value));
      return;
    case 'i8':
      to.setInt8(at, Number(value));
      return;
    case 'u16':
      to.setUint16(at, Number(value), true);
      return;
    case 'i16':
      to.setInt16(at, Number(value), true);
      return;
    case 'u32':
      to.setUint32(at, Number(value), true);
      return;
    case 'i32':
      to.setInt32(at, Number(value), true);
      return;
    case 'u64':
    case 'i64':
      to.setBigInt64(at, BigInt(value), true);
      return;
    case 'f32':
      to.setFloat32(at, Number(value), true);
      return;
    case 'f64':
      to.setFloat64(at, Number(value), true);
      return;
    default:
      assert(false, `no number is widened to ${type}`);
  }
}
