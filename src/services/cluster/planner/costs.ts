/**
 * The model: what a run would take at a place, with each argument brought in one way. docs/decisions/0031 has the formulas.
 *
 *   cost = request + code + data + trips + waiting + processor + result + ownership + trouble
 *
 * Nothing is remembered here; what was learned comes in as `Knowledge`.
 */
import { TwzError } from '../../../abi/errors.ts';
import { bytesAt, type Expected } from './records.ts';
import type { Link, Parts, PlanArgument, PlanNode, PlanRequest, Prices, Use, Way } from './model.ts';

export interface Knowledge {
  readonly ownsWhole: boolean;
  readonly expected: readonly Expected[];
  /** Share of runs before which another node stored to the argument. */
  readonly taken: readonly number[];
  /** Microseconds on the reference's processor, and bytes. */
  readonly processor: number;
  readonly result: number;
  /** Runs of this code so far: as many more are expected, over which the price of sending it is spread. */
  readonly runs: number;
  /** Runs that were sent to a node since it told its load. */
  sentSince(node: PlanNode): number;
  /** Microseconds that a run there is expected to lose by the node's failing. */
  trouble(node: string): number;
}

export interface Option {
  readonly place: string;
  readonly node: PlanNode;
  readonly uses: readonly Use[];
  /** The worst of the ways. */
  readonly way: Way | 'mixed';
  /** `savings` is what code that is sent now saves later. */
  readonly parts: Parts;
  readonly cost: number;
  readonly next: number;
}

/** Of the places that data does not name, as many of the least loaded are looked at. */
const OTHERS = 6;
/** With more arguments to bring than this, they are all brought in the cheapest way, or all whole. */
const COMBINED = 2;
export const BUSY_MOST = 0.95;

/** One argument at one place, in one way: what it takes now, and what it takes the next time. */
interface Bring {
  readonly use: Use;
  readonly data: number;
  readonly trips: number;
  readonly ownership: number;
  readonly next: number;
}

const stays = (argument: PlanArgument): boolean => argument.bound === true || argument.kind === 'shared' || argument.kind === 'control';
const anyCopy = (argument: PlanArgument): boolean => argument.kind === 'immutable' || argument.kind === 'progressive';
const ownedByOne = (argument: PlanArgument): boolean => argument.kind === 'owned' || argument.kind === 'append-only';

/** The nodes where it may run, those that the data names first. */
export function placesOf(request: PlanRequest): readonly PlanNode[] {
  const nodes = new Map<string, PlanNode>([[request.here, { id: request.here }]]);
  for (const node of request.nodes) nodes.set(node.id, node);
  const usable = (id: string): boolean => nodes.get(id)?.reachable !== false && nodes.has(id);
  const impossible = (message: string): never => {
    throw new TwzError('PlanImpossible', message, { here: request.here });
  };
  const bound = new Set(request.arguments.filter(stays).map((argument) => argument.owner));
  if (bound.size > 1) return impossible(`arguments of the run cannot leave their nodes, which are ${[...bound].join(' and ')}`);
  let only = request.at;
  for (const node of bound) {
    if (only !== undefined && only !== node) return impossible(`the run is to be at ${only}, and an argument cannot leave ${node}`);
    if (request.force === 'data' && node !== request.here) return impossible(`data is to move, and an argument cannot leave ${node}`);
    only = node;
  }
  if (only === undefined && request.force === 'data') only = request.here;
  if (only !== undefined) {
    if (!usable(only)) return impossible(`the run has to be at ${only}, which cannot be reached`);
    return [nodes.get(only) ?? { id: only }];
  }
  const named = new Set<string>();
  for (const argument of request.arguments) named.add(argument.owner);
  if (request.force === 'code') {
    const owners = [...named].filter(usable);
    if (owners.length === 0 && named.size > 0) return impossible('code is to move, and no owner of an argument can be reached');
    if (named.size > 0) return owners.map((id) => nodes.get(id) ?? { id });
  }
  named.add(request.here);
  for (const argument of request.arguments) for (const copy of argument.copies) named.add(copy.node);
  const places: PlanNode[] = [];
  const others: PlanNode[] = [];
  for (const node of nodes.values()) {
    if (node.reachable === false) continue;
    (named.has(node.id) ? places : others).push(node);
  }
  const quick = (node: PlanNode): number =>
    ((node.speed ?? 1) * (1 - (node.busy ?? 0))) / (1 + (node.waiting ?? 0) / (node.processors ?? 1));
  if (others.length > OTHERS) others.sort((a, b) => quick(b) - quick(a)).length = OTHERS;
  return [...places, ...others];
}

