#include "weights/store_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/process.h"

// How many blocks that need decoding are used before this one is: 1 for the next, order_count for the one used last.
static int distance(const ecd_store *store, int rank)
{
    int n = store->order_count;
    return ((rank - store->cursor - 1) % n + n) % n + 1;
}

// A buffer to decode the block `ahead` uses from now into: an empty one, else the one that is wanted last. With blocks
// used in turn that keeps the first buffers' blocks decoded for good and streams the others through two buffers,
// where dropping the oldest would decode every block every time. NULL if all are in use or wanted sooner.
static ecd_store_buffer *choose_buffer(ecd_store *store, int ahead)
{
    ecd_store_buffer *best = NULL;
    int farthest = ahead;
    for (int i = 0; i < store->buffer_count; i++) {
        ecd_store_buffer *buffer = &store->buffers[i];
        if (buffer->state == ECD_BUFFER_EMPTY)
            return buffer;
        if (buffer->state == ECD_BUFFER_DECODING || store->blocks[buffer->block].users)
            continue;
        int d = distance(store, store->blocks[buffer->block].rank);
        if (d > farthest) {
            farthest = d;
            best = buffer;
        }
    }
    return best;
}

static void claim(ecd_store *store, ecd_store_buffer *buffer, int block)
{
    if (buffer->state != ECD_BUFFER_EMPTY)
        store->blocks[buffer->block].buffer = -1;
    buffer->state = ECD_BUFFER_DECODING;
    buffer->block = block;
    buffer->uploaded = false;
    buffer->next = store->blocks[block].first;
    buffer->end = buffer->next + store->blocks[block].count;
    buffer->diag = (ecd_diag){0};
    store->blocks[block].buffer = (int)(buffer - store->buffers);
    pthread_cond_signal(&store->work); // the second thread may join in
}

// The buffer's next unit that wants decoding, or -1; after a fault there is none.
static int take_unit(const ecd_store *store, ecd_store_buffer *buffer)
{
    while (!buffer->diag.status && buffer->next < buffer->end) {
        int unit = buffer->next++;
        if (store->units[unit].form == ECD_UNIT_CODED)
            return unit;
    }
    return -1;
}

// Decodes the buffer's units until all are taken, with the lock given up meanwhile. Both threads may be at it: the one
// that ends last says that the buffer is ready.
static void fill(ecd_store *store, ecd_store_buffer *buffer, int decoder)
{
    for (int unit; (unit = take_unit(store, buffer)) >= 0;) {
        ecd_diag diag = {0};
        buffer->running++;
        pthread_mutex_unlock(&store->lock);
        uint64_t start = ecd_now_ns();
        ecd_status status = ecd_store_decode(store, unit, buffer, store->tables[decoder], &diag);
        uint64_t spent = ecd_now_ns() - start;
        pthread_mutex_lock(&store->lock);
        buffer->running--;
        store->report.decode_ns += spent;
        if (status && !buffer->diag.status)
            buffer->diag = diag;
    }
    if (buffer->running || buffer->state != ECD_BUFFER_DECODING)
        return;
    buffer->state = buffer->diag.status ? ECD_BUFFER_FAILED : ECD_BUFFER_READY;
    pthread_cond_broadcast(&store->done);
}

// A buffer that the other thread is filling and that has units left, or NULL.
static ecd_store_buffer *unfinished(ecd_store *store)
{
    for (int i = 0; i < store->buffer_count; i++) {
        ecd_store_buffer *buffer = &store->buffers[i];
        if (buffer->state == ECD_BUFFER_DECODING && !buffer->diag.status && buffer->next < buffer->end)
            return buffer;
    }
    return NULL;
}

