#include <math.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

// Tiled softmax(q k^T) v with running maximum and sum (FlashAttention, arXiv 2205.14135, algorithm 1). A part is a few
// tiles of queries of a head: they meet each block of keys one after the other, so that it is packed once for all of
// them.
enum { QUERIES = 64, KEYS = 128, MAX_TILES = 16 };

typedef struct job {
    ecd_backend *be;
    const ecd_attention *op;
    ecd_dtype act;
    int64_t q_stride, k_stride, v_stride, out_stride;
    int64_t tiles, together, parts; // of a head: tiles of queries, those of a part, parts
    int64_t padded;                 // head_dim up to whole panels
} job;

// A thread's scratch: a block of keys and values, packed, its logits [QUERIES][KEYS], then the tiles' own.
typedef struct block {
    float *k, *v, *logits;
    int64_t first, keys;
} block;

typedef struct tile {
    float *q, *sums; // queries, [QUERIES][padded]
    float largest[QUERIES], total[QUERIES];
    const float *bias;   // of this head and the tile's first query, to be read at a key's index less a row's, or NULL
    int64_t first, rows; // queries
} tile;

static const void *row_of(const job *j, const void *base, int64_t row, int64_t stride, int64_t head)
{
    return (const char *)base + (size_t)(row * stride + head * j->op->head_dim) * j->be->act_bytes;
}

// to[panel][key][PANEL], zeros past head_dim.
static void pack_values(const job *j, const char *v, int64_t keys, float *to)
{
    int64_t dim = j->op->head_dim, whole = j->act == ECD_F32 ? dim / PANEL * PANEL : 0;
    for (int64_t t = 0; t < keys; t++, to += PANEL) {
        const char *from = v + (size_t)(t * j->v_stride) * j->be->act_bytes;
        for (int64_t n = 0; n < whole; n += PANEL)
            memcpy(to + n * KEYS, from + (size_t)n * sizeof *to, PANEL * sizeof *to);
        for (int64_t n = whole; n < dim; n += PANEL)
            for (int64_t i = 0; i < PANEL; i += LANES) {
                const char *piece = from + (size_t)(n + i) * j->be->act_bytes;
                vstore(to + n * KEYS + i, n + i < dim ? vload_some(j->act, piece, dim - n - i) : (vf){0});
            }
    }
}

static void pack_block(const job *j, block *b, const void *k, const void *v)
{
    int64_t dim = j->op->head_dim;
    ecd_pack pack = {j->act, k, j->k_stride, false, 0};
    for (int64_t n = 0; n < b->keys; n += PANEL)
        ECD_NAME(pack_panel)(&pack, NULL, n, b->keys, 0, dim, b->k + n * dim);
    pack_values(j, v, b->keys, b->v);
}

// Turns a row of logits into weights, and brings the row's sums to the new maximum.
static void soften(const job *j, const block *b, tile *t, int64_t row)
{
    float *logit = b->logits + row * KEYS;
    int64_t key = b->first, keys = b->keys;
    vf scale = vsplat(j->op->scale), most = vsplat(-INFINITY), sum[SUM_VECTORS] = {0};
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
        sum[i / LANES % SUM_VECTORS] += v;
    }
    vf shrink = vexp(vsplat(t->largest[row] - base));
    t->largest[row] = largest;
    t->total[row] = t->total[row] * shrink[0] + vsum(sum);
    for (int64_t d = 0; d < j->padded; d += LANES)
        vstore(t->sums + row * j->padded + d, vload(t->sums + row * j->padded + d) * shrink);
}

static void meet_keys(const job *j, const block *b, tile *t)
{
    int64_t dim = j->op->head_dim;
    memset(b->logits, 0, (size_t)(t->rows * KEYS) * sizeof *b->logits);
    for (int64_t n = 0; n < b->keys; n += PANEL)
        ECD_NAME(gemm_panel)(t->rows, dim, t->q, dim, b->k + n * dim, b->logits + n, KEYS);
    for (int64_t row = 0; row < t->rows; row++)
        soften(j, b, t, row);
    for (int64_t n = 0; n < dim; n += PANEL)
        ECD_NAME(gemm_panel)(t->rows, b->keys, b->logits, KEYS, b->v + n * KEYS, t->sums + n, j->padded);
}

