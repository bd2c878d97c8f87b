// A block builds a table in shared memory from the 256 code lengths of a container (docs/FORMAT.md, "Tables"), and the small
// conversions that tables and tails need.
#ifndef ECD_KERNELS_CUDA_ECF8_TABLE_CUH
#define ECD_KERNELS_CUDA_ECF8_TABLE_CUH

#include "codec/ecf8.h"
#include "kernels/cuda/ptx.cuh"

enum {
    ECD_ECF8_MOST_BITS = 12,
    ECD_ECF8_TABLE_BYTES = 4 << ECD_ECF8_MOST_BITS,
    ECD_ECF8_SYMBOLS = 256,
    ECD_ECF8_NAN_FLAG = 32, // of an entry of pairs for BF16: one of the two exponents is 15, the weight may be NaN
};

// ---------------------------------------------------------------- conversions, to the bits of codec/convert.h

static __device__ __forceinline__ uint32_t ecd_ecf8_bf16_of_e4m3(uint32_t x)
{
    const uint32_t m = x & 0x7f;
    uint32_t r = (m << 4) + (120 << 7);
    r = m < 8 ? 0x3b80 + (m << 5) : r; // subnormals m / 512, of 4..7, 2..3 and 1
    r = m < 4 ? 0x3b00 + (m << 6) : r;
    r = m < 2 ? m * 0x3b00 : r;
    r = m == 0x7f ? 0x7ff0 : r;
    return r | (x & 0x80) << 8;
}

static __device__ __forceinline__ uint32_t ecd_ecf8_bf16_of_e5m2(uint32_t x)
{
    const uint32_t m = x & 0x7f;
    uint32_t r = (m << 5) + (112 << 7);
    r = m < 4 ? (m < 2 ? 0x3780 : 0x3780 + (m << 6)) : r;
    r = m < 1 ? 0 : r;
    r = m >= 0x7c ? 0x7f80 | (m & 3) << 5 : r;
    r = m > 0x7c ? r | 0x40 : r;
    return r | (x & 0x80) << 8;
}

// To nearest even; NaNs become quiet.
static __device__ __forceinline__ uint32_t ecd_ecf8_bf16_of_f16(uint32_t x)
{
    const uint32_t rest = (x & 0x7fff) << 13;
    uint32_t bits = __float_as_uint(__uint_as_float(rest) * 5.192296858534828e33f); // 2^112
    bits |= rest >= 0x0f800000u ? 0x7f800000u : 0;
    bits |= rest > 0x0f800000u ? 0x00400000u : 0;
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (bits > 0x7f800000u ? bits : rounded) >> 16 | (x & 0x8000);
}

// A weight of one of the container's dtypes (codec/ecf8.h) as BF16.
static __device__ __forceinline__ uint32_t ecd_ecf8_bf16_of(uint32_t dtype, uint32_t x)
{
    return dtype == ECF8_E4M3   ? ecd_ecf8_bf16_of_e4m3(x)
           : dtype == ECF8_E5M2 ? ecd_ecf8_bf16_of_e5m2(x)
           : dtype == ECF8_F16  ? ecd_ecf8_bf16_of_f16(x)
                                : x;
}

// ---------------------------------------------------------------- entries

// What the upper bits of an entry hold: what a step's symbol gives to the output.
enum ecd_ecf8_payload {
    ECD_ECF8_PAIR_BYTES,  // two E4M3 bytes at bits 16 and 24, their exponents alone
    ECD_ECF8_PAIR_HALVES, // two exponents at bits 7 and 23, and the flag
    ECD_ECF8_BYTE,        // the symbol at bit 24
    ECD_ECF8_E4M3_HALF,   // the symbol as BF16 at bit 16
    ECD_ECF8_E5M2_HALF,
    ECD_ECF8_BF16_HALF, // the exponent at its place
    ECD_ECF8_F16_HALF,
};

