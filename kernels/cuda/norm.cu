// LayerNorm and RMSNorm with modulation, and rotary embedding with RMSNorm: a warp a row (or head), no shared memory.
#include "kernels/cuda/device.cuh"

enum { WARPS = 4, QUAD = 4 }; // of a block; neighbours that a lane takes at once

// Sum of (x - centre)^power over a row. Lanes take quads in turn, whatever the row's alignment, so the order is the same
// for a row wherever it lies.
static __device__ __forceinline__ float sum_row(const float *x, int64_t cols, float centre, bool squares, int lane)
{
    float sum = 0;
    for (int64_t c = (int64_t)lane * QUAD; c < cols; c += ECD_WARP * QUAD)
        for (int64_t i = c; i < c + QUAD && i < cols; i++) {
            float v = x[i] - centre;
            sum = squares ? fmaf(v, v, sum) : sum + v;
        }
    return ecd_warp_sum(sum);
}

template <typename Act> static __global__ void norm(ecd_norm op)
{
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / ECD_WARP;
    int lane = threadIdx.x % ECD_WARP;
    if (row >= op.rows) // a whole warp
        return;
    const float *x = op.x + row * op.cols;
    float mean = op.rms ? 0.0f : sum_row(x, op.cols, 0, false, lane) / (float)op.cols;
    float inverse = 1.0f / sqrtf(sum_row(x, op.cols, mean, true, lane) / (float)op.cols + op.eps);
    int64_t modulation = op.group_rows ? row / op.group_rows * op.mod_stride : 0;
    for (int64_t c = lane; c < op.cols; c += ECD_WARP) {
        float v = (x[c] - mean) * inverse;
        if (op.gamma)
            v *= op.gamma[c];
        if (op.beta)
            v += op.beta[c];
        if (op.scale)
            v *= 1.0f + op.scale[modulation + c];
        if (op.shift)
            v += op.shift[modulation + c];
        ecd_store((Act *)op.out, row * op.cols + c, v);
    }
}

const char *ecd_cuda_launch_norm(ecd_cuda_stream *stream, bool narrow, const ecd_norm *op)
{
    unsigned blocks = ecd_cover(op->rows, WARPS);
    if (narrow)
        ECD_RUN((norm<ecd_bf16_bits>), blocks, WARPS * ECD_WARP, 0, stream, *op);
    else
        ECD_RUN((norm<float>), blocks, WARPS * ECD_WARP, 0, stream, *op);
    return ecd_launch_error();
}

template <typename Act> static __global__ void rope(ecd_rope op)
{
    int64_t index = (int64_t)blockIdx.x * WARPS + threadIdx.x / ECD_WARP, row = index / op.heads;
    int lane = threadIdx.x % ECD_WARP;
    if (row >= op.batch * op.tokens)
        return;
    Act *x = (Act *)op.x + row * op.stride + index % op.heads * op.head_dim;
    int64_t pairs = op.head_dim / 2, table = row % op.tokens * pairs;
    float inverse = 1;
    if (op.gamma) {
        float sum = 0;
        for (int64_t i = lane; i < pairs; i += ECD_WARP) {
            float a = ecd_load(x, 2 * i), b = ecd_load(x, 2 * i + 1);
            sum = fmaf(b, b, fmaf(a, a, sum));
        }
        inverse = 1.0f / sqrtf(ecd_warp_sum(sum) / (float)op.head_dim + op.eps);
    }
    for (int64_t i = lane; i < pairs; i += ECD_WARP) {
        float a = ecd_load(x, 2 * i), b = ecd_load(x, 2 * i + 1), c = op.cosine[table + i], s = op.sine[table + i];
        if (op.gamma) {
            a = a * inverse * op.gamma[2 * i];
            b = b * inverse * op.gamma[2 * i + 1];
        }
        ecd_store(x, 2 * i, a * c - b * s);
        ecd_store(x, 2 * i + 1, b * c + a * s);
    }
}

const char *ecd_cuda_launch_rope(ecd_cuda_stream *stream, bool narrow, const ecd_rope *op)
{
    ecd_rope dense = *op;
    dense.stride = op->stride ? op->stride : op->heads * op->head_dim;
    unsigned blocks = ecd_cover(op->batch * op->tokens * op->heads, WARPS);
    if (narrow)
        ECD_RUN((rope<ecd_bf16_bits>), blocks, WARPS * ECD_WARP, 0, stream, dense);
    else
        ECD_RUN((rope<float>), blocks, WARPS * ECD_WARP, 0, stream, dense);
    return ecd_launch_error();
}
