/** What a check is told to do, and what comes of it. */
import type { Spoiled } from './spoiled.ts';

export interface CheckOptions {
  readonly seed: number;
  /** Virtual milliseconds of load (default 8000). */
  readonly ms?: number;
  readonly nodes?: number;
  readonly faults?: boolean;
  /** Objects are deleted and reclaimed all the time (default true). */
  readonly deletions?: boolean;
  /** Copies go from nodes at random (default true). */
  readonly evictions?: boolean;
  /** An engine that is broken on purpose. */
  readonly spoiled?: Spoiled | undefined;
  /** Gets the story of the run, line by line. */
  readonly tell?: ((line: string) => void) | undefined;
}

export interface CheckResult {
  readonly seed: number;
  readonly steps: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly effects: number;
  readonly faults: number;
  readonly moves: number;
  readonly successions: number;
  readonly looks: number;
  readonly evictions: number;
  readonly deletions: number;
  readonly reclaimed: number;
}

export class CheckFailure extends Error {
  override readonly name = 'CheckFailure';
  readonly seed: number;
  readonly kind: 'wrong' | 'lost' | 'duplicated' | 'hung' | 'torn' | 'apart';

  constructor(seed: number, kind: CheckFailure['kind'], message: string, cause?: unknown) {
    super(`${kind}: ${message}`, cause === undefined ? undefined : { cause });
    this.seed = seed;
    this.kind = kind;
  }
}
