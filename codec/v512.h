// The AVX-512 operations that lanes_avx512.c uses. With ECF8_V512_EMULATE they are plain C, so that the same source
// runs in the tests of machines without AVX-512.
#ifndef ECF8_V512_H
#define ECF8_V512_H

#include <stdint.h>
#include <string.h>

#ifdef ECF8_V512_EMULATE

typedef struct v512 {
    uint32_t x[16];
} v512;

#define V512_EACH(expression)                                                                                          \
    v512 r;                                                                                                            \
    for (int i = 0; i < 16; i++)                                                                                       \
        r.x[i] = (expression);                                                                                         \
    return r

static inline v512 v512_load(const void *p)
{
    v512 r;
    memcpy(&r, p, sizeof r);
    return r;
}
static inline void v512_store(void *p, v512 a)
{
    memcpy(p, &a, sizeof a);
}
static inline v512 v512_set(uint32_t a)
{
    V512_EACH(a);
}
static inline v512 v512_or(v512 a, v512 b)
{
    V512_EACH(a.x[i] | b.x[i]);
}
static inline v512 v512_and(v512 a, v512 b)
{
    V512_EACH(a.x[i] & b.x[i]);
}
static inline v512 v512_xor(v512 a, v512 b)
{
    V512_EACH(a.x[i] ^ b.x[i]);
}
static inline v512 v512_sub(v512 a, v512 b)
{
    V512_EACH(a.x[i] - b.x[i]);
}
static inline v512 v512_sllv(v512 a, v512 b)
{
    V512_EACH(b.x[i] < 32 ? a.x[i] << b.x[i] : 0);
}
static inline v512 v512_srl(v512 a, unsigned n)
{
    V512_EACH(a.x[i] >> n);
}
static inline uint16_t v512_less(v512 a, v512 b)
{
    unsigned mask = 0;
    for (int i = 0; i < 16; i++)
        mask |= (unsigned)(a.x[i] < b.x[i]) << i;
    return (uint16_t)mask;
}
static inline v512 v512_add_where(uint16_t mask, v512 a, v512 b)
{
    V512_EACH(a.x[i] + (mask >> i & 1 ? b.x[i] : 0));
}
// The next 16-bit words at p to the lanes of the mask, in order; zeros to the others. Reads 32 bytes.
static inline v512 v512_expand_words(uint16_t mask, const uint8_t *p)
{
    uint16_t words[16];
    memcpy(words, p, sizeof words);
    int next = 0;
    V512_EACH(mask >> i & 1 ? words[next++] : 0);
}
// 16-bit entries, with the next one in the high half: the entry behind the last must be readable.
static inline v512 v512_gather(const uint16_t *table, v512 index)
{
    V512_EACH(table[index.x[i]] | (uint32_t)table[index.x[i] + 1] << 16);
}
static inline v512 v512_halves(v512 low, v512 high)
{
    V512_EACH((low.x[i] & 0xffff) | high.x[i] << 16);
}
// The high bytes of the 16-bit halves, those of `even` first.
static inline v512 v512_bytes(v512 even, v512 odd)
{
    V512_EACH((even.x[i] >> 8 & 0x00ff00ff) | (odd.x[i] & 0xff00ff00));
}

// For convert_e4m3.inc, which says what they do.
#define V512_BYTES(expression)                                                                                         \
    const uint8_t *p = (const uint8_t *)a.x, *q = (const uint8_t *)b.x;                                                \
    v512 r;                                                                                                            \
    for (int i = 0; i < 64; i++)                                                                                       \
        ((uint8_t *)r.x)[i] = (uint8_t)(expression);                                                                   \
    return r

