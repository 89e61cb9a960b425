/**
 * Import: other people's data becomes typed objects that refer to each other.
 *
 *   read     bytes -> records -> stored in objects, in the order in which they come; keys and references go to a sorter
 *   resolve  sorted by key: each reference meets its record; the index is written
 *   link     sorted by place: references are stored
 *   publish  one rename: /imports/.NAME.part becomes /imports/NAME
 *
 * All or nothing: until the rename nobody sees the import, and a refused, failed or killed one leaves nothing but a stage, which the
 * next import removes. It does not go on where it stopped.
 *
 * Memory does not grow with the input: a chunk, one record, the sorters' buffers, and the objects being filled.
 * import/mapping.ts tells what a mapping can say.
 */
import { TwzError } from '../abi/errors.ts';
import type { Space } from '../space.ts';
import { alone, clearStages, removeTree } from './import/alone.ts';
import { Unfit, belongs, readerOf, type Value } from './import/convert.ts';
import { CsvParser } from './import/csv.ts';
import { JsonParser } from './import/json.ts';
import { ImportRoot, ImportedCollection, ImportPart, layoutsOf, type CollectionLayout } from './import/layout.ts';
import { linkAll } from './import/link.ts';
import { parseMapping, type MappedCollection, type Mapping } from './import/mapping.ts';
import { NdjsonParser } from './import/ndjson.ts';
import { IMPORTS, ROOT_NAME } from './import/open.ts';
import type { Parser, Sink } from './import/parser.ts';
import { Scratch } from './import/scratch.ts';
import { SipHash } from './import/siphash.ts';
import { Sorter } from './import/sorter.ts';
import { ENTRY, SOURCES_MAX, Stage, type Converted, type StagePart } from './import/stage.ts';

export { openImport, type CollectionInfo, type Import, type ImportedRecord } from './import/open.ts';
export { each, listOf, refs, type ListFields } from './import/lists.ts';
export { parseMapping, type Mapping } from './import/mapping.ts';
export { removeStages } from './import/alone.ts';

export type Format = 'json' | 'ndjson' | 'csv';

export interface ImportSource {
  /** What messages call it: the name of a file. */
  readonly name: string;
  readonly format: Format;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** The one collection that all records belong to, where it is one. */
  readonly collection?: string;
  /** Bytes, where they are known: for progress. */
  readonly size?: number;
  /** CSV: see `CsvOptions`. */
  readonly delimiter?: string;
  readonly header?: readonly string[];
}

/** A record or a reference that could not be imported. */
export interface Problem {
  readonly source: string;
  readonly line: number;
  readonly reason: string;
}

export type ImportPhase = 'read' | 'resolve' | 'link';

export interface ImportOptions {
  /** A bad record: ends the import with ImportRefused, or is told to `onProblem` and left out. Default: refuse. */
  readonly onBad?: 'refuse' | 'skip';
  /** A reference to a key that no record has: ends the import, or is told and stored as null. Default: as `onBad`. */
  readonly onDangling?: 'refuse' | 'null';
  readonly onProblem?: (problem: Problem) => void;
  /** `done` and `total` are bytes while reading (`total` 0 where not known), then entries. */
  readonly progress?: (phase: ImportPhase, done: number, total: number) => void;
  /** Takes the place of an import of that name, in the same transaction. */
  readonly replace?: boolean;
  /** Size at which an object is full (default 64 MiB). */
  readonly objectBytes?: number;
  /** Bytes of the sorters' buffers (default 64 MiB). */
  readonly sortBytes?: number;
  /** Longest record that is taken (default 16 MiB). */
  readonly recordMax?: number;
}

export interface ImportReport {
  readonly name: string;
  readonly records: number;
  /** References that were stored. */
  readonly references: number;
  /** Records left out. */
  readonly skipped: number;
  /** References stored as null because nothing has their key. */
  readonly dangling: number;
  readonly bytes: number;
  readonly objects: number;
  /** Sorted runs that did not fit in memory. */
  readonly runs: number;
}

const SLICE = 256 << 10;
const NAME = /^[^/\0.][^/\0]*$/;

const stageOf = (name: string): string => `${IMPORTS}/.${name}.part`;

/**
 * Imports all sources as one set of collections under /imports/NAME. Resolves when it is published and durable. Throws ImportRefused,
 * NameExists, InvalidArgument (the mapping), and what storing throws.
 */
export async function importData(
  space: Space,
  name: string,
  mapping: unknown,
  sources: readonly ImportSource[],
  options: ImportOptions = {},
): Promise<ImportReport> {
  if (!NAME.test(name) || name.length > 200) throw new TwzError('InvalidArgument', `"${name}" cannot be the name of an import`, { name });
  if (sources.length > SOURCES_MAX) throw new TwzError('InvalidArgument', `more than ${SOURCES_MAX} sources`);
  if (options.replace !== true && space.names.lookup(`${IMPORTS}/${name}`) !== undefined)
    throw new TwzError('NameExists', `there is an import ${name} already`, { name });
  const run = new Run(space, name, mapping, sources, options);
  return alone(space, () => run.run());
}

