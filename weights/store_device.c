// Lending blocks whose memory is a device's. An acquire has its own block sent there and decoded, begins to decode the next
// one beside the computing, and sends those that come after it, as many as there are slots. The host waits for none of it, and
// no thread of the store's own is needed: marks order the device's queues.
//
//     slot     written by a send, once `read` is reached: by the decode that takes all of it, or by the computing that is
//              lent raw weights from it
//              read by decode or computing, once `sent` is reached
//     buffer   written by a decode, once all operations called before that are done; read by those called after it is joined
#include <stdlib.h>

#include "weights/store_internal.h"

// The slot that a block wanted `ahead` uses from now may be sent to: an empty one, else that of the block wanted last. NULL if
// all are in use or wanted sooner.
static ecd_store_slot *choose_slot(ecd_store *store, int ahead)
{
    ecd_store_slot *best = NULL;
    int farthest = ahead;
    for (int i = 0; i < store->slot_count; i++) {
        ecd_store_slot *slot = &store->slots[i];
        if (slot->work.state == ECD_PLACE_EMPTY)
            return slot;
        int d = ecd_store_distance(store, slot->work.block);
        if (!store->blocks[slot->work.block].users && d > farthest) {
            farthest = d;
            best = slot;
        }
    }
    return best;
}

static void free_slot(ecd_store *store, ecd_store_block *block)
{
    store->slots[block->slot].work.state = ECD_PLACE_EMPTY;
    block->slot = -1;
}

// From the block's files, while the host waits.
static void send_from_file(ecd_store *store, const ecd_store_block *block, uint8_t *to)
{
    for (int p = block->first_part; p < block->first_part + block->part_count; p++) {
        const ecd_store_part *part = &store->parts[p];
        uint8_t *at = to + part->slot_offset;
        for (int i = 0; i < ecd_decode_part_pieces(&part->source); i++) {
            ecf8_published_buffer piece = ecd_decode_part_piece(&part->source, i);
            store->be->ops->upload(store->be, at, piece.data, piece.bytes);
            at += ecd_decode_rounded(piece.bytes);
        }
    }
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_READ)
            store->be->ops->upload(store->be, to + store->units[i].slot_offset, store->units[i].tensor->data,
                                   store->units[i].decoded_bytes);
}

// Queues the block's way to a slot; false where none is free.
static bool send_block(ecd_store *store, int index, int ahead)
{
    const ecd_backend_ops *ops = store->be->ops;
    ecd_store_block *block = &store->blocks[index];
    ecd_store_slot *slot = choose_slot(store, ahead);
    ecd_queue queue = store->pinned ? ECD_QUEUE_SEND : ECD_QUEUE_COMPUTE;
    if (!slot)
        return false;
    if (slot->work.state != ECD_PLACE_EMPTY)
        store->blocks[slot->work.block].slot = -1;
    slot->work = (ecd_store_work){.state = ECD_PLACE_READY, .block = index}; // as far as the host is concerned
    block->slot = (int)(slot - store->slots);
    ops->mark_await(store->be, slot->read, queue);
    if (store->pinned)
        ops->send(store->be, slot->memory, store->pinned + block->pinned_offset, block->slot_bytes);
    else
        send_from_file(store, block, slot->memory);
    ops->mark_set(store->be, slot->sent, queue);
    store->report.read_bytes += block->slot_bytes;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_READ)
            store->weights[i].data = slot->memory + store->units[i].slot_offset;
    return true;
}

// What is wrong with the block's part number `part`, in the words of the host's decoder: it decodes its tensors once more.
static ecd_status describe_fault(ecd_store *store, const ecd_store_block *block, int part, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    const ecd_tensor *first = store->units[store->parts[block->first_part + part].unit].tensor;
    for (int i = block->first; !status && i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED || unit->part != block->first_part + part)
            continue;
        uint8_t *memory = malloc(unit->decoded_bytes + 1);
        status = memory ? ecd_coded_decode(&unit->coded, memory, true, store->tables[ECD_STORE_CALLER],
                                           store->table_bytes, diag)
                        : ecd_fail_memory(diag, unit->decoded_bytes, "a tensor that does not decode");
        free(memory);
    }
    return status ? status
                  : ecd_tensor_fail(first, diag, "the device finds damage that the host does not find in these weights");
}

// The plan that decodes the block from where it is; of one that is decoded for good it is made now. NULL after a failure.
static ecd_decode_plan *plan_of(ecd_store *store, ecd_store_block *block)
{
    ecd_decode_plan **plan = &block->device[block->kind == ECD_BLOCK_STREAMED ? block->slot : 0];
    if (!*plan)
        *plan = ecd_store_device_prepare(store, block, NULL);
    return *plan;
}

