/** P5, P3: mobile code: signed modules run with the caller's space, bounded, and whatever they do is contained and reported. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  Obj,
  isTwzError,
  struct,
  text,
  u32,
  type Infer,
  type ObjectId,
  type RunOptions,
  type SignedModule,
  type SigningKey,
  type Space,
} from '../src/index.ts';
import { ModuleRepr } from '../src/services/modules/signed.ts';
import { Ground, fails, rejects } from './hosts.ts';

const Count = struct('ModuleCount', { n: u32, note: text });
const TYPES = `import { struct, text, u32 } from 'twizzler'; const Count = struct('ModuleCount', { n: u32, note: text });`;

interface Scene {
  readonly space: Space;
  readonly key: SigningKey;
  readonly count: Infer<typeof Count>;
  readonly publish: (source: string, language?: 'typescript' | 'javascript') => ObjectId;
  readonly run: (module: ObjectId, options?: Partial<RunOptions>) => Promise<unknown>;
}

function scene(t: TestContext): Scene {
  const space = new Ground('linux', t).open();
  const key = space.security.createKey();
  return {
    space,
    key,
    count: space.relaxed(() => space.create(Count, { n: 5, note: 'as it was' })),
    publish: (source, language = 'typescript') =>
      space.relaxed(() => space.modules.publish(space.modules.sign(source, key, { name: 'trial', language }))),
    run: (module, options) => space.modules.run(module, { trust: [key.id], ...options }),
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

test('P5 a signed module in TypeScript gets references and values, changes what they lead to, and gives references and values', async (t) => {
  const { space, count, publish, run } = scene(t);
  const source = `${TYPES}
    interface Space { relaxed<T>(body: () => T): T; create(type: unknown, init: unknown): object; get(id: string, type: unknown): { n: number } }
    export function main(space: Space, object: { id: string; root(type: unknown): { n: number } }, by: number, how: { bytes: Uint8Array }): unknown {
      const count = object.root(Count);
      const made = space.relaxed(() => { count.n += by; return space.create(Count, { n: count.n, note: 'made there' }); });
      return { count, made, sum: how.bytes.reduce((a, b) => a + b, 0), list: [1n, null, undefined, 'é', new Uint8Array([7])], same: space.get(object.id, Count).n };
    }`;
  const module = publish(source);
  assert.equal(publish(source), module, 'the same module is the same object');
  assert.equal(space.object(module).kind, 'immutable');
  const gave = await run(module, {
    arguments: [count, 3, { bytes: new Uint8Array([1, 2, 3]) }],
  });
  assert.equal(count.n, 8);
  assert.ok(isRecord(gave) && gave['count'] instanceof Obj && gave['made'] instanceof Obj);
  assert.equal(gave['count'].id, space.object(count).id);
  assert.deepEqual([gave['made'].root(Count).n, gave['made'].root(Count).note], [8, 'made there']);
  assert.deepEqual([gave['sum'], gave['same']], [6, 8]);
  assert.deepEqual(gave['list'], [1n, null, undefined, 'é', new Uint8Array([7])]);
});

test('P3 a module runs only as its key signed it, for who trusts that key', async (t) => {
  const { space, key, publish, run } = scene(t);
  const other = space.security.createKey();
  const good = publish('export const main = () => 42;', 'javascript');
  assert.equal(await run(good), 42);
  await rejects('ModuleUntrusted', run(good, { trust: [] }));
  await rejects('ModuleUntrusted', run(good, { trust: [other.id, good] }));
  await rejects('InvalidArgument', run(good, { trust: ['somebody' as ObjectId] }));
  await rejects('ObjectMissing', run('00000000000000000000000000000001' as ObjectId));

  const signed = space.modules.sign('export const main = () => 1;', key, { name: 'trial' });
  const flipped = Uint8Array.from(signed.signature, (byte, i) => (i === 20 ? byte ^ 1 : byte));
  const forgeries: readonly SignedModule[] = [
    { ...signed, source: signed.source.replace('1', '2') },
    { ...signed, name: 'trail' },
    { ...signed, language: 'javascript' },
    { ...signed, key: other.id },
    { ...signed, signature: flipped },
    { ...signed, signature: new Uint8Array(0) },
    { ...signed, key: good },
    { ...signed, key: '00000000000000000000000000000009' as ObjectId },
  ];
  for (const forged of forgeries) {
    fails('ModuleForged', () => space.relaxed(() => space.modules.publish(forged)));
    // Whoever may write the space can store it all the same. It is judged where it is run.
    const named = space.has(forged.key) ? space.object(forged.key) : null;
    const id = space.relaxed(() => space.seal(space.create(ModuleRepr, { ...forged, key: named, format: 1 }, { kind: 'volatile' })));
    await rejects('ModuleForged', run(id, { trust: [key.id, other.id, forged.key] }));
  }
  const stored = (format: number, kind: 'owned' | 'volatile'): ObjectId =>
    space.relaxed(() => {
      const made = space.create(ModuleRepr, { ...signed, key: space.object(key.id), format }, { kind });
      return kind === 'volatile' ? space.seal(made) : space.object(made).id;
    });
  assert.equal(await run(stored(1, 'volatile')), 1);
  await rejects('ModuleVersion', run(stored(2, 'volatile')));
  await rejects('ModuleForged', run(stored(1, 'owned')));
});

test('P3 what is signed is judged first', (t) => {
  const { space, key } = scene(t);
  fails('InvalidArgument', () => space.modules.sign('\ud800', key));
  fails('InvalidArgument', () => space.modules.sign('1', key, { name: 'a b' }));
  fails('InvalidArgument', () => space.modules.sign('x'.repeat((4 << 20) + 1), key));
});

/** Programs that mean no good, each with the error that the caller gets. All are given the count as their argument. */
const HOSTILE: readonly (readonly [what: string, body: string, error: string, says: RegExp])[] = [
  ['loops in a transaction', 'space.relaxed(() => { object.root(Count).n = 666; for (;;); });', 'ModuleTimeout', /200 ms/],
  ['loops in promises', 'const again = () => Promise.resolve().then(again); return again();', 'ModuleTimeout', /200 ms/],
  ['fills the heap', 'const all = []; for (;;) all.push(new Array(1000).fill(7));', 'ModuleMemory', /heap/],
  ['fills buffers', 'const all = []; for (;;) all.push(new Uint8Array(1 << 24).fill(1));', 'ModuleMemory', /beside/],
  ['never ends', 'return new Promise(() => {});', 'ModuleFailed', /ended with code/],
  ['feigns the caller', "throw new TwzError('ModuleUntrusted', 'so they say');", 'ModuleFailed', /so they say/],
  ['gives too much', "return 'x'.repeat(9e6);", 'ModuleValue', /bytes/],
];

