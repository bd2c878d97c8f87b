#include "weights/twins.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 4096, SAMPLE_BYTES = 1024 };

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

static bool same(const ecd_tensor *a, const ecd_tensor *b)
{
    return a->dtype == b->dtype && a->dims == b->dims && a->size_bytes == b->size_bytes &&
           !memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) && !memcmp(a->data, b->data, a->size_bytes);
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
        if (cp->tensors[i].size_bytes >= SMALL_BYTES)
            samples[kept++] = (sample){.hash = hash_sample(&cp->tensors[i]), .index = i};
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
