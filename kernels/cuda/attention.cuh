// What the attention kernels on tensor cores share: rows of a head brought to shared memory, where fragments of them lie,
// and what becomes of one logit.
//
// A tile is rows of DIM channels, DIM + ECD_SKEW elements apart: an odd number of 16 bytes, so that the eight rows that
// an ldmatrix reads at a time lie in different banks.
#ifndef ECD_KERNELS_CUDA_ATTENTION_CUH
#define ECD_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/device.cuh"

enum { ECD_SKEW = 8, ECD_CHUNK = 8, ECD_CELL = 8, ECD_DEPTH = 16 }; // ECD_CHUNK: elements of a copy; mma: 16 x 8 of depth 16

static const float ecd_log2_e = 1.44269504088896340736f;

// One head of one sequence: `tokens` rows of `dim` channels, stride elements apart.
typedef struct ecd_head_rows {
    const ecd_bf16_bits *at;
    int64_t stride;
    int tokens, dim;
} ecd_head_rows;

static __device__ __forceinline__ ecd_head_rows ecd_rows_of(const void *x, int64_t tokens, int64_t stride, int64_t dim)
{
    const ecd_bf16_bits *at = (const ecd_bf16_bits *)x + blockIdx.z * tokens * stride + blockIdx.y * dim;
    return {at, stride, (int)tokens, (int)dim};
}

// Whether rows can be copied by 16 bytes. Those that cannot come by elements, to the same tiles: the bits are the same.
static inline bool ecd_attention_aligned(const ecd_attention *op)
{
    const uintptr_t addresses = (uintptr_t)op->q | (uintptr_t)op->k | (uintptr_t)op->v | (uintptr_t)op->out;
    const int64_t strides = op->head_dim | op->q_stride | op->k_stride | op->v_stride | op->out_stride;
    return addresses % 16 == 0 && strides % ECD_CHUNK == 0;
}

// ECD_CHUNK channels of a row, element by element.
static __device__ __forceinline__ void ecd_load_chunk(const ecd_head_rows &x, int row, int channel, ecd_bf16_bits *to)
{
    for (int i = 0; i < ECD_CHUNK; i++)
        to[i] = row < x.tokens && channel + i < x.dim ? x.at[row * x.stride + channel + i] : (ecd_bf16_bits)0;
}

// Rows [first, first + ROWS) to a tile, zeros where there is no token or no channel; by all threads of the block. The
// bytes are there after ecd_cp_async_wait and a barrier. ALIGNED: as ecd_attention_aligned has it.
template <int ROWS, int DIM, int THREADS, bool ALIGNED>
static __device__ __forceinline__ void ecd_load_rows(const ecd_head_rows &x, int first, ecd_bf16_bits *tile)
{
    constexpr int slots = DIM <= 64 ? 8 : DIM <= 128 ? 16 : 64, step = THREADS / slots; // slots: a power of two
    static_assert(DIM <= slots * ECD_CHUNK && ROWS % step == 0, "a thread has its column of chunks");
    const int row = first + threadIdx.x / slots, channel = threadIdx.x % slots * ECD_CHUNK;
    ecd_bf16_bits *to = tile + threadIdx.x / slots * (DIM + ECD_SKEW) + channel;
    if (channel >= DIM)
        return;
    if (!ALIGNED) {
        for (int i = 0; i < ROWS; i += step)
            ecd_load_chunk(x, row + i, channel, to + i * (DIM + ECD_SKEW));
        return;
    }
    const ecd_bf16_bits *from = x.at + row * x.stride + channel;
    const uint32_t address = ecd_shared_address(to);
    const int there = channel < x.dim ? x.tokens - row : 0; // rows of the thread's, from the first on
#pragma unroll
    for (int i = 0; i < ROWS; i += step, from += step * x.stride)
        ecd_cp_async_at<16>(address + i * (DIM + ECD_SKEW) * 2, from, i < there ? 16 : 0);
}

// Where a lane reads a 16 x 16 piece of a tile for ecd_ldmatrix_x4_at, whose shared address is `tile`: rows are an
// operand's rows (and with `transposed` the depth of the second operand).
template <int DIM> static __device__ __forceinline__ uint32_t ecd_piece_by_rows(uint32_t tile)
{
    const int lane = threadIdx.x % ECD_WARP;
    return tile + (lane % 16 * (DIM + ECD_SKEW) + lane / 16 * 8) * 2;
}

