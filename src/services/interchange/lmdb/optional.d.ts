/** What is used of packages that need not be there. */
declare module 'msgpackr' {
  export class Packr {
    constructor(options?: { readonly mapsAsObjects?: boolean; readonly structures?: unknown[] });
    pack(value: unknown): Uint8Array;
    unpack(bytes: Uint8Array): unknown;
  }
}
declare module 'ordered-binary' {
  export function toBufferKey(key: unknown): Uint8Array;
  export function fromBufferKey(bytes: Uint8Array): unknown;
}
