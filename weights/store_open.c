#include "weights/store_internal.h"

#include <stdlib.h>
#include <string.h>

static ecd_status allocate_tables(ecd_store *store, const ecd_block_spec *specs, ecd_diag *diag)
{
    size_t units = 0, blocks = (size_t)store->block_count;
    for (size_t i = 0; i < blocks; i++)
        units += (size_t)specs[i].count;
    store->units = calloc(units + 1, sizeof *store->units);
    store->weights = calloc(units + 1, sizeof *store->weights);
    store->vectors = calloc(units + 1, sizeof *store->vectors);
    store->blocks = calloc(blocks + 1, sizeof *store->blocks);
    store->order = calloc(blocks + 1, sizeof *store->order);
    if (!store->units || !store->weights || !store->vectors || !store->blocks || !store->order)
        return ecd_fail_memory(diag, units * sizeof *store->units, "the weight store's tables");
    return ECD_OK;
}

// Encodes a raw tensor for ECD_WEIGHTS_ECF8. Where coding does not pay the tensor stays raw: *made says so.
static ecd_status encode_unit(ecd_store_unit *unit, bool *made, ecd_diag *diag)
{
    uint64_t size = 0;
    *made = false;
    const ecd_tensor *tensor = unit->tensor;
    if (!ecd_coded_dtype(tensor->dtype))
        return ECD_OK;
    ecd_status status = ecd_coded_encode(tensor->dtype, tensor->data, tensor->count, unit->rows, unit->cols,
                                         &unit->own_blob, &size, diag);
    if (status || !unit->own_blob)
        return status;
    *made = true;
    return ecd_coded_open(tensor, unit->own_blob, size, &unit->coded, diag);
}

// Which way a matrix takes. Blocks that stay decoded are never encoded first: nothing would remain of it.
static ecd_status choose_form(ecd_store *store, const ecd_block_spec *spec, ecd_store_unit *unit, ecd_diag *diag)
{
    const ecd_tensor *tensor = unit->tensor;
    if (tensor->encoding != ECD_ENCODING_RAW) {
        bool once = spec->resident || (store->options.mode == ECD_WEIGHTS_RAW && !store->options.budget_bytes);
        unit->form = once ? ECD_UNIT_KEPT : ECD_UNIT_CODED;
        return ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &unit->coded, diag);
    }
    bool made = false;
    if (store->options.mode == ECD_WEIGHTS_ECF8 && !spec->resident && !store->options.budget_bytes) {
        ecd_status status = encode_unit(unit, &made, diag);
        if (status)
            return status;
    }
    bool lendable = store->be->host_memory && (uintptr_t)tensor->data % ecd_dtype_size(tensor->dtype) == 0;
    unit->form = made ? ECD_UNIT_CODED : lendable ? ECD_UNIT_VIEW : ECD_UNIT_KEPT;
    return ECD_OK;
}

static ecd_status resolve_unit(ecd_store *store, const ecd_block_spec *spec, int index, ecd_store_unit *unit,
                               ecd_diag *diag)
{
    ecd_status status = ecd_store_resolve(store, spec, &spec->tensors[index], unit, diag);
    if (status || !unit->tensor)
        return status;
    if (spec->tensors[index].kind == ECD_SPEC_MATRIX)
        return choose_form(store, spec, unit, diag);
    unit->form = ECD_UNIT_VECTOR;
    if (unit->tensor->encoding != ECD_ENCODING_RAW)
        status = ecd_coded_open(unit->tensor, unit->tensor->data, unit->tensor->size_bytes, &unit->coded, diag);
    return status;
}

static ecd_status resolve_block(ecd_store *store, const ecd_block_spec *spec, int index, ecd_diag *diag)
{
    ecd_store_block *block = &store->blocks[index];
    *block =
        (ecd_store_block){.first = store->unit_count, .resident = spec->resident, .rank = -1, .buffer = -1, .slot = -1};
    for (int i = 0; i < spec->count; i++) {
        ecd_store_unit *unit = &store->units[store->unit_count++];
        block->count++;
        ecd_status status = resolve_unit(store, spec, i, unit, diag);
        if (status)
            return status;
    }
    return ECD_OK;
}

// Scratch for filling: decoded elements on their way to f32, and the host side of what is uploaded.
typedef struct scratch {
    uint8_t *elements, *host, *tables;
    uint64_t elements_bytes, host_bytes;
} scratch;

