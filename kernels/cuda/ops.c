// The operations of which each is a launch or two.
#include "kernels/cuda/cuda.h"
#include "kernels/shape.h"

static void norm(ecd_backend *be, const ecd_norm *op)
{
    if (ecd_shape_norm(be, op) && op->rows > 0)
        ecd_cuda_done(be, "norm", ecd_cuda_launch_norm(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), op));
}

static void rope(ecd_backend *be, const ecd_rope *op)
{
    if (ecd_shape_rope(be, op) && op->batch * op->tokens * op->heads > 0)
        ecd_cuda_done(be, "rope", ecd_cuda_launch_rope(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), op));
}

static void attention(ecd_backend *be, const ecd_attention *op)
{
    if (!ecd_shape_attention(be, op) || !op->batch || !op->q_tokens)
        return;
    const int64_t width = op->heads * op->head_dim;
    ecd_attention dense = *op;
    dense.q_stride = ecd_stride_or(op->q_stride, width);
    dense.k_stride = ecd_stride_or(op->k_stride, width);
    dense.v_stride = ecd_stride_or(op->v_stride, width);
    dense.out_stride = ecd_stride_or(op->out_stride, width);
    ecd_cuda_stream *stream = ecd_cuda_stream_of(be);
    const char *error;
    if (!ecd_cuda_narrow(be))
        error = ecd_cuda_launch_attention(stream, &dense);
    else if (op->head_dim <= 128)
        error = ecd_cuda_launch_attention_mma(stream, ecd_cuda_of(be)->multiprocessors, &dense);
    else
        error = ecd_cuda_launch_attention_wide(stream, &dense);
    ecd_cuda_done(be, "attention", error);
}

static void to_act(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    if (ecd_backend_ok(be) && count > 0)
        ecd_cuda_done(be, "to_act",
                      ecd_cuda_launch_to_act(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), x, count, silu, out));
}

static void to_f32(ecd_backend *be, const void *x, int64_t count, float *out)
{
    if (ecd_backend_ok(be) && count > 0)
        ecd_cuda_done(be, "to_f32",
                      ecd_cuda_launch_to_f32(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), x, count, out));
}

static void add_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out)
{
    if (!ecd_shape_rows(be, table, ids, count) || count == 0)
        return;
    ecd_weight elements;
    void *memory;
    bool good = ecd_cuda_coded_expand(be, table, &elements, &memory);
    int64_t *there = good ? ecd_cuda_scratch(be, (size_t)count * sizeof *ids) : NULL;
    if (there)
        ecd_cuda_upload(be, there, ids, (size_t)count * sizeof *ids);
    if (there && ecd_backend_ok(be))
        ecd_cuda_done(be, "add_rows", ecd_cuda_launch_add_rows(ecd_cuda_stream_of(be), &elements, there, count, out));
    ecd_cuda_free(be, memory);
}

static void patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                     int patch, void *out)
{
    if (ecd_shape_patches(be, batch, channels, height, width, patch))
        ecd_cuda_done(be, "patchify",
                      ecd_cuda_launch_patchify(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), x, batch, channels,
                                               height, width, patch, out));
}

static void unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                       int patch, bool channels_first, float *out)
{
    if (ecd_shape_patches(be, batch, channels, height, width, patch))
        ecd_cuda_done(be, "unpatchify",
                      ecd_cuda_launch_unpatchify(ecd_cuda_stream_of(be), x, batch, channels, height, width, patch,
                                                 channels_first, out));
}

static void combine(ecd_backend *be, const ecd_combine *op)
{
    if (ecd_shape_combine(be, op) && op->count > 0)
        ecd_cuda_done(be, "combine", ecd_cuda_launch_combine(ecd_cuda_stream_of(be), op));
}

static void to_bytes(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out)
{
    if (ecd_shape_pixels(be, channels, pixels) && channels * pixels > 0)
        ecd_cuda_done(be, "to_bytes",
                      ecd_cuda_launch_to_bytes(ecd_cuda_stream_of(be), x, channels, pixels, out));
}

static bool measure(ecd_backend *be, const ecd_group_norm *op, void *scratch)
{
    return scratch && ecd_cuda_done(be, "group norm: measuring",
                                    ecd_cuda_launch_group_measure(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), op,
                                                                  scratch));
}

static void group_measure(ecd_backend *be, const ecd_group_norm *op)
{
    if (ecd_shape_group_norm(be, op) && op->pixels > 0)
        measure(be, op, ecd_cuda_scratch(be, ecd_cuda_group_measure_bytes(op)));
}

static void group_norm(ecd_backend *be, const ecd_group_norm *op)
{
    if (!ecd_shape_group_norm(be, op) || op->pixels == 0)
        return;
    size_t measured = ecd_cuda_piece(1, op->channels, sizeof(ecd_cuda_moments));
    char *scratch = ecd_cuda_scratch(be, measured + ecd_cuda_group_measure_bytes(op));
    ecd_group_norm own = *op;
    own.measured = scratch;
    if (scratch && measure(be, &own, scratch + measured))
        ecd_cuda_done(be, "group norm",
                      ecd_cuda_launch_group_apply(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), &own));
}

static void to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out)
{
    if (ecd_backend_ok(be) && channels * pixels > 0)
        ecd_cuda_done(be, "channels last",
                      ecd_cuda_launch_channels_last(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), x, channels, pixels,
                                                    out));
}

static void to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out)
{
    if (ecd_backend_ok(be) && channels * pixels > 0)
        ecd_cuda_done(be, "channels first",
                      ecd_cuda_launch_channels_first(ecd_cuda_stream_of(be), x, channels, pixels, out));
}

void ecd_cuda_fill_ops(ecd_backend_ops *ops)
{
    ops->norm = norm;
    ops->rope = rope;
    ops->attention = attention;
    ops->to_act = to_act;
    ops->to_f32 = to_f32;
    ops->add_rows = add_rows;
    ops->patchify = patchify;
    ops->unpatchify = unpatchify;
    ops->combine = combine;
    ops->to_bytes = to_bytes;
    ops->group_norm = group_norm;
    ops->group_measure = group_measure;
    ops->to_channels_last = to_channels_last;
    ops->to_channels_first = to_channels_first;
}
