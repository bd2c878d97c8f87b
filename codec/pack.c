// Writing tiles: each lane's codes are packed on their own, then the lanes' words are put in the order in which
// decoding takes them.
#include "codec/plan.h"

#define BYTES(x) ((uint64_t)(x)*UINT64_C(0x0101010101010101))

enum {
    TILE_GROUPS = 65536 / ECF8_GROUP,
    LANE_BYTES = TILE_GROUPS * 4 * ECF8_MAX_CODE_BITS / 8 + 32, // 12 bits for each code, and what a store writes beyond
};

typedef struct lanes {
    uint8_t bits[ECF8_LANES][LANE_BYTES];      // most significant bit first
    uint8_t symbols[TILE_GROUPS * ECF8_GROUP]; // [step][lane]; replaced by the code lengths
} lanes;

// Packs the codes, writes the patches, and leaves the lengths in place of the symbols.
static void pack_lanes(const ecf8_plan *plan, const ecf8_tile *tile, uint32_t groups, lanes *w, uint8_t *patches)
{
    const ecf8_code *code = plan->tables + tile->table;
    const unsigned codes = ecf8_codes_per_group(plan->mode);
    uint64_t held[ECF8_LANES] = {0}; // left-justified
    uint32_t count[ECF8_LANES] = {0};
    uint8_t *to[ECF8_LANES];
    for (unsigned l = 0; l < ECF8_LANES; l++)
        to[l] = w->bits[l];
    for (uint32_t g = 0; g < groups; g++) {
        uint8_t *group = w->symbols + (size_t)g * codes * ECF8_LANES;
        for (unsigned l = 0; l < ECF8_LANES; l++) {
            uint64_t bits = held[l];
            uint32_t n = count[l];
            for (unsigned j = 0; j < codes; j++) {
                unsigned symbol = group[j * ECF8_LANES + l];
                if (!code->lengths[symbol]) {
                    ecf8_store16(patches, (uint16_t)((g * ECF8_LANES + l) * codes + j));
                    patches[2] = (uint8_t)symbol;
                    patches += ECF8_PATCH_BYTES;
                    symbol = code->fill;
                }
                const uint32_t length = code->lengths[symbol];
                n += length;
                bits |= (uint64_t)code->codes[symbol] << (64 - n); // at most 7 + 4 * 12 bits are held
                group[j * ECF8_LANES + l] = (uint8_t)length;
            }
            ecf8_store64(to[l], __builtin_bswap64(bits));
            to[l] += n / 8;
            held[l] = bits << (n & ~7U);
            count[l] = n & 7;
        }
    }
    for (unsigned l = 0; l < ECF8_LANES; l++) { // the last byte, and zeros for words that only pad
        memset(to[l], 0, 16);
        to[l][0] = (uint8_t)(held[l] >> 56);
    }
}

// Follows the decoder's counts of valid bits (as bytes, see lanes_scalar.c) and hands the lanes' words out.
static uint8_t *interleave(const lanes *w, unsigned steps, unsigned code_bits, uint8_t *out)
{
    uint64_t valid[4] = {0};
    const uint8_t *from[ECF8_LANES];
    for (unsigned l = 0; l < ECF8_LANES; l++)
        from[l] = w->bits[l];
    for (unsigned s = 0; s < steps; s++)
        for (unsigned q = 0; q < 4; q++) {
            uint64_t wanting = ~(valid[q] + BYTES(128 - code_bits)) & BYTES(128);
            valid[q] += wanting >> 3;
            for (; wanting; wanting &= wanting - 1) {
                const unsigned l = q * 8 + (unsigned)__builtin_ctzll(wanting) / 8;
                ecf8_store16(out, __builtin_bswap16(ecf8_load16(from[l])));
                from[l] += 2;
                out += 2;
            }
            valid[q] -= ecf8_load64(w->symbols + (size_t)s * ECF8_LANES + q * 8);
        }
    return out;
}

