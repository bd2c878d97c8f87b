// Conversions, and what follows products and convolutions.
#include "kernels/cuda/strips.cuh"

template <typename From, typename To> static __global__ void convert(const From *x, int64_t count, bool silu, To *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    float v = ecd_load(x, i);
    ecd_store(out, i, silu ? ecd_silu(v) : v);
}

const char *ecd_cuda_launch_to_act(ecd_cuda_stream *stream, bool narrow, const float *x, int64_t count, bool silu,
                                   void *out)
{
    unsigned blocks = ecd_cover(count, ECD_BLOCK);
    if (narrow)
        ECD_RUN((convert<float, ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, x, count, silu, (ecd_bf16_bits *)out);
    else
        ECD_RUN((convert<float, float>), blocks, ECD_BLOCK, 0, stream, x, count, silu, (float *)out);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_to_f32(ecd_cuda_stream *stream, bool narrow, const void *x, int64_t count, float *out)
{
    unsigned blocks = ecd_cover(count, ECD_BLOCK);
    if (narrow)
        ECD_RUN((convert<ecd_bf16_bits, float>), blocks, ECD_BLOCK, 0, stream, (const ecd_bf16_bits *)x, count,
                   false, out);
    else
        ECD_RUN((convert<float, float>), blocks, ECD_BLOCK, 0, stream, (const float *)x, count, false, out);
    return ecd_launch_error();
}

// Nothing is fused (-fmad=false) and the quotient is rounded to nearest, as on the host.
static __global__ void combine(ecd_combine op)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= op.count)
        return;
    float v = op.by[0] * op.x[0][i];
#pragma unroll
    for (int t = 1; t < ECD_COMBINE_MAX; t++)
        v = t < op.terms ? v + op.by[t] * op.x[t][i] : v;
    v = op.divisor == 1 ? v : v / op.divisor;
    v = op.offset == 0 ? v : v + op.offset;
    if (op.limit > 0)
        v = v < -op.limit ? -op.limit : v > op.limit ? op.limit : v;
    op.out[i] = v;
}

const char *ecd_cuda_launch_combine(ecd_cuda_stream *stream, const ecd_combine *op)
{
    ECD_RUN(combine, ecd_cover(op->count, ECD_BLOCK), ECD_BLOCK, 0, stream, *op);
    return ecd_launch_error();
}

enum { PIXELS = 4 }; // of a convolution's output that a thread brings to their end

template <int N> static __device__ __forceinline__ void activate(ecd_epilogue epilogue, float (&v)[N])
{
    switch (epilogue) {
    case ECD_EPILOGUE_GELU_TANH:
        for (int i = 0; i < N; i++)
            v[i] = ecd_gelu_tanh(v[i]);
        return;
    case ECD_EPILOGUE_SILU:
        for (int i = 0; i < N; i++)
            v[i] = ecd_silu(v[i]);
        return;
    case ECD_EPILOGUE_QUICK_GELU:
        for (int i = 0; i < N; i++)
            v[i] = ecd_quick_gelu(v[i]);
        return;
    default: return;
    }
}

// A thread a strip of N output channels of a row. `op.out` and the gate begin at row 0 of the batch.
template <typename Out, int N>
static __global__ void finish(ecd_linear op, ecd_weight w, int64_t first_row, int64_t rows, const float *sums,
                              int64_t sums_stride)
{
    const int64_t channel = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N;
    int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (channel >= w.rows || row >= rows)
        return;
    // All is asked for before any of it is waited for.
    const bool adds = sizeof(Out) == sizeof(float) && op.epilogue == ECD_EPILOGUE_RESIDUAL; // which has f32 alone
    const bool multiplies = op.epilogue == ECD_EPILOGUE_MULTIPLY;
    float v[N], before[N] = {}, scale[N], bias[N] = {}, gate[N] = {};
    ecd_load_strip(sums + row * sums_stride + channel, v);
    row += first_row;
    Out *out = (Out *)op.out + row * op.out_stride + channel;
    if (adds || multiplies)
        ecd_load_strip(out, before);
    if (adds && op.gate)
        ecd_load_strip(op.gate + (uint32_t)row / (uint32_t)op.gate_rows * op.gate_stride + channel, gate);
    if (op.bias)
        ecd_load_strip(op.bias + channel, bias);
    if (w.scale_kind == ECD_SCALE_ROW) {
        ecd_load_strip(w.scale + channel, scale);
    } else {
        for (int i = 0; i < N; i++)
            scale[i] = ecd_weight_scale_after(w, channel);
    }
    for (int i = 0; i < N; i++) {
        v[i] *= scale[i];
        if (op.bias)
            v[i] += bias[i];
    }
    activate(op.epilogue, v);
    for (int i = 0; i < N; i++) {
        if (adds)
            v[i] = before[i] + (op.gate ? gate[i] * v[i] : v[i]);
        if (multiplies)
            v[i] = before[i] * v[i];
    }
    ecd_store_strip(out, v);
}

