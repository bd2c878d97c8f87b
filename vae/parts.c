#include "vae/vae_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Appends an empty part; NULL (and no_memory) where the list cannot grow.
static ecd_vae_part *append(ecd_vae_parts *parts, ecd_vae_part_kind kind, const char *format, va_list args)
{
    if (parts->count == parts->capacity) {
        int capacity = parts->capacity ? 2 * parts->capacity : 64;
        ecd_vae_part *items = realloc(parts->items, (size_t)capacity * sizeof *items);
        if (!items) {
            parts->no_memory = true;
            return NULL;
        }
        parts->items = items;
        parts->capacity = capacity;
    }
    ecd_vae_part *part = &parts->items[parts->count++];
    *part = (ecd_vae_part){.kind = kind};
    vsnprintf(part->prefix, sizeof part->prefix - 1, format, args);
    strcat(part->prefix, "."); // there is room: the line above left it
    return part;
}

void ecd_vae_declare_conv(ecd_vae_parts *parts, ecd_vae_conv *conv, ecd_conv_shape shape, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ecd_vae_part *part = append(parts, ECD_VAE_CONV, format, args);
    va_end(args);
    if (!part)
        return;
    *conv = (ecd_vae_conv){.shape = shape};
    part->to.conv = conv;
    part->tensors[0] = (ecd_tensor_spec){.name = "weight",
                                         .kind = ECD_SPEC_MATRIX,
                                         .dims = 4,
                                         .shape = {shape.out_channels, shape.in_channels, shape.kernel, shape.kernel}};
    part->tensors[1] = ecd_spec_vector("bias", shape.out_channels);
}

void ecd_vae_declare_norm(ecd_vae_parts *parts, ecd_vae_norm *norm, int64_t channels, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ecd_vae_part *part = append(parts, ECD_VAE_NORM, format, args);
    va_end(args);
    if (!part)
        return;
    *norm = (ecd_vae_norm){.channels = channels};
    part->to.norm = norm;
    part->tensors[0] = ecd_spec_vector("weight", channels);
    part->tensors[1] = ecd_spec_vector("bias", channels);
}

void ecd_vae_declare_linear(ecd_vae_parts *parts, ecd_vae_linear *linear, int64_t channels, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ecd_vae_part *part = append(parts, ECD_VAE_LINEAR, format, args);
    va_end(args);
    if (!part)
        return;
    *linear = (ecd_vae_linear){0};
    part->to.linear = linear;
    part->tensors[0] = ecd_spec_matrix("weight", channels, channels);
    part->tensors[1] = ecd_spec_vector("bias", channels);
    // Files that came by way of CompVis hold these as 1x1 convolutions [channels, channels, 1, 1]: the same elements.
    char name[ECD_VAE_NAME + 8];
    snprintf(name, sizeof name, "%sweight", part->prefix);
    const ecd_tensor *tensor = ecd_checkpoint_find(parts->cp, name);
    if (tensor && tensor->dims == 4) {
        part->tensors[0].dims = 4;
        part->tensors[0].shape[2] = part->tensors[0].shape[3] = 1;
    }
}

// A copy in our own backend memory; NULL where memory is out (the backend keeps that failure).
static void *keep(ecd_vae_parts *parts, const void *data, uint64_t bytes)
{
    void *memory = parts->be->ops->alloc(parts->be, bytes);
    if (memory) {
        parts->be->ops->copy(parts->be, memory, data, bytes);
        parts->held_bytes += bytes;
    }
    return memory;
}

static void *keep_elements(ecd_vae_parts *parts, const ecd_weight *w)
{
    uint64_t bytes = (uint64_t)(w->rows * w->cols) * ecd_dtype_size(w->dtype);
    if (!w->coded)
        return keep(parts, w->data, bytes);
    void *memory = parts->be->ops->alloc(parts->be, bytes);
    if (memory) {
        parts->be->ops->expand(parts->be, w, memory);
        parts->held_bytes += bytes;
    }
    return memory;
}

static uint64_t scale_count(const ecd_weight *w)
{
    int64_t size = ECD_SCALE_BLOCK_SIZE;
    switch (w->scale_kind) {
    case ECD_SCALE_TENSOR: return 1;
    case ECD_SCALE_ROW: return (uint64_t)w->rows;
    case ECD_SCALE_BLOCK: return (uint64_t)((w->rows + size - 1) / size * ((w->cols + size - 1) / size));
    default: return 0;
    }
}

