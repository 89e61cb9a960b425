/*
 * The limit for the red-black tree: the same nodes of 16 bytes in a mapped file, in plain C, with neither transactions nor bounds checks.
 *
 *   rbtree FILE COUNT LOOKUPS SEED
 *
 * Keys are the numbers up to COUNT, mixed by a bijection, in the order of the numbers. Prints nanoseconds an insert and a lookup, and
 * the sum of what was found.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A link is the number of a node, 0 for none. The right one has the colour in its uppermost bit: 1 for red. */
struct node {
  uint32_t key;
  uint32_t link[2];
  uint32_t value;
};

#define RED UINT32_C(0x80000000)

static struct node *nodes;
static uint32_t root, used;

static uint32_t mix(uint32_t x) {
  x ^= x >> 16, x *= 0x85ebca6b, x ^= x >> 13, x *= 0xc2b2ae35;
  return x ^ x >> 16;
}

static int is_red(uint32_t n) {
  return n != 0 && (nodes[n].link[1] & RED) != 0;
}

static uint32_t child(uint32_t n, int side) {
  return nodes[n].link[side] & ~RED;
}

static void set_child(uint32_t n, int side, uint32_t to) {
  nodes[n].link[side] = (nodes[n].link[side] & RED) | to;
}

static void paint(uint32_t n, uint32_t colour) {
  nodes[n].link[1] = (nodes[n].link[1] & ~RED) | colour;
}

static uint32_t rotate(uint32_t n, int side) {
  uint32_t risen = child(n, side);
  set_child(n, side, child(risen, 1 - side));
  set_child(risen, 1 - side, n);
  return risen;
}

static uint32_t way[72];
static uint8_t turns[72];

static void hang(int depth, uint32_t n) {
  if (depth == 0) root = n;
  else set_child(way[depth - 1], turns[depth - 1], n);
}

static void insert(uint32_t key, uint32_t value) {
  int depth = 0;
  for (uint32_t n = root; n != 0; n = child(n, turns[depth - 1])) {
    if (nodes[n].key == key) {
      nodes[n].value = value;
      return;
    }
    way[depth] = n;
    turns[depth++] = nodes[n].key < key;
  }
  uint32_t n = ++used;
  nodes[n] = (struct node){key, {0, RED}, value};
  hang(depth, n);
  while (depth >= 2 && is_red(way[depth - 1])) {
    uint32_t parent = way[depth - 1], grand = way[depth - 2];
    int side = turns[depth - 2];
    uint32_t uncle = child(grand, 1 - side);
    if (!is_red(uncle)) {
      if (turns[depth - 1] != side) set_child(grand, side, rotate(parent, 1 - side));
      uint32_t risen = rotate(grand, side);
      paint(risen, 0);
      paint(grand, RED);
      hang(depth - 2, risen);
      return;
    }
    paint(parent, 0);
    paint(uncle, 0);
    paint(grand, RED);
    n = grand;
    depth -= 2;
  }
  if (depth == 0) paint(n, 0);
}

__attribute__((noinline)) static uint32_t lookup(uint32_t key) {
  for (uint32_t n = root; n != 0;) {
    const struct node *at = &nodes[n];
    if (at->key == key) return at->value;
    n = at->link[at->key < key] & ~RED;
  }
  return 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10), lookups = (uint32_t)strtoul(argv[3], NULL, 10);
  uint64_t x = strtoull(argv[4], NULL, 10) | 1;
  size_t bytes = ((size_t)count + 1) * sizeof(struct node);
  int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
    perror(argv[1]);
    return 1;
  }
  nodes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (nodes == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  double start = now();
  for (uint32_t i = 0; i < count; i++) insert(mix(i), i);
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
  return 0;
}
