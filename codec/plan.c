// Encoding, step by step: what a thread does to a range of tiles, and what one thread decides for all.
#include "codec/plan.h"

enum { SLICE_GROUPS = 64 };

// A tile costs about 68 bytes, but a GPU wants many; all densities but ECF8_DENSITY_FAST are content with four. Not so in
// 16-bit weights: there rows differ more often, and smaller tiles tell them apart.
static uint32_t default_tile(uint64_t count, const ecf8_params *p)
{
    if (p->density != ECF8_DENSITY_FAST && ecf8_dtype_bytes(p->dtype) == 1)
        return count >= UINT64_C(1) << 18 ? 65536 : count >= UINT64_C(1) << 17 ? 32768 : 16384;
    return count >= UINT64_C(1) << 20 ? 65536 : count >= UINT64_C(1) << 18 ? 32768 : 16384;
}

static bool params_fit(uint64_t count, const ecf8_params *p)
{
    uint64_t product;
    return p && ecf8_dtype_bytes(p->dtype) && count <= ECF8_MAX_COUNT && p->density <= ECF8_DENSITY_BALANCED &&
           !__builtin_mul_overflow(p->rows, p->cols, &product) && (product == count || (!p->rows && !p->cols)) &&
           p->tile_weights % ECF8_GROUP == 0 && p->tile_weights <= ECF8_MAX_TILE;
}

static uint32_t tile_weights_of(uint64_t count, const ecf8_params *p)
{
    return p->tile_weights ? p->tile_weights : default_tile(count, p);
}

uint64_t ecf8_encode_bound(uint64_t count, const ecf8_params *params)
{
    if (!params_fit(count, params))
        return 0;
    // Whatever does not shrink is stored raw, so raw mode bounds all.
    const ecf8_shape raw = {.dtype = params->dtype, .count = count, .tile_weights = tile_weights_of(count, params)};
    return ecf8_layout_of(&raw).total;
}

static unsigned list_candidates(const ecf8_params *p, ecf8_mode modes[2])
{
    unsigned n = 0;
    if (p->dtype == ECF8_E4M3)
        modes[n++] = ECF8_MODE_PAIRS;
    if (p->dtype != ECF8_E4M3 || p->density != ECF8_DENSITY_FAST)
        modes[n++] = ECF8_MODE_SINGLES;
    return n;
}

uint64_t ecf8_plan_bytes(uint64_t count, const ecf8_params *params)
{
    if (!params_fit(count, params))
        return 0;
    ecf8_mode modes[2];
    const uint64_t tiles = count / tile_weights_of(count, params) + 1;
    const uint64_t each = sizeof(ecf8_tile) + list_candidates(params, modes) * sizeof(ecf8_histogram);
    return sizeof(ecf8_plan) + ECF8_ALIGN + tiles * each;
}

ecf8_plan *ecf8_plan_begin(const void *weights, uint64_t count, const ecf8_params *params, void *memory,
                           uint64_t memory_bytes)
{
    if (!params_fit(count, params) || !memory || (!weights && count) || memory_bytes < ecf8_plan_bytes(count, params))
        return NULL;
    ecf8_plan *plan = (ecf8_plan *)(((uintptr_t)memory + ECF8_ALIGN - 1) & ~(uintptr_t)(ECF8_ALIGN - 1));
    memset(plan, 0, sizeof *plan);
    plan->weights = weights;
    plan->count = count;
    plan->params = *params;
    plan->tile_weights = tile_weights_of(count, params);
    plan->tile_count = count ? (count - 1) / plan->tile_weights + 1 : 0;
    plan->candidate_count = list_candidates(params, plan->candidates);
    plan->encoders = ecf8_encoders_best();
    plan->tiles = (ecf8_tile *)(plan + 1);
    memset(plan->tiles, 0, (size_t)plan->tile_count * sizeof(ecf8_tile));
    ecf8_histogram *next = (ecf8_histogram *)(plan->tiles + plan->tile_count);
    for (unsigned c = 0; c < plan->candidate_count; c++, next += plan->tile_count)
        plan->histograms[c] = next;
    return plan;
}

uint64_t ecf8_plan_tiles(const ecf8_plan *plan)
{
    return plan->tile_count;
}

static void count_symbols(const ecf8_plan *plan, unsigned candidate, uint64_t tile)
{
    const ecf8_mode mode = plan->candidates[candidate];
    const size_t group_symbols = ecf8_codes_per_group(mode) * ECF8_LANES;
    const uint32_t groups = ecf8_tile_groups(plan, tile);
    uint8_t symbols[SLICE_GROUPS * ECF8_GROUP];
    if (plan->tiles[tile].same) { // zeros, as a rule, and many
        ecf8_tile_symbols(plan, mode, tile, 0, 1, symbols, NULL);
        memset(plan->histograms[candidate][tile], 0, sizeof(ecf8_histogram));
        plan->histograms[candidate][tile][symbols[0]] = groups * (uint32_t)group_symbols;
        return;
    }
    uint32_t h[4][ECF8_SYMBOLS] = {{0}}; // four, so that a run of one symbol is no chain through memory
    for (uint32_t g = 0; g < groups; g += SLICE_GROUPS) {
        const uint32_t n = groups - g < SLICE_GROUPS ? groups - g : SLICE_GROUPS;
        ecf8_tile_symbols(plan, mode, tile, g, n, symbols, NULL);
        for (size_t i = 0; i < n * group_symbols; i += 8) {
            uint64_t eight = ecf8_load64(symbols + i);
            for (unsigned k = 0; k < 8; k++, eight >>= 8)
                h[k % 4][eight & 255]++;
        }
    }
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        plan->histograms[candidate][tile][s] = h[0][s] + h[1][s] + h[2][s] + h[3][s];
}

