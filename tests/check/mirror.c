#include "tests/check/mirror.h"

#include <stdlib.h>

#include "kernels/host_memory.h"
#include "kernels/shape.h"

enum { OPERANDS = 12, ALIGN = 64 };

typedef struct operand {
    void *host, *memory, *at; // memory: the allocation; at: in it
    size_t bytes;
    bool written;
} operand;

typedef struct mirror {
    ecd_backend base;
    ecd_backend *inner;
    void (*before)(void);
    operand operands[OPERANDS];
    int count;
} mirror;

static mirror *of(ecd_backend *be)
{
    return (mirror *)be;
}

// The device's backend, for the next operation.
static ecd_backend *device(ecd_backend *be)
{
    if (of(be)->before)
        of(be)->before();
    return of(be)->inner;
}

// The operand's copy on the device; NULL for NULL. An operand that is written may be read too under its own address.
static void *bring(ecd_backend *be, const void *host, int64_t elements, size_t element_bytes, bool written)
{
    mirror *m = of(be);
    if (!host || elements <= 0)
        return NULL;
    for (int i = 0; i < m->count; i++)
        if (m->operands[i].host == host && m->operands[i].written)
            return m->operands[i].at;
    if (m->count == OPERANDS)
        abort();
    operand *o = &m->operands[m->count++];
    size_t shift = (uintptr_t)host % ALIGN / element_bytes * element_bytes; // a device takes no element astray
    *o = (operand){.host = (void *)(uintptr_t)host, .bytes = (size_t)elements * element_bytes, .written = written};
    o->memory = m->inner->ops->alloc(m->inner, shift + o->bytes);
    if (!o->memory)
        return NULL;
    o->at = (char *)o->memory + shift;
    m->inner->ops->upload(m->inner, o->at, host, o->bytes);
    return o->at;
}

// Copies back what was written and frees all; the first failure is the mirror's too.
static void done(ecd_backend *be)
{
    mirror *m = of(be);
    ecd_diag diag;
    for (int i = 0; i < m->count; i++) {
        operand *o = &m->operands[i];
        if (o->written && o->at)
            m->inner->ops->download(m->inner, o->host, o->at, o->bytes);
        m->inner->ops->free(m->inner, o->memory);
    }
    m->count = 0;
    if (ecd_backend_check(m->inner, &diag))
        ecd_backend_fail(be, diag.status, "%s", diag.what);
}

static int64_t span(int64_t rows, int64_t stride, int64_t cols)
{
    return rows > 0 ? (rows - 1) * stride + cols : 0;
}

static ecd_weight bring_weight(ecd_backend *be, const ecd_weight *w)
{
    ecd_weight there = *w;
    int64_t blocks = (w->rows + 127) / 128 * ((w->cols + 127) / 128);
    there.data = bring(be, w->data, w->rows * w->cols, ecd_dtype_size(w->dtype), false);
    there.scale = bring(be, w->scale,
                        w->scale_kind == ECD_SCALE_ROW     ? w->rows
                        : w->scale_kind == ECD_SCALE_BLOCK ? blocks
                                                           : 1,
                        sizeof(float), false);
    return there;
}

static void linear(ecd_backend *be, const ecd_linear *op)
{
    ecd_linear there = *op;
    int64_t rows = op->pictures * op->rows, channels = op->w->rows;
    bool f32 = op->out_f32 || op->epilogue == ECD_EPILOGUE_RESIDUAL || be->act_bytes == 4;
    ecd_weight w = bring_weight(be, op->w);
    there.w = &w;
    there.out = bring(be, op->out, span(rows, ecd_stride_or(op->out_stride, channels), channels), f32 ? 4 : 2, true);
    there.x = bring(be, op->x, span(rows, ecd_stride_or(op->x_stride, w.cols), w.cols), be->act_bytes, false);
    there.bias = bring(be, op->bias, channels, 4, false);
    if (op->gate)
        there.gate = bring(be, op->gate, span((rows + op->gate_rows - 1) / op->gate_rows, op->gate_stride, channels), 4,
                           false);
    of(be)->inner->ops->linear(device(be), &there);
    done(be);
}

