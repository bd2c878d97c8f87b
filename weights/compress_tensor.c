#define _GNU_SOURCE
#include "weights/compress_tensor.h"

#include <stdlib.h>

#include "weights/coded.h"

enum {
    CODE_AT_LEAST = 1024,    // bytes: below, a container's header outweighs what coding saves
    KEEP_MAPPED = 48 << 20, // bytes: up to here a tensor's pages are kept from stage to stage
};

bool ecd_item_codes(const ecd_tensor *tensor, ecd_dtype dtype)
{
    return ecd_coded_dtype(dtype) && tensor->count * ecd_dtype_size(dtype) >= CODE_AT_LEAST;
}

static ecf8_params params_of(const ecd_item *item, const ecd_work *work)
{
    static const ecf8_density densities[] = {ECF8_DENSITY_BALANCED, ECF8_DENSITY_FAST, ECF8_DENSITY_BEST};
    const ecd_tensor *t = item->tensor;
    bool matrix = t->dims >= 2 && t->count;
    uint64_t rows = matrix ? (uint64_t)t->shape[0] : 0;
    return (ecf8_params){.dtype = ecd_coded_dtype(item->dtype),
                         .rows = rows,
                         .cols = matrix ? t->count / rows : 0,
                         .density = densities[work->options->level]};
}

uint64_t ecd_item_holds(const ecd_item *item, const ecd_work *work)
{
    ecf8_params params = params_of(item, work);
    uint64_t held = item->coded ? ecf8_plan_bytes(item->tensor->count, &params) : 0;
    if (item->coded && item->size_bytes <= KEEP_MAPPED)
        held += item->size_bytes;
    return held + (item->quantized || item->expanded ? item->size_bytes : 0);
}

static void set_stage(ecd_item *item, ecd_stage stage, uint64_t units, uint64_t step)
{
    item->stage = stage;
    item->units = units;
    item->step = step ? step : 1;
    item->next = item->finished = 0;
}

// A tensor's tiles as ranges of about the size that a task has.
static void set_tiles(ecd_item *item, ecd_stage stage, const ecd_work *work)
{
    uint64_t tiles = ecf8_plan_tiles(item->plan), tile = item->size_bytes / (tiles ? tiles : 1) + 1;
    set_stage(item, stage, tiles, work->piece_bytes / tile);
}

void ecd_item_begin(ecd_item *item, const ecd_work *work)
{
    (void)work;
    if (item->coded || item->quantized || item->expanded)
        set_stage(item, ECD_STAGE_BEGIN, 1, 1);
    else
        set_stage(item, ECD_STAGE_PLACE, 0, 0);
}

bool ecd_item_claim(ecd_item *item, ecd_task *task)
{
    if (item->next >= item->units)
        return false;
    uint64_t left = item->units - item->next;
    task->item = item;
    task->kind = (int)item->stage;
    task->first = item->next;
    task->count = left < item->step ? left : item->step;
    item->next += task->count;
    return true;
}

static void advance(ecd_item *item, const ecd_work *work);

// A stage without units is over at once.
static void go_to(ecd_item *item, ecd_stage stage, const ecd_work *work)
{
    const ecd_tensor *t = item->tensor;
    switch (stage) {
    case ECD_STAGE_QUANTIZE: {
        uint64_t row = (uint64_t)t->shape[1] * ecd_dtype_size(t->dtype) + 1;
        set_stage(item, stage, (uint64_t)t->shape[0], work->piece_bytes / row);
        break;
    }
    case ECD_STAGE_SCAN:
    case ECD_STAGE_MEASURE:
    case ECD_STAGE_PACK: set_tiles(item, stage, work); break;
    case ECD_STAGE_COPY: set_stage(item, stage, item->size_bytes, work->piece_bytes); break;
    case ECD_STAGE_PLACE:
    case ECD_STAGE_DONE: set_stage(item, stage, 0, 0); return;
    default: set_stage(item, stage, 1, 1); break;
    }
    if (!item->units)
        advance(item, work);
}

