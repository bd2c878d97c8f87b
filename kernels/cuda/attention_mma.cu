// Attention on tensor cores: BF16 activations, heads of up to 128 channels, f32 logits, softmax and sums.
//
// As flash attention 2 (arXiv 2307.08691): a warp has 16 queries whose fragments stay in registers; tiles of 64 keys and
// values pass through shared memory, the values transposed there so that a fragment's pair of keys is one word. The
// weights of a tile go from the first product's accumulators to the second's operand without leaving the registers.
#include "kernels/cuda/device.cuh"

enum { WARPS = 4, QUERIES = 16, KEYS = 64, SKEW = 8, CELL = 8, DEPTH = 16 }; // mma: 16 x 8 of depth 16

static __device__ __forceinline__ uint32_t pack(float low, float high)
{
    return ecd_float_bf16(low) | (uint32_t)ecd_float_bf16(high) << 16;
}

static __device__ __forceinline__ uint32_t word(const ecd_bf16_bits *at)
{
    return *(const uint32_t *)at;
}

static __device__ __forceinline__ ecd_bf16_bits element(const ecd_bf16_bits *x, int64_t row, int64_t rows, int64_t stride,
                                                        int64_t d, int64_t dim)
{
    return row < rows && d < dim ? x[row * stride + d] : (ecd_bf16_bits)0;
}

// Sums and maxima over the four lanes that share a row of a fragment.
static __device__ __forceinline__ float quad_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

static __device__ __forceinline__ float quad_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

