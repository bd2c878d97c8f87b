// Looking eight entries of a table up without a gather, which AMD's CPUs up to Zen 3 run slower. See docs/SPEED.md.
#ifndef ECF8_AVX2_LOOK_UP_H
#define ECF8_AVX2_LOOK_UP_H

#include <immintrin.h>

// The 4 bytes at `p` into 32-bit lane `lane` of `into`: one instruction, which loads 16 bytes around them and keeps 4.
#define ECF8_PUT(into, p, lane)                                                                                        \
    _mm_blend_epi32(into, _mm_loadu_si128((const __m128i *)(const void *)((const char *)(p)-4 * (lane))), 1 << (lane))

// Lane i is the 4 bytes at p + index[i], pointers of any type. 12 bytes before each and 16 from it on must be readable.
#define ECF8_LOOK_UP(p, index)                                                                                         \
    _mm256_inserti128_si256(_mm256_castsi128_si256(ECF8_LOOK_UP_4(p, index)), ECF8_LOOK_UP_4(p, (index) + 4), 1)
#define ECF8_LOOK_UP_4(p, index)                                                                                       \
    ECF8_PUT(                                                                                                          \
        ECF8_PUT(ECF8_PUT(_mm_loadu_si128((const __m128i *)(const void *)((p) + (index)[0])), (p) + (index)[1], 1),    \
                 (p) + (index)[2], 2),                                                                                 \
        (p) + (index)[3], 3)

#endif
