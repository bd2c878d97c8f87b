// Attention on tensor cores: BF16 activations, heads of up to 128 channels, f32 logits, softmax and sums.
//
// As flash attention 2 (arXiv 2307.08691): a block has 64 or 128 queries of a head, a warp 16 or 32 of them; tiles of 64
// keys and values pass through shared memory, the values of a tile being fetched while its keys are multiplied and the
// next keys while the values are. The weights of a tile go from the first product's accumulators to the second's operand
// without leaving the registers. What a query gets depends on its own row and the order of the keys alone, so all forms of
// the kernel (queries of a warp, ways to load, width) give the same bits.
#include "kernels/cuda/attention.cuh"

enum { WARPS = 4, QUERIES = 16, KEYS = 64, THREADS = WARPS * ECD_WARP };

// What the warp's lanes hold of TILES * 16 queries; [2]: rows quad and quad + 8 of a fragment.
template <int DIM, int TILES> struct state {
    float out[TILES][DIM / ECD_CELL][4];
    float base[TILES][2]; // ecd_move_base
    float sum[TILES][2];  // of the lane's own keys
};

template <int TILES> struct logits {
    float at[TILES][KEYS / ECD_CELL][4];
};

// Maxima and sums over the four lanes that share a row of a fragment.
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

// queries, keys: shared addresses of the lane's pieces.
template <int DIM, int TILES>
static __device__ __forceinline__ void multiply_keys(uint32_t queries, uint32_t keys, logits<TILES> &l)
{
    constexpr int pitch = (DIM + ECD_SKEW) * 2;
    ecd_clear(l.at);
#pragma unroll
    for (int d = 0; d < DIM / ECD_DEPTH; d++) {
        uint32_t query[TILES][4];
#pragma unroll
        for (int m = 0; m < TILES; m++)
            ecd_ldmatrix_x4_at<false>(query[m], queries + m * QUERIES * pitch + d * ECD_DEPTH * 2);
        ecd_multiply_cells<false>(query, keys + d * ECD_DEPTH * 2, ECD_CELL * pitch, l.at);
    }
}

// Scales the logits to powers of two and adds the bias. token: of the lane's first row; key: of its first column.
template <int TILES>
static __device__ __forceinline__ void add_bias(const ecd_attention &op, int token, int key, float scale, logits<TILES> &l)
{
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < KEYS / ECD_CELL; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                l.at[m][n][i] = fmaf(l.at[m][n][i], scale, ecd_bias_log2(op, token + m * QUERIES + i / 2 * 8,
                                                                         key + n * ECD_CELL + i % 2));
}

// What a row does not see becomes -inf. Few tiles come here: ecd_keep, so that no limits wait for them in registers.
template <int TILES>
static __device__ __forceinline__ void mask(const ecd_attention &op, int token, int key, logits<TILES> &l)
{
    const int first = (int)ecd_keep((uint32_t)token);
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int seen = ecd_seen(op, first + m * QUERIES + i / 2 * 8) - key - i % 2;
#pragma unroll
            for (int n = 0; n < KEYS / ECD_CELL; n++)
                if (n * ECD_CELL >= seen)
                    l.at[m][n][i] = -INFINITY;
        }
}

// Sets each row's base. That the warp passes over factors of 1 changes no bit.
template <int DIM, int TILES>
static __device__ __forceinline__ void move_bases(const logits<TILES> &l, float factor, state<DIM, TILES> &s)
{
    float shrink[TILES][2];
    bool moved = false;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = -INFINITY;
#pragma unroll
            for (int n = 0; n < KEYS / ECD_CELL; n++)
                most = fmaxf(most, fmaxf(l.at[m][n][h * 2], l.at[m][n][h * 2 + 1]));
            shrink[m][h] = ecd_move_base(quad_max(most), factor, s.base[m][h]);
            moved |= shrink[m][h] != 1.0f;
        }
    if (!__any_sync(0xffffffffu, moved))
        return;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            s.sum[m][h] *= shrink[m][h];
    ecd_scale_rows(shrink, s.out);
}

