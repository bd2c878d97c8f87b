#define _GNU_SOURCE
#include "weights/crew.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_NS = 100000000, MAX_THREADS = 1024 };

typedef struct crew {
    const ecd_crew_calls *calls;
    void *work;
    pthread_mutex_t lock;
    pthread_cond_t changed; // for workers: something finished
    pthread_cond_t finished; // for the caller
    uint64_t claimed, failed_order;
    unsigned running, workers, begun; // tasks; threads that have not ended, that have begun
    bool stop, ended, failed;
    ecd_diag diag; // of the failure claimed first
    ecd_status status;
} crew;

static void fail(crew *c, const ecd_task *task, ecd_status status, const ecd_diag *diag)
{
    if (!c->failed || task->order < c->failed_order) {
        c->status = status;
        c->diag = *diag;
        c->failed_order = task->order;
    }
    c->failed = c->stop = true;
}

// With the lock held before and after.
static void work_once(crew *c, const ecd_task *task)
{
    ecd_diag diag = {0};
    c->running++;
    pthread_mutex_unlock(&c->lock);
    ecd_status status = c->calls->run(c->work, task, &diag);
    pthread_mutex_lock(&c->lock);
    c->running--;
    if (status)
        fail(c, task, status, &diag);
    else
        c->calls->finish(c->work, task);
    pthread_cond_broadcast(&c->changed);
    pthread_cond_signal(&c->finished);
}

static void *worker(void *opaque)
{
    crew *c = opaque;
    pthread_mutex_lock(&c->lock);
    const unsigned index = c->begun++;
    while (!c->stop && !c->ended) {
        ecd_task task = {0};
        ecd_claim claim = c->calls->claim(c->work, &task);
        task.order = c->claimed;
        task.worker = index;
        if (claim == ECD_CLAIM_TASK) {
            c->claimed++;
            work_once(c, &task);
        } else if (claim == ECD_CLAIM_END) {
            c->ended = true;
            pthread_cond_broadcast(&c->changed);
        } else if (!c->running) { // nobody is left who could change that
            ecd_diag diag = {0};
            fail(c, &task, ecd_fail(&diag, ECD_RESOURCE, "the work stands still: a fault of this program"), &diag);
            pthread_cond_broadcast(&c->changed);
        } else {
            pthread_cond_wait(&c->changed, &c->lock);
        }
    }
    c->workers--;
    pthread_cond_signal(&c->finished);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void tick(crew *c)
{
    if (c->calls->tick && !c->failed && c->calls->tick(c->work)) {
        c->stop = c->failed = true;
        c->status = ecd_fail(&c->diag, ECD_INTERRUPTED, "stopped on request");
        c->failed_order = 0;
        pthread_cond_broadcast(&c->changed);
    }
}

static void watch(crew *c)
{
    while (c->workers) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&c->finished, &c->lock, &until);
        tick(c);
    }
}

static void init(crew *c)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    pthread_cond_init(&c->finished, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

ecd_status ecd_crew_run(const ecd_crew_calls *calls, void *work, unsigned threads, ecd_diag *diag)
{
    crew c = {.calls = calls, .work = work};
    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    pthread_t *ids = calloc(threads, sizeof *ids);
    if (!ids)
        return ecd_fail_memory(diag, threads * sizeof *ids, "threads");
    init(&c);
    pthread_mutex_lock(&c.lock);
    int error = 0;
    unsigned started = 0;
    while (started < threads && !(error = pthread_create(&ids[started], NULL, worker, &c)))
        started++;
    c.workers = started; // none has got past the lock yet
    if (!started) {
        c.failed = true;
        c.status = ecd_fail(&c.diag, ECD_RESOURCE, "cannot start a thread: %s", strerror(error));
    }
    watch(&c);
    pthread_mutex_unlock(&c.lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    free(ids);
    pthread_mutex_destroy(&c.lock);
    pthread_cond_destroy(&c.changed);
    pthread_cond_destroy(&c.finished);
    if (c.status && diag)
        *diag = c.diag;
    return c.status;
}
