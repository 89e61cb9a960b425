/**
 * T6, T9, T15: the power fails, or the process dies, at every single point of every step of a short life. What is found is the state
 * before or after that step, byte for byte; nothing is left behind in the space, and no reference leads to nowhere.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { META, SIZE_CLASSES } from '../src/abi/format.ts';
import type { LossMode } from '../src/host/simulated/loss.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { bytes, isTwzError, link, objectOf, open, ref, struct, text, u32, type Infer, type Obj, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { imageOf } from '../src/testing/facts.ts';
import { amount } from './thorough.ts';

const Node = struct('StepNode', {
  value: u32,
  name: text,
  data: bytes,
  thing: link,
  get next() {
    return ref(Node);
  },
});
type Node = Infer<typeof Node>;

const DIRECTORY = '/space';
const SETTINGS = { segmentSize: 65536 } as const;
/** At one point of so many the process dies, too; and where the log is mapped and more can be lost, the power fails in a second way. */
const EVERY = amount(3, 1);
/** These in turn, or everything torn; and nothing kept. */
const LOSSES: readonly LossMode[] = ['keep', 'prefix', 'suffix', 'first', 'last'];

type Step = readonly [what: string, run: (space: Space) => void];
type Observe = (space: Space) => readonly string[];

interface Crash {
  readonly machine: SimulatedHost;
  readonly what: string;
  /** The state after that many steps, or after one more. */
  readonly first: number;
}

/** What a space is: what its program sees, and the checksum of each object's bytes. */
const stateOf = (space: Space, observe: Observe): string => [...observe(space), imageOf(space)].join('\n');

function judge({ machine, what, first }: Crash, states: readonly string[], observe: Observe): void {
  const space = open(DIRECTORY, { ...SETTINGS, host: machine });
  const found = stateOf(space, observe);
  assert.ok(states.slice(first, first + 2).includes(found), `${what}: expected\n${states.slice(first).join('\nor\n')}\nfound\n${found}`);
  space.close();
  const { findings } = checkSpace(machine, DIRECTORY);
  assert.deepEqual(
    // Frames behind a gap are what a power failure leaves of writes that nobody was promised.
    findings.filter(({ name, severity }) => severity !== 'note' && name !== 'LogBroken'),
    [],
    what,
  );
  assert.deepEqual(machine.openFiles, [], what);
  machine.discard();
}

/** Lives through the steps, one transaction each, and crashes at every point. Every second step ends in a checkpoint. */
function crashEverywhere(t: TestContext, steps: readonly Step[], observe: Observe): void {
  let crashes = 0;
  for (const sharedMapping of [true, false]) {
    const host = new SimulatedHost({ windowSize: 1 << 20, sharedMapping, follow: true });
    const space = open(DIRECTORY, { ...SETTINGS, host });
    // The first use of the names makes their object.
    space.names.mkns('/home');
    space.checkpoint();
    const states = [stateOf(space, observe)];
    for (const [i, [what, run]] of steps.entries()) {
      const crashed: Crash[] = [];
      let committed = i;
      host.onPoint = (point, call) => {
        const when = `${what}, shared mapping ${sharedMapping}, before ${call}`;
        const turn = LOSSES[point % LOSSES.length] ?? 'keep';
        const other = point % 2 === 0 ? 'random' : turn;
        const again = point % EVERY === 0;
        const modes: readonly LossMode[] = !sharedMapping ? [other] : again ? ['lose', other] : [point % EVERY === 1 ? 'lose' : other];
        for (const mode of modes)
          crashed.push({ machine: host.crash({ mode, seed: point }), what: `${when}: power lost, ${mode}`, first: i });
        if (again) crashed.push({ machine: host.kill(), what: `${when}: process died`, first: committed });
      };
      space.relaxed(() => run(space));
      committed = i + 1;
      crashed.push({ machine: host.kill(), what: `${what}: process died after it`, first: committed });
      space.sync();
      crashed.push({ machine: host.crash({ mode: 'lose' }), what: `${what}: power lost after it`, first: committed });
      if (i % 2 === 1) space.checkpoint();
      host.onPoint = undefined;
      states.push(stateOf(space, observe));
      assert.notEqual(states[i + 1], states[i], `${what} changes nothing`);
      crashes += crashed.length;
      for (const crash of crashed) judge(crash, states, observe);
    }
    space.close();
    host.discard();
  }
  t.diagnostic(`${steps.length} steps, ${crashes} crashes, 0 bad`);
  assert.ok(crashes > steps.length * amount(12, 20), `${crashes} crashes`);
}

