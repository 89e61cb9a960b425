/** The ring that processes and threads of the tests share: records of who sent them and what. */
import type { SyncWords } from '../src/abi/sync.ts';
import { i32, struct, u32, type Init, type Instance } from '../src/index.ts';
import type { RingKind } from '../src/lib/rings/layout.ts';
import { structRecord, type RecordType } from '../src/lib/rings/records.ts';
import { createRing, openRing, type Ring } from '../src/lib/rings/ring.ts';

const FIELDS = { producer: u32, value: i32 };
type Sent = Instance<typeof FIELDS>;

export const RECORD: RecordType<Sent, Init<typeof FIELDS>> = structRecord(struct('Sent', FIELDS));

export const RING_AT = 1024;

export type TestRing = Ring<Sent, Init<typeof FIELDS>>;

export function createTestRing(words: SyncWords, kind: RingKind, records: number): TestRing {
  return createRing(words, RING_AT, { kind, record: RECORD, records });
}

export function openTestRing(words: SyncWords): TestRing {
  return openRing(words, RING_AT, RECORD);
}
