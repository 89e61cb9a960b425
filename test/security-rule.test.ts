/** P2, P3: the rule by which rights are found, against a model of ten lines that was written from docs/security.md alone. SEED=… replays a run. */
import assert from 'node:assert/strict';
import type { ObjectId } from '../src/abi/id.ts';
import { encodeChain, encodeStatement, type Gate, type Statement } from '../src/abi/security-format.ts';
import { Random } from '../src/host/simulated/random.ts';
import { open, type Space } from '../src/index.ts';
import { ContextAuthority, securityOf } from '../src/kernel/security/authority.ts';
import { changeContext } from '../src/kernel/security/contexts.ts';
import { grantedBy } from '../src/kernel/security/rule.ts';
import { onHosts } from './hosts.ts';
import { test } from 'node:test';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));

// --- the model --------------------------------------------------------------------------------------------------------------

interface ModelItem {
  readonly target: ObjectId;
  readonly rights: number;
  readonly gate: Gate | undefined;
  good: boolean;
}

interface ModelContext {
  readonly id: ObjectId;
  readonly undetachable: boolean;
  globalMask: number;
  readonly masks: Map<ObjectId, { rights: number; override: number }>;
  readonly items: ModelItem[];
}

interface Model {
  attached: ModelContext[];
  active: ModelContext | undefined;
}

function inContext(c: ModelContext, target: ObjectId, defaults: number, entry: number | undefined): number {
  const open = (gate: Gate | undefined): boolean =>
    gate === undefined ||
    (entry !== undefined && entry >= gate.offset && entry < gate.offset + gate.length && (entry - gate.offset) % gate.align === 0);
  const those = c.items.filter((item) => item.good && item.target === target && open(item.gate));
  const all = those.reduce((rights, item) => rights | item.rights, defaults);
  const mask = c.masks.get(target);
  return mask === undefined ? all & c.globalMask : all & mask.rights & (c.globalMask | mask.override);
}

function modelRights(model: Model, target: ObjectId, defaults: number, want: number, entry: number | undefined): number {
  const { active } = model;
  if (active === undefined) return defaults;
  const enough = (c: ModelContext): boolean => (inContext(c, target, defaults, entry) & want) === want;
  if (!enough(active) && !active.undetachable) model.active = model.attached.find(enough) ?? active;
  return inContext(model.active ?? active, target, defaults, entry);
}

// --- the test ---------------------------------------------------------------------------------------------------------------

test('P3 rule: all rights, masks and overrides, one by one', () => {
  for (let given = 0; given < 8; given++)
    for (let globalMask = 0; globalMask < 8; globalMask++) {
      assert.equal(grantedBy(given, globalMask, undefined), given & globalMask);
      for (let rights = 0; rights < 8; rights++)
        for (let override = 0; override < 8; override++)
          for (const bit of [1, 2, 4]) {
            const expected = (given & bit) !== 0 && (rights & bit) !== 0 && ((globalMask & bit) !== 0 || (override & bit) !== 0);
            assert.equal((grantedBy(given, globalMask, { rights, override }) & bit) !== 0, expected);
          }
    }
});

const OBJECTS = 12;
const CONTEXTS = 5;
const STEPS = 1500;

