// Bringing weights to a device: what its blocks take there comes and goes as one, and what is streamed lies in pinned host
// memory from opening on.
#include "weights/store_internal.h"

#include <stdlib.h>
#include <string.h>

ecd_decode_plan *ecd_store_device_prepare(ecd_store *store, const ecd_store_block *block, const ecd_store_slot *slot)
{
    uint64_t copied = 0;
    for (int i = 0; i < block->part_count; i++) {
        const ecd_store_part *part = &store->parts[block->first_part + i];
        store->part_list[i] = part->source;
        if (slot)
            store->part_list[i].there = slot->memory + part->slot_offset;
        else
            copied += ecd_decode_part_bytes(&part->source);
    }
    ecd_decode_plan *plan = store->be->ops->decode_prepare(store->be, store->part_list, block->part_count);
    store->report.sent_bytes += plan ? copied : 0;
    return plan;
}

// ---- pinned host memory

static void give_pages_back(const ecd_store *store, const ecd_store_block *block)
{
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_tensor *t = store->units[i].tensor;
        if (t && t->file)
            ecd_file_dont_need(t->file, t->offset_bytes, t->size_bytes);
    }
}

// As it will lie in its slot.
static void lay_block(const ecd_store *store, const ecd_store_block *block)
{
    uint8_t *to = store->pinned + block->pinned_offset;
    for (int i = 0; i < block->part_count; i++) {
        const ecd_store_part *part = &store->parts[block->first_part + i];
        ecd_decode_part_lay(&part->source, to + part->slot_offset);
    }
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form == ECD_UNIT_READ)
            memcpy(to + unit->slot_offset, unit->tensor->data, unit->decoded_bytes);
    }
    give_pages_back(store, block);
}

// Blocks that are used once are sent from their files.
ecd_status ecd_store_device_pin(ecd_store *store, ecd_diag *diag)
{
    uint64_t size = 0;
    for (int b = 0; b < store->block_count; b++)
        if (store->blocks[b].kind == ECD_BLOCK_STREAMED) {
            store->blocks[b].pinned_offset = size;
            size += store->blocks[b].slot_bytes;
        }
    if (!size || store->options.once)
        return ECD_OK;
    store->pinned = store->be->ops->pin(store->be, size);
    if (!store->pinned) {
        ecd_status status = ecd_backend_check(store->be, diag);
        return status ? status : ecd_fail_memory(diag, size, "weights that are sent to the device");
    }
    store->report.pinned_bytes = size;
    for (int b = 0; b < store->block_count; b++)
        if (store->blocks[b].kind == ECD_BLOCK_STREAMED)
            lay_block(store, &store->blocks[b]);
    return ECD_OK;
}

// ---- coming and going

static ecd_status make_marks(ecd_store *store, ecd_diag *diag)
{
    const ecd_backend_ops *ops = store->be->ops;
    for (int i = 0; i < store->slot_count; i++) {
        ecd_store_slot *slot = &store->slots[i];
        slot->sent = slot->sent ? slot->sent : ops->mark_new(store->be);
        slot->read = slot->read ? slot->read : ops->mark_new(store->be);
    }
    return ecd_backend_check(store->be, diag);
}

static ecd_status make_plans(ecd_store *store, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int b = 0; !status && b < store->block_count; b++) {
        ecd_store_block *block = &store->blocks[b];
        bool streamed = block->kind == ECD_BLOCK_STREAMED;
        bool held = block->kind == ECD_BLOCK_DECODED && !block->buffer_bytes;
        int count = !block->part_count || block->kind == ECD_BLOCK_READY || held ? 0 : streamed ? store->slot_count : 1;
        if (held)
            status = ecd_store_device_hold(store, block, diag);
        for (int i = 0; !status && i < count; i++) {
            block->device[i] = ecd_store_device_prepare(store, block, streamed ? &store->slots[i] : NULL);
            if (!block->device[i])
                status = ecd_backend_check(store->be, diag);
        }
    }
    return status;
}

ecd_status ecd_store_device_come(ecd_store *store, ecd_diag *diag)
{
    ecd_status status = ecd_store_allocate_blocks(store, diag);
    store->away = false; // what came is given up by whoever rests or closes
    if (!status)
        status = ecd_store_fill(store, true, diag);
    if (!status)
        status = make_marks(store, diag);
    if (!status)
        status = make_plans(store, diag);
    if (status)
        ecd_store_device_go(store);
    else
        ecd_store_drop_pages(store);
    return status;
}

static void free_plans(ecd_store *store)
{
    for (int b = 0; b < store->block_count; b++)
        for (int i = 0; i < ECD_PLAN_MAX_SLOTS; i++) {
            store->be->ops->decode_free(store->be, store->blocks[b].device[i]);
            store->blocks[b].device[i] = NULL;
        }
}

// What is still on its way comes before: operations' queue waits for the others, and memory is freed in its order.
void ecd_store_device_go(ecd_store *store)
{
    const ecd_backend_ops *ops = store->be->ops;
    for (int i = 0; store->slots && i < store->slot_count; i++)
        if (store->slots[i].sent)
            ops->mark_await(store->be, store->slots[i].sent, ECD_QUEUE_COMPUTE);
    if (store->blocks)
        free_plans(store);
    ecd_store_device_let_go(store);
    if (store->block_memory)
        ops->free(store->be, store->block_memory);
    store->block_memory = NULL;
    store->away = true;
}

void ecd_store_device_close(ecd_store *store)
{
    const ecd_backend_ops *ops = store->be->ops;
    ecd_store_device_go(store);
    for (int i = 0; store->slots && i < store->slot_count; i++) {
        ops->mark_free(store->be, store->slots[i].sent);
        ops->mark_free(store->be, store->slots[i].read);
    }
    ops->unpin(store->be, store->pinned);
}
