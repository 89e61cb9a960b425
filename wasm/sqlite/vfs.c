/*
** A file system for SQLite whose only files are objects of a space.
**
** The object is mapped in this very memory, so a page of the database is a pointer into it (xFetch). It is never stored to but by a commit:
**
**   xWrite                     notes the page, or keeps a copy of it where SQLite's cache spilled it before the commit
**   COMMIT_ATOMIC_WRITE        compares each page with the object's, line by line, has the host mark the lines that differ in a
**                              transaction of the space, and stores them
**
** The file is a list of extents of the object, each of 64 pages.
**
** Invariants:
**  1. The mapped bytes are those of the last commit that the host has shown (hostLock), plus nothing.
**  2. `list` is empty outside BEGIN_ATOMIC_WRITE … COMMIT_ATOMIC_WRITE: its pointers are good no longer than that.
**  3. `kept` is empty whenever no lock above SHARED is held.
*/
#define EXTENT_SHIFT 18
#define EXTENT (1u << EXTENT_SHIFT)
#define EXTENTS_MAX 4096
#define LINE 64

/* A page to be written. The host reads it as words. */
typedef struct {
  u32 at;      /* where in the file */
  u32 n;       /* bytes */
  u32 from;    /* address of the new bytes */
  u32 to;      /* address of the old ones */
  u32 lines;   /* lines that differ: bit sets in `masks` */
} Change;

typedef struct TwzFile {
  sqlite3_file base;
  struct Store *store;
} TwzFile;

/* A database object. */
typedef struct Store {
  int id;
  int lock;
  u32 origin;  /* address of the object */
  u32 size;    /* bytes of the file, as committed */
  u32 length;  /* bytes of the file, as this connection has it */
  int readonly;
  int stale;   /* what SQLite's cache holds is of another history than the object */
  int batch;   /* between BEGIN and COMMIT_ATOMIC_WRITE */
  Change *list;
  int count, room;
  Change *kept; /* spilled pages, sorted by nothing; looked up by `slots` */
  int keptCount, keptRoom;
  int *slots;   /* 1 + index in `kept`, hashed by page; a power of two of them */
  int slotCount;
  u32 extents[EXTENTS_MAX]; /* offsets in the object */
  u32 extentCount;
} Store;

/* What the host does. Each returns an SQLite result code. */
__attribute__((import_module("host"), import_name("lock"))) int hostLock(int id);
__attribute__((import_module("host"), import_name("unlock"))) void hostUnlock(int id, int lock);
__attribute__((import_module("host"), import_name("reserve"))) int hostReserve(int id);
__attribute__((import_module("host"), import_name("commit"))) int hostCommit(int id, Change *list, int count, u32 length);
__attribute__((import_module("host"), import_name("sync"))) int hostSync(int id);
__attribute__((import_module("host"), import_name("synchronous"))) int hostSynchronous(int id, const char *value);
__attribute__((import_module("host"), import_name("time"))) double hostTime(void);
__attribute__((import_module("host"), import_name("random"))) void hostRandom(char *to, int n);
__attribute__((import_module("host"), import_name("zone"))) int hostZone(double seconds);

#define STORES_MAX 64
static Store *stores[STORES_MAX];

static inline u32 addressOf(const Store *s, u32 at) { return s->origin + s->extents[at >> EXTENT_SHIFT] + (at & (EXTENT - 1)); }

/* --- spilled pages ------------------------------------------------------------------------------------------------------ */

static u32 slotOf(const Store *s, u32 at) { return (at >> 9) * 0x9e3779b1u >> 7 & (s->slotCount - 1); }

static Change *findKept(const Store *s, u32 at) {
  if (s->keptCount == 0) return 0;
  for (u32 i = slotOf(s, at);; i = (i + 1) & (s->slotCount - 1)) {
    if (s->slots[i] == 0) return 0;
    Change *c = &s->kept[s->slots[i] - 1];
    if (c->at == at) return c;
  }
}

