#include "tests/cuda_emu/sins.h"

#include "kernels/cuda/ptx.cuh"

#define ALL 0xffffffffu

// ---------------------------------------------------------------- sound

static __global__ void sum_kernel(const float *in, float *out)
{
    __shared__ float parts[8];
    float x = in[blockIdx.x * 256 + threadIdx.x];
    for (int step = 16; step; step /= 2)
        x += __shfl_xor_sync(ALL, x, step);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = x;
    __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < 8; i++)
            sum += parts[i];
        out[blockIdx.x] = sum;
    }
}

static __global__ void scan_kernel(const uint32_t *in, uint32_t *out)
{
    uint32_t x = in[blockIdx.x * 32 + threadIdx.x];
    for (unsigned step = 1; step < 32; step *= 2) {
        const uint32_t y = __shfl_up_sync(ALL, x, step);
        x += threadIdx.x >= step ? y : 0;
    }
    out[blockIdx.x * 32 + threadIdx.x] = x;
}

static __global__ void transpose_kernel(const uint32_t *in, uint32_t *out, unsigned edge)
{
    ECD_DYNAMIC_SHARED(uint32_t, tile);
    const unsigned x = blockIdx.x * 32, y = blockIdx.y * 32;
    for (unsigned i = threadIdx.y; i < 32; i += blockDim.y)
        tile[i * 33 + threadIdx.x] = in[(y + i) * edge + x + threadIdx.x];
    __syncthreads();
    for (unsigned i = threadIdx.y; i < 32; i += blockDim.y)
        out[(x + i) * edge + y + threadIdx.x] = tile[threadIdx.x * 33 + i];
}

static __global__ void ring_kernel(const uint32_t *in, uint32_t *out, unsigned words)
{
    __shared__ __align__(16) uint32_t ring[2][1024];
    const unsigned t = threadIdx.x, stages = words / 1024;
    ecd_cp_async<16>(&ring[0][t * 4], in + t * 4);
    ecd_cp_async_commit();
    for (unsigned s = 0; s < stages; s++) {
        if (s + 1 < stages)
            ecd_cp_async<16>(&ring[(s + 1) % 2][t * 4], in + (s + 1) * 1024 + t * 4);
        ecd_cp_async_commit();
        ecd_cp_async_wait<1>();
        __syncthreads();
        for (unsigned i = t; i < 1024; i += 256)
            out[s * 1024 + i] = ring[s % 2][i];
        __syncthreads();
    }
    ecd_cp_async_wait<0>();
}

// Two stages, an mbarrier each; a warp's threads wait for themselves, and meet before a stage is filled anew.
static __global__ void bulk_kernel(const uint32_t *in, uint32_t *out, unsigned words)
{
    ECD_DYNAMIC_SHARED(uint32_t, ring);
    const unsigned t = threadIdx.x, stages = words / 1024;
    const uint32_t at = ecd_shared_address(ring), barriers = at + 8192;
    if (t == 0)
        for (unsigned s = 0; s < 2; s++)
            ecd_mbarrier_init(barriers + 8 * s, 1);
    __syncthreads();
    for (unsigned s = 0; s < stages + 2; s++) {
        if (s >= 2) {
            ecd_mbarrier_wait(barriers + s % 2 * 8, (s / 2 - 1) & 1);
            for (unsigned i = t; i < 1024; i += 256)
                out[(s - 2) * 1024 + i] = ring[s % 2 * 1024 + i];
            __syncthreads();
        }
        if (t == 0 && s < stages) {
            ecd_mbarrier_expect(barriers + s % 2 * 8, 4096);
            ecd_bulk_copy(at + s % 2 * 4096, in + s * 1024, 1024, barriers + s % 2 * 8);
            ecd_bulk_copy(at + s % 2 * 4096 + 1024, in + s * 1024 + 256, 3072, barriers + s % 2 * 8);
        }
    }
}

