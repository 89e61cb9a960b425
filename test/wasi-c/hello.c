/* The smallest program that has files: writes one, reads it back, says what was in it. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  FILE *file = fopen("/hello.txt", "w");
  if (file == NULL) return 1;
  fprintf(file, "hello, %s", argc > 1 ? argv[1] : "world");
  if (fclose(file) != 0) return 2;
  char text[64] = "";
  file = fopen("/hello.txt", "r");
  if (file == NULL || fgets(text, sizeof text, file) == NULL) return 3;
  puts(text);
  return 0;
}
