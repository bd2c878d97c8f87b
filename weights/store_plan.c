#include "weights/store_internal.h"

#include <stdlib.h>

enum { SLICE_ELEMENTS = 192 << 10 }; // of a weight that a thread of the backend decodes at once, about

static bool is_matrix(const ecd_store_unit *unit)
{
    return unit->form == ECD_UNIT_VIEW || unit->form == ECD_UNIT_CODED;
}

// Whether the plan decides about the block: a device's raw matrices are its own to place too.
static bool is_planned(const ecd_store *store, const ecd_store_block *block)
{
    for (int i = block->first; !block->resident && i < block->first + block->count; i++)
        if (is_matrix(&store->units[i]) || (store->on_device && store->units[i].form == ECD_UNIT_KEPT))
            return true;
    return false;
}

// Whether the tensor's bytes lie in its file as they are held: deflated ones do not, nor what was encoded at opening.
static bool lies_in_file(const ecd_store_unit *unit)
{
    const ecd_tensor *t = unit->tensor; // a part of a published group lies in several places
    return t->file && !unit->own_blob && t->encoding != ECD_ENCODING_PUBLISHED &&
           t->offset_bytes <= t->file->size_bytes && t->data == t->file->data + t->offset_bytes;
}

// Of the block's ECF8 expanded.
static uint64_t coded_buffer_bytes(const ecd_store *store, const ecd_store_block *block)
{
    uint64_t sum = 0;
    for (int i = block->first; i < block->first + block->count; i++)
        if (store->units[i].form == ECD_UNIT_CODED)
            sum += ecd_store_aligned(store->units[i].decoded_bytes);
    return sum;
}

// The unit of the block before this one whose container it is rows of too; NULL if there is none.
static const ecd_store_unit *sharer(const ecd_store *store, const ecd_store_block *block, int index)
{
    const ecd_tensor *t = store->units[index].tensor;
    for (int i = block->first; t->whole && i < index; i++) {
        const ecd_tensor *other = store->units[i].tensor;
        if (other && other->whole && other->file == t->file && other->offset_bytes == t->offset_bytes &&
            store->units[i].form == store->units[index].form)
            return &store->units[i];
    }
    return NULL;
}

// What the unit's ECF8 takes in memory.
static uint64_t held_coded(const ecd_store_unit *unit)
{
    const ecd_tensor *t = unit->tensor;
    if (unit->own_blob)
        return unit->coded.view.blob_bytes;
    bool part = t->encoding == ECD_ENCODING_PUBLISHED || t->whole;
    return part ? ecd_tensor_stored_bytes(t) : ecd_store_page_bytes(t->offset_bytes, t->size_bytes);
}

// Mapping a stretch of a file, the kernel maps pages beside it that it happens to have (up to 64 KiB on either side): of a
// block, whose tensors mostly lie together, that much more. What small blocks have beside them is the next one.
static uint64_t with_neighbours(uint64_t mapped_bytes)
{
    static const uint64_t most = 128 << 10;
    uint64_t beside = mapped_bytes / 16;
    return mapped_bytes + (beside < most ? beside : most);
}

// What the plan must know of a block; slot_bytes says whether it can be read at each use. A block of ECF8 that must be
// held raw has its raw bytes in no file: it can only stay expanded.
static void measure_block(const ecd_store *store, const ecd_store_block *block, ecd_block_size *out)
{
    bool coded = false, streams = true, raw_mode = store->options.mode == ECD_WEIGHTS_RAW;
    uint64_t views = 0, blobs = 0, expanded = coded_buffer_bytes(store, block);
    *out = (ecd_block_size){0};
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        const ecd_tensor *t = unit->tensor;
        if (unit->form == ECD_UNIT_KEPT)
            streams = false;
        if (!is_matrix(unit))
            continue;
        streams = streams && lies_in_file(unit);
        if (!sharer(store, block, i)) {
            out->slot_bytes += ecd_direct_room(t->offset_bytes, t->size_bytes);
            out->read_bytes += t->size_bytes;
        }
        if (unit->form == ECD_UNIT_VIEW) {
            views += ecd_store_page_bytes(t->offset_bytes, t->size_bytes);
            continue;
        }
        coded = true;
        blobs += held_coded(unit);
        out->decoded_bytes += unit->decoded_bytes;
    }
    out->ready_bytes = with_neighbours(views) + expanded;
    out->coded_bytes = coded && !raw_mode ? with_neighbours(views + blobs) : 0;
    if (!streams || (coded && raw_mode))
        out->slot_bytes = 0;
}

