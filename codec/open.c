// Opening a container: every metadata field is checked here, so that the decoders can trust them.
#include "codec/format.h"

ecf8_status ecf8_fail(ecf8_error *error, ecf8_status status, uint64_t offset_bytes, uint64_t tile, const char *what)
{
    if (error)
        *error = (ecf8_error){status, offset_bytes, tile, what};
    return status;
}

const char *ecf8_status_name(ecf8_status status)
{
    switch (status) {
    case ECF8_OK: return "ECF8_OK";
    case ECF8_ERR_ARGUMENT: return "ECF8_ERR_ARGUMENT";
    case ECF8_ERR_SPACE: return "ECF8_ERR_SPACE";
    case ECF8_ERR_CPU: return "ECF8_ERR_CPU";
    case ECF8_ERR_TRUNCATED: return "ECF8_ERR_TRUNCATED";
    case ECF8_ERR_MAGIC: return "ECF8_ERR_MAGIC";
    case ECF8_ERR_VERSION: return "ECF8_ERR_VERSION";
    case ECF8_ERR_HEADER: return "ECF8_ERR_HEADER";
    case ECF8_ERR_META_CHECKSUM: return "ECF8_ERR_META_CHECKSUM";
    case ECF8_ERR_TABLE: return "ECF8_ERR_TABLE";
    case ECF8_ERR_DIRECTORY: return "ECF8_ERR_DIRECTORY";
    case ECF8_ERR_PATCH: return "ECF8_ERR_PATCH";
    case ECF8_ERR_PADDING: return "ECF8_ERR_PADDING";
    case ECF8_ERR_STREAM: return "ECF8_ERR_STREAM";
    case ECF8_ERR_DATA_CHECKSUM: return "ECF8_ERR_DATA_CHECKSUM";
    }
    return "unknown";
}

size_t ecf8_dtype_bytes(ecf8_dtype dtype)
{
    switch (dtype) {
    case ECF8_E4M3:
    case ECF8_E5M2: return 1;
    case ECF8_BF16:
    case ECF8_F16: return 2;
    }
    return 0;
}

ecf8_layout ecf8_layout_of(const ecf8_shape *s)
{
    ecf8_layout at = {0};
    const bool coded = ecf8_is_coded(s->mode);
    if (s->mode != ECF8_MODE_CONSTANT && s->count)
        at.tile_count = (s->count - 1) / s->tile_weights + 1;
    at.groups = (s->count + ECF8_GROUP - 1) / ECF8_GROUP;
    at.tables = ECF8_HEADER_BYTES;
    at.directory = at.tables + (uint64_t)s->table_count * ECF8_TABLE_BYTES;
    at.patches = at.directory + (coded ? (at.tile_count + 1) * ECF8_ENTRY_BYTES : at.tile_count * ECF8_RAW_ENTRY_BYTES);
    at.meta_end = ecf8_align_up(at.patches + (uint64_t)s->patch_count * ECF8_PATCH_BYTES);
    at.plane = at.meta_end;
    if (s->mode == ECF8_MODE_RAW)
        at.words = at.plane + s->count * ecf8_dtype_bytes(s->dtype);
    else
        at.words = at.plane + (coded ? at.groups * ecf8_plane_group_bytes(s->dtype, s->mode) : 0);
    at.words_end = at.words + s->word_count * 2;
    at.total = coded ? ecf8_align_up(at.words_end) : at.words_end;
    return at;
}

uint32_t ecf8_meta_crc(const uint8_t *blob, uint64_t meta_end)
{
    const uint32_t crc = ecf8_crc32c(0, blob, ECF8_AT_META_CRC);
    return ecf8_crc32c(crc, blob + ECF8_HEADER_BYTES, (size_t)(meta_end - ECF8_HEADER_BYTES));
}

bool ecf8_canonical_codes(const uint8_t lengths[ECF8_SYMBOLS], unsigned code_bits, uint16_t codes[ECF8_SYMBOLS])
{
    uint32_t code = 0;
    for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
        if (lengths[s] > code_bits)
            return false;
    for (unsigned length = 1; length <= code_bits; length++) {
        code <<= 1;
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
            if (lengths[s] == length)
                codes[s] = (uint16_t)code++;
        if (code > UINT32_C(1) << length) // more codes than there are: they would not fit their 16 bits either
            return false;
    }
    return code == UINT32_C(1) << code_bits; // Kraft's sum is exactly 1
}

