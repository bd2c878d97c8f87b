// What one thread decides for a tensor, from the tiles' histograms: the mode, the tables, the number of patches.
#include "codec/plan.h"

enum { SIGN_AND_MANTISSA_BITS = 4 }; // of E4M3

// Base 2, to 30 binary places or so, by squaring: the sums and products of IEEE 754 alone, so that every machine gets
// the same result, which a libm does not promise.
static double log2_of(uint64_t x)
{
    const unsigned top = 63U - (unsigned)__builtin_clzll(x);
    double mantissa = (double)x / (double)(UINT64_C(1) << top), bit = 0.5, result = top;
    for (unsigned i = 0; i < 30; i++, bit /= 2) {
        mantissa *= mantissa;
        if (mantissa >= 2) {
            mantissa /= 2;
            result += bit;
        }
    }
    return result;
}

// H(E) + 4 for all the weights together, from the exponents of the pairs.
static double exponent_bound(const ecf8_plan *plan)
{
    uint64_t h[16] = {0}, total = 0;
    for (uint64_t t = 0; t < plan->tile_count; t++)
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
            h[s & 15] += plan->histograms[0][t][s];
            h[s >> 4] += plan->histograms[0][t][s];
        }
    for (unsigned e = 0; e < 16; e++)
        total += h[e];
    double bits = (double)total * (log2_of(total) + SIGN_AND_MANTISSA_BITS);
    for (unsigned e = 0; e < 16; e++)
        if (h[e])
            bits -= (double)h[e] * log2_of(h[e]);
    return bits;
}

static unsigned longest_code(const ecf8_plan *plan)
{
    unsigned longest = 1;
    for (unsigned t = 0; t < plan->table_count; t++)
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
            if (plan->tables[t].lengths[s] > longest)
                longest = plan->tables[t].lengths[s];
    return longest;
}

static void place_patches(ecf8_plan *plan, unsigned candidate)
{
    for (uint64_t t = 0; t < plan->tile_count; t++) {
        ecf8_tile *tile = plan->tiles + t;
        const uint8_t *lengths = plan->tables[tile->table].lengths;
        tile->patch_begin = (uint32_t)plan->patch_count;
        tile->patches = 0;
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
            tile->patches += lengths[s] ? 0 : plan->histograms[candidate][t][s];
        plan->patch_count += tile->patches;
    }
}

// Whether pairs, which decode in half the time of whole bytes, are small enough for ECF8_DENSITY_BALANCED: their codes
// stay within 0.45% of the bound (tiles and tables add 0.15% to large tensors), and whole bytes would not save 2%. What
// tables and tiles cost does not count: whole bytes have those too.
static bool pairs_suffice(const ecf8_plan *plan, uint64_t pairs_bits, unsigned pairs_tables, uint64_t bytes_bits)
{
    const uint64_t table_bits = (uint64_t)pairs_tables * ECF8_TABLE_BYTES * 8;
    return (double)(pairs_bits - table_bits) <= 1.0045 * exponent_bound(plan) &&
           (double)bytes_bits >= 0.98 * (double)pairs_bits;
}

// The candidate whose codes are smallest, or pairs if they suffice. Leaves its tables in the plan.
static unsigned choose_mode(ecf8_plan *plan)
{
    const uint64_t groups = (plan->count - 1) / ECF8_GROUP + 1;
    uint64_t bits[2] = {0};
    unsigned tables[2] = {0}, best = 0;
    for (unsigned c = 0; c < plan->candidate_count; c++) {
        plan->mode = plan->candidates[c];
        bits[c] = ecf8_choose_tables(plan, c) + groups * ecf8_plane_group_bytes(plan->params.dtype, plan->mode) * 8;
        tables[c] = plan->table_count;
        best = bits[c] < bits[best] ? c : best;
    }
    if (plan->params.density == ECF8_DENSITY_BALANCED && plan->candidate_count == 2 &&
        plan->candidates[0] == ECF8_MODE_PAIRS && pairs_suffice(plan, bits[0], tables[0], bits[1]))
        best = 0;
    if (best + 1 < plan->candidate_count) {
        plan->mode = plan->candidates[best];
        ecf8_choose_tables(plan, best);
    }
    return best;
}

void ecf8_plan_decide(ecf8_plan *plan)
{
    uint64_t same = 0;
    while (same < plan->tile_count && plan->tiles[same].same)
        same++;
    plan->mode = ECF8_MODE_CONSTANT;
    if (same == plan->tile_count)
        return;
    const unsigned best = choose_mode(plan);
    plan->mode = plan->candidates[best];
    plan->code_bits = longest_code(plan);
    place_patches(plan, best);
    if (plan->patch_count > UINT32_MAX)
        plan->mode = ECF8_MODE_RAW;
}
