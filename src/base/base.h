/*
 * base.h - what everything else stands on: errors, checked sizes, arenas, growing buffers, threads, processor features.
 *
 * Memory. Nothing outside src/base allocates. Long-lived things live in an arena that is freed as a whole; there is no
 * free of a single object. An arena takes chunks from the caller's allocator up to a stated limit:
 *
 *   arena ─► chunk ─► chunk ─► NULL         each chunk: header | objects, 64-byte aligned | free room
 *
 * Scratch use is mark and release. A failed allocation returns NULL and is reported as MEMORY by whoever asked.
 *
 * Errors. Functions that can fail return rebus_status and take a rebus_error * last. TRY jumps to the function's one
 * label `done` with the local `status` set, so that whatever the function holds is released in one place.
 */
#ifndef REBUS_BASE_H
#define REBUS_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rebus.h"

#if defined(__GNUC__)
#define BASE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define BASE_PRINTF(text, first)
#endif

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------------------------------------ errors (error.c) */
#define TRY(call)                                                                                                          \
	do {                                                                                                               \
		if ((status = (call)) != REBUS_OK)                                                                         \
			goto done;                                                                                         \
	} while (0)

/* Writes code and one line of text (control bytes become spaces) into err unless it is NULL; returns code. */
rebus_status error_set(rebus_error *err, rebus_status code, const char *format, ...) BASE_PRINTF(3, 4);
/* Puts "context: " before the text already there; returns err's code (or `code` where err is NULL). */
rebus_status error_prefix(rebus_error *err, rebus_status code, const char *format, ...) BASE_PRINTF(3, 4);
rebus_status error_memory(rebus_error *err, const char *what);

/* ------------------------------------------------------------------------------------------------ sizes (memory.c) */
/* false on overflow; *out is then untouched */
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);
size_t size_round(size_t n, size_t to); /* up to a multiple; the caller knows it cannot overflow */
int64_t int_min(int64_t a, int64_t b);
int64_t int_max(int64_t a, int64_t b);
int64_t ceil_div(int64_t a, int64_t b);
/* SplitMix64's finaliser (Steele, Lea & Flood 2014): every drawn number is this of where it is drawn. */
uint64_t bits_mix(uint64_t x);

/* Asks the system to back what lies in [memory, memory + size) with large pages: fewer faults when it is first written. For
 * memory that is written as a whole and kept. */
void memory_large_pages(void *memory, size_t size);

/* ------------------------------------------------------------------------------------------------ arenas (memory.c) */
extern const rebus_allocator base_allocator; /* aligned malloc and free */

typedef struct arena_chunk arena_chunk;
typedef struct arena {
	const rebus_allocator *from;
	arena_chunk *last;
	size_t limit, total; /* bytes taken from the allocator, headers included */
} arena;
typedef struct {
	arena_chunk *chunk;
	size_t used;
} arena_mark;

void arena_init(arena *a, const rebus_allocator *from, size_t limit); /* from NULL: base_allocator; limit 0: none */
void arena_free(arena *a);                                           /* frees everything; the arena may be used again */
void *arena_get(arena *a, size_t count, size_t size);                /* 64-byte aligned, not cleared; NULL: no memory */
void *arena_zero(arena *a, size_t count, size_t size);               /* cleared */
char *arena_text(arena *a, const char *text, size_t length);         /* a copy, NUL after it */
char *arena_format(arena *a, const char *format, ...) BASE_PRINTF(2, 3);
bool arena_reserve(arena *a, size_t size); /* makes sure the next `size` bytes of objects need no call to the allocator */
arena_mark arena_here(const arena *a);
void arena_release(arena *a, arena_mark mark); /* gives back all that came after the mark */

/* ------------------------------------------------------------------------------------------------ buffers (memory.c) */
/* Growing bytes with a hard cap. A failed add sets `failed` and keeps what is there; check once at the end. */
typedef struct buf {
	const rebus_allocator *from;
	char *data; /* always NUL after the last byte once something was added */
	size_t size, room, limit;
	rebus_status failed; /* MEMORY or LIMIT */
} buf;

void buf_init(buf *b, const rebus_allocator *from, size_t limit);
void buf_free(buf *b);
void buf_add(buf *b, const void *data, size_t size);
char *buf_reserve(buf *b, size_t more); /* where up to so many bytes may be written, and size be raised by those that were; NULL: failed */
void buf_text(buf *b, const char *text);
void buf_byte(buf *b, int c);
void buf_format(buf *b, const char *format, ...) BASE_PRINTF(2, 3);
void buf_json(buf *b, const char *text, size_t length); /* as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD */
rebus_status buf_check(const buf *b, rebus_error *err, const char *what);

/* ------------------------------------------------------------------------------------------------ text (memory.c) */
/* Decodes one code point; returns its length in bytes, and 1 with *cp = 0xFFFD where the bytes are not UTF-8. */
size_t utf8_get(const char *s, size_t n, uint32_t *cp);
size_t utf8_put(uint32_t cp, char out[4]);
bool utf8_valid(const char *s, size_t n);
bool text_is(const char *s, size_t n, const char *literal);
uint32_t text_hash(const char *s, size_t n); /* for tables; eight bytes at a time */