// Queues the block's decoding into the buffer. A fault is described.
static ecd_status decode(ecd_store *store, int index, ecd_store_buffer *buffer, ecd_diag *diag)
{
    const ecd_backend_ops *ops = store->be->ops;
    ecd_store_block *block = &store->blocks[index];
    ecd_decode_plan *plan = plan_of(store, block);
    if (!plan)
        return ecd_backend_check(store->be, diag);
    ecd_store_claim_buffer(store, buffer, index);
    buffer->work.state = ECD_PLACE_READY;
    buffer->plan = plan;
    if (block->slot >= 0)
        ops->mark_await(store->be, store->slots[block->slot].sent, ECD_QUEUE_DECODE);
    int fault = ops->decode(store->be, plan, buffer->memory, store->options.check_crc || !block->device_proven);
    block->device_proven = fault < 0;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_CODED)
            store->weights[i].data = buffer->memory + store->units[i].buffer_offset;
    if (block->slot >= 0) {
        ops->mark_set(store->be, store->slots[block->slot].read, ECD_QUEUE_DECODE);
        if (!block->lends_slot)
            free_slot(store, block);
    }
    if (fault < 0)
        return ECD_OK;
    buffer->work.state = ECD_PLACE_EMPTY; // it is decoded, and refused, anew if it is wanted again
    block->buffer = -1;
    return describe_fault(store, block, fault, diag);
}

// Begins to bring the block where it is lent from, unless that has been done. *begun: false where no place is free.
static ecd_status begin(ecd_store *store, int index, int ahead, bool *begun, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    bool wants_slot = block->kind == ECD_BLOCK_STREAMED && (block->lends_slot || block->buffer < 0);
    bool wants_buffer = block->buffer_bytes && block->buffer < 0;
    ecd_store_buffer *buffer = wants_buffer ? ecd_store_choose_buffer(store, index, ahead) : NULL;
    *begun = (!wants_buffer || buffer) && (!wants_slot || block->slot >= 0 || send_block(store, index, ahead));
    return *begun && buffer ? decode(store, index, buffer, diag) : ECD_OK;
}

// Operations called from now on find the block where it is lent from.
static void join(ecd_store *store, ecd_store_block *block)
{
    const ecd_backend_ops *ops = store->be->ops;
    if (block->buffer >= 0 && store->buffers[block->buffer].plan)
        ops->decode_join(store->be, store->buffers[block->buffer].plan);
    if (block->slot >= 0)
        ops->mark_await(store->be, store->slots[block->slot].sent, ECD_QUEUE_COMPUTE);
    if (block->kind == ECD_BLOCK_READY && block->device[0]) { // its ECF8 is never needed again
        ops->decode_free(store->be, block->device[0]);
        store->buffers[block->buffer].plan = block->device[0] = NULL;
    }
}

// The streamed blocks that are wanted next, as long as there are slots.
static void send_ahead(ecd_store *store)
{
    for (int ahead = 1; ahead <= store->order_count; ahead++) {
        int index = ecd_store_block_ahead(store, ahead);
        const ecd_store_block *block = &store->blocks[index];
        bool wanted = block->kind == ECD_BLOCK_STREAMED && block->slot < 0 && (block->lends_slot || block->buffer < 0);
        if (wanted && !send_block(store, index, ahead))
            return;
    }
}

ecd_status ecd_store_device_obtain(ecd_store *store, int index, ecd_diag *diag)
{
    bool begun;
    ecd_store_block *block = &store->blocks[index];
    ecd_status status = begin(store, index, 0, &begun, diag);
    if (!begun)
        return ecd_fail(diag, ECD_USAGE, "block %d is wanted while all %d decode buffers or %d slots are held", index,
                        store->shared_count, store->slot_count);
    if (status)
        return status;
    join(store, block);
    int next = ecd_store_block_ahead(store, 1);
    bool from_file = store->slot_count && !store->pinned;
    if (!store->options.read_ahead || from_file)
        return ECD_OK;
    if (next != index)
        begin(store, next, 1, &begun, NULL); // a fault of it is told when it is wanted
    send_ahead(store);
    return ECD_OK;
}

// What the computing was lent from the slot it has used.
void ecd_store_device_release(ecd_store *store, int index)
{
    const ecd_store_block *block = &store->blocks[index];
    if (block->slot >= 0)
        store->be->ops->mark_set(store->be, store->slots[block->slot].read, ECD_QUEUE_COMPUTE);
}
