// Decoding with AVX2: 8 lanes a register, two tiles at once. Compiled with -mavx2 -mbmi2; called only where the CPU
// has them.
#include <immintrin.h>

#include "codec/convert.h"
#include "codec/lanes.h"
#include "codec/lanes_expand.inc"

enum { PARTS = ECF8_LANES / 8 };

// Gathers are microcoded on AMD up to Zen 3: there eight loads and merges are faster. See docs/SPEED.md.
static inline __m256i look_up(const uint32_t *entries, __m256i index, bool gather)
{
    if (gather)
        return _mm256_i32gather_epi32((const int *)entries, index, 4);
    const __m128i low = _mm256_castsi256_si128(index), high = _mm256_extracti128_si256(index, 1);
    const uint64_t a = (uint64_t)_mm_cvtsi128_si64(low), b = (uint64_t)_mm_extract_epi64(low, 1);
    const uint64_t c = (uint64_t)_mm_cvtsi128_si64(high), d = (uint64_t)_mm_extract_epi64(high, 1);
    __m128i x = _mm_cvtsi32_si128((int)entries[(uint32_t)a]), y = _mm_cvtsi32_si128((int)entries[(uint32_t)c]);
    x = _mm_insert_epi32(x, (int)entries[a >> 32], 1);
    y = _mm_insert_epi32(y, (int)entries[c >> 32], 1);
    x = _mm_insert_epi32(x, (int)entries[(uint32_t)b], 2);
    y = _mm_insert_epi32(y, (int)entries[(uint32_t)d], 2);
    x = _mm_insert_epi32(x, (int)entries[b >> 32], 3);
    y = _mm_insert_epi32(y, (int)entries[d >> 32], 3);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(x), y, 1);
}

typedef struct part {
    __m256i window, valid;
} part;

static inline __m256i step(part *p, const uint8_t **words, const uint32_t *entries, __m256i bits, __m128i down,
                           bool gather)
{
    const __m256i wanting = _mm256_cmpgt_epi32(bits, p->valid), v16 = _mm256_set1_epi32(16);
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(wanting));
    const __m128i next = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)*words),
                                          _mm_loadu_si128((const __m128i *)(const void *)expand_words[mask]));
    *words += 2 * (unsigned)__builtin_popcount(mask);
    const __m256i window =
        _mm256_or_si256(p->window, _mm256_sllv_epi32(_mm256_cvtepu16_epi32(next), _mm256_sub_epi32(v16, p->valid)));
    const __m256i entry = look_up(entries, _mm256_srl_epi32(window, down), gather);
    const __m256i length = _mm256_srli_epi32(entry, 24);
    p->window = _mm256_sllv_epi32(window, length);
    p->valid = _mm256_sub_epi32(_mm256_add_epi32(p->valid, _mm256_and_si256(wanting, v16)), length);
    return entry;
}

static inline __m256i halves(__m256i low, __m256i high)
{
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa);
}

// Low nibbles belong to the first 64 weights of the group, high ones to the others.
static inline __m256i signs_and_mantissas(const uint8_t *plane, unsigned part_index)
{
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -128, -127, -126, -125, -124, -123, -122, -121));
    __m256i n = _mm256_loadu_si256((const __m256i *)(const void *)(plane + part_index % 2 * 32));
    n = part_index / 2 ? _mm256_srli_epi16(n, 4) : n;
    return _mm256_shuffle_epi8(spread, _mm256_and_si256(n, _mm256_set1_epi8(15)));
}

