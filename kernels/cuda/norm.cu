// LayerNorm and RMSNorm with modulation, and rotary embedding with RMSNorm: a warp a row (or head), no shared memory.
#include "kernels/cuda/device.cuh"

enum { WARPS = 4, QUAD = 4, AT_ONCE = 6 }; // of a block; neighbours that a lane takes at once; reads in flight

// Sum of (x - centre)^power over a row. Lanes take quads in turn, whatever the row's alignment, so the order is the same
// for a row wherever it lies.
static __device__ __forceinline__ float sum_row(const float *x, int64_t cols, float centre, bool squares, int lane)
{
    const bool whole = cols % QUAD == 0 && (uintptr_t)x % (QUAD * sizeof *x) == 0;
    float sum = 0;
#pragma unroll 4
    for (int64_t c = (int64_t)lane * QUAD; c < cols; c += ECD_WARP * QUAD) {
        float quad[QUAD];
        const int count = cols - c < QUAD ? (int)(cols - c) : QUAD;
        if (whole) {
            const float4 four = *(const float4 *)(x + c);
            quad[0] = four.x, quad[1] = four.y, quad[2] = four.z, quad[3] = four.w;
        } else {
            for (int i = 0; i < QUAD; i++)
                quad[i] = i < count ? x[c + i] : 0.0f;
        }
        for (int i = 0; i < QUAD; i++) {
            float v = quad[i] - centre;
            if (i < count)
                sum = squares ? fmaf(v, v, sum) : sum + v;
        }
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
    // Some at a time, all read before any is written: the reads then do not wait for each other.
    for (int64_t first = lane; first < op.cols; first += AT_ONCE * ECD_WARP) {
        float v[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            int64_t c = first + i * ECD_WARP < op.cols ? first + i * ECD_WARP : first;
            v[i] = (x[c] - mean) * inverse;
            if (op.gamma)
                v[i] *= op.gamma[c];
            if (op.beta)
                v[i] += op.beta[c];
            if (op.scale)
                v[i] *= 1.0f + op.scale[modulation + c];
            if (op.shift)
                v[i] += op.shift[modulation + c];
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (first + i * ECD_WARP < op.cols)
                ecd_store((Act *)op.out, row * op.cols + first + i * ECD_WARP, v[i]);
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
