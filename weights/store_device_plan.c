// What the plan must know of blocks whose memory is a device's: what they take there expanded, as ECF8 with what decodes it,
// and on their way from host memory.
#include "weights/store_internal.h"

#include <stdlib.h>

#include "base/process.h"

enum {
    SENT_BYTES = 4 << 20, // at once, to measure the bus
    SENT_TIMES = 4,
    DECODE_TIMES = 2,
};

// ---- parts

static bool same_source(const ecd_coded *a, const ecd_coded *b)
{
    return a->group || b->group ? a->group == b->group : a->view.blob == b->view.blob;
}

static ecd_store_part make_part(const ecd_store_unit *unit, int index)
{
    const ecd_coded *c = &unit->coded;
    ecd_store_part part = {.unit = index, .count = c->group ? c->group->count : c->view.count};
    part.source.group = c->group;
    if (!c->group) {
        part.source.blob = c->view.blob;
        part.source.blob_bytes = c->view.blob_bytes;
    }
    return part;
}

// Units that are rows of one container, or tensors of one published group, are decoded together.
static void find_parts(ecd_store *store, ecd_store_block *block)
{
    block->first_part = store->part_count;
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        int p = block->first_part;
        while (p < store->part_count && !same_source(&store->units[store->parts[p].unit].coded, &unit->coded))
            p++;
        if (p == store->part_count) {
            store->parts[p] = make_part(unit, i);
            store->part_count++;
        }
        unit->part = p;
    }
    block->part_count = store->part_count - block->first_part;
}

// ---- the type that blocks are decoded to

// BF16, where products take that (elements of fewer bits are expanded for each product): of 8-bit types it holds all values.
// Scales of blocks are applied before the product, F16 is no BF16.
static bool is_wide(const ecd_store *store, const ecd_store_block *block)
{
    bool any = false;
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        if (unit->coded.dtype == ECD_F16 || unit->tensor->scale_kind == ECD_SCALE_BLOCK)
            return false;
        any = any || ecd_dtype_size(unit->coded.dtype) == 1;
    }
    return any;
}

// The block's buffer, and what its parts and units are in it.
static void lay_buffer(ecd_store *store, ecd_store_block *block, bool wide)
{
    block->buffer_bytes = 0;
    for (int p = block->first_part; p < block->first_part + block->part_count; p++) {
        ecd_store_part *part = &store->parts[p];
        ecd_dtype dtype = wide ? ECD_BF16 : store->units[part->unit].coded.dtype;
        part->source.wide = wide;
        part->source.out_offset_bytes = block->buffer_bytes;
        block->buffer_bytes += ecd_store_aligned(part->count * ecd_dtype_size(dtype));
    }
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        unit->lent = wide ? ECD_BF16 : unit->tensor->dtype;
        unit->buffer_offset = store->parts[unit->part].source.out_offset_bytes + unit->coded.first * ecd_dtype_size(unit->lent);
    }
}

// Of a block's raw matrices, the 8-bit ones that the budget is to have room for as BF16. Returns whether there are any.
static bool widen_raw(ecd_store *store, const ecd_store_block *block, bool allowed)
{
    bool any = false;
    for (int i = block->first; !block->resident && i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_KEPT)
            continue;
        bool wide = allowed && ecd_dtype_size(unit->tensor->dtype) == 1 && unit->tensor->scale_kind != ECD_SCALE_BLOCK;
        unit->lent = wide ? ECD_BF16 : unit->tensor->dtype;
        any = any || wide;
    }
    return any;
}

bool ecd_store_device_widen(ecd_store *store, bool allowed)
{
    const ecd_store_options *o = &store->options;
    bool any = false;
    allowed = allowed && store->be->compute == ECD_COMPUTE_BF16 && !store->be->ops->coded_hold && !o->once;
    for (int b = 0; b < store->block_count; b++) {
        ecd_store_block *block = &store->blocks[b];
        bool wide = allowed && is_wide(store, block), raw = widen_raw(store, block, allowed && o->budget_bytes);
        lay_buffer(store, block, wide);
        any = any || wide || raw;
    }
    return any;
}

