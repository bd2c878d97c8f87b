#define _GNU_SOURCE
#include "base/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t ecd_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ecd_peak_rss_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

// The number after `key` in a file of "key value" lines; UINT64_MAX if it is not there. An empty key means the first number.
static uint64_t number_in(const char *path, const char *key)
{
    unsigned long long value = UINT64_MAX;
    char line[256];
    FILE *file = fopen(path, "r");
    if (!file)
        return value;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), " %llu", &value) == 1)
            break;
    fclose(file);
    return value;
}

uint64_t ecd_memory_free_bytes(void)
{
    uint64_t available = number_in("/proc/meminfo", "MemAvailable:");
    uint64_t free_bytes = available == UINT64_MAX ? available : available * 1024;
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max", ""), used = number_in("/sys/fs/cgroup/memory.current", "");
    if (limit != UINT64_MAX && used != UINT64_MAX) { // "max" (no limit) does not parse and stays UINT64_MAX
        uint64_t cached = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");
        uint64_t room = limit > used ? limit - used : 0;
        room += cached == UINT64_MAX ? 0 : cached; // the page cache gives way
        if (room < free_bytes)
            free_bytes = room;
    }
    return free_bytes;
}
