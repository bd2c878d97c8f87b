// What compressing would make of a tensor: the encoder runs up to where it knows the size.
#include "weights/compress_tensor.h"
#include "weights/inspect.h"

bool ecd_what_if_quantizes(const ecd_tensor *tensor)
{
    return tensor->dtype >= ECD_F32 && tensor->dtype <= ECD_BF16 && ecd_quantize_wants(tensor);
}

ecd_status ecd_what_if(const ecd_tensor *tensor, bool quantize, ecd_inspect_what_if *out, ecd_diag *diag)
{
    const ecd_compress_options options = {.level = ECD_LEVEL_BALANCED, .quantize_e4m3 = quantize};
    const ecd_work work = {.options = &options, .threads = 1, .piece_bytes = ECD_PIECE_BYTES};
    bool quantized = quantize && ecd_what_if_quantizes(tensor);
    ecd_dtype dtype = quantized ? ECD_E4M3 : tensor->dtype;
    ecd_item item = {.tensor = tensor,
                     .quantized = quantized,
                     .coded = ecd_item_codes(tensor, dtype),
                     .dtype = dtype,
                     .elements = tensor->data,
                     .size_bytes = quantized ? tensor->count : tensor->size_bytes};
    ecd_status status = ECD_OK;
    ecd_task task;
    ecd_item_begin(&item, &work);
    while (!status && ecd_item_claim(&item, &task)) {
        status = ecd_item_run(&item, &task, &work, NULL, diag); // writes nothing before stage PLACE
        if (!status)
            ecd_item_finish(&item, &task, &work);
    }
    *out = (ecd_inspect_what_if){.quantized = quantized, .bytes = ecd_item_stored_bytes(&item)};
    if (quantized)
        out->bytes += (uint64_t)tensor->shape[0] * sizeof(float);
    ecd_item_free(&item);
    return status;
}