static void advance(ecd_item *item, const ecd_work *work)
{
    switch (item->stage) {
    case ECD_STAGE_BEGIN:
        go_to(item,
              item->quantized ? ECD_STAGE_QUANTIZE
              : item->coded   ? ECD_STAGE_SCAN
                              : ECD_STAGE_PLACE,
              work);
        break;
    case ECD_STAGE_QUANTIZE: go_to(item, item->coded ? ECD_STAGE_SCAN : ECD_STAGE_PLACE, work); break;
    case ECD_STAGE_SCAN: go_to(item, ECD_STAGE_DECIDE, work); break;
    case ECD_STAGE_DECIDE: go_to(item, ECD_STAGE_MEASURE, work); break;
    case ECD_STAGE_MEASURE: go_to(item, ECD_STAGE_SIZE, work); break;
    case ECD_STAGE_SIZE: go_to(item, ECD_STAGE_PLACE, work); break;
    case ECD_STAGE_PACK: go_to(item, ECD_STAGE_SEAL, work); break;
    case ECD_STAGE_SEAL:
    case ECD_STAGE_COPY: go_to(item, ECD_STAGE_DONE, work); break;
    default: break;
    }
}

void ecd_item_finish(ecd_item *item, const ecd_task *task, const ecd_work *work)
{
    item->finished += task->count;
    if (item->finished >= item->units)
        advance(item, work);
}

void ecd_item_place(ecd_item *item, const ecd_work *work)
{
    go_to(item, item->front ? ECD_STAGE_PACK : ECD_STAGE_COPY, work);
}

uint64_t ecd_item_stored_bytes(const ecd_item *item)
{
    return item->front ? item->blob_bytes : item->size_bytes;
}

static ecd_status expand(ecd_item *item, ecd_diag *diag)
{
    const ecd_tensor *t = item->tensor;
    ecd_coded coded;
    uint8_t *tables = malloc(ECF8_DECODER_MAX_BYTES);
    item->codes = malloc(item->size_bytes + 1);
    item->elements = item->codes;
    ecd_status status = tables && item->codes ? ecd_coded_open(t, t->data, t->size_bytes, &coded, diag)
                                              : ecd_fail_memory(diag, item->size_bytes, "a decoded tensor");
    if (!status)
        status = ecd_coded_decode(&coded, item->codes, true, tables, ECF8_DECODER_MAX_BYTES, diag);
    ecd_file_dont_need(t->file, t->offset_bytes, t->size_bytes);
    free(tables);
    return status;
}

static ecd_status begin(ecd_item *item, const ecd_work *work, ecd_diag *diag)
{
    const ecd_tensor *t = item->tensor;
    if (item->quantized) {
        item->codes = malloc(t->count + 1);
        item->scale = malloc((size_t)t->shape[0] * sizeof *item->scale + 1);
        if (!item->codes || !item->scale)
            return ecd_fail_memory(diag, t->count, "a quantised tensor");
        item->elements = item->codes;
    }
    ecd_status status = item->expanded ? expand(item, diag) : ECD_OK;
    if (status || !item->coded)
        return status;
    ecf8_params params = params_of(item, work);
    uint64_t bytes = ecf8_plan_bytes(t->count, &params);
    if (!bytes || bytes > SIZE_MAX)
        return ecd_tensor_fail(t, diag, "%llu weights of type %s, more than ECF8 codes", (unsigned long long)t->count,
                               ecd_dtype_name(item->dtype));
    item->memory = malloc(bytes);
    if (item->memory)
        item->plan = ecf8_plan_begin(item->elements, t->count, &params, item->memory, bytes);
    return item->plan ? ECD_OK : ecd_fail_memory(diag, bytes, "the ECF8 encoder");
}

static ecd_status reserve_front(ecd_item *item, ecd_diag *diag)
{
    item->blob_bytes = ecf8_plan_size(item->plan);
    if (item->blob_bytes >= item->size_bytes) {
        free(item->memory); // it stays as it is
        item->memory = NULL;
        item->plan = NULL;
        return ECD_OK;
    }
    item->front_bytes = ecf8_plan_front_bytes(item->plan);
    item->front = malloc(item->front_bytes);
    return item->front ? ECD_OK : ecd_fail_memory(diag, item->front_bytes, "an ECF8 container");
}

static ecd_status pack(ecd_item *item, const ecd_task *task, const ecd_work *work, ecd_writer *writer, ecd_diag *diag)
{
    ecf8_extent extents[2];
    uint8_t *data;
    ecf8_plan_extents(item->plan, task->first, task->count, extents);
    ecd_status status =
        ecd_work_scratch(work, task, extents[0].size_bytes + extents[1].size_bytes, &data, diag);
    if (status)
        return status;
    ecf8_plan_pack_apart(item->plan, task->first, task->count, item->front, data);
    for (int i = 0; !status && i < 2; data += extents[i++].size_bytes)
        if (extents[i].size_bytes)
            status = ecd_writer_patch(writer, item->at_bytes + extents[i].offset_bytes, data, extents[i].size_bytes, diag);
    return status;
}

