// Decoding in plain C: the specification (ecf8_lanes_careful) and the portable fast loops.
#include "codec/lanes.h"

#include "codec/convert.h"
#include "codec/lanes_wanting.inc"

#define BYTES(x) ((uint64_t)(x)*UINT64_C(0x0101010101010101))

// Moves a group out: `symbols` are its bytes, those of pairs as in the entries of the table.
static void put_group(ecf8_stream *s, const uint8_t symbols[ECF8_GROUP], bool pairs)
{
    for (unsigned i = 0; i < ECF8_GROUP / 8; i++) {
        uint64_t out = ecf8_load64(symbols + i * 8);
        if (pairs) { // low nibbles belong to weights 0..63, high nibbles to 64..127
            const uint64_t nibbles = ecf8_load64(s->plane + i % 8 * 8) >> (i / 8 * 4);
            out = (out & BYTES(ECF8_PAIR_BITS & 255)) | (nibbles & BYTES(7)) | (nibbles & BYTES(8)) << 4;
        }
        ecf8_store64(s->out + i * 8, out);
    }
    if (pairs)
        s->plane += ECF8_GROUP / 2;
    s->out += ECF8_GROUP;
}

// An entry's symbols to their place: weights 2 * step and the next of the lane, or weight step.
static inline void put_entry(uint8_t symbols[ECF8_GROUP], unsigned lane, unsigned step, unsigned entry, bool pairs)
{
    if (pairs)
        ecf8_store16(symbols + lane * 4 + step * 2, (uint16_t)entry);
    else
        symbols[lane * 4 + step] = (uint8_t)(entry >> 8);
}

bool ecf8_lanes_careful(ecf8_stream *s, ecf8_mode mode, unsigned code_bits, const uint8_t *end)
{
    const bool pairs = mode == ECF8_MODE_PAIRS;
    const unsigned codes = ecf8_codes_per_group(mode);
    ecf8_lanes *lanes = &s->lanes;
    uint8_t symbols[ECF8_GROUP];
    for (unsigned step = 0; step < codes; step++)
        for (unsigned l = 0; l < ECF8_LANES; l++) {
            if (lanes->valid[l] < code_bits) {
                if (end - lanes->words < 2)
                    return false;
                lanes->window[l] |= (uint32_t)ecf8_load16(lanes->words) << (16 - lanes->valid[l]);
                lanes->valid[l] += 16;
                lanes->words += 2;
            }
            const unsigned entry = s->entries[lanes->window[l] >> (32 - code_bits)];
            lanes->window[l] <<= ecf8_entry_length(entry, pairs);
            lanes->valid[l] -= ecf8_entry_length(entry, pairs);
            put_entry(symbols, l, step, entry, pairs);
        }
    put_group(s, symbols, pairs);
    return true;
}

// Eight lanes; the counts of their valid bits are the bytes of a 64-bit integer, so that one addition finds the lanes
// that want a word. Those are seldom more than four: four are served without asking how many there are, lane 8
// standing for none, because a branch on their number would be mispredicted most of the time.
typedef struct octet {
    uint32_t window[9];
    uint64_t valid;
} octet;

static inline const uint8_t *refill(octet *o, const uint8_t *words, unsigned code_bits)
{
    const uint64_t wanting = ~(o->valid + BYTES(128 - code_bits)) >> 7 & BYTES(1);
    uint64_t lanes = wanting_lanes[wanting * UINT64_C(0x0102040810204080) >> 56];
    const unsigned count = (unsigned)(wanting * BYTES(1) >> 56);
    uint8_t shift[9] = {0};
    ecf8_store64(shift, BYTES(48) - o->valid); // modulo 32 it is 16 - valid
#pragma GCC unroll 4
    for (unsigned k = 0; k < 4; k++, lanes >>= 8)
        o->window[lanes & 15] |= (uint32_t)ecf8_load16(words + 2 * (size_t)k) << (shift[lanes & 15] & 31);
    for (unsigned k = 4; k < count; k++, lanes >>= 8)
        o->window[lanes & 15] |= (uint32_t)ecf8_load16(words + 2 * (size_t)k) << (shift[lanes & 15] & 31);
    o->valid += wanting << 4;
    return words + 2 * (size_t)count;
}

static inline void take(octet *o, const uint16_t *entries, unsigned code_bits, bool pairs, unsigned step,
                        uint8_t *symbols)
{
    uint64_t lengths = 0;
#pragma GCC unroll 8
    for (unsigned l = 0; l < 8; l++) {
        const unsigned entry = entries[o->window[l] >> (32 - code_bits)];
        const unsigned length = ecf8_entry_length(entry, pairs);
        o->window[l] <<= length;
        lengths |= (uint64_t)length << (l * 8);
        put_entry(symbols, l, step, entry, pairs);
    }
    o->valid -= lengths;
}

static inline void run(ecf8_stream *s, unsigned code_bits, unsigned groups, bool pairs)
{
    octet octets[ECF8_LANES / 8] = {0};
    for (unsigned l = 0; l < ECF8_LANES; l++) {
        octets[l / 8].window[l % 8] = s->lanes.window[l];
        octets[l / 8].valid |= (uint64_t)s->lanes.valid[l] << (l % 8 * 8);
    }
    const uint8_t *words = s->lanes.words;
    for (unsigned g = 0; g < groups; g++) {
        uint8_t symbols[ECF8_GROUP];
        for (unsigned step = 0; step < (pairs ? 2u : 4u); step++) {
            for (unsigned i = 0; i < ECF8_LANES / 8; i++)
                words = refill(octets + i, words, code_bits);
            for (unsigned i = 0; i < ECF8_LANES / 8; i++)
                take(octets + i, s->entries, code_bits, pairs, step, symbols + i * 32);
        }
        put_group(s, symbols, pairs);
    }
    for (unsigned l = 0; l < ECF8_LANES; l++) {
        s->lanes.window[l] = octets[l / 8].window[l % 8];
        s->lanes.valid[l] = octets[l / 8].valid >> (l % 8 * 8) & 255;
    }
    s->lanes.words = words;
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
