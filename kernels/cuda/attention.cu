// Attention for f32 activations and heads of up to 512 channels, in f32 arithmetic: the keys pass by in tiles and each query
// keeps its largest logit, its sum and its output so far ("online softmax", arXiv 2205.14135).
//
// A block has a tile of queries, a warp a few of them: a lane holds the logit of one key of the tile, then every 32nd
// channel of the output. Tiles come in the order of the keys whatever stands beside them.
#include "kernels/cuda/device.cuh"

enum { WARPS = 4, KEYS = ECD_WARP }; // keys of a tile: a lane has one

// Shared memory in floats: queries [rows][dim], keys or values [KEYS][dim + 1], weights [rows][KEYS].
static size_t shared_bytes(int rows, int64_t dim)
{
    return ((size_t)rows * (size_t)dim + KEYS * (size_t)(dim + 1) + (size_t)rows * KEYS) * sizeof(float);
}

// Rows [first, first + count) of one head to shared memory; zeros where there is no token.
static __device__ void load_rows(const float *from, int64_t stride, int64_t first, int64_t tokens, int count, int64_t dim,
                                 int64_t pitch, float *to)
{
    for (int64_t i = threadIdx.x; i < count * dim; i += WARPS * ECD_WARP) {
        int64_t row = i / dim, d = i % dim;
        to[row * pitch + d] = first + row < tokens ? from[(first + row) * stride + d] : 0.0f;
    }
}

// CHANNELS: of the output that a lane holds; ROWS: queries of a warp.
template <int CHANNELS, int ROWS> static __global__ void attention(ecd_attention op)
{
    ECD_DYNAMIC_SHARED(float, shared);
    const int64_t dim = op.head_dim, pitch = dim + 1;
    float *queries = shared, *tile = queries + WARPS * ROWS * dim, *weights = tile + KEYS * pitch;
    const int warp = threadIdx.x / ECD_WARP, lane = threadIdx.x % ECD_WARP;
    const int64_t head = blockIdx.y, sequence = blockIdx.z, first = (int64_t)blockIdx.x * WARPS * ROWS;
    const float *q = (const float *)op.q + sequence * op.q_tokens * op.q_stride + head * dim;
    const float *k = (const float *)op.k + sequence * op.kv_tokens * op.k_stride + head * dim;
    const float *v = (const float *)op.v + sequence * op.kv_tokens * op.v_stride + head * dim;
    const float *bias = op.distance_bias ? op.distance_bias + head * (op.q_tokens + op.kv_tokens - 1) : NULL;
    float largest[ROWS], sum[ROWS], out[ROWS][CHANNELS];
    for (int r = 0; r < ROWS; r++) {
        largest[r] = -INFINITY;
        sum[r] = 0;
        for (int c = 0; c < CHANNELS; c++)
            out[r][c] = 0;
    }
    load_rows(q, op.q_stride, first, op.q_tokens, WARPS * ROWS, dim, dim, queries);
    int64_t last = first + WARPS * ROWS, seen = op.causal && last < op.kv_tokens ? last : op.kv_tokens;
    for (int64_t key = 0; key < seen; key += KEYS) {
        __syncthreads(); // all are done with the values before
        load_rows(k, op.k_stride, key, op.kv_tokens, KEYS, dim, pitch, tile);
        __syncthreads();
        float dot[ROWS];
        for (int r = 0; r < ROWS; r++)
            dot[r] = 0;
        for (int64_t d = 0; d < dim; d++) {
            float value = tile[lane * pitch + d];
            for (int r = 0; r < ROWS; r++)
                dot[r] = fmaf(queries[(warp * ROWS + r) * dim + d], value, dot[r]);
        }
        for (int r = 0; r < ROWS; r++) {
            int64_t token = first + warp * ROWS + r, limit = op.causal && token + 1 < seen ? token + 1 : seen;
            bool visible = key + lane < limit && token < op.q_tokens;
            float logit = dot[r] * op.scale;
            if (bias && visible)
                logit += bias[key + lane - token + op.q_tokens - 1];
            float most = fmaxf(largest[r], ecd_warp_max(visible ? logit : -INFINITY));
            // While every logit is -inf there is nothing to scale by: the sum stays 0, and 0 / 0 in the end.
            float base = most == -INFINITY ? 0.0f : most;
            float weight = visible ? expf(logit - base) : 0.0f, shrink = expf(largest[r] - base);
            weights[(warp * ROWS + r) * KEYS + lane] = weight;
            sum[r] = sum[r] * shrink + ecd_warp_sum(weight);
            largest[r] = most;
            for (int c = 0; c < CHANNELS; c++)
                out[r][c] *= shrink;
        }
        __syncthreads(); // all are done with the keys
        load_rows(v, op.v_stride, key, op.kv_tokens, KEYS, dim, pitch, tile);
        __syncthreads();
        for (int j = 0; j < KEYS && key + j < seen; j++) {
            float value[CHANNELS];
            for (int c = 0; c < CHANNELS; c++)
                value[c] = lane + c * ECD_WARP < dim ? tile[j * pitch + lane + c * ECD_WARP] : 0.0f;
            for (int r = 0; r < ROWS; r++) {
                // What is not seen is not touched: 0 times NaN would be NaN.
                if (op.causal && key + j > first + warp * ROWS + r)
                    continue;
                float weight = weights[(warp * ROWS + r) * KEYS + j];
                for (int c = 0; c < CHANNELS; c++)
                    out[r][c] = fmaf(weight, value[c], out[r][c]);
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        int64_t token = first + warp * ROWS + r;
        float *to = (float *)op.out + (sequence * op.q_tokens + token) * op.out_stride + head * dim;
        for (int c = 0; c < CHANNELS; c++)
            if (token < op.q_tokens && lane + c * ECD_WARP < dim)
                to[lane + c * ECD_WARP] = out[r][c] / sum[r];
    }
}

template <int CHANNELS, int ROWS>
static const char *launch(ecd_cuda_stream *stream, const ecd_attention *op)
{
    size_t bytes = shared_bytes(WARPS * ROWS, op->head_dim);
    const char *error = ecd_allow_shared(attention<CHANNELS, ROWS>, bytes);
    if (error)
        return error;
    dim3 grid(ecd_cover(op->q_tokens, WARPS * ROWS), (unsigned)op->heads, (unsigned)op->batch);
    ECD_RUN((attention<CHANNELS, ROWS>), grid, WARPS * ECD_WARP, bytes, stream, *op);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_attention(ecd_cuda_stream *stream, const ecd_attention *op)
{
    if (op->head_dim <= 64)
        return launch<2, 8>(stream, op);
    if (op->head_dim <= 128)
        return launch<4, 8>(stream, op);
    return launch<16, 4>(stream, op); // 98 KiB of shared memory: within the 99 of sm_89
}