// values: shared address of the lane's pieces.
template <int DIM, int TILES>
static __device__ __forceinline__ void multiply_values(uint32_t values, const logits<TILES> &l, float factor,
                                                       state<DIM, TILES> &s)
{
    constexpr int pitch = (DIM + ECD_SKEW) * 2;
    float base[TILES][2];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            base[m][h] = ecd_scaled_base(s.base[m][h], factor);
#pragma unroll
    for (int j = 0; j < KEYS / ECD_DEPTH; j++) {
        uint32_t weights[TILES][4];
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *two = &l.at[m][2 * j + i / 2][i % 2 * 2];
                const float low = ecd_exp2(fmaf(two[0], factor, -base[m][i % 2]));
                const float high = ecd_exp2(fmaf(two[1], factor, -base[m][i % 2]));
                s.sum[m][i % 2] += low + high;
                weights[m][i] = ecd_pack_bf16(low, high);
            }
        ecd_multiply_cells<true>(weights, values + j * ECD_DEPTH * pitch, ECD_CELL * 2, s.out);
    }
}

// token, channel: of the lane's first.
template <int DIM, int TILES, bool ALIGNED>
static __device__ __forceinline__ void store(const ecd_attention &op, int token, int channel, const state<DIM, TILES> &s)
{
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float inverse = 1.0f / quad_sum(s.sum[m][h]);
#pragma unroll
            for (int n = 0; n < DIM / ECD_CELL; n++)
                ecd_store_two<ALIGNED>(op, token + m * QUERIES + h * 8, channel + n * ECD_CELL,
                                       s.out[m][n][h * 2] * inverse, s.out[m][n][h * 2 + 1] * inverse);
        }
}

// DIM: the head's channels, with zeros up to a width that models have (64, DiT's 72, 128). Shared memory: tiles of the
// block's queries, of keys and of values. GENERAL: with a bias, or a scale of which the sign is not known; else logits are
// scaled where their exponential is taken. blockIdx: queries, head, sequence.
template <int DIM, int TILES, bool GENERAL, bool ALIGNED>
static __global__ void __launch_bounds__(THREADS, 2) attention_mma(ecd_attention op)
{
    constexpr int rows = WARPS * TILES * QUERIES, pitch = DIM + ECD_SKEW;
    ECD_DYNAMIC_SHARED(ecd_bf16_bits, queries);
    ecd_bf16_bits *keys = queries + rows * pitch, *values = keys + KEYS * pitch;
    const int lane = threadIdx.x % ECD_WARP, warp = threadIdx.x / ECD_WARP, block = blockIdx.x * rows;
    const int token = block + warp * TILES * QUERIES + lane / 4, pair = lane % 4 * 2;
    const ecd_head_rows q = ecd_rows_of(op.q, op.q_tokens, op.q_stride, op.head_dim);
    ecd_head_rows k = ecd_rows_of(op.k, op.kv_tokens, op.k_stride, op.head_dim);
    ecd_head_rows v = ecd_rows_of(op.v, op.kv_tokens, op.v_stride, op.head_dim);
    if (op.causal && block + rows < k.tokens)
        k.tokens = v.tokens = block + rows; // that the block sees

    const float scale = op.scale * ecd_log2_e, factor = GENERAL ? 1.0f : scale;
    const uint32_t own = ecd_shared_address(queries + warp * TILES * QUERIES * pitch);
    const uint32_t query_pieces = ecd_piece_by_rows<DIM>(own);
    const uint32_t key_pieces = ecd_piece_by_columns<DIM>(ecd_shared_address(keys));
    const uint32_t value_pieces = ecd_piece_by_rows<DIM>(ecd_shared_address(values));
    state<DIM, TILES> s;
#pragma unroll
    for (int m = 0; m < TILES; m++) {
        s.base[m][0] = s.base[m][1] = -INFINITY;
        s.sum[m][0] = s.sum[m][1] = 0;
    }
    ecd_clear(s.out);
    ecd_load_rows<rows, DIM, THREADS, ALIGNED>(q, block, queries);
    ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(k, 0, keys);
    ecd_cp_async_commit();
#pragma unroll 1
    for (int key = 0; key < k.tokens; key += KEYS) {
        logits<TILES> l;
        ecd_cp_async_wait<0>();
        __syncthreads(); // the keys are there, all are done with the values before
        ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(v, key, values);
        ecd_cp_async_commit();
        multiply_keys<DIM, TILES>(query_pieces, key_pieces, l);
        ecd_cp_async_wait<0>();
        __syncthreads(); // the values are there, all are done with the keys
        if (key + KEYS < k.tokens)
            ecd_load_rows<KEYS, DIM, THREADS, ALIGNED>(k, key + KEYS, keys);
        ecd_cp_async_commit();
        if (GENERAL)
            add_bias<TILES>(op, token, key + pair, scale, l);
        if (key + KEYS > k.tokens || (op.causal && key + KEYS > block + 1))
            mask<TILES>(op, token, key + pair, l);
        move_bases<DIM, TILES>(l, factor, s);
        multiply_values<DIM, TILES>(value_pieces, l, factor, s);
    }
    store<DIM, TILES, ALIGNED>(op, token, pair, s);
}

