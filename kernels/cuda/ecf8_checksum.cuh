// CRC32C of a tile by the warp that decodes it (docs/FORMAT.md, "Directory"). The checksum is linear: each lane reckons with
// its own words, whose next one stands a whole group further on, and the lanes' sums are moved to the tile's end and
// added. Moving by a group is four look-ups; by other distances a multiplication modulo the polynomial.
#ifndef ECD_KERNELS_CUDA_ECF8_CHECKSUM_CUH
#define ECD_KERNELS_CUDA_ECF8_CHECKSUM_CUH

#include "kernels/cuda/ecf8_warp.cuh"

// Polynomials modulo Castagnoli's, reflected: bit 31 is x^0.
static __device__ uint32_t ecd_crc_times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        product ^= a & bit ? b : 0;
        b = b >> 1 ^ (b & 1 ? 0x82f63b78u : 0);
    }
    return product;
}

// The register `state`, with `bytes` zero bytes after it.
static __device__ uint32_t ecd_crc_moved(uint32_t state, uint32_t bytes)
{
    uint32_t power = 0x00800000u; // x^8
    for (; bytes; bytes >>= 1) {
        if (bytes & 1)
            state = ecd_crc_times(power, state);
        power = ecd_crc_times(power, power);
    }
    return state;
}

// [4][256]: byte b at place k of the register, moved by a group. The whole block builds it.
static __device__ void ecd_crc_build(uint32_t *table, uint32_t group_bytes)
{
    const uint32_t power = group_bytes == 256 ? 0x88e56f72u : 0xb8fdb1e7u; // x^2048, x^1024: ecd_crc_moved(0x80000000, group_bytes)
    for (uint32_t i = threadIdx.x; i < 1024; i += blockDim.x)
        table[i] = ecd_crc_times(power, (i & 255) << (i / 256 * 8));
    __syncthreads();
}

struct ecd_ecf8_checksum {
    const uint32_t *table; // shared; NULL: none is wanted
    uint32_t words[2];     // of the lane's first and second word of each group
    uint32_t group_bytes;  // 128 or 256
    bool begun;
};

static __device__ __forceinline__ uint32_t ecd_crc_by_group(const uint32_t *table, uint32_t c)
{
    return table[c & 255] ^ table[256 + (c >> 8 & 255)] ^ table[512 + (c >> 16 & 255)] ^ table[768 + (c >> 24)];
}

static __device__ __forceinline__ void ecd_ecf8_add_group(ecd_ecf8_checksum &c, uint32_t lane, uint32_t x, uint32_t y)
{
    if (!c.begun) {
        c.words[0] = lane ? 0 : 0xffffffffu;
        c.words[1] = 0;
        c.begun = true;
    } else {
        c.words[0] = ecd_crc_by_group(c.table, c.words[0]);
        c.words[1] = ecd_crc_by_group(c.table, c.words[1]);
    }
    c.words[0] ^= x;
    c.words[1] ^= y;
}

// The tile's checksum, to all lanes. `others`: what the lane adds besides, as a register at the tile's end.
static __device__ __forceinline__ uint32_t ecd_ecf8_checksum_of(const ecd_ecf8_checksum &c, uint32_t lane, uint32_t others)
{
    const uint32_t behind = c.group_bytes - lane * (c.group_bytes / 32);
    uint32_t sum = others ^ ecd_crc_moved(c.words[0], behind);
    if (c.group_bytes == 256)
        sum ^= ecd_crc_moved(c.words[1], behind - 4);
    for (int step = 16; step; step /= 2)
        sum ^= __shfl_xor_sync(ECD_ALL_LANES, sum, step);
    return ~sum;
}

#endif
