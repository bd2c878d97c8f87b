// Decoding in plain C: the specification (ecf8_lanes_careful) and the portable fast loops.
#include "codec/lanes.h"

#include "codec/convert.h"

#define BYTES(x) ((uint64_t)(x)*UINT64_C(0x0101010101010101))

static void put_group(ecf8_stream *s, const uint32_t quads[ECF8_LANES], bool pairs)
{
    for (unsigned i = 0; i < ECF8_GROUP / 8; i++) {
        uint64_t out;
        memcpy(&out, quads + i * 2, 8);
        if (pairs) { // low nibbles belong to weights 0..63, high nibbles to 64..127
            const uint64_t nibbles = ecf8_load64(s->plane + i % 8 * 8) >> (i / 8 * 4);
            out |= (nibbles & BYTES(7)) | (nibbles & BYTES(8)) << 4;
        }
        ecf8_store64(s->out + i * 8, out);
    }
    if (pairs)
        s->plane += ECF8_GROUP / 2;
    s->out += ECF8_GROUP;
}

bool ecf8_lanes_careful(ecf8_stream *s, ecf8_mode mode, unsigned code_bits, const uint8_t *end)
{
    const bool pairs = mode == ECF8_MODE_PAIRS;
    const unsigned codes = ecf8_codes_per_group(mode);
    ecf8_lanes *lanes = &s->lanes;
    uint32_t quads[ECF8_LANES] = {0};
    for (unsigned step = 0; step < codes; step++)
        for (unsigned l = 0; l < ECF8_LANES; l++) {
            if (lanes->valid[l] < code_bits) {
                if (end - lanes->words < 2)
                    return false;
                lanes->window[l] |= (uint32_t)ecf8_load16(lanes->words) << (16 - lanes->valid[l]);
                lanes->valid[l] += 16;
                lanes->words += 2;
            }
            const uint32_t entry = s->entries[lanes->window[l] >> (32 - code_bits)];
            lanes->window[l] <<= entry >> 24;
            lanes->valid[l] -= entry >> 24;
            quads[l] |= (entry & 0xffff) << (step * (32 / codes));
        }
    put_group(s, quads, pairs);
    return true;
}

// The counts of valid bits of 8 lanes are kept as the bytes of a 64-bit integer, so that one comparison finds the lanes
// that want a word; only those are visited.
static inline void step(ecf8_lanes *lanes, uint64_t valid[4], const uint32_t *entries, unsigned code_bits,
                        uint32_t quads[ECF8_LANES], unsigned shift)
{
    const uint8_t *words = lanes->words;
    for (unsigned q = 0; q < 4; q++) {
        uint32_t *window = lanes->window + q * 8;
        uint64_t wanting = ~(valid[q] + BYTES(128 - code_bits)) & BYTES(128);
        const uint64_t before = valid[q];
        valid[q] += wanting >> 3;
        for (; wanting; wanting &= wanting - 1) {
            const unsigned at = (unsigned)__builtin_ctzll(wanting) & 56;
            window[at / 8] |= (uint32_t)ecf8_load16(words) << (16 - (before >> at & 31));
            words += 2;
        }
        uint64_t lengths = 0;
        for (unsigned l = 0; l < 8; l++) {
            const uint32_t entry = entries[window[l] >> (32 - code_bits)];
            const uint32_t length = entry >> 24;
            window[l] <<= length;
            lengths |= (uint64_t)length << (l * 8);
            quads[q * 8 + l] |= (entry & 0xffff) << shift;
        }
        valid[q] -= lengths;
    }
    lanes->words = words;
}

static inline void run(ecf8_stream *s, unsigned code_bits, unsigned groups, bool pairs)
{
    uint64_t valid[4] = {0};
    for (unsigned l = 0; l < ECF8_LANES; l++)
        valid[l / 8] |= (uint64_t)s->lanes.valid[l] << (l % 8 * 8);
    for (unsigned g = 0; g < groups; g++) {
        uint32_t quads[ECF8_LANES] = {0};
        for (unsigned i = 0; i < (pairs ? 2u : 4u); i++)
            step(&s->lanes, valid, s->entries, code_bits, quads, i * (pairs ? 16 : 8));
        put_group(s, quads, pairs);
    }
    for (unsigned l = 0; l < ECF8_LANES; l++)
        s->lanes.valid[l] = valid[l / 8] >> (l % 8 * 8) & 255;
}

static void pairs_scalar(ecf8_stream *streams, unsigned stream_count, unsigned code_bits, unsigned groups)
{
    for (unsigned i = 0; i < stream_count; i++)
        run(streams + i, code_bits, groups, true);
}

static void singles_scalar(ecf8_stream *streams, unsigned stream_count, unsigned code_bits, unsigned groups)
{
    for (unsigned i = 0; i < stream_count; i++)
        run(streams + i, code_bits, groups, false);
}

const ecf8_kernels ecf8_kernels_scalar = {pairs_scalar, singles_scalar, ecf8_merge16_scalar, ecf8_convert_scalar};
