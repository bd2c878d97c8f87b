#define _GNU_SOURCE
#include "weights/store_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

uint64_t ecd_store_scale_count(const ecd_store_unit *unit)
{
    return unit->tensor && unit->tensor->scale_kind != ECD_SCALE_NONE ? unit->tensor->scale->count : 0;
}

uint64_t ecd_store_page_bytes(uint64_t offset_bytes, uint64_t size_bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (offset_bytes % page + size_bytes + page - 1) / page * page;
}

static ecd_status make_buffers(ecd_store *store, ecd_diag *diag)
{
    int owned = 0;
    for (int i = 0; i < store->block_count; i++)
        owned += store->blocks[i].kind == ECD_BLOCK_READY && store->blocks[i].rank >= 0;
    store->buffers = calloc((size_t)(store->shared_count + owned) + 1, sizeof *store->buffers);
    store->slots = calloc((size_t)store->slot_count + 1, sizeof *store->slots);
    if (!store->buffers || !store->slots)
        return ecd_fail_memory(diag, sizeof *store->buffers, "the decode buffers' table");
    for (int i = 0; i < store->shared_count; i++)
        store->buffers[store->buffer_count++] = (ecd_store_buffer){.owner = -1, .work.block = -1};
    for (int i = 0; i < store->block_count; i++)
        if (store->blocks[i].kind == ECD_BLOCK_READY && store->blocks[i].rank >= 0)
            store->buffers[store->buffer_count++] = (ecd_store_buffer){.owner = i, .work.block = -1};
    for (int i = 0; i < store->slot_count; i++)
        store->slots[i].work.block = -1;
    return ECD_OK;
}

static uint64_t size_of(const ecd_store *store, const ecd_store_buffer *buffer)
{
    return buffer->owner < 0 ? store->buffer_bytes : store->blocks[buffer->owner].buffer_bytes;
}

// Hands out what always stays, or what blocks take: run once to count, once over the allocation.
static void lay_out(ecd_store *store, const ecd_store_block *block, bool moving, ecd_arena *arena)
{
    bool moves = ecd_store_moves(store, block);
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        uint64_t scales = ecd_store_scale_count(unit);
        if (scales && !moving)
            store->weights[i].scale = ecd_arena_take(arena, scales * sizeof(float));
        if (unit->form == ECD_UNIT_VECTOR && !moving)
            store->vectors[i] = ecd_arena_take(arena, unit->tensor->count * sizeof(float));
        else if (unit->form == ECD_UNIT_KEPT && moving == moves)
            store->weights[i].data = ecd_arena_take(arena, ecd_store_lent_bytes(unit));
    }
}

static void lay_out_all(ecd_store *store, bool moving, ecd_arena *arena)
{
    for (int b = 0; b < store->block_count; b++)
        lay_out(store, &store->blocks[b], moving, arena);
    for (int i = 0; moving && i < store->buffer_count; i++)
        store->buffers[i].memory = ecd_arena_take(arena, size_of(store, &store->buffers[i]));
    for (int i = 0; moving && store->on_device && i < store->slot_count; i++)
        store->slots[i].memory = ecd_arena_take(arena, store->slot_bytes);
}

static ecd_status allocate(ecd_store *store, bool moving, void **memory, ecd_diag *diag)
{
    ecd_arena plan = ecd_arena_plan();
    lay_out_all(store, moving, &plan);
    if (!plan.peak_bytes)
        return ECD_OK;
    *memory = store->be->ops->alloc(store->be, plan.peak_bytes);
    if (!*memory) {
        ecd_status status = ecd_backend_check(store->be, diag); // of a device: which memory
        return status ? status : ecd_fail_memory(diag, plan.peak_bytes, "the weights");
    }
    ecd_arena arena = ecd_arena_over(*memory, plan.peak_bytes);
    lay_out_all(store, moving, &arena);
    return ECD_OK;
}

ecd_status ecd_store_allocate_blocks(ecd_store *store, ecd_diag *diag)
{
    return allocate(store, true, &store->block_memory, diag);
}

static ecd_status allocate_slots(ecd_store *store, ecd_diag *diag)
{
    uint64_t size = store->slot_bytes * (uint64_t)store->slot_count;
    if (!size)
        return ECD_OK;
    store->slot_memory = aligned_alloc(ECD_DIRECT_ALIGN, size);
    if (!store->slot_memory)
        return ecd_fail_memory(diag, size, "reading weights ahead");
    for (int i = 0; i < store->slot_count; i++)
        store->slots[i].memory = store->slot_memory + store->slot_bytes * (uint64_t)i;
    return ECD_OK;
}

// A container that is read anew at each use may have become another one: tables for any.
static size_t table_bytes(const ecd_store *store)
{
    size_t most = store->slot_count ? ECF8_DECODER_MAX_BYTES : 0;
    for (int i = 0; i < store->unit_count; i++)
        if (store->units[i].form == ECD_UNIT_CODED) {
            size_t wanted = ecd_coded_table_bytes(&store->units[i].coded);
            most = wanted > most ? wanted : most;
        }
    return most;
}

static ecd_status allocate_tables(ecd_store *store, ecd_diag *diag)
{
    store->table_bytes = table_bytes(store);
    uint64_t tables = ecd_store_aligned(store->table_bytes), size = tables * ECD_STORE_DECODERS;
    store->table_memory = malloc(size + 1);
    if (!store->table_memory)
        return ecd_fail_memory(diag, size, "the decoders' tables");
    for (int i = 0; i < ECD_STORE_DECODERS; i++)
        store->tables[i] = (uint8_t *)store->table_memory + (uint64_t)i * tables;
    return ECD_OK;
}

ecd_status ecd_store_allocate(ecd_store *store, ecd_diag *diag)
{
    ecd_status status = make_buffers(store, diag);
    if (!status)
        status = allocate(store, false, &store->memory, diag);
    if (!status && !store->on_device)
        status = ecd_store_allocate_blocks(store, diag);
    if (!status && !store->on_device)
        status = allocate_slots(store, diag);
    if (!status)
        status = allocate_tables(store, diag);
    return status;
}

static void drop_pages(const ecd_checkpoint *cp)
{
    for (size_t i = 0; i < ecd_checkpoint_file_count(cp); i++) {
        const ecd_file *file = ecd_checkpoint_file(cp, i);
        ecd_file_dont_need(file, 0, file->size_bytes);
    }
}

void ecd_store_drop_pages(ecd_store *store)
{
    drop_pages(store->cp);
}

uint64_t ecd_store_program_bytes(const ecd_checkpoint *cp, ecd_backend *be)
{
    if (!be->host_memory) {
        ecd_device_memory memory;
        be->ops->device_memory(be, &memory);
        return memory.used - memory.scratch;
    }
    // What no plan counts one by one: code that is first run later, threads' stacks, the allocator's own, what a picture
    // file is compressed with; and for each thread the backend's scratch.
    static const uint64_t overhead_bytes = 2 << 20, thread_bytes = 512 << 10;
    drop_pages(cp);
    return ecd_rss_bytes() + overhead_bytes + thread_bytes * (uint64_t)be->threads;
}

// The whole pages of a stretch of our own memory become empty ones, which take no memory until they are written.
static void empty_pages(const uint8_t *memory, uint64_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)memory + size) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void ecd_store_give_back(ecd_store *store)
{
    ecd_store_drop_pages(store);
    empty_pages(store->slot_memory, store->slot_bytes * (uint64_t)store->slot_count);
    for (int i = 0; i < store->buffer_count; i++)
        empty_pages(store->buffers[i].memory, size_of(store, &store->buffers[i]));
}
