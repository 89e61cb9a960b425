/** Locks as fields of structs in shared objects: `struct('Board', { lock: mutex, hits: counter, … })`. Zeros are a free lock. */
import type { Emitter } from '../emit.ts';
import type { Field } from '../fields.ts';
import type { SyncWords } from '../../abi/sync.ts';
import { Mutex } from './mutex.ts';
import { Once } from './once.ts';
import { RW_LOCK_BYTES, RwLock } from './rw-lock.ts';
import { SeqLock } from './seq-lock.ts';
import { Barrier, Condition, Counter, Latch, Semaphore } from './signals.ts';

/** `size` bytes that read as an accessor over the object's words. It can be initialized from a number where it has an `init`. */
function lockField<T extends object>(type: string, size: number, lock: new (words: SyncWords, offset: number) => T): Field<T, number> {
  const words = size / 4;
  return {
    size,
    align: 8,
    signature: type,
    describe: { kind: 'array', type, of: { kind: 'number', type: 'i32' }, stride: 4, length: words },
    load: (emit: Emitter, at) => `return new (${emit.constant(lock)})(h.sync(), ${at});`,
    store: (emit: Emitter, at) =>
      `const l = new (${emit.constant(lock)})(h.sync(), ${at}); if (typeof v !== 'number' || typeof l.init !== 'function') ${emit.unfit(`a value for the accessor of a ${type}, which changes by its methods`)}; l.init(v);`,
    drop: () => '',
  };
}

export const mutex: Field<Mutex, number> = lockField('mutex', 16, Mutex);
export const rwLock: Field<RwLock, number> = lockField('rwLock', RW_LOCK_BYTES, RwLock);
export const semaphore: Field<Semaphore, number> = lockField('semaphore', 8, Semaphore);
export const condition: Field<Condition, number> = lockField('condition', 8, Condition);
export const once: Field<Once, number> = lockField('once', 8, Once);
export const latch: Field<Latch, number> = lockField('latch', 8, Latch);
export const barrier: Field<Barrier, number> = lockField('barrier', 16, Barrier);
export const counter: Field<Counter, number> = lockField('counter', 8, Counter);
export const seqLock: Field<SeqLock, number> = lockField('seqLock', 24, SeqLock);
