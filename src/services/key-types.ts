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
    if (word === 'linkedBytes') {
      const found = /^\((\d{1,3})\)/.exec(signature.slice(at));
      if (found === null) return malformed();
      at += found[0].length;
      return { kind: 'linkedBytes', links: Number(found[1]) };
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

/** An index as the signature of an indexed map names it. */
export interface IndexSignature {
  readonly name: string;
  readonly unique: boolean;
  readonly multi: boolean;
  /** Signature of its keys. */
  readonly key: string;
}

/** Cuts a signature at a character that stands outside brackets and quotes. */
function cutAt(text: string, at: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? '';
    if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++;
    } else if ('({<'.includes(c)) depth++;
    else if (')}>'.includes(c)) depth--;
    else if (c === at && depth === 0) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return [...parts, text.slice(from)];
}

/** The indexes of `IndexedMap<u32,Person@1{…};byName:text,byMail:unique text>`; undefined where the signature is none of an indexed map. */
export function indexesOf(signature: string): IndexSignature[] | undefined {
  const inside = /^IndexedMap<(.*)>$/s.exec(signature)?.[1];
  const [, listed, ...more] = inside === undefined ? [] : cutAt(inside, ';');
  if (listed === undefined || more.length > 0) return undefined;
  if (listed === '') return [];
  const indexes: IndexSignature[] = [];
  for (const each of cutAt(listed, ',')) {
    const found = /^([A-Za-z_][A-Za-z0-9_]*):(unique )?(multi )?(.+)$/s.exec(each);
    if (found === null) return undefined;
    const [, name = '', unique, multi, key = ''] = found;
    indexes.push({ name, unique: unique !== undefined, multi: multi !== undefined, key });
  }
  return indexes;
}
