/** T16: Blob and TextDocument, against plain bytes and strings. Seed and path are printed when a run fails; FC_SEED replays one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { blob, objectOf, struct, textDocument, vec, type Blob, type Taken, type TextDocument } from '../src/index.ts';
import { anyCharacter } from './any-character.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { hold, SEED, type Subject } from './sequences.ts';
import { amount } from './thorough.ts';

// --- Blob -------------------------------------------------------------------------------------------------------------------

type BlobStep =
  | { readonly kind: 'append'; readonly length: number; readonly fill: number }
  | { readonly kind: 'write'; readonly at: number; readonly length: number; readonly fill: number }
  | { readonly kind: 'truncate' | 'refused' | 'read'; readonly at: number }
  | { readonly kind: 'clear' | 'assign' };

/** Bytes that tell where they are from. */
function bytesOf(length: number, fill: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = fill + i * 7;
  return bytes;
}
const lengths = fc.oneof(
  { weight: 4, arbitrary: fc.nat(200) },
  { weight: 2, arbitrary: fc.nat(20_000) },
  { weight: 1, arbitrary: fc.nat(150_000) },
);

interface Bytes {
  bytes: Uint8Array;
}

const blobs: Subject<Blob, Uint8Array | Blob, Bytes, BlobStep> = {
  name: 'Blob',
  type: blob,
  nothing: new Uint8Array(0),
  empty: () => ({ bytes: new Uint8Array(0) }),
  clone: ({ bytes }) => ({ bytes: bytes.slice() }),
  step: fc.oneof<fc.MaybeWeightedArbitrary<BlobStep>[]>(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('append' as const), length: lengths, fill: fc.nat(255) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), at: fc.nat(), length: lengths, fill: fc.nat(255) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('truncate' as const, 'refused', 'read'), at: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('clear' as const, 'assign') }) },
  ),
  show: (collection) => Buffer.from(collection.read()).toString('latin1'),
  expect: ({ bytes }) => Buffer.from(bytes).toString('latin1'),
  apply(step, collection, model) {
    const { length } = model.bytes;
    const at = 'at' in step ? step.at % (length + 1) : 0;
    switch (step.kind) {
      case 'append': {
        const added = bytesOf(length > 400_000 ? 1 : step.length, step.fill);
        assert.equal(collection.append(added), length + added.length);
        model.bytes = Uint8Array.from(Buffer.concat([model.bytes, added]));
        break;
      }
      case 'write': {
        const written = bytesOf(length > 400_000 ? 1 : step.length, step.fill);
        collection.write(at, written);
        const after = new Uint8Array(Math.max(length, at + written.length));
        after.set(model.bytes);
        after.set(written, at);
        model.bytes = after;
        break;
      }
      case 'truncate':
        collection.truncate(at);
        model.bytes = model.bytes.slice(0, at);
        break;
      case 'read': {
        assert.deepEqual(collection.read(at, 70_000), model.bytes.slice(at, at + 70_000));
        assert.deepEqual(collection.slice(-9, -2), model.bytes.slice(-9, -2));
        const some = new Uint8Array(300);
        assert.equal(collection.readInto(some, at), Math.min(300, length - at));
        assert.deepEqual(some.subarray(0, Math.min(300, length - at)), model.bytes.slice(at, at + 300));
        const pieces = [...collection.chunks(at)];
        assert.deepEqual(Buffer.concat(pieces), Buffer.from(model.bytes.subarray(at)));
        break;
      }
      case 'refused':
        fails('OutOfRange', () => collection.write(length + 1, new Uint8Array(1)));
        fails('OutOfRange', () => collection.read(-1));
        fails('OutOfRange', () => collection.truncate(0.5));
        fails('ValueMismatch', () => collection.append('text' as never));
        break;
      case 'clear':
        collection.clear();
        model.bytes = new Uint8Array(0);
        break;
      case 'assign': {
        const accessor = collection as Blob & { $assign(content: unknown): void };
        accessor.$assign(collection);
        accessor.$assign(model.bytes.slice(length >>> 1));
        model.bytes = model.bytes.slice(length >>> 1);
        break;
      }
    }
    assert.equal(collection.size, model.bytes.length);
  },
};

test(`T16: a Blob is the bytes that the model says; seed ${SEED}`, (t) => {
  t.diagnostic(`up to ${hold(blobs, amount(5, 12))} objects`);
});

// --- TextDocument -----------------------------------------------------------------------------------------------------------