static int hashKept(Store *s) {
  int n = s->slotCount ? s->slotCount * 2 : 256;
  int *slots = sqlite3_malloc64((u64)n * 4);
  if (slots == 0) return SQLITE_NOMEM;
  memset(slots, 0, n * 4);
  sqlite3_free(s->slots);
  s->slots = slots;
  s->slotCount = n;
  for (int k = 0; k < s->keptCount; k++) {
    u32 i = slotOf(s, s->kept[k].at);
    while (slots[i]) i = (i + 1) & (n - 1);
    slots[i] = k + 1;
  }
  return SQLITE_OK;
}

static int room(Change **list, int *have, int need) {
  if (need <= *have) return SQLITE_OK;
  int n = *have ? *have * 2 : 64;
  Change *more = sqlite3_realloc64(*list, (u64)n * sizeof(Change));
  if (more == 0) return SQLITE_NOMEM;
  *list = more;
  *have = n;
  return SQLITE_OK;
}

static int keep(Store *s, const void *from, u32 n, u32 at) {
  Change *c = findKept(s, at);
  if (c && c->n == n) {
    memcpy((void *)c->from, from, n);
    return SQLITE_OK;
  }
  if (c) return SQLITE_IOERR_WRITE;
  if (room(&s->kept, &s->keptRoom, s->keptCount + 1)) return SQLITE_NOMEM;
  if (s->keptCount * 2 >= s->slotCount && hashKept(s)) return SQLITE_NOMEM;
  void *copy = sqlite3_malloc64(n);
  if (copy == 0) return SQLITE_NOMEM;
  memcpy(copy, from, n);
  s->kept[s->keptCount] = (Change){.at = at, .n = n, .from = (u32)copy};
  u32 i = slotOf(s, at);
  while (s->slots[i]) i = (i + 1) & (s->slotCount - 1);
  s->slots[i] = ++s->keptCount;
  return SQLITE_OK;
}

static void dropKept(Store *s) {
  if (s->keptCount == 0) return;
  for (int k = 0; k < s->keptCount; k++) sqlite3_free((void *)s->kept[k].from);
  s->keptCount = 0;
  memset(s->slots, 0, s->slotCount * 4);
}

/* --- commit ------------------------------------------------------------------------------------------------------------- */

/* The host has the extents: finds the lines that differ. Two words a page of 4096 bytes, in `masks`; the number of lines. */
static int differences(const u8 *a, const u8 *b, u32 n, u32 *masks) {
  int lines = 0;
  for (u32 word = 0; word * LINE * 32 < n; word++) {
    u32 mask = 0;
    for (u32 bit = 0; bit < 32; bit++) {
      u32 i = (word * 32 + bit) * LINE;
      if (i >= n) break;
      v128_t d = wasm_v128_or(
          wasm_v128_or(wasm_v128_xor(wasm_v128_load(a + i), wasm_v128_load(b + i)),
                       wasm_v128_xor(wasm_v128_load(a + i + 16), wasm_v128_load(b + i + 16))),
          wasm_v128_or(wasm_v128_xor(wasm_v128_load(a + i + 32), wasm_v128_load(b + i + 32)),
                       wasm_v128_xor(wasm_v128_load(a + i + 48), wasm_v128_load(b + i + 48))));
      if (wasm_v128_any_true(d)) {
        mask |= 1u << bit;
        lines++;
      }
    }
    masks[word] = mask;
  }
  return lines;
}

/* Called by the host inside its transaction, extents being there: 1 where the page differs, with its lines in `masks` (32 words at most). */
static u32 masks[32];
EXPORT u32 *twz_masks(void) { return masks; }
EXPORT int twz_compare(int id, Change *c) {
  Store *s = stores[id];
  c->to = addressOf(s, c->at);
  return c->lines = differences((const u8 *)c->from, (const u8 *)c->to, c->n, masks);
}

/* The lines are marked: stores what `twz_compare` was asked about. */
EXPORT void twz_store(Change *list, int count) {
  for (int i = 0; i < count; i++)
    if (list[i].lines) memcpy((void *)list[i].to, (const void *)list[i].from, list[i].n);
}

