/**
 * The words of the planner: what it is told of a run, of nodes and of links, and what it answers. Plain data; times are microseconds,
 * sizes bytes, bandwidths bytes a microsecond (which is megabytes a second).
 */

/** How an argument may be treated, from the object's kind of mutability (`shared` and `control` stay where they are). */
export type DataKind = 'immutable' | 'append-only' | 'progressive' | 'owned' | 'shared' | 'control';

export interface CopyAt {
  readonly node: string;
  /** Bytes of the family that are there and as fresh as the run wants them. */
  readonly bytes: number;
}

/** A reference that is handed to the run, as the object family that it leads into. */
export interface PlanArgument {
  readonly family: string;
  readonly kind: DataKind;
  readonly bytes: number;
  readonly owner: string;
  /** Nodes other than the owner that have fresh bytes of it. */
  readonly copies: readonly CopyAt[];
  /** Grows with every commit to the family. Where it is given, the planner sees for how many runs data lasts. */
  readonly version?: number;
  /** True for what cannot leave its node at all, such as a device. */
  readonly bound?: boolean;
}

export interface PlanCode {
  readonly hash: string;
  readonly bytes: number;
  /** Nodes that have it. The asking node is taken to have it unless `elsewhere` is true. */
  readonly nodes: readonly string[];
  readonly elsewhere?: boolean;
}

export interface PlanNode {
  readonly id: string;
  /** Default true. */
  readonly reachable?: boolean;
  /** Runs that wait there (default 0), when this was reported: what was sent there since is added by the planner. */
  readonly waiting?: number;
  readonly reported?: number;
  /** Mean processor time of runs there lately; default: that of this code. */
  readonly service?: number;
  /** Share of its processors that is taken by others, 0..1 (default 0). */
  readonly busy?: number;
  readonly processors?: number;
  /** How fast a processor is against the reference of this space (default 1). */
  readonly speed?: number;
  /** Bytes that copies may still take there (default: no limit). */
  readonly room?: number;
}

export interface Link {
  /** There and back, of a small message. */
  readonly roundTrip: number;
  readonly bandwidth: number;
}

export interface Links {
  between(from: string, to: string, now: number): Link;
}

/** `data`: run where it was asked for, and have the data come. `code`: run where data is, at one of the arguments' owners. */
export type Force = 'data' | 'code';

export interface PlanRequest {
  /** Any clock of the node that does not go back. */
  readonly now: number;
  /** The node that asks and waits for the result. */
  readonly here: string;
  readonly code: PlanCode;
  readonly arguments: readonly PlanArgument[];
  /** Nodes that may run it. `here` is one also where it is not listed. */
  readonly nodes: readonly PlanNode[];
  readonly links: Links;
  /** Bytes of the arguments that are values. */
  readonly values?: number;
  readonly at?: string;
  readonly force?: Force;
}

/** How one argument is used at the place of the run: it is all there, it comes before the run begins, or by touch in ranges or in pages. */
export type Way = 'there' | 'whole' | 'range' | 'page';

export interface Use {
  readonly family: string;
  readonly way: Way;
  /** Where missing bytes come from. */
  readonly from: string;
  /** Fetches by touch that are expected, and what each takes. */
  readonly fetches?: number;
  readonly trip?: number;
  /** After so many fetches by touch the rest is to come whole, or the run to begin anew where `Plan.instead` says. */
  readonly limit?: number;
  /** What it takes to own it, if the run stores: to move the ownership, and to have the rest come. */
  readonly owning?: number;
  /** Share of runs that are expected to store to it. */
  readonly stores?: number;
  /** Bytes that are expected to come. */
  readonly brings: number;
  /** What of the cost is moving this argument and its ownership. */
  readonly moving: number;
}

/** The parts of a cost. All but `savings` are what this run is expected to take; `savings` is what later runs are expected to save. */
export const PARTS = ['request', 'code', 'data', 'trips', 'waiting', 'processor', 'result', 'ownership', 'trouble', 'savings'] as const;
export type Part = (typeof PARTS)[number];
export type Parts = Readonly<Record<Part, number>>;

