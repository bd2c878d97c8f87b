// Decoding with AVX2: 8 lanes a register, two tiles at once. Compiled with -mavx2 -mbmi2; called only where the CPU
// has them.
#include <immintrin.h>

#include "codec/avx2_look_up.h"
#include "codec/convert.h"
#include "codec/lanes.h"
#include "codec/lanes_expand.inc"

enum { PARTS = ECF8_LANES / 8 };

// An entry in the low half of each lane; in the high half is a neighbour, for the caller to drop.
static inline __m256i look_up(const uint16_t *entries, const uint32_t i[8], bool gather)
{
    if (gather)
        return _mm256_i32gather_epi32((const int *)(const void *)entries,
                                      _mm256_load_si256((const __m256i *)(const void *)i), 2);
    return ECF8_LOOK_UP(entries, i);
}

typedef struct part {
    __m256i window, shift; // shift: 16 - valid bits
} part;

// Fills the windows up and gives what to look up.
static inline __m256i refill(part *p, const uint8_t **words, __m256i bits, __m128i down)
{
    const __m256i wanting = _mm256_cmpgt_epi32(p->shift, bits), v16 = _mm256_set1_epi32(16);
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(wanting));
    const __m128i next = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)*words),
                                          _mm_loadu_si128((const __m128i *)(const void *)expand_words[mask]));
    *words += 2 * (unsigned)__builtin_popcount(mask);
    p->window = _mm256_or_si256(p->window, _mm256_sllv_epi32(_mm256_cvtepu16_epi32(next), p->shift));
    p->shift = _mm256_sub_epi32(p->shift, _mm256_and_si256(wanting, v16));
    return _mm256_srl_epi32(p->window, down);
}

static inline void take(part *p, __m256i entry, bool pairs)
{
    const __m256i length = _mm256_and_si256(pairs ? _mm256_srli_epi32(entry, 7) : entry, _mm256_set1_epi32(15));
    p->window = _mm256_sllv_epi32(p->window, length);
    p->shift = _mm256_add_epi32(p->shift, length);
}

static inline __m256i halves(__m256i low, __m256i high)
{
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa);
}

// The symbols of singles, from entries of codes 0 and 2 and of codes 1 and 3 of each lane.
static inline __m256i bytes(__m256i even, __m256i odd)
{
    return _mm256_blendv_epi8(_mm256_srli_epi16(even, 8), odd, _mm256_set1_epi16((short)0xff00));
}

// Low nibbles belong to the first 64 weights of the group, high ones to the others.
static inline __m256i with_nibbles(__m256i entries, const uint8_t *plane, unsigned part_index)
{
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -128, -127, -126, -125, -124, -123, -122, -121));
    __m256i n = _mm256_loadu_si256((const __m256i *)(const void *)(plane + part_index % 2 * 32));
    n = part_index / 2 ? _mm256_srli_epi16(n, 4) : n;
    return _mm256_or_si256(_mm256_and_si256(entries, _mm256_set1_epi16(ECF8_PAIR_BITS)),
                           _mm256_shuffle_epi8(spread, _mm256_and_si256(n, _mm256_set1_epi8(15))));
}

