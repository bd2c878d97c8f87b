// Encoding with AVX2. Compiled with -mavx2 -mbmi2; called only where the CPU has them.
#include <immintrin.h>

#include "codec/avx2_look_up.h"
#include "codec/encode.h"
#include "codec/encode_compress.inc"

enum { PARTS = ECF8_LANES / 8 };

static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline void store(uint8_t *p, __m256i x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}

// Packing four registers works in halves of 128 bits and leaves their dwords in the order 0 2 4 6 1 3 5 7.
static inline __m256i dwords_in_order(__m256i x)
{
    return _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline void pair_symbols(const __m256i v[4], uint8_t *symbols)
{
    const __m256i weigh = _mm256_set1_epi16(0x1001), nibble = _mm256_set1_epi8(15), low = _mm256_set1_epi32(0xffff);
    __m256i first[4], second[4];
#pragma GCC unroll 4
    for (unsigned k = 0; k < 4; k++) { // exponents to bytes, two bytes to one symbol
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(v[k], 3), nibble), weigh);
        first[k] = _mm256_and_si256(pairs, low);
        second[k] = _mm256_srli_epi32(pairs, 16);
    }
    const __m256i a =
        _mm256_packus_epi16(_mm256_packus_epi32(first[0], first[1]), _mm256_packus_epi32(first[2], first[3]));
    const __m256i b =
        _mm256_packus_epi16(_mm256_packus_epi32(second[0], second[1]), _mm256_packus_epi32(second[2], second[3]));
    store(symbols, dwords_in_order(a));
    store(symbols + ECF8_LANES, dwords_in_order(b));
}

static inline __m256i nibbles(__m256i a, __m256i b)
{
    const __m256i low = _mm256_or_si256(_mm256_and_si256(a, _mm256_set1_epi8(7)),
                                        _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(8)));
    const __m256i high = _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi16(b, 4), _mm256_set1_epi8(0x70)),
                                         _mm256_and_si256(b, _mm256_set1_epi8(-128)));
    return _mm256_or_si256(low, high);
}

// 128 symbols in the order of the weights to 4 steps of 32 lanes.
static inline void deal(const __m256i v[4], uint8_t *symbols)
{
    const __m256i by_step =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m256i x[4];
#pragma GCC unroll 4
    for (unsigned k = 0; k < 4; k++)
        x[k] = _mm256_shuffle_epi8(v[k], by_step);
    const __m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpacklo_epi32(x[2], x[3]);
    const __m256i c = _mm256_unpackhi_epi32(x[0], x[1]), d = _mm256_unpackhi_epi32(x[2], x[3]);
    store(symbols, dwords_in_order(_mm256_unpacklo_epi64(a, b)));
    store(symbols + 32, dwords_in_order(_mm256_unpackhi_epi64(a, b)));
    store(symbols + 64, dwords_in_order(_mm256_unpacklo_epi64(c, d)));
    store(symbols + 96, dwords_in_order(_mm256_unpackhi_epi64(c, d)));
}

static inline __m256i bytes_of(__m256i x, __m256i y)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xd8);
}

static inline __m256i bf16_rest(__m256i x)
{
    return _mm256_or_si256(_mm256_and_si256(x, _mm256_set1_epi16(0x7f)),
                           _mm256_and_si256(_mm256_srli_epi16(x, 8), _mm256_set1_epi16(0x80)));
}

static inline void group16(const uint8_t *in, bool bf16, uint8_t *symbols, uint8_t *plane)
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    __m256i v[4];
#pragma GCC unroll 4
    for (unsigned k = 0; k < 4; k++) {
        const __m256i x = load(in + k * 64), y = load(in + k * 64 + 32);
        if (bf16)
            v[k] = bytes_of(_mm256_and_si256(_mm256_srli_epi16(x, 7), byte),
                            _mm256_and_si256(_mm256_srli_epi16(y, 7), byte));
        else
            v[k] = bytes_of(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8));
        if (plane && bf16)
            store(plane + k * 32, bytes_of(bf16_rest(x), bf16_rest(y)));
        else if (plane)
            store(plane + k * 32, bytes_of(_mm256_and_si256(x, byte), _mm256_and_si256(y, byte)));
    }
    deal(v, symbols);
}

static inline void group8(const uint8_t *in, bool pairs, uint8_t *symbols, uint8_t *plane)
{
    const __m256i v[4] = {load(in), load(in + 32), load(in + 64), load(in + 96)};
    if (!pairs) {
        deal(v, symbols);
        return;
    }
    pair_symbols(v, symbols);
    if (plane) {
        store(plane, nibbles(v[0], v[2]));
        store(plane + 32, nibbles(v[1], v[3]));
    }
}