static void load_linear(ecd_vae_parts *parts, ecd_vae_linear *linear, const ecd_block *block)
{
    linear->w = block->weights[0];
    linear->data = keep_elements(parts, &linear->w);
    uint64_t scales = scale_count(&linear->w);
    if (scales)
        linear->scale = keep(parts, linear->w.scale, scales * sizeof(float));
    linear->bias = keep(parts, block->vectors[1], (uint64_t)linear->w.rows * sizeof(float));
    linear->w.data = linear->data;
    linear->w.coded = NULL;
    linear->w.scale = linear->scale;
}

static void load_part(ecd_vae_parts *parts, ecd_vae_part *part, const ecd_block *block)
{
    ecd_backend *be = parts->be;
    switch (part->kind) {
    case ECD_VAE_CONV:
        part->to.conv->w = be->ops->conv_prepare(be, &part->to.conv->shape, &block->weights[0], block->vectors[1]);
        break;
    case ECD_VAE_NORM:
        part->to.norm->gamma = keep(parts, block->vectors[0], (uint64_t)part->to.norm->channels * sizeof(float));
        part->to.norm->beta = keep(parts, block->vectors[1], (uint64_t)part->to.norm->channels * sizeof(float));
        break;
    case ECD_VAE_LINEAR: load_linear(parts, part->to.linear, block); break;
    }
}

static ecd_status load_range(ecd_vae_parts *parts, ecd_vae_range range, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = range.first; i < range.end && !status; i++) {
        ecd_block block;
        status = ecd_store_acquire(parts->store, i, &block, diag);
        if (status)
            break;
        load_part(parts, &parts->items[i], &block);
        ecd_store_release(parts->store, i);
        status = ecd_backend_check(parts->be, diag);
    }
    return status;
}

// The store checks all parts at once and decodes them one after another into one buffer: the backend's packed copies
// are what stays, so that no weight is held twice.
ecd_status ecd_vae_parts_open(ecd_vae_parts *parts, bool lean, ecd_diag *diag)
{
    ecd_block_spec *specs = calloc((size_t)parts->count + 1, sizeof *specs);
    if (parts->no_memory || !specs) {
        free(specs);
        return ecd_fail_memory(diag, (uint64_t)parts->count * sizeof *specs, "the VAE's list of parts");
    }
    for (int i = 0; i < parts->count; i++)
        specs[i] = (ecd_block_spec){.prefix = parts->items[i].prefix, .tensors = parts->items[i].tensors, .count = 2};
    ecd_store_options options = {.mode = ECD_WEIGHTS_AUTO, .buffers = 1, .once = true};
    ecd_status status = ecd_store_open(parts->cp, parts->be, specs, parts->count, &options, &parts->store, diag);
    free(specs);
    if (status || lean)
        return status;
    status = load_range(parts, (ecd_vae_range){0, parts->count}, diag);
    ecd_store_close(parts->store);
    parts->store = NULL;
    parts->cp = NULL;
    return status;
}

ecd_status ecd_vae_parts_take(ecd_vae_parts *parts, ecd_vae_range range, ecd_diag *diag)
{
    return parts->store ? load_range(parts, range, diag) : ECD_OK;
}

static void free_and_forget(ecd_backend *be, float **memory)
{
    if (*memory)
        be->ops->free(be, *memory);
    *memory = NULL;
}

static void free_part(ecd_backend *be, ecd_vae_part *part)
{
    switch (part->kind) {
    case ECD_VAE_CONV:
        if (part->to.conv->w)
            be->ops->conv_free(be, part->to.conv->w);
        part->to.conv->w = NULL;
        break;
    case ECD_VAE_NORM:
        free_and_forget(be, &part->to.norm->gamma);
        free_and_forget(be, &part->to.norm->beta);
        break;
    case ECD_VAE_LINEAR:
        if (part->to.linear->data)
            be->ops->free(be, part->to.linear->data);
        part->to.linear->data = NULL;
        free_and_forget(be, &part->to.linear->scale);
        free_and_forget(be, &part->to.linear->bias);
        break;
    }
}

void ecd_vae_parts_give(ecd_vae_parts *parts, ecd_vae_range range)
{
    for (int i = range.first; parts->store && i < range.end; i++)
        free_part(parts->be, &parts->items[i]);
}

void ecd_vae_parts_free(ecd_vae_parts *parts)
{
    for (int i = 0; i < parts->count; i++)
        free_part(parts->be, &parts->items[i]);
    ecd_store_close(parts->store);
    free(parts->items);
    *parts = (ecd_vae_parts){0};
}
