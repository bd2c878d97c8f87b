// Threads that share out work whose order one place decides: that place is only ever asked under the crew's lock, so what
// it keeps needs none of its own.
#ifndef ECD_WEIGHTS_CREW_H
#define ECD_WEIGHTS_CREW_H

#include "base/status.h"

typedef enum ecd_claim {
    ECD_CLAIM_WAIT, // nothing until a task that is being done has finished
    ECD_CLAIM_TASK,
    ECD_CLAIM_END, // nothing more, ever
} ecd_claim;

typedef struct ecd_task {
    void *job, *item; // the caller's
    int kind;
    uint64_t first, count;
    uint64_t order;  // counts the claims from 0
    unsigned worker; // the thread that does it, from 0
} ecd_task;

typedef struct ecd_crew_calls {
    ecd_claim (*claim)(void *work, ecd_task *task);                     // under the lock
    ecd_status (*run)(void *work, const ecd_task *task, ecd_diag *diag); // by any thread, without the lock
    void (*finish)(void *work, const ecd_task *task);                   // under the lock, after a run that did not fail
    // On the caller's thread and under the lock: after finished tasks, at least every 0.1 s, and once at the very end. True
    // stops the work. May be NULL.
    bool (*tick)(void *work);
} ecd_crew_calls;

// Runs until claim says END. After a failure nothing more is claimed; of several failures the one claimed first is
// returned. ECD_INTERRUPTED if tick stopped it.
ecd_status ecd_crew_run(const ecd_crew_calls *calls, void *work, unsigned threads, ecd_diag *diag);

#endif
