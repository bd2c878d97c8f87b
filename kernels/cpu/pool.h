// Threads that run the parts of one operation. Parts are numbered; which thread runs a part is left to chance, so a
// part's result must not depend on it. A waiting thread spins for some microseconds, then sleeps: unlike OpenMP's it
// does not take the processor from the store's decoding thread (docs/SPEED.md).
#ifndef ECD_KERNELS_CPU_POOL_H
#define ECD_KERNELS_CPU_POOL_H

#include "base/status.h"

typedef struct ecd_pool ecd_pool;

// `thread` is 0 for the caller and below `threads` for all.
typedef void (*ecd_pool_part)(void *context, int64_t part, int thread);

ecd_status ecd_pool_open(int threads, ecd_pool **out, ecd_diag *diag);
void ecd_pool_close(ecd_pool *pool); // NULL is allowed

// Runs parts 0 .. parts - 1 and returns when all are done. One caller at a time.
void ecd_pool_run(ecd_pool *pool, int64_t parts, ecd_pool_part run, void *context);

#endif
