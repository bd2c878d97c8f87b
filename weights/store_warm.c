#define _GNU_SOURCE
#include "weights/store_internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WARM_BYTES = 4 << 20 };

// Maps the pages now, in the order of use, so that the first product over a weight does not fault at every 4 KiB.
static void populate(const uint8_t *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data / page * page, end = (uintptr_t)data + size;
#ifdef MADV_POPULATE_READ
    // Pages that cannot be read, of a file that has shrunk, are left to who needs them. Only where the kernel does not
    // know the call (before 5.14) are the pages touched.
    if (madvise((void *)begin, end - begin, MADV_POPULATE_READ) == 0 || errno != EINVAL)
        return;
#endif
    for (uintptr_t at = begin > (uintptr_t)data ? begin : (uintptr_t)data; at < end; at += page)
        (void)*(const volatile uint8_t *)at;
}

void ecd_store_populate(const ecd_tensor *tensor)
{
    ecd_file_will_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    populate(tensor->data, tensor->size_bytes);
}

static void warm_tensor(ecd_store *store, const ecd_tensor *tensor)
{
    ecd_file_will_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    for (uint64_t at = 0; at < tensor->size_bytes && !atomic_load(&store->warmer_stop); at += WARM_BYTES) {
        uint64_t left = tensor->size_bytes - at;
        populate(tensor->data + at, left < WARM_BYTES ? left : WARM_BYTES);
    }
}

// Blocks that are decoded for good map their pages themselves, and give them back.
static bool stays_mapped(const ecd_store_block *block, const ecd_store_unit *unit)
{
    if (unit->form == ECD_UNIT_CODED)
        return block->kind == ECD_BLOCK_DECODED && !unit->own_blob;
    return unit->form == ECD_UNIT_VIEW;
}

void *ecd_store_warm(void *opaque)
{
    ecd_store *store = opaque;
    pthread_mutex_lock(&store->lock);
    while (store->resting && !store->stop)
        pthread_cond_wait(&store->work, &store->lock);
    pthread_mutex_unlock(&store->lock);
    for (int b = 0; b < store->block_count; b++)
        for (int i = 0; i < store->blocks[b].count && !atomic_load(&store->warmer_stop); i++) {
            const ecd_store_unit *unit = &store->units[store->blocks[b].first + i];
            if (stays_mapped(&store->blocks[b], unit) && unit->tensor->file)
                warm_tensor(store, unit->tensor);
        }
    return NULL;
}
