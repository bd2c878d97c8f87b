#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum { ROWS = 16 }; // tokens of a part

typedef struct job {
    ecd_backend *be;
    const ecd_rope *op;
    int64_t stride;
} job;

// Normalises a head in place; v is readable up to whole vectors, zeros after head_dim.
static void normalise(const ecd_rope *op, float *v)
{
    vf sum[SUM_VECTORS] = {0};
    for (int64_t d = 0; d < op->head_dim; d += LANES) {
        vf *to = &sum[d / LANES % SUM_VECTORS];
        *to = vfma(vload(v + d), vload(v + d), *to);
    }
    vf inverse = vsplat(1.0f / sqrtf(vsum(sum) / (float)op->head_dim + op->eps));
    for (int64_t d = 0; d < op->head_dim; d += LANES)
        vstore(v + d, vload(v + d) * inverse * vload_some(ECD_F32, op->gamma + d, op->head_dim - d));
}

static void turn_head(const job *j, int64_t token, char *x)
{
    const ecd_rope *op = j->op;
    const float *cosine = op->cosine + token * op->head_dim / 2, *sine = op->sine + token * op->head_dim / 2;
    ecd_dtype act = ecd_cpu_act(j->be);
    float v[ECD_ROPE_MAX_HEAD + LANES];
    for (int64_t d = 0; d < op->head_dim; d += LANES)
        vstore(v + d, vload_some(act, x + (size_t)d * j->be->act_bytes, op->head_dim - d));
    if (op->gamma)
        normalise(op, v);
    for (int64_t i = 0; i < op->head_dim / 2; i++) {
        float a = v[2 * i], b = v[2 * i + 1];
        v[2 * i] = a * cosine[i] - b * sine[i];
        v[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
    for (int64_t d = 0; d < op->head_dim; d += LANES)
        vstore_some(act, x + (size_t)d * j->be->act_bytes, vload(v + d), op->head_dim - d);
}

static void run_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const job *j = context;
    const ecd_rope *op = j->op;
    int64_t rows = op->batch * op->tokens, end = (part + 1) * ROWS < rows ? (part + 1) * ROWS : rows;
    for (int64_t row = part * ROWS; row < end; row++)
        for (int64_t head = 0; head < op->heads; head++)
            turn_head(j, row % op->tokens,
                      (char *)op->x + (size_t)(row * j->stride + head * op->head_dim) * j->be->act_bytes);
}

void ECD_NAME(rope)(ecd_backend *be, const ecd_rope *op)
{
    if (!ecd_shape_rope(be, op))
        return;
    job j = {be, op, ecd_stride_or(op->stride, op->heads * op->head_dim)};
    ecd_pool_run(ecd_cpu_of(be)->pool, (op->batch * op->tokens + ROWS - 1) / ROWS, run_part, &j);
}
