// Orders of channels and patches: a thread an element of the output.
#include "kernels/cuda/strips.cuh"

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

enum { COLUMNS = 4 }; // of a row of a convolution's input that a thread gathers

// grow: 0, or 1 where rows and columns are doubled; row_blocks: of threads, for one row.
typedef struct window {
    int64_t channels, first, out_width, out_channels;
    int grow, before;
    uint32_t row_blocks;
} window;

// A thread N channels of COLUMNS pixels of a row, all read before any is written. NORMS: what a group norm makes of x.
template <typename Act, int N, bool NORMS>
static __global__ void gather(ecd_conv op, ecd_group_norm norm, window p, Act *out)
{
    const int64_t c = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N, out_row = blockIdx.x / p.row_blocks;
    if (c >= p.out_channels)
        return;
    const int64_t begin = (int64_t)(blockIdx.x % p.row_blocks) * blockDim.y * COLUMNS + threadIdx.y, row = out_row + p.first;
    const bool row_inside = row >= 0 && row < op.height << p.grow && c < p.channels;
    const Act *from = (const Act *)op.x + (row >> p.grow) * op.width * op.x_stride + c;
    ecd_group_strip<N> group = {};
    if (NORMS && c < p.channels)
        ecd_load_group_strip(norm, c, group);
    ecd_words<Act, N> words[COLUMNS];
    bool inside[COLUMNS];
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        const int64_t column = begin + k * blockDim.y - p.before;
        inside[k] = row_inside && column >= 0 && column < op.width << p.grow;
        words[k] = {};
        if (inside[k])
            ecd_load_words(from + (column >> p.grow) * op.x_stride, words[k]);
    }
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) {
        const int64_t column = begin + k * blockDim.y;
        if (column >= p.out_width)
            return;
        Act *to = out + (out_row * p.out_width + column) * p.out_channels + c;
        if (!NORMS || !inside[k]) {
            ecd_store_words(to, words[k]);
            continue;
        }
        float v[N];
        ecd_widen(words[k], v);
        ecd_group_values(group, norm.silu, v);
        ecd_store_strip(to, v);
    }
}

template <typename Act, int N>
static const char *launch_gather(ecd_cuda_stream *stream, const ecd_conv &op, const ecd_group_norm *norm, window p,
                                 int64_t rows, Act *out)
{
    ecd_tiling t = ecd_tile_rows(p.out_width, p.out_channels / N, COLUMNS);
    p.row_blocks = t.grid.x;
    t.grid.x *= (unsigned)rows;
    const ecd_group_norm none = {};
    if (norm)
        ECD_RUN((gather<Act, N, true>), t.grid, t.block, 0, stream, op, *norm, p, out);
    else
        ECD_RUN((gather<Act, N, false>), t.grid, t.block, 0, stream, op, none, p, out);
    return ecd_launch_error();
}

template <typename Act>
static const char *launch_gather_of(ecd_cuda_stream *stream, const ecd_conv &op, window p, int64_t rows, void *out)
{
    enum { N = ecd_strip<Act>::elements };
    const ecd_group_norm *norm = op.norm;
    const bool strips = p.channels % N == 0 && p.out_channels % N == 0 &&
                        ecd_lies_at(op.x, op.x_stride, sizeof(Act), ECD_STRIP_BYTES) &&
                        ecd_lies_at(out, 0, 1, ECD_STRIP_BYTES) && (!norm || ecd_group_lies(*norm));
    return strips ? launch_gather<Act, N>(stream, op, norm, p, rows, (Act *)out)
                  : launch_gather<Act, 1>(stream, op, norm, p, rows, (Act *)out);
}

const char *ecd_cuda_launch_gather(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                   int64_t first, int64_t rows, int before, int after, int64_t out_channels, void *out)
{
    const int grow = op->upsample ? 1 : 0;
    const window p = {channels, first, (op->width << grow) + before + after, out_channels, grow, before, 0};
    ecd_conv dense = *op;
    dense.x_stride = op->x_stride ? op->x_stride : channels;
    return narrow ? launch_gather_of<ecd_bf16_bits>(stream, dense, p, rows, out)
                  : launch_gather_of<float>(stream, dense, p, rows, out);
}