static void *decoder_main(void *opaque)
{
    ecd_store *store = opaque;
    pthread_mutex_lock(&store->lock);
    while (!store->stop) {
        ecd_store_buffer *buffer = unfinished(store);
        int next = store->order[(store->cursor + 1) % store->order_count];
        if (!buffer && store->blocks[next].buffer < 0 && (buffer = choose_buffer(store, 1)))
            claim(store, buffer, next);
        if (buffer)
            fill(store, buffer, ECD_STORE_SECOND);
        else
            pthread_cond_wait(&store->work, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static bool any_decoding(const ecd_store *store)
{
    for (int i = 0; i < store->buffer_count; i++)
        if (store->buffers[i].state == ECD_BUFFER_DECODING)
            return true;
    return false;
}

// Under the lock: gives the block a buffer that holds it. What is not decoded yet is decoded here too: this thread has
// nothing better to do.
static ecd_status obtain(ecd_store *store, int index, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    for (;;) {
        ecd_store_buffer *buffer = block->buffer < 0 ? NULL : &store->buffers[block->buffer];
        if (buffer && buffer->state == ECD_BUFFER_READY)
            return ECD_OK;
        if (buffer && buffer->state == ECD_BUFFER_FAILED) {
            if (diag)
                *diag = buffer->diag;
            ecd_status status = buffer->diag.status;
            buffer->state = ECD_BUFFER_EMPTY;
            block->buffer = -1;
            return status;
        }
        if (!buffer && (buffer = choose_buffer(store, 0)))
            claim(store, buffer, index);
        if (buffer && buffer->next < buffer->end && !buffer->diag.status) {
            fill(store, buffer, ECD_STORE_CALLER);
        } else if (buffer || any_decoding(store)) {
            pthread_cond_wait(&store->done, &store->lock);
        } else {
            return ecd_fail(diag, ECD_USAGE, "block %d is wanted while all %d decode buffers are held", index,
                            store->buffer_count);
        }
    }
}

static ecd_status acquire_coded(ecd_store *store, int index, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    pthread_mutex_lock(&store->lock);
    block->users++; // now already: the second thread must not take its buffer away between decoding and lending
    store->cursor = block->rank;
    bool ready = block->buffer >= 0 && store->buffers[block->buffer].state == ECD_BUFFER_READY;
    uint64_t start = ready ? 0 : ecd_now_ns();
    ecd_status status = obtain(store, index, diag);
    if (!ready)
        store->report.exposed_ns += ecd_now_ns() - start;
    if (status)
        block->users--;
    ecd_store_buffer *buffer = status ? NULL : &store->buffers[block->buffer];
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->lock);
    // The backend is called on the caller's thread alone.
    if (buffer && buffer->staging != buffer->memory && !buffer->uploaded) {
        store->be->ops->upload(store->be, buffer->memory, buffer->staging, block->buffer_bytes);
        buffer->uploaded = true;
    }
    return status;
}

ecd_status ecd_store_acquire(ecd_store *store, int index, ecd_block *out, ecd_diag *diag)
{
    *out = (ecd_block){0};
    if (index < 0 || index >= store->block_count)
        return ecd_fail(diag, ECD_USAGE, "block %d, expected 0 to %d", index, store->block_count - 1);
    const ecd_store_block *block = &store->blocks[index];
    ecd_status status = block->rank < 0 ? ECD_OK : acquire_coded(store, index, diag);
    if (status)
        return status;
    pthread_mutex_lock(&store->lock);
    store->report.acquires++;
    pthread_mutex_unlock(&store->lock);
    *out = (ecd_block){.weights = store->weights + block->first, .vectors = store->vectors + block->first};
    return ECD_OK;
}

void ecd_store_release(ecd_store *store, int index)
{
    if (index < 0 || index >= store->block_count || store->blocks[index].rank < 0)
        return;
    pthread_mutex_lock(&store->lock);
    if (store->blocks[index].users > 0)
        store->blocks[index].users--;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->lock);
}

void ecd_store_report_get(const ecd_store *store, ecd_store_report *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock; // reading needs it, and changes nothing else
    pthread_mutex_lock(lock);
    *out = store->report;
    pthread_mutex_unlock(lock);
}

int ecd_store_buffers(const ecd_store *store)
{
    return store->buffer_count;
}

static ecd_status start_thread(pthread_t *thread, void *(*body)(void *), ecd_store *store, bool *runs, ecd_diag *diag)
{
    int error = pthread_create(thread, NULL, body, store);
    if (error)
        return ecd_fail(diag, ECD_RESOURCE, "cannot start a thread for the weights: %s", strerror(error));
    *runs = true;
    return ECD_OK;
}

ecd_status ecd_store_open(const ecd_checkpoint *cp, ecd_backend *be, const ecd_block_spec *blocks, int count,
                          const ecd_store_options *options, ecd_store **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_store *store = calloc(1, sizeof *store);
    if (!store)
        return ecd_fail_memory(diag, sizeof *store, "the weight store");
    *store = (ecd_store){.cp = cp, .be = be, .block_count = count, .cursor = -1};
    atomic_init(&store->warmer_stop, false);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->work, NULL);
    pthread_cond_init(&store->done, NULL);
    ecd_status status = ecd_store_prepare(store, blocks, options, diag);
    if (!status)
        status = start_thread(&store->warmer, ecd_store_warm, store, &store->warmer_runs, diag);
    if (!status && options->read_ahead && store->buffer_count > 1)
        status = start_thread(&store->decoder, decoder_main, store, &store->decoder_runs, diag);
    if (status)
        ecd_store_close(store);
    else
        *out = store;
    return status;
}

static void stop_threads(ecd_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->stop = true;
    pthread_cond_broadcast(&store->work);
    pthread_mutex_unlock(&store->lock);
    atomic_store(&store->warmer_stop, true);
    if (store->decoder_runs)
        pthread_join(store->decoder, NULL);
    if (store->warmer_runs)
        pthread_join(store->warmer, NULL);
}

void ecd_store_close(ecd_store *store)
{
    if (!store)
        return;
    stop_threads(store);
    for (int i = 0; i < store->unit_count; i++)
        free(store->units[i].own_blob);
    if (store->memory)
        store->be->ops->free(store->be, store->memory);
    free(store->staging);
    free(store->units);
    free(store->weights);
    free(store->vectors);
    free(store->blocks);
    free(store->order);
    free(store->buffers);
    pthread_cond_destroy(&store->done);
    pthread_cond_destroy(&store->work);
    pthread_mutex_destroy(&store->lock);
    free(store);
}
