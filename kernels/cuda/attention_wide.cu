// Attention on tensor cores for BF16 heads of up to 512 channels: a VAE's one head, over all pixels.
//
// A block has 32 queries, which its warps share: in the first product a warp has 16 of them, whose 512 channels stay in its
// registers, and 8 of a tile's 32 keys; logits and weights pass through shared memory, where a warp makes the weights of 4
// queries; in the second product a warp has all queries and 64 channels. The next keys are fetched from the moment that all
// have multiplied the ones before, and so the values: always a tile of one or the other is on its way.
#include "kernels/cuda/attention.cuh"

enum { WARPS = 8, THREADS = WARPS * ECD_WARP, QUERIES = 32, KEYS = 32, DIM = 512, PITCH = DIM + ECD_SKEW };
enum { ROWS = 16, TILES = QUERIES / ROWS, OWN = QUERIES / WARPS, CHANNELS = DIM / WARPS, CHAINS = 4 };
enum { KEYS_PITCH = KEYS + 8 }; // of logits and weights

struct shared_tiles {
    ecd_bf16_bits keys[KEYS * PITCH], values[KEYS * PITCH]; // the queries lie at the values' place before the first values
    ecd_bf16_bits weights[QUERIES * KEYS_PITCH];
    float logits[QUERIES * KEYS_PITCH];
    float factors[QUERIES]; // of what was summed up before; in the end 1 / sum
};

// Of the queries whose weights the warp makes.
struct softmax {
    float base[OWN], sum[OWN]; // ecd_move_base; the sum of the lane's keys
};

// The warp's logits, 16 x 8. Several chains of sums, so that one product need not wait for the one before.
static __device__ __forceinline__ void multiply_keys(const uint32_t (&query)[DIM / ECD_DEPTH][4], shared_tiles *t, int row,
                                                     int column)
{
    const int lane = threadIdx.x % ECD_WARP, quad = lane / 4, pair = lane % 4 * 2;
    const uint32_t at = ecd_shared_address(t->keys + (column + lane % 8) * PITCH + lane / 8 * 8);
    float sums[CHAINS][4];
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            sums[c][i] = 0;
#pragma unroll
    for (int d = 0; d < DIM / ECD_DEPTH; d += 2) {
        uint32_t cells[4]; // 8 keys, 32 channels
        ecd_ldmatrix_x4_at<false>(cells, at + d * ECD_DEPTH * 2);
        ecd_mma_bf16(sums[d % CHAINS], query[d], cells);
        ecd_mma_bf16(sums[(d + 1) % CHAINS], query[d + 1], cells + 2);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float2 two;
        two.x = (sums[0][h * 2] + sums[1][h * 2]) + (sums[2][h * 2] + sums[3][h * 2]);
        two.y = (sums[0][h * 2 + 1] + sums[1][h * 2 + 1]) + (sums[2][h * 2 + 1] + sums[3][h * 2 + 1]);
        *(float2 *)(t->logits + (row + quad + h * 8) * KEYS_PITCH + column + pair) = two;
    }
}

// The weights of the warp's own queries [own, own + OWN) of the block: a lane has a key. Step by step for all of them, so
// that the shuffles of one do not wait for another's.
static __device__ __forceinline__ void make_weights(const ecd_attention &op, int block, int own, int key, shared_tiles *t,
                                                    softmax *s)
{
    const int lane = threadIdx.x % ECD_WARP;
    float logit[OWN], most[OWN];
#pragma unroll
    for (int r = 0; r < OWN; r++)
        logit[r] = t->logits[(own + r) * KEYS_PITCH + lane] * (op.scale * ecd_log2_e);
    if (op.distance_bias)
#pragma unroll
        for (int r = 0; r < OWN; r++)
            logit[r] += ecd_bias_log2(op, block + own + r, key + lane);
#pragma unroll
    for (int r = 0; r < OWN; r++)
        most[r] = logit[r] = key + lane < ecd_seen(op, block + own + r) ? logit[r] : -INFINITY;
#pragma unroll
    for (int step = ECD_WARP / 2; step; step /= 2)
#pragma unroll
        for (int r = 0; r < OWN; r++)
            most[r] = fmaxf(most[r], __shfl_xor_sync(0xffffffffu, most[r], step));
#pragma unroll
    for (int r = 0; r < OWN; r++) {
        const float shrink = ecd_move_base(most[r], 1.0f, s->base[r]);
        const float weight = ecd_exp2(logit[r] - ecd_scaled_base(s->base[r], 1.0f));
        s->sum[r] = s->sum[r] * shrink + weight;
        t->weights[(own + r) * KEYS_PITCH + lane] = (ecd_bf16_bits)ecd_pack_bf16(weight, 0.0f);
        if (lane == 0)
            t->factors[own + r] = shrink;
    }
}

static __device__ __forceinline__ void multiply_values(shared_tiles *t, int channel, float (&out)[TILES][CHANNELS / ECD_CELL][4])
{
    const int lane = threadIdx.x % ECD_WARP;
    float shrink[TILES][2];
    bool moved = false;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            shrink[m][h] = t->factors[m * ROWS + h * 8 + lane / 4];
            moved |= shrink[m][h] != 1.0f;
        }
    if (__any_sync(0xffffffffu, moved))
        ecd_scale_rows(shrink, out);
    const uint32_t values = ecd_piece_by_rows<DIM>(ecd_shared_address(t->values + channel));
    const uint32_t weights = ecd_piece_by_rows<KEYS>(ecd_shared_address(t->weights));