// The same for the second operand where its columns are the tile's rows: two cells of 8 columns, of each both halves.
template <int DIM> static __device__ __forceinline__ uint32_t ecd_piece_by_columns(uint32_t tile)
{
    const int lane = threadIdx.x % ECD_WARP;
    return tile + ((lane / 16 * 8 + lane % 8) * (DIM + ECD_SKEW) + lane / 8 % 2 * 8) * 2;
}

// d += a b, for TILES fragments of 16 rows and CELLS cells of 8 columns, at a depth of 16. b: where the lane reads the first
// two cells, others `step` bytes a cell on.
template <bool TRANSPOSED, int TILES, int CELLS>
static __device__ __forceinline__ void ecd_multiply_cells(const uint32_t (&a)[TILES][4], uint32_t b, int step,
                                                          float (&d)[TILES][CELLS][4])
{
#pragma unroll
    for (int n = 0; n < CELLS; n += 2) {
        uint32_t cells[4];
        ecd_ldmatrix_x4_at<TRANSPOSED>(cells, b + n * step);
#pragma unroll
        for (int m = 0; m < TILES; m++) {
            ecd_mma_bf16(d[m][n], a[m], cells);
            ecd_mma_bf16(d[m][n + 1], a[m], cells + 2);
        }
    }
}

// d's rows times a factor each; [2]: rows quad and quad + 8 of a fragment.
template <int TILES, int CELLS>
static __device__ __forceinline__ void ecd_scale_rows(const float (&factor)[TILES][2], float (&d)[TILES][CELLS][4])
{
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < CELLS; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                d[m][n][i] *= factor[m][i / 2];
}

template <int TILES, int CELLS> static __device__ __forceinline__ void ecd_clear(float (&d)[TILES][CELLS][4])
{
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < CELLS; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                d[m][n][i] = 0;
}

// How many keys a query sees.
static __device__ __forceinline__ int ecd_seen(const ecd_attention &op, int query)
{
    return (int)(op.causal && query + 1 < op.kv_tokens ? query + 1 : op.kv_tokens);
}

// The bias of a key's and a query's distance, times log2(e); 0 where there is none.
static __device__ __forceinline__ float ecd_bias_log2(const ecd_attention &op, int query, int key)
{
    if (!op.distance_bias || query >= op.q_tokens || key >= op.kv_tokens)
        return 0.0f;
    const float *bias = op.distance_bias + blockIdx.y * (op.q_tokens + op.kv_tokens - 1);
    return bias[key - query + op.q_tokens - 1] * ecd_log2_e;
}

// Weights are 2^((logit - base) * factor). A row's base moves, to `most`, only where a weight would exceed 2^8: its sums are
// scaled by the factor returned, which hardly ever is other than 1 (as FlashAttention-4 has it). A row decides for itself.
static __device__ __forceinline__ float ecd_move_base(float most, float factor, float &base)
{
    const bool moves = (most - base) * factor > 8.0f; // not from -inf to -inf, which is NaN
    const float shrink = moves ? ecd_exp2((base - most) * factor) : 1.0f;
    base = moves ? most : base;
    return shrink;
}

// What is taken from a logit times factor. While every logit is -inf there is nothing: weights are 0, and 0 / 0 in the end.
static __device__ __forceinline__ float ecd_scaled_base(float base, float factor)
{
    return base == -INFINITY ? 0.0f : base * factor;
}

// Two neighbouring channels of the result, the first even.
template <bool ALIGNED>
static __device__ __forceinline__ void ecd_store_two(const ecd_attention &op, int query, int channel, float low, float high)
{
    if (query >= op.q_tokens || channel >= op.head_dim)
        return;
    ecd_bf16_bits *to = (ecd_bf16_bits *)op.out + (blockIdx.z * op.q_tokens + query) * op.out_stride +
                        blockIdx.y * op.head_dim + channel;
    const uint32_t two = ecd_pack_bf16(low, high);
    if (ALIGNED) {
        *(uint32_t *)to = two;
        return;
    }
    to[0] = (ecd_bf16_bits)two;
    if (channel + 1 < op.head_dim)
        to[1] = (ecd_bf16_bits)(two >> 16);
}

#endif
