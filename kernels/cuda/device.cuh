// What the kernels of cuda/ share: types of activations and weights, sums over a warp, the activation functions.
//
// Contraction is off (-fmad=false): what is fused says fmaf. Sums run in an order that the shape of one row or picture
// fixes, so that a picture's bits depend on itself alone.
#ifndef ECD_KERNELS_CUDA_DEVICE_CUH
#define ECD_KERNELS_CUDA_DEVICE_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

typedef uint16_t ecd_bf16_bits;

enum { ECD_WARP = 32, ECD_BLOCK = 256 };

static __device__ __forceinline__ float ecd_bf16_float(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

// To nearest, ties to even; NaN keeps its sign and becomes quiet (ecd_to_bf16).
static __device__ __forceinline__ ecd_bf16_bits ecd_float_bf16(float v)
{
    uint32_t bits = __float_as_uint(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (ecd_bf16_bits)(bits >> 16 | 0x40u);
    return (ecd_bf16_bits)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static __device__ __forceinline__ float ecd_half_float(uint32_t bits)
{
    uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u)
        return __uint_as_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x400u)
        return __uint_as_float(sign | ((magnitude << 13) + (112u << 23)));
    float small = (float)magnitude * 5.9604644775390625e-8f; // subnormal: 2^-24 each
    return sign ? -small : small;
}

static __device__ __forceinline__ float ecd_e4m3_float(uint32_t bits)
{
    uint32_t sign = (bits & 0x80u) << 24, magnitude = bits & 0x7fu;
    if (magnitude == 0x7fu)
        return __uint_as_float(sign | 0x7fc00000u);
    if (magnitude >= 8u)
        return __uint_as_float(sign | ((magnitude << 20) + (120u << 23)));
    float small = (float)magnitude * 0.001953125f; // 2^-9 each
    return sign ? -small : small;
}

// E5M2 is the upper byte of F16.
static __device__ __forceinline__ float ecd_e5m2_float(uint32_t bits)
{
    return ecd_half_float(bits << 8);
}

static __device__ __forceinline__ float ecd_load(const float *x, int64_t i)
{
    return x[i];
}

static __device__ __forceinline__ float ecd_load(const ecd_bf16_bits *x, int64_t i)
{
    return ecd_bf16_float(x[i]);
}

static __device__ __forceinline__ void ecd_store(float *x, int64_t i, float v)
{
    x[i] = v;
}

static __device__ __forceinline__ void ecd_store(ecd_bf16_bits *x, int64_t i, float v)
{
    x[i] = ecd_float_bf16(v);
}

// Element i of a weight's data, without any scale.
static __device__ __forceinline__ float ecd_weight_value(ecd_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case ECD_F32: return ((const float *)data)[i];
    case ECD_F16: return ecd_half_float(((const uint16_t *)data)[i]);
    case ECD_BF16: return ecd_bf16_float(((const uint16_t *)data)[i]);
    case ECD_E4M3: return ecd_e4m3_float(((const uint8_t *)data)[i]);
    default: return ecd_e5m2_float(((const uint8_t *)data)[i]);
    }
}

// The scale that is applied before the product: that of the element's block of 128x128.
static __device__ __forceinline__ float ecd_weight_block_scale(const ecd_weight &w, int64_t row, int64_t col)
{
    int64_t blocks = (w.cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE;
    return w.scale[row / ECD_SCALE_BLOCK_SIZE * blocks + col / ECD_SCALE_BLOCK_SIZE];
}

// The scale that is applied after it.
static __device__ __forceinline__ float ecd_weight_scale_after(const ecd_weight &w, int64_t row)
{
    return w.scale_kind == ECD_SCALE_TENSOR ? w.scale[0] : w.scale_kind == ECD_SCALE_ROW ? w.scale[row] : 1.0f;
}

static __device__ __forceinline__ float ecd_silu(float v)
{
    return v / (1.0f + expf(-v));
}

static __device__ __forceinline__ float ecd_quick_gelu(float v)
{
    return v / (1.0f + expf(-1.702f * v));
}

static __device__ __forceinline__ float ecd_gelu_tanh(float v)
{
    float inner = 0.79788456080286535588f * (v + 0.044715f * v * v * v); // sqrt(2/pi)
    return 0.5f * v * (1.0f + tanhf(inner));
}

// The sum over a warp, the same in every lane: pairs in a butterfly, an order that nothing but the width fixes.
static __device__ __forceinline__ float ecd_warp_sum(float v)
{
    for (int step = ECD_WARP / 2; step; step /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

static __device__ __forceinline__ float ecd_warp_max(float v)
{
    for (int step = ECD_WARP / 2; step; step /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

// Blocks of `size` that cover `count`, at least one (a grid of none cannot be launched).
static inline unsigned ecd_cover(int64_t count, int64_t size)
{
    int64_t blocks = (count + size - 1) / size;
    return (unsigned)(blocks < 1 ? 1 : blocks);
}

// ptx.cuh's launch on the backend's stream.
#define ECD_RUN(kernel, grid, block, shared_bytes, stream, ...)                                                        \
    ECD_LAUNCH(kernel, grid, block, shared_bytes, (cudaStream_t)(stream), __VA_ARGS__)

// Allows the kernel so much dynamic shared memory, of which more than 48 KiB must be asked for. NULL, or the runtime's text.
template <class Kernel> static inline const char *ecd_allow_shared(Kernel kernel, size_t bytes)
{
    if (bytes <= 48 * 1024)
        return NULL;
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

// The runtime's text for a launch that failed, NULL where it did not.
static inline const char *ecd_launch_error(void)
{
    cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

#endif
