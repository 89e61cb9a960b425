/*
** What the host calls. Numbers are 32-bit integers and doubles, because those cost nothing to hand over; a 64-bit integer is two words.
**
** A row is handed over as one array of cells: the host reads it without a further call.
*/
typedef struct {
  int type; /* SQLITE_INTEGER and so on; an integer that a double holds exactly is INTEGER, others are WIDE */
  int n;    /* bytes of text or blob; of text negative where it is ASCII */
  union {
    double number;
    i64 wide;
    u32 at;
  };
} Cell;

#define WIDE 6
#define CELLS_MAX 2000
static Cell cells[CELLS_MAX];

EXPORT Cell *twz_cells(void) { return cells; }

/* Who calls it himself is not a command, of which the linker would begin and end the C library around each exported function. */
extern void __wasm_call_ctors(void);

EXPORT int twz_start(void) {
  __wasm_call_ctors();
  sqlite3_config(SQLITE_CONFIG_MALLOC, &heapMethods);
  return sqlite3_initialize();
}

EXPORT void *twz_malloc(int n) { return sqlite3_malloc(n); }
EXPORT void twz_free(void *p) { sqlite3_free(p); }

/* --- databases ---------------------------------------------------------------------------------------------------------- */

EXPORT int twz_store_new(void) {
  for (int id = 0; id < STORES_MAX; id++) {
    if (stores[id]) continue;
    Store *s = sqlite3_malloc(sizeof(Store));
    if (s == 0) return -1;
    memset(s, 0, sizeof(Store));
    s->id = id;
    stores[id] = s;
    return id;
  }
  return -1;
}

EXPORT void twz_store_free(int id) {
  Store *s = stores[id];
  sqlite3_free(s->list);
  sqlite3_free(s->kept);
  sqlite3_free(s->slots);
  sqlite3_free(s);
  stores[id] = 0;
}

EXPORT u32 *twz_store_extents(int id) { return stores[id]->extents; }

/* What the object shows is another state than before; `stale`: one that did not come about by commits of this connection alone. */
EXPORT void twz_store_set(int id, u32 origin, u32 size, u32 extents, int readonly, int stale) {
  Store *s = stores[id];
  s->stale |= stale;
  s->origin = origin;
  s->size = s->length = size;
  s->extentCount = extents;
  s->readonly = readonly;
}

static sqlite3 *opened;
EXPORT sqlite3 *twz_opened(void) { return opened; }

/* `name`: of a store, or ":memory:". */
EXPORT int twz_open(const char *name, int readonly) {
  int rc = sqlite3_open_v2(name, &opened, readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY * (name[0] == ':'), 0);
  if (rc) return rc;
  sqlite3_extended_result_codes(opened, 1);
  /* Transactions are those of the space: SQLite keeps the old pages in memory, for ROLLBACK. */
  if (name[0] != ':') sqlite3PagerSetJournalMode(sqlite3BtreePager(opened->aDb[0].pBt), PAGER_JOURNALMODE_MEMORY);
  return rc;
}

EXPORT int twz_close(sqlite3 *db) { return sqlite3_close(db); }
EXPORT const char *twz_errmsg(sqlite3 *db) { return sqlite3_errmsg(db); }
EXPORT int twz_errcode(sqlite3 *db) { return sqlite3_extended_errcode(db); }
EXPORT const char *twz_errstr(int rc) { return sqlite3_errstr(rc); }
EXPORT int twz_erroffset(sqlite3 *db) { return sqlite3_error_offset(db); }
EXPORT int twz_autocommit(sqlite3 *db) { return sqlite3_get_autocommit(db); }
EXPORT int twz_changes(sqlite3 *db) { return sqlite3_changes(db); }
EXPORT i64 *twz_last_rowid(sqlite3 *db) {
  static i64 id;
  id = sqlite3_last_insert_rowid(db);
  return &id;
}

/* --- statements --------------------------------------------------------------------------------------------------------- */

static const char *tail;
EXPORT const char *twz_tail(void) { return tail; }
static sqlite3_stmt *prepared;
EXPORT sqlite3_stmt *twz_prepared(void) { return prepared; }

EXPORT int twz_prepare(sqlite3 *db, const char *sql, int n, int lasting) {
  return sqlite3_prepare_v3(db, sql, n, lasting ? SQLITE_PREPARE_PERSISTENT : 0, &prepared, &tail);
}

EXPORT int twz_finalize(sqlite3_stmt *s) { return sqlite3_finalize(s); }
EXPORT int twz_reset(sqlite3_stmt *s) { return sqlite3_reset(s); }
EXPORT int twz_clear(sqlite3_stmt *s) { return sqlite3_clear_bindings(s); }
EXPORT int twz_readonly(sqlite3_stmt *s) { return sqlite3_stmt_readonly(s); }
EXPORT int twz_column_count(sqlite3_stmt *s) { return sqlite3_column_count(s); }
EXPORT const char *twz_column_name(sqlite3_stmt *s, int i) { return sqlite3_column_name(s, i); }
EXPORT const char *twz_column_decltype(sqlite3_stmt *s, int i) { return sqlite3_column_decltype(s, i); }
EXPORT const char *twz_column_table(sqlite3_stmt *s, int i) { return sqlite3_column_table_name(s, i); }
EXPORT const char *twz_column_origin(sqlite3_stmt *s, int i) { return sqlite3_column_origin_name(s, i); }
EXPORT int twz_parameter_count(sqlite3_stmt *s) { return sqlite3_bind_parameter_count(s); }
EXPORT const char *twz_parameter_name(sqlite3_stmt *s, int i) { return sqlite3_bind_parameter_name(s, i); }