static void grow(uint64_t *size, uint64_t wanted)
{
    if (wanted > *size)
        *size = wanted;
}

// `moving`: as ecd_store_fill has it.
static void measure_scratch(const ecd_store *store, const ecd_store_block *block, bool moving, scratch *s)
{
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        uint64_t scales = ecd_store_scale_count(unit);
        bool kept = unit->form == ECD_UNIT_KEPT && moving == ecd_store_moves(store, block);
        if (kept && store->on_device && unit->tensor->encoding != ECD_ENCODING_RAW)
            grow(&s->host_bytes, unit->decoded_bytes);
        if (moving)
            continue;
        if (unit->form == ECD_UNIT_VECTOR) {
            grow(&s->elements_bytes, unit->decoded_bytes);
            grow(&s->host_bytes, unit->tensor->count * sizeof(float));
        }
        grow(&s->elements_bytes, scales * sizeof(float));
        grow(&s->host_bytes, scales * sizeof(float));
    }
}

static ecd_status make_scratch(const ecd_store *store, bool moving, scratch *s, ecd_diag *diag)
{
    for (int b = 0; b < store->block_count; b++)
        measure_scratch(store, &store->blocks[b], moving, s);
    s->elements = malloc(s->elements_bytes + 1);
    s->host = malloc(s->host_bytes + 1);
    s->tables = malloc(ECF8_DECODER_MAX_BYTES);
    if (!s->elements || !s->host || !s->tables)
        return ecd_fail_memory(diag, s->elements_bytes + s->host_bytes + ECF8_DECODER_MAX_BYTES, "widening weights");
    return ECD_OK;
}

// Puts a tensor's elements widened to f32 at `to` in backend memory.
static ecd_status put_f32(ecd_store *store, const ecd_tensor *tensor, scratch *s, const float *to, ecd_diag *diag)
{
    const uint8_t *elements = tensor->data;
    if (tensor->encoding != ECD_ENCODING_RAW) {
        ecd_coded coded;
        ecd_status status = ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &coded, diag);
        if (!status)
            status = ecd_coded_decode(&coded, s->elements, true, s->tables, ECF8_DECODER_MAX_BYTES, diag);
        if (status)
            return status;
        elements = s->elements;
    }
    ecd_to_f32(tensor->dtype, elements, (float *)(void *)s->host, tensor->count);
    ecd_store_upload(store, (void *)(uintptr_t)to, s->host, tensor->count * sizeof(float));
    return ECD_OK;
}

// In its own type.
static ecd_status put_elements(ecd_store *store, ecd_store_unit *unit, uint8_t *to, scratch *s, ecd_diag *diag)
{
    if (unit->tensor->encoding == ECD_ENCODING_RAW) {
        ecd_store_upload(store, to, unit->tensor->data, unit->decoded_bytes);
        return ECD_OK;
    }
    uint8_t *host = store->be->host_memory ? to : s->host;
    ecd_status status = ecd_coded_decode(&unit->coded, host, true, s->tables, ECF8_DECODER_MAX_BYTES, diag);
    if (!status && host != to)
        ecd_store_upload(store, to, host, unit->decoded_bytes);
    return status;
}

static ecd_status fill_kept(ecd_store *store, ecd_store_unit *unit, uint8_t *to, scratch *s, ecd_diag *diag)
{
    const ecd_backend_ops *ops = store->be->ops;
    if (unit->lent == unit->tensor->dtype)
        return put_elements(store, unit, to, s, diag);
    ecd_weight own = {.dtype = unit->tensor->dtype, .rows = unit->rows, .cols = unit->cols};
    own.data = ops->alloc(store->be, unit->decoded_bytes);
    if (!own.data)
        return ecd_backend_check(store->be, diag);
    ecd_status status = put_elements(store, unit, (uint8_t *)(uintptr_t)own.data, s, diag);
    if (!status)
        ops->widen(store->be, &own, to);
    ops->free(store->be, (void *)(uintptr_t)own.data);
    return status;
}