/** Where a reference leads, or the error that says why it does not. */
function lead(read: () => object | null, say: (target: object) => string): string {
  try {
    const target = read();
    return target === null ? '-' : say(target);
  } catch (error) {
    if (isTwzError(error)) return error.name;
    throw error;
  }
}

const at = (space: Space, path: string): Node => space.names.get(path, Node);

// --- T6 -----------------------------------------------------------------------------------------------------------------------

/** Every object that there is: what it holds, where it leads, what keeps it. */
const lifetimes: Observe = (space) =>
  [...space.ids()]
    .map((id): string => {
      const object = space.object(id);
      if (object.schema?.root !== Node.name) return `${id} ${object.kind}`;
      const node = object.root(Node);
      const thing = lead(
        () => node.thing,
        (target) => (target as Obj).id,
      );
      const next = lead(
        () => node.next,
        (target) => objectOf(target).id,
      );
      return `${id} ${object.kind} ${node.value} ${node.name} ${node.data.length} ${thing} ${next} ties ${space.ties(id).join()}`;
    })
    .sort();

test('T6: create, copy, change, tie, delete, reclaim, seal: a crash at each point of each leaks nothing and dangles nothing', (t) => {
  const named = (space: Space, path: string, value: number, size: number): Node => {
    const node = space.create(Node, { value, name: path, data: new Uint8Array(size).fill(value) });
    space.names.set(path, node);
    return node;
  };
  const steps: readonly Step[] = [
    [
      'create three that refer to each other',
      (space) => {
        // One that is mapped, not read: its copies share pages with its file.
        const [a, b, c] = [named(space, '/a', 1, 70_000), named(space, '/b', 2, 10), named(space, '/c', 3, 3000)];
        b.next = a;
        b.thing = objectOf(c);
        c.next = b;
      },
    ],
    ['grow', (space) => (at(space, '/b').data = new Uint8Array(20_000).fill(7))],
    ['copy', (space) => space.names.set('/copy', space.copy(at(space, '/a')))],
    [
      'change the original, and the copy elsewhere',
      (space) => {
        at(space, '/a').value = 10;
        at(space, '/copy').data = new Uint8Array(70_000).fill(9);
      },
    ],
    ['tie', (space) => space.tie(at(space, '/c'), at(space, '/a'))],
    [
      'delete one that is kept by its tie',
      (space) => {
        assert.equal(space.delete(at(space, '/c')), 'kept');
        space.names.remove('/c');
      },
    ],
    ['delete what kept it, and both go', (space) => assert.equal(space.delete(at(space, '/a')), 'deleted')],
    [
      'create two counted ones in a circle',
      (space) => {
        const [x, y] = [space.create(Node, { value: 20 }, { counted: true }), space.create(Node, { value: 21 }, { counted: true })];
        x.next = y;
        y.next = x;
        at(space, '/b').next = x;
      },
    ],
    ['let go of the circle', (space) => (at(space, '/b').next = null)],
    ['reclaim', (space) => assert.equal(space.reclaim().deleted.length, 2)],
    ['seal', (space) => space.names.set('/sealed', space.object(space.seal(at(space, '/copy'))))],
    [
      'all at once',
      (space) => {
        const made = named(space, '/new', 30, 5000);
        made.next = at(space, '/b');
        space.tie(made, at(space, '/b'));
        space.delete(at(space, '/copy'));
        space.names.set('/again', space.copy(at(space, '/sealed')));
        space.delete(at(space, '/sealed'));
      },
    ],
  ];
  crashEverywhere(t, steps, lifetimes);
});

// --- T9 -----------------------------------------------------------------------------------------------------------------------

/** Blocks that the allocator of an object counts as in use; none of these objects has one of whole pages. */
function blocksInUse(object: Obj): number {
  const classes = new DataView(object.bytes(META.classes, 16 * SIZE_CLASSES.length).buffer);
  return SIZE_CLASSES.reduce((sum, _, c) => sum + classes.getUint32(c * 16 + 12, true), 0);
}

/** A list, and that the allocator has just as many blocks in use as the list has. */
const lists: Observe = (space) =>
  ['/left', '/right'].map((path): string => {
    const object = space.names.find(path);
    if (object === undefined) return `${path} is not there`;
    const words: string[] = [];
    // The root's schema text.
    let blocks = 1;
    for (let node: Node | null = object.root(Node); node !== null; node = node.next) {
      words.push(`${node.value} ${node.name} ${[...node.data].join('')}`);
      blocks += 1 + Number(node.name !== '') + Number(node.data.length > 0);
    }
    assert.equal(blocksInUse(object), blocks, `${path}: blocks in use, and blocks that can be reached`);
    return `${path}: ${words.join(', ')}`;
  });

