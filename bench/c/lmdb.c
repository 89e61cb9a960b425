/*
 * LMDB's own API, without Node: what its binding costs, and what the data structure does.
 *
 *   lmdb load PATH text|integer COUNT BATCH          nanoseconds an entry, bytes of the file
 *   lmdb get  PATH text|integer COUNT READS HOT      nanoseconds a read of READS among the first HOT entries of a random order
 *   lmdb scan PATH text|integer COUNT forwards|reverse|ranges RANGES   nanoseconds a row
 *
 * Values have 100 bytes; a reader touches the first and the last. Loading is in transactions of BATCH in random order, without a sync a
 * transaction (MDB_NOSYNC) and with one at the end. All reads are in one transaction.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define VALUE 100
#define KEY 16

static int integers;
static MDB_env *env;
static MDB_dbi dbi;

static void need(int status, const char *what) {
  if (status == 0) return;
  fprintf(stderr, "%s: %s\n", what, mdb_strerror(status));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint32_t state = 12345;
static uint32_t draw(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state % below;
}

static size_t key_of(char *to, uint32_t i) {
  if (integers) {
    memcpy(to, &i, 4);
    return 4;
  }
  return (size_t)snprintf(to, KEY, "user%09u", i);
}

static uint32_t *shuffled(uint32_t count) {
  uint32_t *order = malloc(sizeof(uint32_t) * count);
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  for (uint32_t i = count - 1; i > 0; i--) {
    uint32_t j = draw(i + 1), held = order[i];
    order[i] = order[j];
    order[j] = held;
  }
  return order;
}

static void load(const char *path, uint32_t count, uint32_t batch) {
  uint32_t *order = shuffled(count);
  char key[KEY], value[VALUE];
  double start = now();
  for (uint32_t from = 0; from < count; from += batch) {
    MDB_txn *txn;
    need(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    for (uint32_t i = from; i < count && i < from + batch; i++) {
      MDB_val k = {key_of(key, order[i]), key}, v = {VALUE, value};
      for (int b = 0; b < VALUE; b++) value[b] = (char)(order[i] * 31 + (uint32_t)b);
      need(mdb_put(txn, dbi, &k, &v, 0), "put");
    }
    need(mdb_txn_commit(txn), "commit");
  }
  need(mdb_env_sync(env, 1), "sync");
  double spent = now() - start;
  struct stat st;
  need(stat(path, &st), path);
  printf("%.2f %lld\n", spent / count, (long long)st.st_size);
}

static void get(uint32_t count, uint32_t reads, uint32_t hot) {
  uint32_t *order = shuffled(count);
  char *keys = malloc((size_t)reads * KEY);
  size_t *lengths = malloc((size_t)reads * sizeof(size_t));
  for (uint32_t i = 0; i < reads; i++) lengths[i] = key_of(keys + (size_t)i * KEY, order[draw(hot)]);
  MDB_txn *txn;
  need(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
  uint64_t sum = 0;
  double spent = 0;
  for (int round = 0; round < 2; round++) {
    double start = now();
    for (uint32_t i = 0; i < reads; i++) {
      MDB_val k = {lengths[i], keys + (size_t)i * KEY}, v;
      need(mdb_get(txn, dbi, &k, &v), "get");
      sum += ((unsigned char *)v.mv_data)[0] + ((unsigned char *)v.mv_data)[v.mv_size - 1];
    }
    spent = now() - start;
  }
  printf("%.2f %llu\n", spent / reads, (unsigned long long)sum);
}

static uint64_t walk(MDB_cursor *cursor, MDB_cursor_op first, MDB_cursor_op next, MDB_val k, uint32_t limit, uint64_t *sum) {
  MDB_val v;
  uint64_t rows = 0;
  for (int status = mdb_cursor_get(cursor, &k, &v, first); status == 0 && rows < limit; status = mdb_cursor_get(cursor, &k, &v, next)) {
    *sum += ((unsigned char *)v.mv_data)[0] + ((unsigned char *)v.mv_data)[v.mv_size - 1];
    rows++;
  }
  return rows;
}

static void scan(uint32_t count, const char *mode, uint32_t ranges) {
  MDB_txn *txn;
  MDB_cursor *cursor;
  need(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
  need(mdb_cursor_open(txn, dbi, &cursor), "cursor");
  uint64_t sum = 0, rows = 0;
  double spent = 0;
  char key[KEY];
  for (int round = 0; round < 2; round++) {
    rows = 0;
    double start = now();
    MDB_val none = {0, NULL};
    if (strcmp(mode, "forwards") == 0) rows = walk(cursor, MDB_FIRST, MDB_NEXT, none, UINT32_MAX, &sum);
    else if (strcmp(mode, "reverse") == 0) rows = walk(cursor, MDB_LAST, MDB_PREV, none, UINT32_MAX, &sum);
    else
      for (uint32_t i = 0; i < ranges; i++) {
        MDB_val k = {key_of(key, draw(count)), key};
        rows += walk(cursor, MDB_SET_RANGE, MDB_NEXT, k, 100, &sum);
      }
    spent = now() - start;
  }
  printf("%.4f %llu %llu\n", spent / (double)rows, (unsigned long long)sum, (unsigned long long)rows);
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  int loading = strcmp(argv[1], "load") == 0;
  integers = strcmp(argv[3], "integer") == 0;
  uint32_t count = (uint32_t)strtoul(argv[4], NULL, 10);
  need(mdb_env_create(&env), "create");
  need(mdb_env_set_mapsize(env, (size_t)1 << 36), "mapsize");
  need(mdb_env_open(env, argv[2], MDB_NOSUBDIR | (loading ? MDB_NOSYNC : MDB_RDONLY), 0600), argv[2]);
  MDB_txn *txn;
  need(mdb_txn_begin(env, NULL, loading ? 0 : MDB_RDONLY, &txn), "begin");
  need(mdb_dbi_open(txn, NULL, integers ? MDB_INTEGERKEY : 0, &dbi), "dbi");
  need(mdb_txn_commit(txn), "commit");
  if (loading) load(argv[2], count, (uint32_t)strtoul(argv[5], NULL, 10));
  else if (strcmp(argv[1], "get") == 0 && argc == 7) get(count, (uint32_t)strtoul(argv[5], NULL, 10), (uint32_t)strtoul(argv[6], NULL, 10));
  else if (strcmp(argv[1], "scan") == 0 && argc == 7) scan(count, argv[5], (uint32_t)strtoul(argv[6], NULL, 10));
  else return 2;
  return 0;
}
