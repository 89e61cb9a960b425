/* What POSIX says of files, as wasi-libc gives it: each line checks one thing and says which failed. Runs in an empty directory, its `/`. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int checks, failures;
#define CHECK(condition)                                                      \
  do {                                                                        \
    checks++;                                                                 \
    if (!(condition)) {                                                       \
      failures++;                                                             \
      printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno);        \
    }                                                                         \
  } while (0)
#define FAILS(call, error) CHECK((errno = 0, (call) == -1 && errno == (error)))

static void files(void) {
  char text[32] = "";
  int fd = open("/a", O_RDWR | O_CREAT | O_EXCL, 0644);
  CHECK(fd >= 0);
  FAILS(open("/a", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
  FAILS(open("/missing", O_RDONLY), ENOENT);
  FAILS(open("/a/b", O_RDONLY), ENOTDIR);
  CHECK(write(fd, "hello world", 11) == 11);
  CHECK(lseek(fd, 0, SEEK_CUR) == 11);
  CHECK(lseek(fd, 6, SEEK_SET) == 6);
  CHECK(read(fd, text, 5) == 5 && memcmp(text, "world", 5) == 0);
  CHECK(pread(fd, text, 5, 0) == 5 && memcmp(text, "hello", 5) == 0);
  CHECK(pwrite(fd, "HELLO", 5, 0) == 5);
  CHECK(lseek(fd, 0, SEEK_CUR) == 11);
  FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
  struct iovec parts[2] = {{"ab", 2}, {"cd", 2}};
  CHECK(writev(fd, parts, 2) == 4);
  struct stat st;
  CHECK(fstat(fd, &st) == 0 && st.st_size == 15 && S_ISREG(st.st_mode));
  CHECK(ftruncate(fd, 5) == 0 && lseek(fd, 0, SEEK_END) == 5);
  CHECK(ftruncate(fd, 8) == 0 && pread(fd, text, 8, 0) == 8 && memcmp(text, "HELLO\0\0", 8) == 0);
  CHECK(posix_fallocate(fd, 0, 100) == 0 && fstat(fd, &st) == 0 && st.st_size == 100);
  CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
  CHECK(close(fd) == 0);
  FAILS(close(fd), EBADF);
  fd = open("/a", O_WRONLY | O_APPEND);
  CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 101);
  FAILS(read(fd, text, 1), EBADF);
  CHECK(close(fd) == 0);
  fd = open("/a", O_RDONLY);
  FAILS(write(fd, "x", 1), EBADF);
  CHECK(close(fd) == 0);
}

static void names(void) {
  struct stat st;
  CHECK(mkdir("/d", 0755) == 0);
  FAILS(mkdir("/d", 0755), EEXIST);
  FAILS(mkdir("/no/d", 0755), ENOENT);
  CHECK(rename("/a", "/d/b") == 0);
  FAILS(stat("/a", &st), ENOENT);
  CHECK(stat("/d/b", &st) == 0 && st.st_size == 101);
  FAILS(rmdir("/d"), ENOTEMPTY);
  FAILS(unlink("/d"), EISDIR);
  FAILS(rmdir("/d/b"), ENOTDIR);
  CHECK(link("/d/b", "/c") == 0 && stat("/c", &st) == 0 && st.st_nlink == 2);
  CHECK(symlink("d/b", "/l") == 0);
  char target[16] = "";
  CHECK(readlink("/l", target, sizeof target) == 3 && strcmp(target, "d/b") == 0);
  CHECK(lstat("/l", &st) == 0 && S_ISLNK(st.st_mode));
  CHECK(stat("/l", &st) == 0 && S_ISREG(st.st_mode));
  FAILS(open("/l", O_RDONLY | O_NOFOLLOW), ELOOP);
  CHECK(unlink("/d/b") == 0);
  FAILS(open("/l", O_RDONLY), ENOENT);
  CHECK(stat("/c", &st) == 0 && st.st_nlink == 1 && st.st_size == 101);
  struct timespec times[2] = {{1000, 5}, {2000, 7}};
  CHECK(utimensat(AT_FDCWD, "/c", times, 0) == 0 && stat("/c", &st) == 0);
  CHECK(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 7 && st.st_atim.tv_sec == 1000);
  CHECK(rmdir("/d") == 0 && unlink("/l") == 0);
  int fd = open("/c", O_RDONLY);
  char byte = 0;
  CHECK(unlink("/c") == 0 && pread(fd, &byte, 1, 100) == 1 && byte == 'x');
  CHECK(close(fd) == 0);
  FAILS(open("/../x", O_RDONLY), ENOTCAPABLE);
}

static void directories(void) {
  char name[32];
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "/many-%d", i);
    CHECK(close(open(name, O_WRONLY | O_CREAT, 0644)) == 0);
  }
  int seen = 0;
  DIR *all = opendir("/");
  for (struct dirent *entry; (entry = readdir(all)) != NULL;)
    if (strncmp(entry->d_name, "many-", 5) == 0 && entry->d_type == DT_REG) seen++;
  CHECK(seen == 300);
  rewinddir(all);
  CHECK(readdir(all) != NULL);
  CHECK(closedir(all) == 0);
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "/many-%d", i);
    CHECK(unlink(name) == 0);
  }
  FILE *file = fopen("/buffered", "w+");
  for (int i = 0; i < 20000; i++) fprintf(file, "%d\n", i);
  rewind(file);
  long sum = 0;
  for (int i; fscanf(file, "%d", &i) == 1;) sum += i;
  CHECK(sum == 199990000L);
  CHECK(fclose(file) == 0 && remove("/buffered") == 0);
}

static void time_and_waiting(void) {
  struct timespec now, later;
  CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0 && now.tv_sec > 1600000000);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  struct timespec wait = {0, 2000000};
  CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL) == 0);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &later) == 0);
  CHECK((later.tv_sec - now.tv_sec) * 1000000000LL + later.tv_nsec - now.tv_nsec >= 2000000);
  struct pollfd out = {1, POLLOUT, 0};
  CHECK(poll(&out, 1, 1000) == 1 && (out.revents & POLLOUT) != 0);
  unsigned char chance[16] = {0}, none[16] = {0};
  CHECK(getentropy(chance, sizeof chance) == 0 && memcmp(chance, none, sizeof none) != 0);
  CHECK(getenv("COLOUR") != NULL && strcmp(getenv("COLOUR"), "blue") == 0);
}

int main(void) {
  files();
  names();
  directories();
  time_and_waiting();
  printf("%d checks, %d failed\n", checks, failures);
  return failures != 0;
}
