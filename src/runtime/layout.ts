/**
 * How the 4 GiB that a program sees are divided.
 *
 *   0            its own data, stack and heap, as far as its limit goes
 *   1 GiB        objects
 *   3 GiB        shared objects that it may store to: nothing else is ever mapped here
 *   4 GiB - 64K  the stop page, the last: taking the right to it away ends the program
 *
 * Where nothing is mapped, an access traps.
 */
export const MEMORY_SIZE = 2 ** 32;
export const WASM_PAGE = 65536;
export const OBJECTS_FROM = 2 ** 30;
export const SHARED_FROM = 3 * 2 ** 30;
export const STOP_AREA = MEMORY_SIZE - WASM_PAGE;
export const STOP_PAGE = MEMORY_SIZE - 4096;
