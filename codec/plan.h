// What the files of the encoder share. Not installed.
#ifndef ECF8_PLAN_H
#define ECF8_PLAN_H

#include "codec/encode.h"

enum { ECF8_PATCH_BITS = ECF8_PATCH_BYTES * 8 };

typedef struct ecf8_code {
    uint8_t lengths[ECF8_SYMBOLS]; // 0: no code
    uint8_t fill;                  // the symbol of code 0
    ecf8_code_table table;
} ecf8_code;

typedef struct ecf8_tile {
    uint64_t word_offset;
    uint32_t words, patch_begin, patches;
    uint32_t mean; // of the exponents, for the clusters' first guess
    uint8_t table;
    bool same;                // all weights have the bits of the tensor's first
    uint8_t pads[ECF8_LANES]; // bits of each lane's words behind its last code
} ecf8_tile;

typedef uint32_t ecf8_histogram[ECF8_SYMBOLS];

struct ecf8_plan {
    const uint8_t *weights;
    uint64_t count, tile_count, word_count, patch_count;
    ecf8_params params;
    ecf8_mode mode;
    uint32_t tile_weights, code_bits, table_count;
    unsigned candidate_count;
    ecf8_mode candidates[2];
    ecf8_histogram *histograms[2]; // of each candidate, one a tile
    ecf8_tile *tiles;
    const ecf8_encoders *encoders;
    ecf8_code tables[ECF8_MAX_TABLES];
};

// Optimal code lengths of at most `code_bits` for the symbols with h > 0 (package-merge); others get 0.
// At least two symbols occur. Ties go to the smaller symbol, so the result is the same everywhere.
void ecf8_package_merge(const uint64_t h[ECF8_SYMBOLS], unsigned code_bits, uint8_t lengths[ECF8_SYMBOLS]);

// The cheapest code for a histogram, some rare symbols left to patches. Returns its cost in bits.
uint64_t ecf8_best_code(const uint64_t h[ECF8_SYMBOLS], ecf8_code *code);

// Chooses 1 to 8 tables for histograms[candidate] and each tile's; returns the cost in bits.
uint64_t ecf8_choose_tables(ecf8_plan *plan, unsigned candidate);

static inline uint32_t ecf8_tile_groups(const ecf8_plan *plan, uint64_t tile)
{
    const uint64_t left = plan->count - tile * plan->tile_weights;
    const uint32_t weights = left < plan->tile_weights ? (uint32_t)left : plan->tile_weights;
    return (weights + ECF8_GROUP - 1) / ECF8_GROUP;
}

// Symbols of groups first .. first + count - 1 of a tile, step by step: [group][code of the lane][lane]; the plane's
// bytes too unless `plane` is NULL. Weights after the tensor's last are copies of the last.
void ecf8_tile_symbols(const ecf8_plan *plan, ecf8_mode mode, uint64_t tile, uint32_t first, uint32_t count,
                       uint8_t *symbols, uint8_t *plane);

// CRC32C over the tile's whole groups, weights after the last included.
uint32_t ecf8_tile_crc(const ecf8_plan *plan, uint64_t tile);

ecf8_layout ecf8_plan_layout(const ecf8_plan *plan);

#endif
