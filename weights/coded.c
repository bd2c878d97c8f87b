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

ecd_status ecd_coded_fail(const ecd_coded *coded, const ecf8_error *error, ecd_diag *diag)
{
    const ecd_tensor *tensor = coded->tensor;
    bool ours = error->status < ECF8_ERR_TRUNCATED; // the call or ECD_CPU, not the blob
    ecd_status status = ecd_fail(diag, ours ? ECD_USAGE : ECD_DATA, "ECF8: %s (%s)",
                                 error->what ? error->what : "bad container", ecf8_status_name(error->status));
    ecd_diag_tensor(diag, ecd_tensor_own_name(tensor));
    if (tensor->file)
        ecd_diag_file(diag, tensor->file->path);
    if (tensor->encoding == ECD_ENCODING_ECF8) // a container that was made at opening has no place in the file
        ecd_diag_offset(diag, tensor->offset_bytes + error->offset_bytes);
    return status;
}

ecd_status ecd_coded_open(const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes, ecd_coded *out,
                          ecd_diag *diag)
{
    ecf8_error error = {0};
    *out = (ecd_coded){.tensor = tensor};
    if (tensor->encoding == ECD_ENCODING_PUBLISHED)
        return ECD_OK;
    if (ecf8_open(blob, blob_bytes, &out->view, &error)) {
        out->view.blob = blob;
        return ecd_coded_fail(out, &error, diag);
    }
    uint64_t whole = tensor->whole ? tensor->whole : tensor->count;
    if (out->view.count != whole)
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of %llu weights, expected %llu",
                               (unsigned long long)out->view.count, (unsigned long long)whole);
    if (out->view.dtype != ecd_coded_dtype(tensor->dtype))
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of another type, expected %s",
                               ecd_dtype_name(tensor->dtype));
    return ECD_OK;
}

static bool is_published(const ecd_coded *coded)
{
    return coded->tensor->encoding == ECD_ENCODING_PUBLISHED && !coded->view.blob;
}

size_t ecd_coded_table_bytes(const ecd_coded *coded)
{
    _Static_assert(ECF8_PUBLISHED_DECODER_BYTES <= ECF8_DECODER_MAX_BYTES, "one bound for both");
    return is_published(coded) ? ECF8_PUBLISHED_DECODER_BYTES : ecf8_decoder_bytes(&coded->view);
}

ecd_status ecd_coded_decoder_init(const ecd_coded *coded, void *tables, size_t table_bytes, ecd_coded_decoder *out,
                                  ecd_diag *diag)
{
    ecf8_error error = {0};
    ecf8_published_error published = {0};
    const ecd_published_group *group = coded->tensor->group;
    if (is_published(coded)) {
        if (ecf8_published_decoder_init(&out->published, &group->view, tables, table_bytes, &published))
            return ecd_published_fail(group, &published, diag);
    } else if (ecf8_decoder_init(&out->container, &coded->view, tables, table_bytes, ECF8_CPU_AUTO, &error)) {
        return ecd_coded_fail(coded, &error, diag);
    }
    return ECD_OK;
}

ecd_status ecd_coded_decode_range(const ecd_coded *coded, const ecd_coded_decoder *decoder, uint64_t first,
                                  uint64_t count, void *out, uint64_t out_bytes, bool verify, ecd_diag *diag)
{
    ecf8_error error = {0};
    ecf8_published_error published = {0};
    const ecd_tensor *tensor = coded->tensor;
    const unsigned flags = verify ? ECF8_VERIFY : 0;
    if (first > tensor->count || count > tensor->count - first) // a group, or a container, may reach further
        return ecd_tensor_fail(tensor, diag, "a range beyond the tensor's %llu weights",
                               (unsigned long long)tensor->count);
    if (is_published(coded)) {
        if (ecf8_published_decode(&decoder->published, tensor->first + first, count, out, out_bytes, flags,
                                  &published))
            return ecd_published_fail(tensor->group, &published, diag);
    } else if (ecf8_decode_weights(&decoder->container, tensor->first + first, count, NULL, out, out_bytes, flags,
                                   &error)) {
        return ecd_coded_fail(coded, &error, diag);
    }
    return ECD_OK;
}

ecd_status ecd_coded_decode(const ecd_coded *coded, void *out, bool verify, void *tables, size_t table_bytes,
                            ecd_diag *diag)
{
    ecd_coded_decoder decoder;
    const uint64_t count = coded->tensor->count;
    ecd_status status = ecd_coded_decoder_init(coded, tables, table_bytes, &decoder, diag);
    if (status)
        return status;
    return ecd_coded_decode_range(coded, &decoder, 0, count, out, count * ecd_dtype_size(coded->tensor->dtype), verify,
                                  diag);
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