static void norm(ecd_backend *be, const ecd_norm *op)
{
    ecd_norm there = *op;
    int64_t groups = op->group_rows ? (op->rows + op->group_rows - 1) / op->group_rows : 1;
    there.out = bring(be, op->out, op->rows * op->cols, be->act_bytes, true);
    there.x = bring(be, op->x, op->rows * op->cols, 4, false);
    there.shift = bring(be, op->shift, span(groups, op->mod_stride, op->cols), 4, false);
    there.scale = bring(be, op->scale, span(groups, op->mod_stride, op->cols), 4, false);
    there.gamma = bring(be, op->gamma, op->cols, 4, false);
    there.beta = bring(be, op->beta, op->cols, 4, false);
    of(be)->inner->ops->norm(device(be), &there);
    done(be);
}

static void attention(ecd_backend *be, const ecd_attention *op)
{
    ecd_attention there = *op;
    int64_t width = op->heads * op->head_dim;
    size_t act = be->act_bytes;
    there.out = bring(be, op->out, span(op->batch * op->q_tokens, ecd_stride_or(op->out_stride, width), width), act, true);
    there.q = bring(be, op->q, span(op->batch * op->q_tokens, ecd_stride_or(op->q_stride, width), width), act, false);
    there.k = bring(be, op->k, span(op->batch * op->kv_tokens, ecd_stride_or(op->k_stride, width), width), act, false);
    there.v = bring(be, op->v, span(op->batch * op->kv_tokens, ecd_stride_or(op->v_stride, width), width), act, false);
    there.distance_bias =
        bring(be, op->distance_bias, op->heads * (op->q_tokens + op->kv_tokens - 1), 4, false);
    of(be)->inner->ops->attention(device(be), &there);
    done(be);
}

static void rope(ecd_backend *be, const ecd_rope *op)
{
    ecd_rope there = *op;
    int64_t width = op->heads * op->head_dim, table = op->tokens * (op->head_dim / 2);
    there.x = bring(be, op->x, span(op->batch * op->tokens, ecd_stride_or(op->stride, width), width), be->act_bytes, true);
    there.cosine = bring(be, op->cosine, table, 4, false);
    there.sine = bring(be, op->sine, table, 4, false);
    there.gamma = bring(be, op->gamma, op->head_dim, 4, false);
    of(be)->inner->ops->rope(device(be), &there);
    done(be);
}

static void to_act(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    void *to = bring(be, out, count, be->act_bytes, true);
    of(be)->inner->ops->to_act(device(be), bring(be, x, count, 4, false), count, silu, to);
    done(be);
}

static void to_f32(ecd_backend *be, const void *x, int64_t count, float *out)
{
    float *to = bring(be, out, count, 4, true);
    of(be)->inner->ops->to_f32(device(be), bring(be, x, count, be->act_bytes, false), count, to);
    done(be);
}

static void add_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out)
{
    ecd_weight there = bring_weight(be, table);
    of(be)->inner->ops->add_rows(device(be), &there, ids, count, bring(be, out, count * table->cols, 4, true));
    done(be);
}

static void patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                     int patch, void *out)
{
    int64_t count = batch * channels * height * width;
    void *to = bring(be, out, count, be->act_bytes, true);
    of(be)->inner->ops->patchify(device(be), bring(be, x, count, 4, false), batch, channels, height, width, patch, to);
    done(be);
}

static void unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                       int patch, bool channels_first, float *out)
{
    int64_t count = batch * channels * height * width;
    float *to = bring(be, out, count, 4, true);
    of(be)->inner->ops->unpatchify(device(be), bring(be, x, count, 4, false), batch, channels, height, width, patch,
                                   channels_first, to);
    done(be);
}

static void combine(ecd_backend *be, const ecd_combine *op)
{
    ecd_combine there = *op;
    there.out = bring(be, op->out, op->count, 4, true);
    for (int i = 0; i < op->terms; i++)
        there.x[i] = bring(be, op->x[i], op->count, 4, false);
    of(be)->inner->ops->combine(device(be), &there);
    done(be);
}

static void to_bytes(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out)
{
    uint8_t *to = bring(be, out, channels * pixels, 1, true);
    of(be)->inner->ops->to_bytes(device(be), bring(be, x, channels * pixels, 4, false), channels, pixels, to);
    done(be);
}

struct ecd_conv_weight {
    ecd_conv_shape shape;
    ecd_conv_weight *inner;
};

static ecd_conv_weight *conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w, const float *bias)
{
    ecd_conv_weight *made = malloc(sizeof *made);
    ecd_weight there = bring_weight(be, w);
    if (!made)
        abort();
    *made = (ecd_conv_weight){*shape, of(be)->inner->ops->conv_prepare(device(be), shape, &there,
                                                                       bring(be, bias, w->rows, 4, false))};
    done(be);
    return made;
}

