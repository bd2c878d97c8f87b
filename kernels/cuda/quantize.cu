// Activations on their way into products in FP8: E4M3 with one scale for all rows of a picture, the largest magnitude / 448.
//
// The scale is that of the largest element, which no order of looking changes, so the bits depend on the rows alone. A NaN or
// an infinity makes it one, and so all of the product: what it would do to its own row otherwise.
#include <float.h>

#include "kernels/cuda/strips.cuh"

enum { STRIP = 8, MAX_BLOCKS = 1024 };

typedef struct rows_in {
    const ecd_bf16_bits *x;
    int64_t strips, strips_a_row, stride; // stride: elements
} rows_in;

// How strips lie: one after another, each where a vector can be loaded from, or anywhere.
typedef enum place { DENSE, ALIGNED, ANYWHERE } place;

// Two elements a word.
template <place AT> static __device__ __forceinline__ uint4 load_strip(const rows_in &in, int64_t i)
{
    if constexpr (AT == DENSE)
        return ((const uint4 *)in.x)[i];
    const ecd_bf16_bits *at = in.x + i / in.strips_a_row * in.stride + i % in.strips_a_row * STRIP;
    ecd_words<ecd_bf16_bits, STRIP> words;
    if constexpr (AT == ANYWHERE) {
        for (int k = 0; k < STRIP / 2; k++)
            words.w[k] = at[2 * k] | (uint32_t)at[2 * k + 1] << 16;
    } else {
        ecd_load_words(at, words);
    }
    return make_uint4(words.w[0], words.w[1], words.w[2], words.w[3]);
}

static __device__ __forceinline__ uint32_t larger_of(uint32_t pair, uint32_t than)
{
    uint32_t low = pair & 0x7fffu, high = pair >> 16 & 0x7fffu;
    low = low > high ? low : high;
    return low > than ? low : than;
}

// *largest := the magnitude's bits as BF16 has them, which order as magnitudes do, infinity and NaN above all.
template <place AT> static __global__ void find_largest(rows_in in, uint32_t *largest)
{
    uint32_t mine = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < in.strips; i += (int64_t)gridDim.x * blockDim.x) {
        uint4 strip = load_strip<AT>(in, i);
        mine = larger_of(strip.x, larger_of(strip.y, larger_of(strip.z, larger_of(strip.w, mine))));
    }
    mine = __reduce_max_sync(0xffffffffu, mine);
    if (threadIdx.x % ECD_WARP == 0)
        atomicMax(largest, mine);
}

// ecd_to_e4m3: to nearest, ties to even, beyond 448 it is 448.
static __device__ __forceinline__ uint32_t to_e4m3(float v)
{
    uint32_t bits = __float_as_uint(v), sign = bits >> 24 & 0x80u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return sign | 0x7fu;
    if (magnitude >= 0x43e00000u)
        return sign | 0x7eu;
    if (magnitude >= 0x3c800000u) // 2^-6 and above
        return sign | (((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - 960u);
    // Multiples of 2^-9: what the last bit of numbers from 2^14 on is.
    return sign | (__float_as_uint(__uint_as_float(magnitude) + 16384.0f) - 0x46800000u);
}

static __device__ __forceinline__ uint32_t four_of(uint32_t low, uint32_t high, float scale)
{
    return to_e4m3(ecd_bf16_float(low & 0xffffu) / scale) | to_e4m3(ecd_bf16_float(low >> 16) / scale) << 8 |
           to_e4m3(ecd_bf16_float(high & 0xffffu) / scale) << 16 | to_e4m3(ecd_bf16_float(high >> 16) / scale) << 24;
}

template <place AT>
static __global__ void quantize(rows_in in, const uint32_t *largest, uint8_t *out, float *scale_out)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    float scale = ecd_bf16_float(*largest) / 448.0f;
    scale = scale < FLT_MIN ? FLT_MIN : scale; // NaN stays
    if (i == 0)
        *scale_out = scale;
    if (i >= in.strips)
        return;
    uint4 strip = load_strip<AT>(in, i);
    ((uint2 *)out)[i] = make_uint2(four_of(strip.x, strip.y, scale), four_of(strip.z, strip.w, scale));
}

template <place AT>
static void launch(ecd_cuda_stream *stream, const rows_in &in, void *out, float *scale, uint32_t *largest)
{
    const unsigned blocks = ecd_cover(in.strips, ECD_BLOCK), few = blocks < MAX_BLOCKS ? blocks : (unsigned)MAX_BLOCKS;
    ECD_RUN((find_largest<AT>), few, ECD_BLOCK, 0, stream, in, largest);
    ECD_RUN((quantize<AT>), blocks, ECD_BLOCK, 0, stream, in, largest, (uint8_t *)out, scale);
}

const char *ecd_cuda_launch_quantize(ecd_cuda_stream *stream, const void *x, int64_t rows, int64_t cols, int64_t x_stride,
                                     void *out, float *scale, uint32_t *largest)
{
    const rows_in in = {(const ecd_bf16_bits *)x, rows * cols / STRIP, cols / STRIP, x_stride};
    cudaMemsetAsync(largest, 0, sizeof *largest, (cudaStream_t)stream);
    if ((uintptr_t)x % sizeof(uint4) || x_stride % STRIP)
        launch<ANYWHERE>(stream, in, out, scale, largest);
    else if (x_stride == cols || rows == 1)
        launch<DENSE>(stream, in, out, scale, largest);
    else
        launch<ALIGNED>(stream, in, out, scale, largest);
    return ecd_launch_error();
}
