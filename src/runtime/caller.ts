/** Who makes a syscall, as those calls see it that need no kernel: a compartment, or a further thread of one. */
import type { Host } from '../host/host.ts';
import type { GuestMemory } from './guest.ts';

export interface Caller {
  readonly host: Host;
  readonly memory: GuestMemory;
  /** All of the program's memory, for words to sleep on. */
  readonly buffer: ArrayBufferLike;
  /** Bytes of its heap. */
  readonly heap: number;
  /** 0 for the thread that the compartment was made in. */
  readonly thread: number;
  readonly arguments: readonly string[];
  lastError: string;
  write(stream: number, data: Uint8Array): void;
  read(max: number): Uint8Array;
  /** Between two sleeps: what has to be seen to meanwhile. Throws what ends the program. */
  rest(): void;
}
