#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

typedef struct head {
    const float *q, *k, *v; // first token of this sequence and head
    float *out;
    const float *bias; // of distance 0 - (q_tokens - 1), or NULL
    int64_t q_stride, k_stride, v_stride, out_stride;
} head;

// weights[t] = exp(logit[t] - largest) for the `seen` first keys; returns their sum. Infinite logits give what the formula
// gives: NaN.
static double softmax_weights(const ecd_attention *op, const head *h, int64_t token, int64_t seen, float *weights)
{
    float largest = -INFINITY;
    const float *q = h->q + token * h->q_stride;
    for (int64_t t = 0; t < seen; t++) {
        float dot = 0;
        for (int64_t d = 0; d < op->head_dim; d++)
            dot += q[d] * h->k[t * h->k_stride + d];
        weights[t] = dot * op->scale;
        if (h->bias)
            weights[t] += h->bias[t - token + op->q_tokens - 1];
        largest = weights[t] > largest ? weights[t] : largest;
    }
    double sum = 0;
    for (int64_t t = 0; t < seen; t++) {
        weights[t] = (float)exp((double)weights[t] - (double)largest);
        sum += (double)weights[t];
    }
    return sum;
}

static void attend(const ecd_attention *op, const head *h, int64_t token, float *weights)
{
    int64_t seen = op->causal && token + 1 < op->kv_tokens ? token + 1 : op->kv_tokens;
    double sum = softmax_weights(op, h, token, seen, weights);
    float *out = h->out + token * h->out_stride;
    for (int64_t d = 0; d < op->head_dim; d++)
        out[d] = 0;
    for (int64_t t = 0; t < seen; t++)
        for (int64_t d = 0; d < op->head_dim; d++)
            out[d] += weights[t] * h->v[t * h->v_stride + d];
    for (int64_t d = 0; d < op->head_dim; d++)
        out[d] = (float)((double)out[d] / sum);
}

static head head_of(const ecd_attention *op, int64_t sequence, int64_t index)
{
    int64_t width = op->heads * op->head_dim, at = index * op->head_dim;
    head h = {
        .q_stride = ecd_stride_or(op->q_stride, width),
        .k_stride = ecd_stride_or(op->k_stride, width),
        .v_stride = ecd_stride_or(op->v_stride, width),
        .out_stride = ecd_stride_or(op->out_stride, width),
    };
    h.q = (const float *)op->q + sequence * op->q_tokens * h.q_stride + at;
    h.k = (const float *)op->k + sequence * op->kv_tokens * h.k_stride + at;
    h.v = (const float *)op->v + sequence * op->kv_tokens * h.v_stride + at;
    if (op->distance_bias)
        h.bias = op->distance_bias + index * (op->q_tokens + op->kv_tokens - 1);
    h.out = (float *)op->out + sequence * op->q_tokens * h.out_stride + at;
    return h;
}

void ecd_ref_attention(ecd_backend *be, const ecd_attention *op)
{
    if (!ecd_shape_attention(be, op))
        return;
    float *weights = malloc((size_t)op->kv_tokens * sizeof *weights);
    if (!weights) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: attention over %lld tokens", (long long)op->kv_tokens);
        return;
    }
    for (int64_t sequence = 0; sequence < op->batch; sequence++)
        for (int64_t index = 0; index < op->heads; index++) {
            head h = head_of(op, sequence, index);
            for (int64_t token = 0; token < op->q_tokens; token++)
                attend(op, &h, token, weights);
        }
    free(weights);
}