static void symbols_avx2(const uint8_t *weights, ecf8_dtype dtype, ecf8_mode mode, uint32_t groups, uint8_t *symbols,
                         uint8_t *plane)
{
    const size_t in_bytes = ECF8_GROUP * ecf8_dtype_bytes(dtype), plane_bytes = ecf8_plane_group_bytes(dtype, mode);
    const size_t symbol_bytes = ecf8_codes_per_group(mode) * ECF8_LANES;
    for (uint32_t g = 0; g < groups; g++) {
        if (in_bytes == ECF8_GROUP)
            group8(weights, mode == ECF8_MODE_PAIRS, symbols, plane);
        else
            group16(weights, dtype == ECF8_BF16, symbols, plane);
        weights += in_bytes;
        symbols += symbol_bytes;
        plane = plane ? plane + plane_bytes : NULL;
    }
}

static void sum_avx2(const ecf8_code_table *table, const uint8_t *symbols, size_t steps, uint32_t sums[ECF8_LANES])
{
    __m256i parts[PARTS];
    for (unsigned q = 0; q < PARTS; q++)
        parts[q] = load((const uint8_t *)(sums + q * 8));
    for (size_t i = 0; i < steps; i++, symbols += ECF8_LANES)
#pragma GCC unroll 4
        for (unsigned q = 0; q < PARTS; q++)
            parts[q] = _mm256_add_epi32(parts[q], ECF8_LOOK_UP(table->entries, symbols + q * 8));
    for (unsigned q = 0; q < PARTS; q++)
        store((uint8_t *)(sums + q * 8), parts[q]);
}

typedef struct part {
    __m256i window, valid;
} part;

// Eight lanes of a step; returns the new end of the words.
static inline uint8_t *step(part *p, __m256i entry, __m256i most, uint8_t *end)
{
    const __m256i v16 = _mm256_set1_epi32(16), length = _mm256_and_si256(entry, _mm256_set1_epi32(15));
    const __m256i sum = _mm256_add_epi32(p->valid, length), giving = _mm256_cmpgt_epi32(sum, most);
    const __m256i give = _mm256_and_si256(giving, v16);
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(giving));
    const __m256i word = _mm256_blend_epi16(p->window, _mm256_setzero_si256(), 0xaa);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(word), _mm256_extracti128_si256(word, 1));
    const __m128i order = _mm_load_si128((const __m128i *)(const void *)compress_words[mask]);
    _mm_storeu_si128((__m128i *)(void *)(end - 16), _mm_shuffle_epi8(words, order));
    p->window = _mm256_or_si256(_mm256_srlv_epi32(p->window, give),
                                _mm256_sllv_epi32(_mm256_srli_epi32(entry, 16), _mm256_sub_epi32(p->valid, give)));
    p->valid = _mm256_sub_epi32(sum, give);
    return end - 2 * (unsigned)__builtin_popcount(mask);
}

static inline __attribute__((always_inline)) uint32_t pack_run(ecf8_packer *packer, const uint8_t *symbols,
                                                               unsigned codes, uint32_t groups)
{
    const uint32_t *entries = packer->table->entries;
    const __m256i most = _mm256_set1_epi32((int)packer->code_bits + 15);
    const __m256i flag = _mm256_set1_epi32((int)ECF8_ENTRY_PATCHED);
    uint8_t *end = packer->end;
    uint32_t patched = 0;
    part parts[PARTS];
    for (unsigned q = 0; q < PARTS; q++) {
        parts[q].window = load((const uint8_t *)(packer->window + q * 8));
        parts[q].valid = load((const uint8_t *)(packer->valid + q * 8));
    }
    for (uint32_t g = groups; g-- > 0;) {
        __m256i seen = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (unsigned j = 1; j <= codes; j++) {
            const uint8_t *from = symbols + ((size_t)(g + 1) * codes - j) * ECF8_LANES;
#pragma GCC unroll 4
            for (unsigned q = 1; q <= PARTS; q++) {
                const __m256i entry = ECF8_LOOK_UP(entries, from + ECF8_LANES - q * 8);
                seen = _mm256_or_si256(seen, entry);
                end = step(parts + PARTS - q, entry, most, end);
            }
        }
        patched |= (uint32_t)!_mm256_testz_si256(seen, flag) << g;
    }
    for (unsigned q = 0; q < PARTS; q++) {
        store((uint8_t *)(packer->window + q * 8), parts[q].window);
        store((uint8_t *)(packer->valid + q * 8), parts[q].valid);
    }
    packer->end = end;
    return patched;
}

static uint32_t pack_avx2(ecf8_packer *packer, const uint8_t *symbols, unsigned codes, uint32_t groups)
{
    return codes == 2 ? pack_run(packer, symbols, 2, groups) : pack_run(packer, symbols, 4, groups);
}

const ecf8_encoders ecf8_encoders_avx2 = {symbols_avx2, sum_avx2, pack_avx2};