type TextStep =
  | { readonly kind: 'insert'; readonly at: number; readonly text: string; readonly times: number }
  | { readonly kind: 'delete' | 'replace'; readonly at: number; readonly length: number; readonly text: string }
  | { readonly kind: 'append'; readonly text: string; readonly times: number }
  | { readonly kind: 'read' | 'refused'; readonly at: number; readonly text: string }
  | { readonly kind: 'clear' | 'assign' };

const words = fc.oneof(
  { weight: 3, arbitrary: fc.string({ maxLength: 30 }) },
  { weight: 1, arbitrary: fc.string({ unit: anyCharacter, maxLength: 30 }) },
  { weight: 1, arbitrary: fc.constantFrom('ß', 'line\n', '\r\n', '🌍', '水', 'a\n\nb') },
);
const times = fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(400) });

interface Written {
  text: string;
}

/** The next position at or before this one that is not within a pair. */
function whole(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  return at > 0 && at < text.length && unit >= 0xd800 && unit < 0xdc00 ? at - 1 : at;
}

const texts: Subject<TextDocument, string | TextDocument, Written, TextStep> = {
  name: 'TextDocument',
  type: textDocument,
  nothing: '',
  empty: () => ({ text: '' }),
  clone: ({ text }) => ({ text }),
  step: fc.oneof<fc.MaybeWeightedArbitrary<TextStep>[]>(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), text: words, times }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constantFrom('delete' as const, 'replace'), at: fc.nat(), length: lengths, text: words }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('append' as const), text: words, times }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('read' as const, 'refused'), at: fc.nat(), text: words }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('clear' as const, 'assign', 'assign') }) },
  ),
  show: (collection) => collection.toString(),
  expect: ({ text }) => text,
  apply(step, collection, model) {
    const { text } = model;
    const at = 'at' in step ? whole(text, step.at % (text.length + 1)) : 0;
    const many = text.length > 60_000 ? 1 : 'times' in step ? step.times : 1;
    switch (step.kind) {
      case 'insert':
        collection.insert(at, step.text.repeat(many));
        model.text = text.slice(0, at) + step.text.repeat(many) + text.slice(at);
        break;
      case 'append':
        collection.append(step.text.repeat(many));
        model.text += step.text.repeat(many);
        break;
      case 'delete':
      case 'replace': {
        const length = whole(text, Math.min(text.length, at + step.length)) - at;
        if (step.kind === 'delete') collection.delete(at, length);
        else collection.replace(at, length, step.text);
        model.text = text.slice(0, at) + (step.kind === 'delete' ? '' : step.text) + text.slice(at + length);
        break;
      }
      case 'read': {
        assert.equal(collection.slice(at, at + 3000), text.slice(at, at + 3000));
        assert.equal(collection.slice(-50, -3), text.slice(-50, -3));
        assert.equal(collection.at(at), text.at(at));
        assert.equal(collection.charCodeAt(at), text.charCodeAt(at));
        assert.equal(collection.codePointAt(at), text.codePointAt(at));
        assert.equal(collection.indexOf(step.text, at), text.indexOf(step.text, at));
        const sought = text.slice(at, at + 2500);
        assert.equal(collection.indexOf(sought), text.indexOf(sought));
        assert.equal(collection.includes('no such text'), false);
        const lines = text.split(/\r?\n/);
        assert.deepEqual([...collection.lines()], lines.at(-1) === '' ? lines.slice(0, -1) : lines);
        assert.deepEqual([...collection], Array.from(text));
        break;
      }
      case 'refused':
        fails('OutOfRange', () => collection.insert(text.length + 1, 'x'));
        fails('OutOfRange', () => collection.delete(0.5, 1));
        fails('ValueMismatch', () => collection.insert(at, `${step.text}\ud800`));
        fails('ValueMismatch', () => collection.replace(0, at, 5 as never));
        if ((text.codePointAt(at) ?? 0) > 0xffff) {
          fails('OutOfRange', () => collection.insert(at + 1, 'x'));
          fails('OutOfRange', () => collection.delete(at, 1));
          fails('OutOfRange', () => collection.replace(at + 1, 1, 'x'));
        }
        break;
      case 'clear':
        collection.clear();
        model.text = '';
        break;
      case 'assign': {
        const accessor = collection as TextDocument & { $assign(content: unknown): void };
        accessor.$assign(collection);
        model.text = text.slice(whole(text, text.length >>> 2));
        accessor.$assign(model.text);
        break;
      }
    }
    assert.equal(collection.length, model.text.length);
  },
};

