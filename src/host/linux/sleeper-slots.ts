/**
 * The table between a thread that awaits words and the one that sleeps for it, in shared memory.
 *
 *   0 doorbell: raised with each change   1 stop   2 told: a message is under way   16 + 8 i: slot i
 *   slot: 0 state (low 3 bits) and turn   1, 2 address   3 value
 *
 * A slot goes free -> waiting (by the owner) -> woken, changed or fault (by the sleeper) -> free (by the owner), or from waiting back to free by
 * the owner who gives up. Each change is a compare-and-exchange of state and turn, so of a wake and a giving up at once one is first, and both
 * sides know which.
 */
export const BELL = 0;
export const STOP = 1;
export const TOLD = 2;
export const SLOT = { first: 16, words: 8, state: 0, low: 1, high: 2, value: 3 } as const;
/** One of the 128 words of a sleep is the doorbell. */
export const SLOTS = 127;
export const STATE = { free: 0, waiting: 1, woken: 2, changed: 3, fault: 4 } as const;
export const STATE_MASK = 7;
export const TABLE_BYTES: number = (SLOT.first + SLOT.words * SLOTS) * 4;

export function slotAt(i: number): number {
  return SLOT.first + i * SLOT.words;
}
