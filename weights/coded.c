#include "weights/coded.h"

#include <stdlib.h>

#include "weights/published.h"

ecf8_dtype ecd_coded_dtype(ecd_dtype dtype)
{
    switch (dtype) {
    case ECD_E4M3: return ECF8_E4M3;
    case ECD_E5M2: return ECF8_E5M2;
    case ECD_BF16: return ECF8_BF16;
    case ECD_F16: return ECF8_F16;
    default: return (ecf8_dtype)0;
    }
}

// A container that was made at opening, of a tensor that is raw in its file, has no place there.
static ecd_coded_place place_of(const ecd_tensor *tensor)
{
    return (ecd_coded_place){ecd_tensor_own_name(tensor), tensor->file ? tensor->file->path : NULL, tensor->offset_bytes,
                             tensor->encoding != ECD_ENCODING_RAW};
}

ecd_status ecd_coded_open(const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes, ecd_coded *out,
                          ecd_diag *diag)
{
    ecf8_error error = {0};
    *out = (ecd_coded){
        .dtype = tensor->dtype, .count = tensor->count, .first = tensor->first, .place = place_of(tensor)};
    if (tensor->encoding == ECD_ENCODING_PUBLISHED) {
        out->group = &tensor->group->view;
        out->group_places = tensor->group->places;
        return ECD_OK;
    }
    if (ecf8_open(blob, blob_bytes, &out->view, &error))
        return ecd_coded_fail(&out->place, &error, diag);
    uint64_t whole = tensor->whole ? tensor->whole : tensor->count;
    if (out->view.count != whole)
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of %llu weights, expected %llu",
                               (unsigned long long)out->view.count, (unsigned long long)whole);
    if (out->view.dtype != ecd_coded_dtype(tensor->dtype))
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of another type, expected %s",
                               ecd_dtype_name(tensor->dtype));
    return ECD_OK;
}

ecd_status ecd_coded_encode(ecd_dtype dtype, const void *elements, uint64_t count, int64_t rows, int64_t cols,
                            uint8_t **blob, uint64_t *blob_bytes, ecd_diag *diag)
{
    ecf8_params params = {.dtype = ecd_coded_dtype(dtype), .rows = (uint64_t)rows, .cols = (uint64_t)cols};
    uint64_t memory_bytes = ecf8_plan_bytes(count, &params);
    *blob = NULL;
    *blob_bytes = 0;
    if (!memory_bytes || memory_bytes > SIZE_MAX)
        return ecd_fail(diag, ECD_DATA, "%llu weights of type %s, more than ECF8 codes", (unsigned long long)count,
                        ecd_dtype_name(dtype));
    void *memory = malloc(memory_bytes);
    ecd_status status = ECD_OK;
    ecf8_plan *plan = memory ? ecf8_plan_begin(elements, count, &params, memory, memory_bytes) : NULL;
    if (!plan) {
        status = ecd_fail_memory(diag, memory_bytes, "the ECF8 encoder");
        goto out;
    }
    uint64_t tiles = ecf8_plan_tiles(plan);
    ecf8_plan_scan(plan, 0, tiles);
    ecf8_plan_decide(plan);
    ecf8_plan_measure(plan, 0, tiles);
    uint64_t size = ecf8_plan_size(plan);
    if (size >= count * ecd_dtype_size(dtype))
        goto out;
    *blob = malloc(size);
    if (!*blob) {
        status = ecd_fail_memory(diag, size, "an ECF8 container");
        goto out;
    }
    ecf8_plan_pack(plan, 0, tiles, *blob);
    ecf8_plan_seal(plan, *blob);
    *blob_bytes = size;
out:
    free(memory);
    return status;
}