template <int DIM, int TILES, bool GENERAL, bool ALIGNED>
static const char *launch(ecd_cuda_stream *stream, const ecd_attention *op)
{
    const int rows = WARPS * TILES * QUERIES;
    const size_t bytes = (rows + 2 * KEYS) * (DIM + ECD_SKEW) * sizeof(ecd_bf16_bits);
    const char *error = ecd_allow_shared(attention_mma<DIM, TILES, GENERAL, ALIGNED>, bytes);
    if (error)
        return error;
    dim3 grid(ecd_cover(op->q_tokens, rows), (unsigned)op->heads, (unsigned)op->batch);
    ECD_RUN((attention_mma<DIM, TILES, GENERAL, ALIGNED>), grid, THREADS, bytes, stream, *op);
    return ecd_launch_error();
}

// With 32 queries a warp reads each key and value half as often, with 16 there are twice the blocks: wanted are two that each
// multiprocessor can hold. Causal ones always have 16: keys that a block sees and a query does not have a weight of 0, which
// times NaN is NaN, so how many there are must not follow from the batch.
template <int DIM>
static const char *launch_plain(ecd_cuda_stream *stream, uint32_t multiprocessors, const ecd_attention *op)
{
    const int64_t blocks = ecd_cover(op->q_tokens, WARPS * 2 * QUERIES) * op->heads * op->batch;
    return op->causal || blocks < 2 * (int64_t)multiprocessors ? launch<DIM, 1, false, true>(stream, op)
                                                               : launch<DIM, 2, false, true>(stream, op);
}

// The forms that models ask for often have kernels of their own; the rest shares what is right for all.
const char *ecd_cuda_launch_attention_mma(ecd_cuda_stream *stream, uint32_t multiprocessors, const ecd_attention *op)
{
    const bool general = op->distance_bias || !(op->scale > 0);
    if (!ecd_attention_aligned(op))
        return general ? launch<128, 1, true, false>(stream, op) : launch<128, 1, false, false>(stream, op);
    if (general)
        return op->head_dim <= 64 ? launch<64, 1, true, true>(stream, op) : launch<128, 1, true, true>(stream, op);
    if (op->head_dim <= 64)
        return launch_plain<64>(stream, multiprocessors, op);
    return op->head_dim <= 80 ? launch_plain<80>(stream, multiprocessors, op)
                              : launch_plain<128>(stream, multiprocessors, op);
}
