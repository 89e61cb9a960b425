/**
 * Names: every namespace that can be reached from the root one. A namespace is a hash table with chains, docs/formats/names.md.
 *
 *   Namespace  count 0 (u32), buckets 4 (u32), table 8 (u32: offset of `buckets` u32 offsets of entries)
 *   NameEntry  name 0 (text), hash 8 (u32), kind 12 (u8), owns 13 (u8), target 16 (pointer), path 24 (text), next 32 (pointer)
 */
import { META, PAGE, PAGE_KIND, SIZE_CLASSES } from '../../abi/format.ts';
import { foldId, writeId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { linkTarget } from '../link-target.ts';
import { Findings } from './findings.ts';
import { type ObjectImage, readPointer } from './object-image.ts';
import { factsOf, liveBlock, type ObjectFacts } from './object.ts';
import { parseSchema } from './schema.ts';

const NAMESPACE = { count: 0, buckets: 4, table: 8 } as const;
const ENTRY = { name: 0, hash: 8, kind: 12, owns: 13, target: 16, path: 24, next: 32, size: 40 } as const;
const KINDS = ['object', 'namespace', 'link'] as const;
export const NAME_BYTES_MAX = 255;
/** The objects that a space makes for itself. */
export const WELL_KNOWN = { system: 1, root: 2 } as const;

/** The ID that a space derives for its own object number `n`: 1 the list of deleted objects, 2 the root namespace. */
export function wellKnownId(host: Host, space: ObjectId, n: number): ObjectId {
  const input = new Uint8Array(48);
  writeId(input, 0, space);
  input[15] = (input[15] ?? 0) ^ n;
  input[32] = 7;
  input[36] = 1;
  return foldId(host.sha256(input));
}

export interface NameRecord {
  readonly name: string;
  readonly at: number;
  readonly kind: (typeof KINDS)[number];
  readonly owns: boolean;
  readonly target: ObjectId | undefined;
  readonly path: string;
}

export interface NamesSource {
  readonly findings: Findings;
  readonly ids: ReadonlySet<ObjectId>;
  facts(id: ObjectId): ObjectFacts | undefined;
  wasDeleted(id: ObjectId): boolean;
}

function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** A text or bytes field: {offset u32, length u32} of a block. Undefined where it cannot be read. */
function textField(image: ObjectImage, at: number): string | undefined {
  const offset = image.u32(at);
  const length = image.u32(at + 4);
  if (length === 0) return '';
  if (offset < PAGE || offset + length > image.size || length > 65536) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(image.bytes.slice(offset, offset + length));
  } catch {
    return undefined;
  }
}

export class NamesWalk {
  readonly #source: NamesSource;
  readonly #seen = new Set<ObjectId>();
  /** Paths of entries, for links to be looked up in. */
  readonly #paths = new Set<string>();
  readonly #links: { path: string; to: string; object: ObjectId; at: number }[] = [];
  names = 0;

  constructor(source: NamesSource) {
    this.#source = source;
  }

  run(host: Host, space: ObjectId): void {
    const root = wellKnownId(host, space, WELL_KNOWN.root);
    // A space in which nothing was ever named has none.
    if (!this.#source.ids.has(root)) return;
    const todo: { id: ObjectId; path: string }[] = [{ id: root, path: '' }];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      if (this.#seen.has(next.id)) continue;
      this.#seen.add(next.id);
      for (const entry of this.#namespace(next.id, next.path)) {
        if (entry.kind === 'namespace' && entry.target !== undefined) todo.push({ id: entry.target, path: `${next.path}/${entry.name}` });
      }
    }
    for (const link of this.#links) {
      const to = linkTarget(link.path.split('/').slice(1, -1), link.to) ?? '';
      if (this.#paths.has(to.replace(/\/+$/, '')) || to === '/') continue;
      // A link may pass through other links; then this is not the last word.
      if (this.#links.some((other) => to.startsWith(`${other.path}/`))) continue;
      this.#source.findings.add('LinkDangling', `${link.path} leads to ${link.to}, which has no name`, {
        object: link.object,
        at: link.at,
      });
    }
  }

  /** The entries of one namespace, and findings about it. */
  one(id: ObjectId): NameRecord[] {
    return this.#namespace(id, '');
  }

  #namespace(id: ObjectId, path: string): NameRecord[] {
    const { findings } = this.#source;
    const where = path === '' ? '/' : path;
    const facts = this.#source.facts(id);
    // What is wrong with the object itself has been said.
    if (facts === undefined) return [];
    const { image } = facts;
    const damaged = (at: number, message: string): void => findings.add('NamespaceDamaged', `${where}: ${message}`, { object: id, at });
    const schemaText = image.textAt(image.u32(META.schema));
    const schema = schemaText === undefined ? 'none' : parseSchema(schemaText);
    if (typeof schema === 'string' || schema.root !== 'Namespace') {
      damaged(META.root, 'the object is no namespace');
      return [];
    }
    const root = image.u32(META.root);
    const buckets = image.u32(root + NAMESPACE.buckets);
    const table = image.u32(root + NAMESPACE.table);
    const block = liveBlock(facts, table);
    if (buckets === 0 || (buckets & (buckets - 1)) !== 0 || block === undefined || block.at !== table || buckets * 4 > block.size) {
      damaged(root + NAMESPACE.table, `the table of ${buckets} buckets at ${table} is no block of that size`);
      return [];
    }
    const entries: NameRecord[] = [];
    const visited = new Set<number>();
    for (let bucket = 0; bucket < buckets; bucket++)
      this.#chain(id, facts, table + bucket * 4, { bucket, buckets, path, entries, visited, damaged });
    const count = image.u32(root + NAMESPACE.count);
    if (count !== entries.length) damaged(root + NAMESPACE.count, `it counts ${count} names; there are ${entries.length}`);
    return entries;
  }