static void pack_tile(const ecf8_plan *plan, const ecf8_layout *at, uint64_t t, uint8_t *out)
{
    lanes w;
    const ecf8_tile *tile = plan->tiles + t;
    const uint32_t groups = ecf8_tile_groups(plan, t);
    const unsigned plane_bytes = ecf8_plane_group_bytes(plan->params.dtype, plan->mode);
    const uint64_t first_group = t * (plan->tile_weights / ECF8_GROUP);
    ecf8_tile_symbols(plan, plan->mode, t, 0, groups, w.symbols, out + at->plane + first_group * plane_bytes);
    pack_lanes(plan, tile, groups, &w, out + at->patches + (size_t)tile->patch_begin * ECF8_PATCH_BYTES);
    interleave(&w, groups * ecf8_codes_per_group(plan->mode), plan->code_bits, out + at->words + tile->word_offset * 2);
    uint8_t *entry = out + at->directory + t * ECF8_ENTRY_BYTES;
    ecf8_store64(entry, tile->word_offset | (uint64_t)tile->table << 48);
    ecf8_store32(entry + 8, tile->patch_begin);
    ecf8_store32(entry + 12, ecf8_tile_crc(plan, t));
}

static void copy_tile(const ecf8_plan *plan, const ecf8_layout *at, uint64_t t, uint8_t *out)
{
    const size_t size = ecf8_dtype_bytes(plan->params.dtype);
    const uint64_t begin = t * plan->tile_weights, left = plan->count - begin;
    const uint64_t weights = left < plan->tile_weights ? left : plan->tile_weights;
    memcpy(out + at->plane + begin * size, plan->weights + begin * size, (size_t)(weights * size));
    ecf8_store32(out + at->directory + t * ECF8_RAW_ENTRY_BYTES, ecf8_tile_crc(plan, t));
}

void ecf8_plan_pack(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, void *out)
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    for (uint64_t t = first_tile; t < first_tile + tile_count; t++) {
        if (plan->mode == ECF8_MODE_RAW)
            copy_tile(plan, &at, t, out);
        else if (plan->mode != ECF8_MODE_CONSTANT)
            pack_tile(plan, &at, t, out);
    }
}

static void write_header(const ecf8_plan *plan, uint8_t *h)
{
    const bool coded = ecf8_is_coded(plan->mode), constant = plan->mode == ECF8_MODE_CONSTANT;
    memset(h, 0, ECF8_HEADER_BYTES);
    memcpy(h, "ECF8", 4);
    h[ECF8_AT_VERSION] = ECF8_FORMAT_VERSION;
    h[ECF8_AT_DTYPE] = (uint8_t)plan->params.dtype;
    h[ECF8_AT_MODE] = (uint8_t)plan->mode;
    ecf8_store64(h + ECF8_AT_COUNT, plan->count);
    ecf8_store64(h + ECF8_AT_ROWS, plan->params.rows);
    ecf8_store64(h + ECF8_AT_COLS, plan->params.cols);
    ecf8_store32(h + ECF8_AT_TILE_WEIGHTS, constant ? 0 : plan->tile_weights);
    if (constant && plan->count)
        memcpy(h + ECF8_AT_CONSTANT, plan->weights, ecf8_dtype_bytes(plan->params.dtype));
    if (coded) {
        h[ECF8_AT_CODE_BITS] = (uint8_t)plan->code_bits;
        h[ECF8_AT_TABLE_COUNT] = (uint8_t)plan->table_count;
        ecf8_store64(h + ECF8_AT_WORD_COUNT, plan->word_count);
        ecf8_store32(h + ECF8_AT_PATCH_COUNT, (uint32_t)plan->patch_count);
    }
}

void ecf8_plan_seal(const ecf8_plan *plan, void *blob)
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    uint8_t *out = blob;
    uint64_t meta_used = at.patches;
    write_header(plan, out);
    if (ecf8_is_coded(plan->mode)) {
        for (uint32_t t = 0; t < plan->table_count; t++)
            for (unsigned s = 0; s < ECF8_SYMBOLS; s += 2)
                out[at.tables + (uint64_t)t * ECF8_TABLE_BYTES + s / 2] =
                    (uint8_t)(plan->tables[t].lengths[s] | plan->tables[t].lengths[s + 1] << 4);
        uint8_t *end = out + at.directory + plan->tile_count * ECF8_ENTRY_BYTES;
        ecf8_store64(end, plan->word_count);
        ecf8_store32(end + 8, (uint32_t)plan->patch_count);
        ecf8_store32(end + 12, 0);
        meta_used += plan->patch_count * ECF8_PATCH_BYTES;
        memset(out + at.words_end, 0, (size_t)(at.total - at.words_end));
    }
    memset(out + meta_used, 0, (size_t)(at.meta_end - meta_used));
    ecf8_store32(out + ECF8_AT_META_CRC, ecf8_meta_crc(out, at.meta_end));
}
