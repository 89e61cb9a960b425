/**
 * Indexed maps as the checker sees them: the ordered map of the records, and one for each index (lib/collections/indexed-map.ts). The rules
 * by which indexes are made are a program's: what is looked for is an entry that leads to no record, or to one too often.
 */
import { indexesOf, referredBy } from '../key-types.ts';
import type { CollectionReader, CollectionShape, Placed, WalkCollection } from './collection-image.ts';
import type { ObjectSchema } from './schema.ts';

const HEADER = 48;

/** The bytes of a key as they are stored, a character each: under a collation more than what is compared. */
function stored({ image, at }: Placed, length: number): string {
  let bytes = '';
  for (let i = 0; i < length; i++) bytes += String.fromCharCode(image.bytes[at + i] ?? 0);
  return bytes;
}

export function walkIndexed(
  home: Placed,
  shape: CollectionShape,
  schema: ObjectSchema,
  reader: CollectionReader,
  walk: WalkCollection,
): boolean {
  const indexes = indexesOf(shape.type);
  const { key, value } = shape;
  if (indexes === undefined || key === undefined || value === undefined || shape.size < HEADER * (indexes.length + 1)) return false;
  const records = new Set<string>();
  const asked = reader.block !== undefined || reader.member !== undefined;
  let whole = true;
  const base: CollectionShape = { kind: 'collection', type: shape.type, size: HEADER, collection: 'OrderedMap', key, value };
  const known = walk(home, base, schema, {
    ...reader,
    entry: (found, record, position) => {
      if (asked && found !== undefined) records.add(stored(found, found.length));
      const more = reader.entry(found, record, position);
      whole &&= more;
      return more;
    },
  });
  if (!known || !whole || !asked) return known;
  for (const [i, { name, unique, multi, key: own }] of indexes.entries()) {
    // Where the index's keys have references, pointers to what they lead to stand in front of the key.
    const types = referredBy(own);
    const of: CollectionShape = {
      kind: 'collection',
      type: shape.type,
      size: HEADER,
      collection: 'OrderedMap',
      key: types.length === 0 ? 'bytes' : `linkedBytes(${types.length})`,
      value: unique ? { kind: 'bytes', type: 'bytes', size: 8 } : { kind: 'number', type: 'u32', size: 4 },
    };
    const seen = new Set<string>();
    walk({ image: home.image, at: home.at + HEADER * (i + 1) }, of, schema, {
      ...reader,
      entry: (entry, to) => {
        if (entry === undefined || to === undefined) return true;
        for (const [n, type] of types.entries()) reader.link?.({ image: entry.image, at: entry.at - (types.length - n) * 8 }, type);
        const head = unique ? 0 : to.image.u32(to.at);
        // Between the key of the index and that of the record stands a zero.
        const split = unique || (head > 0 && head <= entry.length && entry.image.bytes[entry.at + head - 1] === 0);
        const record = unique
          ? stored(to, to.length)
          : stored({ image: entry.image, at: entry.at + head }, Math.max(0, entry.length - head));
        if (!split || !records.has(record)) reader.bad('CollectionIndex', entry, `index ${name} leads to a record that is not there`);
        else if (!multi && seen.has(record)) reader.bad('CollectionIndex', entry, `index ${name} leads to a record twice`, 'once');
        seen.add(record);
        return true;
      },
    });
  }
  return true;
}
