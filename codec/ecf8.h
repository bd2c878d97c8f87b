// libecf8: lossless coding of the weights of neural networks, FP8 (E4M3, E5M2) and 16-bit (BF16, F16).
//
// The exponents of trained weights carry two to three bits of information, so they are Huffman-coded; sign and
// mantissa are near to random and are stored as they are. One container ("blob") holds one tensor; its bytes are
// specified in docs/FORMAT.md. It is cut into tiles that decode independently of each other, so that a range of rows
// is decoded without the rest, and any number of threads share the work.
//
// Decoding, in four calls:
//
//     ecf8_view view;
//     ecf8_error error;
//     ecf8_open(blob, blob_bytes, &view, &error);                            // checks all metadata
//     void *memory = malloc(ecf8_decoder_bytes(&view));                      // decoding tables, at most 65 KiB
//     ecf8_decoder decoder;
//     ecf8_decoder_init(&decoder, &view, memory, ecf8_decoder_bytes(&view), ECF8_CPU_AUTO, &error);
//     ecf8_decode(&decoder, out, out_bytes, ECF8_VERIFY, &error);            // or _weights, _rows
//
// Encoding, in one call (ecf8_encode), or spread over threads with ecf8_plan_*.
//
// Memory: the library never allocates and keeps nothing. The caller gives memory of the sizes that ecf8_*_bytes name, and
// there is nothing to free; decoding uses up to 64 KiB of stack besides, encoding up to 96 KiB.
// Threads: there is no global state. An ecf8_view and an ecf8_decoder are not changed after they were made: any number
// of threads may decode from one at the same time, into memory that does not overlap. ECF8_CPU_AUTO and encoding read the
// environment (getenv): a program must not change it meanwhile.
// Units: a name with _bytes counts bytes, `offset_bytes` from the start of the blob; `count`, `first` and `tile_weights`
// count weights. Weights are little endian and row-major.
// Compatibility: numbers of enums stay as they are; types and calls change only with the first number of the version,
// which is the shared library's (libecf8.so.1). Link with pkg-config ecf8, or CMake's ecf8::ecf8 and ecf8::ecf8_static.
// Hostile input: every field is checked before use; no blob, whatever its bytes, makes the library read or write
// outside what it was given. Every changed bit and every truncation of a blob is found by ecf8_open or by decoding
// with ECF8_VERIFY.
// Errors: functions return an ecf8_status; ECF8_OK is 0. Where an ecf8_error is taken it may be NULL.
// The machine must be little endian, as the format is.
#ifndef ECF8_H
#define ECF8_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ECF8_API __attribute__((visibility("default")))
#else
#define ECF8_API
#endif

// Of the library, in semantic versioning; the container has a version of its own. ecf8_version() is that of the library
// in use, which may be another than that of this header: 0x010203 for 1.2.3.
#define ECF8_VERSION_MAJOR 1
#define ECF8_VERSION_MINOR 0
#define ECF8_VERSION_PATCH 0
#define ECF8_VERSION (UINT32_C(0x10000) * ECF8_VERSION_MAJOR + UINT32_C(0x100) * ECF8_VERSION_MINOR + ECF8_VERSION_PATCH)
ECF8_API uint32_t ecf8_version(void);

// ---------------------------------------------------------------- errors

// The numbers are a contract: they do not change, new ones are added.
typedef enum ecf8_status {
    ECF8_OK = 0,
    ECF8_ERR_ARGUMENT = 1,       // the call makes no sense: a NULL, a range outside the tensor, an unknown option
    ECF8_ERR_SPACE = 2,          // the memory given is too small
    ECF8_ERR_CPU = 3,            // the CPU level asked for is not to be had here, or ECD_CPU names none
    ECF8_ERR_TRUNCATED = 10,     // the blob is shorter than its header says
    ECF8_ERR_MAGIC = 11,         // not an ECF8 blob
    ECF8_ERR_VERSION = 12,       // an ECF8 blob of a later version
    ECF8_ERR_HEADER = 13,        // a header field has a value that it cannot have
    ECF8_ERR_META_CHECKSUM = 14, // header, tables, directory or patches were changed
    ECF8_ERR_TABLE = 15,         // a table's code lengths are not a complete prefix code
    ECF8_ERR_DIRECTORY = 16,     // a directory entry lies: offsets not in order or outside, no such table
    ECF8_ERR_PATCH = 17,         // a patch lies: outside the tile, not in order, or on a weight that it may not change
    ECF8_ERR_PADDING = 18,       // bytes that must be zero are not, or the blob is longer than its header says
    ECF8_ERR_STREAM = 19,        // a tile's coded words end too early, too late, or not in zeros
    ECF8_ERR_DATA_CHECKSUM = 20, // the decoded weights are not those that were encoded
} ecf8_status;

