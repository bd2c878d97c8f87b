#include "kernels/cuda/ecf8_product.h"

#include "kernels/cuda/ecf8_tile.cuh"

// The sum of a row that a tile has a part of: tiles and rows both rise along the tensor, so no two parts have the same place.
static __device__ __forceinline__ uint64_t part_at(uint32_t row, uint32_t tile)
{
    return (uint64_t)row + tile;
}

static __device__ __forceinline__ float low_half(uint32_t x)
{
    return __uint_as_float(x << 16);
}

static __device__ __forceinline__ float high_half(uint32_t x)
{
    return __uint_as_float(x & 0xffff0000u);
}

// 480, which E4M3 does not have, is NaN.
static __device__ __forceinline__ uint32_t mend_nans(uint32_t x)
{
    x |= (x & 0x00007fffu) == 0x000043f0u ? 0x00003c00u : 0;
    return x | ((x & 0x7fff0000u) == 0x43f00000u ? 0x3c000000u : 0);
}

// What a lane has of a row's products, for each row of activations.
template <int most> struct sums {
    float of[most];
};

// x: of the first row of activations, the lane's four of the group's columns; rows stride apart.
template <int most>
static __device__ __forceinline__ void multiply_group(sums<most> &s, uint32_t x, uint32_t y, const uint8_t *at, uint32_t stride)
{
    const float w0 = low_half(x), w1 = high_half(x), w2 = low_half(y), w3 = high_half(y);
#pragma unroll
    for (int m = 0; m < most; m++) {
        const uint2 a = *(const uint2 *)(at + m * stride);
        s.of[m] = fmaf(w0, low_half(a.x), s.of[m]);
        s.of[m] = fmaf(w1, high_half(a.x), s.of[m]);
        s.of[m] = fmaf(w2, low_half(a.y), s.of[m]);
        s.of[m] = fmaf(w3, high_half(a.y), s.of[m]);
    }
}

// The patches among the columns that end with the tile's weight `end`: what they change, added. All lanes do the same.
// `next`: the first patch that was not looked at yet.
template <int most>
static __device__ __forceinline__ void add_patches(sums<most> &s, const ecd_ecf8_job &j, uint32_t &next, uint32_t end,
                                                   uint32_t column, uint32_t fill, const uint8_t *x, uint32_t stride)
{
    const ecd_ecf8_tensor *t = j.tensor;
    for (; next < j.patch_end; next++) {
        const uint8_t *patch = t->patches + (uint64_t)next * 3;
        const uint32_t place = (patch[0] | (uint32_t)patch[1] << 8) * 2;
        if (place >= end)
            return;
        for (uint32_t i = 0; i < 2; i++) {
            const uint64_t weight = j.first + place + i;
            const uint32_t was = ecd_ecf8_own_weight(t, fill >> 4 * i & 15, weight);
            const uint32_t is = ecd_ecf8_own_weight(t, patch[2] >> 4 * i & 15, weight);
            const float moved = low_half(ecd_ecf8_bf16_of_e4m3(is)) - low_half(ecd_ecf8_bf16_of_e4m3(was));
            const uint32_t at = column - (end - place - i); // column: behind the last of these
#pragma unroll
            for (int m = 0; m < most; m++)
                s.of[m] = fmaf(moved, low_half(*(const uint16_t *)(x + m * stride + at * 2)), s.of[m]);
        }
    }
}

// The lanes' sums together, to memory: lane m writes row m's.
template <int most> static __device__ __forceinline__ void add_lanes(sums<most> &s)
{
#pragma unroll
    for (int m = 0; m < most; m++)
        for (int step = 16; step; step /= 2)
            s.of[m] += __shfl_xor_sync(ECD_ALL_LANES, s.of[m], step);
}

template <int most> static __device__ __forceinline__ void write_sums(sums<most> &s, float *to)
{
    const uint32_t lane = threadIdx.x % 32;
    float mine = s.of[0];
#pragma unroll
    for (uint32_t m = 1; m < most; m++)
        mine = lane == m ? s.of[m] : mine;
    if (lane < most)
        to[lane] = mine;
#pragma unroll
    for (int m = 0; m < most; m++)
        s.of[m] = 0;
}

