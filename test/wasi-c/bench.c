/* How long files take: run it with a directory as `/`. Prints milliseconds. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char block[1 << 16];
static unsigned chance = 1;
static double began;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void done(const char *what) {
  printf("%-28s %7.0f ms\n", what, now() - began);
  began = now();
}

static off_t somewhere(void) {
  chance = chance * 1664525 + 1013904223;
  return (off_t)(chance >> 18) * 4096;
}

static const char *name(int i) {
  static char text[32];
  snprintf(text, sizeof text, "/x%d", i);
  return text;
}

int main(void) {
  long bytes = 0;
  struct stat st;
  int fd = open("/f", O_RDWR | O_CREAT | O_TRUNC, 0644);
  began = now();
  for (int i = 0; i < 16384; i++) bytes += write(fd, block, 4096);
  done("write 64 MiB by 4 KiB");
  lseek(fd, 0, SEEK_SET);
  for (int i = 0; i < 1024; i++) bytes += read(fd, block, 65536);
  done("read 64 MiB by 64 KiB");
  for (int i = 0; i < 100000; i++) bytes += pread(fd, block, 4096, somewhere());
  done("read 100,000 x 4 KiB");
  for (int i = 0; i < 20000; i++) bytes += pwrite(fd, block, 4096, somewhere());
  done("write 20,000 x 4 KiB");
  for (int i = 0; i < 500000; i++) bytes += write(fd, block, 10);
  done("write 500,000 x 10 B");
  for (int i = 0; i < 2000; i++) {
    int made = open(name(i), O_CREAT | O_WRONLY, 0644);
    bytes += write(made, block, 5);
    close(made);
  }
  done("make 2,000 files");
  for (int i = 0; i < 20000; i++) bytes += stat(name(i % 2000), &st);
  done("stat 20,000 times");
  for (int i = 0; i < 2000; i++) unlink(name(i));
  done("remove 2,000 files");
  for (int i = 0; i < 50; i++) {
    bytes += pwrite(fd, block, 4096, 0);
    fsync(fd);
  }
  done("write and fsync 50 times");
  unlink("/f");
  return bytes < 0;
}
