/**
 * Merging two versions of a progressive object. It is done in a space of its own that is thrown away, so it depends on the two versions, the
 * one that both come from, and the code, and on nothing else: the same gives the same bytes on every node.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { parseId, type ObjectId } from '../../abi/id.ts';
import { Realm, type SentFunction } from '../../host/functions.ts';
import { MemoryHost } from '../../host/memory-host.ts';
import { applySection, sectionHead, sectionOf } from '../../kernel/sections.ts';
import { open, type Space } from '../../space.ts';
import { LIBRARY } from '../modules/library.ts';
import { membersOf } from './families.ts';
import { mergeFailed, type MergeWork } from './merge-work.ts';
import { joinSections, splitSections } from './record.ts';
import { rootHere } from './values.ts';

const DIRECTORY = '/merge';
const WINDOW_MIN = 1 << 20;
const COMPILED_MAX = 1000;

let realm: Realm | undefined;
const compiled = new Map<string, SentFunction>();

function functionOf(source: string): SentFunction {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  realm ??= new Realm(LIBRARY);
  const made = realm.compile(source, 'merge');
  if (compiled.size >= COMPILED_MAX) compiled.clear();
  compiled.set(source, made);
  return made;
}

/** Throws MergeFailed, with what the code threw. */
export function mergeVersions(work: MergeWork): Uint8Array {
  try {
    return merged(work);
  } catch (error) {
    if (isTwzError(error, 'EngineCorrupt')) throw error;
    throw mergeFailed(work.id, error);
  }
}

function merged({ id, source, mine, theirs, base }: MergeWork): Uint8Array {
  const merge = functionOf(source);
  const versions = [theirs, ...(base === undefined ? [] : [base]), mine].map(splitSections);
  let bytes = 0;
  for (const sections of versions) for (const words of sections) bytes += sectionHead(words).size;
  const host = new MemoryHost([mine, theirs], Math.max(WINDOW_MIN, 2 ** Math.ceil(Math.log2(4 * bytes + 1))));
  const space = open(DIRECTORY, { host, segmentSize: 1 << 18 });
  try {
    const [given, from] = versions.slice(0, -1).map((sections) => asAnother(space, id, sections));
    enter(space, versions.at(-1) ?? []);
    const root = rootHere(space, space.kernel.handle(id));
    space.relaxed(() => {
      const said = merge(root, given, from);
      if (typeof said === 'object' && said !== null && 'then' in said)
        throw new TwzError('CodeInvalid', 'merge code that gives a promise: a merge is a transaction');
    });
    return joinSections(membersOf(space.kernel.open(id)).map((each) => sectionOf(space.kernel.open(each))));
  } finally {
    space.close();
  }
}

function enter(space: Space, sections: readonly Int32Array[]): void {
  space.relaxed(() => {
    for (const words of sections) applySection(space.kernel, words);
  });
}

/** A version under another ID: of one ID there is one object in a space. */
function asAnother(space: Space, id: ObjectId, sections: readonly Int32Array[]): unknown {
  enter(space, sections);
  const copy = space.relaxed(() => {
    const made = space.copy(id);
    space.delete(id);
    return made;
  });
  return rootHere(space, space.kernel.handle(parseId(copy.id)));
}