// A group at a time, the plane's words two groups ahead.
template <int most>
static __device__ __forceinline__ uint32_t multiply_tile(const ecd_ecf8_work &k, ecd_ecf8_warp &w, const ecd_ecf8_product &p,
                                                         const uint8_t *x, uint32_t fill)
{
    const ecd_ecf8_job j = ecd_ecf8_find_tile(k, true);
    const uint32_t stride = p.cols * 2, groups = __shfl_sync(ECD_ALL_LANES, j.groups, 0);
    const uint8_t *const lane_x = x + threadIdx.x % 32 * 8;
    uint32_t row = __shfl_sync(ECD_ALL_LANES, (uint32_t)(j.first / p.cols), 0);
    uint32_t column = __shfl_sync(ECD_ALL_LANES, (uint32_t)(j.first % p.cols), 0), patch = j.patch_begin;
    ecd_ecf8_plane plane;
    ecd_ecf8_begin(w, j.tensor->words, j.words_begin, j.words_end, j.tensor->code_bits, 0);
    ecd_ecf8_open_plane<ECD_ECF8_PAIRS_TO_HALVES>(plane, j.tensor->plane, j.first / ECF8_GROUP, 0, false);
    uint32_t next = ecd_ecf8_load_plane<ECD_ECF8_PAIRS_TO_HALVES>(plane, 0);
    uint32_t after = groups > 1 ? ecd_ecf8_load_plane<ECD_ECF8_PAIRS_TO_HALVES>(plane, 1) : 0;
    sums<most> s = {};
#pragma unroll 1
    for (uint32_t g = 0; g < groups; g++) {
        uint32_t e[2], a, b, now = next;
        next = after;
        after = g + 2 < groups ? ecd_ecf8_load_plane<ECD_ECF8_PAIRS_TO_HALVES>(plane, 2) : 0;
        plane.at += ecd_ecf8_plane_stride<ECD_ECF8_PAIRS_TO_HALVES>();
        ecd_ecf8_look_after_ring(w);
        ecd_ecf8_2_steps(w, e);
        ecd_ecf8_join<ECD_ECF8_PAIRS_TO_HALVES>(plane, e, now, a, b);
        if ((e[0] | e[1]) & ECD_ECF8_NAN_FLAG) {
            a = mend_nans(a);
            b = mend_nans(b);
        }
        multiply_group<most>(s, a, b, lane_x + column * 2, stride);
        column += ECF8_GROUP;
        if (column == p.cols || g + 1 == groups) {
            add_lanes<most>(s);
            add_patches<most>(s, j, patch, (g + 1) * ECF8_GROUP, column, fill, x, stride);
            write_sums<most>(s, (float *)p.partials + part_at(row, j.tile) * most);
            column = 0;
            row++;
        }
    }
    ecd_ecf8_let_arrive(w);
    return ecd_ecf8_ends_well(w, j.tensor->words, j.words_end, j.tensor->code_bits, true) ? ECF8_OK : ECF8_ERR_STREAM;
}

// Behind the decoder's shared memory: the activations, rows that are not there as zeros.
template <int most>
static __global__ void __launch_bounds__(ECD_ECF8_THREADS, most > 4 ? 1 : ECD_ECF8_BLOCKS_OF_SM)
    product_kernel(const __grid_constant__ ecd_ecf8_work k, const __grid_constant__ ecd_ecf8_product p)
{
    __shared__ ecd_ecf8_codes codes;
    ECD_DYNAMIC_SHARED(uint8_t, shared);
    uint8_t *const x = shared + ECD_ECF8_SHARED_BYTES;
    for (uint32_t m = 0; m < most; m++)
        for (uint32_t i = threadIdx.x; i < p.cols; i += ECD_ECF8_THREADS)
            ((uint16_t *)x)[m * p.cols + i] = m < p.rows ? ((const uint16_t *)p.x)[m * p.x_stride + i] : 0;
    ecd_ecf8_warp w;
    ecd_ecf8_open_block(k, shared, &codes, w); // with a barrier behind what was stored above
    if (ecd_ecf8_warp_number() < k.blocks[blockIdx.x].count)
        ecd_ecf8_report(k, multiply_tile<most>(k, w, p, x, codes.symbols[0]));
}

