#include "weights/twins.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 4096, SAMPLE_BYTES = 1024, PIECE_BYTES = 4 << 20 };

// Most tensors differ in their first bytes: only those that agree in a sample are compared whole.
typedef struct sample {
    uint64_t hash;
    size_t index;
} sample;

static uint64_t hash_bytes(uint64_t hash, const uint8_t *data, size_t size) // FNV-1a
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * UINT64_C(1099511628211);
    return hash;
}

static uint64_t hash_sample(const ecd_tensor *tensor)
{
    uint64_t middle = tensor->size_bytes / 2;
    uint64_t hash = UINT64_C(14695981039346656037) ^ tensor->size_bytes ^ (uint64_t)tensor->dtype << 56;
    hash = hash_bytes(hash, tensor->data, SAMPLE_BYTES);
    return hash_bytes(hash, tensor->data + middle, SAMPLE_BYTES);
}

static int compare_samples(const void *a, const void *b)
{
    const sample *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

// Piece by piece: mapped pages are given back behind.
static bool same_bytes(const ecd_tensor *a, const ecd_tensor *b)
{
    bool equal = true;
    for (uint64_t at = 0; equal && at < a->size_bytes; at += PIECE_BYTES) {
        uint64_t left = a->size_bytes - at, size = left < PIECE_BYTES ? left : PIECE_BYTES;
        equal = !memcmp(a->data + at, b->data + at, size);
        ecd_file_dont_need(a->file, a->offset_bytes + at, size);
        ecd_file_dont_need(b->file, b->offset_bytes + at, size);
    }
    return equal;
}

static bool same(const ecd_tensor *a, const ecd_tensor *b)
{
    return a->dtype == b->dtype && a->dims == b->dims && a->size_bytes == b->size_bytes &&
           !memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) && same_bytes(a, b);
}

ecd_status ecd_twins_find(const ecd_checkpoint *cp, size_t **twins, ecd_diag *diag)
{
    size_t count = cp->count, kept = 0;
    sample *samples = calloc(count + 1, sizeof *samples);
    *twins = calloc(count + 1, sizeof **twins);
    if (!samples || !*twins) {
        free(samples);
        return ecd_fail_memory(diag, count * sizeof *samples, "comparing tensors");
    }
    for (size_t i = 0; i < count; i++) {
        (*twins)[i] = i;
        if (cp->tensors[i].size_bytes >= SMALL_BYTES && cp->tensors[i].dtype &&
            cp->tensors[i].encoding == ECD_ENCODING_RAW)
            samples[kept++] = (sample){.hash = hash_sample(&cp->tensors[i]), .index = i};
        ecd_file_dont_need(cp->tensors[i].file, cp->tensors[i].offset_bytes, cp->tensors[i].size_bytes);
    }
    qsort(samples, kept, sizeof *samples, compare_samples);
    for (size_t first = 0, i = 1; i < kept; i++) {
        if (samples[i].hash != samples[first].hash)
            first = i;
        else if (same(&cp->tensors[samples[first].index], &cp->tensors[samples[i].index]))
            (*twins)[samples[i].index] = samples[first].index;
    }
    free(samples);
    return ECD_OK;
}
