/*
 * thread.h - the one place where threads are started.
 *
 * A thread of a library must not take the signals that are meant for its caller: one that waits in read() would not wake. So all
 * are blocked in it, but those that a thread raises itself (a mapped file that was cut off is SIGBUS where it is read).
 */
#ifndef REBUS_THREAD_H
#define REBUS_THREAD_H

#include <pthread.h>

#include "base/base.h"

bool thread_start(pthread_t *out, void *(*main)(void *user), void *user); /* false: the system refuses */

#endif
