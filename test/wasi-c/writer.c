/* Writes the same numbers to two files, one after the other, for ever; at each thousandth a third file is written whole and put in its place. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
  int a = open("/a", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  int b = open("/b", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  static unsigned whole[10000];
  for (unsigned i = 0;; i++) {
    if (write(a, &i, sizeof i) != sizeof i || write(b, &i, sizeof i) != sizeof i) return 1;
    if (i % 1000 != 0) continue;
    for (int k = 0; k < 10000; k++) whole[k] = i;
    int fd = open("/new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, whole, sizeof whole) != sizeof whole || close(fd) != 0 || rename("/new", "/done") != 0) return 2;
    if (write(1, "x", 1) != 1) return 3;
  }
}