/* ------------------------------------------------------------------------------------------------ files (file.c) */
typedef struct file_map {
	const uint8_t *data; /* read only; NULL for an empty file */
	size_t size;
	bool mapped; /* false: read into memory */
	const rebus_allocator *from;
} file_map;

/* Maps a whole regular file read only. Fails with IO (missing, a folder), LIMIT (larger than limit; 0: no limit). */
rebus_status file_open(file_map *f, const char *path, size_t limit, bool copy, const rebus_allocator *from, rebus_error *err);
void file_close(file_map *f);
bool file_exists(const char *path);
bool file_is_folder(const char *path);
/* Takes the pages within [data, data + size) of a mapped file off this process's account; whoever reads them again gets
 * them from the file. Only for addresses within f. */
void file_forget(const file_map *f, const void *data, size_t size);

/* Writes to PATH.tmp and renames on commit, so that a reader never sees half a file. */
typedef struct file_out {
	int fd;
	char path[4096], temporary[4104];
	size_t written;
} file_out;
rebus_status file_create(file_out *f, const char *path, rebus_error *err);
rebus_status file_write(file_out *f, const void *data, size_t size, rebus_error *err);
rebus_status file_commit(file_out *f, rebus_error *err);
void file_discard(file_out *f); /* closes and removes the temporary file; nothing after a commit */

/* ------------------------------------------------------------------------------------------------ threads (team.c) */
int cpu_quota(void); /* processors this process may use: affinity and the container's quota, at least 1 (quota.c) */
/* What control groups allow, by the file that names a process's own (/proc/self/cgroup) and where groups are mounted; 0: no limit */
int cpu_group_quota(const char *mount, const char *self);

typedef struct team team; /* threads that sleep between runs */
rebus_status team_open(int threads, const rebus_allocator *from, team **out, rebus_error *err);
void team_close(team *t);
rebus_runner team_runner(team *t);

/* Mutual exclusion, for what several sessions share. */
typedef struct mutex mutex;
mutex *mutex_new(arena *a); /* NULL: no memory; lives in the arena, mutex_end before it goes */
void mutex_end(mutex *m);
void mutex_lock(mutex *m);
void mutex_unlock(mutex *m);

/* Where members wait for each other's tasks: spins briefly, then sleeps. */
typedef struct barrier barrier;
barrier *barrier_new(arena *a, int threads); /* NULL: no memory; lives in the arena, barrier_end before it goes */
void barrier_end(barrier *b);
/* Waits until *count is at least goal or the barrier is broken; whoever brings the count there calls barrier_tell afterwards. */
void barrier_until(barrier *b, const _Atomic int64_t *count, int64_t goal);
void barrier_tell(barrier *b);
void barrier_break(barrier *b, bool broken); /* true: nobody waits any more; false: as new */
bool barrier_broken(const barrier *b);

/* ------------------------------------------------------------------------------------------------ work ahead (ahead.c) */
/*
 * Jobs done by threads of their own, ahead of the one thread that puts them and takes them, in the order they were put:
 *
 *   put 0 1 2 3 4 5 ─► [ 3, 4 at work | 5 waits ] ─► 1, 2 done, 0 the oldest ─► take: 0
 *
 * What jobs hold until they are taken comes from `counted` and stays below a limit: whoever would pass it waits, except the
 * oldest job, so one that needs more than the limit still goes through, alone. Memory of a job that was taken no longer
 * counts, and is given back to the queue's own allocator (an arena's `from` is set to it then).
 */
typedef struct ahead ahead;
typedef struct ahead_job {
	ahead *of;
	struct ahead_job *next;
	rebus_allocator counted; /* for work(); NULL from it means no memory, or that the queue is being closed */
	size_t held;
	bool done;
} ahead_job; /* first in the caller's struct, whose memory is the caller's */

rebus_status ahead_open(int threads, size_t limit, void (*work)(ahead_job *job), const rebus_allocator *from, ahead **out, rebus_error *err);
void ahead_put(ahead *q, ahead_job *job);       /* never waits */
ahead_job *ahead_take(ahead *q);                /* waits for the oldest; NULL: nothing was put */
/* Ends the threads: jobs at work are waited for, others do not begin. Then ahead_take gives what is left, done or not. */
void ahead_stop(ahead *q);
void ahead_close(ahead *q); /* stopped and empty; NULL: nothing */

/* ------------------------------------------------------------------------------------------------ processor (cpu.c) */
/* avx512: F, BW, VL, DQ; avx512bf16: with VNNI and BF16 (Zen 4, Cooper Lake, Sapphire Rapids) */
typedef enum { CPU_PORTABLE, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16, CPU_NEON, CPU_LEVELS } cpu_level;
cpu_level cpu_detect(void);                             /* the best level this processor and system have */
bool cpu_parse(const char *name, cpu_level *out);       /* portable, avx2, avx512, avx512bf16, neon */
const char *cpu_name(cpu_level level);

double time_now(void); /* seconds, monotonic */

#endif