test('T9: allocate, construct, publish: a crash at each point leaks no block and publishes none half made', (t) => {
  const push = (space: Space, path: string, value: number, size: number): void => {
    const head = at(space, path);
    const made = space.make(Node, head, { value, name: `node ${value}`, data: new Uint8Array(size).fill(value % 10) });
    made.next = head.next;
    head.next = made;
  };
  const pop = (space: Space, path: string): Node => {
    const head = at(space, path);
    const first = head.next as Node;
    head.next = first.next;
    return first;
  };
  const steps: readonly Step[] = [
    [
      'create two heads',
      (space) => {
        space.names.set('/left', space.create(Node, { name: 'left' }));
        space.names.set('/right', space.create(Node, { name: 'right' }));
      },
    ],
    ['push', (space) => push(space, '/left', 1, 100)],
    [
      'push many',
      (space) => {
        for (let i = 2; i < 40; i++) push(space, i % 3 === 0 ? '/right' : '/left', i, i * 20);
      },
    ],
    ['pop', (space) => space.free(pop(space, '/left'))],
    [
      'move from one object to the other',
      (space) => {
        for (let i = 0; i < 5; i++) {
          const node = pop(space, '/left');
          push(space, '/right', node.value, node.data.length);
          space.free(node);
        }
      },
    ],
    [
      'change texts and bytes to other lengths',
      (space) => {
        for (let node = at(space, '/right').next; node !== null; node = node.next) {
          node.name = `renamed ${'x'.repeat(node.value * 5)}`;
          node.data = node.data.subarray(node.data.length >> 1);
        }
      },
    ],
    [
      'take, give back and take again',
      (space) => {
        for (let i = 0; i < 3; i++) space.free(space.make(Node, at(space, '/left'), { name: 'for a moment', data: new Uint8Array(500) }));
        push(space, '/left', 50, 500);
      },
    ],
    [
      'empty one list',
      (space) => {
        while (at(space, '/left').next !== null) space.free(pop(space, '/left'));
      },
    ],
  ];
  crashEverywhere(t, steps, lists);
});

// --- T15 ----------------------------------------------------------------------------------------------------------------------

const names: Observe = (space) => {
  const walk = (path: string): string[] =>
    space.names.list(path === '' ? '/' : path).flatMap(({ name, kind, owns, target }): string[] => {
      const full = `${path}/${name}`;
      if (kind === 'namespace') return [`${full}/`, ...walk(full)];
      if (kind === 'link') return [`${full} -> ${target}`];
      return [`${full} = ${at(space, full).value}${owns ? ' owned' : ''}`];
    });
  return walk('');
};

test('T15: set, link, rename, replace, remove: a crash at each point leaves the old names or the new ones, and what they own', (t) => {
  const steps: readonly Step[] = [
    ['name', (space) => space.names.set('/a', space.create(Node, { value: 1 }), { owns: true })],
    [
      'namespaces',
      (space) => {
        space.names.mkns('/n');
        space.names.mkns('/n/deep');
        for (let i = 0; i < 10; i++) space.names.set(`/n/deep/${i}`, space.create(Node, { value: 100 + i }), { owns: i % 2 === 0 });
      },
    ],
    ['rename', (space) => space.names.rename('/a', '/b')],
    ['rename into a namespace', (space) => space.names.rename('/b', '/n/deep/b')],
    ['rename a namespace with all in it', (space) => space.names.rename('/n/deep', '/moved')],
    ['link', (space) => space.names.link('/best', '/moved/b')],
    ['rename over a name that owns', (space) => space.names.rename('/moved/b', '/moved/2', { replace: true })],
    [
      'two names change places',
      (space) => {
        space.names.rename('/moved/3', '/swap');
        space.names.rename('/moved/4', '/moved/3');
        space.names.rename('/swap', '/moved/4');
      },
    ],
    ['replace', (space) => space.names.set('/moved/6', space.create(Node, { value: 200 }), { replace: true })],
    ['remove one that owns', (space) => space.names.remove('/moved/8')],
    ['remove all', (space) => space.names.remove('/moved', { recursive: true })],
  ];
  crashEverywhere(t, steps, names);
});