/* Everything that was written becomes the state of the object. */
static int commitAll(Store *s) {
  int rc = SQLITE_OK;
  Change *list = s->list;
  int count = s->count;
  if (s->keptCount) {
    /* A page may have been spilled, read again, and be in the list anew: the list counts, so it comes last. */
    count += s->keptCount;
    list = sqlite3_malloc64((u64)count * sizeof(Change));
    if (list == 0) return SQLITE_NOMEM;
    memcpy(list, s->kept, s->keptCount * sizeof(Change));
    int n = s->keptCount;
    for (int i = 0; i < s->count; i++) {
      Change *c = findKept(s, s->list[i].at);
      if (c) list[c - s->kept] = s->list[i];
      else list[n++] = s->list[i];
    }
    count = n;
  }
  rc = hostCommit(s->id, list, count, s->length);
  if (list != s->list) sqlite3_free(list);
  if (rc == SQLITE_OK) {
    s->count = 0;
    s->size = s->length;
    dropKept(s);
  }
  return rc;
}

static int settle(Store *s) {
  if (s->batch || (s->keptCount == 0 && s->length == s->size)) return SQLITE_OK;
  return commitAll(s);
}

/* --- methods ------------------------------------------------------------------------------------------------------------ */

static Store *storeOf(sqlite3_file *f) { return ((TwzFile *)f)->store; }

static int twzClose(sqlite3_file *f) {
  Store *s = storeOf(f);
  dropKept(s);
  return SQLITE_OK;
}

static int twzRead(sqlite3_file *f, void *to, int n, sqlite3_int64 offset) {
  Store *s = storeOf(f);
  u32 at = (u32)offset;
  if (offset >= s->length) {
    memset(to, 0, n);
    return SQLITE_IOERR_SHORT_READ;
  }
  int have = n;
  if (at + n > s->length) have = s->length - at;
  if (s->keptCount) {
    /* Whatever is read lies within one page. */
    for (u32 size = 512; size <= 65536; size *= 2) {
      Change *c = findKept(s, at & ~(size - 1));
      if (c == 0 || c->at + c->n < at + have) continue;
      memcpy(to, (const u8 *)c->from + (at - c->at), have);
      goto end;
    }
  }
  if (at + have > s->size) {
    /* Behind what is committed, and not written yet. */
    int there = at < s->size ? s->size - at : 0;
    if (there) memcpy(to, (const void *)addressOf(s, at), there);
    memset((u8 *)to + there, 0, have - there);
  } else memcpy(to, (const void *)addressOf(s, at), have);
end:
  if (s->stale && at == 24 && n == 16) {
    /* SQLite asks whether its cache is good. */
    for (int i = 0; i < n; i++) ((u8 *)to)[i] ^= 0xff;
    s->stale = 0;
  }
  if (have == n) return SQLITE_OK;
  memset((u8 *)to + have, 0, n - have);
  return SQLITE_IOERR_SHORT_READ;
}

static int twzWrite(sqlite3_file *f, const void *from, int n, sqlite3_int64 offset) {
  Store *s = storeOf(f);
  if (s->readonly) return SQLITE_READONLY;
  if (offset + n > (sqlite3_int64)EXTENT * EXTENTS_MAX) return SQLITE_FULL;
  if (n % 512 != 0 || offset % n != 0) return SQLITE_IOERR_WRITE;
  u32 at = (u32)offset;
  if (s->batch) {
    if (room(&s->list, &s->room, s->count + 1)) return SQLITE_NOMEM;
    s->list[s->count++] = (Change){.at = at, .n = n, .from = (u32)from};
  } else {
    int rc = keep(s, from, n, at);
    if (rc) return rc;
  }
  if (at + n > s->length) s->length = at + n;
  return SQLITE_OK;
}

static int twzTruncate(sqlite3_file *f, sqlite3_int64 size) {
  Store *s = storeOf(f);
  if (s->readonly) return SQLITE_READONLY;
  if (size > (sqlite3_int64)EXTENT * EXTENTS_MAX) return SQLITE_FULL;
  /* What was spilled behind the end stays in the list: bytes there are nobody's. */
  s->length = (u32)size;
  return SQLITE_OK;
}