ecd_status ecd_store_device_parts(ecd_store *store, ecd_diag *diag)
{
    int most = 0;
    store->parts = calloc((size_t)store->unit_count + 1, sizeof *store->parts);
    if (!store->parts)
        return ecd_fail_memory(diag, (size_t)store->unit_count * sizeof *store->parts, "the weight store's tables");
    for (int b = 0; b < store->block_count; b++) {
        find_parts(store, &store->blocks[b]);
        most = store->blocks[b].part_count > most ? store->blocks[b].part_count : most;
    }
    store->part_list = calloc((size_t)most + 1, sizeof *store->part_list);
    return store->part_list ? ECD_OK
                            : ecd_fail_memory(diag, (size_t)most * sizeof *store->part_list, "a block's list of tensors");
}

// ---- sizes

// What the block's ECF8 is in its own types: rates count these bytes whatever it is decoded to.
static uint64_t own_bytes(const ecd_store *store, const ecd_store_block *block)
{
    uint64_t sum = 0;
    for (int p = block->first_part; p < block->first_part + block->part_count; p++)
        sum += store->parts[p].count * ecd_dtype_size(store->units[store->parts[p].unit].coded.dtype);
    return sum;
}

static uint64_t plan_bytes(ecd_store *store, const ecd_store_block *block, bool there)
{
    for (int i = 0; i < block->part_count; i++)
        store->part_list[i] = store->parts[block->first_part + i].source;
    return store->be->ops->decode_bytes(store->be, store->part_list, block->part_count, there);
}

// Raw bytes of a block that must be held raw and is ECF8 in its file are not there to be sent.
void ecd_store_device_measure(ecd_store *store, ecd_store_block *block, ecd_block_size *out)
{
    bool coded = block->part_count > 0, raw_mode = store->options.mode == ECD_WEIGHTS_RAW, made_raw = false;
    uint64_t raw = 0, held = 0, sent = 0;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_KEPT) {
            raw += ecd_store_aligned(store->units[i].decoded_bytes);
            held += ecd_store_aligned(ecd_store_lent_bytes(&store->units[i]));
            made_raw = made_raw || store->units[i].tensor->encoding != ECD_ENCODING_RAW;
        }
    for (int i = 0; i < block->part_count; i++)
        sent += ecd_decode_part_bytes(&store->parts[block->first_part + i].source);
    *out = (ecd_block_size){.ready_bytes = held + block->buffer_bytes,
                            .buffer_bytes = block->buffer_bytes,
                            .decoded_bytes = own_bytes(store, block)};
    if (ecd_store_device_holds(store, block))
        out->buffer_bytes = 0;
    if (!made_raw && !(coded && raw_mode))
        out->slot_bytes = out->read_bytes = raw + sent;
    if (!coded)
        return;
    block->device_bytes = plan_bytes(store, block, false);
    out->coded_bytes = raw_mode ? 0 : held + block->device_bytes;
    out->streamed_bytes = ECD_PLAN_MAX_SLOTS * plan_bytes(store, block, true);
}

void ecd_store_device_place(ecd_store *store, ecd_store_block *block)
{
    if (block->kind == ECD_BLOCK_DECODED && ecd_store_device_holds(store, block))
        block->buffer_bytes = 0;
    if (block->kind != ECD_BLOCK_STREAMED)
        return;
    for (int i = 0; i < block->part_count; i++) {
        ecd_store_part *part = &store->parts[block->first_part + i];
        part->slot_offset = block->slot_bytes;
        block->slot_bytes += ecd_decode_part_bytes(&part->source);
    }
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_KEPT)
            continue;
        unit->form = ECD_UNIT_READ;
        unit->slot_offset = block->slot_bytes;
        block->slot_bytes += ecd_store_aligned(unit->decoded_bytes);
        block->lends_slot = true;
    }
}

static void grow(uint64_t *size, uint64_t wanted)
{
    *size = wanted > *size ? wanted : *size;
}

static uint64_t scratch_bytes(ecd_store *store)
{
    const ecd_store_options *o = &store->options;
    const ecd_backend_ops *ops = store->be->ops;
    int64_t rows = ecd_store_picture_rows(store);
    ecd_device_memory memory;
    ops->device_memory(store->be, &memory);
    uint64_t most = memory.scratch > o->scratch_bytes ? memory.scratch : o->scratch_bytes;
    for (int i = 0; i < store->unit_count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED && unit->form != ECD_UNIT_KEPT)
            continue;
        const ecd_weight weight = {.dtype = unit->lent, .rows = unit->rows, .cols = unit->cols,
                                   .scale_kind = unit->tensor->scale_kind};
        grow(&most, ops->linear_scratch(store->be, &weight, rows));
    }
    return most;
}

