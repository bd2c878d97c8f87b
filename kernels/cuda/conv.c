// Convolutions: weights brought to cuDNN's layout once; the input padded, upsampled and filled up to whole groups of
// channels where the library cannot do so itself; bias, scale and residual after it.
#include <limits.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "kernels/shape.h"

struct ecd_conv_weight {
    ecd_conv_shape shape;
    int64_t in, out; // channels, filled up to a multiple of ECD_CUDNN_CHANNELS
    size_t size_bytes;
    char *memory; // device: values act [out][kernel][kernel][in], then scale and bias f32 [out]
    float *scale, *bias;
};

static int64_t filled(int64_t channels)
{
    return (channels + ECD_CUDNN_CHANNELS - 1) / ECD_CUDNN_CHANNELS * ECD_CUDNN_CHANNELS;
}

ecd_conv_weight *ecd_cuda_conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                       const float *bias)
{
    if (!ecd_shape_conv_weight(be, shape, w))
        return NULL;
    ecd_conv_weight *made = calloc(1, sizeof *made);
    if (!made) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a convolution's weights");
        return NULL;
    }
    *made = (ecd_conv_weight){.shape = *shape, .in = filled(shape->in_channels), .out = filled(shape->out_channels)};
    int64_t taps = (int64_t)shape->kernel * shape->kernel;
    size_t values = ecd_cuda_piece(made->out, taps * made->in, be->act_bytes);
    size_t vector = ecd_cuda_piece(1, made->out, sizeof(float));
    made->size_bytes = values + 2 * vector;
    made->memory = ecd_cuda_alloc(be, made->size_bytes);
    if (!made->memory) {
        free(made);
        return NULL;
    }
    ecd_cuda_of(be)->held_bytes += made->size_bytes;
    made->scale = (float *)(void *)(made->memory + values);
    made->bias = (float *)(void *)(made->memory + values + vector);
    ecd_cuda_done(be, "conv: weights",
                  ecd_cuda_launch_expand_conv(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), w, bias, taps, made->in,
                                              made->out, made->memory, made->scale, made->bias));
    return made;
}

void ecd_cuda_conv_free(ecd_backend *be, ecd_conv_weight *w)
{
    if (!w)
        return;
    ecd_cuda_of(be)->held_bytes -= w->size_bytes;
    ecd_cuda_free(be, w->memory);
    free(w);
}

typedef struct job {
    bool lends_x, lends_out; // the library reads and writes where they lie
    int64_t first, rows;     // of the output
    int64_t in_first, in_rows, in_width; // of what the library reads, if it is gathered
    int64_t out_width;
    ecd_cudnn_shape shape;
} job;

// `w`: shape and channels alone are looked at.
static bool job_of(ecd_backend *be, const ecd_conv_weight *w, const ecd_conv *op, job *j)
{
    const ecd_conv_shape *s = &w->shape;
    int64_t grow = op->upsample ? 2 : 1, height = op->height * grow, width = op->width * grow;
    int64_t out_height = ecd_conv_out(s, height);
    *j = (job){.first = op->first_row, .rows = op->rows ? op->rows : out_height, .out_width = ecd_conv_out(s, width)};
    bool narrow = ecd_cuda_narrow(be), even = s->pad_before == s->pad_after;
    j->lends_x = !op->upsample && !op->norm && even && j->rows == out_height && w->in == s->in_channels &&
                 ecd_stride_or(op->x_stride, s->in_channels) == s->in_channels &&
                 (uintptr_t)op->x % ECD_CUDNN_ALIGN == 0;
    size_t begin = (size_t)(j->first * j->out_width * s->out_channels) * be->act_bytes;
    j->lends_out = w->out == s->out_channels && ecd_stride_or(op->out_stride, s->out_channels) == s->out_channels &&
                   ((uintptr_t)op->out + begin) % ECD_CUDNN_ALIGN == 0 && op->out != op->residual &&
                   !(op->out_f32 && narrow);
    j->in_first = j->lends_x ? 0 : j->first * s->stride - s->pad_before;
    j->in_rows = j->lends_x ? height : (j->rows - 1) * s->stride + s->kernel;
    j->in_width = j->lends_x ? width : width + s->pad_before + s->pad_after;
    if (j->in_rows > INT_MAX || j->in_width > INT_MAX || w->in > INT_MAX || w->out > INT_MAX) {
        ecd_backend_fail(be, ECD_USAGE, "convolution: a size beyond what cuDNN takes");
        return false;
    }
    j->shape = (ecd_cudnn_shape){.narrow = narrow, .height = (int)j->in_rows, .width = (int)j->in_width,
                                 .in_channels = (int)w->in, .out_channels = (int)w->out, .kernel = s->kernel,
                                 .stride = s->stride, .pad = j->lends_x ? s->pad_before : 0};
    return true;
}