static const char *check_header(const uint8_t *h, ecf8_view *v)
{
    const bool coded = ecf8_is_coded(v->mode);
    if (!ecf8_dtype_bytes(v->dtype))
        return "a dtype of 1 to 4";
    if (v->mode > ECF8_MODE_SINGLES)
        return "a mode of 0 to 3";
    if (v->mode == ECF8_MODE_PAIRS && v->dtype != ECF8_E4M3)
        return "E4M3 weights for pairs";
    if (v->count > ECF8_MAX_COUNT)
        return "a count of at most 2^48";
    uint64_t product;
    if (__builtin_mul_overflow(v->rows, v->cols, &product) || (product != v->count && (v->rows || v->cols)))
        return "rows times columns to be the count, or both 0";
    if (v->mode == ECF8_MODE_CONSTANT
            ? v->tile_weights != 0
            : v->tile_weights < ECF8_GROUP || v->tile_weights > ECF8_MAX_TILE || v->tile_weights % ECF8_GROUP)
        return "tiles of 128 to 65536 weights, in steps of 128";
    if (coded ? v->code_bits < 1 || v->code_bits > ECF8_MAX_CODE_BITS : v->code_bits != 0)
        return "codes of 1 to 12 bits";
    if (coded ? v->table_count < 1 || v->table_count > ECF8_MAX_TABLES : v->table_count != 0)
        return "1 to 8 tables";
    if (coded ? v->count == 0 : v->word_count != 0 || v->patch_count != 0)
        return "words and patches in coded tensors only, and those not empty";
    if (v->word_count > 2 * ECF8_MAX_COUNT)
        return "at most 2^49 words";
    if (v->constant && (v->mode != ECF8_MODE_CONSTANT || (ecf8_dtype_bytes(v->dtype) == 1 && v->constant > 255)))
        return "no constant, or one that fits the dtype";
    if (h[ECF8_AT_ZERO1] || ecf8_load64(h + ECF8_AT_ZERO2))
        return "zeros in the reserved bytes";
    return NULL;
}

static void read_header(const uint8_t *h, ecf8_view *v)
{
    v->dtype = (ecf8_dtype)h[ECF8_AT_DTYPE];
    v->mode = (ecf8_mode)h[ECF8_AT_MODE];
    v->code_bits = h[ECF8_AT_CODE_BITS];
    v->count = ecf8_load64(h + ECF8_AT_COUNT);
    v->rows = ecf8_load64(h + ECF8_AT_ROWS);
    v->cols = ecf8_load64(h + ECF8_AT_COLS);
    v->tile_weights = ecf8_load32(h + ECF8_AT_TILE_WEIGHTS);
    v->table_count = h[ECF8_AT_TABLE_COUNT];
    v->constant = ecf8_load16(h + ECF8_AT_CONSTANT);
    v->word_count = ecf8_load64(h + ECF8_AT_WORD_COUNT);
    v->patch_count = ecf8_load32(h + ECF8_AT_PATCH_COUNT);
}

static ecf8_status check_tables(const ecf8_view *v, ecf8_error *error)
{
    for (uint32_t t = 0; t < v->table_count; t++) {
        const uint8_t *table = v->tables + t * ECF8_TABLE_BYTES;
        uint8_t lengths[ECF8_SYMBOLS];
        uint16_t codes[ECF8_SYMBOLS];
        for (unsigned s = 0; s < ECF8_SYMBOLS; s++)
            lengths[s] = ecf8_code_length(table, s);
        if (!ecf8_canonical_codes(lengths, v->code_bits, codes))
            return ecf8_fail(error, ECF8_ERR_TABLE, (uint64_t)(table - v->blob), ECF8_NO_TILE,
                             "code lengths of a complete prefix code");
    }
    return ECF8_OK;
}

static bool patches_in_order(const uint8_t *patches, uint32_t count, uint32_t places)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t place = ecf8_load16(patches + (size_t)i * ECF8_PATCH_BYTES);
        if (place < next || place >= places)
            return false;
        next = place + 1;
    }
    return true;
}

static ecf8_status check_directory(const ecf8_view *v, ecf8_error *error)
{
    ecf8_entry a = ecf8_entry_of(v->directory, 0);
    const ecf8_entry last = ecf8_entry_of(v->directory, v->tile_count);
    const uint64_t at = (uint64_t)(v->directory - v->blob);
    if (a.word_offset || a.patch_begin)
        return ecf8_fail(error, ECF8_ERR_DIRECTORY, at, 0, "the first tile at the start of words and patches");
    if (last.word_offset != v->word_count || last.patch_begin != v->patch_count || last.table || last.crc)
        return ecf8_fail(error, ECF8_ERR_DIRECTORY, at + v->tile_count * ECF8_ENTRY_BYTES, ECF8_NO_TILE,
                         "an end entry at the end of words and patches");
    for (uint64_t t = 0; t < v->tile_count; t++) {
        const ecf8_entry b = ecf8_entry_of(v->directory, t + 1);
        const uint64_t where = at + t * ECF8_ENTRY_BYTES;
        if (b.word_offset < a.word_offset || b.patch_begin < a.patch_begin || a.table >= v->table_count ||
            b.word_offset > v->word_count || b.patch_begin > v->patch_count)
            return ecf8_fail(error, ECF8_ERR_DIRECTORY, where, t, "offsets in order and a table that is there");
        const uint64_t left = v->count - t * v->tile_weights;
        const uint32_t weights = left < v->tile_weights ? (uint32_t)left : v->tile_weights;
        const uint32_t per_code = v->mode == ECF8_MODE_PAIRS ? 2 : 1;
        const uint32_t groups = (weights + ECF8_GROUP - 1) / ECF8_GROUP;
        const uint8_t *patches = v->patches + (size_t)a.patch_begin * ECF8_PATCH_BYTES;
        if (!patches_in_order(patches, b.patch_begin - a.patch_begin, groups * ECF8_GROUP / per_code))
            return ecf8_fail(error, ECF8_ERR_PATCH, (uint64_t)(patches - v->blob), t,
                             "patches in rising order of place, inside the tile");
        a = b;
    }
    return ECF8_OK;
}

