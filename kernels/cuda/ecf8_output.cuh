// From entries and plane to weights: what a lane stores for its four weights of a group, in each of the four ways.
#ifndef ECD_KERNELS_CUDA_ECF8_OUTPUT_CUH
#define ECD_KERNELS_CUDA_ECF8_OUTPUT_CUH

#include "kernels/cuda/ecf8_table.cuh"

enum ecd_ecf8_way {
    ECD_ECF8_PAIRS_TO_BYTES,    // E4M3
    ECD_ECF8_PAIRS_TO_HALVES,   // E4M3 to BF16
    ECD_ECF8_SINGLES_TO_BYTES,  // E4M3, E5M2
    ECD_ECF8_SINGLES_TO_HALVES, // BF16 and F16 as they are; E4M3, E5M2 and F16 to BF16
};

static __host__ __device__ constexpr bool ecd_ecf8_has_pairs(int way)
{
    return way == ECD_ECF8_PAIRS_TO_BYTES || way == ECD_ECF8_PAIRS_TO_HALVES;
}

static __host__ __device__ constexpr bool ecd_ecf8_has_halves(int way)
{
    return way == ECD_ECF8_PAIRS_TO_HALVES || way == ECD_ECF8_SINGLES_TO_HALVES;
}

template <int way> static __device__ __forceinline__ uint32_t ecd_ecf8_plane_stride()
{
    return ecd_ecf8_has_pairs(way) ? 64 : 128;
}

// A lane's view of the plane, and what it does with a word of it.
struct ecd_ecf8_plane {
    const uint8_t *at; // the lane's word of the next group
    uint32_t down, up; // pairs: shifts that bring the lane's nibbles to the low and the high half of their bytes
    uint32_t mask;     // singles: the bits of a pair of halves that the plane gives; 0: there is none
    bool from_f16;     // singles: the halves are F16 and BF16 is wanted
};

template <int way>
static __device__ __forceinline__ void ecd_ecf8_open_plane(ecd_ecf8_plane &p, const uint8_t *plane, uint64_t first_group,
                                                           uint32_t mask, bool from_f16)
{
    const uint32_t lane = threadIdx.x % 32;
    // Of pairs, byte i has weight i in its low half, weight 64 + i in the high one.
    p.at = plane + first_group * ecd_ecf8_plane_stride<way>() + (ecd_ecf8_has_pairs(way) ? lane % 16 : lane) * 4;
    p.down = ecd_keep(lane / 16 * 4);
    p.up = ecd_keep(4 - lane / 16 * 4);
    p.mask = mask;
    p.from_f16 = from_f16;
}

// The lane's word of the group that is so many groups further on.
template <int way>
static __device__ __forceinline__ uint32_t ecd_ecf8_load_plane(const ecd_ecf8_plane &p, uint32_t groups)
{
    if (way == ECD_ECF8_SINGLES_TO_BYTES || (way == ECD_ECF8_SINGLES_TO_HALVES && !p.mask))
        return 0;
    return __ldg((const uint32_t *)(p.at + groups * ecd_ecf8_plane_stride<way>()));
}

// E4M3 times 2^120 is BF16 whose exponent needs no bias and whose subnormals come out right. Only NaN does not: it is put
// right in memory, by lanes that have had an exponent of 15 among their entries.
static __device__ __forceinline__ uint32_t ecd_ecf8_pair_to_halves(uint32_t entry, uint32_t signs_and_mantissas)
{
    const uint32_t small = (signs_and_mantissas & 0x80708070u) | (entry & 0x07800780u);
    return ecd_scale_bf16x2(small, 0x7b807b80u); // 2^120
}

static __device__ __forceinline__ void ecd_ecf8_mend_nan(uint16_t *at, uint32_t groups, uint32_t count_of_last)
{
#pragma unroll 1
    for (uint32_t g = 0; g < groups; g++, at += 128)
#pragma unroll 1
        for (uint32_t i = 0; i < (g + 1 < groups ? 4 : count_of_last); i++) {
            const uint32_t x = at[i];
            if ((x & 0x7fff) == 0x43f0) // 480, which E4M3 does not have
                at[i] = (uint16_t)(x | 0x3c00);
        }
}

static __device__ __forceinline__ uint32_t ecd_ecf8_f16_pair_to_bf16(uint32_t x)
{
    return ecd_ecf8_bf16_of_f16(x & 0xffff) | ecd_ecf8_bf16_of_f16(x >> 16) << 16;
}

// Four weights: bytes in x, or halves in x and y. e: two entries of pairs, or four of singles.
template <int way>
static __device__ __forceinline__ void ecd_ecf8_join(const ecd_ecf8_plane &p, const uint32_t *e, uint32_t plane, uint32_t &x,
                                                     uint32_t &y)
{
    if (way == ECD_ECF8_PAIRS_TO_BYTES) {
        const uint32_t rest = ecd_select<0x07070707u>(plane >> p.down, plane << p.up); // mantissas; signs
        x = ecd_select<0x78787878u>(__byte_perm(e[0], e[1], 0x7632), rest);
    } else if (way == ECD_ECF8_PAIRS_TO_HALVES) {
        const uint32_t high = plane << p.up; // nibbles in the high halves of bytes; each byte twice gives both places
        x = ecd_ecf8_pair_to_halves(e[0], __byte_perm(high, 0, 0x1100));
        y = ecd_ecf8_pair_to_halves(e[1], __byte_perm(high, 0, 0x3322));
    } else if (way == ECD_ECF8_SINGLES_TO_BYTES) {
        x = __byte_perm(__byte_perm(e[0], e[1], 0x0073), __byte_perm(e[2], e[3], 0x0073), 0x5410);
    } else {
        x = __byte_perm(e[0], e[1], 0x7632);
        y = __byte_perm(e[2], e[3], 0x7632);
        if (p.mask) {
            x = (__byte_perm(plane, 0, 0x1100) & p.mask) | (x & ~p.mask);
            y = (__byte_perm(plane, 0, 0x3322) & p.mask) | (y & ~p.mask);
        }
        if (p.from_f16) {
            x = ecd_ecf8_f16_pair_to_bf16(x);
            y = ecd_ecf8_f16_pair_to_bf16(y);
        }
    }
}

// To the lane's place of a group, all four weights or the first `count` of them.
template <int way>
static __device__ __forceinline__ void ecd_ecf8_store(uint8_t *to, uint32_t x, uint32_t y)
{
    if (ecd_ecf8_has_halves(way))
        ecd_store_64(to, x, y);
    else
        ecd_store_32(to, x);
}

template <int way>
static __device__ __forceinline__ void ecd_ecf8_store_some(uint8_t *to, uint32_t x, uint32_t y, int32_t count)
{
    if (count >= 4) {
        ecd_ecf8_store<way>(to, x, y);
        return;
    }
    for (int i = 0; i < 4 && i < count; i++)
        if (ecd_ecf8_has_halves(way))
            ((uint16_t *)to)[i] = (uint16_t)((i < 2 ? x : y) >> (i % 2 * 16));
        else
            to[i] = (uint8_t)(x >> (i * 8));
}

#endif