static bool all_same(const ecf8_plan *plan, uint64_t tile)
{
    const size_t size = ecf8_dtype_bytes(plan->params.dtype);
    const uint64_t begin = tile * plan->tile_weights, left = plan->count - begin;
    const uint64_t weights = left < plan->tile_weights ? left : plan->tile_weights;
    const uint8_t *in = plan->weights + begin * size;
    return memcmp(in, plan->weights, size) == 0 && memcmp(in, in + size, (size_t)((weights - 1) * size)) == 0;
}

void ecf8_plan_scan(ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count)
{
    for (uint64_t t = first_tile; t < first_tile + tile_count; t++) {
        plan->tiles[t].same = all_same(plan, t);
        for (unsigned c = 0; c < plan->candidate_count; c++)
            count_symbols(plan, c, t);
    }
}

// Before its last code a lane has taken words until it held at least L bits beyond the codes so far, and a step takes
// one word at most, since no code is longer than a word: so the number of words follows from the lane's bits alone.
static void measure_tile(ecf8_plan *plan, uint64_t t)
{
    ecf8_tile *tile = plan->tiles + t;
    const ecf8_code_table *table = &plan->tables[tile->table].table;
    const unsigned codes = ecf8_codes_per_group(plan->mode);
    const uint32_t groups = ecf8_tile_groups(plan, t);
    uint8_t symbols[SLICE_GROUPS * ECF8_GROUP];
    uint32_t sums[ECF8_LANES] = {0}, n = 0;
    for (uint32_t g = 0; g < groups; g += SLICE_GROUPS) {
        n = groups - g < SLICE_GROUPS ? groups - g : SLICE_GROUPS;
        ecf8_tile_symbols(plan, plan->mode, t, g, n, symbols, NULL);
        plan->encoders->sum(table, symbols, (size_t)n * codes, sums);
    }
    tile->words = 0;
    for (unsigned l = 0; l < ECF8_LANES; l++) {
        const uint8_t symbol = symbols[(n * codes - 1) * ECF8_LANES + l];
        const uint32_t bits = sums[l] & ECF8_SUM_BITS, last = table->entries[symbol] & 15;
        const uint32_t words = (bits - last + plan->code_bits + 15) / 16;
        tile->words += words;
        tile->pads[l] = (uint8_t)(words * 16 - bits);
    }
}

void ecf8_plan_measure(ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count)
{
    for (uint64_t t = first_tile; t < first_tile + tile_count && ecf8_is_coded(plan->mode); t++)
        measure_tile(plan, t);
}

ecf8_layout ecf8_plan_layout(const ecf8_plan *plan)
{
    const bool coded = ecf8_is_coded(plan->mode);
    const ecf8_shape shape = {plan->params.dtype,
                              plan->mode,
                              plan->count,
                              coded ? plan->word_count : 0,
                              plan->tile_weights,
                              coded ? plan->table_count : 0,
                              coded ? (uint32_t)plan->patch_count : 0};
    return ecf8_layout_of(&shape);
}

uint64_t ecf8_plan_size(ecf8_plan *plan)
{
    plan->word_count = 0;
    for (uint64_t t = 0; t < plan->tile_count; t++) {
        plan->tiles[t].word_offset = plan->word_count;
        plan->word_count += plan->tiles[t].words;
    }
    if (plan->mode != ECF8_MODE_CONSTANT &&
        ecf8_plan_layout(plan).total >= ecf8_encode_bound(plan->count, &plan->params))
        plan->mode = ECF8_MODE_RAW;
    return ecf8_plan_layout(plan).total;
}

ecf8_status ecf8_encode(const void *weights, uint64_t count, const ecf8_params *params, void *memory,
                        uint64_t memory_bytes, void *out, uint64_t out_capacity, uint64_t *out_bytes)
{
    if (!out_bytes || !out || !params_fit(count, params) || (!weights && count))
        return ECF8_ERR_ARGUMENT;
    ecf8_plan *plan = ecf8_plan_begin(weights, count, params, memory, memory_bytes);
    if (!plan)
        return ECF8_ERR_SPACE;
    ecf8_plan_scan(plan, 0, plan->tile_count);
    ecf8_plan_decide(plan);
    ecf8_plan_measure(plan, 0, plan->tile_count);
    *out_bytes = ecf8_plan_size(plan);
    if (*out_bytes > out_capacity)
        return ECF8_ERR_SPACE;
    ecf8_plan_pack(plan, 0, plan->tile_count, out);
    ecf8_plan_seal(plan, out);
    return ECF8_OK;
}
