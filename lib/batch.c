#include "lib/batch.h"

#include <stdlib.h>

// What the encoders give for a text.
static size_t floats_of(const ecd_texts *texts, const ecd_transformer_info *info)
{
    return texts ? (size_t)(ecd_texts_tokens(texts) * info->text_width + info->pooled_width) : 0;
}

ecd_status ecd_batch_open(const ecd_pipeline_options *options, const ecd_texts *texts, const ecd_transformer_info *info,
                          int64_t *count, ecd_pipeline **out, ecd_diag *diag)
{
    uint64_t text_bytes = options->backend->host_memory ? floats_of(texts, info) * sizeof(float) : 0;
    ecd_pipeline_options tried = *options;
    ecd_status status;
    for (;; tried.max_pictures /= 2) {
        tried.store.outside_bytes = options->store.outside_bytes + (uint64_t)tried.max_pictures * text_bytes;
        status = ecd_pipeline_open(&tried, out, diag);
        if (status != ECD_RESOURCE || tried.max_pictures == 1)
            break;
    }
    *count = tried.max_pictures;
    return status;
}

static ecd_status take_texts(const ecd_texts *texts, const size_t *indices, int64_t count, size_t hidden, size_t pooled,
                             float *values, ecd_picture_text *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int64_t i = 0; !status && i < count; i++, values += hidden + pooled) {
        out[i] = (ecd_picture_text){values, values + hidden};
        status = ecd_texts_take(texts, indices[i], values, values + hidden, diag);
    }
    return status;
}

ecd_status ecd_batch_draw(ecd_pipeline *p, const ecd_draw *draw, const ecd_texts *texts, const size_t *indices,
                          ecd_diag *diag)
{
    const ecd_transformer_info *info = ecd_pipeline_info(p);
    ecd_picture_text own[ECD_BATCH_MOST];
    ecd_draw with = *draw;
    if (!texts)
        return ecd_pipeline_draw(p, draw, diag);
    size_t floats = floats_of(texts, info), bytes = (size_t)draw->count * floats * sizeof(float);
    float *values = malloc(bytes);
    ecd_status status = values ? take_texts(texts, indices, draw->count, floats - (size_t)info->pooled_width,
                                            (size_t)info->pooled_width, values, own, diag)
                               : ecd_fail_memory(diag, bytes, "the texts of a batch");
    with.texts = own;
    if (!status)
        status = ecd_pipeline_draw(p, &with, diag);
    free(values);
    return status;
}