// One group of `count` streams. Constant arguments, so the compiler lays the loops out flat.
static inline __attribute__((always_inline)) void group(ecf8_stream *s, part parts[][PARTS], unsigned count,
                                                        __m256i bits, __m128i down, bool pairs, bool gather)
{
    __m256i quads[2][PARTS], low[2][PARTS];
    const unsigned steps = pairs ? 2 : 4;
#pragma GCC unroll 4
    for (unsigned i = 0; i < steps; i++) {
#pragma GCC unroll 4
        for (unsigned p = 0; p < PARTS; p++)
#pragma GCC unroll 2
            for (unsigned k = 0; k < count; k++) {
                const __m256i e = step(&parts[k][p], &s[k].lanes.words, s[k].entries, bits, down, gather);
                if (pairs)
                    quads[k][p] = i ? halves(quads[k][p], e) : e;
                else if (i % 2 == 0)
                    low[k][p] = e;
                else {
                    const __m256i two = _mm256_or_si256(low[k][p], _mm256_slli_epi32(e, 8));
                    quads[k][p] = i == 3 ? halves(quads[k][p], two) : two;
                }
            }
    }
#pragma GCC unroll 2
    for (unsigned k = 0; k < count; k++) {
#pragma GCC unroll 4
        for (unsigned p = 0; p < PARTS; p++) {
            const __m256i quad = pairs ? _mm256_or_si256(quads[k][p], signs_and_mantissas(s[k].plane, p)) : quads[k][p];
            _mm256_storeu_si256((__m256i *)(void *)(s[k].out + p * 32), quad);
        }
        s[k].out += ECF8_GROUP;
        if (pairs)
            s[k].plane += ECF8_GROUP / 2;
    }
}

static inline __attribute__((always_inline)) void run(ecf8_stream *streams, unsigned count, unsigned code_bits,
                                                      unsigned groups, bool pairs, bool gather)
{
    ecf8_stream s[2]; // copies, which need no reloading after each store of output
    part parts[2][PARTS];
    const __m256i bits = _mm256_set1_epi32((int)code_bits);
    const __m128i down = _mm_cvtsi32_si128((int)(32 - code_bits));
    for (unsigned k = 0; k < count; k++) {
        s[k].lanes.words = streams[k].lanes.words;
        s[k].entries = streams[k].entries;
        s[k].plane = streams[k].plane;
        s[k].out = streams[k].out;
        for (unsigned p = 0; p < PARTS; p++) {
            parts[k][p].window = _mm256_loadu_si256((const __m256i *)(const void *)(streams[k].lanes.window + p * 8));
            parts[k][p].valid = _mm256_loadu_si256((const __m256i *)(const void *)(streams[k].lanes.valid + p * 8));
        }
    }
    for (unsigned g = 0; g < groups; g++)
        group(s, parts, count, bits, down, pairs, gather);
    for (unsigned k = 0; k < count; k++) {
        streams[k].lanes.words = s[k].lanes.words;
        streams[k].plane = s[k].plane;
        streams[k].out = s[k].out;
        for (unsigned p = 0; p < PARTS; p++) {
            _mm256_storeu_si256((__m256i *)(void *)(streams[k].lanes.window + p * 8), parts[k][p].window);
            _mm256_storeu_si256((__m256i *)(void *)(streams[k].lanes.valid + p * 8), parts[k][p].valid);
        }
    }
}

static bool gathers_are_fast(void)
{
    return !__builtin_cpu_is("amd");
}

static void pairs_avx2(ecf8_stream *streams, unsigned count, unsigned code_bits, unsigned groups)
{
    const bool gather = gathers_are_fast();
    if (count == 2 && gather)
        run(streams, 2, code_bits, groups, true, true);
    else if (count == 2)
        run(streams, 2, code_bits, groups, true, false);
    else
        run(streams, 1, code_bits, groups, true, false);
}

static void singles_avx2(ecf8_stream *streams, unsigned count, unsigned code_bits, unsigned groups)
{
    const bool gather = gathers_are_fast();
    if (count == 2 && gather)
        run(streams, 2, code_bits, groups, false, true);
    else if (count == 2)
        run(streams, 2, code_bits, groups, false, false);
    else
        run(streams, 1, code_bits, groups, false, false);
}

static void merge16_avx2(const uint8_t *symbols, const uint8_t *plane, ecf8_dtype dtype, uint16_t *out, size_t count)
{
    ecf8_merge16_body(symbols, plane, dtype, out, count);
}

static void convert_avx2(const void *in, ecf8_dtype dtype, ecf8_form form, const float *scale, void *out, size_t count)
{
    ecf8_convert_body(in, dtype, form, scale, out, count);
}

const ecf8_kernels ecf8_kernels_avx2 = {pairs_avx2, singles_avx2, merge16_avx2, convert_avx2};
