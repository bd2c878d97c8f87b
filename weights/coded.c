#include "weights/coded.h"

#include <stdlib.h>

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
    ecd_diag_tensor(diag, tensor->name);
    if (tensor->file)
        ecd_diag_file(diag, tensor->file->path);
    // A container that was made at opening has no place in the file.
    if (coded->view.blob == tensor->data)
        ecd_diag_offset(diag, tensor->offset_bytes + error->offset_bytes);
    return status;
}

ecd_status ecd_coded_open(const ecd_tensor *tensor, const uint8_t *blob, uint64_t blob_bytes, ecd_coded *out,
                          ecd_diag *diag)
{
    ecf8_error error = {0};
    *out = (ecd_coded){.tensor = tensor};
    if (ecf8_open(blob, blob_bytes, &out->view, &error)) {
        out->view.blob = blob;
        return ecd_coded_fail(out, &error, diag);
    }
    if (out->view.count != tensor->count)
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of %llu weights, expected %llu",
                               (unsigned long long)out->view.count, (unsigned long long)tensor->count);
    if (out->view.dtype != ecd_coded_dtype(tensor->dtype))
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of another type, expected %s",
                               ecd_dtype_name(tensor->dtype));
    return ECD_OK;
}

size_t ecd_coded_table_bytes(const ecd_coded *coded)
{
    return ecf8_decoder_bytes(&coded->view);
}

ecd_status ecd_coded_decode(const ecd_coded *coded, void *out, bool verify, void *tables, size_t table_bytes,
                            ecd_diag *diag)
{
    ecf8_decoder decoder;
    ecf8_error error = {0};
    uint64_t size = coded->view.count * ecf8_dtype_bytes(coded->view.dtype);
    if (ecf8_decoder_init(&decoder, &coded->view, tables, table_bytes, ECF8_CPU_AUTO, &error) ||
        ecf8_decode(&decoder, out, size, verify ? ECF8_VERIFY : 0, &error))
        return ecd_coded_fail(coded, &error, diag);
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
