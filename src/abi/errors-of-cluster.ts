/** Errors of the space that many machines share. Each remote step ends in one of these or in a value. A part of the table in errors.ts. */
import type { ErrorCategory, ErrorPage } from './errors.ts';

const page = (code: number, category: ErrorCategory, what: string, remedy: string): ErrorPage => ({ code, category, what, remedy });

export const CLUSTER_ERRORS = {
  Unreachable: page(
    1601,
    'cluster',
    'Nobody who could do it can be reached: the node that holds the object is gone or cut off, or no node answers.',
    'Nothing was done. Try again when the node is back; an object that was shared before is succeeded to by another node.',
  ),
  TimedOut: page(
    1602,
    'cluster',
    'The deadline was over before there was an answer.',
    'It may have been done, or not; a step with an activation ID may be asked for again, and takes effect once. Look, or give it longer.',
  ),
  Stale: page(
    1603,
    'cluster',
    'What is at hand is older than was asked for, and nobody could be asked for what is newer.',
    'Read at the freshness `cached` if old values will do, or try again when the owner can be reached.',
  ),
  Denied: page(
    1604,
    'cluster',
    'The other node refused: it does not grant the right.',
    'Ask with another capability, or ask who owns the object.',
  ),
  Fenced: page(
    1605,
    'cluster',
    'Another node owns the object meanwhile: what this one had changed since the last acknowledged commit does not count.',
    'Run the transaction again: it sees what the new owner has committed.',
  ),
  EngineTooOld: page(
    1606,
    'cluster',
    'A server of the engine is of a version that loses acknowledged writes, or lacks what is needed.',
    'Use nats-server 2.10.27 or newer, for transactions over several objects 2.12 or newer; `scripts/nats-server` installs one.',
  ),
  EngineLost: page(
    1607,
    'cluster',
    'The connection to the engine is lost.',
    'It is made again by itself, as soon as a server answers. What was not acknowledged may have been done, or not.',
  ),
  EngineRefused: page(
    1608,
    'cluster',
    'The engine did not take the connection or the request: its credentials, its permissions or its limits do not allow it.',
    'Read the message: it is the engine’s own.',
  ),
  EngineCorrupt: page(
    1609,
    'cluster',
    'What the engine keeps of an object is damaged: a record is missing, altered, or not one of ours.',
    'Nothing of it is used. The owner shares the object anew from its own copy.',
  ),
  NotJoined: page(
    1610,
    'cluster',
    'The space of this program has not joined a space of many machines.',
    'Call `join` first, or `twz join`.',
  ),
  NodeUnknown: page(1611, 'cluster', 'No node has that name or ID.', 'List them: `twz nodes`.'),
  RunFailed: page(
    1612,
    'cluster',
    'A function that ran on another node threw.',
    'Read the message: it is that of the error there; `context` has its name, its stack and the node.',
  ),
  CodeInvalid: page(
    1613,
    'cluster',
    'A function cannot be sent: it is not plain code that stands alone.',
    'It may use its arguments and what they lead to, and nothing of its surroundings.',
  ),

  MessageTooLarge: page(
    1630,
    'cluster',
    'A message has more bytes than a server of the engine takes.',
    'Send it in parts, or set `max_payload` of the servers higher.',
  ),
  PagedOutside: page(
    1650,
    'cluster',
    'An object whose pages come when they are touched was read where nobody would have said that a page did not come.',
    'Read it inside the function that is given to `read`. Accessors can be kept; cursors, readers and raw views cannot.',
  ),
  PagedReadOnly: page(
    1651,
    'cluster',
    'An object whose pages come when they are touched is one version of it, and cannot be changed.',
    'Fetch the object and store to that, or copy it inside `read`.',
  ),
  PagedClosed: page(1652, 'cluster', 'The paged object was closed.', 'Open it anew.'),
  PagesInvalid: page(
    1653,
    'cluster',
    'What answers for the pages of an object gave something else than was asked for.',
    'Nothing of it is shown. Ask another node, or look at what answers.',
  ),
  PlanImpossible: page(
    1660,
    'cluster',
    'No node can run it: its arguments are bound to different nodes, or to one that is not allowed or cannot be reached, or their data can come nowhere.',
    'Read the message: it names the nodes. Hand over references that one node can use, or run it in two steps.',
  ),
  RunLost: page(
    1700,
    'cluster',
    'The node where it ran is gone, or its thread, before it was over.',
    'Part of it may have been done: each of its transactions wholly or not at all. Look, or run it under a name (`activation`), by which it can be asked for again.',
  ),
  RunStopped: page(1701, 'cluster', 'It was ended before it was over.', 'Somebody called `stop`, or nobody asked a stream for more.'),
  RunLimit: page(
    1702,
    'cluster',
    'A run needed more than its limits allow: memory, objects or bytes stored.',
    'Its transaction is undone. `context.limit` names the limit: raise it, or do less in one run; a node has limits of its own.',
  ),
  RunDepth: page(
    1703,
    'cluster',
    'Runs are nested too deep.',
    'A run that runs itself must come to an end: at most 16 lie inside each other.',
  ),
  RunsFull: page(
    1704,
    'cluster',
    'A node runs as many functions of its own threads as it may.',
    'Nothing was done there. Try again later, let another node do it, or let the node have more (`join`, `threads`).',
  ),
  RunChanged: page(
    1705,
    'cluster',
    'A run that was asked for again by its name cannot be gone on with: a step of it gave something that cannot be given again.',
    'Steps of runs that have a name give values and references to objects, no places within them.',
  ),
  AlreadyJoined: page(
    1690,
    'cluster',
    'The space has joined already: one process of a space is its node at a time.',
    'Stop that one first, or join another space. Other programs may open the space meanwhile.',
  ),
  ReferencesUnknown: page(
    1691,
    'cluster',
    'Another node may refer to what nothing here refers to, and cannot be asked: nothing was reclaimed.',
    'Try again when it is back, or when its lease and its grace are over: what it refers to is not kept after that.',
  ),
  MergeFailed: page(
    1695,
    'cluster',
    'Two versions of a progressive object were not merged: its merge code threw, took too long, or is not to be had.',
    'Both versions are kept. Read the message: it is that of the code. Mend what it stumbles over in one of the versions, and ask again.',
  ),
} as const satisfies Record<string, ErrorPage>;
