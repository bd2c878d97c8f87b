// GroupNorm with SiLU, channels last. Chunks of pixels give mean and squares about it for each group; one block a group
// joins them (Chan, Golub and LeVeque's formula, in double) and tells each of its channels; then every element is brought
// to its output, here or as a convolution reads it.
#include "kernels/cuda/strips.cuh"

enum { CHUNK = 128, MERGE = 128 }; // pixels of a chunk; threads that join
enum { AT_ONCE = 8, FEW_BLOCKS = 512, PIXELS = 4 }; // pixels read at once; blocks that fill a device; pixels that a thread norms

typedef struct moments {
    float mean, squares; // squares: sum of (x - mean)^2
} moments;

static __device__ __forceinline__ int64_t chunk_pixels(const ecd_group_norm &op, int64_t chunk)
{
    int64_t left = op.pixels - chunk * CHUNK;
    return left < CHUNK ? left : (int64_t)CHUNK;
}

// Sums of (x - centre)^power over a chunk's pixels of N neighbouring channels of a group, a chain a channel in the pixels' order.
// Some are read at once: the additions wait for each other, the reads do not.
template <typename Act, int N, bool SQUARES>
static __device__ __forceinline__ void sum_channels(const Act *x, int64_t stride, int pixels, float centre, float (&sum)[N])
{
    for (int i = 0; i < N; i++)
        sum[i] = 0;
    for (int p = 0; p < pixels; p += AT_ONCE) {
        ecd_words<Act, N> words[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (p + k < pixels)
                ecd_load_words(x + (p + k) * stride, words[k]);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            float v[N];
            ecd_widen(words[k], v);
            for (int i = 0; p + k < pixels && i < N; i++)
                sum[i] = SQUARES ? fmaf(v[i] - centre, v[i] - centre, sum[i]) : sum[i] + v[i];
        }
    }
}

// One chunk of the block's groups, then a chain over a group's channels. shared: of the block's groups, a float a channel and one
// a group.
template <typename Act, int N> static __global__ void chunk_moments(ecd_group_norm op, int block_groups, moments *out)
{
    ECD_DYNAMIC_SHARED(float, shared);
    const int64_t chunk = blockIdx.x, first = (int64_t)blockIdx.y * block_groups;
    const int size = (int)(op.channels / op.groups), pixels = (int)chunk_pixels(op, chunk);
    const int groups = op.groups - first < block_groups ? (int)(op.groups - first) : block_groups, channels = groups * size;
    float *sums = shared, *means = shared + channels, sum[N];
    const Act *x = (const Act *)op.x + chunk * CHUNK * op.x_stride + first * size;
    for (int pass = 0; pass < 2; pass++) {
        for (int c = (int)threadIdx.x * N; c < channels; c += (int)blockDim.x * N) {
            if (pass)
                sum_channels<Act, N, true>(x + c, op.x_stride, pixels, means[c / size], sum);
            else
                sum_channels<Act, N, false>(x + c, op.x_stride, pixels, 0, sum);
            for (int i = 0; i < N; i++)
                sums[c + i] = sum[i];
        }
        __syncthreads();
        for (int g = (int)threadIdx.x; g < groups; g += (int)blockDim.x) {
            float all = 0;
            for (int c = g * size; c < (g + 1) * size; c++)
                all += sums[c];
            moments *to = out + chunk * op.groups + first + g;
            if (pass)
                to->squares = all;
            else
                to->mean = means[g] = all / (float)((int64_t)size * pixels);
        }
        __syncthreads();
    }
}

// The sum over a block's threads, in a fixed tree.
static __device__ double block_sum(double v, double *shared)
{
    __syncthreads();
    shared[threadIdx.x] = v;
    for (int step = MERGE / 2; step; step /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < step)
            shared[threadIdx.x] += shared[threadIdx.x + step];
    }
    __syncthreads();
    return shared[0];
}

static __global__ void merge_moments(ecd_group_norm op, int64_t chunks, const moments *from)
{
    __shared__ double shared[MERGE];
    int64_t g = blockIdx.x;
    double size = (double)(op.channels / op.groups), count = size * (double)op.pixels, sum = 0;
    for (int64_t i = threadIdx.x; i < chunks; i += MERGE)
        sum += (double)from[i * op.groups + g].mean * size * (double)chunk_pixels(op, i);
    double mean = block_sum(sum, shared) / count;
    sum = 0;
    for (int64_t i = threadIdx.x; i < chunks; i += MERGE) {
        const moments m = from[i * op.groups + g];
        double off = (double)m.mean - mean;
        sum += (double)m.squares + off * off * size * (double)chunk_pixels(op, i);
    }
    double squares = block_sum(sum, shared);
    int64_t channels = op.channels / op.groups;
    for (int64_t c = g * channels + threadIdx.x; c < (g + 1) * channels; c += MERGE) {
        ecd_cuda_moments *to = (ecd_cuda_moments *)op.measured + c;
        to->mean = (float)mean;
        to->inverse = (float)(1.0 / sqrt(squares / count + (double)op.eps));
    }
}