static double products_of(const ecd_store *store)
{
    double sum = 0;
    for (int b = 0; b < store->block_count; b++)
        for (int i = 0; !store->blocks[b].resident && i < store->blocks[b].count; i++) {
            const ecd_store_unit *unit = &store->units[store->blocks[b].first + i];
            sum += unit->tensor ? (double)unit->rows * (double)unit->cols * unit->share : 0;
        }
    return sum * (double)(store->options.rows > 0 ? store->options.rows : 1);
}

// What the store holds whatever the plan: vectors, scales, resident blocks, tables, the slices that operations decode, and
// the pages of the ECF8 that is being decoded for good.
static uint64_t fixed_bytes(const ecd_store *store)
{
    uint64_t sum = ECD_STORE_DECODERS * (uint64_t)ECF8_DECODER_MAX_BYTES, decoding = 0, slice = 0;
    for (int b = 0; b < store->block_count; b++) {
        const ecd_store_block *block = &store->blocks[b];
        for (int i = block->first; i < block->first + block->count; i++) {
            const ecd_store_unit *unit = &store->units[i];
            sum += ecd_store_aligned(ecd_store_scale_count(unit) * sizeof(float));
            if (unit->form == ECD_UNIT_VECTOR)
                sum += ecd_store_aligned(unit->tensor->count * sizeof(float));
            else if (unit->form == ECD_UNIT_KEPT)
                sum += ecd_store_aligned(unit->decoded_bytes);
            else if (unit->form == ECD_UNIT_VIEW && !block->planned)
                sum += ecd_store_page_bytes(unit->tensor->offset_bytes, unit->tensor->size_bytes);
            if (unit->form == ECD_UNIT_CODED) {
                decoding = held_coded(unit) > decoding ? held_coded(unit) : decoding;
                slice = SLICE_ELEMENTS * ecd_dtype_size(unit->tensor->dtype);
            }
        }
    }
    return sum + decoding + slice * (uint64_t)store->be->threads;
}

static ecd_status refuse(const ecd_store *store, const ecd_plan *least, uint64_t fixed, bool raw_of_coded,
                         ecd_diag *diag)
{
    const ecd_store_options *o = &store->options;
    uint64_t blocks = least->memory_bytes, most = blocks > o->aside_bytes ? blocks : o->aside_bytes;
    uint64_t need = o->outside_bytes + fixed + most;
    need += (store->on_device ? 0 : need / 64) + 52428; // up: what a process holds varies
    if (o->least_bytes)
        *o->least_bytes = need;
    return ecd_fail(
        diag, ECD_RESOURCE,
        "a %smemory budget of %.1fM is too small: the least is %.1fM (%.1fM for %sactivations, %.1fM "
        "for weights that stay%s, %.1fM for blocks or %.1fM for the VAE)%s",
        store->on_device ? "device " : "", (double)o->budget_bytes / 0x1p20, (double)need / 0x1p20,
        (double)o->outside_bytes / 0x1p20, store->on_device ? "" : "program and ", (double)fixed / 0x1p20,
        store->on_device ? " and scratch" : "", (double)blocks / 0x1p20,
        (double)o->aside_bytes / 0x1p20,
        raw_of_coded ? "; this folder is compressed only: raw weights stream from a decompressed one" : "");
}

typedef struct choice {
    ecd_block_size *sizes;
    ecd_block_kind *kinds;
    int *index; // of the planned blocks
    int count;
} choice;

