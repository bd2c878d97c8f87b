#include "kernels/cuda/ecf8_published.h"

#include "kernels/cuda/ecf8_table.cuh"

enum { THREAD_BITS = 64, MAX_CODE = 16, MAX_WARPS = 32, ROW = 256, POINTER = 240 };

struct published_group {
    const uint8_t *luts, *encoded, *nibbles, *gaps, *positions;
    uint64_t encoded_bytes, count, block_count, position_entries;
    uint32_t tables, threads; // threads: of a block of the format, each 8 bytes
    uint8_t *out;
    uint32_t *status;
};

static __device__ uint64_t position_of(const published_group &g, uint64_t block)
{
    if (block >= g.block_count || block >= g.position_entries) // the last block's entry may have been left out
        return g.count;
    uint64_t at = 0;
    for (int i = 0; i < 8; i++)
        at |= (uint64_t)g.positions[block * 8 + i] << (8 * i);
    return at < g.count ? at : g.count;
}

static __device__ __forceinline__ uint32_t gap_of(const published_group &g, uint64_t thread)
{
    return g.gaps[thread / 2] >> (thread % 2 ? 0 : 4) & 15;
}

// A thread's bits: its own 8 bytes and the 16 bits behind them, zeros past the stream's end.
struct thread_bits {
    uint64_t own, next;
};

static __device__ thread_bits load_bits(const published_group &g, uint64_t thread)
{
    thread_bits b = {0, 0};
    const uint64_t first = thread * 8;
    if (first + 8 <= g.encoded_bytes) {
        const uint2 x = *(const uint2 *)(g.encoded + first);
        b.own = (uint64_t)__byte_perm(x.x, 0, 0x0123) << 32 | __byte_perm(x.y, 0, 0x0123);
    } else {
        for (uint64_t i = first; i < g.encoded_bytes; i++)
            b.own |= (uint64_t)g.encoded[i] << (56 - 8 * (i - first));
    }
    for (uint64_t i = first + 8; i < first + 10 && i < g.encoded_bytes; i++)
        b.next |= (uint64_t)g.encoded[i] << (56 - 8 * (i - first - 8));
    return b;
}

static __device__ __forceinline__ uint32_t peek(const thread_bits &b, uint32_t at) // 16 bits
{
    if (at >= 64)
        return (uint32_t)(b.next << (at - 64) >> 48);
    return (uint32_t)((at ? b.own << at | b.next >> (64 - at) : b.own) >> 48);
}

// A code: its exponent in bits 0..3, its length above; 0: there is none.
static __device__ __forceinline__ uint32_t look_up(const uint8_t *luts, uint32_t tables, uint32_t bits)
{
    uint32_t entry = luts[bits >> 8];
    if (entry >= POINTER) {
        if (256 - entry >= tables)
            return 0;
        entry = luts[(256 - entry) * ROW + (bits & 255)];
    }
    const uint32_t length = luts[tables * ROW + (entry & 15)];
    return entry > 15 || length > MAX_CODE || !length ? 0 : entry | length << 4;
}

// The sum of the values of the threads before this one; all threads of the block call it.
static __device__ uint32_t sum_before(uint32_t value, uint32_t *warp_sums)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    uint32_t sum = value;
    for (uint32_t step = 1; step < 32; step *= 2) {
        const uint32_t other = __shfl_up_sync(0xffffffffu, sum, step);
        sum += lane >= step ? other : 0;
    }
    if (lane == 31)
        warp_sums[warp] = sum;
    __syncthreads();
    uint32_t before = 0;
    for (uint32_t w = 0; w < warps; w++)
        before += w < warp ? warp_sums[w] : 0;
    return before + sum - value;
}

static __device__ __forceinline__ uint32_t exponent_and_rest(uint32_t exponent, uint32_t nibble)
{
    return exponent << 3 | (nibble & 7) | (nibble & 8) << 4;
}

// Puts the weights begin .. end - 1 together, four at a time where all four are the block's.
template <bool bf16>
static __device__ void write_weights(const published_group &g, const uint8_t *exponents, uint64_t begin, uint64_t end)
{
    for (uint64_t q = begin / 4 + threadIdx.x; q * 4 < end; q += blockDim.x) {
        uint32_t x[4];
        for (uint32_t i = 0; i < 4; i++) {
            const uint64_t w = q * 4 + i;
            const bool mine = w >= begin && w < end;
            const uint32_t nibble = mine ? g.nibbles[w / 2] >> (w % 2 ? 0 : 4) & 15 : 0;
            x[i] = mine ? exponent_and_rest(exponents[w - begin], nibble) : 0;
            x[i] = bf16 ? ecd_ecf8_bf16_of_e4m3(x[i]) : x[i];
        }
        uint8_t *to = g.out + q * 4 * (bf16 ? 2 : 1);
        if (q * 4 >= begin && q * 4 + 4 <= end) {
            if (bf16)
                ecd_store_64(to, x[0] | x[1] << 16, x[2] | x[3] << 16);
            else
                ecd_store_32(to, x[0] | x[1] << 8 | x[2] << 16 | x[3] << 24);
            continue;
        }
        for (uint32_t i = 0; i < 4; i++)
            if (q * 4 + i >= begin && q * 4 + i < end) {
                if (bf16)
                    ((uint16_t *)to)[i] = (uint16_t)x[i];
                else
                    to[i] = (uint8_t)x[i];
            }
    }
}