template <typename Out>
static const char *launch_epilogue(ecd_cuda_stream *stream, const ecd_linear &op, int64_t first_row, int64_t rows,
                                   const float *sums, int64_t sums_stride)
{
    enum { N = ecd_strip<Out>::elements };
    const ecd_weight &w = *op.w;
    const bool strips = w.rows % N == 0 && ecd_floats_lie(sums, sums_stride) &&
                        ecd_lies_at(op.out, op.out_stride, sizeof(Out), ECD_STRIP_BYTES) && ecd_floats_lie(op.bias, 0) &&
                        (w.scale_kind != ECD_SCALE_ROW || ecd_floats_lie(w.scale, 0)) &&
                        (!op.gate || ecd_floats_lie(op.gate, op.gate_stride));
    const ecd_tiling t = ecd_tile_rows(rows, strips ? w.rows / N : w.rows, 1);
    if (strips)
        ECD_RUN((finish<Out, N>), t.grid, t.block, 0, stream, op, w, first_row, rows, sums, sums_stride);
    else
        ECD_RUN((finish<Out, 1>), t.grid, t.block, 0, stream, op, w, first_row, rows, sums, sums_stride);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_linear *op, int64_t first_row,
                                     int64_t rows, const float *sums, int64_t sums_stride)
{
    ecd_linear dense = *op;
    dense.out_stride = op->out_stride ? op->out_stride : op->w->rows;
    dense.gate_rows = op->gate_rows < INT32_MAX ? op->gate_rows : INT32_MAX; // more than there are
    if (op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL || !narrow)
        return launch_epilogue<float>(stream, dense, first_row, rows, sums, sums_stride);
    return launch_epilogue<ecd_bf16_bits>(stream, dense, first_row, rows, sums, sums_stride);
}

typedef struct conv_finish {
    int64_t channels, first, pixels, y_stride, out_stride, residual_stride;
    const float *scale, *bias;
} conv_finish;

// A thread N channels of PIXELS pixels, all read before any is written: the reads do not wait for each other. y may be out,
// and so may the residual, but each element is read and written by one thread.
template <typename Act, typename Out, int N, bool ADDS>
static __global__ void finish_conv(conv_finish f, const Act *y, const Act *residual, Out *out)
{
    const int64_t c = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * N;
    const int64_t begin = (int64_t)blockIdx.x * blockDim.y * PIXELS + threadIdx.y;
    if (c >= f.channels)
        return;
    float scale[N], bias[N];
    ecd_words<Act, N> words[PIXELS], more[PIXELS] = {};
    ecd_load_strip(f.scale + c, scale);
    ecd_load_strip(f.bias + c, bias);
#pragma unroll
    for (int k = 0; k < PIXELS; k++) {
        const int64_t pixel = begin + k * blockDim.y;
        if (pixel < f.pixels)
            ecd_load_words(y + pixel * f.y_stride + c, words[k]);
        if (ADDS && pixel < f.pixels)
            ecd_load_words(residual + (pixel + f.first) * f.residual_stride + c, more[k]);
    }
#pragma unroll
    for (int k = 0; k < PIXELS; k++) {
        const int64_t pixel = begin + k * blockDim.y;
        if (pixel >= f.pixels)
            return;
        float v[N], add[N] = {};
        ecd_widen(words[k], v);
        if (ADDS)
            ecd_widen(more[k], add);
        for (int i = 0; i < N; i++) {
            v[i] = v[i] * scale[i] + bias[i];
            if (ADDS)
                v[i] += add[i];
        }
        ecd_store_strip(out + (pixel + f.first) * f.out_stride + c, v);
    }
}

template <typename Act, typename Out, int N>
static void run_conv_epilogue(ecd_cuda_stream *stream, const conv_finish &f, const Act *y, const Act *residual, Out *out)
{
    const ecd_tiling t = ecd_tile_rows(f.pixels, f.channels / N, PIXELS);
    if (residual)
        ECD_RUN((finish_conv<Act, Out, N, true>), t.grid, t.block, 0, stream, f, y, residual, out);
    else
        ECD_RUN((finish_conv<Act, Out, N, false>), t.grid, t.block, 0, stream, f, y, residual, out);
}

template <typename Act, typename Out>
static const char *launch_conv_epilogue(ecd_cuda_stream *stream, const conv_finish &f, const void *y, const void *residual,
                                        void *out)
{
    enum { N = ecd_strip<Act>::elements };
    const bool strips = f.channels % N == 0 && ecd_lies_at(y, f.y_stride, sizeof(Act), ECD_STRIP_BYTES) &&
                        ecd_lies_at(residual, f.residual_stride, sizeof(Act), ECD_STRIP_BYTES) &&
                        ecd_lies_at(out, f.out_stride, sizeof(Out), ECD_STRIP_BYTES) && ecd_floats_lie(f.scale, 0) &&
                        ecd_floats_lie(f.bias, 0);
    if (strips)
        run_conv_epilogue<Act, Out, N>(stream, f, (const Act *)y, (const Act *)residual, (Out *)out);
    else
        run_conv_epilogue<Act, Out, 1>(stream, f, (const Act *)y, (const Act *)residual, (Out *)out);
    return ecd_launch_error();
}

const char *ecd_cuda_launch_conv_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                          int64_t first, int64_t pixels, const void *y, int64_t y_stride,
                                          const float *scale, const float *bias)
{
    const conv_finish f = {channels, first, pixels, y_stride, op->out_stride ? op->out_stride : channels,
                           op->residual_stride ? op->residual_stride : channels, scale, bias};
    if (!narrow)
        return launch_conv_epilogue<float, float>(stream, f, y, op->residual, op->out);
    if (op->out_f32)
        return launch_conv_epilogue<ecd_bf16_bits, float>(stream, f, y, op->residual, op->out);
    return launch_conv_epilogue<ecd_bf16_bits, ecd_bf16_bits>(stream, f, y, op->residual, op->out);
}
