/**
 * Where code and data meet: a walk along a ring of nodes that another process of this machine holds, in which each node names the next, so
 * that nobody knows the second hop before the first. Over loopback as it is, and with a round trip of 1, 10 and 50 ms (see delay.ts).
 *
 * Who needs a round trip a hop is measured over fewer hops where a walk is long, and scaled; the row says so. A figure of a round is the
 * median of its walks, each from another node, and every answer is checked.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { natsServer, postgresServer, redisServer, type Daemon } from './daemons.ts';
import { Links } from './delay.ts';
import { contest, generator, median, nanoseconds, type Absent, type Benchmark, type Context, type Peer, type Side } from './harness.ts';
import { isAbsent } from './peers.ts';
import { startOurs, type Ours, type Plans } from './rendezvous-ours.ts';
import { WALKERS, fillPostgres, fillRedis, type Connected, type Places, type Walker } from './rendezvous-peers.ts';
import { ringOf, walkRing, type Ring } from './rendezvous-ring.ts';
import { RENDEZVOUS_SERVER, type Ports } from './rendezvous-server.ts';

/** Wanted of `auto`: a hundredth of gRPC's hop and 1.3 times Lua and SQL, both at 1000 hops; 1.2 times either plan anywhere. */
const JUDGED_HOPS = 1000;
const TARGETS: Readonly<Record<string, number>> = {
  'gRPC, a call a hop': 0.01,
  'Redis, Lua at the server': 1.3,
  'PostgreSQL, one recursive query': 1.3,
  'SQLite in a server, one query': 1.3,
};
const PLAN_TARGET = 1.2;

/** Milliseconds of one measurement of who needs a round trip a hop. */
const MEASURED_MS = 100;
const MEASURED_HOPS_MIN = 5;
/** A hop over loopback is taken to need so many milliseconds. */
const LOOPBACK_MS = 0.25;

interface Cell {
  readonly context: Context;
  readonly ring: Ring;
  readonly hops: number;
  /** Milliseconds. */
  readonly roundTrip: number;
}

/** How many hops are walked where `hops` are meant. */
function measured({ context, hops, roundTrip }: Cell, scaledFrom: Walker['scaledFrom']): number {
  if (scaledFrom === undefined) return hops;
  const most =
    scaledFrom === 'round trips' ? Math.max(MEASURED_HOPS_MIN, Math.floor(MEASURED_MS / Math.max(roundTrip, LOOPBACK_MS))) : scaledFrom;
  return Math.min(hops, context.size(most, 10));
}

/** Microseconds of a walk: the median of those that fit in a short time. */
function side(cell: Cell, name: string, walk: Connected['walk'], scaledFrom?: Walker['scaledFrom'], note?: string): Side {
  const { context, ring, hops } = cell;
  const walked = measured(cell, scaledFrom);
  const budget = context.size(40, 1) * 1e6;
  const random = generator(hops);
  const measure = async (): Promise<number> => {
    const times: number[] = [];
    for (const until = nanoseconds() + budget; times.length === 0 || (times.length < 300 && nanoseconds() < until);) {
      const start = random(ring.next.length);
      const begun = nanoseconds();
      const found = await walk(start, walked);
      times.push(nanoseconds() - begun);
      const { at, sum } = walkRing(ring, start, walked);
      if (found !== undefined && (found.at !== at || found.sum !== sum)) throw new Error(`${name} walked elsewhere`);
    }
    return (median(times) / 1000 / walked) * hops;
  };
  const scaled = walked === hops ? '' : `, scaled from ${walked.toLocaleString('en-US')}`;
  return { name: `${name}${scaled}`, measure, ...(note === undefined ? {} : { note }) };
}

/** Compiles what the walks need, on both sides, before the first is measured. */
async function warm(ring: Ring, walk: Connected['walk'], hops: number): Promise<void> {
  const until = performance.now() + 150;
  for (let i = 0; i < 100 && performance.now() < until; i++) await walk(i % ring.next.length, hops);
}

interface Opened {
  readonly walker: Walker;
  readonly connected: Connected | Absent;
}

