/**
 * Bytes in pieces under their family, the epoch of who puts them, and the hashes of them: what is known by its hash is not sent again, and what
 * comes is checked against it. Each family has its own, though they be the same: so they go with it, and nobody has to count who else has them.
 * So have the epochs: who drops what its log needs no more takes nothing from an owner that came after it, however late that is done.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { left, type Core } from './core.ts';
import { toHex } from './record.ts';
import { isRecord } from './messages.ts';

/** Bytes of a piece. */
export const PIECE = 256 << 10;
/** Pieces that are under way at a time. */
const WINDOW = 8;

interface Piece {
  readonly hash: string;
  readonly bytes: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export async function inWindows<T>(items: readonly T[], window: number, body: (item: T, i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const i = next++;
      await body(items[i] as T, i);
    }
  };
  await Promise.all(Array.from({ length: Math.min(window, items.length) }, work));
}

/** Under what the chunks of a family are that an owner puts. */
export function chunksOf({ id, epoch }: { readonly id: ObjectId; readonly epoch: number }): string {
  return `${id}.${epoch}`;
}

/** Names of those that a list stands for. */
export function chunkNames(root: string, list: Uint8Array): string[] {
  return piecesIn(list).map(({ hash }) => `${root}.${hash}`);
}

/** Puts them into the engine below `root`; gives the list of the pieces, as bytes. */
export async function putInChunks(core: Core, root: string, bytes: Uint8Array, deadline: number): Promise<Uint8Array> {
  const { host } = core.space.kernel;
  const pieces: { readonly hash: string; readonly part: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; at += PIECE) {
    const part = bytes.subarray(at, at + PIECE);
    pieces.push({ hash: toHex(host.sha256(part)), part });
  }
  await inWindows(pieces, WINDOW, ({ hash, part }) =>
    core.engine.putChunk(`${root}.${hash}`, part, left(core, deadline, 'putting chunks')),
  );
  return encoder.encode(JSON.stringify(pieces.map(({ hash, part }): Piece => ({ hash, bytes: part.length }))));
}

function piecesIn(list: Uint8Array): Piece[] {
  const wrong = (): TwzError => new TwzError('EngineCorrupt', 'a list of chunks is none');
  let parsed: unknown;
  try {
    parsed = JSON.parse(decoder.decode(list));
  } catch {
    throw wrong();
  }
  if (!Array.isArray(parsed)) throw wrong();
  return parsed.map((each: unknown) => {
    if (!isRecord(each) || typeof each['hash'] !== 'string' || typeof each['bytes'] !== 'number') throw wrong();
    return { hash: each['hash'], bytes: each['bytes'] };
  });
}

/** What such a list stands for. Throws EngineCorrupt where a chunk is gone or not what its hash says. */
export async function getFromChunks(core: Core, root: string, list: Uint8Array, deadline: number): Promise<Uint8Array> {
  const pieces = piecesIn(list);
  const { host } = core.space.kernel;
  const starts: number[] = [];
  let length = 0;
  for (const { bytes } of pieces) {
    starts.push(length);
    length += bytes;
  }
  const all = new Uint8Array(length);
  await inWindows(pieces, WINDOW, async ({ hash, bytes }, i) => {
    const part = await core.engine.getChunk(`${root}.${hash}`, left(core, deadline, 'getting chunks'));
    if (part === undefined || part.length !== bytes || toHex(host.sha256(part)) !== hash)
      throw new TwzError('EngineCorrupt', `chunk ${hash} is ${part === undefined ? 'gone' : 'not what its hash says'}`, { hash });
    all.set(part, starts[i] ?? 0);
  });
  return all;
}
