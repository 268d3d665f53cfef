/*
 * test_torture_arenas.c - test_torture.c with arenas that ask the allocator for every single object.
 *
 * Arenas take chunks, so most objects never see a refusal in test_torture.c. Here memory.c is built into the test with chunks
 * of no room to spare, which makes every arena_get a call of its own, some thousands of them; the linker then has no need of the
 * library's copy.
 */
#define ARENA_CHUNK 64
#define TORTURE_SPARSE

#include "../../src/base/memory.c"
#include "test_torture.c"