static ecd_status fill_unit(ecd_store *store, int index, bool lends_coded, scratch *s, ecd_diag *diag)
{
    ecd_store_unit *unit = &store->units[index];
    const ecd_tensor *tensor = unit->tensor;
    if (unit->form == ECD_UNIT_ABSENT)
        return ECD_OK;
    if (unit->form == ECD_UNIT_VECTOR)
        return put_f32(store, tensor, s, store->vectors[index], diag);
    ecd_weight *weight = &store->weights[index];
    weight->dtype = unit->lent;
    weight->rows = unit->rows;
    weight->cols = unit->cols;
    weight->scale_kind = tensor->scale_kind;
    if (unit->form == ECD_UNIT_VIEW)
        weight->data = tensor->data;
    ecd_status status = ECD_OK;
    if (weight->scale)
        status = put_f32(store, tensor->scale, s, weight->scale, diag);
    if (unit->form == ECD_UNIT_CODED && lends_coded)
        ecd_store_lend_coded(store, index, unit->own_blob ? unit->own_blob : tensor->data, false, diag);
    return status;
}

static ecd_status fill_block(ecd_store *store, const ecd_store_block *block, bool moving, scratch *s, ecd_diag *diag)
{
    bool lends_coded = block->kind == ECD_BLOCK_DECODED && !block->buffer_bytes, moves = ecd_store_moves(store, block);
    ecd_status status = ECD_OK;
    for (int i = block->first; !status && i < block->first + block->count; i++) {
        if (!moving)
            status = fill_unit(store, i, lends_coded, s, diag);
        if (!status && store->units[i].form == ECD_UNIT_KEPT && moving == moves)
            status = fill_kept(store, &store->units[i], (uint8_t *)(uintptr_t)store->weights[i].data, s, diag);
    }
    return status;
}

ecd_status ecd_store_fill(ecd_store *store, bool moving, ecd_diag *diag)
{
    scratch s = {0};
    ecd_status status = make_scratch(store, moving, &s, diag);
    for (int b = 0; !status && b < store->block_count; b++)
        status = fill_block(store, &store->blocks[b], moving, &s, diag);
    free(s.elements);
    free(s.host);
    free(s.tables);
    return status;
}

static uint64_t coded_bytes(const ecd_store_unit *unit)
{
    return unit->own_blob ? unit->coded.view.blob_bytes : ecd_tensor_stored_bytes(unit->tensor);
}

static void count_bytes(ecd_store *store)
{
    ecd_store_report *r = &store->report;
    for (int b = 0; b < store->block_count; b++)
        for (int i = 0; i < store->blocks[b].count; i++) {
            const ecd_store_unit *unit = &store->units[store->blocks[b].first + i];
            if (!unit->tensor)
                continue;
            uint64_t small = ecd_store_scale_count(unit) * sizeof(float);
            uint64_t whole = unit->form == ECD_UNIT_VECTOR ? unit->tensor->count * sizeof(float) : unit->decoded_bytes;
            uint64_t held = unit->form == ECD_UNIT_VECTOR ? whole : ecd_store_lent_bytes(unit);
            if (unit->form == ECD_UNIT_CODED && store->blocks[b].kind == ECD_BLOCK_DECODED)
                held = coded_bytes(unit);
            else if (store->blocks[b].kind == ECD_BLOCK_STREAMED && unit->form != ECD_UNIT_VECTOR)
                held = 0;
            r->raw_bytes += small + whole;
            r->weights_bytes += small + held;
        }
}

// What comes in the blocks' place may come before the first of them: then they come when they are wanted.
static ecd_status prepare_device(ecd_store *store, ecd_diag *diag)
{
    ecd_status status = ecd_store_device_pin(store, diag);
    return status || store->resting ? status : ecd_store_device_come(store, diag);
}

ecd_status ecd_store_prepare(ecd_store *store, const ecd_block_spec *specs, ecd_diag *diag)
{
    ecd_status status = allocate_tables(store, specs, diag);
    for (int i = 0; !status && i < store->block_count; i++)
        status = resolve_block(store, &specs[i], i, diag);
    if (!status && store->on_device)
        status = ecd_store_device_parts(store, diag);
    if (!status)
        status = ecd_store_decide(store, diag);
    if (!status && !store->on_device)
        status = ecd_store_open_files(store, diag);
    if (!status)
        status = ecd_store_allocate(store, diag);
    if (!status)
        status = ecd_store_fill(store, false, diag);
    if (!status && store->on_device)
        status = prepare_device(store, diag);
    if (!status)
        status = ecd_backend_check(store->be, diag);
    if (!status)
        count_bytes(store);
    // What was looked at on opening lies all over the files: those pages count until they are given back.
    ecd_store_drop_pages(store);
    return status;
}
