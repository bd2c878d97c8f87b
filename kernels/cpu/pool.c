#include "kernels/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct ecd_pool {
    int threads;
    pthread_t *workers; // threads - 1
    int started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint round; // grows with each run: what the workers wait for
    atomic_bool stop;
    atomic_int number;  // hands each worker its index
    atomic_int working; // workers that have not finished this round
    atomic_llong next;  // first part that nobody has taken
    int64_t parts;
    ecd_pool_part run;
    void *context;
};

enum { SPINS = 2000 }; // about 50 us: operations of a step follow each other faster than that

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void run_parts(ecd_pool *pool, int thread)
{
    for (;;) {
        int64_t part = atomic_fetch_add(&pool->next, 1);
        if (part >= pool->parts)
            return;
        pool->run(pool->context, part, thread);
    }
}

static void wait_for_round(ecd_pool *pool, unsigned seen)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load(&pool->round) != seen)
            return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->round) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void next_round(ecd_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument)
{
    ecd_pool *pool = argument;
    int thread = atomic_fetch_add(&pool->number, 1);
    for (unsigned seen = 0;; seen++) {
        wait_for_round(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        run_parts(pool, thread);
        atomic_fetch_sub(&pool->working, 1);
    }
}

ecd_status ecd_pool_open(int threads, ecd_pool **out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    *out = NULL;
    ecd_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return ecd_fail_memory(diag, sizeof *pool, "the threads of the cpu backend");
    pool->threads = threads;
    atomic_init(&pool->number, 1);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    if (!pool->workers)
        status = ecd_fail_memory(diag, (size_t)threads * sizeof *pool->workers, "the threads of the cpu backend");
    for (; status == ECD_OK && pool->started < threads - 1; pool->started++) {
        if (!pthread_create(&pool->workers[pool->started], NULL, work, pool))
            continue;
        status = ecd_fail(diag, ECD_RESOURCE, "cannot start thread %d of %d", pool->started + 2, threads);
        break;
    }
    if (status != ECD_OK) {
        ecd_pool_close(pool);
        return status;
    }
    *out = pool;
    return ECD_OK;
}

void ecd_pool_close(ecd_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    next_round(pool);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

void ecd_pool_run(ecd_pool *pool, int64_t parts, ecd_pool_part run, void *context)
{
    if (parts < 1)
        return;
    pool->parts = parts;
    pool->run = run;
    pool->context = context;
    atomic_store(&pool->next, 0);
    if (parts == 1 || pool->threads == 1) {
        run_parts(pool, 0);
        return;
    }
    atomic_store(&pool->working, pool->started);
    next_round(pool);
    run_parts(pool, 0);
    // The last parts are short, and the others' processors may be taken: spin, then let them have this one.
    for (int spin = 0; atomic_load(&pool->working) > 0; spin++) {
        if (spin > SPINS)
            sched_yield();
        else
            pause_briefly();
    }
}