  #chain(
    id: ObjectId,
    facts: ObjectFacts,
    from: number,
    it: {
      bucket: number;
      buckets: number;
      path: string;
      entries: NameRecord[];
      visited: Set<number>;
      damaged: (at: number, message: string) => void;
    },
  ): void {
    const { image } = facts;
    let holder = from;
    for (let at = image.u32(from); at !== 0;) {
      const block = liveBlock(facts, at);
      if (block === undefined || block.at !== at || block.size < ENTRY.size)
        return it.damaged(holder, `a chain leads to ${at}, where no entry is`);
      if (it.visited.has(at)) return it.damaged(holder, `a chain comes to the entry at ${at} a second time`);
      it.visited.add(at);
      this.#entry(id, image, at, it);
      holder = at + ENTRY.next;
      const next = readPointer(image, holder);
      if (next.index !== 0) return it.damaged(holder, 'a chain leaves the object');
      at = next.offset;
    }
  }

  #entry(
    id: ObjectId,
    image: ObjectImage,
    at: number,
    it: { bucket: number; buckets: number; path: string; entries: NameRecord[]; damaged: (at: number, message: string) => void },
  ): void {
    const name = textField(image, at + ENTRY.name);
    const kind = KINDS[image.bytes[at + ENTRY.kind] ?? 255];
    const path = textField(image, at + ENTRY.path);
    if (name === undefined || kind === undefined || path === undefined)
      return it.damaged(at, 'an entry has no readable name, kind or path');
    if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || new TextEncoder().encode(name).length > NAME_BYTES_MAX) {
      it.damaged(at, `"${name}" cannot be a name`);
    }
    const hash = image.u32(at + ENTRY.hash);
    if (hash !== hashOf(name) || (hash & (it.buckets - 1)) !== it.bucket)
      it.damaged(at + ENTRY.hash, `"${name}" stands in the wrong chain`);
    const { index } = readPointer(image, at + ENTRY.target);
    const entry = index === 0 ? undefined : image.fotEntry(index);
    const full = `${it.path}/${name}`;
    this.names++;
    this.#paths.add(full);
    it.entries.push({ name, at, kind, owns: image.bytes[at + ENTRY.owns] === 1, target: entry?.id, path });
    if (kind === 'link') this.#links.push({ path: full, to: path, object: id, at });
    else if (entry?.id === undefined) it.damaged(at + ENTRY.target, `${full} leads to no object`);
    else if (!this.#source.ids.has(entry.id)) {
      const where = { object: id, at: at + ENTRY.target };
      if (this.#source.wasDeleted(entry.id))
        this.#source.findings.add('NameDeleted', `${full} leads to ${entry.id}, which was deleted`, where);
      else this.#source.findings.add('NameDangling', `${full} leads to ${entry.id}, which is not in the space`, where);
    }
  }
}

/** The names that one namespace holds, damaged or not: by its table if that is sound, else every entry that proves itself by its hash. */
export function readableEntries(
  host: Host,
  id: ObjectId,
  image: ObjectImage,
): { readonly entries: readonly NameRecord[]; readonly damaged: boolean } {
  const findings = new Findings();
  const facts = factsOf(host, id, image.bytes);
  const walk = new NamesWalk({ findings, ids: new Set(), facts: () => facts, wasDeleted: () => false });
  const entries = walk.one(id);
  if (!findings.counts.has('NamespaceDamaged')) return { entries, damaged: false };
  const found = new Map<string, NameRecord>();
  for (let page = 1; page < image.pages; page++) {
    const entry = image.pageEntry(page);
    const size = SIZE_CLASSES[entry >>> 4] ?? 0;
    if ((entry & 15) !== PAGE_KIND.span || size < ENTRY.size || size > 2 * ENTRY.size) continue;
    for (let at = page * PAGE; at + size <= (page + 1) * PAGE; at += size) {
      const name = textField(image, at + ENTRY.name);
      const kind = KINDS[image.bytes[at + ENTRY.kind] ?? 255];
      const path = textField(image, at + ENTRY.path);
      if (name === undefined || name === '' || kind === undefined || path === undefined || image.u32(at + ENTRY.hash) !== hashOf(name))
        continue;
      const { index } = readPointer(image, at + ENTRY.target);
      const target = index === 0 ? undefined : image.fotEntry(index)?.id;
      if (kind !== 'link' && target === undefined) continue;
      found.set(name, { name, at, kind, owns: image.bytes[at + ENTRY.owns] === 1, target, path });
    }
  }
  return { entries: [...found.values()], damaged: true };
}
