// Runs an operation again and again while its 1st, 2nd, 3rd, ... allocation fails, until none fails any more.
//
// After SQLite's out-of-memory tests. The linker redirects the allocation calls of everything that is linked statically
// (the product's libraries; see oom.cmake) to oom.c; cJSON is led there by its hooks. Files mapped and threads started
// count as allocations too. What other shared libraries allocate by themselves never fails.
//
// After each run that saw a failure these must hold: the status is ECD_RESOURCE with a diagnosis, or ECD_OK where the
// operation can do without what failed; every block allocated during the run has been freed, every mapping unmapped,
// every file closed.
#ifndef ECD_TESTS_OOM_OOM_H
#define ECD_TESTS_OOM_OOM_H

#include "base/status.h"

// One run: does everything from opening to closing and returns the first status that was not ECD_OK.
typedef ecd_status (*ecd_oom_attempt)(void *user, ecd_diag *diag);

typedef struct ecd_oom_result {
    long runs;        // runs that saw a failure
    long allocations; // that a run without failure makes
    char fault[512];  // what did not hold, with the number of the allocation; "" if everything did
} ecd_oom_result;

// Every allocation is tried while there are at most `every`; beyond, about `every` of them, evenly spread at growing
// distances, so that early failures are all seen.
void ecd_oom_run(ecd_oom_attempt attempt, void *user, long every, ecd_oom_result *out);

#endif