static void conv_free(ecd_backend *be, ecd_conv_weight *w)
{
    of(be)->inner->ops->conv_free(device(be), w->inner);
    free(w);
}

static ecd_group_norm bring_norm(ecd_backend *be, const ecd_group_norm *op)
{
    ecd_group_norm there = *op;
    there.gamma = bring(be, op->gamma, op->channels, 4, false);
    there.beta = bring(be, op->beta, op->channels, 4, false);
    there.measured = bring(be, op->measured, op->channels * ECD_MEASURED_BYTES / 4, 4, true);
    return there;
}

static void conv(ecd_backend *be, const ecd_conv *op)
{
    const ecd_conv_shape *s = &op->w->shape;
    ecd_conv there = *op;
    int64_t grow = op->upsample ? 2 : 1;
    int64_t pixels = ecd_conv_out(s, op->height * grow) * ecd_conv_out(s, op->width * grow);
    int64_t in = s->in_channels, out = s->out_channels;
    ecd_group_norm normed;
    there.w = op->w->inner;
    there.out = bring(be, op->out, span(pixels, ecd_stride_or(op->out_stride, out), out),
                      op->out_f32 ? 4 : be->act_bytes, true);
    there.residual = bring(be, op->residual, span(pixels, ecd_stride_or(op->residual_stride, out), out), be->act_bytes,
                           false);
    there.x = bring(be, op->x, span(op->height * op->width, ecd_stride_or(op->x_stride, in), in), be->act_bytes, false);
    if (op->norm) {
        normed = bring_norm(be, op->norm);
        there.norm = &normed;
    }
    of(be)->inner->ops->conv(device(be), &there);
    done(be);
}

static void group(ecd_backend *be, const ecd_group_norm *op, void (*run)(ecd_backend *, const ecd_group_norm *))
{
    ecd_group_norm there = bring_norm(be, op);
    there.out = bring(be, op->out, op->pixels * op->channels, be->act_bytes, true);
    there.x = bring(be, op->x, span(op->pixels, ecd_stride_or(op->x_stride, op->channels), op->channels), be->act_bytes,
                    false);
    run(device(be), &there);
    done(be);
}

static void group_norm(ecd_backend *be, const ecd_group_norm *op)
{
    group(be, op, of(be)->inner->ops->group_norm);
}

static void group_measure(ecd_backend *be, const ecd_group_norm *op)
{
    group(be, op, of(be)->inner->ops->group_measure);
}

static void to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out)
{
    void *to = bring(be, out, channels * pixels, be->act_bytes, true);
    of(be)->inner->ops->to_channels_last(device(be), bring(be, x, channels * pixels, 4, false), channels, pixels, to);
    done(be);
}

static void to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out)
{
    float *to = bring(be, out, channels * pixels, 4, true);
    of(be)->inner->ops->to_channels_first(device(be), bring(be, x, channels * pixels, 4, false), channels, pixels, to);
    done(be);
}

static uint64_t memory_bytes(const ecd_backend *be)
{
    const mirror *m = (const mirror *)be;
    return m->inner->ops->memory_bytes(m->inner);
}

static void close_mirror(ecd_backend *be)
{
    ecd_backend_close(of(be)->inner);
    free(be);
}

ecd_backend *ecd_mirror_open(ecd_backend *inner, void (*before)(void))
{
    static const ecd_backend_ops ops = {
        .alloc = ecd_host_alloc,
        .free = ecd_host_free,
        .upload = ecd_host_copy,
        .download = ecd_host_copy,
        .copy = ecd_host_copy,
        .linear = linear,
        .norm = norm,
        .attention = attention,
        .rope = rope,
        .to_act = to_act,
        .to_f32 = to_f32,
        .add_rows = add_rows,
        .patchify = patchify,
        .unpatchify = unpatchify,
        .combine = combine,
        .to_bytes = to_bytes,
        .conv_prepare = conv_prepare,
        .conv_free = conv_free,
        .conv = conv,
        .group_norm = group_norm,
        .group_measure = group_measure,
        .to_channels_last = to_channels_last,
        .to_channels_first = to_channels_first,
        .memory_bytes = memory_bytes,
        .close = close_mirror,
    };
    mirror *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->base = *inner;
    m->base.ops = &ops;
    m->base.host_memory = true;
    m->inner = inner;
    m->before = before;
    return &m->base;
}