// The tiles' sums of each row of the weight together, in the tiles' order.
static __global__ void add_tiles(const ecd_ecf8_product p, uint32_t most, uint32_t tile_weights)
{
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, row = i / most, m = i % most;
    if (row >= p.channels || m >= p.rows)
        return;
    const uint64_t first = (uint64_t)row * p.cols;
    const uint32_t begin = (uint32_t)(first / tile_weights), end = (uint32_t)((first + p.cols - 1) / tile_weights);
    float sum = 0;
    for (uint32_t tile = begin; tile <= end; tile++)
        sum += ((const float *)p.partials)[part_at(row, tile) * most + m];
    p.sums[m * p.sums_stride + row] = sum;
}

// ---------------------------------------------------------------- the host's side

static uint32_t most_of(uint32_t rows)
{
    return rows <= 1 ? 1 : rows <= 4 ? 4 : ECD_ECF8_PRODUCT_ROWS;
}

// Whether a table's code of zeros stands for an exponent of 15, where NaNs are.
static bool fills_with_nan(const uint8_t *lengths)
{
    uint32_t least = 16, symbol = 0;
    for (uint32_t s = 0; s < ECD_ECF8_SYMBOLS; s++) {
        const uint32_t length = lengths[s / 2] >> (s % 2 * 4) & 15;
        if (length && length < least) {
            least = length;
            symbol = s;
        }
    }
    return (symbol & 15) == 15 || symbol >> 4 == 15;
}

bool ecd_ecf8_product_fits(const ecf8_view *view, uint64_t cols, uint32_t rows, uint32_t shared_bytes)
{
    if (view->mode != ECF8_MODE_PAIRS || !cols || cols % ECF8_GROUP || cols > UINT32_MAX / 64 || view->count % cols ||
        !rows || rows > ECD_ECF8_PRODUCT_ROWS)
        return false;
    for (uint32_t i = 0; view->patch_count && i < view->table_count; i++)
        if (fills_with_nan(view->tables + i * (ECD_ECF8_SYMBOLS / 2)))
            return false;
    // The kernel's other shared memory, and the system's.
    return ECD_ECF8_SHARED_BYTES + most_of(rows) * cols * 2 + sizeof(ecd_ecf8_codes) + 1024 <= shared_bytes;
}

uint64_t ecd_ecf8_product_bytes(const ecf8_view *view, uint64_t cols, uint32_t rows)
{
    return (view->count / cols + view->tile_count) * most_of(rows) * sizeof(float);
}

int ecd_ecf8_multiply(const ecd_ecf8_plan *plan, const void *image, const ecd_ecf8_product *p, uint32_t *status, void *stream)
{
    const ecd_ecf8_tensor *t = (const ecd_ecf8_tensor *)plan->image;
    const uint32_t most = most_of(p->rows), shared_bytes = ECD_ECF8_SHARED_BYTES + most * p->cols * 2;
    void (*kernel)(const ecd_ecf8_work, const ecd_ecf8_product) = most == 1   ? product_kernel<1>
                                                                  : most == 4 ? product_kernel<4>
                                                                              : product_kernel<ECD_ECF8_PRODUCT_ROWS>;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    if (error)
        return error;
    const ecd_ecf8_work k = ecd_ecf8_work_of(plan, image, NULL, status);
    ECD_LAUNCH(kernel, plan->block_count, ECD_ECF8_THREADS, shared_bytes, (cudaStream_t)stream, k, *p);
    ECD_LAUNCH(add_tiles, (p->channels * most + 255) / 256, 256, 0, (cudaStream_t)stream, *p, most, t->tile_weights);
    return cudaGetLastError();
}
