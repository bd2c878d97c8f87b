#include "weights/store_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/process.h"

static bool is_there(const ecd_store *store, const ecd_store_block *block)
{
    if (block->buffer_bytes)
        return block->buffer >= 0 && store->buffers[block->buffer].work.state == ECD_PLACE_READY;
    return block->slot >= 0 && store->slots[block->slot].work.state == ECD_PLACE_READY;
}

static ecd_status acquire_ranked(ecd_store *store, int index, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    pthread_mutex_lock(&store->lock);
    block->users++; // now already: the other threads must not take its place away between filling and lending
    store->cursor = block->rank;
    store->resting = false;
    bool there = is_there(store, block);
    uint64_t start = there ? 0 : ecd_now_ns();
    pthread_cond_broadcast(&store->work); // the blocks after it may be read and decoded from now
    ecd_status status =
        store->on_device ? ecd_store_device_obtain(store, index, diag) : ecd_store_obtain(store, index, diag);
    if (!there)
        store->report.exposed_ns += ecd_now_ns() - start;
    if (status)
        block->users--;
    pthread_mutex_unlock(&store->lock);
    return status;
}

// Of a store whose blocks are used once: maps a block's pages at once, and gives them back.
static void visit_pages(ecd_store *store, const ecd_store_block *block, bool wanted)
{
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        bool mapped = unit->form == ECD_UNIT_VIEW || unit->form == ECD_UNIT_CODED ||
                      (unit->form == ECD_UNIT_READ && store->on_device);
        if (!mapped || !unit->tensor->file)
            continue;
        if (wanted)
            ecd_store_populate(unit->tensor);
        else
            ecd_file_dont_need(unit->tensor->file, unit->tensor->offset_bytes, unit->tensor->size_bytes);
    }
}

ecd_status ecd_store_acquire(ecd_store *store, int index, ecd_block *out, ecd_diag *diag)
{
    *out = (ecd_block){0};
    if (index < 0 || index >= store->block_count)
        return ecd_fail(diag, ECD_USAGE, "block %d, expected 0 to %d", index, store->block_count - 1);
    const ecd_store_block *block = &store->blocks[index];
    ecd_status status = store->away ? ecd_store_device_come(store, diag) : ECD_OK;
    if (store->options.once && !store->on_device)
        visit_pages(store, block, true);
    if (!status && block->rank >= 0)
        status = acquire_ranked(store, index, diag);
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
    if (index < 0 || index >= store->block_count)
        return;
    if (store->options.once)
        visit_pages(store, &store->blocks[index], false);
    if (store->blocks[index].rank < 0)
        return;
    pthread_mutex_lock(&store->lock);
    if (store->on_device)
        ecd_store_device_release(store, index);
    if (store->blocks[index].users > 0)
        store->blocks[index].users--;
    pthread_cond_broadcast(&store->work);
    pthread_mutex_unlock(&store->lock);
}

void ecd_store_rest(ecd_store *store)
{
    atomic_store(&store->warmer_stop, true); // what was warmed is given back: it is mapped again as it is wanted
    pthread_mutex_lock(&store->lock);
    store->resting = true;
    ecd_store_empty(store);
    if (store->on_device)
        ecd_store_device_go(store);
    else
        ecd_store_give_back(store);
    pthread_mutex_unlock(&store->lock);
}

void ecd_store_report_get(const ecd_store *store, ecd_store_report *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock; // reading needs it, and changes nothing else
    pthread_mutex_lock(lock);
    *out = store->report;
    for (int i = 0; i < store->unit_count; i++)
        out->decode_ns += atomic_load(&store->units[i].coded.use_ns);
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

static ecd_status start_threads(ecd_store *store, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    if (store->on_device)
        return ECD_OK;
    if (!store->options.once)
        status = start_thread(&store->warmer, ecd_store_warm, store, &store->warmer_runs, diag);
    if (!status && store->options.read_ahead && store->buffer_count > 1)
        status = start_thread(&store->decoder, ecd_store_decoder_main, store, &store->decoder_runs, diag);
    for (int i = 0; !status && i < ECD_STORE_READERS && store->options.read_ahead && store->slot_count; i++)
        status = start_thread(&store->readers[i], ecd_store_reader_main, store, &store->reader_runs[i], diag);
    return status;
}

ecd_status ecd_store_open(const ecd_checkpoint *cp, ecd_backend *be, const ecd_block_spec *blocks, int count,
                          const ecd_store_options *options, ecd_store **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_store *store = calloc(1, sizeof *store);
    if (!store)
        return ecd_fail_memory(diag, sizeof *store, "the weight store");
    *store = (ecd_store){.cp = cp, .be = be, .options = *options, .block_count = count, .cursor = -1,
                         .on_device = !be->host_memory, .away = !be->host_memory};
    store->report.device = store->on_device;
    atomic_init(&store->warmer_stop, false);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->work, NULL);
    pthread_cond_init(&store->done, NULL);
    ecd_status status = ecd_store_prepare(store, blocks, diag);
    store->options.rates_file = NULL;
    if (!status)
        status = start_threads(store, diag);
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
    for (int i = 0; i < ECD_STORE_READERS; i++)
        if (store->reader_runs[i])
            pthread_join(store->readers[i], NULL);
    if (store->warmer_runs)
        pthread_join(store->warmer, NULL);
}

void ecd_store_close(ecd_store *store)
{
    if (!store)
        return;
    stop_threads(store);
    if (store->on_device)
        ecd_store_device_close(store);
    for (int i = 0; i < store->unit_count; i++)
        free(store->units[i].own_blob);
    for (int i = 0; i < store->file_count; i++)
        ecd_direct_close(&store->files[i]);
    if (store->block_memory)
        store->be->ops->free(store->be, store->block_memory);
    if (store->memory)
        store->be->ops->free(store->be, store->memory);
    free(store->slot_memory);
    free(store->table_memory);
    free(store->units);
    free(store->weights);
    free(store->vectors);
    free(store->blocks);
    free(store->order);
    free(store->parts);
    free(store->part_list);
    free(store->buffers);
    free(store->slots);
    free(store->files);
    free(store->file_of);
    pthread_cond_destroy(&store->done);
    pthread_cond_destroy(&store->work);
    pthread_mutex_destroy(&store->lock);
    free(store);
}
