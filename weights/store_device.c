// Blocks that the backend decodes where the weights lie (ecd_backend_ops.decode). The ECF8 of those that are decoded at each
// use goes there once, at opening; that of those that stay decoded only while they are decoded. An acquire has its own
// block decoded and begins the next one beside the computing. No thread of the store's own is needed: the backend's queues
// order all.
#include <stdlib.h>

#include "weights/store_internal.h"

// A block whose decoded tensors are all whole containers. Published ECF8, and rows of a container that holds more, are
// decoded by the host.
static bool is_fit(const ecd_store *store, const ecd_store_block *block)
{
    if (block->kind == ECD_BLOCK_STREAMED)
        return false;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_CODED &&
            (!store->units[i].coded.view.blob || store->units[i].tensor->whole))
            return false;
    return true;
}

static ecd_status prepare_block(ecd_store *store, ecd_store_block *block, ecd_diag *diag)
{
    ecd_decode_part *parts = calloc((size_t)block->count, sizeof *parts);
    if (!parts)
        return ecd_fail_memory(diag, (size_t)block->count * sizeof *parts, "a block's list of tensors");
    int count = 0;
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form == ECD_UNIT_CODED)
            parts[count++] = (ecd_decode_part){.blob = unit->coded.view.blob,
                                               .blob_bytes = unit->coded.view.blob_bytes,
                                               .out_offset_bytes = unit->buffer_offset};
    }
    block->device = store->be->ops->decode_prepare(store->be, parts, count);
    free(parts);
    return block->device ? ECD_OK : ecd_backend_check(store->be, diag);
}

ecd_status ecd_store_device_prepare(ecd_store *store, ecd_diag *diag)
{
    if (!store->be->ops->decode_prepare || !store->order_count)
        return ECD_OK;
    for (int i = 0; i < store->order_count; i++)
        if (!is_fit(store, &store->blocks[store->order[i]]))
            return ECD_OK; // one kind of schedule for a store
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < store->order_count; i++)
        if (store->blocks[store->order[i]].kind == ECD_BLOCK_DECODED)
            status = prepare_block(store, &store->blocks[store->order[i]], diag);
    store->on_device = !status;
    return status;
}

void ecd_store_device_close(ecd_store *store)
{
    for (int i = 0; store->blocks && i < store->block_count; i++)
        if (store->blocks[i].device)
            store->be->ops->decode_free(store->be, store->blocks[i].device);
}

// What is wrong with the block's tensor number `part`, in the words of the host's decoder: it decodes it once more.
static ecd_status describe_fault(ecd_store *store, const ecd_store_block *block, int part, ecd_diag *diag)
{
    int i = block->first;
    for (; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_CODED && part-- == 0)
            break;
    ecd_store_unit *unit = &store->units[i];
    uint8_t *memory = malloc(unit->decoded_bytes + 1);
    if (!memory)
        return ecd_fail_memory(diag, unit->decoded_bytes, "a tensor that does not decode");
    ecd_status status =
        ecd_coded_decode(&unit->coded, memory, true, store->tables[ECD_STORE_CALLER], store->table_bytes, diag);
    free(memory);
    return status ? status : ecd_tensor_fail(unit->tensor, diag, "the device decodes it wrongly, the host does not");
}

static void let_go(ecd_store *store, ecd_store_block *block)
{
    store->be->ops->decode_free(store->be, block->device);
    block->device = NULL;
}

// Begins to decode the block, unless that has been done. *begun: false where no buffer is free. A fault is described.
static ecd_status begin(ecd_store *store, int index, int ahead, bool *begun, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    *begun = true;
    if (block->buffer >= 0)
        return ECD_OK;
    ecd_store_buffer *buffer = ecd_store_choose_buffer(store, index, ahead);
    *begun = buffer;
    if (!buffer)
        return ECD_OK;
    ecd_status status = block->device ? ECD_OK : prepare_block(store, block, diag);
    if (status)
        return status;
    ecd_store_claim_buffer(store, buffer, index);
    buffer->work.state = ECD_PLACE_READY; // as far as the host is concerned
    int fault = store->be->ops->decode(store->be, block->device, buffer->memory,
                                       store->options.check_crc || !block->device_proven);
    block->device_proven = fault < 0;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_CODED)
            store->weights[i].data = buffer->memory + store->units[i].buffer_offset;
    if (fault < 0)
        return ECD_OK;
    buffer->work.state = ECD_PLACE_EMPTY; // it is decoded, and refused, anew if it is wanted again
    block->buffer = -1;
    return describe_fault(store, block, fault, diag);
}

ecd_status ecd_store_device_obtain(ecd_store *store, int index, ecd_diag *diag)
{
    bool begun;
    ecd_store_block *block = &store->blocks[index];
    ecd_status status = begin(store, index, 0, &begun, diag);
    if (!begun)
        return ecd_fail(diag, ECD_USAGE, "block %d is wanted while all %d decode buffers are held", index,
                        store->shared_count);
    if (status)
        return status;
    if (block->device)
        store->be->ops->decode_join(store->be, block->device);
    if (block->device && block->kind == ECD_BLOCK_READY)
        let_go(store, block);
    int next = ecd_store_block_ahead(store, 1);
    if (next != index && store->options.read_ahead)
        begin(store, next, 1, &begun, NULL); // a fault of it is told when it is wanted
    return ECD_OK;
}