// Vectors, scales and resident blocks; the scratch of products; and the ECF8 of the block that is being decoded for good, or
// a matrix that is being widened.
uint64_t ecd_store_device_fixed(ecd_store *store)
{
    uint64_t sum = 0, decoding = 0;
    for (int b = 0; b < store->block_count; b++) {
        const ecd_store_block *block = &store->blocks[b];
        grow(&decoding, block->device_bytes);
        for (int i = block->first; i < block->first + block->count; i++) {
            const ecd_store_unit *unit = &store->units[i];
            sum += ecd_store_aligned(ecd_store_scale_count(unit) * sizeof(float));
            if (unit->form == ECD_UNIT_VECTOR)
                sum += ecd_store_aligned(unit->tensor->count * sizeof(float));
            else if (unit->form == ECD_UNIT_KEPT && block->resident)
                sum += ecd_store_aligned(unit->decoded_bytes);
            else if (unit->form == ECD_UNIT_KEPT && unit->lent != unit->tensor->dtype)
                grow(&decoding, unit->decoded_bytes);
        }
    }
    return sum + decoding + scratch_bytes(store);
}

// ---- rates

static double rate(uint64_t bytes, uint64_t start_ns)
{
    uint64_t spent = ecd_now_ns() - start_ns;
    return (double)bytes * 1e9 / (double)(spent ? spent : 1);
}

// The first block of ECF8, which the plan has room for.
static ecd_status measure_decode(ecd_store *store, double *out, ecd_diag *diag)
{
    const ecd_backend_ops *ops = store->be->ops;
    const ecd_store_block *block = NULL;
    for (int b = 0; !block && b < store->block_count; b++)
        block = store->blocks[b].part_count ? &store->blocks[b] : NULL;
    if (!block)
        return ECD_OK;
    uint8_t *to = ops->alloc(store->be, block->buffer_bytes);
    ecd_decode_plan *plan = to ? ecd_store_device_prepare(store, block, NULL) : NULL;
    for (int i = 0; plan && i < DECODE_TIMES; i++) { // the best counts: the first also starts the queue, and checks as a first use does
        uint64_t start = ecd_now_ns();
        ops->decode(store->be, plan, to, !i);
        ops->decode_join(store->be, plan);
        if (ecd_backend_check(store->be, diag))
            break;
        double once = rate(own_bytes(store, block), start);
        *out = !i || once > *out ? once : *out;
    }
    ops->decode_free(store->be, plan);
    if (to)
        ops->free(store->be, to);
    return ecd_backend_check(store->be, diag);
}

static ecd_status measure_bus(ecd_store *store, uint64_t room, double *out, ecd_diag *diag)
{
    const ecd_backend_ops *ops = store->be->ops;
    uint64_t bytes = room < SENT_BYTES ? room : SENT_BYTES;
    void *to = ops->alloc(store->be, bytes), *from = to ? ops->pin(store->be, bytes) : NULL;
    ecd_mark *sent = from ? ops->mark_new(store->be) : NULL;
    for (int i = 0; sent && i < SENT_TIMES; i++) {
        uint64_t start = ecd_now_ns();
        ops->send(store->be, to, from, bytes);
        ops->mark_set(store->be, sent, ECD_QUEUE_SEND);
        ops->mark_await(store->be, sent, ECD_QUEUE_COMPUTE);
        if (ecd_backend_check(store->be, diag))
            break;
        double once = rate(bytes, start);
        *out = !i || once > *out ? once : *out;
    }
    ops->mark_free(store->be, sent);
    ops->unpin(store->be, from);
    if (to)
        ops->free(store->be, to);
    return ecd_backend_check(store->be, diag);
}

ecd_status ecd_store_device_rates(ecd_store *store, ecd_rates *out, ecd_diag *diag)
{
    uint64_t room = 1; // of the largest weight: there is room for that
    for (int i = 0; i < store->unit_count; i++)
        if (store->units[i].form == ECD_UNIT_CODED || store->units[i].form == ECD_UNIT_KEPT)
            grow(&room, store->units[i].decoded_bytes);
    ecd_status status = measure_decode(store, &out->decode, diag);
    return status ? status : measure_bus(store, room, &out->read, diag);
}
