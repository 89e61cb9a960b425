/*
 * Twizzler for programs in C and C++: what the syscalls do not say themselves. No library is needed; `twz build` compiles a file that includes
 * this. A program begins in `TWZ_MAIN`, which gives its exit status:
 *
 *   #include "twizzler.h"
 *   TWZ_MAIN { twz_print("hello\n"); return 0; }
 *
 * Functions that give a place give NULL where there is none and where they fail; `twz_error` has the text then.
 */
#ifndef TWIZZLER_H
#define TWIZZLER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "syscalls.h"

/* Exports a function, such as a gate. */
#define TWZ_EXPORT(name) __attribute__((export_name(name), used))
#define TWZ_MAIN TWZ_EXPORT("main") int32_t twz_main(void)

#define TWZ_READ 1u
#define TWZ_WRITE 2u
#define TWZ_OWNED 1u
#define TWZ_VOLATILE 3u
#define TWZ_SHARED 4u

/* A field of text or bytes: a block in the same object. */
typedef struct twz_text { uint32_t offset; uint32_t length; } twz_text;
/* A field that refers to a place: an offset in the lower 40 bits, a number of the object's table of foreign objects in the upper 24. */
typedef struct twz_pointer { uint32_t low; uint32_t high; } twz_pointer;
/* A text that lies somewhere in memory; no 0 ends it. */
typedef struct twz_slice { const char *at; uint32_t length; } twz_slice;

/* In the first page of an object: not 0 where structs of it have moved. */
enum { TWZ_META_FORWARDS = 120 };

static inline uint32_t twz_length(const char *text) {
  uint32_t n = 0;
  while (text[n] != 0) n++;
  return n;
}

/* Is this result of a syscall an error? Pointers use all 64 bits, but for offsets that no object has. */
static inline bool twz_failed(int64_t result) { return result < 0 && result >= -0xffff; }

static inline void twz_write_all(uint32_t stream, const char *at, uint32_t length) {
  while (length > 0) {
    int64_t taken = twz_write(stream, at, length);
    if (taken <= 0) return;
    at += taken;
    length -= (uint32_t)taken;
  }
}
static inline void twz_print(const char *text) { twz_write_all(1, text, twz_length(text)); }
static inline void twz_print_slice(twz_slice text) { twz_write_all(1, text.at, text.length); }

static inline void twz_print_number(int64_t value) {
  char digits[24];
  uint32_t at = sizeof digits;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0) digits[--at] = '-';
  twz_write_all(1, digits + at, sizeof digits - at);
}

/* Ends the program where a result is an error, with the error's text. */
static inline int64_t twz_must(int64_t result) {
  if (!twz_failed(result)) return result;
  char text[512];
  int64_t length = twz_error(text, sizeof text);
  if (length > (int64_t)sizeof text) length = sizeof text;
  if (length > 0) twz_write_all(2, text, (uint32_t)length);
  twz_write_all(2, "\n", 1);
  twz_exit(1);
}

static inline bool twz_same(twz_slice a, const char *text) {
  for (uint32_t i = 0; i < a.length; i++) if (text[i] == 0 || text[i] != a.at[i]) return false;
  return text[a.length] == 0;
}

/* --- objects ------------------------------------------------------------------------------------------------------------------ */

/* The first byte of the object of that name, mapped. */
static inline void *twz_open(const char *path, uint32_t rights) {
  twz_id id;
  if (twz_failed(twz_name_find(path, twz_length(path), &id))) return NULL;
  int64_t at = twz_object_map(&id, rights);
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}

/* The object that was looked at last, and what pointers out of it led to. Each translation unit has its own. */
static struct twz_near { uintptr_t base, size; } twz_near;
static struct twz_far { uintptr_t base; uint32_t index; uintptr_t target; } twz_far[64];

/* Must be called after `twz_object_unmap`; `twz_run` does. */
static inline void twz_forget(void) {
  twz_near.base = twz_near.size = 0;
  for (int i = 0; i < 64; i++) twz_far[i].base = 0;
}

/* The first byte of the object that `at` lies in. */
static inline uintptr_t twz_base(const void *place) {
  uintptr_t at = (uintptr_t)place;
  if (at - twz_near.base < twz_near.size) return twz_near.base;
  twz_id id;
  int64_t offset = twz_object_at(place, &id);
  if (twz_failed(offset)) return 0;
  twz_near.base = at - (uintptr_t)offset;
  uint32_t stat[8];
  twz_near.size = twz_object_stat(&id, stat, sizeof stat) < 0 ? 1 : stat[0];
  return twz_near.base;
}

/* Late-bound pointers and those into objects whose structs moved are resolved each time. */
static inline bool twz_leads_straight(uintptr_t to, uint32_t low) {
  twz_id id;
  uint32_t stat[8];
  if (twz_object_at((void *)to, &id) != (int64_t)low || twz_object_stat(&id, stat, sizeof stat) < 0) return false;
  if (stat[1] == TWZ_SHARED) return true;
  return (stat[2] & TWZ_READ) != 0 && *(const uint32_t *)(to - low + TWZ_META_FORWARDS) == 0;
}