async function cellOf(cell: Cell, opened: readonly Opened[], plans: Plans, standIn: boolean): Promise<void> {
  const { context, hops, roundTrip } = cell;
  const ours = standIn ? 'STAND-IN for ours' : 'auto';
  const others: Peer[] = opened.map(({ walker, connected }) => {
    const { name, scaledFrom, note, reference } = walker;
    const target = hops === JUDGED_HOPS && !standIn ? TARGETS[name] : undefined;
    return {
      side: 'absent' in connected ? connected : side(cell, name, connected.walk, scaledFrom, note),
      ...(target === undefined ? {} : { target }),
      ...(reference === undefined && !standIn ? {} : { reference: true }),
    };
  });
  if (!standIn)
    for (const [name, walk] of [
      ['ship the data', plans.shipData],
      ['ship the code', plans.shipCode],
    ] as const)
      others.push({ side: side(cell, name, walk), target: PLAN_TARGET, reference: true });
  await contest(context, 'rendezvous', {
    name: `${hops.toLocaleString('en-US')} hops, ${roundTrip === 0 ? 'loopback' : `${roundTrip} ms`}`,
    unit: 'us/walk',
    better: 'lower',
    ours: [
      { side: side(cell, ours, plans.auto, undefined, standIn ? 'the stand-in is no result: it walks memory of its own' : undefined) },
    ],
    peers: others.map(({ target, ...peer }) => ({ ...peer, targets: [target] })),
  });
}

async function overLink(context: Context, ring: Ring, links: Links, places: Places, ours: Ours, roundTrip: number): Promise<void> {
  const through = (port: number): Promise<number> => links.through(port, roundTrip);
  context.progress(`rendezvous: connecting, ${roundTrip} ms`);
  const opened: Opened[] = [];
  let plans: Plans | undefined;
  try {
    for (const walker of WALKERS) opened.push({ walker, connected: await walker.connect(places, through) });
    plans = await ours.connect(through);
    if (roundTrip === 0 && !context.quick) {
      for (const { connected } of opened) if (!('absent' in connected)) await warm(ring, connected.walk, 100);
      for (const walk of [plans.auto, plans.shipData, plans.shipCode]) await warm(ring, walk, 100);
    }
    const lengths = context.quick ? [10] : [10, 100, 1000, 10_000, 100_000];
    for (const hops of lengths) await cellOf({ context, ring, hops, roundTrip }, opened, plans, ours.standIn);
  } finally {
    await plans?.close();
    for (const { connected } of opened) if (!('absent' in connected)) await connected.close();
  }
}

type Server = ChildProcessByStdio<Writable, Readable, null>;

async function server(nodes: number, nats: number): Promise<{ child: Server; ports: Ports }> {
  const child = spawn(process.execPath, [RENDEZVOUS_SERVER, String(nodes), String(nats)], { stdio: ['pipe', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) return { child, ports: JSON.parse(line) as Ports };
  throw new Error('the server ended before it listened');
}

const portOf = (daemon: Daemon | Absent): number | Absent => ('port' in daemon ? daemon.port : daemon);

async function run(whole: Context): Promise<void> {
  const context = { ...whole, rounds: Math.min(whole.rounds, 5) };
  const nodes = context.size(100_000, 1000);
  const ring = ringOf(nodes);
  const links = new Links();
  const closing: (() => unknown)[] = [() => links.close()];
  try {
    context.progress('rendezvous: starting the servers');
    const daemons = await Promise.all([redisServer(), postgresServer(), natsServer()]);
    for (const daemon of daemons) if (!isAbsent(daemon)) closing.push(() => daemon.close());
    const [redis, postgres, nats] = daemons.map(portOf);
    if (redis === undefined || postgres === undefined || nats === undefined) throw new Error('a server is neither there nor absent');
    if (typeof redis === 'number') await fillRedis(redis, ring);
    if (typeof postgres === 'number') await fillPostgres(postgres, ring);
    const { child, ports } = await server(nodes, typeof nats === 'number' ? nats : 0);
    closing.push(async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    });
    const directory = join(context.directory, 'ours');
    mkdirSync(directory);
    const ours = await startOurs({ directory, ring, nats: typeof nats === 'number' ? nats : undefined, shared: context.quick });
    closing.push(() => ours.close());
    const places: Places = { http: ports.http, echo: ports.echo, grpc: ports.grpc ?? undefined, redis, postgres, nats };
    for (const roundTrip of context.quick ? [1] : [0, 1, 10, 50]) await overLink(context, ring, links, places, ours, roundTrip);
  } finally {
    for (const close of closing.toReversed()) await close();
  }
}

export const rendezvous: Benchmark = {
  name: 'rendezvous',
  about:
    "a walk of 10 to 100,000 hops on data of another process, over loopback and with a round trip of 1, 10 and 50 ms: beside gRPC, HTTP, NATS, Cap'n Web, Redis, PostgreSQL and SQLite",
  run,
};