#pragma unroll
    for (int j = 0; j < KEYS / ECD_DEPTH; j++) {
        uint32_t weight[TILES][4];
#pragma unroll
        for (int m = 0; m < TILES; m++)
            ecd_ldmatrix_x4_at<false>(weight[m], weights + (m * ROWS * KEYS_PITCH + j * ECD_DEPTH) * 2);
        ecd_multiply_cells<true>(weight, values + j * ECD_DEPTH * PITCH * 2, ECD_CELL * 2, out);
    }
}

template <bool ALIGNED>
static __device__ __forceinline__ void store(const ecd_attention &op, int block, int channel, const shared_tiles *t,
                                             const float (&out)[TILES][CHANNELS / ECD_CELL][4])
{
    const int quad = threadIdx.x % ECD_WARP / 4, pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = m * ROWS + h * 8 + quad;
            const float inverse = t->factors[row];
#pragma unroll
            for (int n = 0; n < CHANNELS / ECD_CELL; n++)
                ecd_store_two<ALIGNED>(op, block + row, channel + n * ECD_CELL + pair, out[m][n][h * 2] * inverse,
                                       out[m][n][h * 2 + 1] * inverse);
        }
}

// blockIdx: queries, head, sequence.
template <bool ALIGNED> static __global__ void __launch_bounds__(THREADS, 1) attention_wide(ecd_attention op)
{
    ECD_DYNAMIC_SHARED(shared_tiles, t);
    const int warp = threadIdx.x / ECD_WARP, block = blockIdx.x * QUERIES;
    const int row = warp % TILES * ROWS, column = warp / TILES * ECD_CELL, channel = warp * CHANNELS;
    const ecd_head_rows q = ecd_rows_of(op.q, op.q_tokens, op.q_stride, op.head_dim);
    ecd_head_rows k = ecd_rows_of(op.k, op.kv_tokens, op.k_stride, op.head_dim);
    ecd_head_rows v = ecd_rows_of(op.v, op.kv_tokens, op.v_stride, op.head_dim);
    if (op.causal && block + QUERIES < k.tokens)
        k.tokens = v.tokens = block + QUERIES; // that the block sees

    ecd_load_rows<QUERIES, DIM, THREADS, ALIGNED>(q, block, t->values);
    ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(k, 0, t->keys);
    ecd_cp_async_commit();
    ecd_cp_async_wait<0>();
    __syncthreads();
    uint32_t query[DIM / ECD_DEPTH][4];
    const uint32_t pieces = ecd_piece_by_rows<DIM>(ecd_shared_address(t->values + row * PITCH));
#pragma unroll
    for (int d = 0; d < DIM / ECD_DEPTH; d++)
        ecd_ldmatrix_x4_at<false>(query[d], pieces + d * ECD_DEPTH * 2);
    __syncthreads(); // all have the queries
    ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(v, 0, t->values);
    ecd_cp_async_commit();
    softmax s;
    float out[TILES][CHANNELS / ECD_CELL][4];
#pragma unroll
    for (int r = 0; r < OWN; r++) {
        s.base[r] = -INFINITY;
        s.sum[r] = 0;
    }
    ecd_clear(out);
#pragma unroll 1
    for (int key = 0; key < k.tokens; key += KEYS) {
        ecd_cp_async_wait<1>();
        __syncthreads(); // the keys are there
        multiply_keys(query, t, row, column);
        __syncthreads(); // the logits are there, all are done with the keys
        if (key + KEYS < k.tokens)
            ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(k, key + KEYS, t->keys);
        ecd_cp_async_commit();
        make_weights(op, block, warp * OWN, key, t, &s);
        ecd_cp_async_wait<1>();
        __syncthreads(); // the values are there, and the weights
        multiply_values(t, channel, out);
        __syncthreads(); // all are done with the values, and the weights
        if (key + KEYS < k.tokens)
            ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(v, key + KEYS, t->values);
        ecd_cp_async_commit();
    }
#pragma unroll
    for (int r = 0; r < OWN; r++) {
        const float sum = ecd_warp_sum(s.sum[r]);
        if (threadIdx.x % ECD_WARP == 0)
            t->factors[warp * OWN + r] = 1.0f / sum;
    }
    __syncthreads();
    store<ALIGNED>(op, block, channel, t, out);
}

template <bool ALIGNED> static const char *launch(ecd_cuda_stream *stream, const ecd_attention *op)
{
    const char *error = ecd_allow_shared(attention_wide<ALIGNED>, sizeof(shared_tiles));
    if (error)
        return error;
    dim3 grid(ecd_cover(op->q_tokens, QUERIES), (unsigned)op->heads, (unsigned)op->batch);
    ECD_RUN(attention_wide<ALIGNED>, grid, THREADS, sizeof(shared_tiles), stream, *op);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_attention_wide(ecd_cuda_stream *stream, const ecd_attention *op)
{
    return ecd_attention_aligned(op) ? launch<true>(stream, op) : launch<false>(stream, op);
}