static void store_row(const job *j, const tile *t, int64_t row, char *out)
{
    vf total = vsplat(t->total[row]);
    for (int64_t d = 0; d < j->op->head_dim; d += LANES)
        vstore_some(j->act, out + (size_t)d * j->be->act_bytes, vload(t->sums + row * j->padded + d) / total,
                    j->op->head_dim - d);
}

static void begin_tile(const job *j, tile *t, int64_t batch, int64_t head)
{
    const ecd_attention *op = j->op;
    int64_t dim = op->head_dim, left = op->q_tokens - t->first;
    t->rows = left < QUERIES ? left : QUERIES;
    t->bias = NULL;
    if (op->distance_bias)
        t->bias = op->distance_bias + head * (op->q_tokens + op->kv_tokens - 1) + op->q_tokens - 1 - t->first;
    memset(t->sums, 0, (size_t)(QUERIES * j->padded) * sizeof *t->sums);
    for (int64_t r = 0; r < t->rows; r++) {
        const char *q = row_of(j, op->q, batch * op->q_tokens + t->first + r, j->q_stride, head);
        for (int64_t d = 0; d < dim; d += LANES)
            vstore_some(ECD_F32, t->q + r * dim + d, vload_some(j->act, q + (size_t)d * j->be->act_bytes, dim - d),
                        dim - d);
        t->largest[r] = -INFINITY;
        t->total[r] = 0;
    }
}

static void end_tile(const job *j, const tile *t, int64_t batch, int64_t head)
{
    for (int64_t r = 0; r < t->rows; r++) {
        int64_t row = batch * j->op->q_tokens + t->first + r;
        store_row(j, t, r, (char *)row_of(j, j->op->out, row, j->out_stride, head));
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const job *j = context;
    const ecd_attention *op = j->op;
    int64_t head = part / j->parts % op->heads, batch = part / j->parts / op->heads;
    int64_t first = part % j->parts * j->together;
    int64_t count = j->tiles - first < j->together ? j->tiles - first : j->together;
    tile tiles[MAX_TILES];
    block b = {.k = ecd_cpu_scratch(j->be, thread)};
    b.v = b.k + KEYS * op->head_dim;
    b.logits = b.v + KEYS * j->padded;
    float *own = b.logits + QUERIES * KEYS;
    for (int64_t i = 0; i < count; i++, own += QUERIES * (op->head_dim + j->padded)) {
        tiles[i].q = own;
        tiles[i].sums = own + QUERIES * op->head_dim;
        tiles[i].first = (first + i) * QUERIES;
        begin_tile(j, &tiles[i], batch, head);
    }
    for (b.first = 0; b.first < op->kv_tokens; b.first += KEYS) {
        int64_t row = batch * op->kv_tokens + b.first;
        b.keys = op->kv_tokens - b.first < KEYS ? op->kv_tokens - b.first : KEYS;
        pack_block(j, &b, row_of(j, op->k, row, j->k_stride, head), row_of(j, op->v, row, j->v_stride, head));
        for (int64_t i = 0; i < count; i++)
            meet_keys(j, &b, &tiles[i]);
    }
    for (int64_t i = 0; i < count; i++)
        end_tile(j, &tiles[i], batch, head);
}

void ECD_NAME(attention)(ecd_backend *be, const ecd_attention *op)
{
    if (!ecd_shape_attention(be, op))
        return;
    int64_t width = op->heads * op->head_dim, heads = op->batch * op->heads;
    job j = {.be = be,
             .op = op,
             .act = ecd_cpu_act(be),
             .q_stride = ecd_stride_or(op->q_stride, width),
             .k_stride = ecd_stride_or(op->k_stride, width),
             .v_stride = ecd_stride_or(op->v_stride, width),
             .out_stride = ecd_stride_or(op->out_stride, width),
             .tiles = (op->q_tokens + QUERIES - 1) / QUERIES,
             .together = 1,
             .padded = (op->head_dim + PANEL - 1) / PANEL * PANEL};
    // How many tiles go together decides nothing about the bits: as many as leave four parts a thread.
    while (2 * j.together <= MAX_TILES && j.together < j.tiles && j.tiles * heads / (2 * j.together) >= 4 * be->threads)
        j.together *= 2;
    j.parts = (j.tiles + j.together - 1) / j.together;
    size_t floats =
        (size_t)(KEYS * (op->head_dim + j.padded) + QUERIES * KEYS + j.together * QUERIES * (op->head_dim + j.padded));
    if (ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, heads * j.parts, run_part, &j);
}
