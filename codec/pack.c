// Writing tiles, backwards and in chunks (see encode.h), and what stands before them.
#include "codec/plan.h"

enum { CHUNK_BYTES = ECF8_CHUNK_GROUPS * ECF8_GROUP * 2 }; // most that a chunk gives: a word for each code

// Where a tile is written to, from behind. Nothing is written before the beginnings, not even if the weights change
// while they are encoded, which is found when the blob is verified.
typedef struct sink {
    uint8_t *words, *words_end;
    uint8_t *patches, *patches_end;
} sink;

static void put_words(sink *to, const uint8_t *from, size_t bytes)
{
    if (bytes > (size_t)(to->words_end - to->words))
        bytes = (size_t)(to->words_end - to->words);
    to->words_end -= bytes;
    memcpy(to->words_end, from, bytes);
}

// The patches of group `g`, whose symbols are given, last first.
static void put_patches(sink *to, const uint32_t entries[ECF8_SYMBOLS], const uint8_t *symbols, unsigned codes,
                        uint32_t g)
{
    for (unsigned i = codes * ECF8_LANES; i-- > 0 && to->patches_end > to->patches;) { // in weight order
        const uint8_t symbol = symbols[i % codes * ECF8_LANES + i / codes];
        if (!(entries[symbol] & ECF8_ENTRY_PATCHED))
            continue;
        to->patches_end -= ECF8_PATCH_BYTES;
        ecf8_store16(to->patches_end, (uint16_t)(g * codes * ECF8_LANES + i));
        to->patches_end[2] = symbol;
    }
}

static void pack_words(const ecf8_plan *plan, uint64_t t, sink *to, uint8_t *plane)
{
    const ecf8_tile *tile = plan->tiles + t;
    const ecf8_code_table *table = &plan->tables[tile->table].table;
    const unsigned codes = ecf8_codes_per_group(plan->mode);
    const unsigned plane_bytes = ecf8_plane_group_bytes(plan->params.dtype, plan->mode);
    uint8_t symbols[ECF8_CHUNK_GROUPS * ECF8_GROUP], words[16 + CHUNK_BYTES];
    uint8_t *const words_end = words + sizeof words;
    ecf8_packer packer = {.table = table, .code_bits = plan->code_bits};
    for (unsigned l = 0; l < ECF8_LANES; l++)
        packer.valid[l] = tile->pads[l];
    for (uint32_t end = ecf8_tile_groups(plan, t), first; end; end = first) {
        first = (end - 1) / ECF8_CHUNK_GROUPS * ECF8_CHUNK_GROUPS;
        ecf8_tile_symbols(plan, plan->mode, t, first, end - first, symbols, plane + (size_t)first * plane_bytes);
        packer.end = words_end;
        const uint32_t patched = plan->encoders->pack(&packer, symbols, codes, end - first);
        put_words(to, packer.end, (size_t)(words_end - packer.end));
        for (uint32_t g = end - first; patched && g-- > 0;)
            if (patched >> g & 1)
                put_patches(to, table->entries, symbols + (size_t)g * codes * ECF8_LANES, codes, first + g);
    }
    for (unsigned l = 0; l < ECF8_LANES; l++) // what the first step takes: a word for each lane
        ecf8_store16(words + l * 2, (uint16_t)packer.window[l]);
    put_words(to, words, ECF8_LANES * 2);
}

// Where a range of tiles is packed to: the front of the blob, and its data, from these offsets in the blob on.
typedef struct places {
    uint8_t *front, *plane, *words;
    uint64_t plane_offset, words_offset;
} places;

static void pack_tile(const ecf8_plan *plan, const ecf8_layout *at, uint64_t t, const places *out)
{
    const ecf8_tile *tile = plan->tiles + t;
    const uint64_t first_group = t * (plan->tile_weights / ECF8_GROUP);
    const uint64_t plane = at->plane + first_group * ecf8_plane_group_bytes(plan->params.dtype, plan->mode);
    sink to = {.words = out->words + (at->words + tile->word_offset * 2 - out->words_offset),
               .patches = out->front + at->patches + (size_t)tile->patch_begin * ECF8_PATCH_BYTES};
    to.words_end = to.words + (size_t)tile->words * 2;
    to.patches_end = to.patches + (size_t)tile->patches * ECF8_PATCH_BYTES;
    pack_words(plan, t, &to, out->plane + (plane - out->plane_offset));
    uint8_t *entry = out->front + at->directory + t * ECF8_ENTRY_BYTES;
    ecf8_store64(entry, tile->word_offset | (uint64_t)tile->table << 48);
    ecf8_store32(entry + 8, tile->patch_begin);
    ecf8_store32(entry + 12, ecf8_tile_crc(plan, t));
}

static void copy_tile(const ecf8_plan *plan, const ecf8_layout *at, uint64_t t, const places *out)
{
    const size_t size = ecf8_dtype_bytes(plan->params.dtype);
    const uint64_t begin = t * plan->tile_weights, left = plan->count - begin;
    const uint64_t weights = left < plan->tile_weights ? left : plan->tile_weights;
    uint8_t *to = out->plane + (at->plane + begin * size - out->plane_offset);
    memcpy(to, plan->weights + begin * size, (size_t)(weights * size));
    ecf8_store32(out->front + at->directory + t * ECF8_RAW_ENTRY_BYTES, ecf8_tile_crc(plan, t));
}

static void pack_tiles(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, const places *out)
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    for (uint64_t t = first_tile; t < first_tile + tile_count; t++) {
        if (plan->mode == ECF8_MODE_RAW)
            copy_tile(plan, &at, t, out);
        else if (plan->mode != ECF8_MODE_CONSTANT)
            pack_tile(plan, &at, t, out);
    }
}

void ecf8_plan_pack(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, void *out)
{
    const places all = {out, out, out, 0, 0};
    pack_tiles(plan, first_tile, tile_count, &all);
}

void ecf8_plan_pack_apart(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, void *front, void *data)
{
    ecf8_extent extents[2];
    ecf8_plan_extents(plan, first_tile, tile_count, extents);
    const places apart = {front, data, (uint8_t *)data + extents[0].size_bytes, extents[0].offset_bytes,
                          extents[1].offset_bytes};
    pack_tiles(plan, first_tile, tile_count, &apart);
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

void ecf8_plan_seal_front(const ecf8_plan *plan, void *front)
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    uint8_t *out = front;
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
    }
    memset(out + meta_used, 0, (size_t)(at.meta_end - meta_used));
    ecf8_store32(out + ECF8_AT_META_CRC, ecf8_meta_crc(out, at.meta_end));
}

void ecf8_plan_seal(const ecf8_plan *plan, void *out)
{
    const ecf8_layout at = ecf8_plan_layout(plan);
    ecf8_plan_seal_front(plan, out);
    if (ecf8_is_coded(plan->mode))
        memset((uint8_t *)out + at.words_end, 0, (size_t)(at.total - at.words_end));
}
