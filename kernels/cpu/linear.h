// What follows a product's sums, shared by its kernels: scale, bias, activation, gate, residual, the output's type.
#ifndef ECD_KERNELS_CPU_LINEAR_H
#define ECD_KERNELS_CPU_LINEAR_H

#include "kernels/cpu/coded.h"
#include "kernels/cpu/widen.h"

typedef struct ecd_linear_job {
    ecd_backend *be;
    const ecd_linear *op;
    ecd_pack pack;
    int64_t rows, x_stride, out_stride, slice, chunk, chunks; // a part: `slice` channels of `chunk` rows
    ecd_cpu_decode *decode; // NULL: the weight's elements are there
    ecd_cpu_cut cut;        // with `decode`, instead of `slice`
    size_t decoded_at;      // bytes: where in a thread's scratch its slice is decoded to
} ecd_linear_job;

// A part's output channels, and where their weights lie.
typedef struct ecd_linear_slice {
    int64_t first, channels;
    ecd_pack pack;
} ecd_linear_slice;

// False where decoding failed: the part is left out.
static inline bool ecd_linear_slice_of(const ecd_linear_job *j, int64_t index, char *scratch, ecd_linear_slice *out)
{
    int64_t first = index * j->slice, left = j->op->w->rows - first;
    *out = (ecd_linear_slice){first, left < j->slice ? left : j->slice, j->pack};
    if (!j->decode)
        return true;
    out->first = out->pack.first = ecd_cpu_cut_at(&j->cut, index);
    out->channels = ecd_cpu_cut_at(&j->cut, index + 1) - out->first;
    out->pack.data = scratch + j->decoded_at;
    return ecd_cpu_decode_rows(j->decode, out->first, out->channels, scratch + j->decoded_at);
}

// Runs the parts, `slices` of them times j->chunks, each with so much scratch and the room for what it decodes.
static inline void ecd_linear_run(ecd_linear_job *j, int64_t slices, size_t scratch_bytes, ecd_pool_part run,
                                  void *context)
{
    ecd_cpu_decode decode;
    const ecd_weight *w = j->op->w;
    j->decoded_at = (scratch_bytes + 63) / 64 * 64;
    size_t decoded = w->coded ? (size_t)(ecd_cpu_cut_most(&j->cut) * w->cols) * vsize(w->dtype) : 0;
    if (!ecd_cpu_reserve(j->be, j->decoded_at + decoded))
        return;
    if (w->coded && !ecd_cpu_decode_begin(j->be, w, j->decode = &decode))
        return;
    ecd_pool_run(ecd_cpu_of(j->be)->pool, slices * j->chunks, run, context);
    if (w->coded)
        ecd_cpu_decode_end(j->be, &decode, true);
}

ALWAYS_INLINE vf ecd_linear_finish(const ecd_linear *op, const ecd_epilogue epilogue, vf sum, const float *gate,
                                   int64_t channel, int64_t count)
{
    if (op->w->scale_kind == ECD_SCALE_TENSOR)
        sum *= vsplat(op->w->scale[0]);
    else if (op->w->scale_kind == ECD_SCALE_ROW)
        sum *= vload_some(ECD_F32, op->w->scale + channel, count);
    if (op->bias)
        sum += vload_some(ECD_F32, op->bias + channel, count);
    if (epilogue == ECD_EPILOGUE_GELU_TANH)
        return vgelu_tanh(sum);
    if (epilogue == ECD_EPILOGUE_SILU)
        return vsilu(sum);
    if (epilogue == ECD_EPILOGUE_QUICK_GELU)
        return sum / (1.0f + vexp(sum * -1.702f));
    return gate ? sum * vload_some(ECD_F32, gate + channel, count) : sum;
}