static ecd_status seal(ecd_item *item, ecd_writer *writer, ecd_diag *diag)
{
    static const uint8_t zeros[64];
    ecf8_extent data[2];
    ecf8_plan_seal_front(item->plan, item->front);
    item->mode = (ecf8_mode)item->front[6]; // docs/FORMAT.md, "Header"
    ecf8_plan_extents(item->plan, 0, ecf8_plan_tiles(item->plan), data);
    uint64_t end = data[1].offset_bytes + data[1].size_bytes;
    ecd_status status = ecd_writer_patch(writer, item->at_bytes, item->front, item->front_bytes, diag);
    if (!status && end < item->blob_bytes)
        status = ecd_writer_patch(writer, item->at_bytes + end, zeros, item->blob_bytes - end, diag);
    if (!status && item->quantized)
        status = ecd_writer_patch(writer, item->scale_at_bytes, item->scale,
                                  (size_t)item->tensor->shape[0] * sizeof *item->scale, diag);
    return status;
}

static ecd_status copy_range(ecd_item *item, const ecd_task *task, ecd_writer *writer, ecd_diag *diag)
{
    ecd_status status =
        ecd_writer_patch(writer, item->at_bytes + task->first, item->elements + task->first, task->count, diag);
    if (!status && item->quantized && !task->first)
        status = ecd_writer_patch(writer, item->scale_at_bytes, item->scale,
                                  (size_t)item->tensor->shape[0] * sizeof *item->scale, diag);
    return status;
}

// The source's bytes that a range reads.
static bool source_of(const ecd_item *item, const ecd_task *task, uint64_t *begin, uint64_t *size)
{
    const ecd_tensor *t = item->tensor;
    if ((item->quantized && item->stage != ECD_STAGE_QUANTIZE) || item->expanded || !item->units)
        return false;
    double each = (double)t->size_bytes / (double)item->units;
    *begin = (uint64_t)(each * (double)task->first);
    *size = (uint64_t)(each * (double)(task->first + task->count)) - *begin;
    *begin += t->offset_bytes;
    return true;
}

ecd_status ecd_item_run(ecd_item *item, const ecd_task *task, const ecd_work *work, ecd_writer *writer, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    uint64_t begin_bytes, size;
    switch ((ecd_stage)task->kind) {
    case ECD_STAGE_BEGIN: return begin(item, work, diag);
    case ECD_STAGE_DECIDE: ecf8_plan_decide(item->plan); return ECD_OK;
    case ECD_STAGE_SIZE: return reserve_front(item, diag);
    case ECD_STAGE_SEAL: return seal(item, writer, diag);
    default: break;
    }
    bool mapped = source_of(item, task, &begin_bytes, &size);
    if (mapped)
        ecd_file_populate(item->tensor->file, begin_bytes, size);
    switch ((ecd_stage)task->kind) {
    case ECD_STAGE_QUANTIZE:
        status = ecd_quantize_rows(item->tensor, (int64_t)task->first, (int64_t)task->count, item->codes, item->scale,
                                   diag);
        break;
    case ECD_STAGE_SCAN: ecf8_plan_scan(item->plan, task->first, task->count); break;
    case ECD_STAGE_MEASURE: ecf8_plan_measure(item->plan, task->first, task->count); break;
    case ECD_STAGE_PACK: status = pack(item, task, work, writer, diag); break;
    case ECD_STAGE_COPY: status = copy_range(item, task, writer, diag); break;
    default: break;
    }
    // What is small stays until its last stage.
    bool last = task->kind == ECD_STAGE_PACK || task->kind == ECD_STAGE_COPY || task->kind == ECD_STAGE_QUANTIZE;
    if (mapped && (last || item->size_bytes > KEEP_MAPPED))
        ecd_file_dont_need(item->tensor->file, begin_bytes, size);
    return status;
}

void ecd_item_free(ecd_item *item)
{
    free(item->front);
    free(item->memory);
    free(item->codes);
    free(item->scale);
    item->front = item->codes = NULL;
    item->memory = NULL;
    item->scale = NULL;
    item->plan = NULL;
}
