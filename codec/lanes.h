// The inner loops of decoding, one table of them for each instruction set. All levels give the same bytes.
//
// A tile is decoded by 32 lanes in lockstep. A lane holds the next bits of its codes in a 32-bit window,
// left-justified. A step: in lane order, each lane whose window holds fewer than L valid bits takes the next 16-bit
// word of the one stream that all share; then each lane looks its top L bits up and shifts the code out. Since a code
// has at most L <= 12 bits, a lane never needs two words at a step, and never holds more than L - 1 + 16 <= 27 bits.
#ifndef ECF8_LANES_H
#define ECF8_LANES_H

#include "codec/format.h"

struct ecf8_table {
    uint32_t fill;      // the symbol of code 0, which stands where a patch follows
    uint32_t before[3]; // vector look-ups load up to 16 bytes around an entry
    // Indexed by the next L bits. 16 bits, so that a table takes a quarter of the first-level cache. Pairs: the two
    // exponents at their places in two E4M3 bytes, the code's length in bits 7..10. Singles: the length in bits 0..3,
    // the symbol in bits 8..15.
    uint16_t entries[1 << ECF8_MAX_CODE_BITS];
    uint16_t behind[24];
};

#define ECF8_PAIR_BITS 0x7878U // of an entry, those of the exponents

static inline unsigned ecf8_entry_length(unsigned entry, bool pairs)
{
    return (pairs ? entry >> 7 : entry) & 15;
}

typedef struct ecf8_lanes {
    uint32_t window[ECF8_LANES];
    uint32_t valid[ECF8_LANES];
    const uint8_t *words;
} ecf8_lanes;

typedef struct ecf8_stream {
    ecf8_lanes lanes;
    const uint16_t *entries;
    const uint8_t *plane; // pairs: nibbles of the next group
    uint8_t *out;         // 128 bytes a group: weights for pairs, symbols for singles
} ecf8_stream;

typedef struct ecf8_kernels {
    // Decode `groups` groups of one or two streams (two hide each other's latencies), and move plane and out on.
    // There must be ECF8_GROUP_READ(codes) bytes a group and ECF8_SLACK bytes more behind lanes.words.
    void (*pairs)(ecf8_stream *streams, unsigned stream_count, unsigned code_bits, unsigned groups);
    void (*singles)(ecf8_stream *streams, unsigned stream_count, unsigned code_bits, unsigned groups);
    // BF16: exponent bytes and sign-mantissa bytes to weights; F16: high and low bytes.
    void (*merge16)(const uint8_t *symbols, const uint8_t *plane, ecf8_dtype dtype, uint16_t *out, size_t count);
    // Native weights to BF16 or F32, times *scale unless it is NULL. `out` needs no alignment.
    void (*convert)(const void *in, ecf8_dtype dtype, ecf8_form form, const float *scale, void *out, size_t count);
} ecf8_kernels;

// Most bytes that a group of 2 or 4 codes a lane takes from the stream.
#define ECF8_GROUP_READ(codes) ((codes)*ECF8_LANES * 2u)
#define ECF8_SLACK 64u

extern const ecf8_kernels ecf8_kernels_scalar;
#if defined(__x86_64__)
extern const ecf8_kernels ecf8_kernels_avx2;
extern const ecf8_kernels ecf8_kernels_avx512;
#endif

// One group without reading at or past `end`: false if a lane wants a word that is not there.
bool ecf8_lanes_careful(ecf8_stream *stream, ecf8_mode mode, unsigned code_bits, const uint8_t *end);

// A level that this CPU has, or NULL.
const ecf8_kernels *ecf8_kernels_of(ecf8_cpu cpu);

#endif
