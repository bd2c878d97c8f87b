// The loops of encoding in plain C: the specification of the others.
#include "codec/encode.h"

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

static void symbols_scalar(const uint8_t *weights, ecf8_dtype dtype, ecf8_mode mode, uint32_t groups, uint8_t *symbols,
                           uint8_t *plane)
{
    const size_t in_bytes = ECF8_GROUP * ecf8_dtype_bytes(dtype), plane_bytes = ecf8_plane_group_bytes(dtype, mode);
    for (uint32_t g = 0; g < groups; g++) {
        const uint8_t *in = weights + g * in_bytes;
        uint8_t *to = symbols + (size_t)g * ecf8_codes_per_group(mode) * ECF8_LANES;
        uint8_t *plane_to = plane ? plane + g * plane_bytes : NULL;
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

static void sum_scalar(const ecf8_code_table *table, const uint8_t *symbols, size_t steps, uint32_t sums[ECF8_LANES])
{
    for (size_t i = 0; i < steps * ECF8_LANES; i++)
        sums[i % ECF8_LANES] += table->entries[symbols[i]];
}

// A word is stored whether it is given back or not: the next store overwrites it if not.
static uint32_t pack_scalar(ecf8_packer *p, const uint8_t *symbols, unsigned codes, uint32_t groups)
{
    const uint32_t *entries = p->table->entries, most = p->code_bits + 15;
    uint8_t *end = p->end;
    uint32_t patched = 0;
    for (uint32_t g = groups; g-- > 0;) {
        uint32_t seen = 0;
        for (unsigned i = codes * ECF8_LANES; i-- > 0;) {
            const unsigned l = i % ECF8_LANES;
            const uint32_t entry = entries[symbols[(size_t)g * codes * ECF8_LANES + i]];
            uint32_t window = p->window[l], valid = p->valid[l];
            const uint32_t give = valid + (entry & 15) > most ? 16 : 0;
            ecf8_store16(end - 2, (uint16_t)window);
            end -= give / 8;
            window >>= give;
            valid -= give;
            p->window[l] = window | entry >> 16 << valid;
            p->valid[l] = valid + (entry & 15);
            seen |= entry;
        }
        patched |= (uint32_t) !!(seen & ECF8_ENTRY_PATCHED) << g;
    }
    p->end = end;
    return patched;
}

const ecf8_encoders ecf8_encoders_scalar = {symbols_scalar, sum_scalar, pack_scalar};

const ecf8_encoders *ecf8_encoders_best(void)
{
#if defined(__x86_64__)
    if (ecf8_cpu_best() >= ECF8_CPU_AVX2) // who has AVX-512 has AVX2
        return &ecf8_encoders_avx2;
#endif
    return &ecf8_encoders_scalar;
}
