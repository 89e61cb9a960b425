/** A program's memory, as syscalls may use it: never without judging first, for a page without rights would end the process. */
export type Access = 'read' | 'write';

export interface GuestMemory {
  /**
   * The program's bytes [at, at + length): it must have that right to all of them. Throws GuestFault. Valid until the program runs again; what
   * other threads of the program store there may show.
   */
  bytes(at: number, length: number, access: Access): Uint8Array;
  view(at: number, length: number, access: Access): DataView;
}
