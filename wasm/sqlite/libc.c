/*
** The few functions of the C library that decide how fast SQLite is.
**
** SQLite copies and compares mostly short runs of bytes; WebAssembly's own memory.copy is a call out of the program, which pays from some
** hundred bytes on.
*/
#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

#define LONG 512

/* One instruction each: this file is compiled with bulk memory, SQLite without. */
static __attribute__((noinline)) void copyLong(void *to, const void *from, size_t n) { __builtin_memmove(to, from, n); }
static __attribute__((noinline)) void fillLong(void *to, int c, size_t n) { __builtin_memset(to, c, n); }

typedef struct { uint64_t v; } __attribute__((packed, may_alias)) U64;
typedef struct { uint32_t v; } __attribute__((packed, may_alias)) U32;
typedef struct { uint16_t v; } __attribute__((packed, may_alias)) U16;

#define AT(T, p) (((T *)(p))->v)

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  unsigned char *d = to;
  const unsigned char *s = from;
  if (n <= 16) {
    if (n >= 8) {
      uint64_t a = AT(U64, s), b = AT(U64, s + n - 8);
      AT(U64, d) = a;
      AT(U64, d + n - 8) = b;
    } else if (n >= 4) {
      uint32_t a = AT(U32, s), b = AT(U32, s + n - 4);
      AT(U32, d) = a;
      AT(U32, d + n - 4) = b;
    } else if (n >= 2) {
      uint16_t a = AT(U16, s), b = AT(U16, s + n - 2);
      AT(U16, d) = a;
      AT(U16, d + n - 2) = b;
    } else if (n) *d = *s;
    return to;
  }
  if (n >= LONG) {
    copyLong(d, s, n);
    return to;
  }
  v128_t last = wasm_v128_load(s + n - 16);
  size_t i = 0;
  for (; i + 16 < n; i += 16) wasm_v128_store(d + i, wasm_v128_load(s + i));
  wasm_v128_store(d + n - 16, last);
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  unsigned char *d = to;
  const unsigned char *s = from;
  if (n <= 16) {
    /* Everything is loaded before anything is stored. */
    if (n >= 8) {
      uint64_t a = AT(U64, s), b = AT(U64, s + n - 8);
      AT(U64, d) = a;
      AT(U64, d + n - 8) = b;
    } else if (n >= 4) {
      uint32_t a = AT(U32, s), b = AT(U32, s + n - 4);
      AT(U32, d) = a;
      AT(U32, d + n - 4) = b;
    } else if (n >= 2) {
      uint16_t a = AT(U16, s), b = AT(U16, s + n - 2);
      AT(U16, d) = a;
      AT(U16, d + n - 2) = b;
    } else if (n) *d = *s;
    return to;
  }
  if (n >= LONG) {
    copyLong(d, s, n);
    return to;
  }
  if (d < s) {
    v128_t last = wasm_v128_load(s + n - 16);
    for (size_t i = 0; i + 16 < n; i += 16) wasm_v128_store(d + i, wasm_v128_load(s + i));
    wasm_v128_store(d + n - 16, last);
  } else {
    v128_t first = wasm_v128_load(s);
    for (size_t i = n; i > 16; i -= 16) wasm_v128_store(d + i - 16, wasm_v128_load(s + i - 16));
    wasm_v128_store(d, first);
  }
  return to;
}

void *memset(void *to, int c, size_t n) {
  unsigned char *d = to;
  if (n < 16) {
    for (size_t i = 0; i < n; i++) d[i] = (unsigned char)c;
    return to;
  }
  if (n >= LONG) {
    fillLong(d, c, n);
    return to;
  }
  v128_t v = wasm_i8x16_splat((int8_t)c);
  for (size_t i = 0; i + 16 < n; i += 16) wasm_v128_store(d + i, v);
  wasm_v128_store(d + n - 16, v);
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const unsigned char *x = a, *y = b;
  while (n >= 8) {
    uint64_t p = AT(U64, x), q = AT(U64, y);
    if (p != q) {
      p = __builtin_bswap64(p);
      q = __builtin_bswap64(q);
      return p < q ? -1 : 1;
    }
    x += 8;
    y += 8;
    n -= 8;
  }
  for (; n; n--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

size_t strlen(const char *s) {
  const char *p = s;
  while (*p) p++;
  return (size_t)(p - s);
}