export interface Candidate {
  readonly place: string;
  readonly uses: readonly Use[];
  /** By the model alone. */
  readonly parts: Parts;
  /** What runs like this one took against the model, 1 where nothing is known. */
  readonly correction: number;
  /** Microseconds that this run is expected to take. */
  readonly cost: number;
  /** The same for the next run, when what this one brings is there. */
  readonly next: number;
  /** `cost` less what later runs save because code that is sent now is there. */
  readonly alone: number;
  /** `cost` less all savings: what is compared. */
  readonly score: number;
  /** The share of `cost` that it might really take: 1 where there is nothing to find out. */
  readonly hope: number;
}

/** Why the choice is what it is. */
export type Reason =
  /** It is the cheapest for this run alone. */
  | 'cheapest'
  /** It costs more now; later runs are expected to save more than that, or earlier ones have paid as much. */
  | 'invested'
  /** Costs are near, and that node has less to do. */
  | 'spread'
  /** Little is known of it, and finding out is cheap. */
  | 'explored'
  /** `at` or `force` said so, or something that cannot leave its node. */
  | 'ordered';

export interface Plan {
  readonly id: number;
  readonly request: PlanRequest;
  readonly choice: Candidate;
  readonly reason: Reason;
  /** When there are more fetches by touch than a use's `limit`, the run is undone and begins anew there: that is cheaper than to have all the data come. */
  readonly instead?: Candidate;
  /** Best score first, the choice among them. */
  readonly candidates: readonly Candidate[];
  /** How often the data of the run was used before, since it last changed or went. */
  readonly uses: number;
}

/** What a run did to one argument; what is not known is left out. */
export interface Touch {
  readonly bytes?: number;
  /** Distinct pages of 4 KiB, and stretches of 64 KiB. */
  readonly pages?: number;
  readonly ranges?: number;
  /** Distinct objects that were reached through it, itself included, and the longest chain of references followed. */
  readonly objects?: number;
  readonly hops?: number;
  readonly stored?: boolean;
  /** The version that its commit made. */
  readonly version?: number;
  /** Fetches by touch that were made, in the unit of the way that was chosen. */
  readonly fetched?: number;
}

/** What happened. */
export interface Outcome {
  readonly now: number;
  /** From asking to having the result, as seen where it was asked. */
  readonly took: number;
  /** Processor time at the place of the run. */
  readonly processor?: number;
  readonly result?: number;
  /** One an argument. */
  readonly touches?: readonly (Touch | undefined)[];
  /** The place did not answer, or ended in an error that is not the program's own. */
  readonly failed?: boolean;
}

/** What steps cost that the links do not tell. Learned corrections lie on top. */
export interface Prices {
  /** Bytes of a page and of a range. */
  readonly page: number;
  readonly range: number;
  /** A fetch beyond its round trip, a page fault that waits for one, a run on another node, a run here. */
  readonly fetch: number;
  readonly fault: number;
  readonly remote: number;
  readonly local: number;
  /** Moving ownership beyond its round trips. */
  readonly ownership: number;
}

export const PRICES: Prices = { page: 4096, range: 65_536, fetch: 60, fault: 25, remote: 150, local: 5, ownership: 1000 };

export interface PlannerOptions {
  readonly prices?: Partial<Prices>;
  /** Runs can be undone and begun anew elsewhere (default true; see Plan.instead). */
  readonly restarts?: boolean;
  /** An owner has all of the data: taking ownership of a copy brings the rest (default true). */
  readonly ownsWhole?: boolean;
  /** What becomes of copies when the owner commits: they follow its log (default), or are dropped. */
  readonly copies?: 'followed' | 'dropped';
  /** Most runs that may be explorations, as a share (default 0.02); also most of the time spent that their extra cost may be. */
  readonly exploration?: number;
  /** Costs are near when they are apart by this share at most (default 0.05). */
  readonly near?: number;
  /** Bounds of what is kept (default 1024 codes, 4096 families). */
  readonly codes?: number;
  readonly families?: number;
}
