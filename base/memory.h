// Memory as the kernel counts it: what this process holds, and what it may still take.
#ifndef ECD_BASE_MEMORY_H
#define ECD_BASE_MEMORY_H

#include <stdint.h>

uint64_t ecd_rss_bytes(void);      // resident now
uint64_t ecd_peak_rss_bytes(void); // resident at most so far (VmHWM)

// What this process may still take: the least of MemAvailable and of the room in its cgroup and all above it, of either
// version. Page cache that would give way counts as room. UINT64_MAX where nothing is known.
uint64_t ecd_memory_free_bytes(void);

// The same of a machine whose /proc and /sys lie below `root`: for tests.
uint64_t ecd_memory_free_below(const char *root);

#endif
