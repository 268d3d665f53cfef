/* thread.c - see thread.h. */
#include "base/thread.h"

#include <signal.h>

bool thread_start(pthread_t *out, void *(*main)(void *user), void *user)
{
	sigset_t others, before;
	sigfillset(&others);
	sigdelset(&others, SIGBUS);
	sigdelset(&others, SIGFPE);
	sigdelset(&others, SIGILL);
	sigdelset(&others, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &others, &before); /* a new thread has its starter's mask */
	bool started = !pthread_create(out, NULL, main, user);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}
