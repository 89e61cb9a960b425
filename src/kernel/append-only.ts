/**
 * Append-only objects: what a transaction has committed to one never changes. The content is a log (lib/collections); judged is what its
 * lines say at commit, whoever stored to them.
 *
 * May change, besides the metadata page and the tables of pages and of references:
 *   memory that was not in use              what comes
 *   the block of the last element, past it  META.tail says where that ends
 *   the directory, where it was zero        META.row
 *   the header of the log                   but not the number of the first element; those of the next and of the bytes only grow
 *   the table of the pool's objects         their counts
 *   the list of appends of other nodes      META.ledger
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, LINE_WORDS, META, PAGE, PAGE_KIND, PAGE_MAP, SIZE_CLASSES } from '../abi/format.ts';
import type { Handle } from './object.ts';

const PAGE_WORDS = PAGE / 4;
const CLASS_ENTRY = 16;
const WORD = 2 ** 32;
/** The header of a log (docs/formats/sequences.md), in words: what may not change, what only grows, where its pool has its table. */
const LOG = { first: 0, next: 2, bytes: 6, table: 10, words: 16 } as const;

interface Block {
  readonly at: number;
  readonly size: number;
}

/** An object as it was when the running transaction began. */
class Before {
  readonly #h: Handle;
  readonly #undo = new Map<number, number>();
  readonly #pages: number;

  constructor(h: Handle) {
    this.#h = h;
    this.#pages = h.sizeBefore / PAGE;
    for (let i = 0; i < h.count; i++) this.#undo.set(h.lines[i] as number, i * LINE_WORDS);
  }

  u32(at: number): number {
    const word = at >>> 2;
    const undo = this.#undo.get(Math.floor(word / LINE_WORDS));
    return (undo === undefined ? (this.#h.words[word] as number) : (this.#h.undo[undo + (word % LINE_WORDS)] as number)) >>> 0;
  }

  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * WORD;
  }

  #u16(at: number): number {
    return (this.u32(at & ~3) >>> ((at & 2) * 8)) & 0xffff;
  }

  pageEntry(page: number): number {
    if (page >= this.#pages) return PAGE_KIND.free;
    if (page < PAGE_MAP.embedded) return this.#u16(META.pageMap + page * 2);
    const q = page - PAGE_MAP.embedded;
    const k = 31 - Math.clz32(q / PAGE_MAP.chunk0 + 1);
    const chunk = this.u32(META.pageChunks + k * 4);
    return chunk === 0 ? PAGE_KIND.free : this.#u16(chunk * PAGE + (q - PAGE_MAP.chunk0 * (2 ** k - 1)) * 2);
  }

  /** The block in use that a place lay in; undefined where it was in none, or in a table. */
  block(at: number): Block | undefined {
    let page = at >>> 12;
    const entry = this.pageEntry(page);
    switch (entry & 15) {
      case PAGE_KIND.span: {
        const size = SIZE_CLASSES[entry >>> 4] ?? PAGE;
        const start = at - ((at & (PAGE - 1)) % size);
        const bump = this.u32(META.classes + (entry >>> 4) * CLASS_ENTRY + 4);
        const end = this.u32(META.classes + (entry >>> 4) * CLASS_ENTRY + 8);
        return start >= bump && start < end ? undefined : { at: start, size };
      }
      case PAGE_KIND.largeHead:
      case PAGE_KIND.largeRest: {
        while ((this.pageEntry(page) & 15) === PAGE_KIND.largeRest) page--;
        let end = page + 1;
        while ((this.pageEntry(end) & 15) === PAGE_KIND.largeRest) end++;
        return { at: page * PAGE, size: (end - page) * PAGE };
      }
      default:
        return undefined;
    }
  }
}

function inside(at: number, block: Block | undefined): boolean {
  return block !== undefined && at >= block.at && at < block.at + block.size;
}

/** Throws AppendOnly where the running transaction has stored to what was there before. */
export function demandAppended(h: Handle): void {
  const before = new Before(h);
  // What another node owns is as it is there, and was judged there.
  if (((before.u32(META.flags) | (h.words[META.flags >> 2] as number)) & FLAG.replica) !== 0) return;
  const refused = (at: number): TwzError =>
    new TwzError('AppendOnly', `object ${h.id} at offset ${at}: what was appended does not change`, { id: h.id, at });
  if (h.former !== undefined || h.size < h.sizeBefore) throw refused(h.size);
  const root = before.u32(META.root);
  const [tail, row, ledger] = [before.u32(META.tail), before.u32(META.row), before.u32(META.ledger)];
  const open = tail === 0 ? undefined : before.block(tail - 1);
  const directory = row === 0 ? undefined : before.block(row);
  const appends = ledger === 0 ? undefined : before.block(ledger);
  const header = root === 0 ? undefined : { at: root, size: LOG.words * 4 };
  const table = root === 0 ? 0 : before.u32(root + LOG.table * 4);
  const members = table === 0 ? undefined : before.block(table);
  for (let i = 0; i < h.count; i++) {
    const first = (h.lines[i] as number) * LINE_WORDS;
    if (first < PAGE_WORDS) continue;
    for (let n = 0; n < LINE_WORDS; n++) {
      const old = h.undo[i * LINE_WORDS + n] as number;
      if (old === h.words[first + n]) continue;
      const at = (first + n) * 4;
      if (inside(at, header) || (inside(at, directory) && old === 0) || (inside(at, open) && at >= tail)) continue;
      if (inside(at, appends) || inside(at, members) || before.block(at) === undefined) continue;
      // A place that ends within a word.
      if (inside(at, open) && at + 4 > tail && sameBefore(old, h.words[first + n] as number, tail - at)) continue;
      throw refused(at);
    }
  }
  if (header === undefined) return;
  const now = (word: number): number => (h.words[(root >> 2) + word] as number) >>> 0;
  const wide = (word: number): number => now(word) + now(word + 1) * WORD;
  const was = (word: number): number => before.u64(root + word * 4);
  if (wide(LOG.first) !== was(LOG.first) || wide(LOG.next) < was(LOG.next) || wide(LOG.bytes) < was(LOG.bytes)) throw refused(root);
}

/** Are the first bytes of a word what they were? */
function sameBefore(old: number, now: number, bytes: number): boolean {
  return ((old ^ now) & (2 ** (8 * bytes) - 1)) === 0;
}
