#include "kernels/cuda/sequence_step.h"

#include <string.h>

void ecd_cuda_step_queue(ecd_backend *be, ecd_cuda_step *s)
{
    const ecd_cuda_move *m = &s->of.move;
    switch (s->kind) {
    case ECD_CUDA_LINEAR:
        s->of.linear.op.w = &s->of.linear.weight;
        be->ops->linear(be, &s->of.linear.op);
        return;
    case ECD_CUDA_NORM: be->ops->norm(be, &s->of.norm); return;
    case ECD_CUDA_ATTENTION: be->ops->attention(be, &s->of.attention); return;
    case ECD_CUDA_ROPE: be->ops->rope(be, &s->of.rope); return;
    case ECD_CUDA_TO_ACT: be->ops->to_act(be, m->from, m->count, m->silu, m->to); return;
    case ECD_CUDA_TO_F32: be->ops->to_f32(be, m->from, m->count, m->to); return;
    case ECD_CUDA_COPY: be->ops->copy(be, m->to, m->from, (size_t)m->count); return;
    }
}

static uint64_t *put_pointers(uint64_t *w, int count, const void *const *pointers)
{
    for (int i = 0; i < count; i++)
        *w++ = (uint64_t)(uintptr_t)pointers[i];
    return w;
}

static uint64_t *put_numbers(uint64_t *w, int count, const int64_t *numbers)
{
    for (int i = 0; i < count; i++)
        *w++ = (uint64_t)numbers[i];
    return w;
}

static uint64_t *put_float(uint64_t *w, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    *w = bits;
    return w + 1;
}

#define POINTERS(w, ...)                                                                                               \
    put_pointers(w, (int)(sizeof((const void *[]){__VA_ARGS__}) / sizeof(void *)), (const void *[]){__VA_ARGS__})
#define NUMBERS(w, ...)                                                                                                \
    put_numbers(w, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static uint64_t *put_linear(uint64_t *w, const ecd_linear *op, const ecd_weight *weight)
{
    w = POINTERS(w, weight->data, weight->scale, op->bias, op->x, op->out, op->gate);
    w = NUMBERS(w, weight->dtype, weight->rows, weight->cols, weight->scale_kind);
    return NUMBERS(w, op->pictures, op->rows, op->x_stride, op->out_stride, op->out_f32, op->epilogue, op->gate_rows,
                   op->gate_stride, op->x_again);
}

static uint64_t *put_norm(uint64_t *w, const ecd_norm *op)
{
    w = POINTERS(w, op->x, op->shift, op->scale, op->out, op->gamma, op->beta);
    w = NUMBERS(w, op->rows, op->cols, op->group_rows, op->mod_stride, op->rms);
    return put_float(w, op->eps);
}

static uint64_t *put_attention(uint64_t *w, const ecd_attention *op)
{
    w = POINTERS(w, op->q, op->k, op->v, op->out, op->distance_bias);
    w = NUMBERS(w, op->batch, op->heads, op->head_dim, op->q_tokens, op->kv_tokens, op->q_stride, op->k_stride,
                op->v_stride, op->out_stride, op->causal);
    return put_float(w, op->scale);
}

static uint64_t *put_rope(uint64_t *w, const ecd_rope *op)
{
    w = POINTERS(w, op->x, op->cosine, op->sine, op->gamma);
    w = NUMBERS(w, op->batch, op->tokens, op->heads, op->head_dim, op->stride);
    return put_float(w, op->eps);
}

uint64_t *ecd_cuda_step_spell(const ecd_cuda_step *s, uint64_t *w)
{
    const ecd_cuda_move *m = &s->of.move;
    *w++ = (uint64_t)s->kind;
    switch (s->kind) {
    case ECD_CUDA_LINEAR: return put_linear(w, &s->of.linear.op, &s->of.linear.weight);
    case ECD_CUDA_NORM: return put_norm(w, &s->of.norm);
    case ECD_CUDA_ATTENTION: return put_attention(w, &s->of.attention);
    case ECD_CUDA_ROPE: return put_rope(w, &s->of.rope);
    default: w = POINTERS(w, m->from, m->to); return NUMBERS(w, m->count, m->silu);
    }
}
