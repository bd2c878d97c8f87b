#define _GNU_SOURCE
#include "lib/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"

// The reserve is for what the plan does not see: what allocations are rounded up to, what libraries and others take.
static uint64_t device_budget(ecd_backend *be)
{
    static const uint64_t most = (uint64_t)2 << 30;
    ecd_device_memory memory;
    be->ops->device_memory(be, &memory);
    uint64_t reserve = memory.free / 16;
    return memory.used + memory.free - (reserve < most ? reserve : most) + 1;
}

uint64_t ecd_default_budget(ecd_backend *be)
{
    static const uint64_t least_margin = 4 << 20;
    if (!be->host_memory)
        return device_budget(be);
    uint64_t free_bytes = ecd_memory_free_bytes(), margin = free_bytes / 16;
    if (free_bytes == UINT64_MAX)
        return UINT64_MAX / 2;
    margin = margin > least_margin ? margin : least_margin;
    return ecd_rss_bytes() + (free_bytes > margin ? free_bytes - margin : 0) + 1; // 0 would mean none
}

char *ecd_cache_file(const char *name)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *base = NULL, *folder = NULL, *path = NULL;
    if (cache && cache[0] == '/') { // the specification ignores relative ones
        if (asprintf(&base, "%s", cache) < 0)
            return NULL;
    } else if (!home || !home[0] || asprintf(&base, "%s/.cache", home) < 0) {
        return NULL;
    }
    mkdir(base, 0700);
    if ((folder = ecd_path_join(base, "ecdit"))) {
        mkdir(folder, 0700);
        path = ecd_path_is_folder(folder) ? ecd_path_join(folder, name) : NULL;
    }
    free(base);
    free(folder);
    return path;
}

char *ecd_rates_file(void)
{
    return ecd_cache_file("rates.json");
}