/** Removes an import with all its objects. */
export function removeImport(space: Space, name: string): void {
  space.relaxed(() => removeTree(space, `${IMPORTS}/${name}`));
}

interface Candidate {
  readonly number: number;
  readonly collection: MappedCollection;
  readonly read: readonly ((record: unknown, name: string | undefined) => Value)[];
}

class Run {
  readonly #space: Space;
  readonly #name: string;
  readonly #raw: unknown;
  readonly #mapping: Mapping;
  readonly #layouts: readonly CollectionLayout[];
  readonly #candidates: readonly Candidate[];
  readonly #sources: readonly ImportSource[];
  readonly #options: ImportOptions;
  #batch: Converted[] = [];
  #skipped = 0;
  #bytes = 0;
  #total = 0;

  constructor(space: Space, name: string, mapping: unknown, sources: readonly ImportSource[], options: ImportOptions) {
    this.#space = space;
    this.#name = name;
    this.#raw = mapping;
    this.#mapping = parseMapping(mapping);
    this.#sources = sources;
    this.#options = options;
    this.#layouts = layoutsOf(this.#mapping);
    const { collections } = this.#mapping;
    const keyIsText = (of: string): boolean => collections.find((each) => each.name === of)?.keyIsText ?? true;
    this.#candidates = collections.map((collection, number) => ({
      number,
      collection,
      read: collection.fields.map((field) => readerOf(field, keyIsText)),
    }));
    if (sources.every(({ size }) => size !== undefined)) for (const { size } of sources) this.#total += size ?? 0;
    for (const source of sources) this.#routes(source);
  }

  async run(): Promise<ImportReport> {
    const space = this.#space;
    const { objectBytes = 64 << 20, sortBytes = 64 << 20 } = this.#options;
    const scratch = new Scratch(space.kernel.host, space.directory);
    const seed = space.kernel.random(16).slice();
    try {
      if (space.names.lookup(IMPORTS) === undefined) space.names.mkns(IMPORTS);
      clearStages(space);
      const sorter = new Sorter(scratch, { width: ENTRY.width, memory: sortBytes });
      const stage = new Stage(space, stageOf(this.#name), this.#layouts, objectBytes, new SipHash(seed), sorter);
      for (const [number, source] of this.#sources.entries()) await this.#read(stage, source, number);
      stage.full();
      const { runs } = sorter;
      const dangling = await linkAll(stage, sorter, scratch, {
        objectBytes,
        sortBytes,
        pause: () => this.#pause(),
        progress: (phase, done, total) => this.#options.progress?.(phase, done, total),
        duplicate: (reason, source, line) => this.#bad(reason, source, line),
        dangling: (reason, source, line) => this.#dangling(reason, source, line),
      });
      this.#publish(stage, seed);
      await space.syncAsync();
      return this.#report(stage, dangling, runs);
    } catch (error) {
      this.#discard();
      throw error;
    } finally {
      scratch.close();
    }
  }

  /** A stage that cannot be removed now, because the disk is full or the log failed, is removed by the next import. */
  #discard(): void {
    if (this.#space.closed) return;
    try {
      clearStages(this.#space);
    } catch (failure) {
      // What ended the import is what the caller is to see.
      if (!(failure instanceof TwzError)) throw failure;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#space.kernel.host.soon(resolve));
  }

  // --- reading ------------------------------------------------------------------------------------------------------------

  /** The places to look in, and which collections the records of each may belong to. */
  #routes(source: ImportSource): { places: (readonly string[])[]; candidates: Candidate[][] } {
    const chosen = this.#candidates.filter(({ collection }) => source.collection === undefined || collection.name === source.collection);
    if (chosen.length === 0)
      throw new TwzError('InvalidArgument', `${source.name}: the mapping has no collection "${source.collection}"`, {
        source: source.name,
      });
    const places: (readonly string[])[] = [];
    const candidates: Candidate[][] = [];
    for (const candidate of chosen) {
      const at = source.format === 'json' ? candidate.collection.at : [];
      const known = places.findIndex((place) => place.join('/') === at.join('/'));
      if (known === -1) {
        places.push(at);
        candidates.push([candidate]);
      } else candidates[known]?.push(candidate);
    }
    for (const list of candidates) {
      const [one, two] = list.filter(({ collection }) => collection.when.length === 0);
      if (one !== undefined && two !== undefined) {
        throw new TwzError(
          'InvalidArgument',
          `${source.name}: a record may belong to ${one.collection.name} or to ${two.collection.name}; tell them apart by "when", or give the source one collection`,
          { source: source.name },
        );
      }
      // What is told apart by nothing takes what is left.
      list.sort((a, b) => b.collection.when.length - a.collection.when.length);
    }
    return { places, candidates };
  }

  #parser(source: ImportSource, number: number): Parser {
    const { places, candidates } = this.#routes(source);
    const { recordMax = 16 << 20 } = this.#options;
    const sink: Sink = {
      record: (value, line, route, name) => this.#record(value, line, name, candidates[route] ?? [], number),
      bad: (reason, line) => this.#bad(reason, number, line),
    };
    switch (source.format) {
      case 'json':
        return new JsonParser(sink, recordMax, places);
      case 'ndjson':
        return new NdjsonParser(sink, recordMax);
      case 'csv':
        return new CsvParser(sink, recordMax, source);
    }
  }

  async #read(stage: Stage, source: ImportSource, number: number): Promise<void> {
    const parser = this.#parser(source, number);
    let slices = 0;
    try {
      for await (const chunk of source.chunks) {
        for (let at = 0; at < chunk.length; at += SLICE) {
          const slice = chunk.subarray(at, at + SLICE);
          parser.push(slice);
          this.#store(stage);
          this.#bytes += slice.length;
          this.#options.progress?.('read', this.#bytes, this.#total);
          // A source that is there at once never lets the event loop turn by itself, and checkpoints wait for that.
          if ((++slices & 3) === 0) await this.#pause();
        }
      }
      parser.end();
    } catch (error) {
      throw error instanceof TwzError && error.name === 'ImportRefused' && error.context['source'] === undefined
        ? new TwzError('ImportRefused', `${source.name}, ${error.message}`, { ...error.context, source: source.name }, error)
        : error;
    }
    this.#store(stage);
  }

  #store(stage: Stage): void {
    stage.store(this.#batch);
    this.#batch = [];
    stage.cool();
  }

  #record(value: unknown, line: number, name: string | undefined, candidates: readonly Candidate[], source: number): void {
    const candidate = candidates.find(({ collection }) => belongs(collection, value));
    if (candidate === undefined) {
      this.#bad('it belongs to no collection', source, line);
      return;
    }
    try {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw new Unfit(`expected an object with fields, found ${JSON.stringify(value)?.slice(0, 40)}`);
      this.#batch.push({ collection: candidate.number, values: candidate.read.map((read) => read(value, name)), source, line });
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      this.#bad(error.message, source, line);
    }
  }

  // --- problems -----------------------------------------------------------------------------------------------------------

  #tell(reason: string, source: number, line: number, refuse: boolean): void {
    const name = this.#sources[source]?.name ?? '';
    if (refuse) throw new TwzError('ImportRefused', `${name}, line ${line}: ${reason}`, { source: name, line });
    this.#options.onProblem?.({ source: name, line, reason });
  }

  #bad(reason: string, source: number, line: number): void {
    this.#tell(reason, source, line, this.#options.onBad !== 'skip');
    this.#skipped++;
  }

  #dangling(reason: string, source: number, line: number): void {
    const { onBad, onDangling = onBad === 'skip' ? 'null' : 'refuse' } = this.#options;
    this.#tell(reason, source, line, onDangling === 'refuse');
  }

  // --- the end ------------------------------------------------------------------------------------------------------------

  /** The root object, and the rename that makes all of it visible. */
  #publish(stage: Stage, seed: Uint8Array): void {
    const space = this.#space;
    const { path, layouts } = stage;
    space.relaxed(() => {
      const root = space.create(ImportRoot, { mapping: JSON.stringify(this.#raw), seed });
      for (const [number, { collection }] of [...layouts.entries()].reverse()) {
        const stored = space.make(ImportedCollection, root, {
          name: collection.name,
          count: stage.records(number),
          references: stage.references(number),
          next: root.collections,
        });
        for (const part of stage.parts.toReversed()) if (part.collection === number) this.#part(stored, part);
        root.collections = stored;
      }
      space.names.set(`${path}/${ROOT_NAME}`, root, { owns: true });
      const to = `${IMPORTS}/${this.#name}`;
      if (this.#options.replace === true && space.names.lookup(to) !== undefined) space.names.remove(to, { recursive: true });
      space.names.rename(path, to);
    });
  }

  #part(stored: ImportedCollection, { handle, purpose, count, high, low }: StagePart): void {
    const part = this.#space.make(ImportPart, stored, { object: this.#space.object(handle.id), count, high, low });
    if (purpose === 'data') {
      part.next = stored.parts;
      stored.parts = part;
    } else {
      part.next = stored.index;
      stored.index = part;
    }
  }

  #report(stage: Stage, dangling: number, runs: number): ImportReport {
    let records = 0;
    let references = 0;
    for (const [number] of stage.layouts.entries()) {
      records += stage.records(number);
      references += stage.references(number);
    }
    return {
      name: this.#name,
      records,
      references,
      skipped: this.#skipped,
      dangling,
      bytes: this.#bytes,
      objects: stage.parts.length + 1,
      runs,
    };
  }
}
