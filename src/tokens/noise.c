/* noise.c - see noise.h. */
#include "tokens/noise.h"

float tokens_noise(uint64_t seed, uint64_t sequence, uint64_t place)
{
	return (float)(bits_mix(bits_mix(bits_mix(seed) ^ sequence) ^ place) >> 40) * 0x1p-24f;
}

static bool before(const float *noise, int32_t a, int32_t b)
{
	return noise[a] < noise[b] || (noise[a] == noise[b] && a < b);
}

/* Restores the heap of the largest below `at`. */
static void sink(const float *noise, int32_t *heap, int32_t at, int32_t count)
{
	for (int32_t child; (child = 2 * at + 1) < count; at = child) {
		if (child + 1 < count && before(noise, heap[child], heap[child + 1]))
			child++;
		if (!before(noise, heap[at], heap[child]))
			return;
		int32_t swap = heap[at];
		heap[at] = heap[child];
		heap[child] = swap;
	}
}

void tokens_by_noise(const float *noise, int32_t count, int32_t *order)
{
	for (int32_t i = 0; i < count; i++)
		order[i] = i;
	for (int32_t i = count / 2; i-- > 0;)
		sink(noise, order, i, count);
	for (int32_t end = count; end-- > 1;) {
		int32_t most = order[0];
		order[0] = order[end];
		order[end] = most;
		sink(noise, order, 0, end);
	}
}
