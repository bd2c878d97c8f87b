// GroupNorm with SiLU, channels last. Chunks of pixels give mean and squares about it for each group; one block a group
// joins them (Chan, Golub and LeVeque's formula, in double) and tells each of its channels; then every element is brought
// to its output, here or as a convolution reads it.
#include "kernels/cuda/device.cuh"

enum { CHUNK = 128, MERGE = 128 }; // pixels of a chunk; threads that join

typedef struct moments {
    float mean, squares; // squares: sum of (x - mean)^2
} moments;

static __device__ __forceinline__ int64_t chunk_pixels(const ecd_group_norm &op, int64_t chunk)
{
    int64_t left = op.pixels - chunk * CHUNK;
    return left < CHUNK ? left : (int64_t)CHUNK;
}

// Sums of one chunk, a chain a channel, then a chain over a group's channels. shared: channels + groups floats.
template <typename Act> static __global__ void chunk_moments(ecd_group_norm op, moments *out)
{
    ECD_DYNAMIC_SHARED(float, shared);
    float *sums = shared, *means = shared + op.channels;
    int64_t chunk = blockIdx.x, pixels = chunk_pixels(op, chunk), size = op.channels / op.groups;
    const Act *x = (const Act *)op.x + chunk * CHUNK * op.x_stride;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t c = threadIdx.x; c < op.channels; c += blockDim.x) {
            float sum = 0, centre = pass ? means[c / size] : 0.0f;
            for (int64_t p = 0; p < pixels; p++) {
                float v = ecd_load(x, p * op.x_stride + c) - centre;
                sum = pass ? fmaf(v, v, sum) : sum + v;
            }
            sums[c] = sum;
        }
        __syncthreads();
        for (int64_t g = threadIdx.x; g < op.groups; g += blockDim.x) {
            float sum = 0;
            for (int64_t c = g * size; c < (g + 1) * size; c++)
                sum += sums[c];
            moments *to = out + chunk * op.groups + g;
            if (pass)
                to->squares = sum;
            else
                to->mean = means[g] = sum / (float)(size * pixels);
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

const char *ecd_cuda_launch_group_measure(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op, void *scratch)
{
    ecd_group_norm dense = dense_of(op);
    moments *chunks = (moments *)scratch;
    int64_t count = (op->pixels + CHUNK - 1) / CHUNK, threads = (op->channels + ECD_WARP - 1) / ECD_WARP * ECD_WARP;
    size_t shared = (size_t)(op->channels + op->groups) * sizeof(float);
    if (narrow)
        ECD_RUN((chunk_moments<ecd_bf16_bits>), (unsigned)count, (unsigned)(threads < 512 ? threads : 512), shared,
                stream, dense, chunks);
    else
        ECD_RUN((chunk_moments<float>), (unsigned)count, (unsigned)(threads < 512 ? threads : 512), shared, stream,
                dense, chunks);
    const char *error = ecd_launch_error();
    if (error)
        return error;
    ECD_RUN(merge_moments, (unsigned)op->groups, MERGE, 0, stream, dense, count, (const moments *)chunks);
    return ecd_launch_error();
}

template <typename Act> static __global__ void apply(ecd_group_norm op)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= op.pixels * op.channels)
        return;
    int64_t c = i % op.channels;
    ecd_store((Act *)op.out, i, ecd_group_value(op, c, ecd_load((const Act *)op.x, i / op.channels * op.x_stride + c)));
}

const char *ecd_cuda_launch_group_apply(ecd_cuda_stream *stream, bool narrow, const ecd_group_norm *op)
{
    unsigned blocks = ecd_cover(op->pixels * op->channels, ECD_BLOCK);
    ecd_group_norm dense = dense_of(op);
    if (narrow)
        ECD_RUN((apply<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, dense);
    else
        ECD_RUN((apply<float>), blocks, ECD_BLOCK, 0, stream, dense);
    return ecd_launch_error();
}
