/* Writes a file, then ends as it is told: ending HOW [TEXT]. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "well";
  const char *text = argc > 2 ? argv[2] : "text";
  int fd = open("/out", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return 2;
  if (write(fd, text, strlen(text)) < 0) return 3;
  printf("wrote\n");
  fflush(stdout);
  if (strcmp(how, "trap") == 0) __builtin_trap();
  if (strcmp(how, "loop") == 0)
    for (volatile int i = 0;; i++) continue;
  if (strcmp(how, "code") == 0) return 9;
  if (strcmp(how, "fill") == 0) {
    static char block[65536];
    while (write(fd, block, sizeof block) > 0) continue;
    perror("fill");
    return 4;
  }
  return 0;
}