// DIM: the head's channels, with zeros up to a width that models have (64, DiT's 72, 128). Shared memory:
// keys [KEYS][DIM + SKEW], values [DIM][KEYS + SKEW].
template <int DIM> static __global__ void __launch_bounds__(WARPS *ECD_WARP) attention_mma(ecd_attention op)
{
    ECD_DYNAMIC_SHARED(ecd_bf16_bits, tiles);
    ecd_bf16_bits *keys = tiles, *values = tiles + KEYS * (DIM + SKEW);
    const int lane = threadIdx.x % ECD_WARP, warp = threadIdx.x / ECD_WARP, quad = lane / 4, pair = lane % 4 * 2;
    const int64_t dim = op.head_dim, head = blockIdx.y, sequence = blockIdx.z;
    const int64_t block = (int64_t)blockIdx.x * WARPS * QUERIES, first = block + warp * QUERIES;
    const ecd_bf16_bits *q = (const ecd_bf16_bits *)op.q + sequence * op.q_tokens * op.q_stride + head * dim;
    const ecd_bf16_bits *k = (const ecd_bf16_bits *)op.k + sequence * op.kv_tokens * op.k_stride + head * dim;
    const ecd_bf16_bits *v = (const ecd_bf16_bits *)op.v + sequence * op.kv_tokens * op.v_stride + head * dim;
    const float *bias = op.distance_bias ? op.distance_bias + head * (op.q_tokens + op.kv_tokens - 1) : NULL;

    uint32_t query[DIM / DEPTH][4]; // rows quad and quad + 8, channels pair and pair + 8
    for (int d = 0; d < DIM / DEPTH; d++)
        for (int i = 0; i < 4; i++) {
            int64_t row = first + quad + i % 2 * 8, at = d * DEPTH + pair + i / 2 * 8;
            query[d][i] = element(q, row, op.q_tokens, op.q_stride, at, dim) |
                          (uint32_t)element(q, row, op.q_tokens, op.q_stride, at + 1, dim) << 16;
        }
    float out[DIM / CELL][4], largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    for (int n = 0; n < DIM / CELL; n++)
        for (int i = 0; i < 4; i++)
            out[n][i] = 0;

    int64_t last = block + WARPS * QUERIES, seen = op.causal && last < op.kv_tokens ? last : op.kv_tokens;
    for (int64_t key = 0; key < seen; key += KEYS) {
        __syncthreads();
        for (int i = threadIdx.x; i < KEYS * DIM; i += WARPS * ECD_WARP) {
            int row = i / DIM, d = i % DIM;
            keys[row * (DIM + SKEW) + d] = element(k, key + row, op.kv_tokens, op.k_stride, d, dim);
            values[d * (KEYS + SKEW) + row] = element(v, key + row, seen, op.v_stride, d, dim);
        }
        __syncthreads();
        float logits[KEYS / CELL][4];
        for (int n = 0; n < KEYS / CELL; n++) {
            for (int i = 0; i < 4; i++)
                logits[n][i] = 0;
            for (int d = 0; d < DIM / DEPTH; d++) {
                const ecd_bf16_bits *at = keys + (n * CELL + quad) * (DIM + SKEW) + d * DEPTH + pair;
                const uint32_t cell[2] = {word(at), word(at + 8)};
                ecd_mma_bf16(logits[n], query[d], cell);
            }
        }
        float most[2] = {largest[0], largest[1]};
        for (int n = 0; n < KEYS / CELL; n++)
            for (int i = 0; i < 4; i++) {
                int64_t token = first + quad + i / 2 * 8, at = key + n * CELL + pair + i % 2;
                bool visible = at < op.kv_tokens && token < op.q_tokens && (!op.causal || at <= token);
                float logit = logits[n][i] * op.scale;
                if (bias && visible)
                    logit += bias[at - token + op.q_tokens - 1];
                logits[n][i] = visible ? logit : -INFINITY;
                most[i / 2] = fmaxf(most[i / 2], logits[n][i]);
            }
        float shrink[2], base[2], added[2] = {0, 0};
        for (int r = 0; r < 2; r++) {
            most[r] = quad_max(most[r]);
            base[r] = most[r] == -INFINITY ? 0.0f : most[r];
            shrink[r] = expf(largest[r] - base[r]);
            largest[r] = most[r];
        }
        for (int n = 0; n < KEYS / CELL; n++)
            for (int i = 0; i < 4; i++) {
                logits[n][i] = expf(logits[n][i] - base[i / 2]);
                added[i / 2] += logits[n][i];
            }
        for (int r = 0; r < 2; r++)
            sum[r] = sum[r] * shrink[r] + quad_sum(added[r]);
        for (int n = 0; n < DIM / CELL; n++) {
            for (int i = 0; i < 4; i++)
                out[n][i] *= shrink[i / 2];
            for (int j = 0; j < KEYS / DEPTH; j++) {
                const uint32_t weights[4] = {pack(logits[2 * j][0], logits[2 * j][1]),
                                             pack(logits[2 * j][2], logits[2 * j][3]),
                                             pack(logits[2 * j + 1][0], logits[2 * j + 1][1]),
                                             pack(logits[2 * j + 1][2], logits[2 * j + 1][3])};
                const ecd_bf16_bits *at = values + (n * CELL + quad) * (KEYS + SKEW) + j * DEPTH + pair;
                const uint32_t cell[2] = {word(at), word(at + 8)};
                ecd_mma_bf16(out[n], weights, cell);
            }
        }
    }
    for (int n = 0; n < DIM / CELL; n++)
        for (int i = 0; i < 4; i++) {
            int64_t token = first + quad + i / 2 * 8, d = n * CELL + pair + i % 2;
            if (token < op.q_tokens && d < dim)
                ecd_store((ecd_bf16_bits *)op.out + (sequence * op.q_tokens + token) * op.out_stride + head * dim, d,
                          out[n][i] / sum[i / 2]);
        }
}

template <int DIM> static const char *launch(ecd_cuda_stream *stream, const ecd_attention *op)
{
    size_t bytes = (KEYS * (DIM + SKEW) + DIM * (KEYS + SKEW)) * sizeof(ecd_bf16_bits);
    dim3 grid(ecd_cover(op->q_tokens, WARPS * QUERIES), (unsigned)op->heads, (unsigned)op->batch);
    ECD_RUN((attention_mma<DIM>), grid, WARPS * ECD_WARP, bytes, stream, *op);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_attention_mma(ecd_cuda_stream *stream, const ecd_attention *op)
{
    if (op->head_dim <= 32)
        return launch<32>(stream, op);
    if (op->head_dim <= 64)
        return launch<64>(stream, op);
    return op->head_dim <= 80 ? launch<80>(stream, op) : launch<128>(stream, op);
}
