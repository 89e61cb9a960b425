/*
 * PMDK beside the relaxed transaction: one undo-logged transaction of libpmemobj changes a field in each of two random nodes.
 *
 *   pmdk POOL NODES TRANSACTIONS SEED
 *
 * Run with PMEM_IS_PMEM_FORCE=1: persisting is then a flush of the processor's caches, so what is committed survives the death of
 * the process and not, on an ordinary disk, a power failure. Makes the pool where it is missing. Prints nanoseconds a transaction.
 */
#include <libpmemobj.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct node {
  uint32_t value;
  uint32_t key;
  uint64_t next;
};

struct root {
  PMEMoid nodes;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  uint64_t nodes = strtoull(argv[2], NULL, 10), transactions = strtoull(argv[3], NULL, 10), x = strtoull(argv[4], NULL, 10) | 1;
  size_t bytes = nodes * sizeof(struct node);
  PMEMobjpool *pool = access(argv[1], F_OK) == 0 ? pmemobj_open(argv[1], "bench") : pmemobj_create(argv[1], "bench", bytes * 2 + (64 << 20), 0600);
  if (pool == NULL) {
    fprintf(stderr, "%s\n", pmemobj_errormsg());
    return 1;
  }
  PMEMoid base = pmemobj_root(pool, sizeof(struct root));
  struct root *root = pmemobj_direct(base);
  if (OID_IS_NULL(root->nodes) && pmemobj_zalloc(pool, &root->nodes, bytes, 1) != 0) {
    fprintf(stderr, "%s\n", pmemobj_errormsg());
    return 1;
  }
  struct node *all = pmemobj_direct(root->nodes);
  double start = 0;
  uint64_t warm = transactions / 4;
  for (uint64_t i = 0; i < warm + transactions; i++) {
    if (i == warm) start = now();
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    struct node *a = &all[(uint32_t)x % nodes], *b = &all[(uint32_t)(x >> 32) % nodes];
    TX_BEGIN(pool) {
      pmemobj_tx_add_range_direct(&a->value, sizeof a->value);
      pmemobj_tx_add_range_direct(&b->value, sizeof b->value);
      a->value = (uint32_t)i;
      b->value = ~(uint32_t)i;
    }
    TX_END
  }
  printf("%.2f\n", (now() - start) / (double)transactions);
  pmemobj_close(pool);
  return 0;
}
