// Weights on their way into products: expanded to the type that is multiplied, block scales applied.
#include "kernels/cuda/device.cuh"

enum { STRIP = 8 }; // elements of a thread: 8 bytes of FP8 in, 16 of BF16 out

template <typename Out> static __global__ void expand(ecd_weight w, int64_t out_stride, Out *out)
{
    int64_t row = blockIdx.y, first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * STRIP;
    if (first >= out_stride)
        return;
    // A strip lies within one block of scales: 8 divides 128.
    float scale = w.scale_kind == ECD_SCALE_BLOCK && first < w.cols ? ecd_weight_block_scale(w, row, first) : 1.0f;
    for (int64_t k = first; k < first + STRIP && k < out_stride; k++)
        ecd_store(out, row * out_stride + k,
                  k < w.cols ? ecd_weight_value(w.dtype, w.data, row * w.cols + k) * scale : 0.0f);
}

enum { RUN = 16 }; // bytes of a thread

// Four E4M3, in the order of memory, to BF16: times 2^120, as the decoder does it (ecf8_output.cuh).
static __device__ __forceinline__ void widen_four(uint32_t x, uint32_t *out)
{
    const uint32_t pairs[2] = {__byte_perm(x, 0, 0x4140), __byte_perm(x, 0, 0x4342)};
    const bool has_nan = (((x & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u) != 0;
    for (int i = 0; i < 2; i++) {
        uint32_t p = pairs[i];
        out[i] = ecd_scale_bf16x2((p & 0x00800080u) << 8 | (p & 0x007f007fu) << 4, 0x7b807b80u);
        if (has_nan)
            out[i] = ecd_float_bf16(ecd_e4m3_float(p & 0xffu)) | (uint32_t)ecd_float_bf16(ecd_e4m3_float(p >> 16)) << 16;
    }
}

// E4M3 without block scales in one run, wherever it begins: a file's tensors lie on the device as they lie in the file.
static __global__ void widen(const uint8_t *in, int64_t count, ecd_bf16_bits *out)
{
    int64_t first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
    if (first + 2 * RUN > count) { // a word more is read below
        for (int64_t i = first; i < first + RUN && i < count; i++)
            out[i] = ecd_float_bf16(ecd_e4m3_float(in[i]));
        return;
    }
    const uint32_t shift = (uint32_t)((uintptr_t)(in + first) % 4) * 8;
    const uint32_t *from = (const uint32_t *)(in + first - shift / 8);
    uint32_t words[RUN / 4 + 1], wide[RUN / 2];
    if ((uintptr_t)from % 16 == 0) {
        const uint4 four = *(const uint4 *)from;
        words[0] = four.x, words[1] = four.y, words[2] = four.z, words[3] = four.w;
    } else {
        for (int i = 0; i < RUN / 4; i++)
            words[i] = from[i];
    }
    words[RUN / 4] = shift ? from[RUN / 4] : 0;
    for (int i = 0; i < RUN / 4; i++)
        widen_four(shift ? words[i] >> shift | words[i + 1] << (32 - shift) : words[i], wide + 2 * i);
    for (int i = 0; i < 2; i++)
        ((uint4 *)(out + first))[i] = make_uint4(wide[4 * i], wide[4 * i + 1], wide[4 * i + 2], wide[4 * i + 3]);
}

// What widen leaves, E5M2 and block scales, in whole strips to BF16, aligned.
static __global__ void expand_fp8(ecd_weight w, ecd_bf16_bits *out)
{
    int64_t row = blockIdx.y, first = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * STRIP;
    if (first >= w.cols)
        return;
    float scale = w.scale_kind == ECD_SCALE_BLOCK ? ecd_weight_block_scale(w, row, first) : 1.0f;
    uint2 in = *(const uint2 *)((const uint8_t *)w.data + row * w.cols + first);
    uint32_t words[4];
    for (int i = 0; i < 4; i++) {
        uint32_t pair = (i < 2 ? in.x : in.y) >> 16 * (i % 2) & 0xffffu;
        float low = w.dtype == ECD_E4M3 ? ecd_e4m3_float(pair & 0xffu) : ecd_e5m2_float(pair & 0xffu);
        float high = w.dtype == ECD_E4M3 ? ecd_e4m3_float(pair >> 8) : ecd_e5m2_float(pair >> 8);
        words[i] = ecd_float_bf16(low * scale) | (uint32_t)ecd_float_bf16(high * scale) << 16;
    }
    *(uint4 *)(out + row * w.cols + first) = make_uint4(words[0], words[1], words[2], words[3]);
}

enum { MAX_ROWS = 65535 };

// Rows [row, row + count) as a weight of their own; blocks of scales begin with the first row, so count of all but the
// last piece is a multiple of 128.
static ecd_weight piece_of(const ecd_weight *w, int64_t row, int64_t count, size_t element_bytes)
{
    ecd_weight piece = *w;
    piece.data = (const char *)w->data + (size_t)(row * w->cols) * element_bytes;
    piece.rows = count;
    if (w->scale_kind == ECD_SCALE_BLOCK)
        piece.scale += row / ECD_SCALE_BLOCK_SIZE * ((w->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE);
    return piece;
}

static size_t element_bytes(ecd_dtype dtype)
{
    return dtype == ECD_F32 ? 4 : dtype == ECD_F16 || dtype == ECD_BF16 ? 2 : 1;
}

const char *ecd_cuda_launch_expand(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, int64_t out_stride,
                                   void *out)
{
    const int64_t most = MAX_ROWS / ECD_SCALE_BLOCK_SIZE * ECD_SCALE_BLOCK_SIZE;
    const char *error = NULL;
    if (narrow && w->dtype == ECD_E4M3 && w->scale_kind != ECD_SCALE_BLOCK && out_stride == w->cols &&
        (uintptr_t)out % 16 == 0) {
        int64_t count = w->rows * w->cols;
        ECD_RUN(widen, ecd_cover(ecd_cover(count, RUN), ECD_BLOCK), ECD_BLOCK, 0, stream, (const uint8_t *)w->data, count,
                (ecd_bf16_bits *)out);
        return ecd_launch_error();
    }
    for (int64_t row = 0; !error && row < w->rows; row += most) {
        ecd_weight p = piece_of(w, row, w->rows - row < most ? w->rows - row : most, element_bytes(w->dtype));
        dim3 grid(ecd_cover(ecd_cover(out_stride, STRIP), ECD_BLOCK), (unsigned)p.rows);
        bool strips = narrow && element_bytes(w->dtype) == 1 && w->cols % STRIP == 0 && out_stride == w->cols &&
                      (uintptr_t)p.data % 8 == 0 && (uintptr_t)out % 16 == 0;
        if (strips)
            ECD_RUN(expand_fp8, grid, ECD_BLOCK, 0, stream, p, (ecd_bf16_bits *)out + row * out_stride);
        else if (narrow)
            ECD_RUN((expand<ecd_bf16_bits>), grid, ECD_BLOCK, 0, stream, p, out_stride,
                       (ecd_bf16_bits *)out + row * out_stride);
        else
            ECD_RUN((expand<float>), grid, ECD_BLOCK, 0, stream, p, out_stride, (float *)out + row * out_stride);
        error = ecd_launch_error();
    }
    return error;
}

typedef struct conv_layout {
    int64_t taps, in_channels, out_channels;
} conv_layout;

template <typename Out>
static __global__ void expand_conv(ecd_weight w, const float *bias, conv_layout to, Out *out, float *scales, float *biases)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < to.out_channels) {
        scales[i] = i < w.rows ? ecd_weight_scale_after(w, i) : 0.0f;
        biases[i] = i < w.rows && bias ? bias[i] : 0.0f;
    }
    if (i >= to.out_channels * to.taps * to.in_channels)
        return;
    int64_t in = i % to.in_channels, tap = i / to.in_channels % to.taps, row = i / to.in_channels / to.taps;
    float v = 0;
    if (row < w.rows && in < w.cols / to.taps) {
        int64_t from = in * to.taps + tap;
        v = ecd_weight_value(w.dtype, w.data, row * w.cols + from);
        if (w.scale_kind == ECD_SCALE_BLOCK)
            v *= ecd_weight_block_scale(w, row, from);
    }
    ecd_store(out, i, v);
}

const char *ecd_cuda_launch_expand_conv(ecd_cuda_stream *stream, bool narrow, const ecd_weight *w, const float *bias,
                                        int64_t taps, int64_t in_channels, int64_t out_channels, void *out,
                                        float *scales, float *biases)
{
    conv_layout to = {taps, in_channels, out_channels};
    unsigned blocks = ecd_cover(out_channels * taps * in_channels, ECD_BLOCK);
    if (narrow)
        ECD_RUN((expand_conv<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, *w, bias, to, (ecd_bf16_bits *)out, scales,
                biases);
    else
        ECD_RUN((expand_conv<float>), blocks, ECD_BLOCK, 0, stream, *w, bias, to, (float *)out, scales, biases);
    return ecd_launch_error();
}

template <typename Act>
static __global__ void pack_rows(const Act *x, int64_t count, int64_t cols, int64_t x_stride, int64_t out_stride, Act *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    int64_t row = i / out_stride, k = i % out_stride;
    out[i] = k < cols ? x[row * x_stride + k] : (Act)0;
}

const char *ecd_cuda_launch_pack_rows(ecd_cuda_stream *stream, bool narrow, const void *x, int64_t rows, int64_t cols,
                                      int64_t x_stride, int64_t out_stride, void *out)
{
    int64_t count = rows * out_stride;
    unsigned blocks = ecd_cover(count, ECD_BLOCK);
    if (narrow)
        ECD_RUN((pack_rows<ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, (const ecd_bf16_bits *)x, count, cols,
                   x_stride, out_stride, (ecd_bf16_bits *)out);
    else
        ECD_RUN((pack_rows<float>), blocks, ECD_BLOCK, 0, stream, (const float *)x, count, cols, x_stride,
                   out_stride, (float *)out);
    return ecd_launch_error();
}

static __global__ void add_rows(ecd_weight table, const int64_t *ids, int64_t count, float *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count * table.cols)
        return;
    int64_t row = ids[i / table.cols], k = i % table.cols;
    float v = ecd_weight_value(table.dtype, table.data, row * table.cols + k);
    v *= table.scale_kind == ECD_SCALE_BLOCK ? ecd_weight_block_scale(table, row, k) : ecd_weight_scale_after(table, row);
    out[i] += v;
}

const char *ecd_cuda_launch_add_rows(ecd_cuda_stream *stream, const ecd_weight *table, const int64_t *device_ids,
                                     int64_t count, float *out)
{
    ECD_RUN(add_rows, ecd_cover(count * table->cols, ECD_BLOCK), ECD_BLOCK, 0, stream, *table, device_ids, count,
               out);
    return ecd_launch_error();
}