test(`T16: a TextDocument is the string that the model says; seed ${SEED}`, (t) => {
  t.diagnostic(`up to ${hold(texts, amount(9, 25))} objects`);
});

test('T16: an edit in the middle of a long text touches little, and the tree shrinks with it', (t) => {
  const space = new Ground('simulated', t).open({ segmentSize: 1 << 22 });
  const page = 'The quick brown fox jumps over the lazy dog. '.repeat(50);
  const document = space.relaxed(() => space.create(textDocument, page.repeat(1000)));
  const { length } = document;
  assert.equal(length, page.length * 1000);
  const { blocks, bytes } = document.usage();
  assert.ok(space.object(document).size + bytes < length * 1.25, `${blocks} blocks`);
  const before = space.stat().log.end;
  space.relaxed(() => document.insert(length >>> 1, 'HERE'));
  assert.ok(space.stat().log.end - before < 8192, `${space.stat().log.end - before} bytes of log`);
  assert.equal(document.indexOf('HERE'), length >>> 1);
  space.relaxed(() => document.delete(10, document.length - 20));
  assert.equal(document.toString(), `${page.slice(0, 10)}${page.slice(-10)}`);
  assert.ok(document.usage().blocks <= 2, `${document.usage().blocks} blocks`);
});

// --- streams ----------------------------------------------------------------------------------------------------------------

async function* slowly<T>(pieces: Iterable<T>): AsyncGenerator<T> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

onHosts('T16: streams go into Blobs and TextDocuments, and come out of them', async (ground) => {
  let space = ground.open();
  const Page = struct('Page', { picture: blob, text: textDocument });
  const page = space.relaxed(() => space.create(Page, { picture: Uint8Array.of(1), text: 'A' }));
  const picture = bytesOf(300_000, 1);
  assert.equal(await page.picture.writeFrom(slowly([picture.subarray(0, 100_000), picture.subarray(100_000)]), space), 300_000);
  const text = `${'zß水🌍\n'.repeat(20_000)}end`;
  const utf8 = new TextEncoder().encode(text);
  const cut = Array.from({ length: 100 }, (_, i) => utf8.subarray((i * utf8.length) / 100, ((i + 1) * utf8.length) / 100));
  assert.equal(await page.text.writeFrom(slowly(cut), space), text.length);
  assert.equal(await page.text.writeFrom(['\ud83c', '\udf0d'], space), 2);
  const { id } = objectOf(page);
  space = ground.afterDeath(space);
  const found = space.get(id, Page);
  const pieces: Uint8Array[] = [];
  for await (const piece of found.picture.readable(1)) pieces.push(piece);
  assert.deepEqual(Buffer.concat(pieces), Buffer.from(picture));
  pieces.length = 0;
  for await (const piece of found.text.readable()) pieces.push(piece);
  assert.equal(Buffer.concat(pieces).toString(), `A${text}🌍`);
  // One that fails leaves what came before.
  await assert.rejects(found.picture.writeFrom(slowly([bytesOf(10, 1), 'x' as never]), space), { name: 'ValueMismatch' });
  assert.equal(found.picture.size, 300_011);
  await assert.rejects(found.text.writeFrom(['x', '\ud83c'], space), { name: 'ValueMismatch' });
  assert.equal(found.text.at(-1), 'x');
});

test('T11, T16: Blobs and TextDocuments stand in other collections, and have exact types', (t) => {
  const space = new Ground('simulated', t).open();
  const Note = struct('Note', { body: textDocument, file: blob });
  const notes = space.relaxed(() => space.create(vec(Note), [{ body: 'one', file: Uint8Array.of(1, 2) }]));
  assert.equal(inspect(notes.get(0)), "Note { body: TextDocument(3) 'one', file: Blob(2) }");
  const taken: Taken<ReturnType<(typeof notes)['get']>> | undefined = space.relaxed(() => notes.pop());
  const body: string | undefined = taken?.body;
  const file: Uint8Array | undefined = taken?.file;
  assert.deepEqual([body, file], ['one', Uint8Array.of(1, 2)]);
  // @ts-expect-error: no number
  fails('ValueMismatch', () => space.relaxed(() => notes.push({ body: 5 })));
  fails('NotInTransaction', () => space.get(objectOf(notes).id, vec(Note)).push({}));
});
