/**
 * Sequences as the checker sees them: Vec and Blob (rows of chunks), List, Queue and Log (rings of chunks), by the layouts at the head of
 * lib/collections/chunks.ts, elements.ts, list-class.ts and ring.ts. Each walk returns what the header counts.
 */
import type { CollectionImage, Placed } from './collection-image.ts';
import { alignOf, type ObjectSchema, type Shape } from './schema.ts';

type Mode = 'place' | 'text' | 'boxed';

interface Elements {
  readonly mode: Mode;
  readonly shape: Shape;
  readonly stride: number;
}

/** Does a value own more than its bytes? As in elements.ts. */
function owns(schema: ObjectSchema, shape: Shape, depth = 0): boolean {
  switch (shape.kind) {
    case 'text':
    case 'bytes':
    case 'ref':
    case 'link':
    case 'collection':
      return true;
    case 'optional':
    case 'array':
      return owns(schema, shape.of, depth);
    case 'struct':
      return depth < 64 && (schema.types.get(shape.type)?.fields ?? []).some((field) => owns(schema, field.shape, depth + 1));
    default:
      return false;
  }
}

/** `moves`: places move, so that what owns something lies in a block of its own. */
function elementsOf(schema: ObjectSchema, shape: Shape, moves: boolean): Elements {
  if (shape.kind === 'text' || shape.kind === 'bytes') return { mode: 'text', shape, stride: 4 };
  if (moves && shape.kind !== 'ref' && shape.kind !== 'link' && owns(schema, shape)) return { mode: 'boxed', shape, stride: 4 };
  const align = alignOf(schema, shape);
  return { mode: 'place', shape, stride: Math.max(1, Math.ceil(shape.size / align) * align) };
}

/** One element. Returns the bytes that a log counts for it. */
function walkElement(it: CollectionImage, { mode, shape, stride }: Elements, place: Placed, position: number): number {
  if (mode === 'place') {
    it.entry(undefined, { ...place, length: shape.size, shape }, position);
    return stride;
  }
  const address = place.image.u32(place.at);
  if (mode === 'text' && address === 0) {
    it.entry(undefined, { ...place, length: 0, shape }, position);
    return stride;
  }
  const block = it.block(address, mode === 'text' ? 16 : Math.max(16, shape.size), place, 'an element', 'CollectionElement');
  if (block === undefined) return stride;
  if (mode === 'boxed') {
    it.entry(undefined, { ...block, length: shape.size, shape }, position);
    return stride + Math.max(16, shape.size);
  }
  const { image, at } = block;
  const length = image.u32(at);
  const room = it.room(block) - 4;
  if (length === 0 || length > room) {
    it.bad('CollectionElement', block, `an element says that it has ${length} bytes`, `1 to ${room}`);
    return stride;
  }
  it.entry(undefined, { image, at: at + 4, length, shape }, position);
  return stride + 4 + length;
}

/** `count` elements in a row. */
function walkRow(it: CollectionImage, elements: Elements, place: Placed, from: number, count: number): number {
  const { kind } = elements.shape;
  if ((kind === 'number' || kind === 'bigint') && it.reader.numbers === false) {
    it.entries += count;
    return count * elements.stride;
  }
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += walkElement(it, elements, { image: place.image, at: place.at + i * elements.stride }, from + i);
  return bytes;
}

// --- chunks -----------------------------------------------------------------------------------------------------------------

const CHUNK_BYTES = 65536;
/** Entries of a directory: a block of 64 MiB holds no more. */
const ROOM_MAX = 2 ** 24;

