// This process: time and memory as the kernel sees them.
#ifndef ECD_BASE_PROCESS_H
#define ECD_BASE_PROCESS_H

#include <stdint.h>

uint64_t ecd_now_ns(void);           // monotonic
uint64_t ecd_peak_rss_bytes(void);   // highest resident size so far (VmHWM)
uint64_t ecd_memory_free_bytes(void); // what this process may still take: the least of MemAvailable and its cgroup's room

#endif