EXPORT int twz_bind_null(sqlite3_stmt *s, int i) { return sqlite3_bind_null(s, i); }
EXPORT int twz_bind_int(sqlite3_stmt *s, int i, int v) { return sqlite3_bind_int(s, i, v); }
EXPORT int twz_bind_double(sqlite3_stmt *s, int i, double v) { return sqlite3_bind_double(s, i, v); }
EXPORT int twz_bind_wide(sqlite3_stmt *s, int i, u32 low, int high) { return sqlite3_bind_int64(s, i, (i64)high << 32 | low); }
/* Takes over what `twz_malloc` gave; or what stays as it is until the parameters are cleared or bound anew. */
EXPORT int twz_bind_text(sqlite3_stmt *s, int i, char *p, int n, int own) {
  return sqlite3_bind_text(s, i, p, n, own ? sqlite3_free : SQLITE_STATIC);
}
EXPORT int twz_bind_blob(sqlite3_stmt *s, int i, char *p, int n, int own) {
  return n == 0 ? sqlite3_bind_zeroblob(s, i, 0) : sqlite3_bind_blob(s, i, p, n, own ? sqlite3_free : SQLITE_STATIC);
}

static int isAscii(const u8 *p, int n) {
  int i = 0;
  for (; i + 16 <= n; i += 16)
    if (wasm_i8x16_bitmask(wasm_v128_load(p + i))) return 0;
  u8 all = 0;
  for (; i < n; i++) all |= p[i];
  return all < 128;
}

static void cellOf(Cell *c, sqlite3_value *v) {
  int type = sqlite3_value_type(v);
  c->type = type;
  switch (type) {
    case SQLITE_INTEGER: {
      i64 x = sqlite3_value_int64(v);
      if (x >= -9007199254740991LL && x <= 9007199254740991LL) c->number = (double)x;
      else {
        c->type = WIDE;
        c->wide = x;
      }
      break;
    }
    case SQLITE_FLOAT:
      c->number = sqlite3_value_double(v);
      break;
    case SQLITE_TEXT:
      /* In this order: the first makes UTF-8 of it, the second does not copy. Without a terminator it stays where it is: in the object. */
      c->n = sqlite3_value_bytes(v);
      c->at = (u32)sqlite3_value_blob(v);
      if (isAscii((const u8 *)c->at, c->n)) c->n = -1 - c->n;
      break;
    case SQLITE_BLOB:
      c->at = (u32)sqlite3_value_blob(v);
      c->n = sqlite3_value_bytes(v);
      break;
  }
}

/* One step; the row, if there is one, is in the cells. */
EXPORT int twz_step(sqlite3_stmt *s) {
  int rc = sqlite3_step(s);
  if (rc != SQLITE_ROW) return rc;
  int n = sqlite3_data_count(s);
  for (int i = 0; i < n; i++) cellOf(&cells[i], sqlite3_column_value(s, i));
  return rc;
}

/* Runs it to its end, without rows. */
EXPORT int twz_run(sqlite3_stmt *s) {
  int rc;
  do rc = sqlite3_step(s);
  while (rc == SQLITE_ROW);
  int end = sqlite3_reset(s);
  return rc == SQLITE_DONE ? end : rc;
}

/* --- functions ---------------------------------------------------------------------------------------------------------- */

__attribute__((import_module("host"), import_name("call"))) void hostCall(sqlite3_context *, int function, int count);

/* The host leaves what it has to say in the first cell. */
static void callHost(sqlite3_context *context, int count, sqlite3_value **values) {
  /* Arguments behind the cells that the row of an outer statement may be in. */
  static int depth;
  if (count > 127 || depth >= 8) {
    sqlite3_result_error(context, "functions of the host are nested too deeply", -1);
    return;
  }
  depth++;
  for (int i = 0; i < count; i++) cellOf(&cells[CELLS_MAX - 1024 + (depth - 1) * 128 + i], values[i]);
  hostCall(context, (int)sqlite3_user_data(context), (CELLS_MAX - 1024 + (depth - 1) * 128) << 8 | count);
  depth--;
}

EXPORT int twz_function(sqlite3 *db, const char *name, int count, int id, int flags) {
  return sqlite3_create_function_v2(db, name, count, SQLITE_UTF8 | flags, (void *)id, callHost, 0, 0, 0);
}

EXPORT void twz_result_null(sqlite3_context *c) { sqlite3_result_null(c); }
EXPORT void twz_result_double(sqlite3_context *c, double v) { sqlite3_result_double(c, v); }
EXPORT void twz_result_wide(sqlite3_context *c, u32 low, int high) { sqlite3_result_int64(c, (i64)high << 32 | low); }
EXPORT void twz_result_text(sqlite3_context *c, char *p, int n) { sqlite3_result_text(c, p, n, sqlite3_free); }
EXPORT void twz_result_blob(sqlite3_context *c, char *p, int n) { sqlite3_result_blob(c, p, n, sqlite3_free); }
EXPORT void twz_result_error(sqlite3_context *c, char *p, int n) {
  sqlite3_result_error(c, p, n);
  sqlite3_free(p);
}

/* --- images ------------------------------------------------------------------------------------------------------------- */

static i64 imageSize;
EXPORT double twz_image_size(void) { return (double)imageSize; }
EXPORT void *twz_serialize(sqlite3 *db) { return sqlite3_serialize(db, "main", &imageSize, 0); }