// Within the room, or else the message that names the least.
static ecd_status choose(ecd_store *store, choice *c, ecd_diag *diag)
{
    const ecd_store_options *o = &store->options;
    uint64_t fixed = store->on_device ? ecd_store_device_fixed(store) : fixed_bytes(store);
    uint64_t taken = o->outside_bytes + fixed;
    ecd_plan *plan = &store->report.plan;
    ecd_plan_request request = {
        .blocks = c->sizes,
        .count = c->count,
        .room_bytes = o->budget_bytes > taken ? o->budget_bytes - taken : 0,
        .threads = store->on_device ? 1 : store->be->threads,
        .beside = store->on_device,
        .products = products_of(store),
        .rates = {.decode = 1, .read = 1, .multiply = 1},
    };
    ecd_plan least;
    ecd_plan_least(&request, c->kinds, &least);
    if (o->budget_bytes < taken || least.memory_bytes > request.room_bytes || o->aside_bytes > request.room_bytes) {
        bool raw_of_coded = false;
        for (int i = 0; o->mode == ECD_WEIGHTS_RAW && i < c->count; i++)
            raw_of_coded = raw_of_coded || c->sizes[i].decoded_bytes;
        return refuse(store, &least, fixed, raw_of_coded, diag);
    }
    ecd_plan_ready(&request, c->kinds, plan);
    plan->seconds = 0; // nothing was measured
    if (plan->memory_bytes > request.room_bytes) {
        ecd_status status = ecd_store_measure(store, &request.rates, diag);
        if (status)
            return status;
        store->report.rates = request.rates;
        if (!ecd_plan_fastest(&request, c->kinds, plan)) // cannot be: the least fits
            return refuse(store, &least, fixed, false, diag);
    }
    uint64_t aside = o->aside_bytes, blocks = plan->memory_bytes;
    store->report.planned = true;
    store->report.together = aside <= request.room_bytes - blocks;
    store->resting = !store->report.together; // what comes in the blocks' place may come before the first of them
    store->report.planned_bytes = taken + (store->report.together ? blocks + aside : blocks > aside ? blocks : aside);
    return ECD_OK;
}

// Without a budget: ECF8 is decoded at each use, the rest is lent as it is mapped, or stays on a device. Blocks that are used
// once a device is sent one by one.
static void decide_by_options(ecd_store *store, const choice *c)
{
    ecd_plan *plan = &store->report.plan;
    int wanted = store->options.buffers > 0 ? store->options.buffers : 2, decoded = 0;
    for (int i = 0; i < c->count; i++) {
        const ecd_block_size *size = &c->sizes[i];
        bool coded = size->decoded_bytes > 0, once = store->on_device && store->options.once && size->slot_bytes;
        c->kinds[i] = once ? ECD_BLOCK_STREAMED : coded ? ECD_BLOCK_DECODED : ECD_BLOCK_READY;
        plan->counts[c->kinds[i]]++;
        plan->held_bytes += once ? size->streamed_bytes : coded ? size->coded_bytes : size->ready_bytes;
        plan->buffer_bytes = size->buffer_bytes > plan->buffer_bytes ? size->buffer_bytes : plan->buffer_bytes;
        plan->slot_bytes = once && size->slot_bytes > plan->slot_bytes ? size->slot_bytes : plan->slot_bytes;
        plan->read_bytes += once ? size->read_bytes : 0;
        plan->slots = plan->slots || once;
        decoded += coded;
    }
    plan->buffers = !plan->buffer_bytes ? 0 : wanted < decoded ? wanted : decoded;
    plan->memory_bytes = plan->held_bytes + plan->buffer_bytes * (uint64_t)plan->buffers +
                         plan->slot_bytes * (uint64_t)plan->slots;
}