template <bool bf16> static __global__ void published_kernel(const published_group g)
{
    __shared__ uint8_t luts[ECF8_PUBLISHED_MAX_ROWS * ROW];
    __shared__ uint32_t warp_sums[MAX_WARPS];
    ECD_DYNAMIC_SHARED(uint8_t, exponents); // of the block: at most one a bit
    for (uint32_t i = threadIdx.x; i < (g.tables + 1) * ROW; i += blockDim.x)
        luts[i] = g.luts[i];
    __syncthreads();

    // The first pass counts. The last thread's end is the stream's.
    const uint64_t block = blockIdx.x, begin = position_of(g, block), end = position_of(g, block + 1);
    const uint64_t thread = block * g.threads + threadIdx.x, all_bits = g.encoded_bytes * 8;
    const bool working = threadIdx.x < g.threads && thread * THREAD_BITS < all_bits;
    const thread_bits bits = working ? load_bits(g, thread) : thread_bits{0, 0};
    const uint32_t gap = working ? gap_of(g, thread) : 0;
    uint32_t codes = 0, at = gap, fault = ECF8_OK;
    while (working && at < THREAD_BITS && thread * THREAD_BITS + at < all_bits) {
        const uint32_t code = look_up(luts, g.tables, peek(bits, at));
        if (!code)
            break; // of the padding, or a fault that the second pass meets
        at += code >> 4;
        codes++;
    }
    const uint32_t before = sum_before(codes, warp_sums);

    // The second pass writes what lies within the block.
    const uint64_t room = end > begin ? end - begin : 0, most = (uint64_t)g.threads * THREAD_BITS;
    const uint32_t weights = (uint32_t)(room < most ? room : most);
    at = gap;
    uint32_t i = before;
    for (; i < before + codes && i < weights; i++) {
        const uint32_t code = look_up(luts, g.tables, peek(bits, at));
        exponents[i] = (uint8_t)(code & 15);
        at += code >> 4;
    }
    // What must be so: a thread whose codes are all wanted, with more wanted behind them, ends where the next one's gap says;
    // the weights end with the block's codes, and the stream with the last weight.
    const uint64_t reached = thread * THREAD_BITS + at;
    const bool next_is_there = (thread + 1) / g.threads < g.block_count && thread + 1 < g.block_count * g.threads;
    const bool wanted_behind = i == before + codes && begin + i < g.count;
    if (working && wanted_behind && (!next_is_there || at < THREAD_BITS || at - THREAD_BITS != gap_of(g, thread + 1)))
        fault = at < THREAD_BITS ? ECF8_ERR_STREAM : ECF8_ERR_PADDING;
    if (working && codes && begin + i == g.count && i > before && (reached + 7) / 8 != g.encoded_bytes)
        fault = ECF8_ERR_STREAM;
    if (working && i < before + codes && end != g.count) // codes too many, but for the padding at the end
        fault = ECF8_ERR_STREAM;
    if (threadIdx.x == blockDim.x - 1 && (room > most || before + codes < weights))
        fault = ECF8_ERR_STREAM; // too few
    if (fault)
        atomicMax(g.status, fault);
    __syncthreads();
    write_weights<bf16>(g, exponents, begin, begin + weights);
}

int ecd_ecf8_published_decode(const ecf8_published *group, const void *const parts[ECF8_PUBLISHED_PARTS], ecf8_form form,
                              void *out, uint32_t *status, void *stream)
{
    const uint32_t threads = group->block_bytes / ECF8_PUBLISHED_THREAD_BYTES, most = threads * THREAD_BITS;
    if (form != ECF8_FORM_NATIVE && form != ECF8_FORM_BF16)
        return cudaErrorInvalidValue;
    if (!group->block_count)
        return cudaSuccess;
    const published_group g = {(const uint8_t *)parts[ECF8_PUBLISHED_LUTS],
                               (const uint8_t *)parts[ECF8_PUBLISHED_ENCODED],
                               (const uint8_t *)parts[ECF8_PUBLISHED_NIBBLES],
                               (const uint8_t *)parts[ECF8_PUBLISHED_GAPS],
                               (const uint8_t *)parts[ECF8_PUBLISHED_POSITIONS],
                               group->parts[ECF8_PUBLISHED_ENCODED].bytes,
                               group->count,
                               group->block_count,
                               group->parts[ECF8_PUBLISHED_POSITIONS].bytes / 8,
                               group->tables,
                               threads,
                               (uint8_t *)out,
                               status};
    void (*kernel)(const published_group) = form == ECF8_FORM_BF16 ? published_kernel<true> : published_kernel<false>;
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most);
    if (error)
        return error;
    ECD_LAUNCH(kernel, (unsigned)group->block_count, threads < 32 ? 32 : threads, most, (cudaStream_t)stream, g);
    return cudaGetLastError();
}
