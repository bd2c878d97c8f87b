// The inner loops of encoding, one table of them for each instruction set. All levels give the same bytes.
//
// A tile is packed backwards, from its last step to its first. After the refill of a step a lane holds at least L bits
// and at most L + 15, so the number of words that it has taken by then is ceil((bits before the step + L) / 16): it
// follows from the bits alone, in either direction. Backwards, a code is put before the bits that a lane holds; where
// that would make more than L + 15 bits, the lane's last 16 bits are first given back as the word that the decoder
// takes at the step that follows. So the words appear in the stream's order, last first, in one pass and without
// branches.
#ifndef ECF8_ENCODE_H
#define ECF8_ENCODE_H

#include "codec/format.h"

// In an entry of ecf8_code_table: the symbol has no code, it is coded as the fill and patched.
#define ECF8_ENTRY_PATCHED 0x8000u

// The sum of a lane's entries in a tile, in 32 bits, holds the lane's bits here: at most 2048 codes of 12 bits.
#define ECF8_SUM_BITS 0x7fffu

enum { ECF8_CHUNK_GROUPS = 32 }; // packed by one call, so that a bit of 32 stands for each

typedef struct ecf8_code_table {
    uint32_t before[4]; // AVX2 loads 16 bytes around an entry: up to 12 bytes before the first and behind the last
    uint32_t entries[ECF8_SYMBOLS]; // bits 0..3: length; ECF8_ENTRY_PATCHED; bits 16..27: code, right-justified
    uint32_t behind[4];
} ecf8_code_table;

typedef struct ecf8_packer {
    uint32_t window[ECF8_LANES]; // right-justified: the last bit is the next to be given back
    uint32_t valid[ECF8_LANES];  // bits in it
    const ecf8_code_table *table;
    unsigned code_bits;
    uint8_t *end; // words are written below it
} ecf8_packer;

typedef struct ecf8_encoders {
    // Symbols of `groups` whole groups, step by step: [group][code of the lane][lane]; the plane's bytes too unless
    // `plane` is NULL.
    void (*symbols)(const uint8_t *weights, ecf8_dtype dtype, ecf8_mode mode, uint32_t groups, uint8_t *symbols,
                    uint8_t *plane);
    // Adds the entries of each lane's codes in `steps` steps of symbols to sums[lane].
    void (*sum)(const ecf8_code_table *table, const uint8_t *symbols, size_t steps, uint32_t sums[ECF8_LANES]);
    // Packs 1 to ECF8_CHUNK_GROUPS groups backwards and moves packer->end down. Up to 16 bytes below the new end are
    // overwritten. Returns a bit for each group that has symbols to patch.
    uint32_t (*pack)(ecf8_packer *packer, const uint8_t *symbols, unsigned codes, uint32_t groups);
} ecf8_encoders;

extern const ecf8_encoders ecf8_encoders_scalar;
#if defined(__x86_64__)
extern const ecf8_encoders ecf8_encoders_avx2;
#endif

// The best that this CPU has, lowered by ECD_CPU.
const ecf8_encoders *ecf8_encoders_best(void);

#endif
