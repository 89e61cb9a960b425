/*
 * PMDK beside the red-black tree: what the rbtree_map of PMDK's own examples does, with the value in the node, so that an insert
 * allocates once. Links are PMEMoids, a sentinel stands for missing nodes, each insert is a transaction of libpmemobj.
 *
 *   rbtree-pmdk POOL COUNT LOOKUPS SEED BATCH
 *
 * Run with PMEM_IS_PMEM_FORCE=1 (see pmdk.c). Keys as in rbtree.c; BATCH inserts share a transaction. A pool that is there is filled
 * already. Prints nanoseconds an insert and a lookup, and the sum of what was found.
 */
#include <libpmemobj.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

POBJ_LAYOUT_BEGIN(rbtree);
POBJ_LAYOUT_ROOT(rbtree, struct tree);
POBJ_LAYOUT_TOID(rbtree, struct node);
POBJ_LAYOUT_END(rbtree);

struct node {
  uint32_t key;
  uint32_t value;
  uint32_t red;
  TOID(struct node) parent;
  TOID(struct node) slots[2];
};

struct tree {
  TOID(struct node) sentinel;
  TOID(struct node) root;
};

static PMEMobjpool *pool;
static TOID(struct tree) map;

/* Copies: the macros of transactions write to what they are given. */
static TOID(struct node) slot(TOID(struct node) n, int s) {
  return D_RO(n)->slots[s];
}

static TOID(struct node) above(TOID(struct node) n) {
  return D_RO(n)->parent;
}

static void set_red(TOID(struct node) n, uint32_t red) {
  TX_SET(n, red, red);
}

static uint32_t mix(uint32_t x) {
  x ^= x >> 16, x *= 0x85ebca6b, x ^= x >> 13, x *= 0xc2b2ae35;
  return x ^ x >> 16;
}

static void rotate(TOID(struct node) node, int c) {
  TOID(struct node) child = slot(node, 1 - c);
  TOID(struct node) s = D_RO(map)->sentinel;
  TX_ADD(node);
  TX_ADD(child);
  D_RW(node)->slots[1 - c] = slot(child, c);
  TOID(struct node) inner = slot(child, c);
  if (!TOID_EQUALS(inner, s)) TX_SET(inner, parent, node);
  TOID(struct node) parent = above(node);
  D_RW(child)->parent = parent;
  TX_ADD(parent);
  D_RW(parent)->slots[TOID_EQUALS(node, slot(parent, 0)) ? 0 : 1] = child;
  D_RW(child)->slots[c] = node;
  D_RW(node)->parent = child;
}

/* The root hangs on the left of a node above it, as in the example. */
static void insert(uint32_t key, uint32_t value) {
  TOID(struct node) s = D_RO(map)->sentinel;
  TOID(struct node) top = D_RO(map)->root;
  TOID(struct node) parent = top;
  TOID(struct node) dst = slot(top, 0);
  int side = 0;
  while (!TOID_EQUALS(dst, s)) {
    if (D_RO(dst)->key == key) {
      TX_SET(dst, value, value);
      return;
    }
    parent = dst;
    side = key > D_RO(dst)->key;
    dst = slot(dst, side);
  }
  TOID(struct node) n = TX_NEW(struct node);
  *D_RW(n) = (struct node){key, value, 1, parent, {s, s}};
  TX_ADD_FIELD(parent, slots[side]);
  D_RW(parent)->slots[side] = n;
  while (D_RO(above(n))->red) {
    TOID(struct node) grand = above(above(n));
    int c = TOID_EQUALS(above(n), slot(grand, 0)) ? 1 : 0;
    TOID(struct node) uncle = slot(grand, c);
    if (D_RO(uncle)->red) {
      set_red(uncle, 0);
      set_red(above(n), 0);
      set_red(grand, 1);
      n = grand;
      continue;
    }
    if (TOID_EQUALS(n, slot(above(n), c))) {
      n = above(n);
      rotate(n, 1 - c);
    }
    set_red(above(n), 0);
    set_red(grand, 1);
    rotate(grand, c);
  }
  TOID(struct node) first = slot(top, 0);
  if (D_RO(first)->red) set_red(first, 0);
}

__attribute__((noinline)) static uint32_t lookup(uint32_t key) {
  TOID(struct node) s = D_RO(map)->sentinel;
  TOID(struct node) n = slot(D_RO(map)->root, 0);
  while (!TOID_EQUALS(n, s)) {
    const struct node *at = D_RO(n);
    if (at->key == key) return at->value;
    n = at->slots[key > at->key];
  }
  return 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10), lookups = (uint32_t)strtoul(argv[3], NULL, 10);
  uint64_t x = strtoull(argv[4], NULL, 10) | 1;
  uint32_t batch = (uint32_t)strtoul(argv[5], NULL, 10);
  int filled = access(argv[1], F_OK) == 0;
  pool = filled ? pmemobj_open(argv[1], POBJ_LAYOUT_NAME(rbtree))
                : pmemobj_create(argv[1], POBJ_LAYOUT_NAME(rbtree), (size_t)count * 256 + (64 << 20), 0600);
  if (pool == NULL) {
    fprintf(stderr, "%s\n", pmemobj_errormsg());
    return 1;
  }
  map = POBJ_ROOT(pool, struct tree);
  if (!filled) TX_BEGIN(pool) {
    TX_ADD(map);
    TOID(struct node) s = TX_ZNEW(struct node);
    D_RW(s)->parent = s, D_RW(s)->slots[0] = s, D_RW(s)->slots[1] = s;
    TOID(struct node) top = TX_ZNEW(struct node);
    D_RW(top)->parent = s, D_RW(top)->slots[0] = s, D_RW(top)->slots[1] = s;
    D_RW(map)->sentinel = s;
    D_RW(map)->root = top;
  }
  TX_END
  double start = now();
  for (uint32_t i = 0; i < count && !filled; i += batch) {
    TX_BEGIN(pool) {
      for (uint32_t j = i; j < i + batch && j < count; j++) insert(mix(j), j);
    }
    TX_ONABORT {
      fprintf(stderr, "%s\n", pmemobj_errormsg());
      exit(1);
    }
    TX_END
  }
  double inserted = (now() - start) / count;
  uint32_t *keys = malloc(lookups * sizeof *keys);
  for (uint32_t i = 0; i < lookups; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    keys[i] = mix((uint32_t)(x % count));
  }
  uint64_t sum = 0;
  start = now();
  for (uint32_t i = 0; i < lookups; i++) sum += lookup(keys[i]);
  printf("%.2f %.2f %llu\n", inserted, (now() - start) / lookups, (unsigned long long)sum);
  pmemobj_close(pool);
  return 0;
}