static __global__ void histogram_kernel(const uint8_t *in, uint32_t *out, unsigned count)
{
    __shared__ uint32_t counts[256];
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned i = blockIdx.x * 256 + threadIdx.x; i < count; i += gridDim.x * 256)
        atomicAdd(&counts[in[i]], 1u);
    __syncthreads();
    atomicAdd(&out[threadIdx.x], counts[threadIdx.x]);
}

static __global__ void votes_kernel(uint32_t *out)
{
    const unsigned lane = threadIdx.x;
    uint32_t *mine = out + lane * 8;
    mine[0] = __ballot_sync(ALL, lane % 3 == 0);
    mine[1] = (uint32_t)__any_sync(ALL, lane == 31) + 2 * (uint32_t)__all_sync(ALL, lane < 31);
    mine[2] = __shfl_sync(ALL, lane * 10, 5, 8);
    mine[3] = __shfl_down_sync(ALL, lane, 3, 16);
    mine[4] = __reduce_add_sync(ALL, lane);
    mine[5] = lane < 16 ? __ballot_sync(0xffffu, lane & 1) : __ballot_sync(0xffff0000u, 1);
    mine[6] = (uint32_t)__popc(lane) | (uint32_t)__clz((int)lane) << 8 | (uint32_t)__ffs((int)lane) << 16;
    mine[7] = __byte_perm(0x33221100u, 0x77665544u, 0x5160u) ^ __brev(lane) ^ __funnelshift_l(lane, 0x80000001u, 35);
}

