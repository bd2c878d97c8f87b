// Conversions, and what follows products and convolutions.
#include "kernels/cuda/device.cuh"

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

static __device__ __forceinline__ float activate(ecd_epilogue epilogue, float v)
{
    switch (epilogue) {
    case ECD_EPILOGUE_GELU_TANH: return ecd_gelu_tanh(v);
    case ECD_EPILOGUE_SILU: return ecd_silu(v);
    case ECD_EPILOGUE_QUICK_GELU: return ecd_quick_gelu(v);
    default: return v;
    }
}

// A thread an output channel, a row of blocks a row of the product. `op.out` and the gate begin at row 0 of the batch.
template <typename Out>
static __global__ void finish(ecd_linear op, ecd_weight w, int64_t first_row, const float *sums, int64_t sums_stride)
{
    int64_t channel = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, row = first_row + blockIdx.y;
    if (channel >= w.rows)
        return;
    float v = sums[(int64_t)blockIdx.y * sums_stride + channel] * ecd_weight_scale_after(w, channel);
    if (op.bias)
        v += op.bias[channel];
    v = activate(op.epilogue, v);
    Out *out = (Out *)op.out;
    int64_t at = row * op.out_stride + channel;
    if (op.epilogue == ECD_EPILOGUE_RESIDUAL)
        v = ecd_load(out, at) + (op.gate ? op.gate[row / op.gate_rows * op.gate_stride + channel] * v : v);
    else if (op.epilogue == ECD_EPILOGUE_MULTIPLY)
        v = ecd_load(out, at) * v;
    ecd_store(out, at, v);
}

enum { MAX_ROWS = 65535 }; // of a grid

const char *ecd_cuda_launch_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_linear *op, int64_t first_row,
                                     int64_t rows, const float *sums, int64_t sums_stride)
{
    ecd_linear dense = *op;
    dense.out_stride = op->out_stride ? op->out_stride : op->w->rows;
    bool f32 = op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL || !narrow;
    const char *error = NULL;
    for (int64_t row = 0; !error && row < rows; row += MAX_ROWS) {
        dim3 grid(ecd_cover(op->w->rows, ECD_BLOCK), rows - row < MAX_ROWS ? (unsigned)(rows - row) : (unsigned)MAX_ROWS);
        const float *from = sums + row * sums_stride;
        if (f32)
            ECD_RUN((finish<float>), grid, ECD_BLOCK, 0, stream, dense, *op->w, first_row + row, from, sums_stride);
        else
            ECD_RUN((finish<ecd_bf16_bits>), grid, ECD_BLOCK, 0, stream, dense, *op->w, first_row + row, from,
                       sums_stride);
        error = ecd_launch_error();
    }
    return error;
}

typedef struct conv_finish {
    int64_t channels, first, count, y_stride, out_stride, residual_stride;
    const float *scale, *bias;
} conv_finish;

template <typename Act, typename Out>
static __global__ void finish_conv(conv_finish f, const Act *y, const Act *residual, Out *out)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= f.count)
        return;
    int64_t c = i % f.channels, pixel = i / f.channels;
    float v = ecd_load(y, pixel * f.y_stride + c) * f.scale[c] + f.bias[c];
    pixel += f.first;
    if (residual)
        v += ecd_load(residual, pixel * f.residual_stride + c);
    ecd_store(out, pixel * f.out_stride + c, v);
}

const char *ecd_cuda_launch_conv_epilogue(ecd_cuda_stream *stream, bool narrow, const ecd_conv *op, int64_t channels,
                                          int64_t first, int64_t pixels, const void *y, int64_t y_stride,
                                          const float *scale, const float *bias)
{
    conv_finish f = {channels, first, pixels * channels, y_stride, op->out_stride ? op->out_stride : channels,
                     op->residual_stride ? op->residual_stride : channels, scale, bias};
    unsigned blocks = ecd_cover(f.count, ECD_BLOCK);
    if (!narrow)
        ECD_RUN((finish_conv<float, float>), blocks, ECD_BLOCK, 0, stream, f, (const float *)y,
                (const float *)op->residual, (float *)op->out);
    else if (op->out_f32)
        ECD_RUN((finish_conv<ecd_bf16_bits, float>), blocks, ECD_BLOCK, 0, stream, f, (const ecd_bf16_bits *)y,
                (const ecd_bf16_bits *)op->residual, (float *)op->out);
    else
        ECD_RUN((finish_conv<ecd_bf16_bits, ecd_bf16_bits>), blocks, ECD_BLOCK, 0, stream, f,
                (const ecd_bf16_bits *)y, (const ecd_bf16_bits *)op->residual, (ecd_bf16_bits *)op->out);
    return ecd_launch_error();
}
