/*
 * packs.c - a model's weights made ready for products, once for all its sessions.
 *
 *   linear nodes of a graph ─► matrices not ready yet ─► one block of memory ─► panels, by a team ─► found by plans
 *                                                                                 └─► done(matrix): its pages may go
 *
 * Products of f32 read a pack only where the file has f32, so that a pack never takes more room than the weights it was made
 * from; other matrices are widened panel by panel in the task that multiplies, as everything is in training. Products of
 * bf16 and int8 always read packs.
 *
 * Entries are only added, under a lock; those that exist do not move, so plans keep pointers to them.
 */
#include "graph/graph.h"

#include <stdatomic.h>

typedef struct entry {
	const void *from;
	dtype type;
	gemm_pack pack;
	int64_t first; /* number of its first task */
	_Atomic int64_t left;
	struct entry *next;
} entry;

struct pack_set {
	arena mem;
	precision as;
	mutex *lock;
	entry *list;
	size_t bytes;
};

rebus_status packs_new(const rebus_allocator *from, precision as, pack_set **out, rebus_error *err)
{
	arena mem;
	arena_init(&mem, from, 0);
	pack_set *p = arena_zero(&mem, 1, sizeof *p);
	mutex *lock = p ? mutex_new(&mem) : NULL;
	if (!lock) {
		arena_free(&mem);
		return error_memory(err, "weights made ready");
	}
	*p = (pack_set){.mem = mem, .as = as, .lock = lock};
	*out = p;
	return REBUS_OK;
}

void packs_free(pack_set *p)
{
	if (!p)
		return;
	mutex_end(p->lock);
	arena mem = p->mem; /* it lies in its own arena */
	arena_free(&mem);
}

precision packs_precision(const pack_set *p)
{
	return p ? p->as : PRECISION_F32;
}

static bool wanted(const pack_set *p, const matrix *m)
{
	return p->as != PRECISION_F32 || m->type == DT_F32;
}

static const entry *find(const pack_set *p, const matrix *m)
{
	const entry *e = p->list;
	while (e && (e->from != m->data || e->type != m->type || e->pack.n != m->out || e->pack.k != m->in))
		e = e->next;
	return e;
}

const gemm_pack *packs_find(pack_set *p, const matrix *m)
{
	mutex_lock(p->lock);
	const entry *e = find(p, m);
	mutex_unlock(p->lock);
	return e ? &e->pack : NULL;
}

size_t packs_bytes(pack_set *p)
{
	if (!p)
		return 0;
	mutex_lock(p->lock);
	size_t n = p->bytes;
	mutex_unlock(p->lock);
	return n;
}

/* Every matrix of the graph's products that is wanted and not ready: counted, put into list unless that is NULL. */
static size_t collect(const pack_set *p, const graph *g, entry *list)
{
	size_t count = 0;
	for (node_id id = 1; id <= graph_count(g); id++) {
		const node *n = graph_node(g, id);
		for (int i = 0; n->op == &op_linear && i < n->w->parts; i++) {
			const matrix *m = &n->w->part[i];
			bool known = !wanted(p, m) || find(p, m);
			for (size_t j = 0; list && j < count && !known; j++)
				known = list[j].from == m->data && list[j].type == m->type && list[j].pack.n == m->out && list[j].pack.k == m->in;
			if (known)
				continue;
			if (list) {
				list[count].from = m->data;
				list[count].type = m->type;
				list[count].pack = (gemm_pack){.as = p->as, .n = m->out, .k = m->in};
			}
			count++;
		}
	}
	return count;
}

/* The list's room in one block; false: too large a number */
static bool room_of(const kernels *k, const entry *list, size_t count, size_t *out)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		if (!size_add(total, size_round(k->pack_size(list[i].pack.as, list[i].pack.n, list[i].pack.k), 64), &total))
			return false;
	*out = total;
	return true;
}

rebus_status packs_measure(pack_set *p, const graph *g, const kernels *k, size_t *bytes, rebus_error *err)
{
	arena scratch;
	size_t total = 0;
	arena_init(&scratch, p->mem.from, 0);
	entry *list = arena_zero(&scratch, collect(p, g, NULL) + 1, sizeof *list);
	bool ok = list && room_of(k, list, collect(p, g, list), &total);
	arena_free(&scratch);
	if (!ok)
		return error_memory(err, "weights made ready");
	*bytes = total;
	return REBUS_OK;
}

typedef struct {
	const kernels *k;
	entry *list;
	size_t count;
	int64_t tasks;
	_Atomic int64_t next;
	void (*done)(void *user, const void *data, size_t size);
	void *user;
} making;

static entry *entry_of(const making *m, int64_t task)
{
	size_t low = 0, high = m->count; /* list[low].first <= task < list[high].first */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (m->list[middle].first <= task)
			low = middle;
		else
			high = middle;
	}
	return &m->list[low];
}

static void work(void *arg, int index)
{
	making *m = arg;
	(void)index;
	for (int64_t t; (t = atomic_fetch_add(&m->next, 1)) < m->tasks;) {
		entry *e = entry_of(m, t);
		m->k->pack_run(&e->pack, e->type, e->from, e->pack.k, t - e->first);
		if (atomic_fetch_sub(&e->left, 1) == 1 && m->done)
			m->done(m->user, e->from, dtype_bytes(e->type, e->pack.n * e->pack.k));
	}
}

/* Entries without tasks (no outputs) would share a first task with their successor; bisection finds the last of them, which has some. */
static int64_t number_tasks(const kernels *k, entry *list, size_t count)
{
	int64_t tasks = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t n = k->pack_tasks(&list[i].pack);
		list[i].first = tasks;
		atomic_init(&list[i].left, n);
		tasks += n;
	}
	return tasks;
}

static rebus_status prepare(pack_set *p, const graph *g, const kernels *k, const rebus_runner *runner, making *m, rebus_error *err)
{
	size_t most = collect(p, g, NULL), room = 0;
	if (!most)
		return REBUS_OK;
	arena_mark mark = arena_here(&p->mem);
	m->list = arena_zero(&p->mem, most, sizeof *m->list);
	m->count = m->list ? collect(p, g, m->list) : 0;
	uint8_t *block = m->list && room_of(k, m->list, m->count, &room) ? arena_get(&p->mem, room, 1) : NULL;
	if (!block) {
		arena_release(&p->mem, mark);
		return error_set(err, REBUS_MEMORY, "no memory for the weights made ready, %zu MiB", room >> 20);
	}
	memory_large_pages(block, room);
	p->bytes += room;
	for (size_t i = 0; i < m->count; i++) {
		m->list[i].pack.data = block;
		block += size_round(k->pack_size(p->as, m->list[i].pack.n, m->list[i].pack.k), 64);
	}
	m->tasks = number_tasks(k, m->list, m->count);
	runner->run(runner->user, work, m);
	for (size_t i = 0; i < m->count; i++) {
		m->list[i].next = p->list;
		p->list = &m->list[i];
	}
	return REBUS_OK;
}

rebus_status packs_prepare(pack_set *p, const graph *g, const kernels *k, const rebus_runner *runner, void (*done)(void *user, const void *data, size_t size),
                           void *user, rebus_error *err)
{
	making m = {.k = k, .done = done, .user = user};
	mutex_lock(p->lock);
	rebus_status status = prepare(p, g, k, runner, &m, err);
	mutex_unlock(p->lock);
	return status;
}