// What the library reads: x itself, or gathered into scratch. NULL after a failure.
static const void *input(ecd_backend *be, const ecd_conv *op, const job *j, void *scratch)
{
    const ecd_conv_shape *s = &op->w->shape;
    if (j->lends_x)
        return op->x;
    const char *error = ecd_cuda_launch_gather(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), op, s->in_channels,
                                               j->in_first, j->in_rows, s->pad_before, s->pad_after, op->w->in, scratch);
    return ecd_cuda_done(be, "conv: its input", error) ? scratch : NULL;
}

// Bytes of scratch for what is gathered and for what is not written where it belongs; the library's workspace follows.
typedef struct need {
    size_t x, y, workspace;
} need;

static bool measure(ecd_backend *be, const ecd_conv_weight *w, const job *j, need *n)
{
    n->x = j->lends_x ? 0 : ecd_cuda_piece(j->in_rows * j->in_width, w->in, be->act_bytes);
    n->y = j->lends_out ? 0 : ecd_cuda_piece(j->rows * j->out_width, w->out, be->act_bytes);
    return ecd_cudnn_workspace(be, ecd_cuda_of(be)->cudnn, &j->shape, &n->workspace);
}

// Whether the library may read and write in place depends on pointers, which are not known here: as if it may not.
uint64_t ecd_cuda_conv_scratch(ecd_backend *be, const ecd_conv_shape *shape, const ecd_conv *op)
{
    job j;
    need n;
    const ecd_conv_weight w = {.shape = *shape, .in = filled(shape->in_channels), .out = filled(shape->out_channels)};
    if (!ecd_backend_ok(be) || !job_of(be, &w, op, &j) || !measure(be, &w, &j, &n))
        return 0;
    int64_t pad = j.lends_x ? shape->pad_before + shape->pad_after : 0; // gathered, there is room for it
    return ecd_cuda_piece((j.in_rows + pad) * (j.in_width + pad), w.in, be->act_bytes) +
           ecd_cuda_piece(j.rows * j.out_width, w.out, be->act_bytes) + n.workspace;
}

void ecd_cuda_conv(ecd_backend *be, const ecd_conv *op)
{
    job j;
    need n;
    ecd_cuda_backend *cuda = ecd_cuda_of(be);
    if (!ecd_backend_ok(be) || !ecd_shape_conv(be, &op->w->shape, op) || !job_of(be, op->w, op, &j) ||
        !measure(be, op->w, &j, &n))
        return;
    int64_t pixels = j.rows * j.out_width, first = j.first * j.out_width, channels = op->w->shape.out_channels;
    char *scratch = ecd_cuda_scratch(be, n.x + n.y + n.workspace);
    const void *x = scratch ? input(be, op, &j, scratch) : NULL;
    if (!x)
        return;
    char *y = j.lends_out ? (char *)op->out + (size_t)(first * channels) * be->act_bytes : scratch + n.x;
    ecd_cudnn_convolve(be, cuda->cudnn, &j.shape, x, op->w->memory, y, scratch + n.x + n.y);
    if (ecd_backend_ok(be))
        ecd_cuda_done(be, "conv: epilogue",
                      ecd_cuda_launch_conv_epilogue(ecd_cuda_stream_of(be), ecd_cuda_narrow(be), op, channels, first, pixels, y,
                                                    op->w->out, op->w->scale, op->w->bias));
}
