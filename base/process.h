// This process: time as the kernel sees it, and its memory (base/memory.h).
#ifndef ECD_BASE_PROCESS_H
#define ECD_BASE_PROCESS_H

#include "base/memory.h"

uint64_t ecd_now_ns(void); // monotonic

#endif
