/*
 * The limit for the walk: the same object file, mapped, its chain followed by C.
 *
 *   walk FILE FIRST_OFFSET
 *
 * VALUE_AT and NEXT_AT are the offsets of the two fields in a node, given when this is compiled. A pointer's lower 40 bits are the
 * offset in the object. Walks once to touch every page and once for the clock; prints nanoseconds a hop, the sum and the hops.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define OFFSET_MASK ((UINT64_C(1) << 40) - 1)

static uint64_t hops;

__attribute__((noinline)) static uint64_t walk(const uint8_t *base, uint64_t at) {
  uint64_t sum = 0, count = 0;
  while (at != 0) {
    sum += *(const uint32_t *)(base + at + VALUE_AT);
    at = *(const uint64_t *)(base + at + NEXT_AT) & OFFSET_MASK;
    count++;
  }
  hops = count;
  return sum;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int fd = open(argv[1], O_RDONLY);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    perror(argv[1]);
    return 1;
  }
  const uint8_t *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  uint64_t first = strtoull(argv[2], NULL, 10);
  uint64_t sum = walk(base, first);
  double start = now();
  sum += walk(base, first);
  double spent = now() - start;
  printf("%.4f %llu %llu\n", spent / (double)hops, (unsigned long long)(sum / 2), (unsigned long long)hops);
  return 0;
}
