#define _GNU_SOURCE
#include "base/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, LINE_SIZE = 4096 };
static const uint64_t unknown = UINT64_MAX;

uint64_t ecd_rss_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    int fields = fscanf(file, "%llu %llu", &size, &resident);
    fclose(file);
    return fields == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

// The number after `key` in a file of "key value" lines; `unknown` if it is not there. An empty key means the first
// number; "max", which stands for no limit, is none.
static uint64_t number_in(const char *path, const char *key)
{
    unsigned long long value = unknown;
    char line[LINE_SIZE];
    FILE *file = fopen(path, "r");
    if (!file)
        return unknown;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), " %llu", &value) == 1)
            break;
    fclose(file);
    return value;
}

// VmHWM. getrusage would also count what this process was before it became this program: of a process that a large one
// started, the large one's.
uint64_t ecd_peak_rss_bytes(void)
{
    struct rusage usage;
    uint64_t kib = number_in("/proc/self/status", "VmHWM:");
    if (kib < unknown / 1024)
        return kib * 1024;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

// What the two versions call their files, and where they are mounted.
typedef struct hierarchy {
    const char *mount, *limit, *usage, *inactive, *active;
} hierarchy;

static const hierarchy version_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                    "total_inactive_file ", "total_active_file "};
static const hierarchy version_2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "active_file "};

static uint64_t number_of(const char *folder, const char *name, const char *key)
{
    char path[PATH_SIZE];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && length < PATH_SIZE ? number_in(path, key) : unknown;
}

static uint64_t room_in(const hierarchy *h, const char *folder)
{
    uint64_t limit = number_of(folder, h->limit, ""), used = number_of(folder, h->usage, "");
    if (limit >= unknown / 4 || used == unknown) // version 1 says "no limit" by a number near 2^63
        return unknown;
    uint64_t inactive = number_of(folder, "memory.stat", h->inactive);
    uint64_t active = number_of(folder, "memory.stat", h->active), cached = 0;
    cached += inactive == unknown ? 0 : inactive;
    cached += active == unknown ? 0 : active / 2; // gives way too, though less readily
    uint64_t firm = used > cached ? used - cached : 0;
    return limit > firm ? limit - firm : 0;
}

// The least room in the cgroup `path` and all above it. In a container the path may name what is not mounted there:
// then the levels above it count.
static uint64_t room_upwards(const char *root, const hierarchy *h, char *path)
{
    uint64_t least = unknown;
    for (;;) {
        char folder[PATH_SIZE];
        int length = snprintf(folder, sizeof folder, "%s%s%s", root, h->mount, path);
        uint64_t room = length > 0 && length < PATH_SIZE ? room_in(h, folder) : unknown;
        least = room < least ? room : least;
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

// Whether a list such as "cpu,memory" names the memory controller.
static bool names_memory(const char *list, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t word = 0;
        while (at + word < length && list[at + word] != ',')
            word++;
        if (word == 6 && !memcmp(list + at, "memory", 6))
            return true;
        at += word + 1;
    }
    return false;
}

// A line of /proc/self/cgroup is "number:controllers:path"; version 2 has number 0 and no controllers.
static uint64_t room_of_line(const char *root, char *line)
{
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return unknown;
    size_t length = (size_t)(path - controllers - 1);
    path++;
    if (!length)
        return room_upwards(root, &version_2, path);
    return names_memory(controllers + 1, length) ? room_upwards(root, &version_1, path) : unknown;
}

uint64_t ecd_memory_free_below(const char *root)
{
    char path[PATH_SIZE], line[LINE_SIZE];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    uint64_t available = number_in(path, "MemAvailable:"), least = unknown;
    if (available < unknown / 1024)
        least = available * 1024;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        uint64_t room = room_of_line(root, line);
        least = room < least ? room : least;
    }
    if (file)
        fclose(file);
    return least;
}

uint64_t ecd_memory_free_bytes(void)
{
    return ecd_memory_free_below("");
}