/** Every option of a run. Throws PlanImpossible where there is none. */
export function optionsOf(request: PlanRequest, knowledge: Knowledge, prices: Prices): readonly Option[] {
  const options: Option[] = [];
  for (const node of placesOf(request)) options.push(...optionsAt(request, node, knowledge, prices));
  if (options.length === 0)
    throw new TwzError('PlanImpossible', 'no node that could run it can be reached, or has room for its data', { here: request.here });
  return options;
}

function optionsAt(request: PlanRequest, node: PlanNode, knowledge: Knowledge, prices: Prices): readonly Option[] {
  const { here, links, now } = request;
  const place = node.id;
  const link = links.between(here, place, now);
  const away = place !== here;
  const { code, codeNext } = codeCost(request, place, knowledge.runs);
  const speed = node.speed ?? 1;
  const busy = Math.min(BUSY_MOST, node.busy ?? 0);
  const processor = knowledge.processor / (speed * (1 - busy));
  const waiting =
    (((node.waiting ?? 0) + knowledge.sentSince(node)) * ((node.service ?? knowledge.processor) / (speed * (1 - busy)))) /
    Math.max(1, node.processors ?? 1);
  const asking = away ? link.roundTrip + prices.remote + (request.values ?? 0) / link.bandwidth : prices.local;
  const result = away ? knowledge.result / link.bandwidth : 0;
  const trouble = away ? knowledge.trouble(place) : 0;
  const always = asking + waiting + processor + result + trouble;
  const ways = request.arguments.map((argument, i) =>
    bringsOf(request, argument, knowledge.expected[i], knowledge.taken[i] ?? 0, node, prices, knowledge.ownsWhole),
  );
  const options: Option[] = [];
  for (const brings of combined(ways)) {
    let data = 0;
    let trips = 0;
    let ownership = 0;
    let later = 0;
    let room = 0;
    for (const bring of brings) {
      data += bring.data;
      trips += bring.trips;
      ownership += bring.ownership;
      later += bring.next;
      room += bring.use.brings;
    }
    if (room > (node.room ?? Infinity)) continue;
    const parts: Parts = {
      request: asking,
      code,
      data,
      trips,
      waiting,
      processor,
      result,
      ownership,
      trouble,
      savings: code - codeNext,
    };
    options.push({
      place,
      node,
      uses: brings.map((bring) => bring.use),
      way: wayOf(brings),
      parts,
      cost: always + code + data + trips + ownership,
      next: always + later,
    });
  }
  return options;
}

/** The price of sending the code, and the part of it that this run has to bear. */
function codeCost(request: PlanRequest, place: string, runs: number): { code: number; codeNext: number } {
  const { code, here, links, now } = request;
  if ((place === here && code.elsewhere !== true) || code.nodes.includes(place)) return { code: 0, codeNext: 0 };
  const sources = code.elsewhere === true ? code.nodes : [here, ...code.nodes];
  let price = Infinity;
  for (const source of sources) {
    const link = links.between(source, place, now);
    price = Math.min(price, (source === here ? 0 : link.roundTrip) + code.bytes / link.bandwidth);
  }
  if (price === Infinity) price = 0;
  return { code: price, codeNext: price / (1 + runs) };
}

function wayOf(brings: readonly Bring[]): Way | 'mixed' {
  let way: Way | 'mixed' = 'there';
  for (const { use } of brings) {
    if (use.way === 'there' || use.way === way) continue;
    way = way === 'there' ? use.way : 'mixed';
  }
  return way;
}

/** The ways of all arguments together. */
function combined(ways: readonly (readonly Bring[])[]): readonly (readonly Bring[])[] {
  const [only] = ways;
  if (ways.length === 1 && only !== undefined) return only.map((bring) => [bring]);
  if (ways.some((each) => each.length === 0)) return [];
  if (ways.filter((each) => each.length > 1).length <= COMBINED) {
    let all: Bring[][] = [[]];
    for (const each of ways) all = all.flatMap((head) => each.map((bring) => [...head, bring]));
    return all;
  }
  const least = ways.map((each) => each.reduce((a, b) => (b.data + b.trips < a.data + a.trips ? b : a)));
  const whole = ways.map((each) => each.find((bring) => bring.use.way === 'whole') ?? each[0]).filter((bring) => bring !== undefined);
  return [least, whole];
}