/** What must be refused where it is tried, by the name of the error there. */
const REFUSED: readonly (readonly [body: string, name: string])[] = [
  ['const deeper = () => deeper() + 1; return deeper();', 'RangeError'],
  ["space.relaxed(() => { object.root(Count).n = 666; throw new Error('no'); });", 'Error'],
  ["return space.get(space.lookup('/closed'), Count).n;", 'ObjectForbidden'],
  ["return object.root(struct('Other', { x: u32 })).x;", 'TypeMismatch'],
  ["return import('node:fs');", 'ModuleImport'],
  ["return eval('1');", 'EvalError'],
  ["return new Function('return process')();", 'EvalError'],
  ["return space.relaxed.constructor('return process')();", 'EvalError'],
  ["try { space.get(1); } catch (e) { return e.constructor.constructor('return process')().pid; }", 'EvalError'],
  ["return (async () => 1).constructor('return process')();", 'EvalError'],
  ["return space.durable(() => 1).constructor.constructor('return process')();", 'EvalError'],
  ["return space.kernel.host.open('/etc/passwd', 'read');", 'TypeError'],
];

test('P5 what means no good is contained and reported, and the caller goes on', async (t) => {
  const { space, count, publish, run } = scene(t);
  const bodies = HOSTILE.map(([, body], i) => `export function f${i}(space, object) { ${body} }`);
  const module = publish(`${TYPES} import { TwzError } from 'twizzler';\n${bodies.join('\n')}`, 'javascript');
  for (const [i, [what, , name, says]] of HOSTILE.entries()) {
    const limits = { ms: name === 'ModuleTimeout' ? 200 : 30_000, bufferBytes: 64 << 20, heapBytes: 32 << 20 };
    const ran = run(module, { function: `f${i}`, arguments: [count], limits });
    await assert.rejects(ran, (error) => isTwzError(error) && error.name === name && says.test(error.message), what);
    space.relaxed(() => count.n++);
    assert.deepEqual([count.n, count.note], [6 + i, 'as it was'], what);
  }
});