/* Where a stored pointer leads; NULL for null, and where it cannot be followed. */
static inline void *twz_follow(const twz_pointer *at) {
  uint32_t low = at->low, high = at->high;
  if (high == 0) return low == 0 ? NULL : (void *)(twz_base(at) + low);
  uintptr_t base = twz_base(at);
  struct twz_far *far = &twz_far[((high >> 8) ^ (base >> 12)) & 63];
  if (low != 0 && (high & 255) == 0 && far->base == base && far->index == high >> 8) return (void *)(far->target + low);
  int64_t result = twz_resolve(at, (int64_t)((uint64_t)high << 32 | low), TWZ_READ | TWZ_WRITE);
  if (twz_failed(result)) return NULL;
  if (low != 0 && twz_leads_straight((uintptr_t)result, low))
    *far = (struct twz_far){base, high >> 8, (uintptr_t)result - low};
  return (void *)(uintptr_t)result;
}

/* Stores a pointer to a place, NULL for none; in a transaction. */
static inline int64_t twz_refer_to(twz_pointer *at, const void *to) {
  twz_pointer old = *at;
  if (to == NULL) *at = (twz_pointer){0, 0};
  else {
    uintptr_t base = twz_base(at);
    if (base != 0 && (uintptr_t)to - base < twz_near.size) *at = (twz_pointer){(uint32_t)((uintptr_t)to - base), 0};
    else {
      int64_t pointer = twz_refer(at, to);
      if (twz_failed(pointer)) return pointer;
      *at = (twz_pointer){(uint32_t)pointer, (uint32_t)((uint64_t)pointer >> 32)};
    }
  }
  return old.high >> 8 == 0 ? 0 : twz_unrefer(at, (int64_t)((uint64_t)old.high << 32 | old.low));
}

/* The root of the object that is mapped at `object`, where its type has that fingerprint. */
static inline void *twz_root_of(const void *object, uint64_t fingerprint) {
  if (object == NULL) return NULL;
  int64_t root = twz_object_root_as(object, (int64_t)fingerprint);
  return twz_failed(root) ? NULL : (void *)(uintptr_t)root;
}

/* A text where it lies. */
static inline twz_slice twz_text_of(const twz_text *field) {
  if (field->length == 0) return (twz_slice){"", 0};
  return (twz_slice){(const char *)(twz_base(field) + field->offset), field->length};
}
static inline int64_t twz_set_text(twz_text *field, const char *value) { return twz_text_set(field, value, twz_length(value)); }

/* A zeroed block in the object that `near` lies in, in a transaction. */
static inline void *twz_new(const void *near, uint32_t size) {
  int64_t at = twz_allocate(near, size);
  twz_near.size = 0;
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}

/* A new object, mapped, with a zeroed root of a type; in a transaction. */
static inline void *twz_make(uint32_t size, const char *schema) {
  twz_id id;
  if (twz_failed(twz_object_create(TWZ_OWNED, TWZ_READ | TWZ_WRITE, 0, &id))) return NULL;
  int64_t object = twz_object_map(&id, TWZ_READ | TWZ_WRITE);
  if (twz_failed(object)) return NULL;
  void *root = twz_new((void *)(uintptr_t)object, size);
  if (root == NULL || twz_failed(twz_object_set_root(root))) return NULL;
  return twz_failed(twz_object_set_types(root, schema, twz_length(schema))) ? NULL : root;
}

/*
 * Runs a function as a transaction: all its stores to objects happen, or none. It may be called again from the start. Where it gives less
 * than 0, nothing is changed.
 */
static inline int64_t twz_run(twz_function run, uint32_t argument) {
  twz_forget();
  int64_t result = twz_transact(run, argument, 0);
  twz_forget();
  return result;
}

/* --- collections --------------------------------------------------------------------------------------------------------------- */

/* `type`: as the schema of its object names it, such as "Vec<f64>". Ends the program where there is no such collection. */
static inline uint32_t twz_collection(const void *at, const char *type) {
  return (uint32_t)twz_must(twz_collection_open_as(at, type, twz_length(type)));
}
/* The value of a key, where it lies. */
static inline void *twz_find(uint32_t collection, const void *key, uint32_t length) {
  int64_t at = twz_collection_find(collection, key, length);
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}
static inline void *twz_insert(uint32_t collection, const void *key, uint32_t length) {
  int64_t at = twz_collection_insert(collection, key, length);
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}
static inline void *twz_at(uint32_t collection, uint32_t index) {
  int64_t at = twz_collection_at(collection, index);
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}
static inline void *twz_push(uint32_t collection) {
  int64_t at = twz_collection_push(collection);
  return twz_failed(at) ? NULL : (void *)(uintptr_t)at;
}

/* Memory for what is given to gates, `bytes` of it: a program with gates that take text or bytes has this once. */
#define TWZ_BUFFER(bytes)                                                 \
  static unsigned char twz_buffer_memory[bytes];                          \
  static uint32_t twz_buffer_used;                                        \
  TWZ_EXPORT("twz_buffer") void *twz_buffer(uint32_t length) {            \
    uint32_t taken = (length + 15) & ~15u;                                \
    if (taken < length || taken > (bytes)) return NULL;                   \
    if (taken > (bytes) - twz_buffer_used) twz_buffer_used = 0;           \
    void *at = twz_buffer_memory + twz_buffer_used;                       \
    twz_buffer_used += taken;                                             \
    return at;                                                            \
  }

#endif