ALWAYS_INLINE void ecd_linear_store_type(const ecd_linear *op, const ecd_epilogue epilogue, const ecd_dtype type,
                                         const float *sum, const float *gate, char *out, int64_t first,
                                         int64_t channels)
{
    int64_t n = 0;
    for (; n + LANES <= channels; n += LANES) {
        char *to = out + (size_t)n * vsize(type);
        vf v = ecd_linear_finish(op, epilogue, vload(sum + n), gate, first + n, LANES);
        if (epilogue == ECD_EPILOGUE_RESIDUAL)
            v += vload_type(ECD_F32, to);
        else if (epilogue == ECD_EPILOGUE_MULTIPLY)
            v *= vload_type(type, to);
        vstore_some(type, to, v, LANES);
    }
    if (n == channels)
        return;
    char *to = out + (size_t)n * vsize(type);
    vf v = ecd_linear_finish(op, epilogue, vload(sum + n), gate, first + n, channels - n);
    if (epilogue == ECD_EPILOGUE_RESIDUAL)
        v += vload_part(ECD_F32, to, channels - n);
    else if (epilogue == ECD_EPILOGUE_MULTIPLY)
        v *= vload_part(type, to, channels - n);
    vstore_some(type, to, v, channels - n);
}

// Finishes and stores `channels` sums of a row, from channel `first` on; sum is readable up to a whole vector.
static inline void ecd_linear_store(const ecd_linear_job *j, const float *sum, int64_t row, int64_t first,
                                    int64_t channels)
{
    const ecd_linear *op = j->op;
    bool f32 = op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL || j->be->act_bytes == 4;
    char *out = (char *)op->out + (size_t)(row * j->out_stride + first) * (f32 ? 4 : 2);
    const float *gate = op->gate ? op->gate + row / op->gate_rows * op->gate_stride : NULL;
#define CASE(e)                                                                                                        \
    case e:                                                                                                            \
        if (f32)                                                                                                       \
            ecd_linear_store_type(op, e, ECD_F32, sum, NULL, out, first, channels);                                    \
        else                                                                                                           \
            ecd_linear_store_type(op, e, ECD_BF16, sum, NULL, out, first, channels);                                   \
        break;
    switch (op->epilogue) {
        CASE(ECD_EPILOGUE_NONE)
        CASE(ECD_EPILOGUE_GELU_TANH)
        CASE(ECD_EPILOGUE_SILU)
        CASE(ECD_EPILOGUE_QUICK_GELU)
        CASE(ECD_EPILOGUE_MULTIPLY)
    case ECD_EPILOGUE_RESIDUAL:
        ecd_linear_store_type(op, ECD_EPILOGUE_RESIDUAL, ECD_F32, sum, gate, out, first, channels);
        break;
    case ECD_EPILOGUE_COUNT:
        break;
    }
#undef CASE
}

// Rows of x as floats, `depth` of them from column k on: widened into scratch for BF16, copied if `copy`, else in place.
static inline const float *ecd_linear_rows(const ecd_linear_job *j, int64_t row, int64_t rows, int64_t k,
                                           int64_t depth, bool copy, float *scratch, int64_t *stride)
{
    const char *x = (const char *)j->op->x + (size_t)(row * j->x_stride + k) * j->be->act_bytes;
    if (j->be->act_bytes == 4 && !copy) {
        *stride = j->x_stride;
        return (const float *)x;
    }
    for (int64_t r = 0; r < rows; r++) {
        const char *from = x + (size_t)(r * j->x_stride) * j->be->act_bytes;
        float *to = scratch + r * *stride;
        if (j->be->act_bytes == 4) {
            memcpy(to, from, (size_t)depth * sizeof *to);
            continue;
        }
        for (int64_t i = 0; i < depth; i += LANES)
            vstore_some(ECD_F32, to + i, vload_some(ECD_BF16, from + 2 * i, depth - i), depth - i);
    }
    return scratch;
}

enum { ECD_LINEAR_SMALL = 4 }; // rows of a picture that are multiplied without packing

// Products of few rows: reads each weight once. Chosen by the rows of a picture, never by the batch.
void ECD_NAME(linear_small)(ecd_linear_job *j);

// Products by oneDNN (onednn.h); false if it has none of this shape and nothing was done.
bool ECD_NAME(linear_library)(ecd_linear_job *j);

#endif