static inline v512 v512_repeat(const uint8_t p[16])
{
    v512 r;
    for (int i = 0; i < 4; i++)
        memcpy(r.x + 4 * i, p, 16);
    return r;
}
static inline v512 v512_look(v512 a, v512 b)
{
    V512_BYTES(q[i] & 0x80 ? 0 : p[i / 16 * 16 + (q[i] & 15)]);
}
static inline v512 v512_add_bytes(v512 a, v512 b)
{
    V512_BYTES(p[i] + q[i]);
}
static inline v512 v512_right4(v512 a)
{
    V512_EACH(a.x[i] >> 4 & 0x0fff0fff);
}
static inline v512 v512_left4(v512 a)
{
    V512_EACH(a.x[i] << 4 & 0xfff0ffff);
}
static inline v512 v512_order(v512 a)
{
    V512_EACH(a.x[i / 4 * 2 + i % 2 + (i / 2 % 2) * 8]);
}
static inline v512 v512_low(v512 a, v512 b)
{
    V512_BYTES((i % 2 ? q : p)[i / 16 * 16 + i % 16 / 2]);
}
static inline v512 v512_high(v512 a, v512 b)
{
    V512_BYTES((i % 2 ? q : p)[i / 16 * 16 + 8 + i % 16 / 2]);
}
// The four nibbles (low of each byte, or high) as sign and mantissa bits of E4M3.
static inline v512 v512_spread_nibbles(v512 a, int high)
{
    V512_EACH((a.x[i] >> (high ? 4 : 0) & 0x07070707) | (a.x[i] >> (high ? 4 : 0) & 0x08080808) << 4);
}

#else

#include <immintrin.h>

typedef __m512i v512;

static inline v512 v512_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline void v512_store(void *p, v512 a)
{
    _mm512_storeu_si512(p, a);
}
static inline v512 v512_set(uint32_t a)
{
    return _mm512_set1_epi32((int)a);
}
static inline v512 v512_or(v512 a, v512 b)
{
    return _mm512_or_si512(a, b);
}
static inline v512 v512_and(v512 a, v512 b)
{
    return _mm512_and_si512(a, b);
}
static inline v512 v512_xor(v512 a, v512 b)
{
    return _mm512_xor_si512(a, b);
}
static inline v512 v512_sub(v512 a, v512 b)
{
    return _mm512_sub_epi32(a, b);
}
static inline v512 v512_sllv(v512 a, v512 b)
{
    return _mm512_sllv_epi32(a, b);
}
static inline v512 v512_srl(v512 a, unsigned n)
{
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128((int)n));
}
static inline uint16_t v512_less(v512 a, v512 b)
{
    return _mm512_cmplt_epu32_mask(a, b);
}
static inline v512 v512_add_where(uint16_t mask, v512 a, v512 b)
{
    return _mm512_mask_add_epi32(a, mask, a, b);
}
static inline v512 v512_expand_words(uint16_t mask, const uint8_t *p)
{
    return _mm512_maskz_expand_epi32(mask, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)));
}
static inline v512 v512_gather(const uint16_t *table, v512 index)
{
    return _mm512_i32gather_epi32(index, table, 2);
}
static inline v512 v512_halves(v512 low, v512 high)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}
static inline v512 v512_bytes(v512 even, v512 odd)
{
    return _mm512_mask_blend_epi8(UINT64_C(0xaaaaaaaaaaaaaaaa), _mm512_srli_epi16(even, 8), odd);
}
static inline v512 v512_repeat(const uint8_t p[16])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline v512 v512_look(v512 a, v512 b)
{
    return _mm512_shuffle_epi8(a, b);
}
static inline v512 v512_add_bytes(v512 a, v512 b)
{
    return _mm512_add_epi8(a, b);
}
static inline v512 v512_right4(v512 a)
{
    return _mm512_srli_epi16(a, 4);
}
static inline v512 v512_left4(v512 a)
{
    return _mm512_slli_epi16(a, 4);
}
static inline v512 v512_order(v512 a)
{
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), a);
}
static inline v512 v512_low(v512 a, v512 b)
{
    return _mm512_unpacklo_epi8(a, b);
}
static inline v512 v512_high(v512 a, v512 b)
{
    return _mm512_unpackhi_epi8(a, b);
}
static inline v512 v512_spread_nibbles(v512 a, int high)
{
    const __m512i spread =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -128, -127, -126, -125, -124, -123, -122, -121));
    return _mm512_shuffle_epi8(spread, _mm512_and_si512(high ? _mm512_srli_epi16(a, 4) : a, _mm512_set1_epi8(15)));
}

#endif
#endif
