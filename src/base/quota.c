/*
 * quota.c - how many processors this process may use: its affinity, and what its control groups allow.
 *
 *   /proc/self/cgroup   0::/a/b                 v2: MOUNT/a/b/cpu.max, MOUNT/a/cpu.max, MOUNT/cpu.max     "QUOTA PERIOD" or "max PERIOD"
 *                       4:cpu,cpuacct:/a        v1: MOUNT/cpu/a/cpu.cfs_quota_us and cpu.cfs_period_us, and those above
 *
 * The least of all limits on the way up counts, rounded up to whole processors. In a container the path is often / or names what
 * is not mounted here: then only the root's files are there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 1024 };

static FILE *open_in(const char *mount, const char *group, const char *file)
{
	char path[3 * PATH_ROOM];
	int n = snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
	return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

static bool read_number(const char *mount, const char *group, const char *file, long *out)
{
	FILE *f = open_in(mount, group, file);
	bool ok = f && fscanf(f, "%ld", out) == 1;
	if (f)
		fclose(f);
	return ok;
}

/* Whole processors of one group; 0: no limit */
static int quota_of(const char *mount, const char *group)
{
	long quota = 0, period = 0;
	FILE *f = open_in(mount, group, "cpu.max");
	if (f) {
		if (fscanf(f, "%ld %ld", &quota, &period) != 2) /* max */
			quota = 0;
		fclose(f);
	} else if (!read_number(mount, group, "cpu.cfs_quota_us", &quota) || !read_number(mount, group, "cpu.cfs_period_us", &period)) {
		quota = 0;
	}
	if (quota <= 0 || period <= 0)
		return 0;
	return (int)int_min(quota / period + (quota % period != 0), 1 << 20);
}

static int least(int a, int b)
{
	return !a ? b : !b || a < b ? a : b;
}

/* Of the group and of those above it; cuts the path up */
static int quota_upwards(const char *mount, char *group)
{
	int n = quota_of(mount, "");
	for (char *end = group + strlen(group); end != group; *end = 0) {
		if (group[1])
			n = least(n, quota_of(mount, group));
		while (end > group && *end != '/')
			end--;
	}
	return n;
}

int cpu_group_quota(const char *mount, const char *self)
{
	char line[PATH_ROOM], v1[PATH_ROOM];
	int n = quota_of(mount, "");
	snprintf(v1, sizeof v1, "%s/cpu", mount);
	n = least(n, quota_of(v1, ""));
	FILE *f = fopen(self, "re");
	while (f && fgets(line, sizeof line, f)) { /* a longer line's rest is no line that is known */
		line[strcspn(line, "\n")] = 0;
		char *kinds = strchr(line, ':'), *group = kinds ? strchr(kinds + 1, ':') : NULL;
		if (!group || group[1] != '/')
			continue;
		*group++ = 0;
		if (!kinds[1])
			n = least(n, quota_upwards(mount, group));
		else if (!strcmp(kinds + 1, "cpu") || !strcmp(kinds + 1, "cpu,cpuacct") || !strcmp(kinds + 1, "cpuacct,cpu"))
			n = least(n, quota_upwards(v1, group));
	}
	if (f)
		fclose(f);
	return n;
}

int cpu_quota(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
	n = least(cpu_group_quota("/sys/fs/cgroup", "/proc/self/cgroup"), n > 0 ? n : 1);
	return n;
}
