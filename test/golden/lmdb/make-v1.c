/*
 * Writes v1.mdb with LMDB 0.9 (Debian's liblmdb-dev 0.9.24):
 *   cc make-v1.c -llmdb -o make-v1 && ./make-v1 v1.mdb && gzip -9n v1.mdb
 * What is in it, test/interchange-lmdb.test.ts says again.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call) do { int rc = (call); if (rc) { fprintf(stderr, "%s: %s\n", #call, mdb_strerror(rc)); exit(1); } } while (0)

static MDB_txn *txn;

static MDB_dbi database(const char *name, unsigned flags) {
  MDB_dbi dbi;
  CHECK(mdb_dbi_open(txn, name, flags | MDB_CREATE, &dbi));
  return dbi;
}

static void put(MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t value_size) {
  MDB_val k = { key_size, (void *)key }, v = { value_size, (void *)value };
  CHECK(mdb_put(txn, dbi, &k, &v, 0));
}

static void text(MDB_dbi dbi, const char *key, const char *value) { put(dbi, key, strlen(key), value, strlen(value)); }

int main(int argc, char **argv) {
  MDB_env *env;
  char key[64], value[64];
  static unsigned char bytes[20000];
  CHECK(mdb_env_create(&env));
  CHECK(mdb_env_set_maxdbs(env, 16));
  CHECK(mdb_env_set_mapsize(env, 1 << 22));
  CHECK(mdb_env_open(env, argc > 1 ? argv[1] : "v1.mdb", MDB_NOSUBDIR, 0644));
  for (int round = 0; round < 2; round++) {
    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    MDB_dbi root = database(NULL, 0), words = database("words", 0), large = database("large", 0), big = database("big endian", 0);
    MDB_dbi ids = database("ids", MDB_INTEGERKEY), wide = database("wide", MDB_INTEGERKEY), tags = database("tags", MDB_DUPSORT);
    MDB_dbi edges = database("edges", MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP), json = database("json", 0);
    database("empty", 0);
    if (round == 0) {
      text(root, "greeting", "hello");
      for (int i = 0; i < 300; i++) {
        sprintf(key, "word %03d", i * 7 % 300);
        sprintf(value, "the %dth, \xc3\xa9", i);
        text(words, key, value);
      }
      for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 31 >> 3);
      put(large, "a", 1, bytes, 5000);
      put(large, "b", 1, bytes, 20000);
      put(large, "c", 1, "", 0);
      put(large, "d", 1, bytes, 2040);
      for (uint32_t i = 0; i < 600; i++) {
        uint32_t id = i * 1000;
        uint64_t square = (uint64_t)i * i;
        put(ids, &id, 4, &square, 8);
        uint64_t far = (uint64_t)i << 40;
        if (i < 20) put(wide, &far, 8, &id, 4);
      }
      for (uint32_t i = 0; i < 10; i++) {
        unsigned char number[4] = { (unsigned char)(i * 40), 0, 0, (unsigned char)i };
        double half = i / 2.0;
        put(big, number, 4, &half, 8);
      }
      text(tags, "one", "alone");
      text(tags, "two", "first");
      text(tags, "two", "second");
      for (int i = 0; i < 500; i++) {
        sprintf(value, "value number %d", i);
        text(tags, "many", value);
      }
      for (uint32_t i = 0; i < 3000; i++) put(edges, "many", 4, &i, 4);
      for (uint32_t i = 0; i < 3; i++) put(edges, "few", 3, &i, 4);
      uint32_t alone = 77;
      put(edges, "one", 3, &alone, 4);
      text(json, "ann", "{\"age\":30,\"tags\":[\"x\",\"y\"],\"name\":\"Ann\"}");
      text(json, "bob", "{\"name\":\"Bob\",\"age\":41.5,\"pet\":null}");
    } else {
      /* Leaves free pages behind, and the newer meta page first. */
      for (int i = 100; i < 250; i++) {
        sprintf(key, "word %03d", i);
        MDB_val k = { strlen(key), key };
        CHECK(mdb_del(txn, words, &k, NULL));
      }
      text(root, "greeting", "hello again");
    }
    CHECK(mdb_txn_commit(txn));
  }
  mdb_env_close(env);
  return 0;
}