/** Visits the places of a row of chunks: those of each chunk, up to the length. */
function walkChunks(
  it: CollectionImage,
  stride: number,
  least: number,
  visit: (chunk: Placed, from: number, count: number) => void,
): number {
  const shift = Math.max(0, 31 - Math.clz32(Math.floor(CHUNK_BYTES / stride)));
  const firstShift = Math.min(shift, Math.ceil(Math.log2(Math.max(least, 16 / stride))));
  const levels = shift - firstShift + 1;
  const startOf = (k: number): number => (k === 0 ? 0 : k < levels ? 2 ** (firstShift + k - 1) : (k - levels + 1) * 2 ** shift);
  const length = it.wide(0);
  const room = it.header(12);
  const count = it.header(16);
  const directory = it.header(8);
  if (directory === 0 && room === 0 && count === 0) return length;
  if (room > ROOM_MAX || (room & (room - 1)) !== 0 || count > room) {
    it.bad('CollectionChunk', it.home, `the directory has room for ${room} chunks and counts ${count}`, 'a power of two, and no more');
    return length;
  }
  if (length > startOf(count))
    it.bad('CollectionChunk', it.home, `${count} chunks hold ${startOf(count)} places; the length is ${length}`, 'a chunk for each place');
  const table = it.block(directory, room * 4, it.home, 'the directory of the chunks', 'CollectionChunk');
  if (table === undefined) return length;
  for (let k = 0; k < room; k++) {
    const slot = { image: table.image, at: table.at + k * 4 };
    const address = table.image.u32(slot.at);
    if (k >= count) {
      if (address !== 0) it.bad('CollectionChunk', slot, `chunk ${k} is there; ${count} are counted`, '0');
      continue;
    }
    const start = startOf(k);
    const places = startOf(k + 1) - start;
    const chunk = it.block(address, Math.max(16, places * stride), slot, `chunk ${k}`, 'CollectionChunk');
    if (chunk !== undefined && length > start) visit(chunk, start, Math.min(places, length - start));
  }
  return length;
}

export function walkVec(it: CollectionImage): number {
  if (it.shape === undefined) return 0;
  const elements = elementsOf(it.schema, it.shape, true);
  return walkChunks(it, elements.stride, 8, (chunk, from, count) => walkRow(it, elements, chunk, from, count));
}

export function walkBlob(it: CollectionImage): number {
  return walkChunks(it, 1, 64, ({ image, at }, _from, count) => it.piece(image.bytes.subarray(at, at + count)));
}

// --- lists ------------------------------------------------------------------------------------------------------------------

interface Node extends Placed {
  readonly address: number;
}

/** A list can be read from both its ends: where one way breaks off, the other may lead further. */
export function walkList(it: CollectionImage): number {
  if (it.shape === undefined) return 0;
  const elements = elementsOf(it.schema, it.shape, false);
  const size = Math.max(16, 8 + elements.stride);
  const length = it.header(0);
  const { image: home, at: header } = it.home;
  const last = it.header(8);
  let end: Node | undefined;
  let address = it.header(4);
  while (address !== 0) {
    const node = it.tryBlock(address, size);
    if (node === undefined) break;
    const { image, at } = node;
    const before = end?.address ?? 0;
    if (image.u32(at) !== before)
      it.wrong('CollectionNode', image, at, before, 'a node of the list does not lead back to the one before it');
    walkElement(it, elements, { image, at: at + 8 }, it.entries);
    end = { ...node, address };
    address = image.u32(at + 4);
  }
  if (address === 0 && last === (end?.address ?? 0)) return length;
  const seen = it.entries;
  const link: Placed = end === undefined ? { image: home, at: header + 4 } : { image: end.image, at: end.at + 4 };
  const back = nodesBack(it, last, size, end?.address ?? 0);
  for (const { image, at } of back.nodes) walkElement(it, elements, { image, at: at + 8 }, it.entries);
  const [next] = back.nodes;
  if (back.whole && next !== undefined && it.entries === length)
    it.wrong('CollectionNode', link.image, link.at, next.address, 'a list breaks off here; from its end it can be read on');
  else if (address === 0 && next === undefined && seen === length)
    it.wrong('CollectionNode', home, header + 8, end?.address ?? 0, 'the list does not say where its last node is');
  else it.bad('CollectionNode', link, `a list of ${length} breaks off behind ${seen} nodes`, 'a node of the list');
  return length;
}