// One group of `count` streams. Constant arguments, so the compiler lays the loops out flat. A lane's step is one long
// chain of latencies (find the lanes that want, fetch, shift, look up, shift), so it is cut in two: the windows of all
// lanes of all streams are filled up before the first look-up. The indices go through memory on purpose: 32-byte
// stores forward to 4-byte loads, which costs less than moving each out of a vector.
static inline __attribute__((always_inline)) void group(ecf8_stream *s, part parts[][PARTS], unsigned count,
                                                        __m256i bits, __m128i down, unsigned at, bool pairs,
                                                        bool gather)
{
    __m256i quads[2][PARTS], odd[2][PARTS];
    const unsigned steps = pairs ? 2 : 4;
#pragma GCC unroll 4
    for (unsigned i = 0; i < steps; i++) {
        uint32_t index[2][PARTS][8] __attribute__((aligned(32)));
#pragma GCC unroll 2
        for (unsigned k = 0; k < count; k++)
#pragma GCC unroll 4
            for (unsigned p = 0; p < PARTS; p++)
                _mm256_store_si256((__m256i *)(void *)index[k][p], refill(&parts[k][p], &s[k].lanes.words, bits, down));
        __asm__("" : "+m"(index));
#pragma GCC unroll 2
        for (unsigned k = 0; k < count; k++)
#pragma GCC unroll 4
            for (unsigned p = 0; p < PARTS; p++) {
                const __m256i e = look_up(s[k].entries, index[k][p], gather);
                take(&parts[k][p], e, pairs);
                if (i == 0)
                    quads[k][p] = e;
                else if (pairs || i == 2)
                    quads[k][p] = halves(quads[k][p], e);
                else
                    odd[k][p] = i == 1 ? e : halves(odd[k][p], e);
            }
    }
#pragma GCC unroll 2
    for (unsigned k = 0; k < count; k++) {
#pragma GCC unroll 4
        for (unsigned p = 0; p < PARTS; p++) {
            const __m256i quad = pairs ? with_nibbles(quads[k][p], s[k].plane + (size_t)at * (ECF8_GROUP / 2), p)
                                       : bytes(quads[k][p], odd[k][p]);
            _mm256_storeu_si256((__m256i *)(void *)(s[k].out + (size_t)at * ECF8_GROUP + p * 32), quad);
        }
    }
}

static inline __attribute__((always_inline)) void run(ecf8_stream *streams, unsigned count, unsigned code_bits,
                                                      unsigned groups, bool pairs, bool gather)
{
    ecf8_stream s[2]; // copies, which need no reloading after each store of output
    part parts[2][PARTS];
    const __m256i bits = _mm256_set1_epi32(16 - (int)code_bits), v16 = _mm256_set1_epi32(16);
    const __m128i down = _mm_cvtsi32_si128((int)(32 - code_bits));
    for (unsigned k = 0; k < count; k++) {
        s[k].lanes.words = streams[k].lanes.words;
        s[k].entries = streams[k].entries;
        s[k].plane = streams[k].plane;
        s[k].out = streams[k].out;
        for (unsigned p = 0; p < PARTS; p++) {
            parts[k][p].window = _mm256_loadu_si256((const __m256i *)(const void *)(streams[k].lanes.window + p * 8));
            parts[k][p].shift = _mm256_sub_epi32(
                v16, _mm256_loadu_si256((const __m256i *)(const void *)(streams[k].lanes.valid + p * 8)));
        }
    }
    for (unsigned g = 0; g < groups; g++)
        group(s, parts, count, bits, down, g, pairs, gather);
    for (unsigned k = 0; k < count; k++) {
        streams[k].lanes.words = s[k].lanes.words;
        streams[k].plane += pairs ? groups * (size_t)(ECF8_GROUP / 2) : 0;
        streams[k].out += groups * (size_t)ECF8_GROUP;
        for (unsigned p = 0; p < PARTS; p++) {
            _mm256_storeu_si256((__m256i *)(void *)(streams[k].lanes.window + p * 8), parts[k][p].window);
            _mm256_storeu_si256((__m256i *)(void *)(streams[k].lanes.valid + p * 8),
                                _mm256_sub_epi32(v16, parts[k][p].shift));
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

#define VEC __m256i
#define VEC_BYTES 32U
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define V_FILL(byte) _mm256_set1_epi8((char)(byte))
#define V_REPEAT(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define V_LOOK _mm256_shuffle_epi8
#define V_AND _mm256_and_si256
#define V_OR _mm256_or_si256
#define V_XOR _mm256_xor_si256
#define V_ADD _mm256_add_epi8
#define V_RIGHT4(v) _mm256_srli_epi16(v, 4)
#define V_LEFT4(v) _mm256_slli_epi16(v, 4)
#define V_ORDER(v) _mm256_permute4x64_epi64(v, 0xd8)
#define V_LOW _mm256_unpacklo_epi8
#define V_HIGH _mm256_unpackhi_epi8
#include "codec/convert_e4m3.inc"

const ecf8_kernels ecf8_kernels_avx2 = {pairs_avx2, singles_avx2, merge16_avx2, convert};
