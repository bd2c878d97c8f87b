// Weights to symbols and planes, and their statistics.
#include <math.h>

#include "codec/plan.h"

// The group's weights, or, where the tensor ends inside it, a copy of them filled up in `pad`.
static const uint8_t *whole_group(const ecf8_plan *plan, uint64_t weight, uint8_t pad[2 * ECF8_GROUP])
{
    const size_t size = ecf8_dtype_bytes(plan->params.dtype);
    const uint8_t *in = plan->weights + weight * size;
    const uint64_t left = plan->count - weight;
    if (left >= ECF8_GROUP)
        return in;
    memcpy(pad, in, (size_t)left * size);
    for (size_t i = (size_t)left; i < ECF8_GROUP; i++)
        memcpy(pad + i * size, in + ((size_t)left - 1) * size, size);
    return pad;
}

void ecf8_tile_symbols(const ecf8_plan *plan, ecf8_mode mode, uint64_t tile, uint32_t first, uint32_t count,
                       uint8_t *symbols, uint8_t *plane)
{
    const ecf8_dtype dtype = plan->params.dtype;
    const size_t size = ecf8_dtype_bytes(dtype), symbol_bytes = ecf8_codes_per_group(mode) * ECF8_LANES;
    const uint64_t begin = tile * plan->tile_weights + (uint64_t)first * ECF8_GROUP;
    const uint64_t left = (plan->count - begin) / ECF8_GROUP;
    const uint32_t whole = left < count ? (uint32_t)left : count;
    plan->encoders->symbols(plan->weights + begin * size, dtype, mode, whole, symbols, plane);
    if (whole < count) {
        uint8_t pad[2 * ECF8_GROUP];
        const uint8_t *in = whole_group(plan, begin + (uint64_t)whole * ECF8_GROUP, pad);
        plan->encoders->symbols(in, dtype, mode, 1, symbols + whole * symbol_bytes,
                                plane ? plane + whole * ecf8_plane_group_bytes(dtype, mode) : NULL);
    }
}

uint32_t ecf8_tile_crc(const ecf8_plan *plan, uint64_t tile)
{
    const size_t size = ecf8_dtype_bytes(plan->params.dtype);
    const uint64_t begin = tile * plan->tile_weights, left = plan->count - begin;
    const uint64_t weights = left < plan->tile_weights ? left : plan->tile_weights;
    const uint64_t whole = weights / ECF8_GROUP * ECF8_GROUP;
    uint32_t crc = ecf8_crc32c(0, plan->weights + begin * size, (size_t)(whole * size));
    if (whole < weights && ecf8_is_coded(plan->mode)) {
        uint8_t pad[2 * ECF8_GROUP];
        crc = ecf8_crc32c(crc, whole_group(plan, begin + whole, pad), ECF8_GROUP * size);
    } else if (whole < weights) {
        crc = ecf8_crc32c(crc, plan->weights + (begin + whole) * size, (size_t)((weights - whole) * size));
    }
    return crc;
}

static double entropy(const uint64_t h[256], uint64_t count)
{
    double bits = 0;
    for (unsigned i = 0; i < 256; i++)
        if (h[i])
            bits -= (double)h[i] / (double)count * log2((double)h[i] / (double)count);
    return bits;
}

ecf8_status ecf8_stats_of(const void *weights, uint64_t count, ecf8_dtype dtype, ecf8_stats *stats)
{
    const size_t size = ecf8_dtype_bytes(dtype);
    if (!size || !stats || (!weights && count))
        return ECF8_ERR_ARGUMENT;
    uint64_t bytes[256] = {0};
    const uint8_t *in = weights;
    *stats = (ecf8_stats){.count = count};
    for (uint64_t i = 0; i < count; i++) {
        const unsigned w = size == 2 ? ecf8_load16(in + i * 2) : in[i];
        const unsigned exponent = dtype == ECF8_E4M3   ? w >> 3 & 15
                                  : dtype == ECF8_E5M2 ? w >> 2 & 31
                                  : dtype == ECF8_BF16 ? w >> 7 & 255
                                                       : w >> 10 & 31;
        stats->exponents[exponent]++;
        bytes[size == 2 ? w >> 8 : w]++;
    }
    stats->exponent_bits = count ? entropy(stats->exponents, count) : 0;
    stats->byte_bits = count ? entropy(bytes, count) + (size == 2 ? 8 : 0) : 0;
    const int rest = dtype == ECF8_E4M3 ? 4 : dtype == ECF8_E5M2 ? 3 : dtype == ECF8_BF16 ? 8 : 11;
    stats->bound_bits = stats->exponent_bits + rest;
    return ECF8_OK;
}
