#include "weights/summary.h"

#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint_internal.h"

static bool has_original(const ecd_checkpoint *cp, const ecd_file *file)
{
    for (size_t i = 0; i < cp->note_count; i++)
        if (cp->notes[i].file == file && !strcmp(cp->notes[i].key, "ecf8.sha256"))
            return true;
    return false;
}

ecd_status ecd_checkpoint_summarize(const ecd_checkpoint *cp, ecd_checkpoint_summary *out, ecd_diag *diag)
{
    const ecd_file *looked_at = NULL; // tensors of a file follow each other
    bool *scales = calloc(cp->count + 1, sizeof *scales);
    *out = (ecd_checkpoint_summary){.restores = true};
    if (!scales)
        return ecd_fail_memory(diag, cp->count + 1, "a model's summary");
    for (size_t i = 0; i < cp->count; i++)
        if (cp->tensors[i].scale)
            scales[cp->tensors[i].scale - cp->tensors] = true;
    for (size_t i = 0; i < cp->count; i++) {
        const ecd_tensor *t = &cp->tensors[i];
        if (scales[i] || t->dtype < ECD_F32 || t->dtype > ECD_E5M2)
            continue;
        out->parameters += t->count;
        out->raw_bytes += t->count * ecd_dtype_size(t->dtype);
        out->stored_bytes += ecd_tensor_stored_bytes(t);
        if (t->encoding == ECD_ENCODING_RAW)
            continue;
        out->coded = true;
        if (t->file != looked_at)
            out->restores = out->restores && has_original(cp, t->file);
        looked_at = t->file;
    }
    free(scales);
    return ECD_OK;
}