static __global__ void product_kernel(const uint16_t *a, const uint16_t *b, float *d)
{
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t *a32 = (const uint32_t *)a, *b32 = (const uint32_t *)b; // rows of 16: 8 words
    const uint32_t fa[4] = {a32[g * 8 + t], a32[(g + 8) * 8 + t], a32[g * 8 + t + 4], a32[(g + 8) * 8 + t + 4]};
    const uint32_t fb[2] = {b32[g * 8 + t], b32[g * 8 + t + 4]};
    float sum[4] = {0, 0, 0, 0};
    ecd_mma_bf16(sum, fa, fb);
    for (unsigned i = 0; i < 4; i++)
        d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

static __global__ void product_tf32_kernel(const float *a, const float *b, float *d)
{
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t fa[4] = {ecd_tf32(a[g * 8 + t]), ecd_tf32(a[(g + 8) * 8 + t]), ecd_tf32(a[g * 8 + t + 4]),
                            ecd_tf32(a[(g + 8) * 8 + t + 4])};
    const uint32_t fb[2] = {ecd_tf32(b[g * 8 + t]), ecd_tf32(b[g * 8 + t + 4])};
    float sum[4] = {0, 0, 0, 0};
    ecd_mma_tf32(sum, fa, fb);
    for (unsigned i = 0; i < 4; i++)
        d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

static __global__ void matrices_kernel(const uint16_t *in, uint32_t *plain, uint32_t *transposed)
{
    __shared__ __align__(16) uint16_t rows[32][8];
    for (unsigned i = 0; i < 8; i++)
        rows[threadIdx.x][i] = in[threadIdx.x * 8 + i];
    __syncwarp();
    uint32_t d[4];
    ecd_ldmatrix_x4<false>(d, rows[threadIdx.x]);
    for (unsigned i = 0; i < 4; i++)
        plain[threadIdx.x * 4 + i] = d[i];
    ecd_ldmatrix_x4<true>(d, rows[threadIdx.x]);
    for (unsigned i = 0; i < 4; i++)
        transposed[threadIdx.x * 4 + i] = d[i];
}

void sound_sum(const float *in, float *out, unsigned count)
{
    ECD_LAUNCH(sum_kernel, count / 256, 256, 0, 0, in, out);
}

void sound_scan(const uint32_t *in, uint32_t *out, unsigned warps)
{
    ECD_LAUNCH(scan_kernel, warps, 32, 0, 0, in, out);
}

void sound_transpose(const uint32_t *in, uint32_t *out, unsigned edge)
{
    ECD_LAUNCH(transpose_kernel, dim3(edge / 32, edge / 32), dim3(32, 8), 32 * 33 * 4, 0, in, out, edge);
}

void sound_ring(const uint32_t *in, uint32_t *out, unsigned words)
{
    ECD_LAUNCH(ring_kernel, 1, 256, 0, 0, in, out, words);
}

void sound_bulk(const uint32_t *in, uint32_t *out, unsigned words)
{
    ECD_LAUNCH(bulk_kernel, 1, 256, 8192 + 16, 0, in, out, words);
}

void sound_histogram(const uint8_t *in, uint32_t *out, unsigned count)
{
    ECD_LAUNCH(histogram_kernel, 3, 256, 0, 0, in, out, count);
}

void sound_votes(uint32_t *out)
{
    ECD_LAUNCH(votes_kernel, 1, 32, 0, 0, out);
}

void sound_product(const uint16_t *a, const uint16_t *b, float *d)
{
    ECD_LAUNCH(product_kernel, 1, 32, 0, 0, a, b, d);
}

void sound_product_tf32(const float *a, const float *b, float *d)
{
    ECD_LAUNCH(product_tf32_kernel, 1, 32, 0, 0, a, b, d);
}

void sound_matrices(const uint16_t *in, uint32_t *plain, uint32_t *transposed)
{
    ECD_LAUNCH(matrices_kernel, 1, 32, 0, 0, in, plain, transposed);
}

static __global__ void numbers_kernel(const float *in, uint32_t *packed, float *powers)
{
    packed[threadIdx.x] = ecd_pack_bf16(in[threadIdx.x], -in[threadIdx.x]);
    powers[threadIdx.x] = ecd_exp2(in[threadIdx.x]);
}

void sound_numbers(const float *in, uint32_t *packed, float *powers)
{
    ECD_LAUNCH(numbers_kernel, 1, 32, 0, 0, in, packed, powers);
}

static __global__ void add_kernel(uint32_t *out, uint32_t by)
{
    out[threadIdx.x] += by;
}

void sound_add(uint32_t *out, uint32_t by, void *stream)
{
    ECD_LAUNCH(add_kernel, 1, 32, 0, (cudaStream_t)stream, out, by);
}

// ---------------------------------------------------------------- sins

static __global__ void outside_kernel(uint32_t *words, int first, int at, bool write)
{
    if (write)
        words[first + at] = 1;
    else if (words[first + at] == 12345)
        words[0] = 1;
}

static __global__ void shared_outside_kernel(uint32_t *out, int at)
{
    ECD_DYNAMIC_SHARED(uint32_t, words);
    words[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = words[at + (int)threadIdx.x];
}

static __global__ void static_outside_kernel(uint32_t *out, int at)
{
    __shared__ uint32_t words[32];
    words[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = words[at + (int)threadIdx.x];
}

static __global__ void misaligned_kernel(uint32_t *words, bool write)
{
    float4 *at = (float4 *)(words + 1);
    float4 x = make_float4(1, 2, 3, 4);
    if (!write)
        x = at[threadIdx.x];
    at[threadIdx.x] = x;
}

static __global__ void misaligned_copy_kernel(uint32_t *words)
{
    __shared__ __align__(16) uint32_t to[128];
    ecd_cp_async<16>(&to[threadIdx.x * 4], words + 1 + threadIdx.x * 4);
    ecd_cp_async_commit();
    ecd_cp_async_wait<0>();
    words[threadIdx.x] = to[threadIdx.x * 4];
}

static __global__ void barrier_kernel(uint32_t *words, bool leave)
{
    if (threadIdx.x >= 40 && leave)
        return;
    if (threadIdx.x < 40) {
        words[threadIdx.x] = 1;
        __syncthreads();
    } else {
        __syncthreads();
        words[threadIdx.x] = 2;
    }
}

static __global__ void shuffle_kernel(uint32_t *words, sin_kind kind)
{
    const unsigned lane = threadIdx.x;
    uint32_t x = lane;
    if (kind == SIN_DIVERGENT_SHUFFLE) {
        if (lane < 16)
            x = __shfl_xor_sync(ALL, x, 1);
        else
            x = __shfl_xor_sync(ALL, x + 1, 2);
    } else if (kind == SIN_LANE_NOT_IN_MASK) {
        x = __shfl_sync(0xffffu, x, 0);
    } else if (lane < 16) {
        x = __shfl_sync(0xffffu, x, 20);
    }
    words[lane] = x;
}

static __global__ void race_kernel(uint32_t *words, unsigned step)
{
    __shared__ uint32_t box[64];
    box[threadIdx.x] = threadIdx.x;
    words[threadIdx.x] = box[(threadIdx.x + step) % 64];
}

static __global__ void blocks_kernel(uint32_t *words)
{
    words[threadIdx.x] = blockIdx.x;
}

static __global__ void copy_kernel(uint32_t *words, bool wait)
{
    __shared__ __align__(16) uint32_t to[128];
    ecd_cp_async<16>(&to[threadIdx.x * 4], words + 512 + threadIdx.x * 4);
    ecd_cp_async_commit();
    if (wait)
        ecd_cp_async_wait<0>();
    words[threadIdx.x] = to[(threadIdx.x * 4 + 4) % 128];
}

// 512 bytes to 32 threads by one that they wait for, and what can be wrong with that.
static __global__ void bulk_sin_kernel(uint32_t *words, sin_kind kind)
{
    ECD_DYNAMIC_SHARED(uint32_t, to);
    const uint32_t at = ecd_shared_address(to), barrier = at + 1024, lane = threadIdx.x;
    const uint32_t issuer = kind == SIN_BULK_OVER_READERS ? 31 : 0;
    if (lane == 0 && kind != SIN_MBARRIER_MISSING)
        ecd_mbarrier_init(barrier, 1);
    if (kind != SIN_MBARRIER_NOT_SEEN)
        __syncwarp();
    if (kind == SIN_BULK_OVER_READERS)
        words[lane] = to[127 - lane]; // whatever there is
    if (lane == issuer) {
        ecd_mbarrier_expect(barrier, kind == SIN_BULK_TOO_FEW_EXPECTED ? 496 : kind == SIN_BULK_TOO_MANY_EXPECTED ? 528 : 512);
        if (kind == SIN_BULK_ARRIVED_TWICE)
            ecd_mbarrier_expect(barrier, 16);
        ecd_bulk_copy(kind == SIN_BULK_OUTSIDE ? at + 528 : at, words + 512 + (kind == SIN_BULK_MISALIGNED ? 2 : 0),
                      kind == SIN_BULK_SIZE ? 500 : 512, barrier);
    }
    if (kind == SIN_BULK_NOT_WAITED_FOR)
        return;
    if (kind != SIN_BULK_READ_BEFORE_WAIT || lane != 5)
        ecd_mbarrier_wait(barrier, kind == SIN_BULK_WRONG_PARITY);
    words[lane] = to[127 - lane];
    ecd_mbarrier_wait(barrier, 0);
}

static __global__ void half_mma_kernel(uint32_t *words)
{
    float d[4] = {0, 0, 0, 0};
    const uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    if (threadIdx.x < 16)
        ecd_mma_bf16(d, a, b);
    words[threadIdx.x] = d[0] > 0;
}

static __global__ void local_kernel(uint32_t *words)
{
    __shared__ volatile uint32_t *address;
    volatile uint32_t mine[4] = {threadIdx.x, 0, 0, 0};
    if (threadIdx.x == 0)
        address = mine;
    __syncthreads();
    words[threadIdx.x] = address[0] + mine[1];
}

void sin_commit(sin_kind kind, uint32_t *device, uint32_t *host)
{
    switch (kind) {
    case SIN_READ_BEHIND_DEVICE: ECD_LAUNCH(outside_kernel, 1, 1, 0, 0, device, 1000, 24, false); break;
    case SIN_READ_BEFORE_DEVICE: ECD_LAUNCH(outside_kernel, 1, 1, 0, 0, device, 1, -2, false); break;
    case SIN_WRITE_BEHIND_DEVICE: ECD_LAUNCH(outside_kernel, 1, 1, 0, 0, device, 1000, 24, true); break;
    case SIN_READ_FREED_OR_HOST: ECD_LAUNCH(outside_kernel, 1, 1, 0, 0, host, 0, 0, false); break;
    case SIN_READ_BEHIND_DYNAMIC_SHARED: ECD_LAUNCH(shared_outside_kernel, 1, 32, 128, 0, device, 1); break;
    case SIN_INDEX_BEHIND_STATIC_SHARED: ECD_LAUNCH(static_outside_kernel, 1, 32, 0, 0, device, 1); break;
    case SIN_MISALIGNED_VECTOR_LOAD: ECD_LAUNCH(misaligned_kernel, 1, 32, 0, 0, device, false); break;
    case SIN_MISALIGNED_VECTOR_STORE: ECD_LAUNCH(misaligned_kernel, 1, 32, 0, 0, device, true); break;
    case SIN_MISALIGNED_COPY: ECD_LAUNCH(misaligned_copy_kernel, 1, 32, 0, 0, device); break;
    case SIN_MISSED_BARRIER_BY_EXIT: ECD_LAUNCH(barrier_kernel, 1, 64, 0, 0, device, true); break;
    case SIN_MISSED_BARRIER_BY_BRANCH: ECD_LAUNCH(barrier_kernel, 1, 64, 0, 0, device, false); break;
    case SIN_DIVERGENT_SHUFFLE:
    case SIN_LANE_NOT_IN_MASK:
    case SIN_SHUFFLE_FROM_ABSENT_LANE: ECD_LAUNCH(shuffle_kernel, 1, 32, 0, 0, device, kind); break;
    case SIN_NO_BARRIER: ECD_LAUNCH(race_kernel, 1, 64, 0, 0, device, 32); break;
    case SIN_NO_WARP_BARRIER: ECD_LAUNCH(race_kernel, 1, 32, 0, 0, device, 31); break;
    case SIN_BLOCKS_RACE: ECD_LAUNCH(blocks_kernel, 2, 32, 0, 0, device); break;
    case SIN_COPY_NOT_WAITED_FOR: ECD_LAUNCH(copy_kernel, 1, 32, 0, 0, device, false); break;
    case SIN_COPY_SEEN_WITHOUT_BARRIER: ECD_LAUNCH(copy_kernel, 1, 32, 0, 0, device, true); break;
    case SIN_MMA_IN_HALF_A_WARP: ECD_LAUNCH(half_mma_kernel, 1, 32, 0, 0, device); break;
    case SIN_OTHER_THREADS_LOCAL: ECD_LAUNCH(local_kernel, 1, 32, 0, 0, device); break;
    case SIN_BULK_SIZE:
    case SIN_BULK_MISALIGNED:
    case SIN_BULK_OUTSIDE:
    case SIN_BULK_TOO_FEW_EXPECTED:
    case SIN_BULK_TOO_MANY_EXPECTED:
    case SIN_BULK_READ_BEFORE_WAIT:
    case SIN_BULK_WRONG_PARITY:
    case SIN_BULK_OVER_READERS:
    case SIN_BULK_NOT_WAITED_FOR:
    case SIN_BULK_ARRIVED_TWICE:
    case SIN_MBARRIER_MISSING:
    case SIN_MBARRIER_NOT_SEEN: ECD_LAUNCH(bulk_sin_kernel, 1, 32, 1024 + 8, 0, device, kind); break;
    case SIN_TOO_MUCH_SHARED: ECD_LAUNCH(shared_outside_kernel, 1, 32, 48 * 1024 + 16, 0, device, 0); break;
    case SIN_TOO_MANY_THREADS: ECD_LAUNCH(blocks_kernel, 1, 1056, 0, 0, device); break;
    case SIN_KINDS: break;
    }
}
