/**
 * The live file, `live`: what the processes that have a space open at this moment agree on. Mapped shared by all of them; made anew by the
 * first. It is never synced and never read by recovery: the log and the objects hold all that must outlast the processes.
 *
 *   0       head                 words and LSNs below
 *   4096    members              256 x 64
 *   20480   owners of leases     16384 x 4   who may change the objects whose ID falls here
 *   86016   last changes         16384 x 8   LSN behind the last commit that changed one of them
 *
 * LSNs are f64: whole numbers below 2^53, stored and loaded in one piece.
 */
export const LIVE_MAGIC = 0x565a5754; // "TWZV"
export const LIVE_FORMAT = 3;

/** Byte offsets. Locks lie on cache lines of their own. */
export const LIVE = {
  magic: 0,
  format: 4,
  /** Raised when somebody joins, leaves or dies. */
  epoch: 8,
  /** One more than the highest member ever. */
  top: 12,
  /** 1: the log failed somewhere, nothing more is appended. */
  failed: 16,
  /** 1: who was about to write object files died: the next checkpoint syncs all files. */
  inherited: 20,
  /** Odd while the tail begins anew; raised by two by that. */
  turn: 24,
  /** Member + 1 that has the space for itself, and keeps nothing of this up to date but what is its own; 0: there are others, or may be. */
  sole: 28,
  /** 1: somebody would join, and waits for `sole` to become 0. */
  knock: 32,
  /** 1: somebody sleeps until `commits` changes. Whoever raises it takes this back, and wakes all. */
  watched: 36,
  /** Raised once a revocation or another change of what contexts give is committed: whoever keeps verdicts judges anew. */
  rights: 40,
  /** The log's append lock. */
  append: 64,
  /** Held by who runs alone. */
  gate: 128,
  /** Held by who brings changes to object files, and by who joins. */
  files: 192,
  /** Raised with each commit. */
  commits: 256,
  chain: 260,
  /** Where the next frame goes in the tail, in bytes. */
  at: 264,
  end: 272,
  written: 280,
  synced: 288,
  /** LSN of the tail's first byte. */
  tailStart: 296,
  /** Where replay would start. */
  checkpoint: 304,
  members: 4096,
  owners: 20480,
  lasts: 86016,
  size: 217088,
} as const;

export const MEMBER = {
  size: 64,
  state: 0,
  pid: 4,
  /** 1 while a transaction runs. */
  active: 8,
  /** Epoch that it has taken note of. */
  epoch: 12,
  /** Its images show the log up to here, f64. */
  seen: 16,
  /** Below this LSN none of its writes to the log is under way, f64. */
  writing: 24,
} as const;

export const MEMBERS_MAX = 256;
export const STRIPES = 16384;