size_t ecd_cuda_group_measure_bytes(const ecd_group_norm *op)
{
    return (size_t)((op->pixels + CHUNK - 1) / CHUNK) * (size_t)op->groups * sizeof(moments);
}

static ecd_group_norm dense_of(const ecd_group_norm *op)
{
    ecd_group_norm dense = *op;
    dense.x_stride = op->x_stride ? op->x_stride : op->channels;
    return dense;
}

// Few chunks are shared out by groups too, which are apart from each other: that changes no sum.
template <typename Act, int N>
static const char *launch_chunks(ecd_cuda_stream *stream, const ecd_group_norm &op, int64_t chunks, moments *out)
{
    int64_t parts = (FEW_BLOCKS + chunks - 1) / chunks, size = op.channels / op.groups;
    parts = parts < op.groups ? parts : op.groups;
    const int64_t groups = (op.groups + parts - 1) / parts, threads = ecd_cover(groups * size / N, ECD_WARP) * ECD_WARP;
    const dim3 grid((unsigned)chunks, ecd_cover(op.groups, groups));
    ECD_RUN((chunk_moments<Act, N>), grid, (unsigned)(threads < 512 ? threads : 512),
            (size_t)(groups * size + groups) * sizeof(float), stream, op, (int)groups, out);
    return ecd_launch_error();
}

template <typename Act>
static const char *launch_moments(ecd_cuda_stream *stream, const ecd_group_norm &op, int64_t chunks, moments *out)
{
    const bool pairs = op.channels / op.groups % 2 == 0 && ecd_lies_at(op.x, op.x_stride, sizeof(Act), 2 * sizeof(Act));
    return pairs ? launch_chunks<Act, 2>(stream, op, chunks, out) : launch_chunks<Act, 1>(stream, op, chunks, out);
}

const char *ecd_cuda_launch_group_measure(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op, void *scratch)
{
    const ecd_group_norm dense = dense_of(op);
    moments *chunks = (moments *)scratch;
    const int64_t count = (op->pixels + CHUNK - 1) / CHUNK;
    const char *error = narrow ? launch_moments<ecd_bf16_bits>(stream, dense, count, chunks)
                               : launch_moments<float>(stream, dense, count, chunks);
    if (error)
        return error;
    ECD_RUN(merge_moments, (unsigned)op->groups, MERGE, 0, stream, dense, count, (const moments *)chunks);
    return ecd_launch_error();
}

// A thread N channels of PIXELS pixels, all read before any is written. x may be out.
template <typename Act, int N> static __global__ void apply(ecd_group_norm op)
{
    const int64_t c = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N;
    const int64_t begin = (int64_t)blockIdx.x * blockDim.y * PIXELS + threadIdx.y;
    if (c >= op.channels)
        return;
    ecd_group_strip<N> group;
    ecd_words<Act, N> words[PIXELS];
    ecd_load_group_strip(op, c, group);
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
        if (begin + k * blockDim.y < op.pixels)
            ecd_load_words((const Act *)op.x + (begin + k * blockDim.y) * op.x_stride + c, words[k]);
#pragma unroll
    for (int k = 0; k < PIXELS; k++) {
        const int64_t pixel = begin + k * blockDim.y;
        if (pixel >= op.pixels)
            return;
        float v[N];
        ecd_widen(words[k], v);
        ecd_group_values(group, op.silu, v);
        ecd_store_strip((Act *)op.out + pixel * op.channels + c, v);
    }
}

template <typename Act> static const char *launch_apply(ecd_cuda_stream *stream, const ecd_group_norm &op)
{
    enum { N = ecd_strip<Act>::elements };
    const bool strips = op.channels % N == 0 && ecd_lies_at(op.x, op.x_stride, sizeof(Act), ECD_STRIP_BYTES) &&
                        ecd_lies_at(op.out, 0, 1, ECD_STRIP_BYTES) && ecd_group_lies(op);
    const ecd_tiling t = ecd_tile_rows(op.pixels, strips ? op.channels / N : op.channels, PIXELS);
    if (strips)
        ECD_RUN((apply<Act, N>), t.grid, t.block, 0, stream, op);
    else
        ECD_RUN((apply<Act, 1>), t.grid, t.block, 0, stream, op);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_group_apply(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op)
{
    const ecd_group_norm dense = dense_of(op);
    return narrow ? launch_apply<ecd_bf16_bits>(stream, dense) : launch_apply<float>(stream, dense);
}
