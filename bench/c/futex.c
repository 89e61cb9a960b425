/*
 * The limit for waking: two processes and two words of one file, mapped.
 *
 *   futex FILE ROUNDS SPINS
 *
 * The child answers each change of the first word with the same in the second. Each side looks SPINS times before it sleeps; with SPINS
 * below zero it never sleeps. Prints nanoseconds a round trip.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long spins;

static void await(_Atomic int32_t *word, int32_t old) {
  for (long looked = 0; *word == old; looked++)
    if (spins >= 0 && looked >= spins) syscall(SYS_futex, word, FUTEX_WAIT, old, NULL, NULL, 0);
}

static void tell(_Atomic int32_t *word, int32_t value) {
  *word = value;
  if (spins >= 0) syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  int file = open(arguments[1], O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, 4096) != 0) return 1;
  int32_t rounds = atoi(arguments[2]);
  spins = atol(arguments[3]);
  _Atomic int32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (words == MAP_FAILED) return 1;
  words[0] = words[16] = 0;
  pid_t child = fork();
  if (child == 0) {
    for (int32_t i = 1; i <= rounds; i++) {
      await(&words[0], i - 1);
      tell(&words[16], i);
    }
    return 0;
  }
  struct timespec begin, end;
  for (int32_t i = 1; i <= rounds; i++) {
    if (i == 2) clock_gettime(CLOCK_MONOTONIC, &begin);
    tell(&words[0], i);
    await(&words[16], i - 1);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  waitpid(child, NULL, 0);
  printf("%f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / (rounds - 1));
  return 0;
}
