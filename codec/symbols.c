// Weights to symbols and planes, and their statistics.
#include <math.h>

#include "codec/plan.h"

static void pair_group(const uint8_t *in, uint8_t *symbols, uint8_t *plane)
{
    for (unsigned l = 0; l < ECF8_LANES; l++) {
        const uint32_t w = ecf8_load32(in + l * 4);
        symbols[l] = (uint8_t)((w >> 3 & 15) | (w >> 7 & 0xf0));
        symbols[ECF8_LANES + l] = (uint8_t)((w >> 19 & 15) | (w >> 23 & 0xf0));
    }
    for (unsigned i = 0; plane && i < ECF8_GROUP / 2; i++) {
        const unsigned a = in[i], b = in[i + ECF8_GROUP / 2];
        plane[i] = (uint8_t)((a & 7) | (a >> 4 & 8) | (b & 7) << 4 | (b & 0x80));
    }
}

static void byte_group(const uint8_t *in, uint8_t *symbols)
{
    for (unsigned l = 0; l < ECF8_LANES; l++)
        for (unsigned j = 0; j < 4; j++)
            symbols[j * ECF8_LANES + l] = in[l * 4 + j];
}

static void bf16_group(const uint8_t *in, uint8_t *symbols, uint8_t *plane)
{
    for (unsigned l = 0; l < ECF8_LANES; l++)
        for (unsigned j = 0; j < 4; j++)
            symbols[j * ECF8_LANES + l] = (uint8_t)(ecf8_load16(in + (l * 4 + j) * 2) >> 7);
    for (unsigned i = 0; plane && i < ECF8_GROUP; i++)
        plane[i] = (uint8_t)((in[i * 2] & 0x7f) | (in[i * 2 + 1] & 0x80));
}

static void f16_group(const uint8_t *in, uint8_t *symbols, uint8_t *plane)
{
    for (unsigned l = 0; l < ECF8_LANES; l++)
        for (unsigned j = 0; j < 4; j++)
            symbols[j * ECF8_LANES + l] = in[(l * 4 + j) * 2 + 1];
    for (unsigned i = 0; plane && i < ECF8_GROUP; i++)
        plane[i] = in[i * 2];
}

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
    const unsigned codes = ecf8_codes_per_group(mode), plane_bytes = ecf8_plane_group_bytes(dtype, mode);
    for (uint32_t g = 0; g < count; g++) {
        uint8_t pad[2 * ECF8_GROUP];
        const uint8_t *in = whole_group(plan, tile * plan->tile_weights + (uint64_t)(first + g) * ECF8_GROUP, pad);
        uint8_t *to = symbols + (size_t)g * codes * ECF8_LANES;
        uint8_t *plane_to = plane ? plane + (size_t)g * plane_bytes : NULL;
        if (mode == ECF8_MODE_PAIRS)
            pair_group(in, to, plane_to);
        else if (dtype == ECF8_BF16)
            bf16_group(in, to, plane_to);
        else if (dtype == ECF8_F16)
            f16_group(in, to, plane_to);
        else
            byte_group(in, to);
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