static bool all_zero(const uint8_t *p, uint64_t size)
{
    uint8_t any = 0;
    for (uint64_t i = 0; i < size; i++)
        any |= p[i];
    return !any;
}

static void place_sections(ecf8_view *v, const ecf8_layout *at)
{
    const bool coded = ecf8_is_coded(v->mode);
    v->tile_count = at->tile_count;
    v->directory = v->tile_count ? v->blob + at->directory : NULL;
    v->plane_bytes = at->words - at->plane;
    v->plane = v->plane_bytes ? v->blob + at->plane : NULL;
    if (coded) {
        v->tables = v->blob + at->tables;
        v->patches = v->blob + at->patches;
        v->words = v->blob + at->words;
    }
}

ecf8_status ecf8_open(const void *blob, uint64_t blob_bytes, ecf8_view *view, ecf8_error *error)
{
    if (!view || (!blob && blob_bytes))
        return ecf8_fail(error, ECF8_ERR_ARGUMENT, 0, ECF8_NO_TILE, "a blob and a view to fill");
    const uint8_t *h = blob;
    if (blob_bytes < ECF8_HEADER_BYTES)
        return ecf8_fail(error, ECF8_ERR_TRUNCATED, blob_bytes, ECF8_NO_TILE, "a header of 64 bytes");
    if (memcmp(h, "ECF8", 4) != 0)
        return ecf8_fail(error, ECF8_ERR_MAGIC, 0, ECF8_NO_TILE, "the letters ECF8");
    if (h[ECF8_AT_VERSION] != ECF8_FORMAT_VERSION)
        return ecf8_fail(error, ECF8_ERR_VERSION, ECF8_AT_VERSION, ECF8_NO_TILE, "format version 1");
    ecf8_view v = {.blob = blob, .blob_bytes = blob_bytes};
    read_header(h, &v);
    const char *expected = check_header(h, &v);
    if (expected)
        return ecf8_fail(error, ECF8_ERR_HEADER, ECF8_AT_DTYPE, ECF8_NO_TILE, expected);
    const ecf8_shape shape = {
        v.dtype, v.mode, v.count, v.word_count, v.tile_weights, v.table_count, (uint32_t)v.patch_count};
    const ecf8_layout at = ecf8_layout_of(&shape);
    if (blob_bytes < at.total)
        return ecf8_fail(error, ECF8_ERR_TRUNCATED, blob_bytes, ECF8_NO_TILE, "as many bytes as the header says");
    if (blob_bytes > at.total)
        return ecf8_fail(error, ECF8_ERR_PADDING, at.total, ECF8_NO_TILE, "the end of the blob");
    if (ecf8_meta_crc(h, at.meta_end) != ecf8_load32(h + ECF8_AT_META_CRC))
        return ecf8_fail(error, ECF8_ERR_META_CHECKSUM, ECF8_AT_META_CRC, ECF8_NO_TILE, "metadata of this CRC32C");
    place_sections(&v, &at);
    const uint64_t meta_used = at.patches + v.patch_count * ECF8_PATCH_BYTES;
    if (!all_zero(h + meta_used, at.meta_end - meta_used))
        return ecf8_fail(error, ECF8_ERR_PADDING, meta_used, ECF8_NO_TILE, "zeros up to the plane");
    if (!all_zero(h + at.words_end, at.total - at.words_end))
        return ecf8_fail(error, ECF8_ERR_PADDING, at.words_end, ECF8_NO_TILE, "zeros after the words");
    if (ecf8_is_coded(v.mode)) {
        ecf8_status status = check_tables(&v, error);
        if (!status)
            status = check_directory(&v, error);
        if (status)
            return status;
    }
    *view = v;
    return ECF8_OK;
}
