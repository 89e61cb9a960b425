/** Key types from their signatures: what a schema says of a collection's keys, made usable for tools. */
import { isTwzError, TwzError } from '../abi/errors.ts';
import { caseless, collation, tuple, type AnyKeyType, type Collation } from '../lib/collections/keys.ts';
import { bigI64, bigU64, bool, bytes, f64, i16, i32, i64, i8, oneOf, text, u16, u32, u64, u8 } from '../lib/fields.ts';

const PLAIN: Readonly<Record<string, AnyKeyType>> = { u8, u16, u32, u64, i8, i16, i32, i64, f64, bool, text, bytes, bigU64, bigI64 };

/** Keys of a collation that is not known here can be read, and not looked for. */
function unknownCollation(name: string): Collation {
  if (name === caseless.name) return caseless;
  return collation(name, () => {
    throw new TwzError('NotSupported', `the collation "${name}" is not known here: its keys can be read, not looked for`, { name });
  });
}

function placeOf(type: string): AnyKeyType {
  return { kind: 'place', type };
}

/** Throws TypeInvalid where the signature is none. `reference` gives the key type of references to a struct; without it, keys are places. */
export function keyTypeOf(signature: string, reference: (type: string) => AnyKeyType = placeOf): AnyKeyType {
  let at = 0;
  const malformed = (): never => {
    throw new TwzError('TypeInvalid', `the schema has keys of the type ${signature.slice(0, 100)}`);
  };
  const take = (expected: string): void => {
    if (!signature.startsWith(expected, at)) malformed();
    at += expected.length;
  };
  const quoted = (): string => {
    const found = /^"(?:[^"\\]|\\.)*"/.exec(signature.slice(at));
    if (found === null) return malformed();
    at += found[0].length;
    try {
      const value: unknown = JSON.parse(found[0]);
      return typeof value === 'string' ? value : malformed();
    } catch {
      return malformed();
    }
  };
  const type = (depth: number): AnyKeyType => {
    if (depth > 8) malformed();
    const [word = ''] = /^[A-Za-z0-9]+/.exec(signature.slice(at)) ?? [];
    at += word.length;
    if (word === 'tuple') {
      take('(');
      const parts = [type(depth + 1)];
      while (signature[at] === ',') {
        at++;
        parts.push(type(depth + 1));
      }
      take(')');
      return tuple(...parts);
    }
    if (word === 'ref') {
      take('(');
      const name = quoted();
      take(')');
      return reference(name);
    }
    if (word === 'collation') {
      take('(');
      const name = quoted();
      take(')');
      return unknownCollation(name);
    }
    if (word === 'oneOf') {
      take('(');
      const values: [string, ...string[]] = [quoted()];
      while (signature[at] === '|') {
        at++;
        values.push(quoted());
      }
      take(')');
      return oneOf(...values);
    }
    return Object.hasOwn(PLAIN, word) ? (PLAIN[word] ?? malformed()) : malformed();
  };
  const made = type(0);
  if (at !== signature.length) malformed();
  return made;
}

/** Names of the types that keys of a signature refer to. */
export function referredBy(signature: string): readonly string[] {
  const names: string[] = [];
  try {
    keyTypeOf(signature, (name) => {
      names.push(name);
      return placeOf(name);
    });
  } catch (error) {
    if (!isTwzError(error, 'TypeInvalid')) throw error;
  }
  return names;
}