static int twzSync(sqlite3_file *f, int flags) {
  Store *s = storeOf(f);
  int rc = settle(s);
  return rc ? rc : hostSync(s->id);
}

static int twzFileSize(sqlite3_file *f, sqlite3_int64 *size) {
  *size = storeOf(f)->length;
  return SQLITE_OK;
}

static int twzLock(sqlite3_file *f, int lock) {
  Store *s = storeOf(f);
  if (lock <= s->lock) return SQLITE_OK;
  int rc = SQLITE_OK;
  if (s->lock == SQLITE_LOCK_NONE) rc = hostLock(s->id);
  if (rc == SQLITE_OK && lock >= SQLITE_LOCK_RESERVED && s->lock < SQLITE_LOCK_RESERVED) {
    if (s->readonly) return SQLITE_READONLY;
    rc = hostReserve(s->id);
  }
  if (rc == SQLITE_OK) s->lock = lock;
  return rc;
}

static int twzUnlock(sqlite3_file *f, int lock) {
  Store *s = storeOf(f);
  if (lock >= s->lock) return SQLITE_OK;
  if (s->lock >= SQLITE_LOCK_RESERVED) {
    /* What was written and not committed was taken back. */
    dropKept(s);
    s->length = s->size;
    s->count = 0;
    s->batch = 0;
  }
  s->lock = lock;
  hostUnlock(s->id, lock);
  return SQLITE_OK;
}

static int twzCheckReservedLock(sqlite3_file *f, int *held) {
  *held = storeOf(f)->lock >= SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

static int twzFileControl(sqlite3_file *f, int op, void *arg) {
  Store *s = storeOf(f);
  switch (op) {
    case SQLITE_FCNTL_BEGIN_ATOMIC_WRITE:
      s->batch = 1;
      s->count = 0;
      return SQLITE_OK;
    case SQLITE_FCNTL_COMMIT_ATOMIC_WRITE: {
      int rc = commitAll(s);
      s->batch = 0;
      return rc;
    }
    case SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE:
      s->batch = 0;
      s->count = 0;
      return SQLITE_OK;
    case SQLITE_FCNTL_SYNC:
    case SQLITE_FCNTL_COMMIT_PHASETWO:
      return settle(s);
    case SQLITE_FCNTL_MMAP_SIZE:
      /* All of it is mapped, always. */
      *(sqlite3_int64 *)arg = SQLITE_MAX_MMAP_SIZE;
      return SQLITE_OK;
    case SQLITE_FCNTL_PRAGMA: {
      char **arg3 = arg;
      const char *name = arg3[1];
      const char *value = arg3[2];
      /* Transactions are those of the space; SQLite keeps the old pages in memory, for ROLLBACK. */
      if (sqlite3_stricmp(name, "journal_mode") == 0 && value != 0) {
        arg3[0] = sqlite3_mprintf("memory");
        return SQLITE_OK;
      }
      if (sqlite3_stricmp(name, "synchronous") == 0 && value != 0)
        /* Without any syncs SQLite would not commit as one piece. */
        return hostSynchronous(s->id, value) == 0 ? SQLITE_OK : SQLITE_NOTFOUND;
      if (sqlite3_stricmp(name, "locking_mode") == 0 && value != 0) {
        arg3[0] = sqlite3_mprintf("normal");
        return SQLITE_OK;
      }
      return SQLITE_NOTFOUND;
    }
  }
  return SQLITE_NOTFOUND;
}

static int twzSectorSize(sqlite3_file *f) { return 4096; }

static int twzCharacteristics(sqlite3_file *f) {
  return SQLITE_IOCAP_BATCH_ATOMIC | SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SUBPAGE_READ;
}

static int twzFetch(sqlite3_file *f, sqlite3_int64 offset, int n, void **to) {
  Store *s = storeOf(f);
  u32 at = (u32)offset;
  *to = 0;
  if (offset + n > s->size || (at & (EXTENT - 1)) + n > EXTENT || (s->keptCount && findKept(s, at))) return SQLITE_OK;
  *to = (void *)addressOf(s, at);
  return SQLITE_OK;
}

static int twzUnfetch(sqlite3_file *f, sqlite3_int64 offset, void *p) { return SQLITE_OK; }

static const sqlite3_io_methods methods = {
    3, twzClose, twzRead, twzWrite, twzTruncate, twzSync, twzFileSize, twzLock, twzUnlock, twzCheckReservedLock,
    twzFileControl, twzSectorSize, twzCharacteristics, 0, 0, 0, 0, twzFetch, twzUnfetch,
};

/* --- the file system ---------------------------------------------------------------------------------------------------- */

/* The name of a database is the number of its store. */
static int twzOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
  f->pMethods = 0;
  if (name == 0 || (flags & SQLITE_OPEN_MAIN_DB) == 0 || name[0] < '0' || name[0] > '9') return SQLITE_CANTOPEN;
  int id = 0;
  for (const char *p = name; *p >= '0' && *p <= '9' && id < STORES_MAX; p++) id = id * 10 + *p - '0';
  if (id >= STORES_MAX || stores[id] == 0) return SQLITE_CANTOPEN;
  ((TwzFile *)f)->store = stores[id];
  f->pMethods = &methods;
  if (out) *out = stores[id]->readonly ? (flags & ~SQLITE_OPEN_READWRITE) | SQLITE_OPEN_READONLY : flags;
  return SQLITE_OK;
}