#define ECF8_NO_TILE UINT64_MAX

typedef struct ecf8_error {
    ecf8_status status;
    uint64_t offset_bytes; // place in the blob
    uint64_t tile;         // the tile concerned, or ECF8_NO_TILE
    const char *what;      // what was expected; a string that lives for ever
} ecf8_error;

// "ECF8_ERR_MAGIC" and the like; "unknown" for a number that is none.
ECF8_API const char *ecf8_status_name(ecf8_status status);

// ---------------------------------------------------------------- types

typedef enum ecf8_dtype {
    ECF8_E4M3 = 1, // float8_e4m3fn: sign, 4 exponent bits (bias 7), 3 mantissa bits; 0x7f and 0xff are NaN, no infinity
    ECF8_E5M2 = 2, // float8_e5m2: sign, 5 exponent bits (bias 15), 2 mantissa bits
    ECF8_BF16 = 3,
    ECF8_F16 = 4,
} ecf8_dtype;

// Bytes of a weight: 1 or 2; 0 for a dtype that is none.
ECF8_API size_t ecf8_dtype_bytes(ecf8_dtype dtype);

typedef enum ecf8_mode {
    ECF8_MODE_RAW = 0,      // weights as they are: for tensors that do not shrink
    ECF8_MODE_CONSTANT = 1, // every weight has the same bits
    ECF8_MODE_PAIRS = 2,    // E4M3: a Huffman code for two exponents, nibbles of sign and mantissa. The fast mode
    ECF8_MODE_SINGLES = 3,  // a Huffman code for each weight: of E4M3 and E5M2 the byte, of BF16 the exponent, of F16
                            // the high byte; for the 16-bit types the other 8 bits stand in a plane of bytes
} ecf8_mode;

// How to decode. Every level gives the same bytes.
typedef enum ecf8_cpu {
    ECF8_CPU_AUTO = 0, // the best that this CPU has, lowered by ECD_CPU=scalar|avx2|avx512 in the environment
    ECF8_CPU_SCALAR = 1,
    ECF8_CPU_AVX2 = 2,   // AVX2 and BMI2
    ECF8_CPU_AVX512 = 3, // AVX-512 F, BW, DQ, VL
} ecf8_cpu;

// The level that ECF8_CPU_AUTO stands for now; 0 if ECD_CPU names none that this CPU has.
ECF8_API ecf8_cpu ecf8_cpu_best(void);
ECF8_API const char *ecf8_cpu_name(ecf8_cpu cpu);

// ---------------------------------------------------------------- opening

#define ECF8_MAX_TABLES 8
#define ECF8_MAX_CODE_BITS 12
#define ECF8_GROUP 128                  // weights that 32 lanes decode together; tiles are whole groups
#define ECF8_MAX_TILE (UINT32_C(65536)) // weights of a tile

// A checked container. Borrowed from the blob, which must outlive it and not change.
typedef struct ecf8_view {
    const uint8_t *blob;
    uint64_t blob_bytes;
    uint64_t count;      // weights
    uint64_t rows, cols; // rows * cols == count, or both 0: then rows cannot be named
    ecf8_dtype dtype;
    ecf8_mode mode;
    uint32_t tile_weights; // weights of a tile, a multiple of ECF8_GROUP; the last tile may be shorter
    uint64_t tile_count;
    uint32_t code_bits; // longest code, and the refill threshold of the lanes
    uint32_t table_count;
    uint16_t constant;                                           // ECF8_MODE_CONSTANT: the weight's bits
    const uint8_t *tables, *directory, *patches, *plane, *words; // sections of the blob, NULL where there is none
    uint64_t patch_count, plane_bytes, word_count;
} ecf8_view;

// Checks the container's metadata (time proportional to it, not to the weights) and fills `view`.
// `blob` needs no alignment for the CPU decoders; a GPU wants 64 bytes.
ECF8_API ecf8_status ecf8_open(const void *blob, uint64_t blob_bytes, ecf8_view *view, ecf8_error *error);