onHosts(
  'P2 P3 rule: random contexts, capabilities and switches give what the model says',
  (ground, t) => {
    t.diagnostic(`SEED=${SEED}`);
    const random = new Random(SEED);
    const below = (n: number): number => random.below(n);
    const some = <T>(list: readonly T[]): T => list[below(list.length)] as T;
    const space: Space = open(ground.directory, { host: ground.host, segmentSize: 1 << 20 });
    const { kernel, security } = space;
    const { judge } = securityOf(kernel);
    const keys = [security.createKey(), security.createKey()];
    const objects = space.relaxed(() =>
      Array.from({ length: OBJECTS }, () => {
        const key = below(6) === 0 ? undefined : some(keys);
        const rights = below(8);
        return {
          h: space.createRaw(16, { rights, ...(key === undefined ? {} : { key: key.id }) }).handle,
          id: '' as ObjectId,
          key,
          rights,
        };
      }).map((object) => ({ ...object, id: object.h.id })),
    );
    const contexts: ModelContext[] = Array.from({ length: CONTEXTS }, (_, i) => {
      const undetachable = i === CONTEXTS - 1;
      const globalMask = below(2) === 0 ? 7 : below(8);
      return { id: security.createContext({ globalMask, undetachable }), undetachable, globalMask, masks: new Map(), items: [] };
    });
    const nonce = (): Uint8Array => Uint8Array.from({ length: 16 }, () => below(256));
    const statements: { readonly statement: Statement; readonly item: ModelItem; readonly by: (typeof keys)[number] }[] = [];

    /** A capability that is good, or is not in one of the ways in which one can be bad. */
    const addItem = (): void => {
      const context = some(contexts);
      const object = some(objects);
      const flaw = below(3) === 0 ? some(['signature', 'accessor', 'target', 'key', 'expired'] as const) : undefined;
      const gate = below(4) === 0 ? { offset: below(8), length: 1 + below(16), align: 1 + below(4) } : undefined;
      const by = flaw === 'key' || object.key === undefined ? some(keys) : object.key;
      const statement = encodeStatement(
        {
          target: flaw === 'target' ? some(objects).id : object.id,
          accessor: flaw === 'accessor' ? some(contexts).id : context.id,
          rights: gate === undefined ? 1 + below(7) : 4,
          gate,
          expires: flaw === 'expired' ? 1 : below(2) === 0 ? Infinity : 2 ** 45,
          delegable: below(2) === 0,
          nonce: nonce(),
          key: by.id,
        },
        undefined,
        (message) => by.sign(message),
      );
      const bytes = encodeChain([statement]);
      const at = 96 + below(64);
      if (flaw === 'signature') bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
      const item: ModelItem = {
        target: statement.target,
        rights: statement.rights,
        gate,
        good:
          flaw !== 'signature' &&
          flaw !== 'expired' &&
          statement.accessor === context.id &&
          objects.some(({ id, key }) => id === statement.target && key === by),
      };
      context.items.push(item);
      if (item.good) statements.push({ statement, item, by });
      space.relaxed(() => {
        changeContext(kernel.handle(context.id), (image) => ({ ...image, items: [...image.items, bytes] }));
        securityOf(kernel).changed(context.id);
      });
    };

    let authority = new ContextAuthority(kernel);
    const model: Model = { attached: [], active: undefined };
    let judged = 0;
    let changes = 0;
    let switches = 0;
    for (let i = 0; i < 60; i++) addItem();
    for (let step = 0; step < STEPS; step++) {
      const context = some(contexts);
      if (model.active?.undetachable === true && below(20) === 0) {
        authority = new ContextAuthority(kernel);
        model.attached = [];
        model.active = undefined;
      }
      const attached = model.attached.includes(context);
      const before = authority.epoch;
      switch (below(16)) {
        case 0:
          // The undetachable one would soon be all that there is.
          if (context.undetachable && below(8) !== 0) break;
          authority.attach(context.id);
          if (!attached) model.attached.push(context);
          model.active ??= context;
          if (!attached) assert.ok(authority.epoch > before);
          break;
        case 1:
          if (!attached || context.undetachable) {
            assert.throws(() => authority.detach(context.id));
            break;
          }
          authority.detach(context.id);
          model.attached = model.attached.filter((each) => each !== context);
          if (model.active === context) model.active = model.attached[0];
          assert.ok(authority.epoch > before);
          break;
        case 2:
          if (!attached || (model.active !== context && model.active?.undetachable === true)) {
            assert.throws(() => authority.activate(context.id));
            break;
          }
          authority.activate(context.id);
          model.active = context;
          break;
        case 3: {
          const { id } = some(objects);
          const mask = { rights: below(8), override: below(8) };
          security.setMask(context.id, id, mask);
          context.masks.set(id, mask);
          changes++;
          if (attached) assert.ok(authority.epoch > before);
          break;
        }
        case 4:
          if (below(4) !== 0) break;
          context.globalMask = below(8);
          security.setGlobalMask(context.id, context.globalMask);
          changes++;
          break;
        case 5:
          if (below(3) !== 0) break;
          addItem();
          changes++;
          break;
        case 6: {
          if (below(4) !== 0 || statements.length === 0) break;
          const [gone] = statements.splice(below(statements.length), 1);
          if (gone === undefined) break;
          space.relaxed(() => void judge.revoke(judge.signRevocation(gone.statement, gone.by)));
          securityOf(kernel).changed();
          gone.item.good = false;
          changes++;
          break;
        }
        default: {
          const object = some(objects);
          const want = below(8);
          const entry = below(2) === 0 ? undefined : below(24);
          const was = model.active;
          const expected = modelRights(model, object.id, object.rights, want, entry);
          assert.equal(authority.rightsTo(kernel.handle(object.id), want, entry), expected, `SEED=${SEED} step ${step}`);
          assert.equal(authority.active, model.active?.id, `SEED=${SEED} step ${step}: the active context`);
          judged++;
          if (was !== model.active) switches++;
        }
      }
    }
    t.diagnostic(`${judged} judgements, ${changes} changes, ${switches} automatic switches`);
    assert.ok(judged > STEPS / 3 && changes > 20);
    space.close();
  },
  ['linux', 'simulated'],
);