static int twzDelete(sqlite3_vfs *vfs, const char *name, int sync) { return SQLITE_OK; }

static int twzAccess(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
  *out = 0;
  return SQLITE_OK;
}

static int twzFullPathname(sqlite3_vfs *vfs, const char *name, int n, char *out) {
  sqlite3_snprintf(n, out, "%s", name);
  return SQLITE_OK;
}

static int twzRandomness(sqlite3_vfs *vfs, int n, char *to) {
  hostRandom(to, n);
  return n;
}

static int twzSleep(sqlite3_vfs *vfs, int us) { return 0; }

static int twzCurrentTimeInt64(sqlite3_vfs *vfs, sqlite3_int64 *out) {
  *out = 210866760000000LL + (sqlite3_int64)hostTime();
  return SQLITE_OK;
}

static int twzCurrentTime(sqlite3_vfs *vfs, double *out) {
  sqlite3_int64 ms;
  twzCurrentTimeInt64(vfs, &ms);
  *out = ms / 86400000.0;
  return SQLITE_OK;
}

static int twzLastError(sqlite3_vfs *vfs, int n, char *to) { return 0; }

static sqlite3_vfs vfs = {
    2, sizeof(TwzFile), 64, 0, "twizzler", 0, twzOpen, twzDelete, twzAccess, twzFullPathname, 0, 0, 0, 0,
    twzRandomness, twzSleep, twzCurrentTime, twzLastError, twzCurrentTimeInt64,
};

int sqlite3_os_init(void) { return sqlite3_vfs_register(&vfs, 1); }
int sqlite3_os_end(void) { return SQLITE_OK; }

/* For the modifiers 'localtime' and 'utc'. */
struct tm *localtime(const time_t *t) {
  static struct tm local;
  time_t shifted = *t + hostZone((double)*t);
  sqlite3_int64 days = shifted / 86400, rest = shifted % 86400;
  if (rest < 0) {
    rest += 86400;
    days--;
  }
  local.tm_hour = (int)(rest / 3600);
  local.tm_min = (int)(rest / 60 % 60);
  local.tm_sec = (int)(rest % 60);
  /* Days since 0000-03-01, in eras of 400 years. */
  days += 719468;
  sqlite3_int64 era = (days >= 0 ? days : days - 146096) / 146097;
  int day = (int)(days - era * 146097);
  int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
  int of = day - (365 * year + year / 4 - year / 100);
  int month = (5 * of + 2) / 153;
  local.tm_mday = of - (153 * month + 2) / 5 + 1;
  local.tm_mon = month < 10 ? month + 2 : month - 10;
  local.tm_year = (int)(year + era * 400 + (local.tm_mon <= 1) - 1900);
  return &local;
}