/** From the end back to the node `known`, 0 for the beginning; in the order of the list. */
function nodesBack(it: CollectionImage, last: number, size: number, known: number): { nodes: Node[]; whole: boolean } {
  const nodes: Node[] = [];
  let address = last;
  while (address !== 0 && address !== known) {
    const node = it.tryBlock(address, size);
    if (node === undefined) break;
    nodes.push({ ...node, address });
    address = node.image.u32(node.at);
  }
  return { nodes: nodes.reverse(), whole: address === known };
}

// --- rings ------------------------------------------------------------------------------------------------------------------

export function walkRing(it: CollectionImage, isLog = false): number {
  if (it.shape === undefined) return 0;
  const elements = elementsOf(it.schema, it.shape, false);
  const first = it.wide(0);
  const next = it.wide(8);
  if (!Number.isSafeInteger(next) || first > next) {
    it.bad('CollectionRing', it.home, `the first element has number ${first} and the next one gets ${next}`, 'no more than that');
    return 0;
  }
  const bytes = walkRingChunks(it, elements, first, next);
  if (isLog && bytes !== undefined && it.wide(24) !== bytes) {
    const { image, at } = it.home;
    it.doubtful = true;
    const mend = [
      { place: { image, at: at + 24 }, value: bytes >>> 0 },
      { place: { image, at: at + 28 }, value: Math.floor(bytes / 2 ** 32) },
    ];
    it.bad('CollectionRing', it.home, `the log counts ${it.wide(24)} bytes; its elements have ${bytes}`, String(bytes), mend);
  }
  return next - first;
}

/** Bytes of the elements; undefined where some could not be read. */
function walkRingChunks(it: CollectionImage, elements: Elements, first: number, next: number): number | undefined {
  const { stride } = elements;
  let size = 128;
  while (size > 1 && size * stride > 2048) size /= 2;
  const room = it.header(20);
  const directory = it.header(16);
  if (directory === 0 && room === 0) {
    if (first === next) return 0;
    it.bad('CollectionChunk', it.home, `there is no directory for ${next - first} elements`);
    return undefined;
  }
  const start = Math.floor(first / size);
  // The chunk of the next element may be there already.
  const end = Math.floor(next / size);
  const needed = next === first ? 0 : Math.floor((next - 1) / size) - start + 1;
  if (room === 0 || room > ROOM_MAX || (room & (room - 1)) !== 0 || needed > room) {
    it.bad('CollectionChunk', it.home, `the directory has room for ${room} chunks`, `a power of two, ${needed} at least`);
    return undefined;
  }
  const table = it.block(directory, room * 4, it.home, 'the directory of the chunks', 'CollectionChunk');
  if (table === undefined) return undefined;
  const used = new Set<number>();
  let bytes = 0;
  let whole = true;
  for (let n = start; n <= end && n - start < room; n++) {
    const slot = { image: table.image, at: table.at + (n % room) * 4 };
    used.add(n % room);
    const address = table.image.u32(slot.at);
    const from = Math.max(first, n * size);
    const count = Math.min(next, (n + 1) * size) - from;
    if (address === 0 && count === 0) continue;
    const chunk = it.block(address, Math.max(16, size * stride), slot, `chunk ${n}`, 'CollectionChunk');
    if (chunk === undefined) whole = false;
    else bytes += walkRow(it, elements, { image: chunk.image, at: chunk.at + (from - n * size) * stride }, from, count);
  }
  for (let i = 0; i < room; i++)
    if (!used.has(i) && table.image.u32(table.at + i * 4) !== 0)
      it.bad(
        'CollectionChunk',
        { image: table.image, at: table.at + i * 4 },
        `a chunk is there for numbers that have gone or have not come`,
        '0',
      );
  return whole ? bytes : undefined;
}