// ---------------------------------------------------------------- decoding

typedef struct ecf8_table ecf8_table; // a decoding table; internal

typedef struct ecf8_decoder {
    ecf8_view view;
    ecf8_cpu cpu;
    const ecf8_table *tables;
} ecf8_decoder;

// Memory that ecf8_decoder_init needs for this view: 0 for raw and constant, at most ECF8_DECODER_MAX_BYTES.
#define ECF8_DECODER_MAX_BYTES (ECF8_MAX_TABLES * (size_t)(8192 + 64) + 64)
ECF8_API size_t ecf8_decoder_bytes(const ecf8_view *view);

// Builds the decoding tables in `memory` (any alignment; may be NULL where ecf8_decoder_bytes is 0), which must live
// as long as the decoder. There is nothing to free.
ECF8_API ecf8_status ecf8_decoder_init(ecf8_decoder *decoder, const ecf8_view *view, void *memory, size_t memory_bytes,
                                       ecf8_cpu cpu, ecf8_error *error);

enum {
    ECF8_VERIFY = 1, // compare each tile that is decoded to its end with its CRC32C, while it is in cache
};

// What to write for a weight.
typedef enum ecf8_form {
    ECF8_FORM_NATIVE = 0, // the tensor's own dtype
    ECF8_FORM_BF16 = 1,   // exact for E4M3, E5M2 and BF16; of F16 rounded to nearest even
    ECF8_FORM_F32 = 2,    // exact for every dtype
} ecf8_form;

typedef struct ecf8_output {
    ecf8_form form;
    // BF16 and F32 only: NULL, or factors. With scale_count 1 there is one for the tensor, with scale_count == rows one
    // for each row of the tensor (indexed by row, wherever the range starts). The product is rounded once to f32
    // and, for BF16, to nearest even.
    const float *scale;
    uint64_t scale_count;
} ecf8_output;

// Decodes the whole tensor in its own dtype: count * ecf8_dtype_bytes(dtype) bytes.
// On an error the content of `out` is undefined.
ECF8_API ecf8_status ecf8_decode(const ecf8_decoder *decoder, void *out, uint64_t out_bytes, unsigned flags,
                                 ecf8_error *error);

// Decodes weights first .. first + count - 1. `output` may be NULL: native. Tiles that the range meets are decoded from
// their beginning, so ranges that begin on a multiple of view.tile_weights cost least; a tile is verified only if
// the range reaches its end.
ECF8_API ecf8_status ecf8_decode_weights(const ecf8_decoder *decoder, uint64_t first, uint64_t count,
                                         const ecf8_output *output, void *out, uint64_t out_bytes, unsigned flags,
                                         ecf8_error *error);

// Decodes rows first .. first + count - 1, of view.cols weights each.
ECF8_API ecf8_status ecf8_decode_rows(const ecf8_decoder *decoder, uint64_t first, uint64_t count,
                                      const ecf8_output *output, void *out, uint64_t out_bytes, unsigned flags,
                                      ecf8_error *error);

// Decodes everything with ECF8_VERIFY and throws it away.
ECF8_API ecf8_status ecf8_verify(const ecf8_decoder *decoder, ecf8_error *error);

// CRC32C (Castagnoli) of `size` bytes, continuing from `crc` (0 to begin).
ECF8_API uint32_t ecf8_crc32c(uint32_t crc, const void *data, size_t size);

// ---------------------------------------------------------------- encoding

typedef enum ecf8_density {
    ECF8_DENSITY_FAST = 0, // E4M3 by pairs: within 0.7% of H(E) + 4 bits in large tensors, decodes fastest
    ECF8_DENSITY_BEST = 1, // the smallest of all modes: E4M3 by whole bytes where that is smaller, at half the speed,
                           // and tiles as large as leave four of them
    ECF8_DENSITY_BALANCED = 2, // E4M3 by whole bytes only where codes of pairs exceed H(E) + 4 bits by more than 0.45%
                               // or whole bytes save 2%; large tiles
} ecf8_density;

typedef struct ecf8_params {
    ecf8_dtype dtype;
    uint64_t rows, cols; // rows * cols == count, or both 0
    ecf8_density density;
    uint32_t tile_weights; // 0: chosen by count; else a multiple of 128, at most ECF8_MAX_TILE
} ecf8_params;