// A block's places of a host: in its buffer, in its slot.
static void place_units(ecd_store *store, ecd_store_block *block)
{
    bool streamed = block->kind == ECD_BLOCK_STREAMED;
    block->buffer_bytes = 0;
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (streamed && unit->form == ECD_UNIT_VIEW)
            unit->form = ECD_UNIT_READ;
        if (unit->form == ECD_UNIT_CODED && block->kind == ECD_BLOCK_READY) {
            unit->buffer_offset = block->buffer_bytes;
            block->buffer_bytes += ecd_store_aligned(unit->decoded_bytes);
        }
        const ecd_store_unit *first = streamed && unit->form == ECD_UNIT_CODED ? sharer(store, block, i) : NULL;
        if (first) {
            unit->shared = true;
            unit->slot_offset = first->slot_offset;
        } else if (streamed && (unit->form == ECD_UNIT_CODED || unit->form == ECD_UNIT_READ)) {
            unit->slot_offset = block->slot_bytes;
            block->slot_bytes += ecd_direct_room(unit->tensor->offset_bytes, unit->tensor->size_bytes);
        }
    }
}

// And in the order.
static void place_block(ecd_store *store, int index)
{
    ecd_store_block *block = &store->blocks[index];
    bool coded = false;
    for (int i = block->first; i < block->first + block->count; i++)
        coded = coded || store->units[i].form == ECD_UNIT_CODED;
    if (store->on_device)
        ecd_store_device_place(store, block);
    else
        place_units(store, block);
    store->report.streamed_raw += block->kind == ECD_BLOCK_STREAMED && !coded;
    if (block->buffer_bytes || block->slot_bytes) {
        block->rank = store->order_count;
        store->order[store->order_count++] = index;
    }
}

static void adopt(ecd_store *store, const choice *c)
{
    const ecd_plan *plan = &store->report.plan;
    for (int i = 0; i < c->count; i++)
        store->blocks[c->index[i]].kind = c->kinds[i];
    for (int i = 0; i < store->block_count; i++)
        place_block(store, i);
    store->shared_count = plan->buffers;
    store->buffer_bytes = plan->buffer_bytes;
    store->slot_count = plan->slots;
    store->slot_bytes = plan->slot_bytes;
    store->report.buffer_bytes =
        plan->buffer_bytes * (uint64_t)plan->buffers + plan->slot_bytes * (uint64_t)plan->slots;
}

static ecd_status decide(ecd_store *store, choice *c, ecd_diag *diag)
{
    c->count = 0;
    for (int i = 0; i < store->block_count; i++) {
        ecd_store_block *block = &store->blocks[i];
        if (!(block->planned = is_planned(store, block)))
            continue;
        if (store->on_device)
            ecd_store_device_measure(store, block, &c->sizes[c->count]);
        else
            measure_block(store, block, &c->sizes[c->count]);
        c->index[c->count++] = i;
    }
    if (store->options.budget_bytes)
        return choose(store, c, diag);
    decide_by_options(store, c);
    return ECD_OK;
}

// BF16 where a device has room for it: blocks that would have to be sent for it, or to make way for the VAE, are not worth it.
static ecd_status decide_on_device(ecd_store *store, choice *c, ecd_diag *diag)
{
    ecd_diag unused = {0};
    bool wide = ecd_store_device_widen(store, true);
    if (!wide || !store->options.budget_bytes)
        return decide(store, c, diag);
    ecd_status status = decide(store, c, &unused);
    if (!status && store->report.together && !store->report.plan.counts[ECD_BLOCK_STREAMED])
        return ECD_OK;
    ecd_store_device_widen(store, false);
    return decide(store, c, diag);
}

ecd_status ecd_store_decide(ecd_store *store, ecd_diag *diag)
{
    size_t most = (size_t)store->block_count + 1;
    choice c = {.sizes = calloc(most, sizeof *c.sizes),
                .kinds = calloc(most, sizeof *c.kinds),
                .index = calloc(most, sizeof *c.index)};
    ecd_status status = ECD_OK;
    if (!c.sizes || !c.kinds || !c.index) {
        status = ecd_fail_memory(diag, most * sizeof *c.sizes, "the plan of the blocks");
        goto out;
    }
    status = store->on_device ? decide_on_device(store, &c, diag) : decide(store, &c, diag);
    if (!status)
        adopt(store, &c);
out:
    free(c.sizes);
    free(c.kinds);
    free(c.index);
    return status;
}
