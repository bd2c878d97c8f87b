#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum { ROWS = 16 }; // rows of a part

typedef struct norm_job {
    ecd_backend *be;
    const ecd_norm *op;
} norm_job;

// sum of (x - mean)^power for power 1 or 2, over a row.
ALWAYS_INLINE float sum_row(const float *x, int64_t cols, float mean, const int power)
{
    vf sum[SUM_VECTORS] = {0}, centre = vsplat(mean);
    int64_t c = 0;
    for (; c + SUM_LANES <= cols; c += SUM_LANES)
        for (int i = 0; i < SUM_VECTORS; i++) {
            vf v = vload(x + c + i * LANES) - centre;
            sum[i] = power == 2 ? vfma(v, v, sum[i]) : sum[i] + v;
        }
    float total = vsum(sum);
    for (; c < cols; c++)
        total += power == 2 ? (x[c] - mean) * (x[c] - mean) : x[c] - mean;
    return total;
}

static void norm_row(const norm_job *j, int64_t row)
{
    const ecd_norm *op = j->op;
    const float *x = op->x + row * op->cols;
    int64_t modulation = op->group_rows ? row / op->group_rows * op->mod_stride : 0;
    ecd_dtype act = ecd_cpu_act(j->be);
    char *out = (char *)op->out + (size_t)(row * op->cols) * j->be->act_bytes;
    float mean = op->rms ? 0.0f : sum_row(x, op->cols, 0, 1) / (float)op->cols;
    float variance = sum_row(x, op->cols, mean, 2) / (float)op->cols;
    vf inverse = vsplat(1.0f / sqrtf(variance + op->eps)), centre = vsplat(mean);
    for (int64_t c = 0; c < op->cols; c += LANES) {
        int64_t left = op->cols - c;
        vf v = (vload_some(ECD_F32, x + c, left) - centre) * inverse;
        if (op->gamma)
            v *= vload_some(ECD_F32, op->gamma + c, left);
        if (op->beta)
            v += vload_some(ECD_F32, op->beta + c, left);
        if (op->scale)
            v *= 1.0f + vload_some(ECD_F32, op->scale + modulation + c, left);
        if (op->shift)
            v += vload_some(ECD_F32, op->shift + modulation + c, left);
        vstore_some(act, out + (size_t)c * j->be->act_bytes, v, left);
    }
}

static void norm_part(void *context, int64_t part, int thread)
{
    (void)thread;
    const norm_job *j = context;
    for (int64_t row = part * ROWS; row < (part + 1) * ROWS && row < j->op->rows; row++)
        norm_row(j, row);
}

void ECD_NAME(norm)(ecd_backend *be, const ecd_norm *op)
{
    if (!ecd_shape_norm(be, op))
        return;
    norm_job j = {be, op};
    ecd_pool_run(ecd_cpu_of(be)->pool, (op->rows + ROWS - 1) / ROWS, norm_part, &j);
}
