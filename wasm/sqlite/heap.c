/*
** SQLite's memory.
**
**   0          64 KiB                       1 GiB               4 GiB
**   | guard    | stack, data, heap ...      | objects ...        |
**
** The objects of a space lie in the same memory, so the heap does not grow by memory.grow: it has an end of its own, HEAP_END. Pages of it that
** were never touched take no memory.
**
** The heap is cut into chunks of 64 KiB. A chunk has blocks of one class, and its own list of free ones; when all are free, it is handed out anew from
** its start, to whichever class asks first: so what is allocated in one go lies together, however it was freed before. Classes are 16
** bytes apart up to 1 KiB, then there are eight for each doubling. A block of more than 8 KiB has chunks to itself.
**
** Invariants:
**  1. The chunk of a block is found by clearing the low 16 bits of its address.
**  2. A chunk is in the list of its class exactly when it has a block to give.
*/
#define CHUNK 65536u
#define CHUNK_HEADER 64u
#define SMALL_MAX 1024
#define SMALL_CLASSES (SMALL_MAX / 16)
#define CLASSES (SMALL_CLASSES + 8 * 21)
/* Up to 8 KiB. */
#define CHUNK_CLASSES (SMALL_CLASSES + 8 * 3)

typedef struct Block Block;
struct Block { Block *next; };

typedef struct Chunk Chunk;
struct Chunk {
  int class;
  u32 used;    /* blocks that are in use */
  Block *free;
  u32 fresh;   /* where the first block lies that was never handed out */
  u32 last;    /* where the last one lies */
  int listed;
  Chunk *next, *before;
};

extern unsigned char __heap_base;
static Chunk *available[CHUNK_CLASSES];
static Chunk *spare;
static Block *largeBlocks[CLASSES];
static u32 heapAt;

static int classOf(u32 n) {
  if (n <= SMALL_MAX) return (n + 15) / 16 - (n > 0);
  /* 2^(10+k) < n <= 2^(11+k), in eighths. */
  u32 k = 21 - __builtin_clz(n - 1);
  u32 step = 128u << k;
  return SMALL_CLASSES + 8 * k + (n - (1024u << k) + step - 1) / step - 1;
}

static u32 sizeOfClass(int c) {
  if (c < SMALL_CLASSES) return (c + 1) * 16;
  u32 k = (c - SMALL_CLASSES) / 8, i = (c - SMALL_CLASSES) % 8;
  return (1024u << k) + (i + 1) * (128u << k);
}

/* Whole chunks behind what the heap has now; 0 where it is full. */
static Chunk *moreHeap(u32 n) {
  if (heapAt == 0) heapAt = ((u32)&__heap_base + CHUNK - 1) & ~(CHUNK - 1);
  if (n > HEAP_END - heapAt) return 0;
  n = (n + CHUNK - 1) & ~(CHUNK - 1);
  Chunk *k = (Chunk *)heapAt;
  heapAt += n;
  return k;
}

static void list(Chunk *k) {
  Chunk **head = &available[k->class];
  k->before = 0;
  k->next = *head;
  if (*head) (*head)->before = k;
  *head = k;
  k->listed = 1;
}

static void unlist(Chunk *k) {
  if (k->before) k->before->next = k->next;
  else available[k->class] = k->next;
  if (k->next) k->next->before = k->before;
  k->listed = 0;
}

/* A chunk of this class that has a block to give; 0 where there is no memory. */
static __attribute__((noinline)) Chunk *chunkFor(int c, u32 size) {
  Chunk *k = spare;
  if (k) spare = k->next;
  else {
    k = moreHeap(CHUNK);
    if (k == 0) return 0;
  }
  k->class = c;
  k->used = 0;
  k->free = 0;
  k->fresh = (u32)k + CHUNK_HEADER;
  k->last = (u32)k + CHUNK - size;
  list(k);
  return k;
}

static __attribute__((noinline)) void *allocLarge(int c) {
  Block *b = largeBlocks[c];
  if (b) {
    largeBlocks[c] = b->next;
    return b;
  }
  Chunk *k = moreHeap(sizeOfClass(c) + CHUNK_HEADER);
  if (k == 0) return 0;
  k->class = c;
  return (u8 *)k + CHUNK_HEADER;
}

static void *heapAlloc(int n) {
  int c = classOf(n);
  if (c >= CHUNK_CLASSES) return allocLarge(c);
  u32 size = sizeOfClass(c);
  Chunk *k = available[c];
  if (k == 0) {
    k = chunkFor(c, size);
    if (k == 0) return 0;
  }
  Block *b = k->free;
  if (b) k->free = b->next;
  else {
    b = (Block *)k->fresh;
    k->fresh += size;
  }
  k->used++;
  if (k->free == 0 && k->fresh > k->last) unlist(k);
  return b;
}

static void heapFree(void *p) {
  if (p == 0) return;
  Chunk *k = (Chunk *)((u32)p & ~(CHUNK - 1));
  Block *b = p;
  if (k->class >= CHUNK_CLASSES) {
    b->next = largeBlocks[k->class];
    largeBlocks[k->class] = b;
    return;
  }
  b->next = k->free;
  k->free = b;
  if (!k->listed) list(k);
  if (--k->used > 0) return;
  if (available[k->class] == k && k->next == 0) {
    /* The only one of its class: the next block is wanted soon. */
    k->free = 0;
    k->fresh = (u32)k + CHUNK_HEADER;
    return;
  }
  unlist(k);
  k->next = spare;
  spare = k;
}

static int heapSize(void *p) { return p == 0 ? 0 : (int)sizeOfClass(((Chunk *)((u32)p & ~(CHUNK - 1)))->class); }
static int heapRoundup(int n) { return (int)sizeOfClass(classOf(n)); }

static void *heapRealloc(void *p, int n) {
  int size = heapSize(p);
  if (n <= size && n > size / 2) return p;
  void *to = heapAlloc(n);
  if (to == 0) return 0;
  memcpy(to, p, size < n ? size : n);
  heapFree(p);
  return to;
}

static int heapInit(void *unused) { return SQLITE_OK; }
static void heapShutdown(void *unused) {}

static const sqlite3_mem_methods heapMethods = {
    heapAlloc, heapFree, heapRealloc, heapSize, heapRoundup, heapInit, heapShutdown, 0,
};
