/* SQLite, and what ties it to objects, as one piece for the compiler. */
#define HEAP_END 0x40000000u
#define EXPORT __attribute__((visibility("default"), used))
#include <wasm_simd128.h>
#include "sqlite3.c"
#include "heap.c"
#include "vfs.c"
#include "api.c"
