#include "vae/vae_internal.h"

// The backend's packed copy of a convolution: floats, channels up to whole panels of the widest vectors, with bias and
// scale, and once more in the activations' type where they are narrower. No backend takes more.
static uint64_t conv_bytes(const ecd_backend *be, const ecd_conv_shape *s)
{
    uint64_t rows = ((uint64_t)s->out_channels + 31) / 32 * 32;
    uint64_t cols = (uint64_t)s->in_channels * (uint64_t)s->kernel * (uint64_t)s->kernel;
    uint64_t narrow = be->act_bytes == sizeof(float) ? 0 : (uint64_t)s->out_channels * cols * be->act_bytes;
    return rows * (cols + 2) * sizeof(float) + narrow;
}

static uint64_t part_bytes(const ecd_vae_parts *parts, const ecd_vae_part *part)
{
    uint64_t side = (uint64_t)part->tensors[0].shape[0];
    switch (part->kind) {
    case ECD_VAE_CONV: return conv_bytes(parts->be, &part->to.conv->shape);
    case ECD_VAE_NORM: return 2 * side * sizeof(float);
    case ECD_VAE_LINEAR: return (side + 2) * side * sizeof(float);
    }
    return 0;
}

uint64_t ecd_vae_parts_bytes(const ecd_vae_parts *parts)
{
    uint64_t sum = 0;
    for (int i = 0; i < parts->count; i++)
        sum += part_bytes(parts, &parts->items[i]);
    return sum;
}

uint64_t ecd_vae_range_bytes(const ecd_vae_parts *parts, ecd_vae_range range)
{
    uint64_t sum = 0, largest = 0;
    for (int i = range.first; i < range.end; i++) {
        const ecd_vae_part *part = &parts->items[i];
        uint64_t stored = sizeof(float);
        for (int k = 0; k < part->tensors[0].dims; k++)
            stored *= (uint64_t)part->tensors[0].shape[k];
        largest = stored > largest ? stored : largest;
        sum += part_bytes(parts, part);
    }
    return sum + largest;
}
