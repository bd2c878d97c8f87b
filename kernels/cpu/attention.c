#include <math.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

// Tiled softmax(q k^T) v with running maximum and sum (FlashAttention, arXiv 2205.14135, algorithm 1).
enum { QUERIES = 64, KEYS = 128 };

typedef struct job {
    ecd_backend *be;
    const ecd_attention *op;
    ecd_dtype act;
    int64_t q_stride, k_stride, v_stride, out_stride, tiles, padded; // padded: head_dim up to whole panels
} job;

typedef struct tile {
    float *k, *v, *q, *logits, *sums; // packed keys and values, queries, [QUERIES][KEYS], [QUERIES][padded]
    float largest[QUERIES], total[QUERIES];
    const float *bias; // of this head and the tile's first query, to be read at a key's index less a row's, or NULL
    int64_t first;     // query
} tile;

static const void *row_of(const job *j, const void *base, int64_t row, int64_t stride, int64_t head)
{
    return (const char *)base + (size_t)(row * stride + head * j->op->head_dim) * j->be->act_bytes;
}

static void pack_values(const job *j, const void *v, int64_t keys, float *to)
{
    int64_t dim = j->op->head_dim;
    for (int64_t n = 0; n < dim; n += PANEL)
        for (int64_t t = 0; t < keys; t++)
            for (int64_t i = 0; i < PANEL; i += LANES) {
                const char *from = (const char *)v + (size_t)(t * j->v_stride + n + i) * j->be->act_bytes;
                vstore(to + n * KEYS + t * PANEL + i, n + i < dim ? vload_some(j->act, from, dim - n - i) : (vf){0});
            }
}

// Turns a row of logits into weights, and brings the row's sums to the new maximum. key: the first of the `keys`.
static void soften(const job *j, tile *t, int64_t row, int64_t key, int64_t keys)
{
    float *logit = t->logits + row * KEYS;
    vf scale = vsplat(j->op->scale), most = vsplat(-INFINITY), sum = {0};
    int64_t seen = j->op->causal && t->first + row + 1 - key < keys ? t->first + row + 1 - key : keys;
    for (int64_t i = 0; i < keys; i += LANES) {
        vf v = vload(logit + i) * scale;
        if (t->bias)
            v += vload_some(ECD_F32, t->bias + key - row + i, keys - i);
        vstore(logit + i, v);
        for (int64_t hidden = seen > i ? seen : i; hidden < i + LANES; hidden++)
            logit[hidden] = -INFINITY;
        most = vmax(vload(logit + i), most);
    }
    float largest = vlargest(most);
    largest = largest > t->largest[row] ? largest : t->largest[row];
    float base = largest == -INFINITY ? 0.0f : largest; // so that a tile of -inf adds nothing
    for (int64_t i = 0; i < keys; i += LANES) {
        vf v = vexp(vload(logit + i) - vsplat(base));
        vstore(logit + i, v);
        sum += v;
    }
    vf shrink = vexp(vsplat(t->largest[row] - base));
    t->largest[row] = largest;
    t->total[row] = t->total[row] * shrink[0] + vsum(sum);
    for (int64_t d = 0; d < j->padded; d += LANES)
        vstore(t->sums + row * j->padded + d, vload(t->sums + row * j->padded + d) * shrink);
}

static void meet_keys(const job *j, tile *t, int64_t rows, int64_t key, const void *k, const void *v)
{
    int64_t keys = j->op->kv_tokens - key < KEYS ? j->op->kv_tokens - key : KEYS;
    int64_t dim = j->op->head_dim;
    ecd_pack pack = {j->act, k, j->k_stride, false};
    memset(t->logits, 0, (size_t)(QUERIES * KEYS) * sizeof *t->logits);
    for (int64_t n = 0; n < keys; n += PANEL) {
        ECD_NAME(pack_panel)(&pack, NULL, n, keys, 0, dim, t->k);
        ECD_NAME(gemm_panel)(rows, dim, t->q, dim, t->k, t->logits + n, KEYS);
    }
    for (int64_t row = 0; row < rows; row++)
        soften(j, t, row, key, keys);
    pack_values(j, v, keys, t->v);
    for (int64_t n = 0; n < dim; n += PANEL)
        ECD_NAME(gemm_panel)(rows, keys, t->logits, KEYS, t->v + n * KEYS, t->sums + n, j->padded);
}

static void store_row(const job *j, const tile *t, int64_t row, char *out)
{
    vf total = vsplat(t->total[row]);
    for (int64_t d = 0; d < j->op->head_dim; d += LANES)
        vstore_some(j->act, out + (size_t)d * j->be->act_bytes, vload(t->sums + row * j->padded + d) / total,
                    j->op->head_dim - d);
}

static void run_part(void *context, int64_t part, int thread)
{
    const job *j = context;
    const ecd_attention *op = j->op;
    int64_t first = part % j->tiles * QUERIES, head = part / j->tiles % op->heads, b = part / j->tiles / op->heads;
    int64_t rows = op->q_tokens - first < QUERIES ? op->q_tokens - first : QUERIES, dim = op->head_dim;
    tile t = {.k = ecd_cpu_scratch(j->be, thread), .first = first};
    if (op->distance_bias)
        t.bias = op->distance_bias + head * (op->q_tokens + op->kv_tokens - 1) + op->q_tokens - 1 - first;
    t.v = t.k + PANEL * dim;
    t.q = t.v + KEYS * j->padded;
    t.logits = t.q + QUERIES * dim;
    t.sums = t.logits + QUERIES * KEYS;
    memset(t.sums, 0, (size_t)(QUERIES * j->padded) * sizeof *t.sums);
    for (int64_t r = 0; r < rows; r++) {
        const char *q = row_of(j, op->q, b * op->q_tokens + first + r, j->q_stride, head);
        for (int64_t d = 0; d < dim; d += LANES)
            vstore_some(ECD_F32, t.q + r * dim + d, vload_some(j->act, q + (size_t)d * j->be->act_bytes, dim - d),
                        dim - d);
        t.largest[r] = -INFINITY;
    }
    for (int64_t key = 0; key < op->kv_tokens; key += KEYS)
        meet_keys(j, &t, rows, key, row_of(j, op->k, b * op->kv_tokens + key, j->k_stride, head),
                  row_of(j, op->v, b * op->kv_tokens + key, j->v_stride, head));
    for (int64_t r = 0; r < rows; r++)
        store_row(j, &t, r, (char *)row_of(j, op->out, b * op->q_tokens + first + r, j->out_stride, head));
}

void ECD_NAME(attention)(ecd_backend *be, const ecd_attention *op)
{
    if (!ecd_shape_attention(be, op))
        return;
    int64_t width = op->heads * op->head_dim;
    job j = {be, op, ecd_cpu_act(be), ecd_stride_or(op->q_stride, width), ecd_stride_or(op->k_stride, width),
             ecd_stride_or(op->v_stride, width), ecd_stride_or(op->out_stride, width),
             (op->q_tokens + QUERIES - 1) / QUERIES, (op->head_dim + PANEL - 1) / PANEL * PANEL};
    size_t floats = (size_t)(PANEL * op->head_dim + KEYS * j.padded + QUERIES * (op->head_dim + KEYS + j.padded));
    if (ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, op->batch * op->heads * j.tiles, run_part, &j);
}