// Upper bounds for `count` weights: of the blob, and of the memory that encoding works in. 0 if the parameters
// make no sense or the size does not fit 64 bits.
ECF8_API uint64_t ecf8_encode_bound(uint64_t count, const ecf8_params *params);
ECF8_API uint64_t ecf8_plan_bytes(uint64_t count, const ecf8_params *params);

// Encodes `count` weights (little endian, no alignment needed). The same input gives the same bytes on every machine.
// `memory` has ecf8_plan_bytes; `out_capacity` of ecf8_encode_bound always suffices.
ECF8_API ecf8_status ecf8_encode(const void *weights, uint64_t count, const ecf8_params *params, void *memory,
                                 uint64_t memory_bytes, void *out, uint64_t out_capacity, uint64_t *out_bytes);

// The same in steps, for callers with threads and for those who want to know the size before they allocate the blob.
//
//     ecf8_plan *plan = ecf8_plan_begin(weights, count, params, memory, memory_bytes);  // NULL: bad parameters
//     tiles = ecf8_plan_tiles(plan)
//     ecf8_plan_scan(plan, first, n)       all tiles, in ranges, by any threads at once
//     ecf8_plan_decide(plan)               one thread: mode, tables, patches
//     ecf8_plan_measure(plan, first, n)    all tiles, in ranges, by any threads at once
//     size = ecf8_plan_size(plan)          one thread: the blob's exact size
//     ecf8_plan_pack(plan, first, n, out)  all tiles, in ranges, by any threads at once; out has `size` bytes
//     ecf8_plan_seal(plan, out)            one thread: directory and header
//
// Each step must be complete before the next begins. The bytes do not depend on how the ranges were cut.
typedef struct ecf8_plan ecf8_plan;
ECF8_API ecf8_plan *ecf8_plan_begin(const void *weights, uint64_t count, const ecf8_params *params, void *memory,
                                    uint64_t memory_bytes);
ECF8_API uint64_t ecf8_plan_tiles(const ecf8_plan *plan);
ECF8_API void ecf8_plan_scan(ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count);
ECF8_API void ecf8_plan_decide(ecf8_plan *plan);
ECF8_API void ecf8_plan_measure(ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count);
ECF8_API uint64_t ecf8_plan_size(ecf8_plan *plan);
ECF8_API void ecf8_plan_pack(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, void *out);
ECF8_API void ecf8_plan_seal(const ecf8_plan *plan, void *out);

// For callers who write the blob to a file piece by piece and never have it in memory as a whole: it is a front of
// ecf8_plan_front_bytes, which all ranges share, then data, then zeros up to ecf8_plan_size. Instead of pack and seal:
//
//     ecf8_plan_extents(plan, first, n, extents)          where the range's data stand in the blob: plane, words
//     ecf8_plan_pack_apart(plan, first, n, front, data)   data has the sum of both sizes, one behind the other
//     ecf8_plan_seal_front(plan, front)
typedef struct ecf8_extent {
    uint64_t offset_bytes, size_bytes; // an empty one has its place even so
} ecf8_extent;
ECF8_API uint64_t ecf8_plan_front_bytes(const ecf8_plan *plan);
ECF8_API void ecf8_plan_extents(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count,
                                ecf8_extent extents[2]);
ECF8_API void ecf8_plan_pack_apart(const ecf8_plan *plan, uint64_t first_tile, uint64_t tile_count, void *front,
                                   void *data);
ECF8_API void ecf8_plan_seal_front(const ecf8_plan *plan, void *front);

// ---------------------------------------------------------------- statistics

typedef struct ecf8_stats {
    uint64_t count;
    uint64_t exponents[256]; // how often each exponent field occurs (E4M3 uses 16 of them, E5M2 and F16 32, BF16 256)
    double exponent_bits;    // H(E): entropy of the exponent field, bits a weight
    double byte_bits;        // H(byte): for the 8-bit types the entropy of the weight, for the 16-bit types that of the
                             // high byte plus 8
    double bound_bits;       // H(E) plus the bits of sign and mantissa: what coding exponents alone can reach
} ecf8_stats;

ECF8_API ecf8_status ecf8_stats_of(const void *weights, uint64_t count, ecf8_dtype dtype, ecf8_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