static __device__ __forceinline__ uint32_t ecd_ecf8_payload_of(uint32_t payload, uint32_t s)
{
    const uint32_t low = s & 15, high = s >> 4;
    switch (payload) {
    case ECD_ECF8_PAIR_BYTES: return low << 19 | high << 27;
    case ECD_ECF8_PAIR_HALVES: return low << 7 | high << 23 | (low == 15 || high == 15 ? ECD_ECF8_NAN_FLAG : 0);
    case ECD_ECF8_E4M3_HALF: return ecd_ecf8_bf16_of_e4m3(s) << 16;
    case ECD_ECF8_E5M2_HALF: return ecd_ecf8_bf16_of_e5m2(s) << 16;
    case ECD_ECF8_BF16_HALF: return s << 23;
    default: return s << 24;
    }
}

// ---------------------------------------------------------------- canonical codes

struct ecd_ecf8_codes {
    uint32_t first[16], count[16], offset[16]; // by length: its first code, how many, the place of its first symbol
    uint16_t in_warp[8][16];                   // how many of a length the warp's 32 symbols have; then those before them
    uint8_t symbols[ECD_ECF8_SYMBOLS];         // in the order of their codes
};

// The whole block, of at least 256 threads, calls it. `lengths`: 128 bytes of device memory.
static __device__ __forceinline__ void ecd_ecf8_order_symbols(ecd_ecf8_codes *codes, const uint8_t *lengths)
{
    const uint32_t s = threadIdx.x, warp = s / 32;
    uint32_t length = 0, rank = 0;
    if (s < ECD_ECF8_SYMBOLS) {
        length = (uint32_t)lengths[s / 2] >> (s % 2 * 4) & 15;
        for (uint32_t b = 1; b <= ECD_ECF8_MOST_BITS; b++) {
            const uint32_t same = __ballot_sync(0xffffffffu, length == b);
            rank = length == b ? (uint32_t)__popc(same & ((1u << s % 32) - 1)) : rank;
            if (s % 32 == 0)
                codes->in_warp[warp][b] = (uint16_t)__popc(same);
        }
        codes->symbols[s] = 0;
    }
    __syncthreads();
    if (s == 0) {
        uint32_t code = 0, offset = 0;
        for (uint32_t b = 1; b <= ECD_ECF8_MOST_BITS; b++) {
            uint32_t sum = 0;
            for (uint32_t w = 0; w < 8; w++) {
                const uint32_t here = codes->in_warp[w][b];
                codes->in_warp[w][b] = (uint16_t)sum;
                sum += here;
            }
            codes->first[b] = code;
            codes->count[b] = sum;
            codes->offset[b] = offset;
            offset += sum;
            code = (code + sum) << 1;
        }
    }
    __syncthreads();
    if (s < ECD_ECF8_SYMBOLS && length - 1 < ECD_ECF8_MOST_BITS)
        codes->symbols[codes->offset[length] + codes->in_warp[warp][length] + rank] = (uint8_t)s;
    __syncthreads();
}

// The table's 2^L entries. Lengths that are no complete code leave entries of L bits: never one of none.
static __device__ __forceinline__ void ecd_ecf8_build_table(uint32_t *table, const ecd_ecf8_codes *codes,
                                                            uint32_t code_bits, uint32_t payload)
{
    for (uint32_t i = threadIdx.x; i < 1u << code_bits; i += blockDim.x) {
        uint32_t b = 1, at = i >> (code_bits - 1);
        while (b < code_bits && at - codes->first[b] >= codes->count[b]) {
            b++;
            at = i >> (code_bits - b);
        }
        const uint32_t place = at - codes->first[b];
        const uint32_t s = place < codes->count[b] ? codes->symbols[(codes->offset[b] + place) & 255] : 0;
        table[i] = ecd_ecf8_payload_of(payload, s) | (32 - b);
    }
    __syncthreads();
}

#endif
