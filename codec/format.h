// The container's layout (docs/FORMAT.md) and what the files of libecf8 share. Not installed.
#ifndef ECF8_FORMAT_H
#define ECF8_FORMAT_H

#include <stdbool.h>
#include <string.h>

#include "codec/ecf8.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libecf8 needs a little-endian machine"
#endif

enum {
    ECF8_LANES = 32,
    ECF8_SYMBOLS = 256,
    ECF8_ALIGN = 64,

    // Header fields, by offset.
    ECF8_AT_MAGIC = 0,         // "ECF8"
    ECF8_AT_VERSION = 4,       // u8
    ECF8_AT_DTYPE = 5,         // u8
    ECF8_AT_MODE = 6,          // u8
    ECF8_AT_CODE_BITS = 7,     // u8
    ECF8_AT_COUNT = 8,         // u64
    ECF8_AT_ROWS = 16,         // u64
    ECF8_AT_COLS = 24,         // u64
    ECF8_AT_TILE_WEIGHTS = 32, // u32
    ECF8_AT_TABLE_COUNT = 36,  // u8
    ECF8_AT_ZERO1 = 37,        // u8
    ECF8_AT_CONSTANT = 38,     // u16
    ECF8_AT_WORD_COUNT = 40,   // u64
    ECF8_AT_PATCH_COUNT = 48,  // u32
    ECF8_AT_ZERO2 = 52,        // 8 bytes
    ECF8_AT_META_CRC = 60,     // u32
    ECF8_HEADER_BYTES = 64,

    ECF8_TABLE_BYTES = ECF8_SYMBOLS / 2,
    ECF8_ENTRY_BYTES = 16,    // of the directory, coded modes
    ECF8_RAW_ENTRY_BYTES = 4, // of the directory, raw mode
    ECF8_PATCH_BYTES = 3,
    ECF8_FORMAT_VERSION = 1,
};

#define ECF8_MAX_COUNT (UINT64_C(1) << 48)

static inline uint16_t ecf8_load16(const void *p)
{
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t ecf8_load32(const void *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t ecf8_load64(const void *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void ecf8_store16(void *p, uint16_t x)
{
    memcpy(p, &x, sizeof x);
}

static inline void ecf8_store32(void *p, uint32_t x)
{
    memcpy(p, &x, sizeof x);
}

static inline void ecf8_store64(void *p, uint64_t x)
{
    memcpy(p, &x, sizeof x);
}

static inline uint64_t ecf8_align_up(uint64_t x)
{
    return (x + ECF8_ALIGN - 1) & ~(uint64_t)(ECF8_ALIGN - 1);
}

static inline bool ecf8_is_coded(ecf8_mode mode)
{
    return mode == ECF8_MODE_PAIRS || mode == ECF8_MODE_SINGLES;
}

// Codes that a lane decodes for a group of 128 weights (4 weights a lane).
static inline unsigned ecf8_codes_per_group(ecf8_mode mode)
{
    return mode == ECF8_MODE_PAIRS ? 2 : 4;
}

// Bytes of the plane for a group.
static inline unsigned ecf8_plane_group_bytes(ecf8_dtype dtype, ecf8_mode mode)
{
    if (mode == ECF8_MODE_PAIRS)
        return ECF8_GROUP / 2;
    return dtype == ECF8_BF16 || dtype == ECF8_F16 ? ECF8_GROUP : 0;
}

// Where the sections lie; all from a header whose fields are in range.
typedef struct ecf8_layout {
    uint64_t tile_count, groups;
    uint64_t tables, directory, patches, meta_end; // offsets
    uint64_t plane, words, words_end, total;
} ecf8_layout;

typedef struct ecf8_shape {
    ecf8_dtype dtype;
    ecf8_mode mode;
    uint64_t count, word_count;
    uint32_t tile_weights, table_count, patch_count;
} ecf8_shape;

// No overflow: count is at most ECF8_MAX_COUNT and word_count at most twice that.
ecf8_layout ecf8_layout_of(const ecf8_shape *shape);

typedef struct ecf8_entry {
    uint64_t word_offset;
    uint32_t table, patch_begin, crc;
} ecf8_entry;

// Entry `tile` of the directory of a coded blob; entry tile_count ends the last tile.
static inline ecf8_entry ecf8_entry_of(const uint8_t *directory, uint64_t tile)
{
    const uint8_t *p = directory + tile * ECF8_ENTRY_BYTES;
    const uint64_t word = ecf8_load64(p);
    const uint64_t word_offset = word & ((UINT64_C(1) << 48) - 1);
    return (ecf8_entry){word_offset, (uint32_t)(word >> 48), ecf8_load32(p + 8), ecf8_load32(p + 12)};
}

static inline uint8_t ecf8_code_length(const uint8_t *table, unsigned symbol)
{
    return (uint8_t)(table[symbol / 2] >> (symbol % 2 * 4) & 15);
}

// Canonical Huffman codes: shorter codes first, then smaller symbols; codes[s] is right-justified. Returns false unless
// the lengths (0: no code) are a complete prefix code of at most `code_bits` bits.
bool ecf8_canonical_codes(const uint8_t lengths[ECF8_SYMBOLS], unsigned code_bits, uint16_t codes[ECF8_SYMBOLS]);

ecf8_status ecf8_fail(ecf8_error *error, ecf8_status status, uint64_t offset_bytes, uint64_t tile, const char *what);

// CRC32C over header and metadata, without the field that holds it.
uint32_t ecf8_meta_crc(const uint8_t *blob, uint64_t meta_end);

#endif
