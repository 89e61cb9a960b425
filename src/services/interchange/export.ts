/** What export writes: maps as tables of keys and columns. */
import { TwzError } from '../../abi/errors.ts';
import type { Space } from '../../space.ts';
import type { Shape } from '../check/schema.ts';
import { CATALOG, Catalog, type ForeignKey, type TableInfo } from './stage.ts';
import { collectionIn, isKind, type Column, type Kind, type KnownCollection, type RowMap } from './row-maps.ts';

/** A map, as a table. A row's values are those of the keys and then those of the columns. */
export interface StoredTable {
  readonly name: string;
  /** Never empty; where the table is numbered it is the number of the row. */
  readonly keys: readonly Column[];
  readonly numbered: boolean;
  readonly columns: readonly Column[];
  readonly foreignKeys: readonly ForeignKey[];
  /** Whether its rows come in the order of their keys. */
  readonly ordered: boolean;
  rows(): Generator<readonly unknown[]>;
}

/** The maps of a namespace, or the one map that has that path. Throws NotSupported for what no table can hold. */
export function tablesAt(space: Space, path: string): StoredTable[] {
  const object = space.names.get(path);
  const single = collectionIn(object);
  if (single !== undefined) return [tableOf(space, path, path.split('/').findLast((part) => part !== '') ?? 'map', single, undefined)];
  const catalog = catalogAt(space, path);
  const tables: StoredTable[] = [];
  for (const { name, kind } of space.names.list(path)) {
    if (name === CATALOG) continue;
    const at = `${path.replace(/\/+$/, '')}/${name}`;
    const found = kind === 'namespace' ? undefined : collectionIn(space.names.get(at));
    if (found === undefined) throw new TwzError('NotSupported', `"${at}" is no map`, { path: at });
    tables.push(
      tableOf(
        space,
        at,
        name,
        found,
        catalog.find(({ map }) => map === name),
      ),
    );
  }
  if (tables.length === 0) throw new TwzError('NotSupported', `"${path}" holds no maps`, { path });
  return tables;
}

function catalogAt(space: Space, path: string): readonly TableInfo[] {
  const at = `${path.replace(/\/+$/, '')}/${CATALOG}`;
  if (space.names.lookup(at) === undefined) return [];
  const { tables }: { tables: TableInfo[] } = JSON.parse(space.names.get(at, Catalog).json);
  return tables;
}

function tableOf(space: Space, path: string, name: string, known: KnownCollection, said: TableInfo | undefined): StoredTable {
  const numbered = said !== undefined && said.key.length === 0;
  const map = known.open(space);
  const plain = known.fields === undefined && !(said !== undefined && said.columns.length === 0);
  const columns = (known.fields ?? []).map((field): Column => {
    const { name: as = field.name, declared = '' } = said?.columns.find((column) => column.field === field.name) ?? {};
    return { name: as, field: field.name, declared, ...columnShape(field.shape, path, field.name) };
  });
  if (plain) {
    const { name: as = 'value', declared = '' } = said?.columns.find(({ field }) => field === '') ?? {};
    columns.push({ name: as, field: '', declared, ...columnShape(known.value, path, 'value') });
  }
  const taken = new Set(columns.map((column) => column.name.toLowerCase()));
  const keys = known.keys.map((signature, i): Column => {
    let as = said?.key[i]?.name ?? (known.keys.length === 1 ? 'key' : `key${i + 1}`);
    // A struct may hold a field of that name.
    while (taken.has(as.toLowerCase())) as += '_';
    return { name: as, field: '', kind: kindOf(signature, path, as), optional: false, declared: said?.key[i]?.declared ?? '' };
  });
  return {
    name: said?.table ?? name,
    keys,
    numbered,
    columns,
    foreignKeys: said?.foreignKeys ?? [],
    ordered: known.collection === 'OrderedMap',
    *rows() {
      for (const [key, value] of map) {
        const row: unknown[] = Array.isArray(key) ? [...key] : [key];
        if (plain) row.push(value);
        else if (typeof value === 'object' && value !== null) for (const { field } of columns) row.push(Reflect.get(value, field));
        yield row;
      }
    },
  };
}

function kindOf(signature: string, path: string, field: string): Kind {
  if (!isKind(signature))
    throw new TwzError('NotSupported', `"${path}": a ${signature} (${field}) has no place in a table`, { path, field });
  return signature;
}

function columnShape(shape: Shape, path: string, field: string): { readonly kind: Kind; readonly optional: boolean } {
  if (shape.kind === 'optional') return { kind: columnShape(shape.of, path, field).kind, optional: true };
  if (shape.kind === 'oneOf') return { kind: 'text', optional: false };
  return { kind: kindOf(shape.type, path, field), optional: false };
}

/** A map whose types the program does not declare, as its own object tells them. Throws NotSupported, NameMissing. */
export function openMap(space: Space, path: string): RowMap {
  const known = collectionIn(space.names.get(path));
  if (known === undefined) throw new TwzError('NotSupported', `"${path}" is no map`, { path });
  return known.open(space);
}
