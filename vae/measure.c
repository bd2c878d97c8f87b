#include "vae/vae_internal.h"

#include "base/arena.h"

// The backend's packed copy of a convolution: floats, channels up to whole panels of the widest vectors, with bias and
// scale, and once more in the activations' type where they are narrower. No backend takes more.
static uint64_t conv_bytes(const ecd_backend *be, const ecd_conv_shape *s)
{
    static const uint64_t filled = 8, aligned = 3 * 256; // a device's: channels to whole groups, pieces to lines
    if (!be->host_memory) {
        uint64_t in = ((uint64_t)s->in_channels + filled - 1) / filled * filled, taps = (uint64_t)(s->kernel * s->kernel);
        uint64_t out = ((uint64_t)s->out_channels + filled - 1) / filled * filled;
        return out * (in * taps * be->act_bytes + 2 * sizeof(float)) + aligned;
    }
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

static uint64_t stored_bytes(const ecd_vae_part *part)
{
    uint64_t stored = sizeof(float);
    for (int k = 0; k < part->tensors[0].dims; k++)
        stored *= (uint64_t)part->tensors[0].shape[k];
    return stored;
}

// What a device holds besides while parts are loaded: the store's vectors, and the largest part as it is stored.
static uint64_t loading_bytes(const ecd_vae_parts *parts)
{
    uint64_t vectors = 0, largest = 0;
    for (int i = 0; i < parts->count; i++) {
        uint64_t stored = stored_bytes(&parts->items[i]);
        vectors += 2 * ((uint64_t)parts->items[i].tensors[1].shape[0] * sizeof(float) + ECD_ARENA_ALIGN);
        largest = stored > largest ? stored : largest;
    }
    return vectors + largest;
}

uint64_t ecd_vae_parts_bytes(const ecd_vae_parts *parts)
{
    uint64_t sum = parts->be->host_memory ? 0 : loading_bytes(parts);
    for (int i = 0; i < parts->count; i++)
        sum += part_bytes(parts, &parts->items[i]);
    return sum;
}

uint64_t ecd_vae_range_bytes(const ecd_vae_parts *parts, ecd_vae_range range)
{
    uint64_t sum = 0, largest = 0;
    for (int i = range.first; i < range.end; i++) {
        uint64_t stored = stored_bytes(&parts->items[i]);
        largest = stored > largest ? stored : largest;
        sum += part_bytes(parts, &parts->items[i]);
    }
    return sum + (parts->be->host_memory ? largest : loading_bytes(parts));
}