function bringsOf(
  request: PlanRequest,
  argument: PlanArgument,
  expected: Expected | undefined,
  taken: number,
  node: PlanNode,
  prices: Prices,
  ownsWhole: boolean,
): readonly Bring[] {
  const place = node.id;
  const there = bytesAt(argument, place);
  if (expected === undefined) return [];
  const ownership = ownershipCost(request, argument, expected, place, prices);
  // Who stores keeps it until others take it: a store finds it gone in so many cases.
  const again = ownership === 0 ? 0 : (ownership * taken) / (taken + expected.stores);
  // What is there must not be waited for from a node that cannot be reached.
  const reachable = (id: string): boolean => request.nodes.find((each) => each.id === id)?.reachable !== false;
  if (there >= argument.bytes) {
    if (ownership > 0 && !reachable(argument.owner) && expected.stores > 0.5) return [];
    const use: Use = {
      family: argument.family,
      way: 'there',
      from: place,
      brings: 0,
      moving: ownership,
      ...(ownership > 0 ? { owning: ownership / expected.stores, stores: expected.stores } : {}),
    };
    return [{ use, data: 0, trips: 0, ownership, next: again }];
  }
  let from: string | undefined;
  let link: Link | undefined;
  for (const source of sourcesOf(argument)) {
    if (!reachable(source)) continue;
    const each = request.links.between(source, place, request.now);
    if (link === undefined || timeOf(each, argument.bytes) < timeOf(link, argument.bytes)) [from, link] = [source, each];
  }
  if (from === undefined || link === undefined) return [];
  const all = Math.max(argument.bytes, expected.bytes);
  const brings: Bring[] = [];
  for (const way of ['whole', 'range', 'page'] as const) {
    // A range or a page of something that small is the whole of it.
    if (
      (way === 'range' && argument.bytes <= prices.range && expected.strays < 1) ||
      (way === 'page' && argument.bytes <= prices.page && expected.strays < 1)
    )
      continue;
    const now = wayCost(way, there, all, argument, expected, link, prices);
    const after = way === 'whole' ? undefined : wayCost(way, Math.min(all, there + now.bytes), all, argument, expected, link, prices);
    const restTime = ownsWhole && ownership > 0 ? Math.max(0, all - there - now.bytes) / link.bandwidth : 0;
    const rest = expected.stores * restTime;
    // A run that stores leaves all of it there.
    const kept = restTime > 0 ? 1 - expected.stores : 1;
    const owning = ownership + rest;
    const use: Use = {
      family: argument.family,
      way,
      from,
      ...now.touch,
      ...(owning > 0 ? { owning: owning / expected.stores, stores: expected.stores } : {}),
      brings: now.bytes,
      moving: now.data + now.trips + owning,
    };
    brings.push({
      use,
      data: now.data,
      trips: now.trips,
      ownership: owning,
      next: again + kept * (after === undefined ? 0 : after.data + after.trips + rest),
    });
  }
  return brings;
}

const timeOf = (link: Link, bytes: number): number => link.roundTrip + bytes / link.bandwidth;

/** Where it may be fetched: of what never changes, or merges, any whole copy will do. */
function sourcesOf(argument: PlanArgument): readonly string[] {
  const sources = [argument.owner];
  if (anyCopy(argument)) for (const copy of argument.copies) if (copy.bytes >= argument.bytes) sources.push(copy.node);
  return sources;
}

function ownershipCost(request: PlanRequest, argument: PlanArgument, expected: Expected, place: string, prices: Prices): number {
  if (place === argument.owner || !ownedByOne(argument)) return 0;
  const link = request.links.between(argument.owner, place, request.now);
  return expected.stores * (2 * link.roundTrip + prices.ownership);
}

function wayCost(
  way: 'whole' | 'range' | 'page',
  there: number,
  all: number,
  argument: PlanArgument,
  expected: Expected,
  link: Link,
  prices: Prices,
): { data: number; trips: number; bytes: number; touch?: { fetches: number; trip: number; limit: number } } {
  const missing = all <= 0 ? 0 : Math.max(0, 1 - there / all);
  if (missing === 0) return { data: 0, trips: 0, bytes: 0 };
  const share = there > 0 ? Math.min(1, missing * expected.novelty) : 1;
  const fetch = link.roundTrip + prices.fetch;
  const whole = { data: (all - there) / link.bandwidth, trips: (1 + expected.chain * share) * fetch, bytes: all - there };
  if (way === 'whole') return whole;
  const size = way === 'page' ? prices.page : Math.min(prices.range, argument.bytes);
  const fetches = (way === 'page' ? Math.max(expected.pages, 1 + expected.chain) : Math.max(expected.ranges, 1 + expected.chain)) * share;
  const trip = fetch + prices.fault;
  // Renting and buying once more, within the run.
  const each = trip + size / link.bandwidth;
  const limit = Math.max(1, Math.floor((whole.data + whole.trips) / each));
  const touch = { fetches: Math.min(fetches, limit), trip: each, limit };
  if (fetches > limit)
    return { data: whole.data + (limit * size) / link.bandwidth, trips: whole.trips + limit * trip, bytes: whole.bytes, touch };
  const bytes = Math.min(all - there, fetches * size);
  return { data: bytes / link.bandwidth, trips: fetches * trip, bytes, touch };
}
