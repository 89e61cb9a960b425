/** Long texts as the checker sees them: a tree of leaves counted by code units, by the layout at the head of lib/collections/text-tree.ts. */
import type { CollectionImage, Placed } from './collection-image.ts';

const LEAF = 8;
const NODE = 8;
const FAN = 127;
const HEIGHT_MAX = 16;

interface Miscount {
  readonly place: Placed;
  readonly units: number;
}

/** Returns the length that the header says. */
export function walkText(it: CollectionImage): number {
  const root = it.header(4);
  const height = it.header(8);
  const length = it.header(0);
  if (height > HEIGHT_MAX) it.bad('CollectionText', it.home, `a text has ${height} levels`, `at most ${HEIGHT_MAX}`);
  else if (root !== 0) {
    const wrong: Miscount[] = [];
    const sum = walkBelow(it, root, it.home, height, wrong);
    for (const { place, units } of wrong) {
      const { image, at } = place;
      const message = `a node of a text counts ${image.u32(at)} code units below a child; there are ${units}`;
      // If the whole length is another one, too, it may be the leaf that is wrong.
      if (sum === length) it.wrong('CollectionText', image, at, units, message);
      else it.bad('CollectionText', place, message, String(units));
    }
  }
  return length;
}

/** Code units below a node; -1 where some could not be read. */
function walkBelow(it: CollectionImage, address: number, from: Placed, level: number, wrong: Miscount[]): number {
  if (level === 0) return walkLeaf(it, address, from);
  const node = it.block(address, NODE + FAN * 8, from, 'a node of the text', 'CollectionText');
  if (node === undefined) return -1;
  const { image, at } = node;
  const count = image.u32(at);
  if (count === 0 || count > FAN) {
    it.bad('CollectionText', node, `a node of a text has ${count} children`, `1 to ${FAN}`);
    return -1;
  }
  let sum = 0;
  let whole = true;
  for (let i = 0; i < count; i++) {
    const child = { image, at: at + NODE + i * 8 };
    const units = walkBelow(it, image.u32(child.at), child, level - 1, wrong);
    if (units < 0) whole = false;
    else if (units !== image.u32(child.at + 4)) wrong.push({ place: { image, at: child.at + 4 }, units });
    sum += units;
  }
  return whole ? sum : -1;
}

function walkLeaf(it: CollectionImage, address: number, from: Placed): number {
  const leaf = it.block(address, 64, from, 'a leaf of the text', 'CollectionText');
  if (leaf === undefined) return -1;
  const { image, at } = leaf;
  const units = image.u16(at);
  const width = image.u16(at + 2);
  const room = image.u32(at + 4);
  if (units === 0 || (width !== 1 && width !== 2) || units * width > room || room + LEAF > it.room(leaf)) {
    it.bad('CollectionText', leaf, `a leaf of a text has ${units} code units of ${width} bytes in ${room}`, 'one at least, that fit');
    return -1;
  }
  const text = String.fromCharCode(...Array.from({ length: units }, (_, i) => unitAt(leaf, i, width)));
  if (/\p{Surrogate}/u.test(text)) it.bad('CollectionText', leaf, 'a leaf of a text has half of a surrogate pair', 'both halves');
  it.piece(text);
  return units;
}

function unitAt({ image, at }: Placed, i: number, width: number): number {
  return width === 1 ? (image.bytes[at + LEAF + i] ?? 0) : image.u16(at + LEAF + i * 2);
}
