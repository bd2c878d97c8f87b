// Tables for tiles that differ: their histograms are clustered by k-means, the distance being the cost in bits.
#include "codec/plan.h"

enum { BINS = 1024 };

// 256 log2(x), linear between powers of two: in integers, so that every machine chooses the same.
static uint32_t log2_x256(uint64_t x)
{
    const unsigned top = 63U - (unsigned)__builtin_clzll(x);
    return top * 256 + (uint32_t)((top >= 8 ? x >> (top - 8) : x << (8 - top)) & 255);
}

// A cluster without tiles keeps away from all, or its costs of nothing would draw them.
static void ideal_costs(const uint64_t h[ECF8_SYMBOLS], uint32_t costs[ECF8_SYMBOLS])
{
    uint64_t total = 1;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        total += h[s];
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        const uint32_t bits = log2_x256(total) - log2_x256(h[s] + 1);
        costs[s] = total > 1 && bits < ECF8_MAX_CODE_BITS * 256 ? bits : (ECF8_PATCH_BITS + 2) * 256;
    }
}

static void code_costs(const ecf8_code *code, uint32_t costs[ECF8_SYMBOLS])
{
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        costs[s] = code->lengths[s] ? code->lengths[s] : code->lengths[code->fill] + (uint32_t)ECF8_PATCH_BITS;
}

// In 32 bits: a tile has at most 65536 codes, and none costs more than 36 * 256.
static uint32_t cost_in(const ecf8_histogram h, const uint32_t costs[ECF8_SYMBOLS])
{
    uint32_t cost = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        cost += h[s] * costs[s];
    return cost;
}

static uint64_t assign(ecf8_plan *plan, const ecf8_histogram *histograms, uint32_t costs[][ECF8_SYMBOLS], unsigned k)
{
    uint64_t all = 0;
    for (uint64_t t = 0; t < plan->tile_count; t++) {
        uint32_t least = UINT32_MAX;
        for (unsigned c = 0; c < k; c++) {
            const uint32_t cost = cost_in(histograms[t], costs[c]);
            if (cost < least) {
                least = cost;
                plan->tiles[t].table = (uint8_t)c;
            }
        }
        all += least;
    }
    return all;
}

static void sum_clusters(const ecf8_plan *plan, const ecf8_histogram *histograms, uint64_t sums[][ECF8_SYMBOLS],
                         unsigned k)
{
    memset(sums, 0, k * sizeof sums[0]);
    for (uint64_t t = 0; t < plan->tile_count; t++)
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
            sums[plan->tiles[t].table][s] += histograms[t][s];
}

static uint32_t mean_x65536(const ecf8_histogram h, ecf8_mode mode)
{
    uint64_t sum = 0, n = 1;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++) {
        const unsigned value = mode == ECF8_MODE_PAIRS ? (s & 15) + (s >> 4) : s & 127;
        sum += (uint64_t)h[s] * value;
        n += h[s];
    }
    return (uint32_t)(sum * 65536 / n);
}

// First guess: tiles by their mean exponent, in k parts of equal number. Ranks by bins that share the range of the
// means out.
static void first_guess(ecf8_plan *plan, unsigned k)
{
    uint64_t bins[BINS] = {0}, rank = 0;
    uint32_t low = UINT32_MAX, high = 0;
    for (uint64_t t = 0; t < plan->tile_count; t++) {
        const uint32_t mean = plan->tiles[t].mean;
        low = mean < low ? mean : low;
        high = mean > high ? mean : high;
    }
    const uint32_t width = (high - low) / BINS + 1;
    for (uint64_t t = 0; t < plan->tile_count; t++)
        bins[(plan->tiles[t].mean - low) / width]++;
    for (unsigned b = 0; b < BINS; b++) {
        const uint64_t n = bins[b];
        bins[b] = (rank + n / 2) * k / plan->tile_count;
        rank += n;
    }
    for (uint64_t t = 0; t < plan->tile_count; t++)
        plan->tiles[t].table = (uint8_t)bins[(plan->tiles[t].mean - low) / width];
}

// Each tile takes the cheapest of the tables.
static uint64_t assign_tables(ecf8_plan *plan, const ecf8_histogram *histograms, unsigned k)
{
    uint32_t costs[ECF8_MAX_TABLES][ECF8_SYMBOLS];
    for (unsigned c = 0; c < k; c++)
        code_costs(plan->tables + c, costs[c]);
    plan->table_count = k;
    return assign(plan, histograms, costs, k) + (uint64_t)k * ECF8_TABLE_BYTES * 8;
}

// Leaves the tables in plan->tables.
static uint64_t cluster(ecf8_plan *plan, unsigned candidate, unsigned k)
{
    const ecf8_histogram *histograms = (const ecf8_histogram *)plan->histograms[candidate];
    uint64_t sums[ECF8_MAX_TABLES][ECF8_SYMBOLS];
    uint32_t costs[ECF8_MAX_TABLES][ECF8_SYMBOLS];
    first_guess(plan, k);
    for (unsigned round = 0; round < (k > 1 ? 4 : 0); round++) {
        sum_clusters(plan, histograms, sums, k);
        for (unsigned c = 0; c < k; c++)
            ideal_costs(sums[c], costs[c]);
        assign(plan, histograms, costs, k);
    }
    sum_clusters(plan, histograms, sums, k);
    for (unsigned c = 0; c < k; c++)
        ecf8_best_code(sums[c], plan->tables + c);
    return assign_tables(plan, histograms, k);
}

uint64_t ecf8_choose_tables(ecf8_plan *plan, unsigned candidate)
{
    ecf8_code kept[ECF8_MAX_TABLES];
    for (uint64_t t = 0; t < plan->tile_count; t++)
        plan->tiles[t].mean = mean_x65536(plan->histograms[candidate][t], plan->candidates[candidate]);
    uint64_t best = cluster(plan, candidate, 1);
    unsigned best_k = 1;
    memcpy(kept, plan->tables, sizeof kept[0]);
    for (unsigned k = 2; k <= ECF8_MAX_TABLES && plan->tile_count >= 4 * (uint64_t)k; k *= 2) {
        const uint64_t cost = cluster(plan, candidate, k);
        if (cost >= best - best / 4096) // not worth a larger footprint in the decoder's cache
            break;
        best = cost;
        best_k = k;
        memcpy(kept, plan->tables, k * sizeof kept[0]);
    }
    if (plan->table_count != best_k) {
        memcpy(plan->tables, kept, best_k * sizeof kept[0]);
        assign_tables(plan, (const ecf8_histogram *)plan->histograms[candidate], best_k);
    }
    return best;
}
