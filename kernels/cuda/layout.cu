// Orders of channels and patches: a thread an element of the output.
#include "kernels/cuda/device.cuh"

typedef struct patches {
    int64_t channels, height, width, patch, count;
} patches;

static patches patches_of(int64_t batch, int64_t channels, int64_t height, int64_t width, int patch)
{
    patches p = {channels, height, width, patch, batch * channels * height * width};
    return p;
}

template <typename Act> static __global__ void patchify(patches p, const float *x, Act *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.count)
        return;
    int64_t column = i % p.patch, rest = i / p.patch;
    int64_t row = rest % p.patch;
    rest /= p.patch;
    int64_t channel = rest % p.channels;
    rest /= p.channels;
    int64_t left = rest % (p.width / p.patch), top = rest / (p.width / p.patch) % (p.height / p.patch);
    int64_t picture = rest / (p.width / p.patch) / (p.height / p.patch);
    int64_t from = (picture * p.channels + channel) * p.height + top * p.patch + row;
    ecd_store(out, i, x[from * p.width + left * p.patch + column]);
}

static __global__ void unpatchify(patches p, bool channels_first, const float *x, float *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.count)
        return;
    int64_t column = i % p.width, row = i / p.width % p.height, channel = i / p.width / p.height % p.channels;
    int64_t picture = i / p.width / p.height / p.channels;
    int64_t token = (picture * (p.height / p.patch) + row / p.patch) * (p.width / p.patch) + column / p.patch;
    int64_t place = row % p.patch * p.patch + column % p.patch, area = p.patch * p.patch;
    out[i] = x[token * area * p.channels + (channels_first ? channel * area + place : place * p.channels + channel)];
}

const char *ecd_cuda_launch_patchify(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t batch,
                                     int64_t channels, int64_t height, int64_t width, int patch, void *out)
{
    patches p = patches_of(batch, channels, height, width, patch);
    unsigned blocks = ecd_cover(p.count, ECD_BLOCK);
    if (narrow)
        ECD_RUN((patchify<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, p, x, (ecd_bf16_bits *)out);
    else
        ECD_RUN((patchify<float>), blocks, ECD_BLOCK, 0, stream, p, x, (float *)out);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_unpatchify(ecd_cuda_stream *stream, const float *x, int64_t batch, int64_t channels,
                                       int64_t height, int64_t width, int patch, bool channels_first, float *out)
{
    patches p = patches_of(batch, channels, height, width, patch);
    ECD_RUN(unpatchify, ecd_cover(p.count, ECD_BLOCK), ECD_BLOCK, 0, stream, p, channels_first, x, out);
    return ecd_launch_error();
}

// out[a][b] = x[b][a], for `rows` values of a: both ways between channels first and last.
template <typename Out> static __global__ void transpose(const float *x, int64_t rows, int64_t cols, Out *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * cols)
        ecd_store(out, i, x[i % cols * rows + i / cols]);
}

const char *ecd_cuda_launch_channels_last(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t channels,
                                          int64_t pixels, void *out)
{
    unsigned blocks = ecd_cover(channels * pixels, ECD_BLOCK);
    if (narrow)
        ECD_RUN((transpose<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, x, pixels, channels, (ecd_bf16_bits *)out);
    else
        ECD_RUN((transpose<float>), blocks, ECD_BLOCK, 0, stream, x, pixels, channels, (float *)out);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_channels_first(ecd_cuda_stream *stream, const float *x, int64_t channels, int64_t pixels,
                                           float *out)
{
    ECD_RUN((transpose<float>), ecd_cover(channels * pixels, ECD_BLOCK), ECD_BLOCK, 0, stream, x, channels, pixels,
               out);
    return ecd_launch_error();
}

static __global__ void to_bytes(const float *x, int64_t channels, int64_t pixels, uint8_t *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= channels * pixels)
        return;
    float v = x[i % channels * pixels + i / channels] / 2 + 0.5f;
    v = v > 0 ? v : 0; // NaN too becomes 0
    v = v < 1 ? v : 1;
    out[i] = (uint8_t)rintf(v * 255);
}

const char *ecd_cuda_launch_to_bytes(ecd_cuda_stream *stream, const float *x, int64_t channels, int64_t pixels,
                                     uint8_t *out)
{
    ECD_RUN(to_bytes, ecd_cover(channels * pixels, ECD_BLOCK), ECD_BLOCK, 0, stream, x, channels, pixels, out);
    return ecd_launch_error();
}

typedef struct window {
    int64_t channels, first, out_width, out_channels, count;
    int grow, before;
} window;

template <typename Act> static __global__ void gather(ecd_conv op, ecd_group_norm norm, window p, Act *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.count)
        return;
    int64_t c = i % p.out_channels, pixel = i / p.out_channels;
    int64_t column = pixel % p.out_width - p.before, row = pixel / p.out_width + p.first;
    bool inside = row >= 0 && column >= 0 && row < op.height * p.grow && column < op.width * p.grow && c < p.channels;
    if (!inside) {
        out[i] = (Act)0;
        return;
    }
    const Act *from = (const Act *)op.x + (row / p.grow * op.width + column / p.grow) * op.x_stride + c;
    if (op.norm) // the host's pointer: whether there is one, no more
        ecd_store(out, i, ecd_group_value(norm, c, ecd_load(from, 0)));
    else
        out[i] = *from;
}

const char *ecd_cuda_launch_gather(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                   int64_t first, int64_t rows, int before, int after, int64_t out_channels, void *out)
{
    window p = {channels, first, 0, out_channels, 0, op->upsample ? 2 : 1, before};
    p.out_width = op->width * p.grow + before + after;
    p.count = rows * p.out_width * out_channels;
    ecd_conv dense = *op;
    dense.x_stride = op->x_stride ? op->x_stride : channels;
    ecd_group_norm norm = {};
    if (op->norm)
        norm = *op->norm;
    unsigned blocks = ecd_cover(p.count, ECD_BLOCK);
    if (narrow)
        ECD_RUN((gather<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, dense, norm, p, (ecd_bf16_bits *)out);
    else
        ECD_RUN((gather<float>), blocks, ECD_BLOCK, 0, stream, dense, norm, p, (float *)out);
    return ecd_launch_error();
}