test('P5 a module has the language, the data types and its arguments, and nothing of the process', async (t) => {
  const { space, publish, run, count } = scene(t);
  space.relaxed(() => space.names.set('/closed', space.create(Count, { n: 1 }, { rights: 0 })));
  const tries = REFUSED.map(([body]) => `async (space, object) => { ${body} }`);
  const module = publish(
    `import * as twizzler from 'twizzler'; const { struct, text, u32 } = twizzler; const Count = struct('ModuleCount', { n: u32, note: text });
    export const reach = (space) => {
      const all = new Set();
      for (let o = space; o !== null; o = Object.getPrototypeOf(o)) for (const k of Reflect.ownKeys(o)) all.add(String(k));
      return {
        globals: ['process', 'require', 'module', 'fetch', 'console', 'Buffer', 'setTimeout', 'WebAssembly', 'SharedArrayBuffer', 'Atomics', 'Map']
          .filter((name) => name in globalThis),
        meta: Object.keys(import.meta),
        types: ['struct', 'orderedMap', 'open', 'spawn', 'startDevices', 'Space', 'supervise'].filter((name) => name in twizzler),
        space: ['relaxed', 'create', 'kernel', 'directory', 'backup', 'close', 'modules', 'resolver'].filter((name) => all.has(name)),
      };
    };
    export const refused = async (space, object) => {
      const names = [];
      for (const attempt of [${tries.join(',')}]) {
        try { names.push('gave ' + await attempt(space, object)); } catch (error) { names.push(error.name); }
      }
      return names;
    };
    export const forged = () => ({ is: 'object', $h: { id: 'x', dv: new DataView(new ArrayBuffer(128)) }, $o: 0 });`,
    'javascript',
  );
  assert.deepEqual(await run(module, { function: 'reach' }), {
    globals: ['Map'],
    meta: [],
    types: ['struct', 'orderedMap'],
    space: ['relaxed', 'create'],
  });
  assert.deepEqual(
    await run(module, { function: 'refused', arguments: [count] }),
    REFUSED.map(([, name]) => name),
  );
  assert.deepEqual([count.n, count.note], [5, 'as it was']);
  await rejects('ModuleValue', run(module, { function: 'forged' }));
  await rejects('ModuleInvalid', run(publish('enum A { b } export const main = () => A.b;')));
  await rejects('ModuleImport', run(publish("import * as all from 'node:fs'; export const main = () => all;")));
  await rejects('ModuleValue', run(module, { function: 'reach', arguments: [new Map()] }));
  await rejects('InvalidArgument', run(module, { limits: { ms: 0 } }));
  await rejects('InvalidArgument', run(module, { limits: { stackBytes: 1 << 30 } }));
});

test('P5 a module acts by the contexts of its caller, and by no others', async (t) => {
  const { space, key, publish, run } = scene(t);
  const owner = space.security.createKey();
  const secret = space.relaxed(() => space.object(space.create(Count, { n: 7, note: 'secret' }, { key: owner.id, rights: 0 }))).id;
  const mine = space.security.createContext({ key: owner.id });
  const others = space.security.createContext();
  space.security.grant({ target: secret, to: mine, rights: ['read'], by: owner });
  const module = publish(
    `${TYPES} export const main = (space, secret) => secret.root(Count).n;
    export const change = (space, secret) => space.relaxed(() => { secret.root(Count).n = 8; });`,
    'javascript',
  );
  const given = { arguments: [space.object(secret)], trust: [key.id] };
  assert.equal(await run(module, { ...given, contexts: [mine] }), 7);
  await rejects('ObjectForbidden', run(module, { ...given, contexts: [mine], function: 'change' }));
  // A reference may be passed on that cannot be read.
  await rejects('ObjectForbidden', run(module, { ...given, contexts: [others] }));
});
